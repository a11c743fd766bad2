"""How answers about errors fared, language by language, as the record has it: resolved, invented names, withheld. Pure.

What an answer was worth is what learning says of it (`reward_debug`): there is no second opinion here.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tacit.learner.debug_record import evidence_of
from tacit.learner.reward_debug import correctness
from tacit.protocol.events import SuggestionRecord

LEAST: Final = 10
"""Answers of which it is known whether they helped, below which a language's share is not compared with another's."""
_Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class Share:
    """A part of some, with its 95 % interval (Wilson's)."""

    part: int
    of: int

    @property
    def value(self) -> float | None:
        return self.part / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        if not self.of:
            return None
        share, square = self.part / self.of, _Z * _Z
        middle = (share + square / (2 * self.of)) / (1 + square / self.of)
        half = _Z * math.sqrt(share * (1 - share) / self.of + square / (4 * self.of * self.of)) / (1 + square / self.of)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Kpis:
    """Of the answers of one language, LSP's id."""

    language: str
    asked: int
    withheld: Share
    """Of the fixes that were asked for: none was shown."""
    resolved: Share
    """Of the shown answers of which it is known: the error went away by tools, a run or the developer's keeping of it, and
    nobody called it wrong."""
    hallucinated: Share
    """Of the shown answers: flagged as making use of what does not exist."""
    caught: Share
    """Of all drawn candidates: dropped before anybody saw them for a name or import that nothing defines."""
    liked: Share
    """Of the rated ones: rated well."""


@dataclass(frozen=True, slots=True)
class Parity:
    worst: str
    best: str
    ratio: float
    """Share of the worst over that of the best, in [0, 1]."""


def kpis(records: Iterable[SuggestionRecord]) -> list[Kpis]:
    """Of the debugging answers among them, the language with the most first."""
    by_language: defaultdict[str, list[SuggestionRecord]] = defaultdict(list)
    for record in records:
        if record.suggestion.debug is not None:
            by_language[record.suggestion.context.language or "unknown"].append(record)
    return [_of(name, found) for name, found in sorted(by_language.items(), key=lambda one: (-len(one[1]), one[0]))]


def parity(found: Sequence[Kpis]) -> Parity | None:
    """None: fewer than two languages have LEAST answers to compare, or none of theirs helped."""
    rates = sorted(
        (share, one.language) for one in found if one.resolved.of >= LEAST and (share := one.resolved.value) is not None
    )
    if len(rates) < 2 or rates[-1][0] == 0:
        return None
    return Parity(rates[0][1], rates[-1][1], rates[0][0] / rates[-1][0])


def _of(language: str, records: Sequence[SuggestionRecord]) -> Kpis:
    evidence = [evidence_of(record) for record in records]
    shown = [one for one in evidence if one.shown]
    fixes = [one for one in evidence if one.kind == "fix"]
    known = [(one, value) for one in shown if (value := _helped(one.flag, one.rating, correctness(one))) is not None]
    draws = [draw for record in records if record.suggestion.debug is not None for draw in record.suggestion.debug.draws]
    invented = [draw for draw in draws if any(one.name == "names" and one.result == "failed" for one in draw.checks)]
    rated = [one.rating for one in shown if one.rating is not None]
    return Kpis(
        language=language,
        asked=len(records),
        withheld=Share(sum(not one.shown for one in fixes), len(fixes)),
        resolved=Share(sum(helped for _, helped in known), len(known)),
        hallucinated=Share(sum(one.flag == "hallucination" for one in shown), len(shown)),
        caught=Share(len(invented), len(draws)),
        liked=Share(sum(one == 1 for one in rated), len(rated)),
    )


def _helped(flag: str | None, rating: int | None, correct: float | None) -> bool | None:
    """None: nobody knows. A complaint outweighs what tools say; applause alone resolves nothing."""
    if flag in ("hallucination", "wrong") or rating == -1:
        return False
    return None if correct is None else correct > 0
