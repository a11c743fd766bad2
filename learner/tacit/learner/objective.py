"""What a night optimises: `topr`, the default, and the register of all objectives by name. Touches tensors only.

`topr` is tapered off-policy REINFORCE (Le Roux et al. 2025) with two additions of LEARNING.md's "Objective": hindsight
on the text that was really written, and exact token KL to the base and to the serving policy. The other objectives have the
same KL terms, so that what is compared is what each makes of the same log.
"""

from typing import Final

import torch
from torch import Tensor

from tacit.learner.clipped import ppo
from tacit.learner.imitation import awr, rwr, sft
from tacit.learner.loss import (
    L_MAX,
    Coefficients,
    LossInputs,
    LossOutput,
    Objective,
    chosen,
    draw_ratio,
    finish,
    tempered,
    token_kl,
)
from tacit.learner.preference import dpo, kto
from tacit.learner.samples import Sample
from tacit.protocol.errors import BadRequest

__all__ = [
    "DRAWS_ANEW",
    "L_MAX",
    "OBJECTIVES",
    "READS_WRITTEN",
    "Coefficients",
    "LossInputs",
    "LossOutput",
    "Objective",
    "named",
    "token_kl",
    "topr",
    "useful",
]


def topr(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
    """L = L_PG + 0.5 L_hind + 0.3 L_replay + β_base KL_base + β_serve KL_serve, each summed over samples and divided by L_max."""
    log_policy = inputs.logits.log_softmax(-1)
    weight = importance_weight(inputs.advantage, draw_ratio(inputs)) * inputs.show_weight * inputs.advantage
    positive = inputs.advantage[inputs.sample] >= 0
    mask = torch.where(positive, inputs.kept, inputs.blame) * inputs.drawn
    policy = -(weight[inputs.sample] * mask * tempered(inputs)).sum() / L_MAX
    hindsight = -(inputs.hindsight[inputs.sample] * ~inputs.drawn * chosen(log_policy, inputs)).sum() / L_MAX
    return finish(inputs, coefficients, log_policy, policy=policy, hindsight=hindsight, hindsight_weight=coefficients.hindsight)


def importance_weight(advantage: Tensor, ratio: Tensor) -> Tensor:
    """w: 1 if A ≥ 0, else min(1, ratio). The taper keeps what is already unlikely from being pushed down without end."""
    return torch.where(advantage >= 0, torch.ones_like(ratio), ratio.clamp(max=1.0))


OBJECTIVES: Final[dict[str, Objective]] = {
    "topr": topr,
    "sft": sft,
    "rwr": rwr,
    "awr": awr,
    "kto": kto,
    "dpo": dpo,
    "ppo": ppo,
    "grpo": ppo,  # of fresh draws, whose advantages are those over their group
}

DRAWS_ANEW: Final = frozenset({"grpo"})
"""Those that learn from fresh draws (`rollouts`); the others from the log's."""

READS_WRITTEN: Final = frozenset({"topr", "sft", "dpo", "kto"})
"""Those that learn from what was written; the others see the logged draws only."""


def named(name: str) -> Objective:
    """BadRequest, in words, for a name that is unknown."""
    if name not in OBJECTIVES:
        raise BadRequest(f"There is no objective `{name}`.", mend=f"There are: {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]


def useful(sample: Sample, advantage: float, objective: str = "topr") -> bool:
    """Does the sample move anything: is there a draw, a label, a written text, as far as this objective reads them?"""
    if sample.rehearsed:
        return objective in READS_WRITTEN
    drawn, written = bool(sample.tokens), sample.hindsight > 0
    if objective == "topr":
        return written or (advantage != 0 and any(sample.kept if advantage >= 0 else sample.blame))
    if objective == "sft":
        return written
    if objective == "dpo":
        return drawn and written
    if objective == "kto":
        return written or (drawn and advantage != 0)
    if objective in ("ppo", "grpo"):
        return drawn and advantage != 0
    return drawn and sample.reward.labelled
