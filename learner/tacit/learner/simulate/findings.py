"""What an experiment found: arms beside one another, with intervals. Pure.

Metrics are fixed here, before any run: perplexity of what was really written on the next day (all scored days together), and of
an unseen project after the last night; on the last day, typed live: shown, accepted, kept characters. Intervals are 95 %
percentile bootstraps over seeds and, within each, sessions (places of one session are not independent). Arms are paired: the same
texts, the same developers, the same luck.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from random import Random
from typing import Final

from tacit.learner.reward import edit_distance
from tacit.learner.simulate.arms import CLASSICAL, FROZEN
from tacit.learner.simulate.developer import Decision, Traits, decide
from tacit.learner.simulate.measure import Interval, clustered, count
from tacit.learner.simulate.personas import person
from tacit.learner.simulate.workday import Workday
from tacit.protocol.events import Accepted, Settled

PUBLISHED: Final = {
    "acceptance": 0.258,
    "unchanged at 10 s": 0.64,
    "unchanged at 2 min": 0.56,
    "unchanged at 10 min": 0.46,
    "mostly unchanged at 10 min": 0.76,
}
"""Of 2,047 Copilot users; theirs of the first row is at 30 s."""
BAND: Final = (0.19, 0.33)
"""Acceptance within a quarter of the published mean: what a calibrated mixture of developers must show."""
MOSTLY: Final = 1 / 3
"""Largest normalised edit distance of what is mostly unchanged."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One text that was really written, under one policy."""

    suggestion_id: str
    session: str
    tokens: int
    nats: float
    """-log p of all of it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm after one night of one seed."""

    seed: int
    arm: str
    night: int
    """0: before any."""
    next_day: tuple[Scored, ...]
    unseen: tuple[Scored, ...]
    """Only after the last night."""
    seconds: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Live:
    """The last day, typed with one arm."""

    seed: int
    arm: str
    day: Workday


@dataclass(frozen=True, slots=True)
class Figure:
    """One arm's figure and how it stands to frozen's."""

    value: float | None
    against: Interval | None
    """Relative change, or None where there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one session."""

    places: int
    shown: int
    accepted: int
    kept: int


def perplexity(texts: Sequence[Scored]) -> float | None:
    """Per token."""
    tokens = sum(text.tokens for text in texts)
    return exp(sum(text.nats for text in texts) / tokens) if tokens else None


def change(pairs: Mapping[int, tuple[Sequence[Scored], Sequence[Scored]]]) -> Interval | None:
    """Of perplexity, (second / first) - 1, by seed: the same texts under two policies."""
    sums: dict[int, list[tuple[int, float]]] = {}
    for seed, (old, new) in pairs.items():
        of_session: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        before = {text.suggestion_id: text for text in old}
        for text in new:
            if text.suggestion_id in before:
                held = of_session[text.session]
                held[0] += text.tokens
                held[1] += text.nats - before[text.suggestion_id].nats
        sums[seed] = [(int(tokens), nats) for tokens, nats in of_session.values()]
    if not any(sums.values()):
        return None
    return clustered(sums, lambda chosen: exp(sum(n for _, n in chosen) / sum(t for t, _ in chosen)) - 1)


@dataclass(frozen=True, slots=True)
class Findings:
    cells: tuple[Cell, ...]
    lives: tuple[Live, ...]
    days: Mapping[int, tuple[Workday, ...]]
    """What was logged with the base, by seed, in order."""
    moved: Mapping[int, float] = field(default_factory=dict)
    """By how much its developers were more inclined than their personas have it, by seed; empty: nobody was calibrated."""

    def arms(self) -> list[str]:
        """In the order of the experiment."""
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    def live_arms(self) -> list[str]:
        return list(dict.fromkeys(live.arm for live in self.lives))

    def nights(self) -> int:
        return max((cell.night for cell in self.cells), default=0)

    def texts(self, arm: str, *, night: int | None = None, unseen: bool = False) -> dict[int, list[Scored]]:
        """By seed: of one night, or of all nights but night 0."""
        found: dict[int, list[Scored]] = defaultdict(list)
        for cell in self.cells:
            if cell.arm == arm and (cell.night == night if night is not None else cell.night > 0):
                found[cell.seed] += cell.unseen if unseen else cell.next_day
        return found

    def figure(self, arm: str, *, night: int | None = None, unseen: bool = False, beside: str = FROZEN.name) -> Figure:
        """Perplexity, and its change against another arm's on the same texts."""
        own, other = (self.texts(name, night=night, unseen=unseen) for name in (arm, beside))
        value = perplexity([text for texts in own.values() for text in texts])
        pairs = {seed: (other.get(seed, []), texts) for seed, texts in own.items()}
        return Figure(value, None if arm == beside else change(pairs))

    def best_classical(self) -> str:
        """The classical arm with the lowest perplexity, chosen on the very figures it is compared on; empty without any."""
        values = {arm: self.figure(arm).value for arm in self.arms() if arm in CLASSICAL}
        known = {arm: value for arm, value in values.items() if value is not None}
        return min(known, key=lambda arm: known[arm]) if known else ""

    def sums(self, arm: str) -> dict[int, dict[int, Sums]]:
        """Of the live day, by seed and session."""
        found: dict[int, dict[int, Sums]] = {}
        for live in self.lives:
            if live.arm == arm:
                found[live.seed] = session_sums(live.day)
        return found

    def oracle(self) -> dict[int, dict[int, Sums]]:
        """The live day, had every suggestion been the line that the developer meant to write."""
        found: dict[int, dict[int, Sums]] = {}
        for live in self.lives:
            if live.arm == FROZEN.name:
                found[live.seed] = oracle_sums(live.day, live.seed, self.moved.get(live.seed, 0.0))
        return found

    def behaviour(self) -> dict[str, Interval]:
        """What the developers did with the base's suggestions, in the published table's terms."""
        return behaviour(self.days)


