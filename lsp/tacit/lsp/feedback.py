"""From what the trackers say to wire events: one tracker per open document, one clock, secrets out of every text.

May touch the recorder and the event loop's timer. What is not recorded is tracked all the same: the rest of a suggestion can
be shown again without asking the model only if it is known what was typed of it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tacit.lsp import outcomes
from tacit.lsp.clock import SessionClock
from tacit.lsp.documents import Step
from tacit.lsp.edits import carried_left, carried_right, difference
from tacit.lsp.matching import unified
from tacit.lsp.outcomes import Outcome
from tacit.lsp.recorder import Recorder
from tacit.lsp.tracking import Remaining, Tracker
from tacit.protocol.redaction import last_line, redact_after

if TYPE_CHECKING:
    from tacit.protocol.events import Event, RatingFlag, Suggested

REMEMBERED: Final = 2000
"""Suggestions that can still be rated."""


@dataclass(frozen=True, slots=True)
class _Known:
    uri: str
    recorded: bool
    chars: int
    before: str = ""
    """What stands on the line before the hole: with it, text written there may be a secret."""


class Feedback:
    def __init__(
        self,
        recorder: Recorder,
        clock: SessionClock,
        may_record: Callable[[str], bool],
        heard: Callable[[str, Outcome], None] = lambda uri, outcome: None,
    ) -> None:
        """may_record: whether what happens in this document is recorded now. heard: told of every outcome and its document."""
        self._recorder = recorder
        self._clock = clock
        self._may_record = may_record
        self._heard = heard
        self._trackers: dict[str, Tracker] = {}
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._alternatives: set[str] = set()
        """Candidates that an editor has, and perhaps never showed."""
        self._last_shown: str | None = None
        self._timer: asyncio.TimerHandle | None = None

    # Documents

    def opened(self, uri: str, text: str) -> None:
        self.closed(uri)
        self._trackers[uri] = Tracker(text)

    def changed(self, uri: str, steps: Sequence[Step]) -> None:
        now = self._clock.now()
        self._attend(uri, now)
        if tracker := self._trackers.get(uri):
            self._say(tracker.change(steps, now), now)

    def saved(self, uri: str) -> None:
        now = self._clock.now()
        if tracker := self._trackers.get(uri):
            self._say(tracker.saved(now), now)

    def closed(self, uri: str) -> None:
        now = self._clock.now()
        if tracker := self._trackers.pop(uri, None):
            self._say(tracker.close(now), now)

    def end(self) -> None:
        """The session is over: everything that is open is closed."""
        for uri in list(self._trackers):
            self.closed(uri)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Suggestions

    def asked(self, uri: str, offset: int) -> None:
        """The cursor is here."""
        now = self._clock.now()
        self._attend(uri, now)
        if tracker := self._trackers.get(uri):
            self._say(tracker.asked(offset, now), now)

    def remaining(self, uri: str, offset: int) -> Remaining | None:
        """The rest of the live suggestion, if it fits at the cursor."""
        tracker = self._trackers.get(uri)
        return tracker.remaining(offset) if tracker else None

    def withheld(self, uri: str, suggested: "Suggested", asked_in: str, offset: int, end: int | None = None) -> None:
        """It was generated, for this offset of a text that may be an older one, and is not shown. end: of what it would have
        replaced; None: nothing."""
        self._know(suggested.suggestion_id, _Known(uri, True, len(suggested.text), last_line(suggested.context.prefix)))
        self._record(uri, suggested)
        if (tracker := self._trackers.get(uri)) is not None:
            now = self._clock.now()
            # Whatever has been written there since it was asked for belongs to the hole.
            since = difference(asked_in, tracker.text)
            left, right = carried_left(offset, since), carried_right(offset if end is None else end, since)
            tracker.passed_over(suggested.suggestion_id, suggested.text, left, right, now)
            self._arm()

    def offered(
        self,
        uri: str,
        suggestion_id: str,
        text: str,
        at: int,
        suggested: "Suggested | None",
        *,
        right: int | None = None,
        others: Sequence[tuple[str, str]] = (),
    ) -> None:
        """It is shown; its text begins at this offset. suggested: its record; None: it is not recorded, or was when it was
        shown before. right, others: as the tracker has them."""
        now = self._clock.now()
        before = self._known.get(suggestion_id)
        if suggested is not None:
            self._record(uri, suggested)
            known = _Known(uri, True, len(unified(text)), last_line(suggested.context.prefix))
        else:
            known = before or _Known(uri, False, len(unified(text)))
        self._know(suggestion_id, known)
        self._alternatives = {name for name, _ in others}
        # Again in the same place, nothing having become of it: it never went away.
        tracker = self._trackers.get(uri)
        if tracker is not None and tracker.live_id == suggestion_id:
            return
        self._last_shown = suggestion_id
        if known.recorded:
            self._seen(known, suggestion_id, now, inferred=True)
        if tracker is not None:
            self._say(tracker.offer(suggestion_id, text, at, now, right=right, others=others), now)

    def proposed(self, uri: str, suggestion_id: str, text: str, left: int, right: int, suggested: "Suggested | None") -> None:
        """The editor gets a change of whole lines: `[left, right)` becomes this text. suggested: its record, if it has one."""
        now = self._clock.now()
        self.answered(uri, suggestion_id, suggested, chars=len(unified(text)))
        if (tracker := self._trackers.get(uri)) is not None:
            self._say(tracker.propose(suggestion_id, text, left, right, now), now)

    def proposed_again(self, uri: str, suggestion_id: str, text: str, left: int, right: int, event: "Event") -> None:
        """A part of an answer that was shown before becomes a change: as `proposed`, and what becomes of it is told of that
        answer. event: the record of it, kept if the answer's was."""
        now = self._clock.now()
        if (known := self._known.get(suggestion_id)) is None:
            return
        self._know(suggestion_id, _Known(uri, known.recorded, len(unified(text)), known.before))
        self.note(suggestion_id, event)
        if (tracker := self._trackers.get(uri)) is not None:
            self._say(tracker.propose(suggestion_id, text, left, right, now), now)

    def not_applied(self, suggestion_id: str) -> None:
        """The editor says so of a change that it got."""
        now = self._clock.now()
        if (known := self._known.get(suggestion_id)) and (tracker := self._trackers.get(known.uri)):
            self._say(tracker.not_applied(suggestion_id, now), now)

    def answered(self, uri: str, suggestion_id: str, suggested: "Suggested | None", *, chars: int = 0) -> None:
        """Something was shown that has no place in the text, or none that is known here. It can be rated."""
        known = _Known(uri, suggested is not None, chars)
        self._know(suggestion_id, known)
        self._last_shown = suggestion_id
        if suggested is not None:
            self._record(uri, suggested)
            self._seen(known, suggestion_id, self._clock.now(), inferred=True)

    def note(self, suggestion_id: str, event: "Event") -> None:
        """One more event about a suggestion, if those are recorded."""
        if (known := self._known.get(suggestion_id)) is not None and known.recorded:
            self._record(known.uri, event)

    def last_shown(self) -> str | None:
        """The suggestion that a rating without a name is about."""
        return self._last_shown

    def _know(self, suggestion_id: str, known: _Known) -> None:
        self._known[suggestion_id] = known
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _seen(self, known: _Known, suggestion_id: str, now: float, *, inferred: bool) -> None:
        from tacit.protocol.events import Shown

        self._alternatives.discard(suggestion_id)
        session = self._recorder.session_id
        self._record(known.uri, Shown(at=self._clock.at(now), session_id=session, suggestion_id=suggestion_id, inferred=inferred))

    # What an editor may say besides

    def shown(self, suggestion_id: str) -> None:
        now = self._clock.now()
        known = self._known.get(suggestion_id)
        tracker = self._trackers.get(known.uri) if known else None
        if known is None or tracker is None:
            return
        self._say(tracker.turned_to(suggestion_id, now), now)
        if tracker.shown(suggestion_id, now):
            self._last_shown = suggestion_id
            if known.recorded:
                self._seen(known, suggestion_id, now, inferred=False)

    def dismissed(self, suggestion_id: str) -> None:
        now = self._clock.now()
        if (known := self._known.get(suggestion_id)) and (tracker := self._trackers.get(known.uri)):
            self._say(tracker.dismissed(suggestion_id, now), now)

    def confirmed(self, suggestion_id: str, inserted: str | None = None, accepted_units: int | None = None) -> None:
        """inserted: the item's text, of which so many UTF-16 units were accepted; None: the whole suggestion was."""
        now = self._clock.now()
        if (known := self._known.get(suggestion_id)) and (tracker := self._trackers.get(known.uri)):
            chars = None
            if inserted is not None and accepted_units is not None:
                part = inserted.encode("utf-16-le", "surrogatepass")[: 2 * accepted_units].decode("utf-16-le", "ignore")
                # The item may be what was left of the suggestion when it was shown again.
                chars = known.chars - len(unified(inserted)) + len(unified(part))
            self._say(tracker.confirmed(suggestion_id, chars, now), now)

    def rate(self, suggestion_id: str | None, value: int, flag: "RatingFlag | None", correction: str | None) -> str:
        """suggestion_id None: the last one shown. value: 1 or -1. Returns a sentence for the user."""
        from tacit.protocol.events import Rated

        name = suggestion_id or self._last_shown
        known = self._known.get(name) if name else None
        if name is None or known is None:
            return "There is no suggestion to rate."
        if not known.recorded or not self._may_record(known.uri):
            return "Nothing is recorded in this workspace (learning is off), so the rating is not kept."
        now = self._clock.now()
        rated = Rated(
            at=self._clock.at(now),
            session_id=self._recorder.session_id,
            suggestion_id=name,
            value=1 if value > 0 else -1,
            flag=flag,
            correction=None if correction is None else redact_after(known.before, unified(correction))[:20_000],
        )
        self._record(known.uri, rated)
        return "Thank you: the rating is recorded."

    # Outcomes to events

    def _attend(self, uri: str, now: float) -> None:
        """The developer is in this document now."""
        for other, tracker in self._trackers.items():
            if other != uri and tracker.live_id is not None:
                self._say(tracker.focus_lost(now), now)

    def _say(self, said: Sequence[Outcome], now: float) -> None:
        for outcome in said:
            known = self._known.get(outcome.suggestion_id)
            if known is None:
                continue
            self._heard(known.uri, outcome)
            if known.recorded:
                if isinstance(outcome, outcomes.Accepted) and outcome.suggestion_id in self._alternatives:
                    self._seen(known, outcome.suggestion_id, now, inferred=True)
                self._record(known.uri, self._event(outcome, now))
        self._arm()

    def _record(self, uri: str, event: "Event") -> None:
        if self._may_record(uri):
            self._recorder.record(event)

    def _event(self, outcome: Outcome, now: float) -> "Event":
        from tacit.protocol import events

        at, session, name = self._clock.at(now), self._recorder.session_id, outcome.suggestion_id
        match outcome:
            case outcomes.Accepted(_, accepted, total, visible, inferred):
                return events.Accepted(
                    at=at,
                    session_id=session,
                    suggestion_id=name,
                    accepted_chars=accepted,
                    total_chars=total,
                    visible_ms=visible,
                    inferred=inferred,
                )
            case outcomes.TypedThrough(_, matched, total, visible):
                return events.TypedThrough(
                    at=at, session_id=session, suggestion_id=name, matched_chars=matched, total_chars=total, visible_ms=visible
                )
            case outcomes.Rejected(_, reason, visible, inferred):
                return events.Rejected(
                    at=at, session_id=session, suggestion_id=name, reason=reason, visible_ms=visible, inferred=inferred
                )
            case outcomes.Undone(_, after):
                return events.Undone(at=at, session_id=session, suggestion_id=name, after_ms=after)
            case outcomes.Settled(_, horizon, elapsed, span, settled):
                known = self._known.get(name)
                before = known.before if known else ""
                return events.Settled(
                    at=at,
                    session_id=session,
                    suggestion_id=name,
                    horizon=horizon,
                    elapsed_ms=elapsed,
                    span_text=None if span is None else redact_after(before, span),
                    settled_text=redact_after(before, settled),
                )

    # Time

    def _arm(self) -> None:
        """Wake at the next horizon."""
        due = min((due for tracker in self._trackers.values() if (due := tracker.next_due()) is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            # A millisecond late rather than early: an early one would find nothing to do.
            wait = self._clock.real_seconds(due - self._clock.now()) + 0.001
            self._timer = asyncio.get_running_loop().call_later(wait, self.tick)

    def tick(self) -> None:
        """Read what has settled."""
        self._timer = None
        now = self._clock.now()
        for tracker in list(self._trackers.values()):
            self._say(tracker.tick(now), now)
        self._arm()
