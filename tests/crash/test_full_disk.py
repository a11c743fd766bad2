"""A disk that is full from the Nth write on, whatever write that is: nothing is acknowledged, completions go on, it ends.

A real server, whose writes and syncs below its home (database, log, checkpoint) fail by a shim between it and the system
(full_shim.c).
"""

import asyncio
import contextlib
import mmap
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from recorded import rejected, suggested

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.errors import ServerUnavailable, StorageFull
from tacit.protocol.events import Event, new_id
from tacit.protocol.home import Home

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the shim knows Linux's calls"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="the shim is C, and there is no gcc"),
    pytest.mark.timeout(2400),
]

FIELDS = struct.Struct("<qq")
ENDLESS = -1


class Disk:
    """What the shim is told, and what it tells."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(FIELDS.pack(ENDLESS, 0))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), FIELDS.size)

    def room(self, writes: int) -> None:
        self._shared[:8] = struct.pack("<q", writes)

    @property
    def failed(self) -> int:
        return int(FIELDS.unpack(self._shared[:])[1])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    yield Disk(tmp_path / "control")


def on_it(server: ServerProcess, folder: Path) -> None:
    """The server's home is on that disk, once it has been started."""
    shim = folder / "full.so"
    source = Path(__file__).with_name("full_shim.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl"], check=True)
    server.environment.update(LD_PRELOAD=str(shim), WATCHED=str(server.home.root), CONTROL=str(folder / "control"))


def batch(draw: random.Random) -> list[Event]:
    """From one page to many."""
    events: list[Event] = []
    for _ in range(draw.randint(1, 4)):
        one = suggested(prefix=f"x_{draw.randrange(10**9)} = 1\n" * draw.choice((1, 30, 1000)))
        events += [one, rejected(one)]
    return events


def question() -> CompleteRequest:
    context = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")
    return CompleteRequest(
        request_id=new_id(), session_id=new_id(), project="p", context=context, max_tokens=2, deadline_ms=60_000
    )


async def delivered(server: ServerProcess, events: list[Event]) -> None:
    """Patient with a busy machine, as a language server is."""
    async with asyncio.timeout(300):
        while True:
            with contextlib.suppress(ServerUnavailable):
                await server.client.send_events(events)
                return


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.soak)])
async def test_full_from_the_nth_write_on(home: Home, tiny_model: Path, tmp_path: Path, disk: Disk, count: int) -> None:
    draw = random.Random(507)
    acked: set[str] = set()
    server = ServerProcess(home, {"model": str(tiny_model)})
    on_it(server, tmp_path)
    refused = 0
    async with server:
        for number in range(count):
            batches = [batch(draw) for _ in range(draw.choice((1, 1, 4)))]
            # In the order of N, and over and over: no write is left out that a batch makes.
            disk.room(number % 40)
            answers = await asyncio.gather(*(server.client.send_events(one) for one in batches), return_exceptions=True)
            for one, answer in zip(batches, answers, strict=True):
                if isinstance(answer, BaseException):
                    assert isinstance(answer, StorageFull) and answer.status == 507, answer
                    assert "nothing was acknowledged" in answer.message
                else:
                    acked.update(event.id for event in one)
            without = [one for one, answer in zip(batches, answers, strict=True) if isinstance(answer, StorageFull)]
            if without:
                refused += 1
                assert (await server.client.complete(question())).generation.tokens
                assert (await server.client.status()).pid
            disk.room(ENDLESS)
            for one in without:
                await delivered(server, one)
                acked.update(event.id for event in one)
    assert refused > count / 2 and disk.failed >= refused, "there was room for everything"
    with contextlib.closing(sqlite3.connect(home.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = [row[0] for row in database.execute("SELECT id FROM event")]
    assert len(stored) == len(set(stored)) and set(stored) == acked


async def test_full_while_it_ends_and_starts(home: Home, tiny_model: Path, tmp_path: Path, disk: Disk) -> None:
    """It says why it cannot start, or serves; with room again it starts, and what was acknowledged is there."""
    server = ServerProcess(home, {"model": str(tiny_model)})
    on_it(server, tmp_path)
    await server.start(engine=False)
    sent = batch(random.Random(1))
    await server.client.send_events(sent)
    disk.room(3)
    await server.stop()
    for room in (0, 4):
        disk.room(room)
        with contextlib.suppress(ServerUnavailable):
            await server.start(engine=False)
            assert (await server.client.status()).events == len(sent)
        await server.stop()
    assert disk.failed
    disk.room(ENDLESS)
    async with server:
        assert (await server.client.status()).events == len(sent)
        assert not (home.root / "quarantine").exists()
