"""Events on disk until a server has acknowledged them: append-only, fsynced files in the home's outbox. Touches those files only.

Knows nothing of the network. A file belongs to one process for as long as that holds its lock (flock), so a file whose lock
can be taken was left behind. Events carry their ids: delivering a file twice stores nothing twice, so how far a file has been
acknowledged need not be written down; it is deleted when all of it has been.
"""

import contextlib
import errno
import fcntl
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tacit.protocol.durable import sync

log = logging.getLogger(__name__)

SUFFIX: Final = ".jsonl"
REFUSED: Final = ".refused"
"""What no server will take is set aside under this ending."""
REFUSED_DAYS: Final = 30
"""So long it is kept, for whoever wants to know why."""
SEGMENT_BYTES: Final = 1_000_000
RETRY_S: Final = 5.0
"""After a write that failed."""
ATTEMPTS: Final = 3
"""To make a file, each under another name: another process can take a new one for one that was left behind."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as a line of JSON, without the line end."""

    line: bytes
    sequence: int


class Segment:
    """One file of the outbox, held by this process. OSError if it cannot be made.

    Until it is locked it looks left behind: BlockingIOError or FileNotFoundError when another process is just clearing it away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._fd).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            sync(path.parent)
        except OSError:
            os.close(self._fd)
            raise
        self.size = 0

    def append(self, lines: Sequence[bytes]) -> None:
        """On disk, synced, when it returns. After an OSError the file is as it was before."""
        data = b"".join(line + b"\n" for line in lines)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:])
            os.fsync(self._fd)
        except OSError:
            # Half a line must not become the beginning of the next one.
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)

    def close(self, *, delete: bool) -> None:
        if delete:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


class Outbox:
    """This process's events. `put` never blocks; one thread writes, all that is waiting with one fsync.

    An event that cannot be written (a full disk) stays in memory, can be delivered from there, and is tried again.
    """

    def __init__(self, folder: Path, session: str, *, on_trouble: Callable[[str], None] = log.warning) -> None:
        """folder is made if it is missing. on_trouble: told once, from the writing thread, when events cannot be written."""
        self._folder = folder
        self._session = session
        self._on_trouble = on_trouble
        self._queue: queue.SimpleQueue[tuple[Entry, Future[None]] | Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        """Put and not acknowledged yet, in order."""
        self._sequence = 0
        self._segments: deque[tuple[Segment, int]] = deque()
        """Files with the sequence of their last event, oldest first. The writing thread's own."""
        self._made = 0
        self._acked = 0
        self._thread = threading.Thread(target=self._write, name="tacit-outbox", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> "Future[None]":
        """line: an event as JSON, without line ends. The future is done when it is on disk, synced."""
        done: Future[None] = Future()
        with self._lock:
            self._sequence += 1
            entry = Entry(line, self._sequence)
            self._waiting.append(entry)
            self._queue.put((entry, done))
        return done

    def waiting(self, most: int, most_bytes: int = 1_000_000) -> list[Entry]:
        """The oldest events that have not been acknowledged, in order; at least one if there is any."""
        found: list[Entry] = []
        size = 0
        with self._lock:
            for entry in self._waiting:
                size += len(entry.line)
                if len(found) == most or (found and size > most_bytes):
                    break
                found.append(entry)
        return found

    def acknowledge(self, last: Entry) -> None:
        """A server has this one and all before it."""
        with self._lock:
            while self._waiting and self._waiting[0].sequence <= last.sequence:
                self._waiting.popleft()
        self._queue.put(lambda: self._forget(last.sequence))

    def set_aside(self, entry: Entry) -> None:
        """No server will take this one: keep it out of the way."""
        self._queue.put(lambda: set_aside(self._folder, self._session, [entry.line]))

    def close(self, timeout: float) -> bool:
        """Write what is left; files of events that nobody has acknowledged stay for the next process. False: not all written."""
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # The writing thread

    def _write(self) -> None:
        backlog: list[tuple[Entry, Future[None]]] = []
        told = closing = False
        while not closing or backlog:
            jobs: list[Callable[[], None]] = []
            # With a backlog, wait for new work only until it is time to try again.
            timeout = 0.0 if closing else (RETRY_S if backlog else None)
            try:
                item = self._queue.get(timeout=timeout) if timeout is None or timeout > 0 else self._queue.get_nowait()
                while True:
                    if item is None:
                        closing = True
                    elif callable(item):
                        jobs.append(item)
                    else:
                        backlog.append(item)
                    item = self._queue.get_nowait()
            except queue.Empty:
                pass
            for job in jobs:
                try:
                    job()
                except OSError as error:
                    log.warning("outbox: %s", error)
            # What a server took from memory while the disk was full need not be written any more.
            for entry, done in backlog:
                if entry.sequence <= self._acked:
                    done.set_result(None)
            backlog = [(entry, done) for entry, done in backlog if entry.sequence > self._acked]
            if not backlog:
                continue
            try:
                self._append([entry for entry, _ in backlog])
            except OSError as error:
                if not told:
                    told = True
                    self._on_trouble(
                        f"Feedback cannot be written to {self._folder} ({error.strerror or error}); it is kept in memory."
                    )
                if closing:
                    break
            else:
                for _, done in backlog:
                    done.set_result(None)
                backlog.clear()
                told = False
        for segment, last in self._segments:
            segment.close(delete=last <= self._acked)

    def _append(self, entries: Sequence[Entry]) -> None:
        if not self._segments or self._segments[-1][0].size >= SEGMENT_BYTES:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._segments.append((self._new_segment(), 0))
        segment, _ = self._segments[-1]
        segment.append([entry.line for entry in entries])
        self._segments[-1] = (segment, entries[-1].sequence)

    def _new_segment(self) -> Segment:
        for _ in range(ATTEMPTS - 1):
            self._made += 1
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                return Segment(self._folder / f"{self._session}-{self._made:06d}{SUFFIX}")
        self._made += 1
        return Segment(self._folder / f"{self._session}-{self._made:06d}{SUFFIX}")

    def _forget(self, acked: int) -> None:
        self._acked = max(self._acked, acked)
        while self._segments and self._segments[0][1] <= self._acked:
            segment, _ = self._segments.popleft()
            segment.close(delete=True)


class Abandoned:
    """A file whose process has ended, locked by this one while it is delivered."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def lines(self) -> list[bytes]:
        """Whole lines only: what was being written when the process died was never promised to be kept."""
        whole, _, torn = self.path.read_bytes().rpartition(b"\n")
        if torn:
            log.info("%s ends in the middle of an event", self.path.name)
        return [line for line in whole.split(b"\n") if line]

    def close(self, *, delete: bool) -> None:
        if delete:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


def abandoned(folder: Path) -> Iterator[Abandoned]:
    """Files that nobody holds, oldest first. Each must be closed by the caller."""
    try:
        paths = sorted((path for path in folder.iterdir() if path.suffix == SUFFIX), key=_age)
    except OSError:
        return
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = os.fstat(fd).st_nlink == 0
        except OSError:
            gone = True
        if gone:
            os.close(fd)
        else:
            yield Abandoned(path, fd)


def events_in(folder: Path) -> int:
    """How many events wait there for their server, those of living sessions included."""
    count = 0
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            count += path.read_bytes().count(b"\n")
    return count


def set_aside(folder: Path, session: str, lines: Sequence[bytes]) -> None:
    """Append to the session's file of refused events. OSError."""
    fd = os.open(folder / f"{session}{REFUSED}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "ab") as file:
        file.writelines(line + b"\n" for line in lines)


def forget_refused(folder: Path) -> None:
    """Delete what was set aside long ago. OSError."""
    oldest = time.time() - REFUSED_DAYS * 86_400
    for path in folder.glob(f"*{REFUSED}"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _age(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name
