"""What the engine is told of a request, so that it can choose: who waits for it, and whose cache it may use."""

from collections.abc import Awaitable, Callable

import pytest
from scripted_engine import Scripted
from test_debug_service import GOOD, asking

from tacit.protocol.completion import CompleteRequest, Context
from tacit.server.completing import CompletionService
from tacit.server.debugging.answering import DebugService
from tacit.server.engine.interface import ANSWER, COMPLETION, PRACTICE, Sampling
from tacit.server.settings import Settings

SETTINGS = Settings(context_tokens=8192)


async def completing(project: str | None, *, background: bool = False) -> Sampling:
    engine = Scripted("value")
    context = Context(path="a.py", language="python", prefix="x = ", suffix="\n")
    asked = CompleteRequest(request_id="r", session_id="session", project=project, context=context)
    await CompletionService(engine, SETTINGS).complete(asked, "base", "0" * 64, background=background)
    return engine.asked[0][1]


async def answering(project: str | None) -> Sampling:
    engine = Scripted(GOOD)
    asked = asking(project=project, session_id="session")
    assert [chunk async for chunk in DebugService(engine, SETTINGS).answer(asked, "base", "0" * 64)]
    return engine.asked[0][1]


async def test_completions_come_before_answers_and_those_before_what_nobody_waits_for() -> None:
    assert COMPLETION < ANSWER < PRACTICE
    assert (await completing("p")).rank == COMPLETION and (await answering("p")).rank == ANSWER
    assert (await completing("p", background=True)).background


@pytest.mark.parametrize("ask", [completing, answering])
async def test_each_workspace_has_a_cache_of_its_own(ask: Callable[[str | None], Awaitable[Sampling]]) -> None:
    one, other, nobodys = (await ask("one")).salt, (await ask("other")).salt, (await ask(None)).salt
    assert one and len({one, other, nobodys}) == 3 and one == (await ask("one")).salt
    assert nobodys == "session"
