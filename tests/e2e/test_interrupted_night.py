"""A night that a developer interrupts goes on later from the step where it was, although events were recorded since.

A real server whose engine ends while the learner trains, the learner that its schedule starts, and someone who keeps asking.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import night_process
import pytest
from tiny_night import PROJECT, draw, fill

from tacit.learner.checkpoint import NAME
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import RunInfo
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.errors import EngineUnavailable
from tacit.protocol.events import new_id
from tacit.protocol.home import Home
from tacit.server.schedule import ATTEMPT
from tacit.server.store.store import Store

COUNT = 24
"""Suggestions of the day: six of them are held out."""
AT = 3
"""The step from which on the developer asks."""


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(600):
        while not await condition():
            await asyncio.sleep(0.1)


async def newest(server: ServerProcess) -> RunInfo | None:
    return next(iter(await server.client.runs()), None)


async def ask(server: ServerProcess) -> bool:
    """Of serving at rest. Is the run that it rests for still under way?"""
    context = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")
    request = CompleteRequest(request_id=new_id(), session_id=new_id(), context=context, max_tokens=4, deadline_ms=60_000)
    try:
        await server.client.complete(request)
    except EngineUnavailable as error:
        assert "while the learner trains" in error.message
    run = await newest(server)
    return run is not None and run.state == "running"


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_an_interrupted_night_goes_on_where_it_was(home: Home, tiny_model: Path) -> None:
    settings = {"model": str(tiny_model), "temperature": "1.0", "while_learning": "stop", "min_samples": "20"}
    async with ServerProcess(home, settings) as by_day:
        await fill(by_day, COUNT)
    store = Store.open(home)
    await store.put(ATTEMPT, (datetime.now(UTC) - timedelta(days=2)).isoformat())
    store.close()

    server = ServerProcess(home, {**settings, "nightly": "0 3 * * *"})
    server.command = (sys.executable, night_process.__file__)
    async with server:

        async def far_enough() -> bool:
            run = await newest(server)
            assert run is None or run.state == "running", run
            return run is not None and run.stage.startswith("training") and run.done >= AT

        async def by_itself() -> bool:
            status = await server.client.status()
            return status.resting is None and status.engine_ready

        await until(far_enough)
        # It rests, and someone works.
        while await ask(server):
            await asyncio.sleep(0.2)
        first = await newest(server)
        assert first is not None and first.state == "interrupted" and first.trigger == "nightly"
        assert (home.runs / first.id / NAME).exists()
        await until(by_itself)
        await server.client.send_events(await draw(server.client, COUNT))
        assert len([one async for one in server.client.export(PROJECT)]) == COUNT + 1
        (home.root / night_process.WORKED).touch()

        async def another_has_ended() -> bool:
            run = await newest(server)
            return run is not None and run.id != first.id and run.state != "running"

        await until(another_has_ended)
        second = await newest(server)
        assert second is not None
        report = json.loads((home.runs / second.id / "report.json").read_text())
        # What the candidate is worth is not this test's matter: that the training was a whole one is.
        assert second.state in ("published", "refused"), second.message
        assert report["counts"]["exported"] == COUNT
        training = report["training"]
        assert AT <= training["continued_at"] < training["steps"]
        assert not list(home.runs.glob(f"*/{NAME}"))
        await until(by_itself)
