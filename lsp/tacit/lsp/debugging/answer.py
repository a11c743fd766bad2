"""One answer of the server, taken in as it streams, and the record of it. Touches the server through its client.

Knows nothing of editors: what is shown, and where, is up to the caller. The record is the whole draw, or there is none.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from tacit.lsp.connection import ServerConnection
from tacit.lsp.context import window_start
from tacit.lsp.debugging.edit import Change
from tacit.lsp.matching import unified
from tacit.protocol.plain_text import visible
from tacit.protocol.redaction import mask, redact

if TYPE_CHECKING:
    from tacit.protocol.debugging import DebugChunk, DebugRequest, Done, Proposal, Withheld
    from tacit.protocol.events import Suggested

PREFIX_CHARS: Final = 3000
SUFFIX_CHARS: Final = 1000
"""Of the code around a fix, in its record."""


@dataclass(slots=True)
class Answer:
    suggestion_id: str
    began: float
    """perf_counter seconds."""
    text: list[str] = field(default_factory=list)
    proposal: "Proposal | None" = None
    withheld: "Withheld | None" = None
    done: "Done | None" = None

    def take(self, chunk: "DebugChunk") -> None:
        """What is not said on the way: the fix, or that there is none; the draws."""
        match chunk.kind:
            case "edit":
                self.proposal = chunk
            case "withheld":
                self.withheld = chunk
            case "done":
                self.done = chunk

    @property
    def words(self) -> str:
        return "".join(self.text)

    @property
    def told(self) -> str:
        """For a person: the words, and why they are not all."""
        return self.words + self.note

    @property
    def note(self) -> str:
        return f"\n\n*{self.done.cut}*\n" if self.done is not None and self.done.cut else ""

    @property
    def policy_version(self) -> str:
        return self.done.policy_version if self.done is not None else ""


async def ask(
    connection: ServerConnection,
    request: "DebugRequest",
    limit_s: float,
    say: Callable[[str], None],
    on_text: Callable[[str], None] = lambda text: None,
) -> Answer:
    """The server's whole answer. say: told what is being done. on_text: told each piece of text. limit_s: it ends by then.

    TacitError. Cancelling closes the connection, which stops the engine.
    """
    from tacit.protocol import errors
    from tacit.protocol.events import new_id

    answer = Answer(new_id(), time.perf_counter())
    try:
        async with asyncio.timeout(limit_s):
            client = connection.client or await connection.found()
            if client is None:
                raise errors.ServerUnavailable("No Tacit server runs.", mend="Start one with `tacit up`.")
            stream = client.chat(request) if request.kind == "chat" else client.debug(request)
            try:
                async for chunk in stream:
                    match chunk.kind:
                        case "progress":
                            say(chunk.text)
                        case "text":
                            piece = visible(chunk.text)
                            answer.text.append(piece)
                            on_text(piece)
                        case _:
                            answer.take(chunk)
            finally:
                await stream.aclose()
            if answer.note:
                on_text(answer.note)
    except TimeoutError:
        raise errors.EngineUnavailable(
            f"There was no answer within {limit_s:.0f} s.", mend="`debugDeadlineMs` says how long an answer may take."
        ) from None
    except errors.ServerUnavailable:
        connection.lost()
        raise
    return answer


def record(
    request: "DebugRequest",
    answer: Answer,
    *,
    at: datetime,
    full_text: str,
    change: Change | None = None,
    hole: tuple[int, int] = (0, 0),
    conversation: str = "",
) -> "Suggested | None":
    """The record of the draws; None: there are none, or a secret is in them. full_text: the document, masked. hole: where a fix
    goes, or would have gone; of an explanation the place that it is about."""
    from tacit.protocol.completion import Context
    from tacit.protocol.events import DebugRecord, Suggested

    done = answer.done
    if done is None or not done.draws or request.project is None:
        return None
    left, right = hole
    text = redact(unified(change.text)) if change is not None else answer.words
    # What the model made up would be in its tokens too, where it cannot be replaced.
    if any(mask(draw.text) != draw.text for draw in done.draws) or (change is None and redact(text) != text):
        return None
    context = Context(
        path=request.path,
        language=request.language,
        prefix=redact(unified(full_text[window_start(full_text, left, PREFIX_CHARS) : left])),
        suffix=redact(unified(full_text[right : right + SUFFIX_CHARS])),
    )
    draw = next((one for one in done.draws if one.shown), done.draws[-1])
    shown = request.kind != "fix" or change is not None
    reason = (
        answer.proposal.reason if answer.proposal is not None else answer.withheld.reason if answer.withheld is not None else ""
    )
    said = answer.proposal or answer.withheld
    return Suggested(
        at=at,
        session_id=request.session_id,
        suggestion_id=answer.suggestion_id,
        project=request.project,
        task="debug",
        context=context,
        context_sha256=context.digest(),
        text=text,
        generation=draw.generation,
        trigger="invoked",
        p_show=1.0,
        shown=shown,
        withheld_reason="" if shown else ("checks" if answer.withheld is not None else "unusable"),
        latency_ms=(time.perf_counter() - answer.began) * 1000,
        engine_ms=done.timings.total_ms,
        debug=DebugRecord(
            kind=request.kind,
            conversation=conversation,
            diagnostics=request.diagnostics,
            trace=request.trace,
            original=redact(unified(change.original)) if change is not None else "",
            reason=reason,
            confidence=answer.proposal.confidence if answer.proposal is not None else None,
            checks=said.checks if said is not None else (),
            draws=done.draws,
        ),
    )
