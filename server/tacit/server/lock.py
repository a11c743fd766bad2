"""The lock of a home: one server holds it while it lives, and its file names that server. Touches only that file.

The system lets go of it however the server ends, so whoever holds it is alive.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tacit.protocol.errors import Conflict
from tacit.protocol.home import Home
from tacit.server.processes import process_start

LOCK_SECONDS = 1.0
"""Whoever looks who has the lock holds it for a moment."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The server that holds a home's lock."""

    pid: int
    started: str
    """When its process began, in the system's words."""
    socket: str

    @property
    def alive(self) -> bool:
        return process_start(self.pid) == self.started


@contextlib.contextmanager
def locked(home: Home) -> Iterator[None]:
    """Held inside. Conflict names the server that has it."""
    with home.lock.open("a+") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Conflict(
                        f"A Tacit server {_words(home)} already.", mend="Use it, or end it with `tacit down`."
                    ) from None
                time.sleep(0.02)
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "started": process_start(os.getpid()), "socket": str(home.socket)}))
        lock.flush()
        yield


def holder(home: Home) -> Holder | None:
    """Who holds the lock now; None: nobody. Conflict: somebody who has not written itself down, as in the moment of its start."""
    if not home.lock.exists():
        return None
    with home.lock.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            pass
    if (found := _read(home)) is None:
        raise Conflict(f"A process that cannot be told holds {home.lock}.", mend=f"Try again; `fuser {home.lock}` names it.")
    return found


def _read(home: Home) -> Holder | None:
    """What the file says, if the process that wrote it lives: a new holder's file is the old one's for a moment."""
    try:
        said = json.loads(home.lock.read_text(encoding="utf-8"))
        found = Holder(int(said["pid"]), str(said["started"]), str(said["socket"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.alive else None


def _words(home: Home) -> str:
    found = _read(home)
    return f"(pid {found.pid}) serves {home.root} on {found.socket}" if found else f"serves {home.root}"
