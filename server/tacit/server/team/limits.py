"""How much a user may ask: requests and events a minute, and turns at the engine that go round. Pure, but for the clock given.

A turn: completions before everything else; among those the user who has the fewest under way, then the one whose last turn is
longest ago. Nobody's hundred requests stand before another's first.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count

from tacit.protocol.errors import TooMany

COMPLETION, DEBUGGING = 0, 1
"""Ranks."""


class Bucket:
    """So many a minute for each user; a minute's worth may come at once."""

    def __init__(self, per_minute: int, what: str, clock: Callable[[], float]) -> None:
        self._capacity = float(per_minute)
        self._what = what
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}
        """user → (left, when)"""

    def take(self, user: str, number: int = 1) -> None:
        """TooMany says in how many seconds there is room again. More than a minute's worth is let through when it is full."""
        now = self._clock()
        left, when = self._levels.get(user, (self._capacity, now))
        left = min(self._capacity, left + (now - when) * self._capacity / 60)
        needed = min(float(number), self._capacity)
        if left < needed:
            self._levels[user] = (left, now)
            wait = max(1, math.ceil((needed - left) * 60 / self._capacity))
            raise TooMany(f"More than {self._capacity:.0f} {self._what} a minute.", mend=f"Try again in {wait} s.")
        self._levels[user] = (left - needed, now)


@dataclass(slots=True)
class _Waiting:
    user: str
    rank: int
    turn: asyncio.Future[None]


class Turns:
    """At most `slots` requests are at the engine at once."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()
        self._turns = count(1)
        self._last: dict[str, int] = {}
        """Of each user, the number of the turn."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, user: str, rank: int) -> AsyncIterator[None]:
        """Inside, the engine is asked. Cancelling while it waits takes it out of the queue."""
        if self._running.total() >= self._slots or self._waiting:
            mine = _Waiting(user, rank, asyncio.get_running_loop().create_future())
            self._waiting.append(mine)
            self._admit()
            try:
                await mine.turn
            except asyncio.CancelledError:
                if mine.turn.done() and not mine.turn.cancelled():
                    self._leave(user)
                else:
                    with suppress(ValueError):
                        self._waiting.remove(mine)
                raise
        else:
            self._enter(user)
        try:
            yield
        finally:
            self._leave(user)

    def _enter(self, user: str) -> None:
        self._running[user] += 1
        self._last[user] = next(self._turns)

    def _leave(self, user: str) -> None:
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._running.total() < self._slots:
            # min() keeps the first of equals: the one that has waited longest.
            following = min(self._waiting, key=lambda one: (one.rank, self._running[one.user], self._last.get(one.user, 0)))
            self._waiting.remove(following)
            if following.turn.cancelled():
                continue
            self._enter(following.user)
            following.turn.set_result(None)
