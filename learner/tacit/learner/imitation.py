"""Objectives that only ever raise likelihoods, of what was written or of what was rewarded: `sft`, `rwr`, `awr`. Pure.

None of them pushes anything down: a bad draw gets less likely only because others of its place get more so.
"""

import torch
from torch import Tensor

from tacit.learner.loss import L_MAX, Coefficients, LossInputs, LossOutput, chosen, finish, has_written, tempered


def sft(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
    """Supervised fine-tuning on y*, the texts that `topr` takes as hindsight, each counted once: -Σ log π(y*) / L_max.

    The one to beat: what feedback is worth beyond it is what reinforcement learning is worth.
    """
    log_policy = inputs.logits.log_softmax(-1)
    wanted = ~inputs.drawn & has_written(inputs)[inputs.sample]
    return finish(inputs, coefficients, log_policy, hindsight=-(chosen(log_policy, inputs) * wanted).sum() / L_MAX)


def rwr(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
    """Reward-weighted regression on the logged draws (Peters & Schaal 2007): -Σ exp(R/τ) log π(y) / L_max."""
    return _weighted(inputs, coefficients, inputs.reward / coefficients.reward_temperature)


def awr(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
    """Advantage-weighted regression on the logged draws (Peng et al. 2019): -Σ exp(A/τ) log π(y) / L_max."""
    # The label's weight multiplies the draw's, it does not sharpen it.
    own = inputs.advantage / inputs.label_weight.clamp(min=1e-6)
    return _weighted(inputs, coefficients, own / coefficients.advantage_temperature)


def _weighted(inputs: LossInputs, coefficients: Coefficients, log_weight: Tensor) -> LossOutput:
    weight = log_weight.exp().clamp(max=coefficients.weight_cap)
    # 0 where there is no label, whatever the exponent says.
    weight = torch.where(inputs.label_weight > 0, weight * inputs.label_weight * inputs.show_weight, 0.0)
    policy = -(weight[inputs.sample] * inputs.drawn * tempered(inputs)).sum() / L_MAX
    return finish(inputs, coefficients, inputs.logits.log_softmax(-1), policy=policy)
