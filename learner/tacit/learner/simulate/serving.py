"""A real server in a home of its own, as a child process: `python -m tacit.cli serve`. Touches that process and that home."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tacit.protocol.client import TacitClient
from tacit.protocol.errors import ServerUnavailable
from tacit.protocol.home import Home

START_SECONDS = 180.0
"""Reading and checking a large model file from a slow disk."""
STOP_SECONDS = 20.0


class ServerProcess:
    """Use as an async context manager; inside, `client` talks to a server whose engine is ready."""

    def __init__(self, home: Home, settings: Mapping[str, str] | None = None) -> None:
        """settings: the server's settings by name, given to it through its environment; `nightly` is off unless they say."""
        self.home = home
        chosen = {"nightly": "off", **(settings or {})}
        self.environment = {"TACIT_HOME": str(home.root), **{f"TACIT_{k.upper()}": v for k, v in chosen.items()}}
        """For every process that is to work with this server."""
        self.command: tuple[str, ...] = (sys.executable, "-m", "tacit.cli", "serve")
        self._process: asyncio.subprocess.Process | None = None
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
        """Returns when it answers, and its engine too if `engine`; ServerUnavailable with its own words if it ends before."""
        self.home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                # Ctrl-C is for the one who started it, who ends it in order.
                start_new_session=True,
            )
        self._client = TacitClient(self.home.socket)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await (self._client.healthy() if engine else self._answers()):
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
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """kill -9 of this one process; what it had started must find out by itself."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()

    async def _answers(self) -> bool:
        try:
            await self.client.status()
        except ServerUnavailable:
            return False
        return True

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
