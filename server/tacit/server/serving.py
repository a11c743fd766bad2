"""One server per home: lock, log, socket, parts, orderly end. Touches processes' signals and the files of TACIT_HOME.

Order of the start: lock, log, store, socket; HTTP answers then, and the model comes up behind it. The end is the reverse.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler

import uvicorn
from starlette.types import ASGIApp

from tacit.protocol.errors import SettingError
from tacit.protocol.home import Home
from tacit.server.adapters import Adapters
from tacit.server.app import Parts, make_app
from tacit.server.engine import kinds
from tacit.server.forgetting import finish
from tacit.server.hosting import Host, MakeEngine
from tacit.server.lock import locked
from tacit.server.models import ResolvedModel
from tacit.server.resting import Resting
from tacit.server.runs import Runs
from tacit.server.schedule import CATCH_UP_SECONDS, Command, Schedule, learner_command, nightly_trigger
from tacit.server.settings import Settings
from tacit.server.store.store import Store
from tacit.server.team.gate import Gate
from tacit.server.team.limits import Bucket, Turns
from tacit.server.team.users import Users
from tacit.server.waiting import QUIET_SECONDS

log = logging.getLogger(__name__)

BACKLOG = 2048
"""Connections that wait to be accepted: a thousand clients may connect at once."""
FINISH_SECONDS = 5
"""For the requests that are under way when the server is told to end."""
LOG_BYTES, LOGS_KEPT = 2_000_000, 3


async def serve(
    home: Home,
    settings: Settings,
    *,
    model: ResolvedModel | None = None,
    listening: Callable[[], None] = lambda: None,
    stop: asyncio.Event | None = None,
    console: int | None = None,
    make_engine: MakeEngine = kinds.make,
    make_stand_in: MakeEngine = kinds.stand_in,
    learner: Command = learner_command,
    catch_up: float = CATCH_UP_SECONDS,
    quiet: float = QUIET_SECONDS,
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`. Conflict: a server runs already. SettingError, StorageFull, Refused: it cannot.

    model: resolved and verified already; None: found or fetched behind the running server. listening: called when HTTP answers.
    console: level from which log lines also go to stderr; None: none. learner, catch_up: as in `Schedule`. quiet: as in
    `Resting`.
    """
    nightly_trigger(settings.nightly, home)
    os.umask(0o077)
    stop = stop or asyncio.Event()
    with _told_to_end(stop), locked(home), _logging(home, console):
        store = await asyncio.to_thread(Store.open, home, settings.database_url)
        try:
            adapters, runs = Adapters(home, settings, store), Runs(home, store)
            host = Host(home, settings, adapters, model, make_engine, make_stand_in)
            resting = Resting(runs, host, quiet=quiet)
            schedule = Schedule(home, settings, store, runs, resting, command=learner, catch_up=catch_up)
            users = Users(store)
            await users.load()
            parts = Parts(home, settings, store, adapters, runs, schedule, host, users, resting)
            await finish(home, store, adapters)
            bringing_up = asyncio.create_task(host.run())
            try:
                await schedule.start()
                with _listening(home) as listener, _listening_to_team(settings) as team:
                    log.info("serving %s (pid %d) on %s", home.root, os.getpid(), home.socket)
                    await _answer(parts, listener, team, listening, stop)
            finally:
                bringing_up.cancel()
                await asyncio.gather(bringing_up, return_exceptions=True)
                await schedule.stop()
                await resting.stop()
                await host.stop()
        finally:
            await asyncio.to_thread(store.close)
            # Not empty where an engine that was killed has left its socket: then it stays.
            with contextlib.suppress(OSError):
                home.socket.parent.rmdir()
            log.info("the server has ended")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: uvicorn's handlers would raise them again before the parts have ended."""
        yield


async def _answer(
    parts: Parts, listener: socket.socket, team: socket.socket | None, listening: Callable[[], None], stop: asyncio.Event
) -> None:
    """The same routes on both: on the Unix socket as they are, on TCP behind the gate."""
    app = make_app(parts)
    # What is loaded by now stays: to look for garbage in it takes a tenth of a second, now and then, in which nobody is answered.
    gc.collect()
    gc.freeze()
    servers = [(_server(app, listening), listener)]
    if team is not None:
        settings = parts.settings
        parts.listening = _address(team)
        parts.turns = Turns(settings.streams)
        parts.events = Bucket(settings.events_per_minute, "events", time.monotonic)
        requests = Bucket(settings.requests_per_minute, "requests", time.monotonic)
        hosts = [name for name in (part.strip() for part in settings.public_hosts.split(",")) if name]
        servers.append((_server(Gate(app, parts.users, requests, hosts), lambda: None), team))
        log.info("a team is answered on http://%s", parts.listening)
    serving = [asyncio.create_task(server.serve(sockets=[where])) for server, where in servers]
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({*serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        log.info("the server is told to end")
        parts.host.hurry(FINISH_SECONDS / 2)
    finally:
        for server, _ in servers:
            server.should_exit = True
        waiting.cancel()
        await asyncio.gather(*serving)


def _server(app: ASGIApp, listening: Callable[[], None]) -> _Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        # Who asks is the token's matter: what a proxy says of the client's address is not looked at.
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    return _Server(config, listening)


@contextlib.contextmanager
def _listening_to_team(settings: Settings) -> Iterator[socket.socket | None]:
    """The TCP socket of the setting `listen`; None: there is none. SettingError: the address cannot be had."""
    if not settings.listen:
        yield None
        return
    host, _, port = settings.listen.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError) as error:
            raise SettingError(
                f"The setting `listen`, {settings.listen}, cannot be listened on ({error}).", mend="Choose another port."
            ) from error
        listener.listen(BACKLOG)
        yield listener


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.contextmanager
def _told_to_end(stop: asyncio.Event) -> Iterator[None]:
    """Signals are heard from the beginning: a server that is told to end while it starts leaves nothing behind either."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _listening(home: Home) -> Iterator[socket.socket]:
    """The Unix socket, for this user only. A file left by a server that was killed is replaced: the lock is ours."""
    path = home.run_dir / home.socket.name
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _logging(home: Home, console: int | None) -> Iterator[None]:
    home.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    words = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    file = RotatingFileHandler(home.logs / "server.log", maxBytes=LOG_BYTES, backupCount=LOGS_KEPT, encoding="utf-8")
    handlers: list[logging.Handler] = [file]
    if console is not None:
        handlers.append(logging.StreamHandler())
        handlers[-1].setLevel(console)
    # A full disk must not print a traceback per line.
    raising, logging.raiseExceptions = logging.raiseExceptions, False
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    for name in ("httpx", "httpcore", "apscheduler"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in handlers:
        handler.setFormatter(words)
        root.addHandler(handler)
    try:
        yield
    finally:
        root.setLevel(before)
        logging.raiseExceptions = raising
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
