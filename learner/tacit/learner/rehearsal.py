"""What earlier nights learned from and tonight goes over again, so that it is not lost: which texts, how many. Pure.

L_replay of LEARNING.md's "Objective" (experience replay, Lin 1992): an adapter is trained further night after night, on new
suggestions only, and what a developer wrote weeks ago would fade. Only texts are gone over, the likeliest thing to be wanted
again; a draw is learned from once, since its propensity belongs to a policy that serves no more. Every objective that reads what
was written does it, with `Coefficients.rehearsal`.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final, TypeVar

from tacit.learner.reward import Reward
from tacit.learner.samples import Sample, without

T = TypeVar("T")

SHARE: Final = 1.0
"""Of the fresh suggestions: a night takes twice as long at most, however long the past is."""


def drawn_from(past: Sequence[T], fresh: int, seed: int) -> list[T]:
    """Some of what the parent has learned from, each as likely as any other, in their own order. The same under one seed.

    fresh: suggestions of this night.
    """
    count = min(len(past), round(SHARE * fresh))
    return [past[number] for number in sorted(Random(f"{seed}:rehearsal").sample(range(len(past)), count))]


def rehearsed(past: Sequence[Sample], held_out: Sequence[Sample]) -> list[Sample]:
    """Of each suggestion the text that was written, where it was learned from or the suggestion was kept.

    held_out: what would give those away is left out.
    """
    found: dict[str, Sample] = {}
    for sample in without(past, held_out):
        right = sample.hindsight > 0 or (sample.reward.labelled and sample.reward.value > 0)
        if right and sample.written_tokens:
            # Of a debugging answer the draws have one text.
            found.setdefault(sample.suggestion_id, _text_of(sample))
    return list(found.values())


def _text_of(sample: Sample) -> Sample:
    unlabelled = Reward(0.0, {}, "learned from before", 0.0, "none")
    return replace(
        sample, tokens=(), logprobs=(), kept=(), blame=(), hindsight=0.0, reward=unlabelled, p_show=1.0, draw=0, rehearsed=True
    )
