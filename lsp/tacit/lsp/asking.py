"""One call of the model: what is asked, what came back, and what is told of a failure. Touches the server through its client.

Knows nothing of when to ask or what is shown: that is completion.py.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tacit.lsp.connection import ServerConnection
from tacit.lsp.context import Surroundings, hidden_characters
from tacit.lsp.documents import Document
from tacit.lsp.status import Status
from tacit.lsp.workspace import Place

if TYPE_CHECKING:
    from tacit.lsp.show_policy import Decision
    from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context, Snippet
    from tacit.protocol.events import Recent

    Gathered = Callable[[Document, int, bool], Awaitable[tuple[Snippet, ...]]]

log = logging.getLogger(__name__)

MARGIN_MS: Final = 150
"""Of the deadline, for the way back."""


@dataclass(slots=True)
class Counters:
    """Since the start of the session; `tacit/counters` answers with it."""

    requests: int = 0
    reused: int = 0
    """Answered with the rest of what is shown already."""
    cached: int = 0
    """Answered with what the model said before."""
    recycled: int = 0
    """Answered by a call that was under way for an earlier text."""
    model_calls: int = 0
    """Prefetches included."""
    cancelled: int = 0
    """Calls that were stopped."""
    prefetched: int = 0
    """Calls for what would follow a suggestion."""
    quiet: int = 0
    """Answers that the show policy withheld."""
    explored: int = 0
    """Shown although the policy would have withheld them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, with the document as it was when the editor asked, or as it would be (a prefetch)."""

    uri: str
    language: str
    version: int
    text: str
    offset: int
    trigger: Literal["automatic", "invoked"]
    place: Place
    arrived: float
    """perf_counter seconds."""
    ahead: str = ""
    """Of a prefetch: what stands before the offset in `text` and not yet in the document."""

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.arrived) * 1000


@dataclass(slots=True)
class Draft:
    """What the model drew for one place, and what has become of it."""

    suggestion_id: str
    asked: Asked
    context: "Context"
    response: "CompleteResponse"
    decision: "Decision | None" = None
    """Of the show policy; None: it was not asked yet."""
    recent: "Recent | None" = None
    sent_away: bool = False
    """The developer pressed Esc at it: it does not come back by itself."""
    recorded: bool = False
    """There is a `suggested` event about it, or there shall be none."""

    @property
    def text(self) -> str:
        return self.response.text

    @property
    def unfit(self) -> str:
        """Why it cannot be shown; empty: it can."""
        if not self.text.strip():
            return "empty"
        if "<redacted:" in self.text:
            return "redaction_mark"
        return "hidden_characters" if hidden_characters(self.text) else ""


class Model:
    """The server's model, as completion asks it."""

    def __init__(
        self,
        connection: ServerConnection,
        status: Status,
        session_id: str,
        counters: Counters,
        documents: dict[str, Document],
        gathered: "Gathered | None",
    ) -> None:
        self._connection = connection
        self._status = status
        self._session_id = session_id
        self._counters = counters
        self._documents = documents
        self._gathered = gathered

    @property
    def ready(self) -> bool:
        """As far as is known: a call finds a server with a loaded model."""
        server = self._connection.server
        return self._connection.client is not None and (server is None or server.engine_ready)

    async def draw(
        self,
        asked: Asked,
        code: Surroundings,
        deadline_ms: int,
        on_sent: Callable[[], None],
        on_answer: Callable[[float], None],
        temperature: float | None,
    ) -> Draft | None:
        """Ask once. on_sent: from now on a cancel costs. on_answer: told how long it took, ms. temperature: None: the server's.

        None: there is no server, and the status says so. Cancelling closes the connection, which stops the engine.
        """
        client = self._connection.client
        if client is None:
            client = await self._connection.found()
            if client is None:
                return None
        context = await self._context(asked, code)
        request = self._wire(asked, context, deadline_ms, temperature)
        self._counters.model_calls += 1
        if asked.ahead:
            self._counters.prefetched += 1
        on_sent()
        began = time.perf_counter()
        try:
            response = await client.complete(request)
        except asyncio.CancelledError:
            self._counters.cancelled += 1
            raise
        on_answer((time.perf_counter() - began) * 1000)
        from tacit.protocol.events import new_id

        # Those that had no room in the prompt were not seen.
        seen = context.model_copy(update={"snippets": context.snippets[: response.snippets]})
        return Draft(new_id(), asked, seen, response)

    def failed(self, error: BaseException) -> None:
        """Say what went wrong, and look for the server if it is gone."""
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

    def late(self, deadline_ms: int) -> None:
        who = "The model" if self._connection.client is not None else "The server"
        self._status.say("late", f"{who} had no answer within {deadline_ms} ms.")

    async def _context(self, asked: Asked, code: Surroundings) -> "Context":
        from tacit.protocol.completion import Context

        document = self._documents.get(asked.uri)
        snippets: tuple[Snippet, ...] = ()
        if self._gathered is not None and document is not None:
            offset = min(asked.offset - len(asked.ahead), len(document.text))
            snippets = await self._gathered(document, max(0, offset), asked.trigger == "invoked")
        return Context(
            path=asked.place.path[-4096:],
            language=asked.language[:64],
            prefix=code.prefix,
            suffix=code.suffix,
            snippets=snippets,
        )

    def _wire(self, asked: Asked, context: "Context", deadline_ms: int, temperature: float | None) -> "CompleteRequest":
        from tacit.protocol.completion import CompleteRequest
        from tacit.protocol.events import new_id

        return CompleteRequest(
            request_id=new_id(),
            session_id=self._session_id,
            project=asked.place.folder.project if asked.place.folder else None,
            context=context,
            trigger=asked.trigger,
            deadline_ms=max(50, int(deadline_ms - MARGIN_MS - asked.elapsed_ms())),
            temperature=temperature,
        )
