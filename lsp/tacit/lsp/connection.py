"""The way to the server: finds it, starts one if none runs, notices when it is gone. Touches the socket and starts processes.

Nobody who types ever waits for it: `client` is None until a server has answered, and everything else happens in one task.
"""

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from tacit.lsp.status import Status
from tacit.protocol.errors import SettingError
from tacit.protocol.home import Home
from tacit.protocol.remote import remote_of

if TYPE_CHECKING:
    from tacit.protocol.adapters import ServerStatus
    from tacit.protocol.client import TacitClient

log = logging.getLogger(__name__)

POLL_S: Final = 0.1
SLOWEST_POLL_S: Final = 5.0
PATIENCE_S: Final = 60.0
"""How long a server may take to answer for the first time before another one is started."""
SLOWEST_START_S: Final = 300.0
LOG_BYTES: Final = 1_000_000


class ServerConnection:
    def __init__(self, home: Home, status: Status, *, complain: Callable[[str], None], may_start: Callable[[], bool]) -> None:
        """complain: shows the user a message; called once per outage. may_start: whether to start a server."""
        self._home = home
        self._status = status
        self._complain = complain
        self._may_start = may_start
        self._client: TacitClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._nobody = asyncio.Event()
        """No server answers, and starting one is not allowed."""
        self._starts = 0
        self._started_at = 0.0
        self._complained = False
        self._child: subprocess.Popen[bytes] | None = None
        self.server: ServerStatus | None = None
        """What the server said last of itself."""
        self.remote, self._unusable = None, ""
        """The team's server, None: this home's own. Asked once: what is recorded here waits for that server and no other."""
        try:
            self.remote = remote_of(home)
        except SettingError as error:
            self._unusable = str(error)

    @property
    def client(self) -> "TacitClient | None":
        """None: no server is known to be there; one is being looked for."""
        return self._client if self._up.is_set() else None

    @property
    def differs(self) -> str:
        """A sentence if the server is of another version than this process, which an upgrade beside a running one leaves."""
        if self.server is None or self.server.version == (own := version("tacit")):
            return ""
        if self._client is not None and self._client.remote is not None:
            return (
                f"The team's server is of Tacit {self.server.version} and this is {own}: what only one of them knows is missing."
            )
        return (
            f"Tacit's server is of version {self.server.version} and this is {own}: stop it with `tacit down`, and the new one "
            "starts by itself."
        )

    def seek(self) -> None:
        """Find or start a server, if that is not already under way."""
        if self.client is None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._find())

    def lost(self) -> None:
        """A call found nobody."""
        self._up.clear()
        self.seek()

    def engine_down(self) -> None:
        """A call was answered that the model is not there: watch until it is."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch_engine())

    async def wait(self) -> None:
        """Until a server answers."""
        await self._up.wait()

    async def found(self) -> "TacitClient | None":
        """The client once a server answers; None as soon as it is clear that nobody is there and none may be started."""
        self.seek()
        waiters = [asyncio.ensure_future(event.wait()) for event in (self._up, self._nobody)]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        return self.client

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _find(self) -> None:
        # In a thread: pydantic and httpx take 200 ms to import, and the editor is typing already.
        from tacit.protocol.errors import AnswerUnreadable, ServerUnavailable, TacitError, Unauthorized

        if self._unusable:
            self._nobody.set()
            self._status.say("failed", f"{self._unusable} Then start the editor again.")
            return
        client = self._client
        if client is None:
            client = self._client = await asyncio.to_thread(self._make_client)
        pause = POLL_S
        while True:
            try:
                self.server = await client.status()
                break
            except ServerUnavailable as error:
                if client.remote is None:
                    await self._start_if_due()
                else:
                    # A team's server is not ours to start.
                    self._nobody.set()
                    self._status.say("unavailable", str(error))
            except Unauthorized as error:
                self._nobody.set()
                self._status.say("failed", str(error))
            except AnswerUnreadable as error:
                # Another version's answer, or somebody else's socket.
                self._status.say("failed", str(error))
            except TacitError as error:
                log.info("status: %s", error)
            await asyncio.sleep(pause)
            pause = min(SLOWEST_POLL_S if not self._starting() else 0.25, pause * 1.3)
        self._up.set()
        self._nobody.clear()
        self._complained = False
        self._starts = 0
        await self._watch_engine()

    async def _watch_engine(self) -> None:
        """Say when the model is loaded; until then what it waits for."""
        from tacit.protocol.errors import TacitError

        pause = POLL_S
        while self._client is not None:
            try:
                self.server = await self._client.status()
            except TacitError:
                self._up.clear()
                # This very task is under way: look again when it has ended.
                asyncio.get_running_loop().call_soon(self.seek)
                return
            if self.server.engine_ready:
                self._status.say("ready", f"Tacit is ready. {self.differs}".rstrip())
                return
            self._status.say("starting", self.server.engine_message or "The model is being loaded.")
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 1.3)

    def _make_client(self) -> "TacitClient":
        from tacit.protocol.client import TacitClient

        return TacitClient.to(self._home, self.remote)

    def _starting(self) -> bool:
        return self._child is not None and self._child.poll() is None and time.monotonic() - self._started_at < PATIENCE_S

    async def _start_if_due(self) -> None:
        if not self._may_start():
            self._nobody.set()
            self._status.say("unavailable", "No Tacit server runs. Start one with `tacit up`.")
            return
        self._nobody.clear()
        if self._starting():
            return
        waited = time.monotonic() - self._started_at
        if self._starts > 0:
            code = self._child.poll() if self._child else None
            # Exit 4: another one holds the lock, so one is coming up.
            if code != 4:
                message = f"Tacit's server does not start; {self._home.logs / 'serve.log'} says why. `tacit doctor` may help."
                self._status.say("unavailable", message)
                if not self._complained:
                    self._complained = True
                    self._complain(message)
            if waited < min(SLOWEST_START_S, 2.0**self._starts):
                return
        self._starts += 1
        self._started_at = time.monotonic()
        self._status.say("starting", "Tacit's server is being started.")
        try:
            self._child = await asyncio.to_thread(self._start)
        except OSError as error:
            self._status.say("unavailable", f"Tacit's server cannot be started: {error.strerror or error}.")

    def _start(self) -> "subprocess.Popen[bytes]":
        self._home.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        # What it says before it has a log, and errors; another editor's may be starting one at the same time.
        path = self._home.logs / "serve.log"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as out:
            if os.fstat(out.fileno()).st_size > LOG_BYTES:
                os.ftruncate(out.fileno(), 0)
            # Its own session: it outlives this editor and does not get its terminal's signals.
            return subprocess.Popen(
                # -P: never import what lies in the current folder.
                [sys.executable, "-P", "-m", "tacit.cli", "serve"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self._home.root,
                env={**os.environ, "TACIT_HOME": str(self._home.root)},
            )
