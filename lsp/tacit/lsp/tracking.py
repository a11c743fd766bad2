"""What became of the suggestions in one document, from its changes alone. Pure: texts, offsets, milliseconds in, outcomes out.

Must not know LSP, files, the network or the wire types. Offsets are code points of the document as it is; counts of
characters are of the suggestion, whose line ends are LF.

A suggestion is *live* while it may be visible (at most one is), then *decided*: accepted, typed through or rejected. From
then on its hole is followed through every change, and read again at the horizons:

    offered ── typed through, character by character ──▶ decided
       │  └─── a chunk of it appears in one change ────▶ accepted (in part: stays live)
       ├────── a chunk of another candidate appears ───▶ rejected: superseded; that one is live
       ├────── other text appears there ───────────────▶ rejected: typed_over
       └────── a change or a request elsewhere, Esc … ─▶ rejected: ignored, dismissed, superseded, focus_lost
    proposed ─ a whole change; in the document ───────────▶ accepted; else rejected: ignored, superseded, dismissed
    decided ── 10 s quiet, 2 min, 10 min, save, close ─▶ settled
    accepted ─ taken out again in one step ────────────▶ undone
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tacit.lsp.documents import Step
from tacit.lsp.edits import Edit, slid, trimmed
from tacit.lsp.matching import Match, match, raw_length, typed, unified
from tacit.lsp.outcomes import Accepted, Horizon, Outcome, Rejected, RejectReason, Settled, TypedThrough, Undone
from tacit.lsp.tracked import Tracked

SETTLED_CHARS: Final = 2000
"""y* is cut here."""
QUIET_MS: Final = 10_000
TIMED: Final[dict[Horizon, float]] = {"2m": 120_000, "10m": 600_000}
SAVE_AGAIN_MS: Final = 30_000
"""Editors that save by themselves save every second: the text at a save is read again only this much later, if it differs."""
KEYS_AT_ONCE: Final = 4
KEYS_PER_MS: Final = 0.025
"""Nobody types faster, be it for longer than a second. Some editors tell a menu's entry character by character, all at once."""
PROPOSED_MS: Final = 30_000
"""A proposed change that is not in the document by then has been dropped: editors apply one as soon as they have it."""
BY_HAND_MS: Final = 2_000
"""A change that comes later and key by key was typed."""
MOST_TRACKED: Final = 100
"""Per document; beyond it the oldest are closed."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left of the live suggestion at the cursor."""

    suggestion_id: str
    text: str
    """Line ends LF."""
    replaces: int
    """How many characters after the cursor it takes the place of: brackets that the editor has closed by itself."""
    whole: bool
    """Nothing of it has been typed or accepted since it was shown."""


