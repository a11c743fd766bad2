"""`textDocument/inlineCompletion`: what to show at the cursor, and when to ask the model. Stores nothing.

First what needs no model: the rest of what is shown, then what the model said before for this text. Then a call that is under
way, if what it answers may still fit. Else a new call, after a pause where the developer is likely to type on. One call runs
at a time; one request waits at a time. An answer is fitted to the text as it is when it comes: a stale one is never shown.
Whatever happens, the editor has its answer by the deadline. Fixed delays (`debounceMs`) leave all of this out.
"""

import asyncio
import operator
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from lsprotocol import types

from tacit.lsp import outcomes, pacing
from tacit.lsp.asking import Asked, Counters, Draft, Model
from tacit.lsp.clock import SessionClock
from tacit.lsp.connection import ServerConnection
from tacit.lsp.context import Budget, surroundings
from tacit.lsp.documents import Document, Step
from tacit.lsp.edits import trimmed
from tacit.lsp.feedback import Feedback
from tacit.lsp.offering import Offering, item
from tacit.lsp.recent import Recent
from tacit.lsp.recycling import Span
from tacit.lsp.settings import Settings
from tacit.lsp.show_policy import ShowPolicy
from tacit.lsp.status import Status
from tacit.lsp.suggestion_cache import Hit, SuggestionCache
from tacit.lsp.workspace import Place

if TYPE_CHECKING:
    from tacit.lsp.asking import Gathered

Answer = types.InlineCompletionList | None

UNKNOWN_BUDGET: Final = Budget(prefix=3000, suffix=400)
"""Until the server has said what its engine can read."""
ORPHAN_S: Final = 0.6
"""A call that no request waits for lives so long after a key that it still fits: the editor asks again a moment later."""
CANCELLED_S: Final = 0.02
"""And so long after a cancel: some editors (lsp-mode) cancel first and send the key's change after it."""
PREFETCH_REST_MS: Final = 300.0
"""A suggestion is looked at for so long before the model is asked what follows it."""
PREFETCH_FAST_MS: Final = 500.0
"""An engine that takes longer is not asked ahead: it would be busy when it is wanted."""
PREFETCH_LIKELY: Final = 0.25
"""Nor is it for suggestions that are less likely to be kept."""
CANDIDATES: Final = 3
DRAWS: Final = 4
CANDIDATES_MS: Final = 4_000.0
CANDIDATE_TEMPERATURE: Final = 0.8
"""At the usual one most draws are the same. The record says at which one each was drawn."""


@dataclass(slots=True)
class _Flight:
    """The one call that is under way."""

    asked: Asked
    span: Span
    call: "asyncio.Task[Draft | None]"
    sent: bool = False
    """The model is at work on it; until then a newer request takes its place."""
    orphaned: asyncio.TimerHandle | None = None


