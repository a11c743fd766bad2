"""`textDocument/inlineCompletion`: what to show at the cursor. Touches the server through its client; stores nothing.

First the rest of what is shown already, without asking the model. Else one call, which a newer request, a change of the
document or a cancel stops at once (closing the connection stops the engine). An answer for a text that is no longer there is
never shown. Whatever happens, the editor has its answer by the deadline.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from lsprotocol import types

from tacit.lsp.clock import SessionClock
from tacit.lsp.connection import ServerConnection
from tacit.lsp.context import Budget, Surroundings, hidden_characters, surroundings
from tacit.lsp.documents import Document
from tacit.lsp.feedback import Feedback
from tacit.lsp.settings import Settings
from tacit.lsp.status import Status
from tacit.lsp.workspace import Place
from tacit.protocol.redaction import last_line, redact_after

if TYPE_CHECKING:
    from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context, Snippet
    from tacit.protocol.events import Suggested

    Gathered = Callable[[Document, int, bool], Awaitable[tuple[Snippet, ...]]]

log = logging.getLogger(__name__)

ACCEPTED_COMMAND: Final = "tacit.accepted"
MARGIN_MS: Final = 150
"""Of the deadline, for the way back."""
UNKNOWN_BUDGET: Final = Budget(prefix=3000, suffix=400)
"""Until the server has said what its engine can read."""


@dataclass(slots=True)
class Counters:
    """Since the start of the session; `tacit/counters` answers with it."""

    requests: int = 0
    reused: int = 0
    model_calls: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, with the document as it was when the editor asked."""

    uri: str
    language: str
    version: int
    offset: int
    trigger: Literal["automatic", "invoked"]
    place: Place
    code: Surroundings
    arrived: float
    """perf_counter seconds."""

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.arrived) * 1000


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What the model was shown and what it drew."""

    context: "Context"
    response: "CompleteResponse"


@dataclass(slots=True)
class _Flight:
    """The one request that is being worked on."""

    uri: str
    call: "asyncio.Task[_Drawn | None]"


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
        settings: Callable[[], Settings],
        refusal: Callable[[str], tuple[Place, str]],
        may_record: Callable[[str], bool],
        gathered: "Gathered | None" = None,
    ) -> None:
        """refusal: where a document is and why nothing is suggested there (empty: it may be). gathered: which other places of
        the workspace the model is shown, for (document, offset, invoked by hand); it answers within a few milliseconds."""
        self._documents = documents
        self._feedback = feedback
        self._connection = connection
        self._status = status
        self._clock = clock
        self._session_id = session_id
        self._settings = settings
        self._refusal = refusal
        self._may_record = may_record
        self._gathered = gathered
        self._flight: _Flight | None = None
        self.counters = Counters()

    def request(
        self, document: Document, offset: int, *, invoked: bool
    ) -> Coroutine[Any, Any, types.InlineCompletionList | None]:
        """Everything up to the model is decided here and now; what is returned waits for the model."""
        arrived = time.perf_counter()
        self.counters.requests += 1
        place, refusal = self._refusal(document.uri)
        if refusal:
            self._status.say("hidden" if place.refused else "disabled", refusal)
            return _now(None)
        self._feedback.asked(document.uri, offset)
        rest = self._feedback.remaining(document.uri, offset)
        # Asked for by hand where it is shown already: the developer wants another one.
        if rest is not None and not (invoked and rest.whole):
            self.counters.reused += 1
            return _now(_answer(document, rest.suggestion_id, rest.text, offset, rest.replaces))
        self.interrupt()
        code = surroundings(document.text, offset, self.budget())
        if code is None:
            self._status.say("hidden", "The cursor is inside a secret; nothing of it is sent.")
            return _now(None)
        trigger: Literal["automatic", "invoked"] = "invoked" if invoked else "automatic"
        return self._ask(Asked(document.uri, document.language, document.version, offset, trigger, place, code, arrived))

    def changed(self, uri: str) -> None:
        """The document is another one now: an answer for the old one is of no use."""
        if self._flight is not None and self._flight.uri == uri:
            self.interrupt()

    def interrupt(self) -> None:
        """Stop the call under way; its request is answered with nothing."""
        if self._flight is not None:
            self._flight.call.cancel()
            self._flight = None

    async def _ask(self, asked: Asked) -> types.InlineCompletionList | None:
        deadline_ms = self._settings().deadline_ms
        # Until now the document may have changed, if the task was slow to start.
        if not self._current(asked):
            return None
        call = asyncio.get_running_loop().create_task(self._call(asked, deadline_ms))
        call.add_done_callback(_seen)
        flight = _Flight(asked.uri, call)
        self.interrupt()
        self._flight = flight
        try:
            done, _ = await asyncio.wait({call}, timeout=max(0.0, deadline_ms - asked.elapsed_ms()) / 1000)
        finally:
            # A cancel by the editor comes out of the wait: it must reach the engine.
            if not call.done():
                call.cancel()
            if self._flight is flight:
                self._flight = None
        if not done:
            who = "The model" if self._connection.client is not None else "The server"
            self._status.say("late", f"{who} had no answer within {deadline_ms} ms.")
            return None
        if call.cancelled():
            return None
        error = call.exception()
        if error is not None:
            self._failed(error)
            return None
        drawn = call.result()
        return None if drawn is None else self._deliver(asked, drawn)

    async def _call(self, asked: Asked, deadline_ms: int) -> _Drawn | None:
        """One call of the model. None: there is no server, and the status says so."""
        if asked.trigger == "automatic" and self._settings().debounce_ms:
            await asyncio.sleep(self._settings().debounce_ms / 1000)
        client = self._connection.client
        if client is None:
            client = await self._connection.found()
            if client is None:
                return None
        context = await self._context(asked)
        request = self._wire(asked, context, deadline_ms)
        self.counters.model_calls += 1
        try:
            response = await client.complete(request)
        except asyncio.CancelledError:
            self.counters.cancelled += 1
            raise
        # Those that had no room in the prompt were not seen.
        return _Drawn(context.model_copy(update={"snippets": context.snippets[: response.snippets]}), response)

    async def _context(self, asked: Asked) -> "Context":
        from tacit.protocol.completion import Context

        document = self._documents.get(asked.uri)
        snippets: tuple[Snippet, ...] = ()
        if self._gathered is not None and document is not None:
            snippets = await self._gathered(document, asked.offset, asked.trigger == "invoked")
        return Context(
            path=asked.place.path[-4096:],
            language=asked.language[:64],
            prefix=asked.code.prefix,
            suffix=asked.code.suffix,
            snippets=snippets,
        )

    def _wire(self, asked: Asked, context: "Context", deadline_ms: int) -> "CompleteRequest":
        from tacit.protocol.completion import CompleteRequest
        from tacit.protocol.events import new_id

        return CompleteRequest(
            request_id=new_id(),
            session_id=self._session_id,
            project=asked.place.folder.project if asked.place.folder else None,
            context=context,
            trigger=asked.trigger,
            deadline_ms=max(50, int(deadline_ms - MARGIN_MS - asked.elapsed_ms())),
        )

    def _deliver(self, asked: Asked, drawn: _Drawn) -> types.InlineCompletionList | None:
        """Show it if it still fits. From here to the answer nothing else runs, so what is checked stays true."""
        from tacit.protocol.events import new_id

        response = drawn.response
        self._status.policy_version = response.generation.policy_version
        suggestion_id = new_id()
        reason = self._withheld(asked, response.text)
        suggested = self._record(asked, drawn, suggestion_id, reason)
        if reason:
            if reason != "stale":
                self._status.say("nothing", "The model had nothing good to suggest here.")
            if suggested is not None:
                self._feedback.withheld(asked.uri, suggested)
            return None
        document = self._documents[asked.uri]
        self._feedback.offered(asked.uri, suggestion_id, response.text, asked.offset, suggested)
        self._status.say("suggested", "")
        return _answer(document, suggestion_id, response.text, asked.offset, 0)

    def _withheld(self, asked: Asked, text: str) -> str:
        if not self._current(asked):
            return "stale"
        if not text.strip():
            return "empty"
        if "<redacted:" in text:
            return "redaction_mark"
        if hidden_characters(text):
            return "hidden_characters"
        return ""

    def _record(self, asked: Asked, drawn: _Drawn, suggestion_id: str, reason: str) -> "Suggested | None":
        """The record of the draw; None where nothing is recorded."""
        from tacit.protocol.events import Suggested

        context, response = drawn.context, drawn.response
        folder = asked.place.folder
        if not self._may_record(asked.uri) or folder is None or folder.project is None or not response.generation.tokens:
            return None
        # A secret that the model made up would be in its tokens too, where it cannot be replaced.
        if redact_after(last_line(asked.code.prefix), response.text) != response.text:
            return None
        return Suggested(
            at=self._clock.at(self._clock.now()),
            session_id=self._session_id,
            suggestion_id=suggestion_id,
            project=folder.project,
            context=context,
            context_sha256=context.digest(),
            text=response.text,
            generation=response.generation,
            trigger=asked.trigger,
            p_show=1.0,
            shown=not reason,
            withheld_reason=reason,
            latency_ms=asked.elapsed_ms(),
            engine_ms=response.timings.total_ms,
        )

    def _failed(self, error: BaseException) -> None:
        from tacit.protocol.errors import EngineUnavailable, ServerUnavailable, TacitError

        if isinstance(error, ServerUnavailable):
            self._status.say("unavailable", "The Tacit server does not answer.")
            self._connection.lost()
        elif isinstance(error, EngineUnavailable):
            self._status.say("starting", str(error))
            self._connection.engine_down()
        elif isinstance(error, TacitError):
            self._status.say("failed", str(error))
        else:
            log.error("completion failed", exc_info=error)
            self._status.say("failed", "The suggestion failed; the language server's log says why.")

    def _current(self, asked: Asked) -> bool:
        document = self._documents.get(asked.uri)
        return document is not None and document.version == asked.version

    def budget(self) -> Budget:
        """Characters of the file that the prompt shows."""
        settings, server = self._settings(), self._connection.server
        return Budget(
            prefix=settings.max_prefix_chars or (server.prefix_chars if server else UNKNOWN_BUDGET.prefix),
            suffix=settings.max_suffix_chars or (server.suffix_chars if server else UNKNOWN_BUDGET.suffix),
        )


async def _now(answer: types.InlineCompletionList | None) -> types.InlineCompletionList | None:
    return answer


def _answer(document: Document, suggestion_id: str, text: str, offset: int, replaces: int) -> types.InlineCompletionList:
    item = types.InlineCompletionItem(
        insert_text=text.replace("\n", "\r\n") if document.newline == "\r\n" else text,
        range=types.Range(start=document.position_at(offset), end=document.position_at(offset + replaces)),
        command=types.Command(title="Suggestion accepted", command=ACCEPTED_COMMAND, arguments=[suggestion_id]),
    )
    return types.InlineCompletionList(items=[item])


def _seen(call: "asyncio.Task[Any]") -> None:
    """A call that nobody waits for any more may fail without being news."""
    if not call.cancelled():
        call.exception()
