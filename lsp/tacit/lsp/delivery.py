"""Takes the outbox to the server: this session's events as they come, and what dead sessions left. Touches both, no files else.

An event leaves the outbox only after the server has acknowledged it. A server that is away, or that refuses an event while it is
of another version, is tried again, less and less often.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tacit.lsp.connection import ServerConnection
from tacit.lsp.outbox import Abandoned, Outbox, abandoned, forget_refused, set_aside

if TYPE_CHECKING:
    from tacit.protocol.events import Event

log = logging.getLogger(__name__)

BATCH: Final = 200
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0


class Delivery:
    def __init__(self, outbox: Outbox, connection: ServerConnection, folder: Path) -> None:
        self._outbox = outbox
        self._connection = connection
        self._folder = folder
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """There is something in the outbox."""
        self._idle.clear()
        self._more.set()

    async def finish(self, timeout: float) -> None:
        """Deliver what can be delivered within so many seconds, then stop. The rest is on disk."""
        if self._task is not None and self._connection.client is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._idle.wait()
            except TimeoutError:
                log.info("some events are left in the outbox")
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await asyncio.to_thread(forget_refused, self._folder)
        except OSError as error:
            log.warning("outbox: %s", error)
        await self._connection.wait()
        try:
            await self._deliver_abandoned()
        except OSError as error:
            log.warning("outbox: %s", error)
        pause = FIRST_PAUSE_S
        while True:
            entries = self._outbox.waiting(BATCH)
            if not entries:
                self._idle.set()
                self._more.clear()
                await self._more.wait()
                continue
            events = await self._parsed([entry.line for entry in entries])
            delivered = await self._send([event for event, _ in events])
            if delivered is None:
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_S, pause * 2)
                continue
            pause = FIRST_PAUSE_S
            kept = {event.id for event in delivered}
            for entry, (event, _) in zip(entries, events, strict=True):
                if event.id not in kept:
                    self._outbox.set_aside(entry)
            self._outbox.acknowledge(entries[-1])

    async def _deliver_abandoned(self) -> None:
        for left in abandoned(self._folder):
            done = False
            try:
                done = await self._deliver_file(left)
            finally:
                left.close(delete=done)

    async def _deliver_file(self, left: Abandoned) -> bool:
        """True when all of it is with the server, or set aside."""
        lines = await asyncio.to_thread(left.lines)
        session = left.path.stem
        for start in range(0, len(lines), BATCH):
            batch = lines[start : start + BATCH]
            good = []
            for line in batch:
                try:
                    good += await self._parsed([line])
                except ValueError:
                    log.warning("%s holds an event that cannot be read; it is set aside", left.path.name)
                    set_aside(self._folder, session, [line])
            pause = FIRST_PAUSE_S
            while (delivered := await self._send([event for event, _ in good])) is None:
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_S, pause * 2)
            kept = {event.id for event in delivered}
            set_aside_lines = [line for event, line in good if event.id not in kept]
            if set_aside_lines:
                set_aside(self._folder, session, set_aside_lines)
        return True

    async def _parsed(self, lines: Sequence[bytes]) -> "list[tuple[Event, bytes]]":
        from tacit.protocol.events import EVENT

        return [(EVENT.validate_json(line), line) for line in lines]

    async def _send(self, events: "Sequence[Event]") -> "list[Event] | None":
        """The events that the server has now; None: try again later. What is missing it refuses for good."""
        from tacit.protocol.errors import BadRequest, ServerUnavailable, TacitError

        if not events:
            return []
        await self._connection.wait()
        client = self._connection.client
        if client is None:
            return None
        try:
            await client.send_events(events)
        except BadRequest as error:
            if len(events) == 1:
                if differs := self._connection.differs:
                    # It may only not know it yet, or not any more: it waits for one that is like us.
                    log.warning("the server refuses an event, which is kept. %s", differs)
                    return None
                log.warning("the server refuses an event, which is set aside: %s", error)
                return []
            return await self._halves(events)
        except ServerUnavailable:
            self._connection.lost()
            return None
        except TacitError as error:
            log.info("events are kept: %s", error)
            return None
        return list(events)

    async def _halves(self, events: "Sequence[Event]") -> "list[Event] | None":
        """Find the ones that are refused; the order stays."""
        middle = len(events) // 2
        first = await self._send(events[:middle])
        second = await self._send(events[middle:]) if first is not None else None
        return None if first is None or second is None else first + second
