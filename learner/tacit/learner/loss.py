"""What an objective is given and gives back, and the pieces that objectives share. Pure: touches tensors only.

Every term is a sum over samples: a batch read in two forward passes has the gradient of one read at once. No sample's weight
depends on its length: sums over tokens are divided by the constant L_MAX (Dr. GRPO's way), never by a count of tokens.

Two simplifications, and why. Under Adam only the ratio of the terms matters, so one constant serves them all. KL is taken at
temperature 1 and from the reference's side, KL(ref‖new), on the states that the logged draws went through: the same quantity
as the budget and the forgetting check.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

L_MAX: Final = 48
"""Tokens of the longest completion; a constant, so that no sample's weight depends on its length."""


@dataclass(frozen=True, slots=True)
class LossInputs:
    """P scored positions (draws and written texts of all samples, one after the other), N samples, V tokens."""

    logits: Tensor
    """[P, V] fp32, of the policy in training, temperature 1, with gradient."""
    base: Tensor
    """[P, V] fp32, of the base."""
    serving: Tensor
    """[P, V] fp32, of the policy that serves now; the same tensor as `base` if that is the base."""
    tokens: Tensor
    """[P] int64: what was drawn or written at each position."""
    sample: Tensor
    """[P] int64: to which of the N samples a position belongs."""
    drawn: Tensor
    """[P] bool: a token of the logged draw; else of the written text."""
    logged: Tensor
    """[P] fp32: log μ; 0 where not drawn."""
    kept: Tensor
    """[P] fp32: m for A > 0."""
    blame: Tensor
    """[P] fp32: m for A < 0."""
    reward: Tensor
    """[N] fp32: R; 0 where there is no label."""
    label_weight: Tensor
    """[N] fp32: how much the label counts (a rating more than what was only seen); 0 where there is none."""
    advantage: Tensor
    """[N] fp32: A times the label's weight; 0 where there is no label."""
    show_weight: Tensor
    """[N] fp32: e = min(1/P(show), 10)."""
    temperature: Tensor
    """[N] fp32: of the logged draw."""
    hindsight: Tensor
    """[N] fp32: q; 0 where no written text is to be learned from."""
    rehearsed: Tensor
    """[N] bool: an earlier night has learned from the written text; tonight goes over it again."""
    drift: Tensor
    """Scalar fp32: KL(serving‖policy), nats per sequence, over the last steps. A constant, no gradient."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    policy: float = 1.0
    hindsight: float = 0.5
    rehearsal: float = 0.3
    kl_base: float = 0.05
    kl_serving: float = 0.05
    beta: float = 0.1
    """`dpo`, `kto`: nats by which the policy must leave its reference for a reward of one, inverted (TRL's default)."""
    clip: float = 0.2
    """`ppo`, `grpo`: ε. A token's ratio is followed within 1 ± ε."""
    ratio_cap: float = 4.0
    """`ppo`, `grpo`: δ. Largest ratio by which a bad token is pushed down; without it one token could outweigh a night."""
    reward_temperature: float = 0.5
    """`rwr`: a reward that is higher by this much weighs e times as much."""
    advantage_temperature: float = 1.0
    """`awr`: the same, in units of A."""
    weight_cap: float = 20.0
    """`rwr`, `awr`: largest weight of one draw (Peng et al. 2019)."""


@dataclass(frozen=True, slots=True)
class LossOutput:
    loss: Tensor
    """Scalar with gradient: a sum over the samples, to be divided by the batch's number of samples."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Sums over samples: policy (the objective's own term), hindsight (its term on written text), rehearsal, kl_base, kl_serving
    (nats per sequence), ratio (Π π/μ of each draw), draws (how many)."""


Objective = Callable[[LossInputs, Coefficients], LossOutput]


def finish(
    inputs: LossInputs,
    coefficients: Coefficients,
    log_policy: Tensor,
    *,
    policy: Tensor | None = None,
    hindsight: Tensor | None = None,
    hindsight_weight: float = 1.0,
) -> LossOutput:
    """The objective's own terms (scalars), what all have (rehearsal, KL anchors), the metrics. log_policy: [P, V]."""
    zero = log_policy.sum() * 0.0  # with a gradient: a part of a batch may hold nothing that this objective reads
    policy = zero if policy is None else policy
    hindsight = zero if hindsight is None else hindsight
    from_base = token_kl(inputs.base, log_policy)
    from_serving = from_base if inputs.serving is inputs.base else token_kl(inputs.serving, log_policy)
    kl_base, kl_serving = (from_base * inputs.drawn).sum(), (from_serving * inputs.drawn).sum()
    rehearsal = -(inputs.rehearsed[inputs.sample] * ~inputs.drawn * chosen(log_policy, inputs)).sum() / L_MAX
    loss = (
        coefficients.policy * policy
        + hindsight_weight * hindsight
        + coefficients.rehearsal * rehearsal
        + (coefficients.kl_base * kl_base + coefficients.kl_serving * kl_serving) / L_MAX
    )
    draws = has_draw(inputs)
    return LossOutput(
        loss,
        {
            "policy": float(policy.detach()),
            "hindsight": float(hindsight.detach()),
            "rehearsal": float(rehearsal.detach()),
            "kl_base": float(kl_base.detach()),
            "kl_serving": float(kl_serving.detach()),
            "ratio": float(draw_ratio(inputs)[draws].sum()),
            "draws": float(draws.sum()),
        },
    )


def draw_ratio(inputs: LossInputs) -> Tensor:
    """Π π/μ over the whole draw of each sample [N], at the temperature that was sampled from. A constant, no gradient."""
    with torch.no_grad():
        drift = torch.where(inputs.drawn, tempered(inputs) - inputs.logged, 0.0)
        return per_sample(drift, inputs).clamp(-20, 20).exp()


def tempered(inputs: LossInputs) -> Tensor:
    """log π of each position's token at its draw's temperature: [P]."""
    return chosen_logprobs(inputs.logits, inputs.tokens, inputs.temperature[inputs.sample])


def chosen(log_policy: Tensor, inputs: LossInputs) -> Tensor:
    """log π of each position's token: log-probabilities [P, V] → [P]."""
    return log_policy.gather(1, inputs.tokens[:, None])[:, 0]


def chosen_logprobs(logits: Tensor, tokens: Tensor, temperature: Tensor) -> Tensor:
    """log π(token) at the given temperatures: logits [P, V], tokens [P], temperature [P] → [P]."""
    return (logits / temperature[:, None]).log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def token_kl(reference: Tensor, log_policy: Tensor) -> Tensor:
    """KL(reference‖policy) at each position over the full vocabulary: logits [P, V], log-probabilities [P, V] → [P]."""
    log_reference = reference.log_softmax(-1)
    return (log_reference.exp() * (log_reference - log_policy)).sum(-1)


def has_draw(inputs: LossInputs) -> Tensor:
    """[N] bool."""
    return per_sample(inputs.drawn.float(), inputs) > 0


def has_written(inputs: LossInputs) -> Tensor:
    """[N] bool: there is a written text, and it is to be learned from."""
    return (per_sample((~inputs.drawn).float(), inputs) > 0) & (inputs.hindsight > 0)


def per_sample(values: Tensor, inputs: LossInputs) -> Tensor:
    """Sums of [P] over each sample's positions: [N]."""
    zeros = torch.zeros(len(inputs.advantage), dtype=values.dtype, device=values.device)
    return zeros.index_add(0, inputs.sample, values)
