"""What a night optimises: pure functions `LossInputs → LossOutput`. Touches tensors only.

`topr` is tapered off-policy REINFORCE (Le Roux et al. 2025) with two additions of LEARNING.md's "Objective": hindsight
on the text that was really written, and exact token KL to the base and to the serving policy.

Two simplifications, and why. Every term is divided by the same constant (samples times L_max), Dr. GRPO's way of keeping
length out of it; under Adam only their ratio matters. KL is taken at temperature 1 and from the reference's side,
KL(ref‖new), on the states that the logged draws went through: the same quantity as the budget and the forgetting check.
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
    advantage: Tensor
    """[N] fp32; 0 where there is no label."""
    show_weight: Tensor
    """[N] fp32: e = min(1/P(show), 10)."""
    temperature: Tensor
    """[N] fp32: of the logged draw."""
    hindsight: Tensor
    """[N] fp32: q."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    policy: float = 1.0
    hindsight: float = 0.5
    kl_base: float = 0.05
    kl_serving: float = 0.05


@dataclass(frozen=True, slots=True)
class LossOutput:
    loss: Tensor
    """Scalar with gradient: a sum over the samples, to be divided by the batch's number of samples."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Sums over samples: policy, hindsight, kl_base, kl_serving (nats per sequence), ratio (their sum), draws (how many)."""


Objective = Callable[[LossInputs, Coefficients], LossOutput]


def topr(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
    """L = L_PG + 0.5 L_hind + β_base KL_base + β_serve KL_serve, each summed over samples and divided by L_max."""
    count = len(inputs.advantage)
    log_policy = inputs.logits.log_softmax(-1)
    tempered = chosen_logprobs(inputs.logits, inputs.tokens, inputs.temperature[inputs.sample])

    # The ratio of the whole draw: Π π/μ at the temperature that was sampled from. A constant, no gradient.
    drift = torch.where(inputs.drawn, tempered.detach() - inputs.logged, 0.0)
    ratio = _per_sample(drift, inputs.sample, count).clamp(-20, 20).exp()
    weight = importance_weight(inputs.advantage, ratio) * inputs.show_weight * inputs.advantage
    positive = inputs.advantage[inputs.sample] >= 0
    mask = torch.where(positive, inputs.kept, inputs.blame) * inputs.drawn
    policy = -(weight[inputs.sample] * mask * tempered).sum() / L_MAX

    chosen = log_policy.gather(1, inputs.tokens[:, None])[:, 0]
    hindsight = -(inputs.hindsight[inputs.sample] * ~inputs.drawn * chosen).sum() / L_MAX

    from_base = token_kl(inputs.base, log_policy)
    from_serving = from_base if inputs.serving is inputs.base else token_kl(inputs.serving, log_policy)
    kl_base, kl_serving = (from_base * inputs.drawn).sum(), (from_serving * inputs.drawn).sum()

    loss = (
        coefficients.policy * policy
        + coefficients.hindsight * hindsight
        + (coefficients.kl_base * kl_base + coefficients.kl_serving * kl_serving) / L_MAX
    )
    draws = torch.zeros(count, dtype=torch.bool, device=inputs.sample.device)
    draws[inputs.sample[inputs.drawn]] = True
    return LossOutput(
        loss,
        {
            "policy": float(policy.detach()),
            "hindsight": float(hindsight.detach()),
            "kl_base": float(kl_base.detach()),
            "kl_serving": float(kl_serving.detach()),
            "ratio": float(ratio[draws].sum()),
            "draws": float(draws.sum()),
        },
    )


def importance_weight(advantage: Tensor, ratio: Tensor) -> Tensor:
    """w: 1 if A ≥ 0, else min(1, ratio). The taper keeps what is already unlikely from being pushed down without end."""
    return torch.where(advantage >= 0, torch.ones_like(ratio), ratio.clamp(max=1.0))


def chosen_logprobs(logits: Tensor, tokens: Tensor, temperature: Tensor) -> Tensor:
    """log π(token) at the given temperatures: logits [P, V], tokens [P], temperature [P] → [P]."""
    return (logits / temperature[:, None]).log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def token_kl(reference: Tensor, log_policy: Tensor) -> Tensor:
    """KL(reference‖policy) at each position over the full vocabulary: logits [P, V], log-probabilities [P, V] → [P]."""
    log_reference = reference.log_softmax(-1)
    return (log_reference.exp() * (log_reference - log_policy)).sum(-1)


def _per_sample(values: Tensor, sample: Tensor, count: int) -> Tensor:
    return torch.zeros(count, dtype=values.dtype, device=values.device).index_add_(0, sample, values)


OBJECTIVES: dict[str, Objective] = {"topr": topr}
