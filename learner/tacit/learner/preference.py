"""Objectives that compare the policy with the one that serves now: `dpo`, `kto`. Pure.

Both see a text as one decision with the implicit reward β·(log π - log π_serving), at temperature 1, and squash it by a sigmoid:
no draw, however unlikely, has a gradient above β times its tokens'.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tacit.learner.loss import Coefficients, LossInputs, LossOutput, chosen, finish, has_draw, has_written, per_sample


def dpo(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
    """Direct preference (Rafailov et al. 2023): -log sigmoid(β(Δ(y*) - Δ(y))), y* what was written, y what was offered instead.

    Only places that have both count. What the two share from the start cancels exactly.
    """
    log_policy = inputs.logits.log_softmax(-1)
    over_written, over_drawn = _log_ratios(inputs, log_policy)
    pairs = has_draw(inputs) & has_written(inputs)
    losses = -logsigmoid(coefficients.beta * (over_written - over_drawn))
    return finish(inputs, coefficients, log_policy, policy=torch.where(pairs, losses, 0.0).sum())


def kto(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
    """Kahneman-Tversky (Ethayarajh et al. 2024): 1 - sigmoid(β(Δ(y) - z₀)) for what was good; else β(z₀ - Δ(y)) inside.

    Good are draws with A > 0 and the written texts; not good are draws with A < 0. z₀ is `drift`, measured exactly over the
    last steps; at this distance (tenths of a nat) it does not matter from which side KL is taken.
    """
    log_policy = inputs.logits.log_softmax(-1)
    over_written, over_drawn = _log_ratios(inputs, log_policy)
    sign = torch.sign(inputs.advantage)
    weight = has_draw(inputs) * sign.abs() * inputs.label_weight * inputs.show_weight
    draws = weight * (1 - torch.sigmoid(coefficients.beta * sign * (over_drawn - inputs.drift)))
    written = has_written(inputs) * (1 - torch.sigmoid(coefficients.beta * (over_written - inputs.drift)))
    return finish(inputs, coefficients, log_policy, policy=draws.sum(), hindsight=written.sum())


def _log_ratios(inputs: LossInputs, log_policy: Tensor) -> tuple[Tensor, Tensor]:
    """(Δ of the written text, Δ of the draw), each [N]: log π - log π_serving, summed over its tokens."""
    with torch.no_grad():
        reference = chosen(inputs.serving.log_softmax(-1), inputs)
    ratio = chosen(log_policy, inputs) - reference
    return per_sample(ratio * ~inputs.drawn, inputs), per_sample(ratio * inputs.drawn, inputs)
