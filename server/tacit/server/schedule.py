"""What happens by the clock: the nightly learner, looks at canaries, hourly backups, daily clean-up. Touches child processes, the
store, the clock.

A night that was missed because the machine was off or asleep, or that was cut short, is caught up. The learner is a process of
its own; when the server ends, so does a learner that it has started.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast, get_args

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlmodel import select

from tacit.protocol.adapters import SHARED, UNDER_WAY
from tacit.protocol.completion import Task
from tacit.protocol.errors import TacitError
from tacit.protocol.home import Home
from tacit.server.canary import all_kept
from tacit.server.history import Key, stacks
from tacit.server.resting import Resting
from tacit.server.runs import Runs
from tacit.server.settings import Settings, unusable
from tacit.server.sharing import apart
from tacit.server.store.store import Store
from tacit.server.store.tables import SuggestionRow
from tacit.server.waiting import MOST_INTERRUPTIONS

log = logging.getLogger(__name__)

Command = Callable[[str, Task, datetime], Sequence[str]]
"""(project, task, learn from what was received by then) → the learner's command line"""

CATCH_UP_SECONDS = 180.0
"""After the start: whoever has just switched the machine on wants to work first."""
STOP_SECONDS = 10.0
INTERRUPT_SECONDS = 60.0
"""For an interrupted learner to write down where it is: it stops between two passes, or when the base is loaded."""
CLOCK_MINUTES = 5
"""The scheduler's timer stands still while the machine sleeps: how late after waking up a night may be noticed."""
CLOCK_SLACK = timedelta(hours=1)
"""By so much a clock may be set back without anything having been wrong."""
CANARY_MINUTES = 10
"""Between two looks at what is tried out: the intervals hold however often one looks."""
ATTEMPT = "nightly/attempt"
UNENDED = "nightly/unended"
"""How many nights in a row have begun and not come to their end."""
LEFT = "nightly/left"
"""Training that has begun and not come to its end, as JSON: project/task → what it learns from was received by then."""
MOST_UNENDED = 3
"""A night that takes the machine down with it is not tried for ever."""
FAILED, SKIPPED, REFUSED = 1, 3, 4
"""Exit codes of the learner; the latter two for a night that rightly changed nothing."""
LOG_BYTES = 2_000_000
LEARNER_LOG, CANARY_LOG = "learner.log", "canary.log"
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def learner_command(project: str, task: Task, until: datetime) -> Sequence[str]:
    # -P: never import what lies in the current folder.
    command = (sys.executable, "-P", "-m", "tacit.learner", "--project", project, "--task", task, "--trigger", "nightly")
    return (*command, "--until", until.isoformat())


def judge_command() -> Sequence[str]:
    """Reads the feedback on the canaries, and has shadows drawn with."""
    return (sys.executable, "-P", "-m", "tacit.learner.canary")


