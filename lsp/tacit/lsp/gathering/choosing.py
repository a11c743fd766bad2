"""Which pieces are shown and in which order, and for how long that stays. Pure.

An engine computes a prompt anew from its first changed token on, and these pieces stand at its beginning: each change of them
costs the reading of the whole prompt. So what is shown for a document stays, token for token, until the developer is somewhere
else, and even then only gives way to what is clearly better; what stays keeps its place at the front.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tacit.lsp.gathering.candidate import Candidate, Kind

LARGEST_SHARE: Final = 0.5
"""Of the budget, at most, for one piece."""
SMALLEST_TOKENS: Final = 16
"""Less than this is not worth its path's line."""
MOST: Final = 24
"""Pieces at once."""
STILL_GOOD: Final = 0.6
"""What is shown stays if it is worth this share of what would be chosen now."""
IDLE_S: Final = 20.0
"""After such a pause a suggestion may take longer."""
KIND_SHARE: Final[dict[Kind, float]] = {"definition": 1.0, "edit": 0.6, "diagnostic": 0.4, "viewed": 0.4, "retrieved": 0.6}
"""Of the budget, at most, for all pieces of one kind."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    candidate: Candidate
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What is shown, in the prompt's order."""

    chosen: tuple[Candidate, ...] = ()
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)

    @property
    def tokens(self) -> int:
        return sum(one.tokens for one in self.chosen)


@dataclass(frozen=True, slots=True)
class Where:
    """What decides whether the developer is somewhere else."""

    scope: str
    """The function or class around the cursor; empty: none is known."""
    window: int
    """Where the prompt's prefix begins: when that moves, the engine computes everything anew in any case."""


def choose(candidates: Sequence[Candidate], budget: int, before: Sequence[Candidate] = ()) -> Choice:
    """The most valuable ones that fit into `budget` tokens. Those of `before` that are among them come first, as they were."""
    ranked = sorted(candidates, key=lambda one: (-one.score, one.path, one.first))
    chosen: list[Candidate] = []
    left_out: list[LeftOut] = []
    left = budget
    of_kind = {kind: int(share * budget) for kind, share in KIND_SHARE.items()}
    for one in ranked:
        if any(one.same_place(other) for other in chosen):
            left_out.append(LeftOut(one, "the same place is shown already"))
            continue
        room = min(left, of_kind[one.kind], max(int(LARGEST_SHARE * budget), SMALLEST_TOKENS))
        cut = one.within(room) if len(chosen) < MOST and room >= SMALLEST_TOKENS else None
        if cut is None:
            left_out.append(LeftOut(one, f"no room: {one.tokens} tokens, {max(0, room)} left"))
            continue
        chosen.append(cut)
        left -= cut.tokens
        of_kind[one.kind] -= cut.tokens
    return Choice(_stable(chosen, before), tuple(left_out))


def keep(shown: Choice, at: Where, now: Where, anew: Choice, *, invoked: bool, idle_s: float) -> bool:
    """True: go on showing what is shown."""
    if shown.chosen == anew.chosen:
        return True
    if now.window != at.window or invoked:
        return False
    if now.scope == at.scope and idle_s < IDLE_S and shown.chosen:
        return True
    return worth(shown, anew) >= STILL_GOOD * worth(anew, anew)


def worth(shown: Choice, anew: Choice) -> float:
    """The value of what is shown, as it is seen now: what would not be chosen any more counts nothing."""
    return sum(max((new.score for new in anew.chosen if new.same_place(one)), default=0.0) for one in shown.chosen)


def _stable(chosen: Sequence[Candidate], before: Sequence[Candidate]) -> tuple[Candidate, ...]:
    places = {(one.path, one.text): at for at, one in enumerate(before)}
    return tuple(sorted(chosen, key=lambda one: places.get((one.path, one.text), len(before))))