def session_sums(day: Workday) -> dict[int, Sums]:
    found = {}
    for session in sorted({one.session for one in day.asked}):
        ids = {one.suggestion_id for one in day.asked if one.session == session}
        places = sum(one.session == session for one in day.asked)
        counted = count([r for r in day.records if r.suggestion.suggestion_id in ids], places)
        found[session] = Sums(places, counted.shown, counted.accepted, counted.kept_chars)
    return found


def oracle_sums(day: Workday, seed: int, moved: float = 0.0) -> dict[int, Sums]:
    found = {}
    for session in sorted({one.session for one in day.asked}):
        asked = [one for one in day.asked if one.session == session]
        traits: Traits = person(asked[0].persona, Random(f"{seed}:{session}:{asked[0].persona}"), moved)
        decisions: list[tuple[str, Decision]] = []
        for one in asked:
            line = one.wanted.partition("\n")[0] or one.wanted
            decisions.append((line, decide(line, one.wanted, one.waited, traits, Random(f"{seed}:{one.place}"))))
        taken = [(line, d) for line, d in decisions if d.action in ("accept", "partial")]
        found[session] = Sums(len(asked), len(asked), len(taken), sum(d.length for _, d in taken))
    return found


def ratio(
    old: Mapping[int, Mapping[int, Sums]], new: Mapping[int, Mapping[int, Sums]], of: Callable[[Sequence[Sums]], float | None]
) -> Interval | None:
    """Relative change of a figure, (new / old) - 1, session by session; None where frozen's is nothing."""
    pairs = {
        seed: [(old[seed][session], sums) for session, sums in sessions.items() if session in old.get(seed, {})]
        for seed, sessions in new.items()
    }
    everything = [pair for both in pairs.values() for pair in both]
    if not everything or not of([first for first, _ in everything]):
        return None

    def statistic(chosen: Sequence[tuple[Sums, Sums]]) -> float:
        first, second = of([a for a, _ in chosen]), of([b for _, b in chosen])
        # A draw of sessions in which nothing happened says nothing.
        return (second or 0.0) / first - 1 if first else 0.0

    return clustered(pairs, statistic)


def shown(sums: Sequence[Sums]) -> float | None:
    return float(sum(one.shown for one in sums))


def accepted_rate(sums: Sequence[Sums]) -> float | None:
    """Of what was shown."""
    total = sum(one.shown for one in sums)
    return sum(one.accepted for one in sums) / total if total else None


def kept(sums: Sequence[Sums]) -> float | None:
    """Characters that came in by acceptance and are still there."""
    return float(sum(one.kept for one in sums))


def behaviour(days: Mapping[int, Sequence[Workday]]) -> dict[str, Interval]:
    """Shares, each over its own whole: of the shown, of the accepted that reached the horizon."""
    taken: dict[int, list[list[float]]] = {}
    survived: dict[str, dict[int, list[list[float]]]] = {name: {} for name in PUBLISHED if name != "acceptance"}
    for seed, worked in days.items():
        for day in worked:
            ids: dict[int, set[str]] = defaultdict(set)
            for one in day.asked:
                ids[one.session].add(one.suggestion_id)
            for session in sorted(ids):
                records = [r for r in day.records if r.suggestion.suggestion_id in ids[session] and r.suggestion.shown]
                taken.setdefault(seed, []).append([float(count([r], 1).accepted > 0) for r in records])
                for name, horizon, most in (
                    ("unchanged at 10 s", "10s", 0.0),
                    ("unchanged at 2 min", "2m", 0.0),
                    ("unchanged at 10 min", "10m", 0.0),
                    ("mostly unchanged at 10 min", "10m", MOSTLY),
                ):
                    values = []
                    for record in records:
                        chars = max((e.accepted_chars for e in record.events if isinstance(e, Accepted)), default=0)
                        spans = [e.span_text for e in record.events if isinstance(e, Settled) and e.horizon == horizon]
                        if chars and spans and spans[-1] is not None:
                            values.append(float(edit_distance(record.suggestion.text[:chars], spans[-1]) <= most))
                    survived[name].setdefault(seed, []).append(values)
    return {"acceptance": _share(taken)} | {name: _share(found) for name, found in survived.items()}


def _share(seeds: Mapping[int, Sequence[Sequence[float]]]) -> Interval:
    def mean(chosen: Sequence[Sequence[float]]) -> float:
        values = [value for session in chosen for value in session]
        return sum(values) / len(values) if values else 0.0

    return clustered({seed: [one for one in sessions if one] for seed, sessions in seeds.items()}, mean)
