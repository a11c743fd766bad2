"""The schedule: cron expressions as cron means them, missed nights, one learner after the other, an orderly end."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_ingest import rejected, suggested

from tacit.protocol.adapters import SHARED, RunRequest
from tacit.protocol.errors import SettingError
from tacit.protocol.home import Home
from tacit.server.adapters import Adapters
from tacit.server.hosting import Host
from tacit.server.ingest import store_events
from tacit.server.resting import Resting
from tacit.server.runs import Runs
from tacit.server.schedule import ATTEMPT, MOST_UNENDED, UNENDED, Schedule, learner_command, missed, nightly_trigger
from tacit.server.settings import Settings
from tacit.server.store.store import Store
from tacit.server.waiting import MOST_INTERRUPTIONS

NEVER = Settings(nightly="0 3 31 2 *")
NOWHERE = Home(Path("nowhere"))


def fires(expression: str, count: int) -> list[str]:
    trigger = nightly_trigger(expression, NOWHERE)
    assert trigger is not None
    at = datetime(2026, 3, 1, 12, tzinfo=UTC).astimezone(trigger.timezone)  # a Sunday
    days = []
    for _ in range(count):
        at = trigger.get_next_fire_time(None, at)
        days.append(at.strftime("%a"))
        at += timedelta(minutes=1)
    return days


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 3 * * *", ["Mon", "Tue", "Wed"]),
        ("0 3 * * 0", ["Sun", "Sun", "Sun"]),
        ("0 3 * * 7", ["Sun", "Sun", "Sun"]),
        ("0 3 * * 1-5", ["Mon", "Tue", "Wed"]),
        ("0 3 * * 5-7", ["Fri", "Sat", "Sun"]),
        ("0 3 * * 0,3", ["Wed", "Sun", "Wed"]),
        ("0 3 * * */2", ["Tue", "Thu", "Sat"]),
        ("0 3 * * sat", ["Sat", "Sat", "Sat"]),
    ],
)
def test_weekdays_count_from_sunday_as_cron_counts(expression: str, days: list[str]) -> None:
    assert fires(expression, 3) == days


@pytest.mark.parametrize("expression", ["", "3", "0 3 * *", "61 3 * * *", "0 3 * * 9", "0 3 * * 5-2", "daily"])
def test_a_bad_expression_is_a_setting_error(expression: str) -> None:
    with pytest.raises(SettingError, match="nightly"):
        nightly_trigger(expression, NOWHERE)


def test_a_night_was_missed_if_its_time_lies_between() -> None:
    trigger = nightly_trigger("0 3 * * *", NOWHERE)
    assert trigger is not None
    three = datetime(2026, 3, 10, 3, tzinfo=trigger.timezone)
    hour = timedelta(hours=1)
    assert missed(trigger, three - hour, three + hour)
    assert not missed(trigger, three, three + 20 * hour)
    assert missed(trigger, three - 100 * hour, three - 99 * hour + 30 * hour)
    # Tried by a clock that was years ahead: without this nothing would be caught up until then.
    assert missed(trigger, three + 20_000 * hour, three) and not missed(trigger, three + hour / 2, three)


def _resting(home: Home, store: Store, quiet: float = 0.0) -> Resting:
    return Resting(Runs(home, store), Host(home, NEVER, Adapters(home, NEVER, store)), quiet=quiet)


async def _started(
    home: Home, store: Store, settings: Settings, script: str, resting: Resting | None = None, **options: float
) -> Schedule:
    """A schedule whose learner is a script; it gets project and task as its argument, and the time of what it may learn from."""

    def command(project: str, task: str, until: datetime) -> tuple[str, ...]:
        return sys.executable, "-c", script, f"{project}/{task}", until.isoformat()

    resting = resting or _resting(home, store)
    schedule = Schedule(home, settings, store, Runs(home, store), resting, command=command, **options)
    await schedule.start()
    return schedule


def _noting(note: Path) -> str:
    return (
        "import sys, time, pathlib\n"
        f"note = pathlib.Path({str(note)!r})\n"
        "def say(word):\n    note.open('a').write(f'{word} {sys.argv[1]}\\n')\n"
        "say('begin'); time.sleep(0.05); say('end')\n"
    )


async def _lines(note: Path, count: int) -> list[str]:
    async with asyncio.timeout(20):
        while not note.exists() or len(note.read_text().splitlines()) < count:
            await asyncio.sleep(0.01)
    return note.read_text().splitlines()


async def test_a_missed_night_is_caught_up_project_by_project_and_task_by_task(home: Home, store: Store, tmp_path: Path) -> None:
    answer = suggested(project="a").model_copy(update={"task": "debug"})
    await store_events(store, [suggested(project="b"), answer, suggested(project="a"), rejected(suggested())])
    await store.put(ATTEMPT, (datetime.now(UTC) - timedelta(days=3)).isoformat())
    schedule = await _started(home, store, Settings(), _noting(tmp_path / "note"), catch_up=0.0)
    nights = ("a/completion", "a/debug", "b/completion")
    assert await _lines(tmp_path / "note", 6) == [f"{word} {night}" for night in nights for word in ("begin", "end")]
    await schedule.stop()
    attempt = await store.get(ATTEMPT)
    assert attempt is not None and datetime.now(UTC) - datetime.fromisoformat(attempt) < timedelta(minutes=5)


async def test_the_first_start_ever_has_missed_nothing(home: Home, store: Store) -> None:
    schedule = await _started(home, store, Settings(), "", catch_up=0.0)
    assert schedule._scheduler.get_job("missed") is None
    assert schedule.next_run is not None and schedule.next_run > datetime.now(UTC)
    await schedule.stop()


async def test_a_night_that_was_cut_short_is_caught_up_but_not_for_ever(home: Home, store: Store, tmp_path: Path) -> None:
    await store_events(store, [suggested(project="a")])
    pid = tmp_path / "pid"
    hanging = f"import pathlib, time\npathlib.Path({str(pid)!r}).write_text('up\\n')\ntime.sleep(600)"
    await store.put(ATTEMPT, datetime.now(UTC).isoformat())
    for tried in range(1, MOST_UNENDED + 1):
        schedule = await _started(home, store, NEVER, hanging, catch_up=3600.0)
        assert (schedule._scheduler.get_job("missed") is not None) is (tried > 1)
        night = asyncio.create_task(schedule.night())
        await _lines(pid, 1)
        pid.unlink()
        await schedule.stop()
        await night
    schedule = await _started(home, store, NEVER, _noting(tmp_path / "note"), catch_up=3600.0)
    assert schedule._scheduler.get_job("missed") is None
    # One that comes to its end is the first of a new count.
    await schedule.night()
    assert await store.get(UNENDED) == "0"
    await schedule.stop()


async def test_the_clock_is_looked_at_though_nothing_is_due(home: Home, store: Store) -> None:
    # After a sleep the scheduler's own timer would be late by the time slept.
    schedule = await _started(home, store, NEVER, "", catch_up=0.0)
    job = schedule._scheduler.get_job("clock")
    assert job is not None and job.next_run_time - datetime.now(UTC) <= timedelta(minutes=5)
    await schedule.stop()


async def test_off_is_off(home: Home, store: Store) -> None:
    await store.put(ATTEMPT, (datetime.now(UTC) - timedelta(days=3)).isoformat())
    schedule = await _started(home, store, Settings(nightly="off"), "", catch_up=0.0)
    assert schedule.next_run is None
    await schedule.stop()


async def test_stopping_ends_the_learner_and_marks_its_run(home: Home, store: Store, tmp_path: Path) -> None:
    await store_events(store, [suggested(project="a"), suggested(project="b")])
    runs = Runs(home, store)
    note = tmp_path / "pid"
    script = f"import os, pathlib, time\npathlib.Path({str(note)!r}).write_text(str(os.getpid()) + '\\n')\ntime.sleep(600)"
    schedule = await _started(home, store, NEVER, script)
    night = asyncio.create_task(schedule.night())
    pid = int((await _lines(note, 1))[0])
    run = await runs.start(RunRequest(project="a", pid=pid, trigger="nightly"), "base")
    await schedule.stop()
    await night
    assert (await runs.get(run.id)).state == "interrupted"
    # The next project's learner was not begun.
    assert note.read_text().split() == [str(pid)]


async def test_a_learner_that_cannot_start_does_not_end_the_night(
    home: Home, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store_events(store, [suggested(project="a"), suggested(project="b")])
    resting = _resting(home, store)
    schedule = Schedule(
        home, NEVER, store, Runs(home, store), resting, command=lambda project, task, until: (f"/nowhere/{project}",)
    )
    await schedule.night()
    assert "/nowhere/a" in caplog.text and "/nowhere/b" in caplog.text


def test_the_learner_is_the_package_of_that_name() -> None:
    command = learner_command("some-project", "debug", datetime(2026, 3, 1, 3, tzinfo=UTC))
    assert command[0] == sys.executable and "tacit.learner" in command
    chosen = dict(zip(command[4::2], command[5::2], strict=False))
    assert chosen["--project"] == "some-project" and chosen["--task"] == "debug"
    assert chosen["--until"] == "2026-03-01T03:00:00+00:00"


def _patient(note: Path, times: int) -> str:
    """A learner that trains until it is told to end, so often; then it is done at once."""
    return (
        "import pathlib, signal, sys, time\n"
        f"note = pathlib.Path({str(note)!r})\n"
        "def say(word):\n    note.open('a').write(f'{word} {sys.argv[1]} {sys.argv[2]}\\n')\n"
        "def end(*_):\n    say('checkpoint')\n    sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "say('begin')\n"
        f"time.sleep(600 if note.read_text().count('begin a/') <= {times} else 0)\n"
        "say('end')\n"
    )


async def _interrupted(resting: Resting, note: Path, times: int) -> None:
    """A developer keeps asking each time that the learner is at work."""
    for time in range(1, times + 1):
        await _lines(note, 2 * time - 1)
        resting.wanted.set()


async def test_an_interrupted_learner_goes_on_from_what_was_known_when_it_began(home: Home, store: Store, tmp_path: Path) -> None:
    await store_events(store, [suggested(project="a"), suggested(project="b")])
    note, resting = tmp_path / "note", _resting(home, store)
    schedule = await _started(home, store, NEVER, _patient(note, MOST_INTERRUPTIONS - 1), resting)
    night = asyncio.create_task(schedule.night())
    await _interrupted(resting, note, MOST_INTERRUPTIONS - 1)
    async with asyncio.timeout(20):
        await night
    lines = [line.split() for line in note.read_text().splitlines() if not line.split()[1].startswith(SHARED)]
    expected = [*["begin", "checkpoint"] * (MOST_INTERRUPTIONS - 1), "begin", "end", "begin", "end"]
    assert [word for word, _, _ in lines] == expected
    assert len({when for _, name, when in lines if name.startswith("a/")}) == 1 and lines[-1][1] == "b/completion"
    assert await store.get(UNENDED) == "0"
    await schedule.stop()


async def test_a_night_that_is_interrupted_again_and_again_is_left_to_the_next(home: Home, store: Store, tmp_path: Path) -> None:
    await store_events(store, [suggested(project="a"), suggested(project="b")])
    note, resting = tmp_path / "note", _resting(home, store)
    schedule = await _started(home, store, NEVER, _patient(note, MOST_INTERRUPTIONS), resting)
    night = asyncio.create_task(schedule.night())
    await _interrupted(resting, note, MOST_INTERRUPTIONS)
    async with asyncio.timeout(20):
        await night
    lines = [line.split() for line in note.read_text().splitlines()]
    assert [name for _, name, _ in lines] == ["a/completion"] * 2 * MOST_INTERRUPTIONS
    await schedule.stop()
    # That one, of another server, goes on from what was known then, and afterwards learns what is new.
    schedule = await _started(home, store, NEVER, _patient(note, MOST_INTERRUPTIONS), resting)
    for number in (1, 2):
        already = len(note.read_text().splitlines())
        await schedule.night()
        ended = [line.split() for line in note.read_text().splitlines()[already:] if line.startswith(("end a", "end b"))]
        assert [name for _, name, _ in ended] == ["a/completion"] * (3 - number) + ["b/completion"]
        times = [when for _, name, when in ended if name == "a/completion"]
        assert (times[0] == lines[0][2]) == (number == 1) and times[-1] != lines[0][2]
    await schedule.stop()


async def test_a_night_that_waits_for_quiet_ends_with_the_server(home: Home, store: Store, tmp_path: Path) -> None:
    await store_events(store, [suggested(project="a")])
    note, resting = tmp_path / "note", _resting(home, store, quiet=3600.0)
    schedule = await _started(home, store, NEVER, _patient(note, 9), resting)
    night = asyncio.create_task(schedule.night())
    await _lines(note, 1)
    resting.asked()
    resting.wanted.set()
    await _lines(note, 2)
    async with asyncio.timeout(20):
        await schedule.stop()
        await night
    assert len(note.read_text().splitlines()) == 2
