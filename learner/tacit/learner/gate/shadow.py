"""Step 7 of the gate, before the canary: what a version would have said where nobody saw it. Pure.

Both versions draw anew at places of the day, with the same seed, one after the other. That shows before anybody sees it what a
log of other draws cannot: that it says nothing, that it runs on, that it is off where work has gone since the night. It cannot
show that a version is better: nobody has read it. So a shadow is only refused for what it clearly does worse; whatever goes
through becomes a canary.

Where the developer took what was shown, what stands there now is partly that text, and whoever wrote it would win: such places
count for silence and speed only. Where he did not, what serves has already failed once, which favours the candidate; so the
chance of refusing one that is not worse is below what is stated.

Bounds hold whenever one looks (`sequence`): of differences in [-1, 1], in order. Assumed: given the places before, a place's
difference has the same mean as the others'; places are chosen apart from each other for that (`tacit.learner.shadow`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from tacit.learner.gate.sequence import ALPHA, lower_bound, upper_bound
from tacit.protocol.adapters import ShadowDraw, ShadowPlace

EACH = ALPHA / 3
"""Chance, over a shadow's whole life, of refusing for one of the three reasons a version that gives none."""
SILENCE = 0.10
"""Share of the places at which it may say nothing where what serves says something, less the reverse."""
SLOWER = 0.1
"""(candidate - live) / (candidate + live) of the time to write an answer: a fifth as much again."""

Verdict = Literal["undecided", "canary", "rollback"]


@dataclass(frozen=True, slots=True)
class Watched:
    verdict: Verdict
    message: str
    """For a person."""


def watch(places: Sequence[ShadowPlace], wanted: int) -> Watched:
    """places: in the order in which they were drawn. wanted: so many are enough."""
    gains = [place.gain for place in places if place.gain is not None]
    silence = [float(not place.candidate.chars) - float(not place.live.chars) for place in places]
    slower = [_share(place.candidate.ms, place.live.ms) for place in places]
    ours, theirs = [place.candidate for place in places], [place.live for place in places]
    said = (
        f"Drawn unseen at {len(places)} of {wanted} places: with something to say at {_speaks(ours)} (what serves: "
        f"{_speaks(theirs)}), mean length {_mean(d.chars for d in ours)} ({_mean(d.chars for d in theirs)}) characters, "
        f"{_mean(d.ms for d in ours)} ({_mean(d.ms for d in theirs)}) ms of writing."
    )
    if gains:
        said += f" At the {len(gains)} that the developer wrote himself it is nearer to that by {fmean(gains):+.2f} of reward."
    worse = [
        what
        for what, is_so in (
            ("It is farther from what was written than what serves.", upper_bound(gains, EACH) < 0),
            ("It says nothing too often.", lower_bound(silence, EACH) > SILENCE),
            ("It is slower.", lower_bound(slower, EACH) > SLOWER),
        )
        if is_so
    ]
    if worse:
        return Watched("rollback", " ".join((said, *worse)))
    if len(places) >= wanted:
        return Watched("canary", f"{said} Nothing speaks against trying it.")
    return Watched("undecided", said)


def _share(ours: float, theirs: float) -> float:
    return (ours - theirs) / (ours + theirs) if ours + theirs else 0.0


def _speaks(draws: Sequence[ShadowDraw]) -> int:
    return sum(bool(draw.chars) for draw in draws)


def _mean(values: Iterable[float]) -> str:
    found = list(values)
    return f"{fmean(found):.0f}" if found else "no"
