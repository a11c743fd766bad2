"""Outbox: what was put is on disk, whatever dies; a file belongs to one living process; it goes only on an acknowledgement."""

import asyncio
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tacit.lsp import outbox as module
from tacit.lsp.delivery import Delivery
from tacit.lsp.outbox import REFUSED, REFUSED_DAYS, Outbox, Segment, abandoned
from tacit.protocol.errors import BadRequest
from tacit.protocol.events import EVENT, Event, SessionStarted

APPENDER = """
import sys
from pathlib import Path
from tacit.lsp.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), "session" + sys.argv[2])
for number in range(100_000):
    outbox.put(b'{"n": %d}' % number).result()
    # Told only after the write has returned: whoever reads this may count on it.
    print(number, flush=True)
"""


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl")) if folder.exists() else []


def _left(folder: Path) -> list[list[bytes]]:
    found = []
    for one in abandoned(folder):
        found.append(one.lines())
        one.close(delete=False)
    return found


def test_what_was_put_is_in_a_private_file_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    outbox = Outbox(folder, "s")
    for number in range(50):
        outbox.put(b"%d" % number)
    outbox.put(b"last").result(10)
    (file,) = _files(folder)
    assert file.read_bytes().split() == [b"%d" % number for number in range(50)] + [b"last"]
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert outbox.close(10)
    assert _files(folder) == [file], "nobody has acknowledged it"


def test_a_file_goes_when_all_of_it_is_acknowledged(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "s")
    for number in range(3):
        outbox.put(b"%d" % number).result(10)
    first, second, third = outbox.waiting(10)
    outbox.acknowledge(second)
    assert outbox.waiting(10) == [third]
    outbox.put(b"3").result(10)
    assert len(_files(tmp_path)) == 1
    outbox.acknowledge(outbox.waiting(10)[-1])
    outbox.put(b"4").result(10)
    (file,) = _files(tmp_path)
    assert file.read_bytes() == b"4\n"
    outbox.acknowledge(outbox.waiting(10)[-1])
    assert outbox.close(10)
    assert _files(tmp_path) == []
    assert first.line == b"0"


def test_files_are_cut_at_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    outbox = Outbox(tmp_path, "s")
    for _ in range(6):
        outbox.put(b"four").result(10)
    assert [file.read_bytes() for file in _files(tmp_path)] == [b"four\nfour\n"] * 3
    outbox.acknowledge(outbox.waiting(2)[-1])
    assert outbox.close(10)
    assert len(_files(tmp_path)) == 2


def test_batches_are_bounded_in_number_and_size(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "s")
    for _ in range(5):
        outbox.put(b"x" * 100)
    assert len(outbox.waiting(3)) == 3
    assert len(outbox.waiting(10, most_bytes=250)) == 2
    assert len(outbox.waiting(10, most_bytes=1)) == 1, "one that is too large must still get through"
    outbox.close(10)


def test_a_living_owner_keeps_its_file(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "s")
    outbox.put(b"1").result(10)
    assert _left(tmp_path) == []
    outbox.close(10)
    assert _left(tmp_path) == [[b"1"]]


def test_only_one_takes_an_abandoned_file(tmp_path: Path) -> None:
    (tmp_path / "dead-000001.jsonl").write_bytes(b"1\n")
    (one,) = abandoned(tmp_path)
    code = (
        "import sys; from pathlib import Path; from tacit.lsp.outbox import abandoned; "
        "print(len(list(abandoned(Path(sys.argv[1])))))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True).stdout == b"0\n"
    one.close(delete=True)
    assert _files(tmp_path) == []


@pytest.mark.parametrize("delete", [True, False])
def test_a_file_taken_for_left_behind_while_it_is_made_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delete: bool
) -> None:
    real, taken = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        # Another process looks through the folder between the file's creation and its lock, once.
        if not taken:
            taken.append(fd)
            for one in abandoned(tmp_path):
                taken.append(one)
                if delete:
                    one.close(delete=True)
        real(fd, operation)

    monkeypatch.setattr(module.fcntl, "flock", flock)
    outbox = Outbox(tmp_path, "s", on_trouble=taken.append)
    outbox.put(b"1").result(10)
    assert len(taken) == 2, "the first file was taken, and nobody had to be told"
    if not delete:
        taken[1].close(delete=True)
    outbox.close(10)
    assert _left(tmp_path) == [[b"1"]]


@pytest.mark.parametrize(
    ("content", "lines"),
    [(b"a\nb\n", [b"a", b"b"]), (b"a\nb", [b"a"]), (b"a", []), (b"", []), (b"a\n\n\nb\n\x00\x00", [b"a", b"b"])],
)
def test_a_torn_last_line_is_left_out(tmp_path: Path, content: bytes, lines: list[bytes]) -> None:
    (tmp_path / "dead-000001.jsonl").write_bytes(content)
    assert _left(tmp_path) == [lines]


