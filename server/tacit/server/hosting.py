"""The model's life inside the server: find or fetch it, start the engine, say how it stands. Touches models and the engine.

HTTP is up before any of this begins. What fails is said, and tried again: a person who mends it need not restart the server.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tacit.protocol.errors import EngineUnavailable, ModelUnavailable, TacitError
from tacit.protocol.home import Home
from tacit.server.adapters import Adapters
from tacit.server.completing import CompletionService
from tacit.server.debugging.answering import DebugService
from tacit.server.engine import kinds
from tacit.server.engine.child_client import engine_threads
from tacit.server.engine.interface import Engine
from tacit.server.engine.shifts import Shifts
from tacit.server.models import ResolvedModel, mend_unusable, resolve
from tacit.server.models.choose import read_hardware
from tacit.server.reach import Reach, on_cpu, on_gpu
from tacit.server.settings import Settings

log = logging.getLogger(__name__)

WHILE_LEARNING = {"beside": "The engine goes on", "sleep": "vLLM sleeps", "stop": "The engine ends and is started again"}

T = TypeVar("T")

MakeEngine = Callable[[Path, str, Home, Settings], Engine]

FIRST_RETRY, LONGEST_RETRY = 5.0, 300.0
"""Seconds between attempts; doubled each time: checking a large file is work."""


class Host:
    def __init__(
        self,
        home: Home,
        settings: Settings,
        adapters: Adapters,
        model: ResolvedModel | None = None,
        make_engine: MakeEngine = kinds.make,
        make_stand_in: MakeEngine = kinds.stand_in,
    ) -> None:
        """model: already resolved and verified; None: the one that the settings name. make_stand_in: who answers while the engine
        rests."""
        self._home = home
        self._settings = settings
        self._adapters = adapters
        self._make_engine = make_engine
        self._make_stand_in = make_stand_in
        self._engine: Shifts | None = None
        self._service: CompletionService | None = None
        self._debugging: DebugService | None = None
        self._failure: TacitError | None = None
        self._words = "The server is starting."
        self._stopping = False
        self._fast = False
        """The engine has a GPU."""
        self.model = model

    @property
    def ready(self) -> bool:
        return self._service is not None and self._engine is not None and self._engine.ready

    @property
    def message(self) -> str:
        """Why it is not ready, for a person; empty when it is."""
        if self.ready:
            return ""
        if self._service is not None and self._engine is not None:
            return self._engine.message
        return str(self._failure) if self._failure else self._words

    @property
    def shifts(self) -> Shifts | None:
        """The engine, which can rest; None: there is none yet."""
        return self._engine

    @property
    def while_learning(self) -> str:
        """What serving does while the learner trains, and why; empty: there is no engine yet."""
        if self._engine is None:
            return ""
        plan = self._engine.plan(None)
        return f"{WHILE_LEARNING[plan.mode]}. {plan.reason}"

    @property
    def learning_gpus(self) -> tuple[int, ...]:
        """A learner's; empty: whichever it finds."""
        return self._engine.plan(None).learning if self._engine is not None else ()

    async def back(self) -> None:
        """The engine rests no more; what it would not take back is not routed to."""
        if (engine := self._engine) is None or self.model is None:
            return
        before = engine.loaded()
        await engine.back()
        if before - engine.loaded():
            await self._adapters.attach(engine, self.model.sha256)

    @property
    def reach(self) -> Reach:
        if self._fast and not (self._engine is not None and self._engine.resting):
            return on_gpu(self._settings.context_tokens)
        size = self.model.path.stat().st_size if self.model and self.model.path.exists() else 0
        return on_cpu(size or 491_400_064, engine_threads(self._settings.threads), self._settings.context_tokens)

    def service(self) -> tuple[CompletionService, str]:
        """(completion service, sha256 of its model). ModelUnavailable or EngineUnavailable, in words, until there is one."""
        if self._service is None or self.model is None:
            if self._failure is not None:
                raise type(self._failure)(self._failure.message, mend=self._failure.mend)
            raise EngineUnavailable(self._words, mend="Try again in a moment; `tacit status` says how it stands.")
        return self._service, self.model.sha256

    def debugging(self) -> tuple[DebugService, str]:
        """As `service`, for debugging."""
        _, sha256 = self.service()
        assert self._debugging is not None
        return self._debugging, sha256

    async def run(self) -> None:
        """Bring the engine up, however often it takes; returns when it is up. It restarts itself from then on."""
        delay = FIRST_RETRY
        while True:
            try:
                await self._bring_up()
                return
            except TacitError as error:
                self._failure = error
                log.error("no engine: %s", error)
            except Exception as error:
                # Whatever it is, the server stays up to say so, and events go on being stored.
                self._failure = EngineUnavailable(
                    f"The engine could not be started ({type(error).__name__}: {error}).", mend="See the log, and `tacit doctor`."
                )
                log.exception("no engine")
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_RETRY)

    async def _bring_up(self) -> None:
        if self.model is None:
            self._words = "Checking the model's file."
            settings = self._settings
            self.model = await _in_thread(lambda: resolve(settings.model, self._progress, log.info, engine=settings.engine))
        model = self.model
        log.info("%s (%s, sha256 %s)", model.reason, model.path, model.sha256)
        self._failure, self._words = None, f"Loading {model.model.name}."
        if self._settings.engine == "vllm":
            self._fast = bool(self._settings.vllm_url) or (await asyncio.to_thread(read_hardware)).gpu_memory > 0
        given = (model.path, model.sha256, self._home, self._settings)
        engine = Shifts(self._make_engine(*given), lambda: self._make_stand_in(*given))
        try:
            await self._adapters.attach(engine, model.sha256)
            try:
                await engine.start()
            except (ModelUnavailable, EngineUnavailable):
                if not engine.loaded():
                    raise
                # Perhaps for the adapters' sake: the base first, then each adapter by itself, and what fails stays out.
                for name in engine.loaded():
                    await engine.drop(name)
                await engine.start()
                await self._adapters.attach(engine, model.sha256)
        except BaseException as error:
            await self._adapters.detach()
            await engine.stop()
            # The file may be what is wrong: it is looked at again the next time.
            self.model = None
            if isinstance(error, ModelUnavailable) and not error.mend:
                raise ModelUnavailable(error.message, mend=mend_unusable(model, self._home.logs)) from error
            raise
        self._engine, self._service = engine, CompletionService(engine, self._settings)
        self._debugging = DebugService(engine, self._settings)
        log.info("the engine answers")

    def _progress(self, done: int, total: int) -> None:
        if self._stopping:
            raise EngineUnavailable("The server is stopping.")
        self._words = f"Fetching the model: {100 * done // max(1, total)} % of {total / 1e6:,.0f} MB."

    def hurry(self, seconds: float) -> None:
        """As `CompletionService.hurry`."""
        if self._service is not None:
            self._service.hurry(seconds)
        if self._debugging is not None:
            self._debugging.hurry(seconds)

    async def stop(self) -> None:
        self._stopping = True
        engine, self._engine, self._service, self._debugging = self._engine, None, None, None
        self._words = "The server is stopping."
        await self._adapters.detach()
        if engine is not None:
            with contextlib.suppress(TacitError):
                await engine.stop()


async def _in_thread(work: Callable[[], T]) -> T:
    """Like asyncio.to_thread, but the process may end while it works: a download is resumed the next time."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="model", daemon=True).start()
    return await future
