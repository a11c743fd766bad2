"""How inclined developers must be to take what this model offers, so that they take as much as real ones did. Pure.

How good a model's suggestions are decides how much of them is taken as well: with the same developers a small model at a short
context has a few per cent, a large one the half. So a pilot, the first day's places with the base, comes before the days. From it
u_dev of all developers is moved by one number, the same for every day, arm and persona, to the published share (`PUBLISHED`).
What they then really take stands in the report: a number from some dozen places is no exact one, and what nobody would keep
cannot be made welcome. Nothing else about them is fitted.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from tacit.learner.simulate.developer import Traits, decide
from tacit.learner.simulate.personas import person
from tacit.learner.simulate.workday import Asked

LEAST, MOST = -4.0, 4.0
"""Of the move: beyond, a developer takes nothing, or all."""
LUCK: Final = 16
"""Decisions of each persona at each place."""
STEPS: Final = 12
"""Of halving: to 0.002."""


def moved(pilot: Sequence[Asked], kinds: Sequence[str], wanted: float, seed: int) -> float:
    """What is to be added to everyone's inclination; 0: nothing was offered. wanted: share of suggestions taken, not undone."""
    offered = [one for one in pilot if one.suggestion_id]
    people = [(kind, person(kind, Random(f"{seed}:pilot:{kind}"))) for kind in kinds]
    if not offered or not people:
        return 0.0
    low, high = LEAST, MOST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if taken(offered, people, middle, seed) < wanted else (low, middle)
    return round((low + high) / 2, 3)


def taken(offered: Sequence[Asked], people: Sequence[tuple[str, Traits]], by: float, seed: int) -> float:
    """Share that these people would take and not undo, were they more inclined by so much."""
    count = 0
    for kind, traits in people:
        inclined = replace(traits, inclination=traits.inclination + by)
        for one in offered:
            # The same luck whatever `by` is.
            luck = Random(f"{seed}:{kind}:{one.place}")
            count += sum(
                decide(one.text, one.wanted, one.waited, inclined, luck).action in ("accept", "partial") for _ in range(LUCK)
            )
    return count / (LUCK * len(people) * len(offered))
