"""An engine that can rest while the learner has its memory, and who answers meanwhile. Touches the engines that it is given.

By day every request goes to the engine itself. At rest it goes to the stand-in, an embedded engine on the processor with the same
base and the same adapters, or is refused with when serving is back. Invariants: a request is answered by one of them from its
first token to its last; the engine's memory is given up when its last stream has ended, and where that takes too long it is
ended, not put to sleep; whatever fails at rest, `back` tries until the engine answers again.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from tacit.protocol.errors import EngineUnavailable, Refused
from tacit.protocol.fim import FimTokens
from tacit.server.engine.coming_back import bring_back
from tacit.server.engine.interface import Drawn, DrawStats, Engine, Sampling
from tacit.server.engine.memory import Mode, Plan

log = logging.getLogger(__name__)

DRAIN_SECONDS = 60.0
"""For running answers to end, when the engine is to rest or the stand-in has done."""


@runtime_checkable
class Rests(Protocol):
    """What an engine has that can make room for the learner."""

    def plan(self, available: int | None) -> Plan:
        """What it would do now. available: bytes of the machine's memory that are free; None: not known."""

    def stand_in_fits(self, mode: Mode, available: int | None) -> bool:
        """Has the machine room for an embedded engine besides?"""


@runtime_checkable
class Sleeps(Protocol):
    """What an engine has that can give its memory away without ending."""

    async def sleep(self) -> None:
        """EngineUnavailable: it does not sleep, and may not be awake either."""

    async def wake(self) -> None:
        """Answers as before, adapters included, or has been started again."""


