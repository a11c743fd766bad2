"""A canary through a real server with the tiny model: who gets it, what feedback does to it, what a kill -9 leaves."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from published_adapter import PROJECT, publish_adapter

from tacit.learner.canary import judge_all
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context
from tacit.protocol.events import Accepted, Event, Rejected, Settled, Suggested, new_id
from tacit.protocol.home import Home
from tacit.server.canary import chosen
from tacit.server.schedule import judge_command

pytestmark = pytest.mark.timeout(300)
SHARE = 0.3
CONTEXT = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(
        home, {"model": str(tiny_model), "canary_share": str(SHARE), "shadow_places": "0", "threads": "1"}
    ) as running:
        yield running


async def complete(server: ServerProcess, session: str) -> CompleteResponse:
    request = CompleteRequest(
        request_id=new_id(), session_id=session, project=PROJECT, context=CONTEXT, max_tokens=4, temperature=0.05, seed=3
    )
    return await server.client.complete(request)


async def routes(server: ServerProcess, sessions: Iterable[str]) -> dict[str, str]:
    return {session: (await complete(server, session)).generation.policy_version for session in sessions}


def feedback(session: str, answer: CompleteResponse, kept: bool) -> list[Event]:
    """One suggestion of yesterday, kept whole or dismissed."""
    at = datetime.now(UTC) - timedelta(days=1)
    source = {"session_id": session, "suggestion_id": new_id(), "at": at}
    text = answer.text or "words"
    suggested = Suggested(
        **source, project=PROJECT, context=CONTEXT, context_sha256=CONTEXT.digest(), text=text, generation=answer.generation,
        trigger="automatic", p_show=1, shown=True, latency_ms=10, engine_ms=9,
    )  # fmt: skip
    if not kept:
        return [suggested, Rejected(**source, reason="dismissed", visible_ms=900)]
    accepted = Accepted(**source, accepted_chars=len(text), total_chars=len(text), visible_ms=900, inferred=True)
    return [suggested, accepted, Settled(**source, horizon="10m", elapsed_ms=600_000, span_text=text, settled_text=text)]


async def send(server: ServerProcess, sessions: Iterable[str], answer: CompleteResponse, kept: bool) -> None:
    for session in sessions:
        await server.client.send_events(feedback(session, answer, kept))


async def test_worse_is_rolled_back_better_serves_and_a_kill_loses_neither(
    server: ServerProcess, home: Home, tiny_model: Path
) -> None:
    base = (await server.client.status()).model_sha256
    live, worse, better = (publish_adapter(home, number, tiny_model, base, scale=0.5) for number in (1, 2, 3))
    await server.client.publish(live)
    canary = await server.client.try_out(worse)
    assert (canary.state, canary.live, canary.share) == ("running", live, SHARE)
    # One session, one version, the one that the hash says; and it is the weights of that version that answer.
    sessions = [f"session-{number:03d}" for number in range(24)]
    expected = {session: worse if chosen(session, worse, SHARE) else live for session in sessions}
    assert set(expected.values()) == {live, worse}
    assert await routes(server, sessions) == expected
    tried, other = (next(s for s in sessions if expected[s] == version) for version in (worse, live))
    by_canary, by_live = await complete(server, tried), await complete(server, other)
    assert by_canary.generation.tokens != by_live.generation.tokens
    assert by_canary.generation.tokens == (await complete(server, tried)).generation.tokens

    # Killed in the middle of it, it goes on as it was.
    await server.kill()
    await server.start()
    assert await routes(server, sessions) == expected
    assert [found.state for found in await server.client.canaries()] == ["running"]

    # Little feedback decides nothing, whatever it says.
    await send(server, [f"before-{number:03d}" for number in range(3)], by_canary, kept=False)
    # As the server's schedule asks, in a process of its own.
    asked = await asyncio.create_subprocess_exec(*judge_command(), env={**os.environ, **server.environment})
    assert await asked.wait() == 0
    (noted,) = await server.client.canaries()
    assert (noted.state, noted.canary_stretches) == ("running", 3) and noted.judged_at is not None

    await send(server, [f"canary-{number:03d}" for number in range(40)], by_canary, kept=False)
    await send(server, [f"others-{number:03d}" for number in range(80)], by_live, kept=True)
    (judged,) = await judge_all(server.client)
    assert judged.state == "rolled_back" and judged.high < 0, judged.reason
    assert set((await routes(server, sessions)).values()) == {live}
    await server.kill()
    await server.start()
    assert set((await routes(server, sessions)).values()) == {live}
    assert await judge_all(server.client) == []

    # The same with one that is kept where what serves is not: only what came since it began counts.
    await server.client.try_out(better)
    chosen_session = next(f"s-{number:04d}" for number in range(999) if chosen(f"s-{number:04d}", better, SHARE))
    answer = await complete(server, chosen_session)
    assert answer.generation.policy_version == better
    await send(server, [f"better-{number:03d}" for number in range(40)], answer, kept=True)
    await send(server, [f"poorer-{number:03d}" for number in range(80)], by_live, kept=False)
    (judged,) = await judge_all(server.client)
    assert (judged.state, judged.live_stretches) == ("promoted", 80), judged.reason
    assert set((await routes(server, sessions)).values()) == {better}
    assert {info.name: info.state for info in await server.client.adapters()} == {
        live: "retired", worse: "retired", better: "live"
    }  # fmt: skip
    assert await server.client.rollback(PROJECT) == live
