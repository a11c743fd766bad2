"""Room for the learner: who rests when it trains, how long, and who may interrupt it. Touches the engine (through the host), the
runs, the machine's memory as it is reported.

A run asks for its room when it is about to load the base model. It keeps it until it has ended and its process is gone, however
that came about: then serving is back. A developer who keeps asking meanwhile sets `wanted`, and the schedule ends the learner.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tacit.protocol.adapters import RestInfo, RunInfo
from tacit.protocol.errors import Conflict, TacitError
from tacit.server.hosting import Host
from tacit.server.processes import process_start
from tacit.server.runs import Runs
from tacit.server.waiting import QUIET_SECONDS, Asking, Stage, back_at

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks whether the run has ended."""
GONE_SECONDS = 10.0
"""For its process to end after that: until then it holds its memory."""
WORDS = {"sleep": "vLLM sleeps while the learner trains.", "stop": "The engine has ended while the learner trains."}


class Resting:
    def __init__(
        self, runs: Runs, host: Host, *, quiet: float = QUIET_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """quiet: seconds without a request after which an interrupted night goes on. clock: in seconds."""
        self._runs = runs
        self._host = host
        self._quiet = quiet
        self._clock = clock
        self._asking = Asking()
        self._last = -quiet
        self._room = asyncio.Lock()
        """Held while a run is given its room."""
        self._watch: asyncio.Task[None] | None = None
        """Of the run that has room, until the engine is back."""
        self._has_room = ""
        self._since: datetime | None = None
        self._usual: float | None = None
        self._stage: Stage | None = None
        self.wanted = asyncio.Event()
        """A developer waits for serving to be back."""

    # What the routes and the schedule say and ask.

    def asked(self) -> None:
        """Somebody wants an answer."""
        self._last = self._clock()
        if self._since is not None and self._asking.asked(self._last):
            self.wanted.set()

    async def quiet(self) -> None:
        """Returns when nobody has asked for a while."""
        while True:
            left = self._last + self._quiet - self._clock()
            if left <= 0:
                return
            await asyncio.sleep(left)

    @property
    def info(self) -> RestInfo | None:
        """None: serving does not rest."""
        shifts = self._host.shifts
        if shifts is None or self._since is None or shifts.resting not in ("sleep", "stop"):
            return None
        back = back_at(datetime.now(UTC), self._since, self._usual, self._stage)
        return RestInfo(mode=shifts.resting, since=self._since, back_at=back, stand_in=shifts.stands_in)

    def words(self) -> str:
        """Why nothing is answered now, for a person."""
        info = self.info
        if info is None:
            return "The engine is coming back."
        when = f"at about {info.back_at.astimezone():%H:%M}" if info.back_at else "when the learner is done"
        return f"{WORDS[info.mode]} Completions are back {when}."

    # A run's room.

    async def make_room(self, run_id: str) -> None:
        """Returns when the learner may take its memory. NotFound; Conflict: the run has ended."""
        async with self._room:
            run = await self._runs.get(run_id)
            if run.state != "running":
                raise Conflict(f"Run {run_id} has ended: {run.state}.", mend="Start another run.")
            if self._watch is not None:
                if self._has_room == run_id:
                    return
                await self._watch
            shifts, available = self._host.shifts, memory_available()
            if shifts is None or (plan := shifts.plan(available)).mode == "beside":
                return
            log.info("run %s: the engine makes room (%s): %s", run_id, plan.mode, plan.reason)
            self._usual = usual(await self._runs.list(), run)
            self._stage, self._asking = None, Asking()
            self.wanted.clear()
            self._since = datetime.now(UTC)
            shifts.words = self.words
            try:
                await shifts.rest(plan.mode, shifts.stand_in_fits(plan.mode, available))
            finally:
                self._has_room = run_id
                self._watch = asyncio.create_task(self._until_over(run))

    async def stop(self) -> None:
        """The server ends: nobody is brought back."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _until_over(self, run: RunInfo) -> None:
        while True:
            if not await self._under_way(run.id):
                break
            await asyncio.sleep(LOOK_SECONDS)
        for _ in range(int(10 * GONE_SECONDS)):
            # A learner that ended in order tells so before its process is gone.
            if not process_start(run.pid):
                break
            await asyncio.sleep(0.1)
        self._stage = None
        log.info("run %s is over: the engine comes back", run.id)
        try:
            await self._host.back()
        except TacitError as error:
            log.error("the engine is back, but not all of its adapters: %s", error)
        finally:
            self._since, self._watch = None, None

    async def _under_way(self, run_id: str) -> bool:
        with contextlib.suppress(TacitError):
            # A run whose process is gone is marked by this.
            running = await self._runs.running()
            if running is None or running.id != run_id:
                return False
            now = datetime.now(UTC)
            began = self._stage.began if self._stage and self._stage.name == running.stage.split(",")[0] else now
            self._stage = Stage(running.stage.split(",")[0], began, running.done, running.total)
        return True


def usual(runs: list[RunInfo], mine: RunInfo) -> float | None:
    """Seconds that the last run of this project and task took which came to its end, else the last one of any."""
    ended = [run for run in runs if run.state in ("published", "refused") and run.finished_at is not None]
    ended.sort(key=lambda run: ((run.project, run.task) == (mine.project, mine.task), run.started_at), reverse=True)
    return (ended[0].finished_at - ended[0].started_at).total_seconds() if ended and ended[0].finished_at else None


def memory_available() -> int | None:
    """Bytes that processes may still take; None: the system does not say."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return None
