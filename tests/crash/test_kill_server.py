"""kill -9 of the server at random points of ingestion: no acknowledged event is lost, none is stored twice."""

import asyncio
import contextlib
import random
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import TacitError
from tacit.protocol.events import Rejected, new_id
from tacit.protocol.home import Home


def _batch(session: str, size: int) -> list[Rejected]:
    return [
        Rejected(at=datetime.now(UTC), session_id=session, suggestion_id=new_id(), reason="ignored", visible_ms=400)
        for _ in range(size)
    ]


async def _send_until_killed(client: TacitClient, draw: random.Random, backlog: list[list[Rejected]], acked: set[str]) -> None:
    """Like a language server: a batch is kept until it is acknowledged, and sent again with the same ids."""
    session = new_id()
    while True:
        batch = backlog.pop() if backlog else _batch(session, draw.randint(1, 20))
        try:
            await client.send_events(batch)
        except TacitError:
            backlog.append(batch)
            return
        acked.update(event.id for event in batch)


@pytest.mark.parametrize("kills", [20, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
async def test_no_acknowledged_event_is_lost_or_doubled(home: Home, tiny_model: Path, kills: int) -> None:
    draw = random.Random(20)
    acked: set[str] = set()
    backlog: list[list[Rejected]] = []
    server = ServerProcess(home, {"model": str(tiny_model)})
    try:
        for _ in range(kills):
            await server.start(engine=False)
            senders = [asyncio.create_task(_send_until_killed(server.client, draw, backlog, acked)) for _ in range(4)]
            await asyncio.sleep(draw.uniform(0, 0.4))
            await server.kill()
            await asyncio.gather(*senders)
        assert len(acked) > 10 * kills, "the server was killed before it did any work"
        await server.start(engine=False)
        for batch in backlog:
            await server.client.send_events(batch)
            acked.update(event.id for event in batch)
    finally:
        await server.stop()
    with contextlib.closing(sqlite3.connect(home.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = [row[0] for row in database.execute("SELECT id FROM event")]
    assert len(stored) == len(set(stored))
    assert set(stored) >= acked