class Completion:
    def __init__(
        self,
        documents: dict[str, Document],
        feedback: Feedback,
        connection: ServerConnection,
        status: Status,
        clock: SessionClock,
        session_id: str,
        *,
        policy: ShowPolicy,
        settings: Callable[[], Settings],
        refusal: Callable[[str], tuple[Place, str]],
        may_record: Callable[[str], bool],
        gathered: "Gathered | None" = None,
    ) -> None:
        """refusal: where a document is and why nothing is suggested there (empty: it may be). gathered: which other places of
        the workspace the model is shown, for (document, offset, invoked by hand); it answers within a few milliseconds."""
        self.counters = Counters()
        self._documents = documents
        self._feedback = feedback
        self._connection = connection
        self._status = status
        self._clock = clock
        self._settings = settings
        self._refusal = refusal
        self._recent = Recent()
        self._model = Model(connection, status, session_id, self.counters, documents, gathered)
        self._offering = Offering(
            feedback, status, clock, session_id, self.counters, self._recent, policy, settings=settings, may_record=may_record
        )
        self._cache: SuggestionCache[Draft] = SuggestionCache()
        self._flight: _Flight | None = None
        self._waiting: asyncio.Future[None] | None = None
        """Of the request that waits: done when its text is another one, or a newer request has come."""
        self._ahead: asyncio.TimerHandle | None = None
        self._likely = False
        """What is shown is likely enough to be kept."""
        self._unwanted: set[str] = set()
        """Suggestions of which something was deleted."""

    def request(self, document: Document, offset: int, *, invoked: bool) -> Coroutine[Any, Any, Answer]:
        """Everything up to the model is decided here and now; what is returned waits for the model."""
        arrived = time.perf_counter()
        self.counters.requests += 1
        self._let_go()
        if self._flight is not None and not self._flight.asked.ahead:
            self._orphan(self._flight, ORPHAN_S)
        uri = document.uri
        place, refusal = self._refusal(uri)
        if refusal:
            self.interrupt()
            self._status.say("hidden" if place.refused else "disabled", refusal)
            return _now(None)
        self._feedback.asked(uri, offset)
        trigger: Literal["automatic", "invoked"] = "invoked" if invoked else "automatic"
        asked = Asked(uri, document.language, document.version, document.text, offset, trigger, place, arrived)
        rest = self._feedback.remaining(uri, offset)
        # Asked for by hand where it is shown already: the developer wants another one.
        if rest is not None and not (invoked and rest.whole) and rest.suggestion_id not in self._unwanted:
            self.counters.reused += 1
            self._look_ahead_soon(asked, rest.text, rest.replaces)
            return _now(item(document, rest.suggestion_id, rest.text, offset, rest.replaces))
        if invoked:
            self.interrupt()
            return self._candidates(asked, rest.text if rest is not None else "")
        if self._plain:
            self.interrupt()
            return self._wait(asked, None)
        if (hit := self._cache.find(uri, document.text, offset, self._clock.now())) is not None:
            self.counters.cached += 1
            return _now(self._show(asked, hit))
        if not pacing.closes(_rest_of_line(document.text, offset)):
            self.interrupt()
            self._status.say("mid_line", "Quiet in the middle of a line; ask by hand for a suggestion here.")
            return _now(None)
        flight = self._flight
        if flight is not None and flight.sent and flight.asked.uri == uri and flight.span.asks(document.text, offset):
            self.counters.recycled += 1
            self._status.say("waiting", "A suggestion is on its way.")
            return self._wait(asked, flight)
        self.interrupt()
        return self._wait(asked, None)

    def changed(self, uri: str, steps: Sequence[Step] | None = None) -> None:
        """The document is another one now. steps: one didChange; None: all of it is new, or it is closed."""
        self._stop_looking_ahead()
        flight = self._flight
        mine = flight is not None and flight.asked.uri == uri
        if steps is None:
            if mine:
                self.interrupt()
            return
        for step in steps:
            edit = trimmed(step.edit, step.before)
            if edit.end > edit.start:
                gone = self._cache.deleted(uri, step.before, edit.end)
                self._unwanted.update(draft.suggestion_id for draft in gone)
            elif 0 < len(edit.text.strip() or " ") <= 2:
                self._recent.key(self._clock.now())
        if flight is None or not mine:
            return
        self._let_go()
        if self._plain or not flight.sent or not flight.span.follow(steps):
            self._stop()
        elif not flight.asked.ahead:
            self._orphan(flight, ORPHAN_S)

    def interrupt(self) -> None:
        """Stop the call under way; its request is answered with nothing."""
        self._let_go()
        self._stop_looking_ahead()
        self._stop()

    def heard(self, uri: str, outcome: outcomes.Outcome) -> None:
        """What became of a suggestion."""
        self._offering.heard(uri, outcome)
        if isinstance(outcome, outcomes.Accepted):
            # It belongs to that place now; shown at a like one, the two would be one in the record.
            self._cache.drop(lambda draft: draft.suggestion_id == outcome.suggestion_id)
        if isinstance(outcome, outcomes.Rejected) and outcome.reason == "dismissed":
            for draft in self._cache.values():
                draft.sent_away = draft.sent_away or draft.suggestion_id == outcome.suggestion_id

    def budget(self) -> Budget:
        """Characters of the file that the prompt shows."""
        settings, server = self._settings(), self._connection.server
        return Budget(
            prefix=settings.max_prefix_chars or (server.prefix_chars if server else UNKNOWN_BUDGET.prefix),
            suffix=settings.max_suffix_chars or (server.suffix_chars if server else UNKNOWN_BUDGET.suffix),
        )

    @property
    def _plain(self) -> bool:
        """A fixed delay and nothing else."""
        return self._settings().debounce_ms >= 0

    # Requests

    async def _wait(self, asked: Asked, flight: _Flight | None) -> Answer:
        """The answer of this call, if it fits, else of a new one. flight: None: there is none yet."""
        delay = self._delay_ms(asked)
        while self._current(asked):
            draft, flight = await self._landing(asked, flight, delay)
            # Between the answer and now the text may have changed once more.
            if draft is None or not self._current(asked):
                return None
            own = flight is not None and flight.asked is asked
            hit = Hit(draft, asked.offset, asked.offset, 0, 0) if own else self._fitting(asked, draft)
            if hit is not None:
                return self._show(asked, hit)
            # It was worth trying; what is there now is worth no more waiting.
            self._offering.missed(draft)
            # Its record says that it was not shown.
            self._cache.drop(partial(operator.is_, draft))
            flight, delay = None, 0.0
        return None

    async def _candidates(self, asked: Asked, known: str) -> Answer:
        """Up to three different ones, as many as there is time for. known: the text that is shown already."""
        found: list[Draft] = []
        draws = 0
        while self._current(asked):
            began = asked.elapsed_ms()
            draft, flight = await self._landing(asked, None, 0.0, CANDIDATE_TEMPERATURE if draws else None)
            draws += 1
            if flight is None or not self._current(asked) or (draft is None and not found):
                return None
            whole = draft is not None and (draws == 1 or draft.response.generation.finish_reason != "deadline")
            if draft is not None and whole and draft.text not in [one.text for one in found]:
                found.append(draft)
            good = [one for one in found if not one.unfit and one.text != known]
            took = asked.elapsed_ms() - began
            limit = min(CANDIDATES_MS, self._settings().deadline_ms)
            if draft is None or len(good) >= CANDIDATES or draws >= DRAWS or asked.elapsed_ms() + took > limit:
                break
        else:
            return None
        first, *others = good or found
        # The newest is what comes again here by itself.
        self._remember(first)
        return self._show(asked, Hit(first, asked.offset, asked.offset, 0, 0), others if good else ())

    async def _landing(
        self, asked: Asked, flight: _Flight | None, delay: float, temperature: float | None = None
    ) -> tuple[Draft | None, _Flight | None]:
        """Wait for a call, this one or a new one, which comes back too. No draft: there is nothing to show, and the status
        says why; no call either: nobody wants the answer any more."""
        # Of an older request that had not begun to wait when this one came.
        self._let_go()
        waiting = self._waiting = asyncio.get_running_loop().create_future()
        if flight is None and (flight := self._take_off(asked, delay, temperature)) is None:
            return None, None
        if flight.orphaned is not None:
            flight.orphaned.cancel()
            flight.orphaned = None
        deadline_ms = self._settings().deadline_ms
        try:
            await asyncio.wait(
                {flight.call, waiting},
                timeout=max(0.0, deadline_ms - asked.elapsed_ms()) / 1000,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            if self._waiting is waiting:
                self._waiting = None
                if not flight.call.done():
                    # Late, or the editor does not want it any more, unless a key is why.
                    document = self._documents.get(asked.uri)
                    typed_on = document is not None and document.version != asked.version
                    self._orphan(flight, ORPHAN_S if typed_on else CANCELLED_S)
        if waiting.done() or flight.call.cancelled():
            return None, None
        if not flight.call.done():
            self._stop()
            self._model.late(deadline_ms)
            return None, flight
        if (error := flight.call.exception()) is not None:
            self._model.failed(error)
            return None, flight
        return flight.call.result(), flight

    def _fitting(self, asked: Asked, draft: Draft) -> Hit[Draft] | None:
        document = self._documents[asked.uri]
        return self._cache.find(asked.uri, document.text, asked.offset, self._clock.now(), lambda one: one is draft)

    def _show(self, asked: Asked, hit: Hit[Draft], others: Sequence[Draft] = ()) -> Answer:
        """From here to the answer nothing else runs: the text is the one that was asked about."""
        document = self._documents[asked.uri]
        answer = self._offering.offer(document, asked, hit, others)
        draft = hit.value
        self._likely = draft.decision is not None and draft.decision.p_kept >= PREFETCH_LIKELY
        if answer is not None:
            self._look_ahead_soon(asked, draft.text[hit.taken :], hit.closers)
        return answer

    def _current(self, asked: Asked) -> bool:
        document = self._documents.get(asked.uri)
        return document is not None and document.version == asked.version

    def _delay_ms(self, asked: Asked) -> float:
        """Session milliseconds from now on."""
        if self._plain:
            return float(self._settings().debounce_ms)
        if pacing.at_once(asked.text[asked.text.rfind("\n", 0, asked.offset) + 1 : asked.offset]):
            return 0.0
        recent, now = self._recent, self._clock.now()
        base = pacing.base_ms(recent.gap_ms, recent.latency_ms)
        delay = pacing.delay_ms(base, recent.accepts(now), recent.rejects(now))
        # Most editors have waited already.
        return delay if recent.last_key is None else max(0.0, delay - (now - recent.last_key))

    # Calls

    def _take_off(self, asked: Asked, delay: float, temperature: float | None = None) -> _Flight | None:
        """Begin a call; None: nothing of this place may be sent."""
        self._stop()
        code = surroundings(asked.text, asked.offset, self.budget())
        if code is None:
            if not asked.ahead:
                self._status.say("hidden", "The cursor is inside a secret; nothing of it is sent.")
            return None
        if not asked.ahead and self._model.ready:
            self._status.say("waiting", "A suggestion is on its way.")

        def sent() -> None:
            flight.sent = True

        async def call() -> Draft | None:
            if delay > 0:
                await asyncio.sleep(self._clock.real_seconds(delay) if not self._plain else delay / 1000)
            scale = self._clock.scale
            deadline_ms = self._settings().deadline_ms
            return await self._model.draw(
                asked, code, deadline_ms, sent, lambda took: self._recent.answered(took * scale), temperature
            )

        left = asked.offset - len(asked.ahead)
        task = asyncio.get_running_loop().create_task(call())
        flight = self._flight = _Flight(asked, Span(left, left, asked.ahead), task)
        task.add_done_callback(partial(self._landed, flight))
        return flight

    def _landed(self, flight: _Flight, call: "asyncio.Task[Draft | None]") -> None:
        """Whoever waits or not: what was drawn is kept for this text."""
        if self._flight is flight:
            self._flight = None
        if flight.orphaned is not None:
            flight.orphaned.cancel()
        # One that nobody waits for any more may fail without being news.
        if not call.cancelled() and call.exception() is None and (draft := call.result()) is not None:
            self._remember(draft)

    def _remember(self, draft: Draft) -> None:
        asked = draft.asked
        self._cache.put(asked.uri, asked.text, asked.offset, draft.text, draft, self._clock.now())

    def _let_go(self) -> None:
        """The request that waits is answered now; its call may go on."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        self._waiting = None

    def _orphan(self, flight: _Flight, seconds: float) -> None:
        """Nobody waits for it: it ends after so long if that stays so."""
        if self._flight is not flight:
            return
        if self._plain or not flight.sent:
            self._stop()
            return
        if flight.orphaned is not None:
            flight.orphaned.cancel()
        flight.orphaned = asyncio.get_running_loop().call_later(seconds, self._stop, flight)

    def _stop(self, only: _Flight | None = None) -> None:
        flight = self._flight
        if flight is not None and (only is None or flight is only):
            self._flight = None
            if flight.orphaned is not None:
                flight.orphaned.cancel()
            flight.call.cancel()

    # What follows the suggestion that is shown

    def _look_ahead_soon(self, asked: Asked, text: str, replaces: int) -> None:
        """text: what is shown at the cursor, in place of so many characters."""
        self._stop_looking_ahead()
        latency = self._recent.latency_ms
        if self._plain or not self._settings().prefetch or not self._likely:
            return
        if latency is None or latency / self._clock.scale > PREFETCH_FAST_MS:
            return
        wait = self._clock.real_seconds(PREFETCH_REST_MS)
        self._ahead = asyncio.get_running_loop().call_later(wait, self._look_ahead, asked, text, replaces)

    def _look_ahead(self, asked: Asked, text: str, replaces: int) -> None:
        document = self._documents.get(asked.uri)
        if document is None or not self._current(asked) or self._flight is not None or self._refusal(asked.uri)[1]:
            return
        newline = document.newline
        ahead = text if newline == "\n" else text.replace("\n", newline)
        after = asked.text[: asked.offset] + ahead + asked.text[asked.offset + replaces :]
        offset = asked.offset + len(ahead)
        known = self._cache.find(asked.uri, after, offset, self._clock.now())
        if known is None and pacing.closes(_rest_of_line(after, offset)):
            now = time.perf_counter()
            then = Asked(asked.uri, asked.language, asked.version, after, offset, "automatic", asked.place, now, ahead)
            if (flight := self._take_off(then, 0.0)) is not None:
                flight.span = Span(asked.offset, asked.offset + replaces, text)

    def _stop_looking_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None


async def _now(answer: Answer) -> Answer:
    return answer


def _rest_of_line(text: str, offset: int) -> str:
    end = text.find("\n", offset)
    return text[offset : len(text) if end < 0 else end].rstrip("\r")
