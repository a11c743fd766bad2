"""Objectives that follow each token's importance ratio as far as a clip: `ppo` and, on advantages of groups, `grpo`. Pure.

The old log-probabilities are exact: they were logged when the text was drawn, under the distribution it was drawn from.
"""

import torch
from torch import Tensor

from tacit.learner.loss import L_MAX, Coefficients, LossInputs, LossOutput, finish, tempered


def ppo(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
    """Clipped surrogate on the logged draws (Schulman et al. 2017): -Σ e Σ_t min(r A, clip(r, 1 ± ε) A) / L_max.

    r is capped at δ for A < 0 too, where the original has no bound (two-sided clipping, TRL's `delta`).
    """
    # A ratio of e^20 is beyond every clip; more would only overflow.
    ratio = torch.where(inputs.drawn, tempered(inputs) - inputs.logged, 0.0).clamp(max=20).exp()
    near = ratio.clamp(1 - coefficients.clip, 1 + coefficients.clip)
    worth = inputs.advantage[inputs.sample]
    gained = torch.minimum(ratio.clamp(max=coefficients.ratio_cap) * worth, near * worth)
    policy = -(inputs.show_weight[inputs.sample] * inputs.drawn * gained).sum() / L_MAX
    return finish(inputs, coefficients, inputs.logits.log_softmax(-1), policy=policy)


def group_advantages(reward: Tensor, group: Tensor) -> Tensor:
    """A of `grpo`, each draw against the others of its place (Shao et al. 2024): (R - their mean) / (their deviation + 1e-4).

    [N], [N] → [N]; 0 in a group of one. With it `ppo` is GRPO without length bias (Liu et al. 2025). Computed where groups are
    drawn (`rollouts`): a forward pass may hold a part of a group.
    """
    _, member = torch.unique(group, return_inverse=True)
    size = torch.bincount(member).to(reward.dtype)
    zeros = torch.zeros_like(size)
    centred = reward - (zeros.index_add(0, member, reward) / size)[member]
    variance = zeros.index_add(0, member, centred**2) / (size - 1).clamp(min=1)
    return centred / (variance.sqrt()[member] + 1e-4)
