"""Whose turn it is: requests of one adapter run side by side, different adapters take turns. Pure asyncio, knows no engine.

llama.cpp computes only requests of the same adapter in one batch, and begins each batch with those under way: while one adapter's
requests follow one another without a gap, a request of another adapter is never begun, a new version's probe included.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Fair between adapters: who comes while another adapter waits, waits behind it."""

    def __init__(self) -> None:
        self._adapter: str | None = None
        self._running = 0
        self._waiting: deque[tuple[str | None, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def of(self, adapter: str | None) -> AsyncIterator[None]:
        """Within: it is this adapter's turn. None: the base model, which is an adapter like any other here."""
        if not self._waiting and (not self._running or self._adapter == adapter):
            self._adapter = adapter
            self._running += 1
        else:
            await self._wait(adapter)
        try:
            yield
        finally:
            self._leave()

    @property
    def wanted(self) -> bool:
        """Another adapter's request waits."""
        return any(not turn.cancelled() for _, turn in self._waiting)

    async def _wait(self, adapter: str | None) -> None:
        turn = (adapter, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            await turn[1]
        except asyncio.CancelledError:
            if turn[1].cancelled():
                # Those behind may be of the adapter that runs.
                self._admit()
            else:
                # Admitted and cancelled at once.
                self._leave()
            raise

    def _leave(self) -> None:
        self._running -= 1
        self._admit()

    def _admit(self) -> None:
        """Let in whoever is first, and all directly behind that are of the same adapter."""
        while self._waiting:
            adapter, turn = self._waiting[0]
            gone = turn.cancelled()
            if self._running and adapter != self._adapter and not gone:
                return
            self._waiting.popleft()
            if gone:
                continue
            self._adapter = adapter
            self._running += 1
            turn.set_result(None)
