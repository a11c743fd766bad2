"""The adapter that projects share, through a real server with the tiny model: whom it serves, who gives to it, going back, and
being kept out of it. What one night makes of two small projects is a test of its own."""

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from published_adapter import publish_adapter
from tiny_night import OPTIONS, draw

from tacit.learner.run import learn
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import SHARED, Manifest
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.debugging import DebugRequest, Done, Turn
from tacit.protocol.errors import Conflict
from tacit.protocol.events import Suggested, new_id
from tacit.protocol.home import Home

ONE, OTHER, NEW = "dir-0000000000000001", "dir-0000000000000002", "dir-0000000000000003"


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(home, {"model": str(tiny_model), "temperature": "0.8", "canary_share": "0"}) as running:
        yield running


async def completes(server: ServerProcess, project: str | None) -> str:
    request = CompleteRequest(
        request_id=new_id(),
        session_id=new_id(),
        project=project,
        context=Context(path="a.py", language="python", prefix="x = ", suffix="\n"),
        max_tokens=2,
        deadline_ms=60_000,
    )
    return (await server.client.complete(request)).generation.policy_version


async def chats(server: ServerProcess, project: str) -> str:
    request = DebugRequest(
        request_id=new_id(),
        session_id=new_id(),
        project=project,
        kind="chat",
        turns=(Turn(role="user", text="why?"),),
        max_tokens=2,
    )
    (done,) = [chunk async for chunk in server.client.chat(request) if isinstance(chunk, Done)]
    return done.policy_version


async def record(server: ServerProcess, project: str, numbers: range) -> None:
    """Suggestions of one project: drawn by the engine, rejected, with what was written instead."""
    for number in numbers:
        events = await draw(server.client, number)
        assert isinstance(events[0], Suggested)
        await server.client.send_events([events[0].model_copy(update={"project": project}), *events[1:]])


@pytest.mark.timeout(600)
async def test_it_serves_who_has_none_and_nobody_else(server: ServerProcess, home: Home, tiny_model: Path) -> None:
    base = (await server.client.status()).model_sha256
    own = publish_adapter(home, 1, tiny_model, base, project=ONE)
    shared = publish_adapter(home, 2, tiny_model, base, project=SHARED)
    await server.client.publish(own)
    await server.client.publish(shared)
    expected = {ONE: own, OTHER: shared, None: "base"}
    assert {project: await completes(server, project) for project in expected} == expected
    assert await chats(server, OTHER) == "base"
    await server.kill()
    await server.start()
    assert {project: await completes(server, project) for project in expected} == expected

    # Who records gives; who is kept out neither gives nor is served.
    await record(server, ONE, range(2))
    await record(server, OTHER, range(2, 5))
    assert {r.suggestion.project async for r in server.client.export(SHARED)} == {ONE, OTHER}
    dry = await learn(server.client, home, dataclasses.replace(OPTIONS, project=SHARED, dry_run=True, min_samples=4))
    assert "5 suggestions have a label" in dry.message and f"`{shared}`" in dry.message
    command = (sys.executable, "-m", "tacit.cli", "adapters", "share", "--off", "--project", OTHER)
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0
    assert {r.suggestion.project async for r in server.client.export(SHARED)} == {ONE}
    assert await completes(server, OTHER) == "base"
    infos = {info.project: (info.policy_version, info.shares) for info in await server.client.projects()}
    assert infos == {ONE: (own, True), OTHER: ("base", False)}
    assert await server.client.share(OTHER, True) == []
    assert await completes(server, OTHER) == shared

    # Each goes back by itself.
    assert await server.client.rollback(ONE) == shared == await completes(server, ONE)
    with pytest.raises(Conflict, match="no adapter of its own"):
        await server.client.rollback(ONE)
    assert await server.client.rollback(SHARED) == "base" == await completes(server, ONE)


@pytest.mark.soak
@pytest.mark.timeout(2400)
async def test_two_small_projects_teach_what_serves_a_third(server: ServerProcess, home: Home) -> None:
    await record(server, ONE, range(18))
    await record(server, OTHER, range(18, 36))
    alone = await learn(server.client, home, dataclasses.replace(OPTIONS, project=ONE))
    assert alone.state == "skipped" and "20 are needed" in alone.message
    outcome = await learn(server.client, home, dataclasses.replace(OPTIONS, project=SHARED))
    assert outcome.state == "published" and outcome.adapter.startswith("shared-c@"), outcome.message
    assert {project: await completes(server, project) for project in (ONE, OTHER, NEW)} == dict.fromkeys(
        (ONE, OTHER, NEW), outcome.adapter
    )
    manifest = Manifest.model_validate_json((home.adapters / outcome.adapter / "manifest.json").read_text())
    assert (manifest.project, manifest.projects) == (SHARED, (ONE, OTHER))
    # One of them takes back what it gave: nobody is served by it any more.
    assert await server.client.share(ONE, False) == [outcome.adapter]
    assert {await completes(server, project) for project in (ONE, OTHER, NEW)} == {"base"}
