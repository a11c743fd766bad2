"""Before and after a night, from what the product logged: counts, kept characters, perplexity, intervals. Pure.

Two passes over the same places are compared place by place. Intervals are 95 % percentile bootstraps over places (Efron &
Tibshirani 1993): with a few dozen places they are wide, and a difference whose interval holds 0 is not a finding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from random import Random
from typing import TypeVar

from tacit.learner.samples import kept_characters
from tacit.protocol.events import Accepted, Rejected, SuggestionRecord, TypedThrough, Undone

DRAWS = 2000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Count:
    """What became of one pass's suggestions."""

    places: int
    shown: int
    accepted: int
    """In full or in part, and not undone."""
    typed_through: int
    rejected: int
    kept_chars: int
    """Characters that came in by acceptance and are still there at the latest horizon."""
    offered_chars: int
    policy_versions: tuple[str, ...]

    @property
    def acceptance(self) -> float:
        return self.accepted / self.shown if self.shown else 0.0


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """False: 0 is inside; the difference may be chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Scored:
    """One written text under two policies."""

    tokens: int
    before: float
    """-log p of the whole text, nats."""
    after: float


def count(records: Sequence[SuggestionRecord], places: int) -> Count:
    shown = [r for r in records if r.suggestion.shown]
    taken = [r for r in shown if _taken(r)]
    return Count(
        places=places,
        shown=len(shown),
        accepted=len(taken),
        typed_through=sum(not _taken(r) and _has(r, TypedThrough) for r in shown),
        rejected=sum(not _taken(r) and not _has(r, TypedThrough) and _has(r, Rejected) for r in shown),
        kept_chars=sum(kept_by_acceptance(r) for r in shown),
        offered_chars=sum(len(r.suggestion.text) for r in shown),
        policy_versions=tuple(sorted({r.suggestion.generation.policy_version for r in records})),
    )


def kept_by_acceptance(record: SuggestionRecord) -> int:
    return sum(kept_characters(record)) if _taken(record) else 0


def accepted(record: SuggestionRecord) -> float:
    return float(_taken(record))


def compare(
    before: Mapping[str, SuggestionRecord], after: Mapping[str, SuggestionRecord], of: Callable[[SuggestionRecord], float]
) -> Interval:
    """Mean difference per place (after - before). Keys name places; one without a suggestion counts 0."""
    differences = [_at(after, place, of) - _at(before, place, of) for place in sorted(before.keys() | after.keys())]
    return bootstrap(differences, lambda chosen: sum(chosen) / len(chosen))


def perplexity(scored: Sequence[Scored]) -> tuple[float, float]:
    """Per token, (before, after)."""
    tokens = sum(s.tokens for s in scored)
    return exp(sum(s.before for s in scored) / tokens), exp(sum(s.after for s in scored) / tokens)


def perplexity_change(scored: Sequence[Scored]) -> Interval:
    """after / before - 1; below 0 is better."""

    def change(chosen: Sequence[Scored]) -> float:
        return exp(sum(s.after - s.before for s in chosen) / sum(s.tokens for s in chosen)) - 1

    return bootstrap(scored, change)


def bootstrap(items: Sequence[T], statistic: Callable[[Sequence[T]], float]) -> Interval:
    """95 %; the same for the same items. Without items nothing is known: 0 within an infinite interval."""
    return clustered({0: items}, statistic)


def clustered(seeds: Mapping[int, Sequence[T]], statistic: Callable[[Sequence[T]], float]) -> Interval:
    """95 %, over seeds, then over what each holds. The same for the same items; without any, 0 within an infinite interval."""
    filled = {seed: items for seed, items in seeds.items() if items}
    if not filled:
        return Interval(0.0, float("-inf"), float("inf"))
    random, names = Random(0), sorted(filled)
    drawn = []
    for _ in range(DRAWS):
        chosen: list[T] = []
        for seed in random.choices(names, k=len(names)) if len(names) > 1 else names:
            chosen += random.choices(filled[seed], k=len(filled[seed]))
        drawn.append(statistic(chosen))
    drawn.sort()
    everything = [item for seed in names for item in filled[seed]]
    return Interval(statistic(everything), drawn[round(0.025 * DRAWS)], drawn[round(0.975 * DRAWS) - 1])


def _at(records: Mapping[str, SuggestionRecord], place: str, of: Callable[[SuggestionRecord], float]) -> float:
    record = records.get(place)
    return of(record) if record is not None and record.suggestion.shown else 0.0


def _taken(record: SuggestionRecord) -> bool:
    return _has(record, Accepted) and not _has(record, Undone)


def _has(record: SuggestionRecord, kind: type) -> bool:
    return any(isinstance(event, kind) for event in record.events)
