"""A real server in a home of its own, as a child process: `python -m tacit.cli serve`. Touches that process and that home.

The child ends with this process, however that ends: it reads the end of a pipe (`--until-eof`). A server that serves the home and
is not this one's is never talked to.
"""

import asyncio
import contextlib
import fcntl
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tacit.protocol.client import TacitClient
from tacit.protocol.errors import Conflict, ServerUnavailable, TacitError
from tacit.protocol.home import Home

START_SECONDS = 180.0
"""Reading and checking a large model file from a slow disk."""
STOP_SECONDS = 20.0
FREE_SECONDS = 30.0
"""For the server of a run that was killed a moment ago to end; it takes 20 s at most."""


class ServerProcess:
    """Use as an async context manager; inside, `client` talks to a server whose engine is ready."""

    def __init__(self, home: Home, settings: Mapping[str, str] | None = None) -> None:
        """settings: the server's settings by name, given to it through its environment; `nightly` is off unless they say."""
        self.home = home
        chosen = {"nightly": "off", **(settings or {})}
        self.environment = {"TACIT_HOME": str(home.root), **{f"TACIT_{k.upper()}": v for k, v in chosen.items()}}
        """For every process that is to work with this server."""
        self.command: tuple[str, ...] = (sys.executable, "-P", "-m", "tacit.cli", "serve", "--until-eof")
        self._process: asyncio.subprocess.Process | None = None
        self._lifeline: int | None = None
        """The end of the child's standard input that this process holds, as long as it lives."""
        self._client: TacitClient | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    @property
    def client(self) -> TacitClient:
        if self._client is None:
            raise ServerUnavailable("The server has not been started.")
        return self._client

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.home.root / "serve.log"

    async def start(self, *, engine: bool = True) -> None:
        """Returns when it answers, and its engine too if `engine`; ServerUnavailable with its own words if it ends before.
        Conflict: another server serves this home, and goes on doing so."""
        self.home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._client = TacitClient(self.home.socket)
        await self._alone()
        readable, self._lifeline = os.pipe()
        try:
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self.command,
                    stdin=readable,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.environment},
                    # Ctrl-C is for the one who started it, who ends it in order.
                    start_new_session=True,
                )
        finally:
            os.close(readable)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not (await self._answers(self._process.pid) and (not engine or await self.client.healthy())):
                    if self._process.returncode is not None:
                        raise ServerUnavailable(f"The server ended at its start.\n{self._last_words()}")
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise ServerUnavailable(f"The server was not ready within {START_SECONDS:.0f} s.\n{self._last_words()}") from error

    async def stop(self) -> None:
        """End it in order; killed if that takes too long."""
        process, self._process = self._process, None
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
        if process is None:
            self._let_go()
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        finally:
            self._let_go()

    async def kill(self) -> None:
        """kill -9 of this one process; what it had started must find out by itself."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()
        self._let_go()

    def _let_go(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    async def _alone(self) -> None:
        """Until nobody serves this home."""
        try:
            async with asyncio.timeout(FREE_SECONDS):
                # What is waited for is another process's lock.
                while _served(self.home):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pid = 0
            with contextlib.suppress(TacitError):
                pid = (await self.client.status()).pid
            raise Conflict(
                f"A Tacit server{f' (pid {pid})' if pid else ''} that this run has not started serves {self.home.root}.",
                mend=f"End it: TACIT_HOME={shlex.quote(str(self.home.root))} tacit down",
            ) from None

    async def _answers(self, pid: int) -> bool:
        """Whether the server that answers is this process."""
        try:
            return (await self.client.status()).pid == pid
        except ServerUnavailable:
            return False

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _served(home: Home) -> bool:
    """Whether a server holds the home's lock, be it starting, at work or about to end."""
    try:
        with home.lock.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