@pytest.mark.parametrize("after", [0, 1, 7, 40])
def test_kill_9_loses_nothing_that_was_promised(tmp_path: Path, after: int) -> None:
    child = subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path), str(after)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    promised = -1
    while promised < after:
        promised = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    for line in child.stdout.read().splitlines():
        promised = int(line)
    child.wait()
    child.stdout.close()
    (lines,) = _left(tmp_path)
    numbers = [json.loads(line)["n"] for line in lines]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > promised


def test_a_full_disk_is_told_once_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Segment.append
    full = threading.Event()
    full.set()
    tried = threading.Semaphore(0)
    told: list[str] = []

    def append(self: Segment, lines: Sequence[bytes]) -> None:
        if full.is_set():
            tried.release()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, lines)

    monkeypatch.setattr(Segment, "append", append)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    outbox = Outbox(tmp_path, "s", on_trouble=told.append)
    first = outbox.put(b"1")
    second = outbox.put(b"2")
    for _ in range(3):
        assert tried.acquire(timeout=10)
    assert not first.done()
    assert [entry.line for entry in outbox.waiting(10)] == [b"1", b"2"], "they can be delivered from memory"
    outbox.acknowledge(outbox.waiting(1)[-1])
    full.clear()
    second.result(10)
    assert first.done()
    (file,) = _files(tmp_path)
    assert file.read_bytes() == b"2\n", "what a server has need not be written any more"
    assert len(told) == 1
    assert outbox.close(10)


def test_a_write_that_fails_half_way_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segment(tmp_path / "a.jsonl")
    segment.append([b"one"])

    def fails(fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="broken"):
            segment.append([b"two", b"three"])
    segment.append([b"four"])
    assert (tmp_path / "a.jsonl").read_bytes() == b"one\nfour\n"
    segment.close(delete=False)


def test_what_is_refused_is_set_aside(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "s")
    outbox.put(b"bad").result(10)
    (entry,) = outbox.waiting(1)
    outbox.set_aside(entry)
    outbox.acknowledge(entry)
    assert outbox.close(10)
    assert (tmp_path / f"s{REFUSED}").read_bytes() == b"bad\n"
    assert _files(tmp_path) == []


async def test_what_was_set_aside_goes_after_a_month_also_without_a_server(tmp_path: Path) -> None:
    for name, days in (("old", REFUSED_DAYS + 1), ("new", REFUSED_DAYS - 1)):
        path = tmp_path / f"{name}{REFUSED}"
        path.write_bytes(b"bad\n")
        os.utime(path, (time.time() - days * 86_400,) * 2)
    (tmp_path / "old.jsonl").write_bytes(b"waits for a server\n")
    os.utime(tmp_path / "old.jsonl", (0, 0))
    outbox = Outbox(tmp_path, "s")
    delivery = Delivery(outbox, Unreachable(), tmp_path)  # type: ignore[arg-type]
    delivery.start()
    async with asyncio.timeout(60):
        await Unreachable.asked.wait()
    await delivery.finish(0)
    assert outbox.close(10)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"new{REFUSED}", "old.jsonl"]


class Unreachable:
    """A connection to a server that is away."""

    asked = asyncio.Event()
    client = None

    async def wait(self) -> None:
        self.asked.set()
        await asyncio.Event().wait()


class Refusing:
    """A connection to a server that refuses what it does not know; `differs` as ServerConnection has it."""

    def __init__(self, differs: str) -> None:
        self.differs = differs
        self.client = self
        self.asked = 0

    async def wait(self) -> None:
        pass

    async def send_events(self, events: Sequence[Event]) -> None:
        self.asked += 1
        raise BadRequest("an event of a kind that is not known")


async def test_what_a_server_of_another_version_refuses_waits_for_the_next(tmp_path: Path) -> None:
    line = EVENT.dump_json(SessionStarted(session_id="session-0001", at=datetime.now(UTC)))
    outbox = Outbox(tmp_path, "session-0001")
    outbox.put(line).result(10)
    connection = Refusing("It is of another version.")
    delivery = Delivery(outbox, connection, tmp_path)  # type: ignore[arg-type]
    delivery.start()
    async with asyncio.timeout(60):
        while not connection.asked:
            await asyncio.sleep(0.001)
        assert [entry.line for entry in outbox.waiting(9)] == [line]
        connection.differs = ""
        while outbox.waiting(9):
            await asyncio.sleep(0.001)
    await delivery.finish(0)
    assert outbox.close(10)
    assert (tmp_path / f"session-0001{REFUSED}").read_bytes() == line + b"\n"
