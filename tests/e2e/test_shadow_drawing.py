"""A shadow through a real server with the tiny model: drawn with where nobody sees it, withdrawn when it is worse, a canary when
it is not, out of the way when somebody works, the same after a kill -9."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from published_adapter import PROJECT, publish_adapter

from tacit.learner.shadow import APART, look
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import CanaryInfo, ShadowRequest
from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context
from tacit.protocol.errors import Conflict
from tacit.protocol.events import Event, Rejected, Settled, Suggested, new_id
from tacit.protocol.home import Home
from tacit.server.schedule import judge_command

pytestmark = pytest.mark.timeout(600)
PLACES = 12


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    # Cold enough to write the same again: what was written is what the version that serves writes.
    settings = {"model": str(tiny_model), "shadow_places": str(PLACES), "temperature": "0.05", "max_tokens": "8", "threads": "1"}
    async with ServerProcess(home, settings) as running:
        yield running


def context(number: int) -> Context:
    return Context(path=f"part{number}.py", language="python", prefix=f"def part_{number}(x):\n    return ", suffix="\n")


async def complete(server: ServerProcess, number: int, session: str = "session-0000") -> CompleteResponse:
    request = CompleteRequest(
        request_id=new_id(), session_id=session, project=PROJECT, context=context(number), deadline_ms=60_000, seed=number
    )
    return await server.client.complete(request)


def rejected(number: int, answer: CompleteResponse, written: str) -> list[Event]:
    """A suggestion that was not taken; what was written there instead stays."""
    where = context(number)
    source = {
        "session_id": "session-0000",
        "suggestion_id": new_id(),
        "at": datetime.now(UTC) - timedelta(days=1) + number * APART,
    }
    suggested = Suggested(
        **source, project=PROJECT, context=where, context_sha256=where.digest(), text=answer.text or "words",
        generation=answer.generation, trigger="automatic", p_show=1, shown=True, latency_ms=10, engine_ms=9,
    )  # fmt: skip
    return [
        suggested,
        Rejected(**source, reason="typed_over", visible_ms=900),
        Settled(**source, horizon="2m", elapsed_ms=130_000, span_text=None, settled_text=f"{written}\n"),
    ]


async def work_a_day(server: ServerProcess, count: int) -> None:
    """What is written is, every time, what the version that serves would have said."""
    for number in range(count):
        answer = await complete(server, number)
        await server.client.send_events(rejected(number, answer, answer.text))


async def looked(server: ServerProcess, until: int, seconds: float = 60.0) -> CanaryInfo:
    """As the schedule does, again and again: while somebody worked a moment ago, nothing is drawn. seconds: of each look."""
    while True:
        (found, *_) = await server.client.canaries()
        if found.state == "shadow" and len(found.places) < until:
            await look(server.client, found, seconds)
        else:
            return found
        await asyncio.sleep(0.5)


async def test_worse_is_never_shown_and_alike_becomes_a_canary(server: ServerProcess, home: Home, tiny_model: Path) -> None:
    base = (await server.client.status()).model_sha256
    live, worse = (publish_adapter(home, number, tiny_model, base, scale=0.5) for number in (1, 2))
    # The same weights as what serves, nearly: a step so small that it says the same.
    alike = publish_adapter(home, 3, tiny_model, base, scale=0.0001)
    await server.client.publish(live)
    assert (await server.client.try_out(worse)).state == "shadow"
    await work_a_day(server, PLACES)
    served = {(await complete(server, 0, f"session-{number:04d}")).generation.policy_version for number in range(40)}
    assert served == {live}, "somebody was answered by a shadow"

    # Somebody has just been answered: it waits.
    (found,) = await server.client.canaries()
    draw = ShadowRequest(project=PROJECT, task="completion", adapter=worse, context=context(0), seed=0)
    with pytest.raises(Conflict, match="wanted"):
        await server.client.shadow_draw(draw)
    assert (await look(server.client, found)).places == ()

    # As the schedule asks, in a process of its own; what is known of it is on the disk after each place.
    found = await looked(server, 2, seconds=0)
    assert (found.state, len(found.places)) == ("shadow", 2)
    await server.kill()
    await server.start()
    (again,) = await server.client.canaries()
    assert again == found, again.reason
    asked = await asyncio.create_subprocess_exec(*judge_command(), env={**os.environ, **server.environment})
    assert await asked.wait() == 0
    found = await looked(server, PLACES)
    assert found.state == "rolled_back", found.reason
    assert "farther from what was written" in found.reason and len(found.places) < PLACES
    assert {place.live.chars > 0 for place in found.places} == {True}
    assert worse not in {info.name for info in await server.client.adapters() if info.state in ("live", "shadow", "canary")}

    # One that says what is written, beside one that does not.
    assert await server.client.rollback(PROJECT) == "base"
    assert (await server.client.try_out(alike)).live == "base"
    await work_a_day(server, PLACES)
    found = await looked(server, PLACES + 1)
    assert found.state == "running" and len(found.places) == PLACES, found.reason
    detail = await server.client.adapter(alike)
    assert detail.info.state == "canary" and detail.tried == found


async def test_whoever_works_is_not_kept_waiting(server: ServerProcess, home: Home, tiny_model: Path) -> None:
    base = (await server.client.status()).model_sha256
    new = publish_adapter(home, 1, tiny_model, base, scale=0.5)
    await server.client.try_out(new)
    # So long a prompt that it is under way when the question comes.
    long = Context(path="a.py", language="python", prefix="value = [0, 1, 2]\n" * 400, suffix="\n")
    draw = ShadowRequest(project=PROJECT, task="completion", adapter=new, context=long, seed=0)
    for _ in range(20):
        drawing = asyncio.create_task(server.client.shadow_draw(draw))
        await asyncio.sleep(0)
        answer = await complete(server, 1)
        assert answer.generation.policy_version == "base" and answer.generation.finish_reason != "deadline"
        try:
            await drawing
        except Conflict as error:
            if "was wanted" in str(error):
                break
    else:
        pytest.fail("no draw was ever broken off")
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(home.socket))) as http:
        assert 'tacit_shadow_draws_total{outcome="broken off"}' in (await http.get("http://tacit/metrics")).text
