"""The reward of a completion: how much of what was shown was kept. Pure; reads one SuggestionRecord, touches nothing else.

R = clip(u·S - price + d + e, -1, 1). Acceptance by itself earns nothing: S is read from the text that is still there
later. Constants are LEARNING.md's, "Reward of a completion"; the threshold τ is Cursor Tab's (+0.75 / -0.25).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from rapidfuzz.distance import LCSseq, Levenshtein

from tacit.protocol.events import Accepted, Rated, Rejected, Settled, Shown, SuggestionRecord, TypedThrough, Undone

HORIZONS: Final[Mapping[str, float]] = MappingProxyType({"10s": 0.15, "2m": 0.25, "10m": 0.30, "save": 0.30})
"""ω of each horizon at which the text is read; renormalised over those that were reached."""

TAU: Final = 0.25
"""What showing costs: a suggestion is worth showing above this chance of being kept whole."""
DISMISSED: Final = 0.35
"""What it costs when the developer pressed Esc; takes the place of τ."""
IGNORED: Final = 0.15
"""What it costs when the cursor moved away, or another suggestion took the place; takes the place of τ."""
UNDONE: Final = 0.25
"""Added to τ when the text was taken out again at once."""
UNDONE_WITHIN_MS: Final = 15_000
SEEN_MS: Final = 300
"""Below this a person has not read the suggestion."""
TYPED_THROUGH: Final = 0.8
"""Typing exactly what was suggested is a hit, worth a little less than taking it."""
FULL_KEPT_CHARS: Final = 80
RATING_WEIGHT: Final = 3.0

E = TypeVar("E")

Outcome = Literal["rated", "undone", "accepted", "typed_through", "rejected", "none"]


@dataclass(frozen=True, slots=True)
class Reward:
    value: float
    """In [-1, 1]; 0 when censored."""
    parts: Mapping[str, float]
    """The terms that were added, before clipping."""
    censored: str
    """Why there is no label; empty when there is one."""
    weight: float
    """How much this label counts: 1, or 3 for an explicit rating."""
    outcome: Outcome

    @property
    def labelled(self) -> bool:
        return not self.censored


def reward(record: SuggestionRecord, *, analysis: float = 0.0, execution: float = 0.0) -> Reward:
    """R of one completion.

    analysis: d, what analysers found inside the span (syntax errors, unresolved names), in [-1.3, 0.4].
    execution: e, what covering tests did, in [-0.6, 0.3].
    """
    events = record.events
    rating = _last(events, Rated)
    if rating is not None:
        value = -1.0 if rating.flag == "hallucination" else float(rating.value)
        return Reward(value, {"rating": value}, "", RATING_WEIGHT, "rated")
    if not record.suggestion.shown and not any(isinstance(e, Shown) for e in events):
        return _censored("not shown", "none")

    accepted = max((e for e in events if isinstance(e, Accepted)), key=lambda e: e.accepted_chars, default=None)
    typed = max((e for e in events if isinstance(e, TypedThrough)), key=lambda e: e.matched_chars, default=None)
    rejected = _last(events, Rejected)
    undone = next((e for e in events if isinstance(e, Undone) and e.after_ms <= UNDONE_WITHIN_MS), None)
    terms = {"analysis": analysis, "execution": execution}
    # Typed before it was first shown: the developer's own, whatever the suggestion said of it.
    before = record.suggestion.typed_before

    if accepted is not None:
        if undone is not None:
            return _sum({"price": -TAU, "undone": -UNDONE, **terms}, "undone")
        text = record.suggestion.text[: accepted.accepted_chars]
        spans = {e.horizon: e.span_text for e in events if isinstance(e, Settled) and e.span_text is not None}
        reached = {h: weight for h, weight in HORIZONS.items() if h in spans}
        if not reached:
            # Acceptance alone says nothing about what was kept.
            return _censored("accepted, never seen settled", "accepted")
        # What changed is a larger share of what was helped with than of the whole.
        scale = len(text) / max(1, len(text) - before)
        changed = {h: min(1.0, scale * edit_distance(text, spans[h] or "")) for h in reached}
        kept_share = sum(w * (1 - changed[h]) for h, w in reached.items()) / sum(reached.values())
        kept_chars = max(0, min(kept_length(text, spans[h] or "") for h in reached) - before)
        fraction = max(0, accepted.accepted_chars - before) / max(1, accepted.total_chars - before)
        return _sum({"kept": worth(kept_chars) * fraction * kept_share, "price": -TAU, **terms}, "accepted")

    if rejected is not None and rejected.reason == "focus_lost":
        return _censored("the document was left", "rejected")
    if typed is None and rejected is None:
        return _censored("no decision", "none")
    visible = max(e.visible_ms for e in (typed, rejected) if e is not None)
    if visible < SEEN_MS:
        return _censored(f"visible for less than {SEEN_MS} ms", "typed_through" if typed else "rejected")
    hit = 0.0
    if typed is not None:
        matched = max(0, typed.matched_chars - before)
        hit = worth(matched) * TYPED_THROUGH * min(1.0, matched / max(1, typed.total_chars - before))
    price = TAU if rejected is None else {"dismissed": DISMISSED, "typed_over": TAU}.get(rejected.reason, IGNORED)
    return _sum({"kept": hit, "price": -price, **terms}, "rejected" if typed is None else "typed_through")


def worth(kept_chars: int) -> float:
    """u: longer kept text is worth more, from 0.4 to 1 at 80 characters, so that trivial completions do not pay."""
    return 0.4 + 0.6 * min(1.0, log(1 + kept_chars) / log(1 + FULL_KEPT_CHARS))


def edit_distance(suggested: str, written: str) -> float:
    """NED: Levenshtein distance by the longer length, in [0, 1]."""
    return float(Levenshtein.normalized_distance(suggested, written))


def kept_length(suggested: str, written: str) -> int:
    """Characters of the suggestion that are still there, in order."""
    return int(LCSseq.similarity(suggested, written))


def _sum(parts: dict[str, float], outcome: Outcome) -> Reward:
    return Reward(max(-1.0, min(1.0, sum(parts.values()))), parts, "", 1.0, outcome)


def _censored(why: str, outcome: Outcome) -> Reward:
    return Reward(0.0, {}, why, 0.0, outcome)


def _last(events: tuple[object, ...], kind: type[E]) -> E | None:
    return next((e for e in reversed(events) if isinstance(e, kind)), None)
