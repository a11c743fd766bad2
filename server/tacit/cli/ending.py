"""How a server ends: `tacit down`, in order, however it was started; and with whoever started it (`tacit serve --until-eof`).

Sends signals, waits, prints; reads standard input to its end.
"""

import asyncio
import json
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.protocol.errors import TacitError
from tacit.protocol.home import Home

if TYPE_CHECKING:
    from tacit.protocol.adapters import RunInfo

WAIT_SECONDS = 60.0
"""Requests have 5 s to end, a learner 10, and a busy machine is slow."""
LOOK_SECONDS = 0.05
ORPHAN_SECONDS = 20.0
"""For a server to end in order when nobody is left who waits for it."""


def down(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """End the server, in the background or not: running answers come to their end, events are kept. Exit code 0: none runs."""
    from tacit.server.lock import holder

    home = Home.from_environment()
    found = holder(home)
    if found is None:
        _say(as_json, None, f"No Tacit server runs for {home.root}: there is nothing to end.")
        return
    run = asyncio.run(_run(home))
    began = time.monotonic()
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    while found.alive:
        if time.monotonic() - began > WAIT_SECONDS:
            raise TacitError(
                f"The server (pid {found.pid}) was told to end and has not after {WAIT_SECONDS:.0f} s.",
                mend=f"`kill -9 {found.pid}` ends it; no event that it has acknowledged is lost.",
            )
        time.sleep(LOOK_SECONDS)
    words = (
        f"The server (pid {found.pid}) has ended in {time.monotonic() - began:.1f} s: its answers were given, its events kept."
    )
    if run is not None and run.trigger == "nightly":
        words += " The learning run that was under way has ended with it; the next one goes on with it."
    elif run is not None:
        words += f" A learning run (pid {run.pid}) goes on without it, and needs it again for what it learns to serve."
    _say(as_json, found.pid, f"{words}\nAn editor that is open starts it again; `tacit up` does, too.")


def end_with_stdin() -> None:
    """From now on this process ends when its standard input does, in order, as if told to; at once if that takes too long.

    Whoever starts a server as its child holds the other end of a pipe, which the system closes however that process dies.
    """

    def watch() -> None:
        with suppress(OSError):
            # Straight from the descriptor: a buffered read would hold a lock that the interpreter wants at exit.
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    # From a thread: the model may be loading just then.
    threading.Thread(target=watch, daemon=True).start()


def _say(as_json: bool, pid: int | None, words: str) -> None:
    typer.echo(json.dumps({"ended": pid is not None, "pid": pid}) if as_json else words)


async def _run(home: Home) -> "RunInfo | None":
    """The learning run that is under way, if the server can say so."""
    from tacit.protocol.client import TacitClient

    async with TacitClient(home.socket, timeout=5) as client:
        with suppress(TacitError):
            return (await client.status()).running
    return None
