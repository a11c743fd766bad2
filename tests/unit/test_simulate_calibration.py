"""Developers that take of a model, good or bad, as much as real ones did."""

from random import Random

import pytest

from tacit.learner.simulate.calibration import LEAST, MOST, moved, taken
from tacit.learner.simulate.findings import BAND, PUBLISHED
from tacit.learner.simulate.personas import PERSONAS, person
from tacit.learner.simulate.workday import Asked

WANTED = PUBLISHED["acceptance"]
KINDS = tuple(PERSONAS)


def offered(right: float, near: float, count: int = 60) -> list[Asked]:
    """What a model suggests of which these shares are right, or right at their beginning; the rest is something else."""
    found = []
    for number in range(count):
        wanted = f"total_{number} = sum(entry.amount * {number} for entry in entries)"
        at = number / count
        text = wanted if at < right else f"{wanted[:24]}other.cost)" if at < right + near else "return frozenset()"
        found.append(Asked(f"a.py:{number}:{number}", f"id-{number}", "steady", 0, text, wanted, 0.5, ""))
    return found


def people(seed: int) -> list[tuple[str, object]]:
    return [(f"{kind}-{n}", person(kind, Random(f"{seed}:{n}:{kind}"))) for kind in KINDS for n in range(3)]


@pytest.mark.parametrize(("right", "near"), [(0.05, 0.4), (0.2, 0.3), (0.5, 0.2), (0.9, 0.1)])
def test_other_developers_of_the_same_kinds_take_the_published_share(right: float, near: float) -> None:
    model = offered(right, near)
    by = moved(model, KINDS, WANTED, seed=1)
    others = people(seed=2)
    assert BAND[0] <= taken(model, others, by, seed=2) <= BAND[1]  # type: ignore[arg-type]
    assert LEAST < by < MOST


def test_the_better_the_model_the_less_they_are_inclined_and_as_they_are_they_take_another_share() -> None:
    models = [offered(0.05, 0.4), offered(0.5, 0.2), offered(0.9, 0.1)]
    worst, middle, best = (moved(model, KINDS, WANTED, seed=1) for model in models)
    assert worst > middle > best
    as_they_are = [taken(model, people(seed=2), 0.0, seed=2) for model in models]  # type: ignore[arg-type]
    assert any(not BAND[0] <= share <= BAND[1] for share in as_they_are), "there would be nothing to calibrate"


def test_what_nobody_would_keep_is_not_made_welcome_and_nothing_offered_moves_nobody() -> None:
    assert moved(offered(0.0, 0.0), KINDS, WANTED, seed=1) <= MOST
    silent = [Asked("a.py:1:1", "", "steady", 0, "", "x = 1", 0.5, "")]
    assert moved(silent, KINDS, WANTED, seed=1) == moved([], KINDS, WANTED, seed=1) == 0.0
