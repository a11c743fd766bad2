"""One server per home: lock, log, socket, parts, orderly end. Touches processes' signals and the files of TACIT_HOME.

Order of the start: lock, log, store, socket; HTTP answers then, and the model comes up behind it. The end is the reverse.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler

import uvicorn

from tacit.protocol.home import Home
from tacit.server.adapters import Adapters
from tacit.server.app import Parts, make_app
from tacit.server.engine import kinds
from tacit.server.hosting import Host, MakeEngine
from tacit.server.lock import locked
from tacit.server.models import ResolvedModel
from tacit.server.runs import Runs
from tacit.server.schedule import CATCH_UP_SECONDS, Command, Schedule, learner_command, nightly_trigger
from tacit.server.settings import Settings
from tacit.server.store.store import Store

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
    learner: Command = learner_command,
    catch_up: float = CATCH_UP_SECONDS,
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`. Conflict: a server runs already. SettingError, StorageFull, Refused: it cannot.

    model: resolved and verified already; None: found or fetched behind the running server. listening: called when HTTP answers.
    console: level from which log lines also go to stderr; None: none. learner, catch_up: as in `Schedule`.
    """
    nightly_trigger(settings.nightly, home)
    os.umask(0o077)
    stop = stop or asyncio.Event()
    with _told_to_end(stop), locked(home), _logging(home, console):
        store = await asyncio.to_thread(Store.open, home)
        try:
            adapters, runs = Adapters(home, settings, store), Runs(home, store)
            schedule = Schedule(home, settings, store, runs, command=learner, catch_up=catch_up)
            host = Host(home, settings, adapters, model, make_engine)
            parts = Parts(home, settings, store, adapters, runs, schedule, host)
            bringing_up = asyncio.create_task(host.run())
            try:
                await schedule.start()
                with _listening(home) as listener:
                    log.info("serving %s (pid %d) on %s", home.root, os.getpid(), home.socket)
                    await _answer(parts, listener, listening, stop)
            finally:
                bringing_up.cancel()
                await asyncio.gather(bringing_up, return_exceptions=True)
                await schedule.stop()
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


async def _answer(parts: Parts, listener: socket.socket, listening: Callable[[], None], stop: asyncio.Event) -> None:
    config = uvicorn.Config(
        make_app(parts),
        uds=str(parts.home.socket),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    server = _Server(config, listening)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        log.info("the server is told to end")
        parts.host.hurry(FINISH_SECONDS / 2)
    finally:
        server.should_exit = True
        waiting.cancel()
        await serving


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
