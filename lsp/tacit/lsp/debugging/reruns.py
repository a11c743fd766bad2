"""Whether a program ran again after a fix, and the exception is gone: told of saved output that was written anew and of traces
that the developer gives. Reads the workspace's saved output in threads, through what may be shown; starts nothing.

A fix is watched with what was said before it: an output that is saved in the workspace and goes through the lines in question,
or the trace of a conversation. It is looked at again when the fix's text is; until the fix is applied and saved, nothing is said.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from tacit.lsp.clock import SessionClock
from tacit.lsp.debugging.outputs import Rerun, compared, rows, same_program
from tacit.lsp.debugging.surroundings import Said, Surroundings
from tacit.lsp.feedback import Feedback

log = logging.getLogger(__name__)

MOST_WATCHED: Final = 50
LAST_LOOK_S: Final = 0.5
"""For what is being read when the session ends."""
QUIET_S: Final = 2.0
"""So long nothing may have been written to an output that is read."""
SAYING_S: Final = 1.0
"""At most, from a file's being written to the editor's saying so."""
NEAR_LINES: Final = 10
"""Around the lines that a fix was asked for: else a saved trace is of another problem of the file."""


@dataclass(slots=True)
class _Watched:
    before: str
    saved: Said | None
    """None: the developer gave it."""
    applied_at: float | None = None
    """Session ms."""
    applied_s: float = 0.0
    """The same, in seconds of the system's clock."""
    seen: float = math.inf
    """Output that was written until then, in the same seconds, says nothing of the fix: it has not been saved, or is known."""


class Reruns:
    def __init__(self, feedback: Feedback, clock: SessionClock, session_id: str, surroundings: Surroundings) -> None:
        self._feedback = feedback
        self._clock = clock
        self._session_id = session_id
        self._surroundings = surroundings
        self._watched: OrderedDict[str, _Watched] = OrderedDict()
        self._looking: dict[str, asyncio.Task[None]] = {}

    def watch(self, suggestion_id: str, saved: Said | None, trace: str = "", lines: range | None = None) -> None:
        """An answer about this. trace: as the developer gave it; it comes before saved output. lines: that it is about; None:
        the whole file."""
        for name in self._watched:
            self.look(name)
        before = trace or (saved.text if saved is not None else "")
        if not trace and saved is not None and lines is not None:
            near = range(lines.start - NEAR_LINES, lines.stop + NEAR_LINES)
            if not any(row in near for row in rows(before, saved.about.rpartition("/")[2])):
                return
        if before:
            self._watched[suggestion_id] = _Watched(before, None if trace else saved)
            while len(self._watched) > MOST_WATCHED:
                self._watched.popitem(last=False)

    def applied(self, suggestion_id: str) -> None:
        one = self._watched.get(suggestion_id)
        if one is not None and one.applied_at is None:
            one.applied_at, one.applied_s = self._clock.now(), time.time()

    def saved(self, suggestion_id: str) -> None:
        """The file has it: what runs from now on runs with it."""
        one = self._watched.get(suggestion_id)
        if one is not None and one.applied_at is not None and one.seen == math.inf:
            # What starts by itself when the file is written may be done before the editor has said so.
            one.seen = max(one.applied_s, time.time() - SAYING_S)

    def undone(self, suggestion_id: str) -> None:
        """What runs from now on runs without it."""
        self._watched.pop(suggestion_id, None)

    def look(self, suggestion_id: str) -> None:
        """At the output that it was about, beside the loop."""
        one = self._watched.get(suggestion_id)
        if one is None or one.saved is None or one.seen == math.inf or suggestion_id in self._looking:
            return
        task = asyncio.get_running_loop().create_task(self._looked(suggestion_id, one, one.saved))
        self._looking[suggestion_id] = task
        task.add_done_callback(lambda _: self._looking.pop(suggestion_id, None))

    async def given(self, trace: str) -> None:
        """The developer gives a trace: what it says of the fixes of the same program."""
        for name, one in list(self._watched.items()):
            if one.seen < math.inf:
                found = await asyncio.to_thread(_again, one.before, trace)
                self._tell(name, one, found)

    async def end(self, seconds: float = LAST_LOOK_S) -> None:
        """What is being looked at has so long."""
        if self._looking:
            await asyncio.wait(self._looking.values(), timeout=seconds)
        for task in list(self._looking.values()):
            task.cancel()

    async def _looked(self, suggestion_id: str, one: _Watched, saved: Said) -> None:
        try:
            while True:
                found = await self._surroundings.said_now(saved)
                if found is None or found[1] <= one.seen:
                    return
                if (quiet := time.time() - found[1]) >= QUIET_S:
                    break
                # It is being written.
                await asyncio.sleep(min(QUIET_S, QUIET_S - quiet) + 0.01)
            one.seen = found[1]
            self._tell(suggestion_id, one, await asyncio.to_thread(compared, one.before, found[0]))
        except Exception:
            # What cannot be understood says nothing; whoever types must not notice.
            log.exception("saved output could not be read again")

    def _tell(self, suggestion_id: str, one: _Watched, rerun: Rerun | None) -> None:
        if rerun is None or one.applied_at is None or self._watched.get(suggestion_id) is not one:
            return
        from tacit.protocol.events import Reran

        now = self._clock.now()
        event = Reran(
            at=self._clock.at(now),
            session_id=self._session_id,
            suggestion_id=suggestion_id,
            elapsed_ms=now - one.applied_at,
            exception_gone=rerun.exception_gone,
            raised=rerun.raised,
            tests_fixed=rerun.tests_fixed,
            tests_failing=rerun.tests_failing,
            tests_broken=rerun.tests_broken,
        )
        self._feedback.note(suggestion_id, event)


def _again(before: str, trace: str) -> Rerun | None:
    return compared(before, trace) if same_program(before, trace) else None