class Shifts:
    """Implements `interface.Engine`."""

    def __init__(self, day: Engine, make_stand_in: Callable[[], Engine]) -> None:
        self._day = day
        self._make_stand_in = make_stand_in
        self._stand_in: Engine | None = None
        self._folders: dict[str, Path] = {}
        """Of the adapters, by name: what a stand-in is given."""
        self._taken: set[str] = set()
        """Adapters that came at rest: the engine itself has not tried them."""
        self._mode: Mode | None = None
        """None: the engine itself answers."""
        self._trouble = ""
        """Why it does not come back, if it should have."""
        self._streams: Counter[int] = Counter()
        """Under way, by the engine's `id`."""
        self._ended = asyncio.Event()
        """Set whenever a stream ends."""
        self._changing = asyncio.Lock()
        """Held while it goes to rest or comes back."""
        self._leaving: set[asyncio.Task[None]] = set()
        self.words: Callable[[], str] = lambda: "Serving rests while the learner trains."
        """Why it is not ready at rest, for a person."""

    @property
    def fim(self) -> FimTokens:
        return self._day.fim

    # What it is now.

    @property
    def resting(self) -> Mode | None:
        return self._mode

    @property
    def stands_in(self) -> bool:
        """The stand-in answers."""
        return self._mode is not None and self._stand_in is not None and self._stand_in.ready

    @property
    def ready(self) -> bool:
        return self._day.ready if self._mode is None else self.stands_in

    @property
    def message(self) -> str:
        if self._mode is None:
            return self._day.message
        return "" if self.stands_in else self._trouble or self.words()

    def loaded(self) -> frozenset[str]:
        return self._day.loaded()

    def plan(self, available: int | None) -> Plan:
        """As `Rests.plan`; an engine that knows nothing of rest goes on."""
        return self._day.plan(available) if isinstance(self._day, Rests) else Plan("beside", "The engine knows no rest.")

    def stand_in_fits(self, mode: Mode, available: int | None) -> bool:
        return isinstance(self._day, Rests) and self._day.stand_in_fits(mode, available)

    # Life.

    async def start(self) -> None:
        await self._day.start()

    async def stop(self) -> None:
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        stand_in, self._stand_in = self._stand_in, None
        if stand_in is not None:
            await stand_in.stop()
        await self._day.stop()

    # Rest.

    async def rest(self, mode: Mode, stand_in: bool) -> None:
        """Give up the memory. Returns when it is free. stand_in: answer from the processor meanwhile, if that can be done."""
        async with self._changing:
            if mode == "beside" or self._mode is not None:
                return
            if stand_in:
                try:
                    await self._begin_stand_in()
                except Exception as error:
                    log.warning("nobody stands in while the learner trains: %s", error)
            self._mode = mode
            if not await self._drained(self._day) and mode == "sleep":
                log.warning("an answer takes too long: the engine does not sleep, and is ended instead")
                mode = self._mode = "stop"
            if mode == "sleep":
                try:
                    if not isinstance(self._day, Sleeps):
                        raise EngineUnavailable("This engine cannot sleep.")
                    await self._day.sleep()
                    return
                except Exception as error:
                    log.warning("the engine does not sleep, and is ended instead: %s", error)
                    self._mode = "stop"
            await self._day.stop()

    async def back(self) -> None:
        """The engine itself answers again when this returns, with every adapter; tried until it does."""
        async with self._changing:
            if self._mode is None:
                return
            try:
                await self._up()
            except Exception as error:
                log.warning("the engine does not come back: %s", error)
                if isinstance(error, Refused):
                    # What the stand-in has taken at rest. Serving comes first; who routes to it sees that it is gone.
                    for name in self._taken & self._day.loaded():
                        await self._forget(name)
                self._trouble = str(error)
                await bring_back("The engine", self._up, self._say)
            stand_in, self._stand_in, self._mode, self._trouble = self._stand_in, None, None, ""
            self._taken.clear()
            if stand_in is not None:
                task = asyncio.create_task(self._leave(stand_in))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    def _say(self, message: str) -> None:
        self._trouble = message

    async def _up(self) -> None:
        if self._mode == "sleep" and isinstance(self._day, Sleeps):
            # Whatever becomes of it, it sleeps no more.
            self._mode = "stop"
            await self._day.wake()
        else:
            await self._day.start()

    async def _begin_stand_in(self) -> None:
        engine = self._make_stand_in()
        try:
            for name in self._day.loaded():
                await engine.load(name, self._folders[name])
            await engine.start()
        except BaseException:
            await engine.stop()
            raise
        self._stand_in = engine

    async def _leave(self, engine: Engine) -> None:
        await self._drained(engine)
        await engine.stop()

    async def _drained(self, engine: Engine) -> bool:
        """False: something is under way after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._streams[id(engine)]:
                    self._ended.clear()
                    await self._ended.wait()
        return not self._streams[id(engine)]

    # Work.

    def _current(self) -> Engine:
        if self._mode is None:
            return self._day
        if self._stand_in is None:
            raise EngineUnavailable(self.message, mend="`tacit status` says how it stands.")
        return self._stand_in

    async def prefix_cache(self) -> tuple[int, int] | None:
        """The engine's own, as it was last known at rest."""
        return await self._day.prefix_cache()

    async def tokenize(self, text: str) -> list[int]:
        return await self._current().tokenize(text)

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        engine = self._current()
        self._streams[id(engine)] += 1
        try:
            async with contextlib.aclosing(engine.generate(prompt, sampling, adapter)) as items:
                async for item in items:
                    yield item
        finally:
            self._streams[id(engine)] -= 1
            self._ended.set()

    async def load(self, name: str, folder: Path) -> None:
        """As `Engine.load`. At rest the stand-in takes it, which is started for that if there was none: the learner asks for no
        more than its run needs, and waits. The engine itself is given it before it answers again."""
        await self._day.load(name, folder)
        self._folders[name] = folder
        if self._mode is None:
            return
        self._taken.add(name)
        try:
            if self._stand_in is None:
                async with self._changing:
                    if self._mode is not None and self._stand_in is None:
                        await self._begin_stand_in()
            elif name not in self._stand_in.loaded():
                await self._stand_in.load(name, folder)
        except BaseException:
            await self.drop(name)
            raise

    async def _forget(self, name: str) -> None:
        self._folders.pop(name, None)
        self._taken.discard(name)
        await self._day.drop(name)

    async def drop(self, name: str) -> None:
        await self._forget(name)
        if self._stand_in is not None:
            await self._stand_in.drop(name)
