"""Work for which nobody waits: done while nobody else wants the engine, and broken off when somebody does. Pure asyncio."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tacit.protocol.errors import Conflict

T = TypeVar("T")

QUIET_SECONDS = 10.0
"""Since the last answer: in a shorter pause the next key is likelier than not."""


class Idle:
    def __init__(self, quiet: float = QUIET_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: in seconds."""
        self._quiet = quiet
        self._clock = clock
        self._under_way = 0
        self._last = -quiet
        self._work: asyncio.Future[Any] | None = None
        self._broken_off = False

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Within: somebody waits for an answer. Work that nobody waits for ends at once."""
        self._under_way += 1
        if self._work is not None:
            self._broken_off = True
            self._work.cancel()
        try:
            yield
        finally:
            self._under_way -= 1
            self._last = self._clock()

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Conflict: somebody waits for an answer, has just had one, or came while it was done; or there is other such work."""
        if self._under_way or self._work is not None or self._clock() - self._last < self._quiet:
            work.close()
            raise Conflict("The engine is wanted for something else.", mend="Try again in some minutes.")
        task = asyncio.create_task(work)
        self._work, self._broken_off = task, False
        try:
            return await task
        except asyncio.CancelledError:
            if self._broken_off:
                raise Conflict("The engine was wanted for something else.", mend="Try again in some minutes.") from None
            task.cancel()
            raise
        finally:
            self._work = None
