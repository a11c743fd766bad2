"""The routes of debugging: `/v1/debug` and `/v1/chat`, streams of JSON lines. Touches the parts it is given; holds nothing."""

import contextlib
import logging
import time
import traceback
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from tacit.protocol import errors
from tacit.protocol.debugging import DEBUG_CHUNK, DebugChunk, DebugRequest, Done, Failed, Withheld
from tacit.server.team import scope
from tacit.server.team.gate import asker
from tacit.server.team.limits import DEBUGGING
from tacit.server.team.routes import turn
from tacit.server.team.users import User

if TYPE_CHECKING:
    from tacit.server.app import Parts

log = logging.getLogger(__name__)

LINES = "application/x-ndjson"


def add_routes(app: FastAPI, parts: "Parts") -> None:
    @app.post("/v1/debug", response_class=StreamingResponse)
    async def debug(body: DebugRequest, request: Request) -> Response:
        """A fix or an explanation: one DebugChunk a line. Closing the connection stops the work on it."""
        if body.kind == "chat":
            raise errors.BadRequest("A chat is asked for at /v1/chat.")
        return await _streamed(parts, body, asker(request))

    @app.post("/v1/chat", response_class=StreamingResponse)
    async def chat(body: DebugRequest, request: Request) -> Response:
        """The answer to the last turn: one DebugChunk a line. Closing the connection stops the work on it."""
        if body.kind != "chat":
            raise errors.BadRequest(f"`{body.kind}` is asked for at /v1/debug.")
        return await _streamed(parts, body, asker(request))


async def _streamed(parts: "Parts", body: DebugRequest, user: User) -> Response:
    lines = _lines(parts, scope.debug_question_of(user, body), user)
    # The first line before the status line: what fails at once is answered as an error.
    first = await anext(lines)

    async def stream() -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(lines):
            yield first
            async for line in lines:
                yield line

    return StreamingResponse(stream(), media_type=LINES)


async def _lines(parts: "Parts", body: DebugRequest, user: User) -> AsyncGenerator[bytes, None]:
    """The chunks as lines. An error before the first is raised, a later one is the last line."""
    began, outcome, said = time.perf_counter(), "cancelled", False
    try:
        with parts.metrics.load.asked() as begun:
            its_turn = turn(parts.turns, user, DEBUGGING, body.deadline_ms / 1000)
            async with its_turn, contextlib.aclosing(_chunks(parts, body, begun, guest=not user.operator)) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Withheld):
                        outcome = "withheld"
                    elif isinstance(chunk, Done):
                        outcome = "withheld" if outcome == "withheld" else "answered"
                        parts.metrics.answered(chunk.timings, completion=False)
                    said = True
                    yield _line(chunk)
    except errors.TacitError as error:
        outcome = "error"
        if not said:
            raise
        told = scope.error_of(user, error)
        yield _line(Failed(code=told.code, message=told.message, mend=told.mend))
    except Exception as error:
        outcome = "error"
        if not said:
            raise
        # Where, not what it says: that may be code that was sent.
        where = traceback.extract_tb(error.__traceback__)[-1]
        log.error("a debugging answer failed after it had begun: %s at %s:%s", type(error).__name__, where.filename, where.lineno)
        message = f"The answer could not be finished: {type(error).__name__} in the server."
        yield _line(Failed(code=errors.TacitError.code, message=message, mend="See the server's log."))
    finally:
        parts.metrics.debug_answers.labels(body.kind, outcome).inc()
        parts.metrics.debug_seconds.observe(time.perf_counter() - began)


async def _chunks(
    parts: "Parts", body: DebugRequest, begun: Callable[[], None], *, guest: bool
) -> AsyncGenerator[DebugChunk, None]:
    """With the policy that is the session's; a canary's failures count against it."""
    service, model_sha256 = parts.host.debugging()
    parts.requests += 1
    parts.resting.asked()
    ready = parts.host.ready
    with parts.idle.wanted(), parts.adapters.using(body.project, "debug", body.session_id) as policy:
        try:
            async with contextlib.aclosing(service.answer(body, policy, model_sha256, guest=guest, begun=begun)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (errors.EngineUnavailable, errors.NotFound) as error:
            if ready:
                await parts.adapters.answered(policy, error)
            raise
        await parts.adapters.answered(policy, None)


def _line(chunk: DebugChunk) -> bytes:
    return DEBUG_CHUNK.dump_json(chunk) + b"\n"