class Tracker:
    """The suggestions of one document. Every method that changes something returns the outcomes, in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._live: Tracked | None = None
        self._others: tuple[tuple[str, str], ...] = ()
        """Candidates that the editor can show in place of the live one: id and text."""
        self._proposal: Tracked | None = None
        """The change that the editor has been given and may apply."""
        self._decided: list[Tracked] = []
        self._changed_at = -math.inf

    @property
    def text(self) -> str:
        """The document's."""
        return self._text

    @property
    def live_id(self) -> str | None:
        """Of the suggestion that may be visible now."""
        return self._live.id if self._live else None

    def offer(
        self,
        suggestion_id: str,
        text: str,
        at: int,
        now: float,
        *,
        right: int | None = None,
        others: Sequence[tuple[str, str]] = (),
    ) -> list[Outcome]:
        """A suggestion is shown whose text begins at this offset; what was live before is superseded.

        right: the end of the hole, if some of the text stands there already. others: ids and texts of more candidates for the
        same hole. One that was shown before is judged anew; of the two judgements the record has both.
        """
        outcomes = self._leave("superseded", now)
        self._decided = [tracked for tracked in self._decided if tracked.id != suggestion_id]
        live = self._live = Tracked(suggestion_id, unified(text), at, at if right is None else right, now, edited_at=now)
        if (found := self._match(live)) is not None:
            live.taken = live.unseen = found.taken
        self._others = tuple((name, unified(other)) for name, other in others)
        return outcomes

    def passed_over(self, suggestion_id: str, text: str, left: int, right: int, now: float) -> None:
        """It was generated for this hole and is not shown: what is written there is read at the horizons all the same."""
        if suggestion_id != self.live_id and all(tracked.id != suggestion_id for tracked in self._decided):
            tracked = Tracked(suggestion_id, unified(text), left, right, now, decided_at=now, edited_at=now)
            self._decided = [*self._decided[1 - MOST_TRACKED :], tracked]

    def propose(self, suggestion_id: str, text: str, left: int, right: int, now: float) -> list[Outcome]:
        """The editor is given a change: `[left, right)` becomes this text. What was proposed before is superseded."""
        outcomes = self._withdraw("superseded", now)
        original = unified(self._text[left:right])
        self._proposal = Tracked(suggestion_id, unified(text), left, right, now, edited_at=now, original=original)
        return outcomes

    def not_applied(self, suggestion_id: str, now: float) -> list[Outcome]:
        """The editor says that it did not apply the change."""
        mine = self._proposal is not None and self._proposal.id == suggestion_id
        return self._withdraw("dismissed", now, inferred=False) if mine else []

    def remaining(self, offset: int) -> Remaining | None:
        """What to show at the cursor without asking the model: the rest of the live suggestion, if it fits there."""
        live = self._live
        if live is None or offset != self._cursor(live):
            return None
        found = self._match(live)
        if found is None or found.taken >= len(live.text):
            return None
        return Remaining(live.id, live.text[found.taken :], len(found.closers), found.taken == live.unseen)

    def asked(self, offset: int, now: float) -> list[Outcome]:
        """The editor asks for suggestions here: the cursor is here. If it is elsewhere, the live suggestion was passed over."""
        live = self._live
        return self._leave("ignored", now) if live is not None and offset != self._cursor(live) else []

    def change(self, steps: Sequence[Step], now: float) -> list[Outcome]:
        """One didChange: all its edits belong together."""
        if not steps:
            return []
        outcomes: list[Outcome] = []
        everything = self._everything()
        holes = [self._hole(tracked) for tracked in everything]
        self._text = steps[-1].after
        for tracked, hole in zip(everything, holes, strict=True):
            inserted = self._follow(tracked, steps, now)
            if inserted:
                outcomes += self._undo(tracked, hole, now)
                if tracked is self._live:
                    outcomes += self._compare(tracked, hole, inserted, now)
                elif tracked is self._proposal:
                    outcomes += self._applied(tracked, inserted, now)
        self._changed_at = now
        return outcomes

    def dismissed(self, suggestion_id: str, now: float) -> list[Outcome]:
        """The editor says that it was sent away."""
        return self._leave("dismissed", now, inferred=False) if self.live_id == suggestion_id else []

    def shown(self, suggestion_id: str, now: float) -> bool:
        """The editor says that it is visible now, for the first time; False if it is not live."""
        live = self._live
        if live is None or live.id != suggestion_id or live.seen:
            return False
        live.seen = True
        if live.taken == live.unseen:
            live.shown_at = now
        return True

    def turned_to(self, suggestion_id: str, now: float) -> list[Outcome]:
        """Another candidate is the visible one now; nothing if there is none of this name."""
        live = self._live
        text = dict(self._others).get(suggestion_id)
        if live is None or text is None:
            return []
        others = [*(other for other in self._others if other[0] != suggestion_id), (live.id, live.text)]
        taken = live.taken if text.startswith(live.text[: live.taken]) else live.unseen
        outcomes = self._leave("superseded", now)
        self._decided = [tracked for tracked in self._decided if tracked.id != suggestion_id]
        self._live = Tracked(suggestion_id, text, live.left, live.right, live.shown_at, taken=taken, unseen=live.unseen)
        self._live.edited_at = now
        self._others = tuple(others)
        return outcomes

    def confirmed(self, suggestion_id: str, chars: int | None, now: float) -> list[Outcome]:
        """The editor says that so many characters (None: all) were accepted. Believed if the document shows them."""
        for tracked in self._everything():
            if tracked.id == suggestion_id:
                found = self._match(tracked) if tracked.original is None else None
                here = len(tracked.text) if tracked.typed_all else max(tracked.accepted, found.taken if found else 0)
                wanted = len(tracked.text) if chars is None else max(1, min(chars, len(tracked.text)))
                if wanted > here or tracked.undone:
                    return []
                if tracked.accepted == 0:
                    self._accept(tracked, 0, wanted, now)
                visible = (tracked.accepted_at or now) - tracked.shown_at
                return [Accepted(tracked.id, wanted, len(tracked.text), visible, inferred=False)]
        return []

    def focus_lost(self, now: float) -> list[Outcome]:
        """The developer went on in another document."""
        return self._leave("focus_lost", now)

    def saved(self, now: float) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for tracked in self._settling():
            if tracked.saved_at is None or now - tracked.saved_at >= SAVE_AGAIN_MS:
                settled = self._settle(tracked, "save", now)
                seen = f"{settled.span_text}\0{settled.settled_text}"
                if tracked.saved_at is None or seen != tracked.saved_text:
                    tracked.saved_at, tracked.saved_text = now, seen
                    outcomes.append(settled)
        self._forget_finished()
        return outcomes

    def tick(self, now: float) -> list[Outcome]:
        """The horizons that have been reached."""
        expired = self._proposal is not None and now >= self._proposal.shown_at + PROPOSED_MS
        outcomes = self._withdraw("ignored", now) if expired else []
        for tracked in self._settling():
            for horizon, due in sorted(self._dues(tracked).items(), key=lambda item: item[1]):
                if due <= now:
                    tracked.open.discard(horizon)
                    outcomes.append(self._settle(tracked, horizon, now))
        self._forget_finished()
        return outcomes

    def next_due(self) -> float | None:
        """When `tick` has something to say, if nothing changes until then."""
        dues = [due for tracked in self._settling() for due in self._dues(tracked).values()]
        if self._proposal is not None:
            dues.append(self._proposal.shown_at + PROPOSED_MS)
        return min(dues, default=None)

    def close(self, now: float) -> list[Outcome]:
        """The document or the session ends."""
        outcomes = [*self._leave("focus_lost", now), *self._withdraw("focus_lost", now)]
        outcomes += [self._settle(tracked, "close", now) for tracked in self._decided if tracked.open]
        self._decided.clear()
        return outcomes

    # Following a hole through changes

    def _everything(self) -> list[Tracked]:
        return [*self._decided, *(one for one in (self._live, self._proposal) if one is not None)]

    def _hole(self, tracked: Tracked) -> str:
        """What stands in it, cut where it is too long to be compared with the suggestion."""
        longest = 2 * max(len(tracked.text), len(tracked.original or "")) + 16
        return unified(self._text[tracked.left : min(tracked.right, tracked.left + longest)])

    def _match(self, tracked: Tracked) -> Match | None:
        return match(self._hole(tracked), tracked.text)

    def _cursor(self, live: Tracked) -> int:
        """Where the rest of a live suggestion goes."""
        return live.left + raw_length(self._text[live.left : live.right], live.taken)

    def _follow(self, tracked: Tracked, steps: Sequence[Step], now: float) -> list[str]:
        """Carry its positions through the edits; returns what each one inserted, unified (empty strings for deletions)."""
        inserted: list[str] = []
        for step in steps:
            edit = trimmed(step.edit, step.before)
            if edit.empty:
                continue
            edit = self._told_here(tracked, edit, step)
            tracked.carry(edit, now)
            inserted.append(unified(edit.text))
        return inserted

    def _told_here(self, tracked: Tracked, edit: Edit, step: Step) -> Edit:
        """Of all ways to tell this change the one that is about the hole, if there is one nearer than the change is long."""
        left, right = tracked.left, tracked.right
        raw = step.before[left:right]
        if edit.start == edit.end and len(edit.text) >= 2 and edit.text.strip() and not left <= edit.start <= right:
            target = left + raw_length(raw, tracked.taken) if tracked is self._live else (left if edit.start < left else right)
            return slid(edit, step.before, step.after, target) if abs(edit.start - target) <= len(edit.text) else edit
        overlaps = edit.start < right and edit.end > left
        if not edit.text and tracked.accepted and overlaps and not (left <= edit.start and edit.end <= right):
            return slid(edit, step.before, step.after, left + raw_length(raw, tracked.before_acceptance))
        return edit

    def _compare(self, live: Tracked, old_hole: str, inserted: Sequence[str], now: float) -> list[Outcome]:
        """The live suggestion after a change."""
        hole = self._hole(live)
        if hole == old_hole:
            return self._leave("ignored", now)
        found = match(hole, live.text)
        if other := self._accepted_other(hole, inserted, found):
            outcomes = self.turned_to(other, now)
            return outcomes + (self._compare(self._live, old_hole, inserted, now) if self._live is not None else [])
        if found is None:
            return self._leave("typed_over", now)
        before, live.taken = live.taken, found.taken
        if found.taken <= before:
            return []
        remaining = live.text[before:]
        keys = min(found.taken - before, sum(map(bool, inserted)))
        possible = KEYS_AT_ONCE + KEYS_PER_MS * min(now - self._changed_at, 1000)
        if keys <= possible and all(typed(piece, remaining) for piece in inserted):
            if found.taken == len(live.text):
                live.typed_all = live.accepted == 0
                return self._leave(None, now)
            return []
        self._accept(live, before, found.taken, now)
        accepted = Accepted(live.id, live.accepted, len(live.text), now - live.shown_at, inferred=True)
        return [accepted, *(self._leave(None, now) if live.taken == len(live.text) else ())]

    def _applied(self, proposal: Tracked, inserted: Sequence[str], now: float) -> list[Outcome]:
        """The proposed change after a change. An editor may tell it edit by edit: nothing is decided until all of it is there."""
        if self._hole(proposal) != proposal.text:
            return []
        self._proposal = None
        self._decide(proposal, now)
        visible, total = now - proposal.shown_at, max(1, len(proposal.text))
        if now - proposal.shown_at > BY_HAND_MS and all(len(piece) <= 1 for piece in inserted):
            proposal.typed_all = True
            return [TypedThrough(proposal.id, total, total, visible), *self._forget_oldest(now)]
        proposal.accepted, proposal.accepted_at = total, now
        proposal.span_start, proposal.span_end = proposal.left, proposal.right
        return [Accepted(proposal.id, total, total, visible, inferred=True), *self._forget_oldest(now)]

    def _accepted_other(self, hole: str, inserted: Sequence[str], found: Match | None) -> str:
        """The other candidate of which a chunk has just come in, more than of the live one; empty: none."""
        live = self._live
        if live is None or not self._others or live.accepted or all(typed(piece, live.text[live.taken :]) for piece in inserted):
            return ""
        best, name = max(live.taken, found.taken if found else 0), ""
        for other, text in self._others:
            if (matched := match(hole, text)) is not None and matched.taken > best:
                best, name = matched.taken, other
        return name

    def _accept(self, tracked: Tracked, before: int, taken: int, now: float) -> None:
        if tracked.accepted == 0:
            tracked.before_acceptance = before
            tracked.accepted_at = now
        if tracked.decided_at is None:
            tracked.decided_at = now
        tracked.accepted = max(tracked.accepted, taken)
        tracked.span_start = tracked.left
        tracked.span_end = tracked.left + raw_length(self._text[tracked.left : tracked.right], taken)

    def _undo(self, tracked: Tracked, old_hole: str, now: float) -> list[Outcome]:
        """Undone, if this step took the accepted text out and left what was there before it."""
        if tracked.accepted == 0 or tracked.undone or not old_hole.startswith(tracked.text[: tracked.accepted]):
            return []
        if tracked.original is not None:
            if self._hole(tracked) != tracked.original:
                return []
            tracked.undone = True
            return [Undone(tracked.id, now - tracked.accepted_at)]
        found = self._match(tracked)
        if found is None or found.taken > tracked.before_acceptance or tracked.accepted - found.taken < 2:
            return []
        tracked.undone = True
        tracked.taken = found.taken
        if tracked is self._live:
            self._live = None
            self._decided.append(tracked)
        return [Undone(tracked.id, now - tracked.accepted_at)]

    # Decisions

    def _leave(self, reason: RejectReason | None, now: float, *, inferred: bool = True) -> list[Outcome]:
        """The live suggestion is over. reason: why it was not (wholly) taken; None: it was."""
        live = self._live
        if live is None:
            return []
        self._live, self._others = None, ()
        visible = now - live.shown_at
        outcomes: list[Outcome] = []
        if live.accepted == 0:
            if live.taken > live.unseen:
                outcomes.append(TypedThrough(live.id, live.taken, len(live.text), visible))
            if reason is not None:
                outcomes.append(Rejected(live.id, reason, visible, inferred))
        self._decide(live, now)
        return outcomes + self._forget_oldest(now)

    def _withdraw(self, reason: RejectReason, now: float, *, inferred: bool = True) -> list[Outcome]:
        """The proposed change is over, and was not applied."""
        proposal, self._proposal = self._proposal, None
        if proposal is None:
            return []
        self._decide(proposal, now)
        return [Rejected(proposal.id, reason, now - proposal.shown_at, inferred), *self._forget_oldest(now)]

    def _decide(self, tracked: Tracked, now: float) -> None:
        if tracked.decided_at is None:
            tracked.decided_at = now
        self._decided.append(tracked)

    def _forget_oldest(self, now: float) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(self._decided) > MOST_TRACKED:
            oldest = self._decided.pop(0)
            if oldest.open:
                outcomes.append(self._settle(oldest, "close", now))
        return outcomes

    # Settling

    def _settling(self) -> list[Tracked]:
        """Decided ones, and a live one of which a part was accepted."""
        live = self._live
        return [*self._decided, *([live] if live is not None and live.decided_at is not None else ())]

    def _dues(self, tracked: Tracked) -> dict[Horizon, float]:
        decided = tracked.decided_at or 0.0
        dues: dict[Horizon, float] = {"10s": max(decided, tracked.edited_at) + QUIET_MS}
        dues.update({horizon: decided + after for horizon, after in TIMED.items()})
        return {horizon: due for horizon, due in dues.items() if horizon in tracked.open}

    def _settle(self, tracked: Tracked, horizon: Horizon, now: float) -> Settled:
        span = unified(self._text[tracked.span_start : tracked.span_end]) if tracked.accepted else None
        # Cut before unifying, generously: a hole may have grown to most of the document.
        settled = unified(self._text[tracked.left : min(tracked.right, tracked.left + 2 * SETTLED_CHARS)])[:SETTLED_CHARS]
        return Settled(tracked.id, horizon, max(0.0, now - (tracked.decided_at or now)), span, settled)

    def _forget_finished(self) -> None:
        self._decided = [tracked for tracked in self._decided if tracked.open or tracked.saved_at is None]