class Schedule:
    def __init__(
        self,
        home: Home,
        settings: Settings,
        store: Store,
        runs: Runs,
        resting: Resting,
        *,
        command: Command = learner_command,
        catch_up: float = CATCH_UP_SECONDS,
    ) -> None:
        """catch_up: seconds until a missed night is made good. SettingError: `nightly` is neither a cron expression nor `off`."""
        self._home = home
        self._settings = settings
        self._store = store
        self._runs = runs
        self._resting = resting
        self._command = command
        self._catch_up = catch_up
        self._trigger = nightly_trigger(settings.nightly, home)
        # Late is better than never: a machine that wakes up at eight does at eight what was due at three.
        self._scheduler = AsyncIOScheduler(job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1})
        self._learner: asyncio.subprocess.Process | None = None
        self._judge: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._ending = asyncio.Event()
        """Set when it stops: a night that waits for quiet ends then."""
        self._interruptions = 0
        """Of this night, by developers."""

    async def start(self) -> None:
        if self._trigger is not None:
            self._scheduler.add_job(self.night, self._trigger, id="nightly")
            last = await self._store.get(ATTEMPT)
            now = datetime.now(UTC)
            if last is None:
                # The first start ever: nothing was missed.
                await self._store.put(ATTEMPT, now.isoformat())
            elif missed(self._trigger, datetime.fromisoformat(last), now) or 0 < await self._unended() < MOST_UNENDED:
                log.info("the learner was last tried %s; the night is caught up in %.0f s", last, self._catch_up)
                self._scheduler.add_job(self.night, "date", run_date=now + timedelta(seconds=self._catch_up), id="missed")
        self._scheduler.add_job(_look_at_the_clock, "interval", minutes=CLOCK_MINUTES, id="clock")
        self._scheduler.add_job(self.look_at_canaries, "interval", minutes=CANARY_MINUTES, id="canaries")
        if self._store.makes_backups:
            self._scheduler.add_job(self._back_up, "interval", hours=1, id="backup")
        self._scheduler.add_job(
            self._clean_up, "interval", hours=24, id="clean-up", next_run_time=datetime.now(UTC) + timedelta(minutes=10)
        )
        self._scheduler.start()

    async def stop(self) -> None:
        """A learner that the schedule has started is ended, and its run is marked."""
        self._stopping = True
        self._ending.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for child in (self._judge, self._learner):
            if child is not None and child.returncode is None:
                await _end(child)
        with contextlib.suppress(TacitError):
            await self._runs.running()

    @property
    def next_run(self) -> datetime | None:
        """When the learner runs next; None: it is off."""
        times = [job.next_run_time for name in ("nightly", "missed") if (job := self._scheduler.get_job(name)) is not None]
        return min((time for time in times if time is not None), default=None)

    async def night(self) -> None:
        """Learn for each project that has suggestions, one after the other; first completions, then answers about errors. After
        them, for those that share."""
        try:
            # Before the work: a night that ends badly is not tried again and again.
            await self._store.put(UNENDED, str(await self._unended() + 1))
            await self._store.put(ATTEMPT, datetime.now(UTC).isoformat())
            columns = (SuggestionRow.project, SuggestionRow.task)
            found = await self._store.read(lambda session: session.exec(select(*columns).distinct().order_by(*columns)).all())
        except TacitError as error:
            log.error("the learner was not started: %s", error)
            return
        self._interruptions = 0
        for project, task in [*found, *((SHARED, task) for task in get_args(Task))]:
            if project == SHARED and not await self._shared_is_wanted(task):
                continue
            went_on = await self._learn(project, cast(Task, task))
            if self._stopping:
                return
            if not went_on:
                log.info("the night was interrupted %d times: the rest is left to the next one", self._interruptions)
                break
        try:
            await self._store.put(UNENDED, "0")
        except TacitError as error:
            log.error("the end of the night was not written down: %s", error)

    async def _shared_is_wanted(self, task: str) -> bool:
        """Are there several projects that share, and one among them that has no adapter of its own?"""
        if not self._settings.share_between_projects or self._settings.listen:
            return False
        mine = select(SuggestionRow.project).where(SuggestionRow.task == task, SuggestionRow.owner == "").distinct()
        try:
            return await self._store.read(
                lambda session: together(session.exec(mine).all(), apart(session), stacks(session), task)
            )
        except TacitError as error:
            log.error("what projects share was not learned: %s", error)
            return False

    async def look_at_canaries(self) -> None:
        """Let shadows be drawn with and feedback on canaries be read, if there are any, by a process of its own: rewards are the
        learner's."""
        try:
            if self._stopping or not any(found.state in UNDER_WAY for found in await self._store.read(all_kept)):
                return
            self._judge = await self._spawn(judge_command(), CANARY_LOG)
        except (TacitError, OSError) as error:
            log.error("the canaries were not judged: %s", error)
            return
        code = await self._judge.wait()
        self._judge = None
        if code:
            log.warning("the canaries were not judged (exit code %d); see %s", code, self._home.logs / CANARY_LOG)

    async def _learn(self, project: str, task: Task) -> bool:
        """What an earlier night has left, and then what is new. False: developers interrupted the night too often."""
        left = (await self._left()).get(f"{project}/{task}")
        if left is not None and not await self._to_its_end(project, task, datetime.fromisoformat(left)):
            return False
        return self._stopping or await self._to_its_end(project, task, datetime.now(UTC))

    async def _to_its_end(self, project: str, task: Task, until: datetime) -> bool:
        """Until the run is over: one that developers interrupt goes on, from what was known when it began, when they are quiet.
        One that does not come to its end is left to the next night, which goes on from there. False: as above."""
        await self._note_left(project, task, until)
        while (code := await self._run_learner(project, task, until)) is None:
            self._interruptions += 1
            if self._interruptions >= MOST_INTERRUPTIONS:
                return False
            log.info("learning for project %s (%s) was interrupted; it goes on when nobody asks for a while", project, task)
            await self._until_quiet()
            if self._stopping:
                break
        else:
            if code in (0, FAILED, SKIPPED, REFUSED):
                await self._note_left(project, task, None)
            await self._say_ended(project, task, code)
        return True

    async def _left(self) -> dict[str, str]:
        try:
            return dict(json.loads(await self._store.get(LEFT) or "{}"))
        except TacitError as error:
            log.error("what the last night has left could not be read: %s", error)
            return {}

    async def _note_left(self, project: str, task: Task, until: datetime | None) -> None:
        """until: None: nothing is left."""
        left = {name: when for name, when in (await self._left()).items() if name != f"{project}/{task}"}
        if until is not None:
            left[f"{project}/{task}"] = until.isoformat()
        try:
            await self._store.put(LEFT, json.dumps(left))
        except TacitError as error:
            log.error("what is left of this night could not be written down: %s", error)

    async def _until_quiet(self) -> None:
        waits = (asyncio.create_task(self._resting.quiet()), asyncio.create_task(self._ending.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _run_learner(self, project: str, task: Task, until: datetime) -> int | None:
        """Its exit code; None: a developer waited, and it was told to end. It has made a checkpoint then, if it trained."""
        self._resting.wanted.clear()
        try:
            self._learner = child = await self._spawn(self._command(project, task, until), LEARNER_LOG)
        except OSError as error:
            log.error("the learner for project %s (%s) could not be started: %s", project, task, error)
            return FAILED
        over, wanted = asyncio.create_task(child.wait()), asyncio.create_task(self._resting.wanted.wait())
        try:
            await asyncio.wait((over, wanted), return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                return over.result()
            log.info("a developer waits: the learner for project %s (%s) is told to end", project, task)
            await _end(child, INTERRUPT_SECONDS)
            return None
        finally:
            self._learner = None
            over.cancel()
            wanted.cancel()

    async def _say_ended(self, project: str, task: Task, code: int) -> None:
        if code in (0, SKIPPED, REFUSED):
            last = await self._runs.last()
            log.info("the learner for project %s (%s) has ended%s", project, task, f": {last.state}" if last else "")
        else:
            log.warning(
                "the learner for project %s (%s) ended with exit code %d; see %s",
                *(project, task, code, self._home.logs / LEARNER_LOG),
            )

    async def _spawn(self, command: Sequence[str], name: str) -> asyncio.subprocess.Process:
        """A child of this server's home; what it says goes to the log of that name."""
        self._home.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._home.logs / name
        too_long = path.exists() and path.stat().st_size > LOG_BYTES
        with path.open("wb" if too_long else "ab") as output:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "TACIT_HOME": str(self._home.root)},
                # Ctrl-C is for the server, which ends its children in order.
                start_new_session=True,
            )

    async def _unended(self) -> int:
        return int(await self._store.get(UNENDED) or 0)

    async def _back_up(self) -> None:
        try:
            log.debug("backup %s", await self._store.back_up())
        except (TacitError, OSError) as error:
            log.error("no backup: %s", error)

    async def _clean_up(self) -> None:
        try:
            gone = await self._store.forget_older_than(self._settings.retention_days)
        except TacitError as error:
            log.error("old events were not deleted: %s", error)
            return
        if gone:
            log.info("%d events older than %d days were deleted", gone, self._settings.retention_days)


def together(projects: Iterable[str], apart: frozenset[str], served: Mapping[Key, object], task: str) -> bool:
    """Is one of several projects that share without an adapter of its own? served: (project, task) of those that have one."""
    sharing = set(projects) - apart - {SHARED}
    return len(sharing) > 1 and any((project, task) not in served for project in sharing)


async def _end(child: asyncio.subprocess.Process, seconds: float = STOP_SECONDS) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(seconds):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


async def _look_at_the_clock() -> None:
    """Nothing: the scheduler looks at all its jobs when one is due."""


def nightly_trigger(expression: str, home: Home) -> CronTrigger | None:
    """None: `off`. SettingError: neither that nor a cron expression of five fields. home: where the setting may come from."""
    if expression.strip().lower() == "off":
        return None
    fields = expression.split()
    try:
        if len(fields) != 5:
            raise ValueError(f"it has {len(fields)} fields, not 5")
        return CronTrigger.from_crontab(" ".join((*fields[:4], _weekdays(fields[4]))))
    except ValueError as error:
        raise unusable(
            home,
            "nightly",
            f"`{expression}` is not a cron expression ({error})",
            'Write minute, hour, day, month and weekday, such as "0 3 * * *", or "off".',
        ) from error


def _weekdays(field: str) -> str:
    """Cron counts weekdays from Sunday (0 and 7), APScheduler from Monday: numbers become names."""
    if not any(character.isdigit() for character in field):
        return field
    names: list[str] = []
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            span = "0-6"
        first, dash, last = span.partition("-")
        if not first.isdigit():
            names.append(part)
            continue
        start = int(first)
        end = int(last) if dash else 6 if step else start
        if start > 7 or end > 7 or end < start:
            raise ValueError(f"`{part}` is no weekday")
        names += [_DAYS[day % 7] for day in range(start, end + 1, int(step) if step else 1)]
    return ",".join(dict.fromkeys(names))


def missed(trigger: CronTrigger, last: datetime, now: datetime) -> bool:
    """Was there a time between the last attempt and now? An attempt in the future tells of a clock that was wrong: yes."""
    if last > now + CLOCK_SLACK:
        return True
    due = trigger.get_next_fire_time(None, last.astimezone(trigger.timezone) + timedelta(seconds=1))
    return due is not None and due <= now
