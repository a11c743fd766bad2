"""Power that goes at any moment of ingestion: no acknowledged event is lost, the database is sound.

kill -9 proves nothing of this: the system keeps what a dead process wrote. Here everything that the store writes and syncs is
noted by a shim between it and the system (power_shim.c), and what a disk may hold after any of these steps is put together again:
all that was synced by then, and of the rest any part, torn at any sector.
"""

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tacit.protocol.home import Home

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the shim knows Linux's calls"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="the shim is C, and there is no gcc"),
]

HEAD = struct.Struct("<c7xQQQ")
SECTOR = 512
EVENTS = 240
ACKS = "acks"
"""The file to which the child says what was acknowledged: a line for each event."""


@dataclass(frozen=True, slots=True)
class Noted:
    what: str
    """w: written. t: cut or grown. s: synced. u: removed."""
    name: str
    """Of the file; of the folder when that was synced, which makes removals certain."""
    at: int
    data: bytes


def read_notes(path: Path) -> Iterator[Noted]:
    content, at = path.read_bytes(), 0
    while at < len(content):
        what, length, offset, size = HEAD.unpack_from(content, at)
        at += HEAD.size
        name = Path(os.fsdecode(content[at : at + length])).name
        at += length
        yield Noted(what.decode(), name, offset, content[at : at + size])
        at += size


class Disk:
    """What is on it for certain, and what was written since the last sync of each file."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.certain: dict[str, bytearray] = {}
        self.waiting: dict[str, list[Noted]] = {}

    def note(self, one: Noted) -> None:
        if one.what != "s":
            self.waiting.setdefault(one.name, []).append(one)
            return
        removed = [name for name, steps in self.waiting.items() if any(step.what == "u" for step in steps)]
        for name in removed if one.name == self._folder else [one.name]:
            for step in self.waiting.pop(name, ()):
                _apply(self.certain, step)

    def after_power_loss(self, draw: random.Random) -> dict[str, bytearray]:
        """One of the states in which the files may be found."""
        found = {name: bytearray(content) for name, content in self.certain.items()}
        kept = draw.choice((0.0, 0.5, 0.9))
        for steps in self.waiting.values():
            for step in steps:
                if draw.random() < kept:
                    _apply(found, step)
                elif step.what == "w" and len(step.data) > SECTOR and draw.random() < 0.5:
                    torn = SECTOR * draw.randrange(1, -(-len(step.data) // SECTOR))
                    _apply(found, Noted("w", step.name, step.at, step.data[:torn]))
        return found


def _apply(files: dict[str, bytearray], step: Noted) -> None:
    if step.what == "u":
        files.pop(step.name, None)
        return
    content = files.setdefault(step.name, bytearray())
    end = step.at + len(step.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if step.what == "t":
        del content[step.at :]
    else:
        content[step.at : end] = step.data


async def record(home: Home, synchronous: str) -> None:
    """The child: events of several clients at once, each told of once it is acknowledged."""
    from recorded import suggested

    from tacit.server.ingest import store_events
    from tacit.server.store.store import Store

    store = Store.open(home)
    with contextlib.closing(store._writing.raw_connection()) as raw:
        cursor = raw.cursor()
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        # Often enough for a few to fall into so short a time.
        cursor.execute("PRAGMA wal_autocheckpoint = 20")
        cursor.close()
    said = os.open(home.root / ACKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    draw = random.Random(7)

    async def client(number: int) -> None:
        for _ in range(EVENTS // 4):
            event = suggested(number, prefix="x = 1\n" * draw.randrange(1, 300))
            await store_events(store, [event])
            os.write(said, f"{event.id}\n".encode())

    await asyncio.gather(*(client(number) for number in range(4)))
    store.close()


def notes_of(home: Home, folder: Path, synchronous: str) -> list[Noted]:
    shim, noted = folder / "shim.so", folder / "noted"
    source = Path(__file__).with_name("power_shim.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl", "-lpthread"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(shim), "WATCHED": str(home.root), "NOTED": str(noted)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, str(Path(__file__)), str(home.root), synchronous]
    subprocess.run(command, env=environment, check=True, timeout=300)
    return list(read_notes(noted))


def losses(notes: list[Noted], home: Home, folder: Path, count: int, seed: int) -> tuple[int, int]:
    """Of `count` moments at which the power goes: how many lose something acknowledged, and how many lose nothing."""
    draw = random.Random(seed)
    begun = next(number for number, one in enumerate(notes) if one.name == ACKS)
    moments = sorted(draw.randrange(begun, len(notes)) for _ in range(count))
    disk, acked, at = Disk(home.root.name), set[str](), 0
    lost = whole = 0
    for moment in moments:
        for one in notes[at:moment]:
            if one.name == ACKS:
                acked.update(one.data.decode().split())
            else:
                disk.note(one)
        at = max(at, moment)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in disk.after_power_loss(draw).items():
            # Not on any disk: it is made anew.
            if not name.endswith("-shm"):
                (folder / name).write_bytes(content)
        with contextlib.closing(sqlite3.connect(folder / "tacit.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",), f"at {moment} with seed {seed}"
            stored = [row[0] for row in database.execute("SELECT id FROM event")]
        assert len(stored) == len(set(stored))
        if acked <= set(stored):
            whole += 1
        else:
            lost += 1
    return lost, whole


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_what_was_acknowledged_is_there_after_the_power_went(home: Home, tmp_path: Path, count: int) -> None:
    notes = notes_of(home, tmp_path, "FULL")
    assert sum(one.name == ACKS for one in notes) == EVENTS and any(one.what == "s" for one in notes)
    assert any(one.what == "w" and one.name == "tacit.db" for one in notes[-len(notes) // 2 :]), "checkpoints are among them"
    assert losses(notes, home, tmp_path / "disk", count, seed=1) == (0, count)


def test_with_less_syncing_it_would_not_be(home: Home, tmp_path: Path) -> None:
    """The same with `synchronous=NORMAL`: were this test to find nothing there, it would find nothing anywhere."""
    lost, _ = losses(notes_of(home, tmp_path, "NORMAL"), home, tmp_path / "disk", 60, seed=1)
    assert lost > 5


if __name__ == "__main__":
    asyncio.run(record(Home(Path(sys.argv[1])), sys.argv[2]))
