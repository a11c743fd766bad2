"""The arms of an experiment: what each makes of the same log. Pure.

A control keeps everything of `topr` but what it is a control for: `random` and `shuffled` replace the reward alone. The texts
that were written, and which tokens of a draw were kept, are what they were: what is left of the gain is owed to those, not to R.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType
from typing import Final, Literal

from tacit.learner.samples import Sample
from tacit.protocol.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Arm:
    name: str
    objective: str = ""
    """Of the learner's register; empty: nothing is learnt."""
    reward: Literal["logged", "random", "shuffled"] = "logged"
    trainer: Literal["tacit", "trl"] = "tacit"
    peeks: bool = False
    """It learns from the very texts that it is scored on: a bound, no arm that could exist."""
    words: str = ""


FROZEN: Final = Arm("frozen", words="the base, never trained")
ARMS: Final = MappingProxyType(
    {
        arm.name: arm
        for arm in (
            FROZEN,
            Arm("sft", "sft", words="imitation of what was written"),
            Arm("rwr", "rwr", words="reward-weighted regression on the draws"),
            Arm("awr", "awr", words="advantage-weighted regression on the draws"),
            Arm("kto", "kto", words="Kahneman-Tversky, Tacit's trainer"),
            Arm("trl-kto", "kto", trainer="trl", words="Kahneman-Tversky, TRL's trainer, its own KL"),
            Arm("dpo", "dpo", words="written over drawn"),
            Arm("ppo", "ppo", words="clipped surrogate on the draws"),
            Arm("grpo", "grpo", words="groups of fresh answers, judged by what was written"),
            Arm("topr", "topr", words="Tacit's default"),
            Arm("random", "topr", reward="random", words="control: topr with rewards drawn from [-1, 1]"),
            Arm("shuffled", "topr", reward="shuffled", words="control: topr with the day's rewards permuted"),
            Arm("oracle", "sft", peeks=True, words="bound: imitation of the texts that it is scored on"),
        )
    }
)
"""Trained by night, by name."""
CLASSICAL: Final = ("sft", "rwr", "awr", "kto", "trl-kto", "dpo", "ppo", "grpo")
"""What `topr` is to beat."""
LIVE_ONLY: Final = MappingProxyType(
    {
        "always-short": "control: the base, cut to its first two tokens",
        "developer-oracle": "bound: what the developers would take of a suggestion that is what they mean to write",
    }
)
"""Typed with on the last day, not trained."""


def arms(names: Sequence[str]) -> list[Arm]:
    """`frozen` first, each once. BadRequest: there is no such arm."""
    for name in names:
        if name not in ARMS:
            raise BadRequest(f"There is no arm `{name}`.", mend=f"There are: {', '.join(ARMS)}.")
    return [FROZEN, *(arm for name, arm in ARMS.items() if name in names and name != FROZEN.name)]


def lessons(arm: Arm, logged: Sequence[Sample], scored: Sequence[Sample], seed: int) -> list[Sample]:
    """What the arm learns from. logged: the day's. scored: of the day after, for an arm that peeks; nobody else sees it."""
    if arm.peeks:
        return [replace(sample, hindsight=1.0 if sample.written_tokens else 0.0) for sample in scored]
    if arm.reward == "logged":
        return list(logged)
    random = Random(f"{arm.reward}:{seed}")
    labelled = [sample.reward for sample in logged if sample.reward.labelled]
    random.shuffle(labelled)
    drawn = iter(labelled)
    return [
        sample
        if not sample.reward.labelled
        else replace(sample, reward=next(drawn))
        if arm.reward == "shuffled"
        else replace(sample, reward=replace(sample.reward, value=random.uniform(-1, 1)))
        for sample in logged
    ]


def night(arm: Arm, days: Sequence[Sequence[Sample]], number: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """(what the arm learns from in night `number`, the first is 1; what it has learned from in those before, as it was given it).

    days: the samples of each, and of the one after the night. A control's past has the control's rewards.
    """
    given = [lessons(arm, days[one - 1], days[one], 1000 * seed + one) for one in range(1, number + 1)]
    return given[-1], [sample for samples in given[:-1] for sample in samples]
