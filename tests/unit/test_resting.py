"""The engine rests while the learner trains and comes back, whatever happens. Real runs and processes, scripted engines."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

import pytest
from scripted_engine import Scripted

from tacit.protocol.adapters import RunRequest, RunUpdate
from tacit.protocol.errors import Conflict, EngineUnavailable, Refused, TacitError
from tacit.protocol.home import Home
from tacit.server.adapters import Adapters
from tacit.server.engine import coming_back
from tacit.server.engine import shifts as shifting
from tacit.server.engine.interface import Drawn, DrawStats, Sampling
from tacit.server.engine.memory import Mode, Plan
from tacit.server.engine.shifts import Shifts
from tacit.server.hosting import Host
from tacit.server.models.catalogue import Model
from tacit.server.resting import Resting, usual
from tacit.server.runs import Runs
from tacit.server.settings import Settings
from tacit.server.store.store import Store
from tacit.server.waiting import ASKED_TIMES

FOLDER = Path("nowhere")


class Sleeper(Scripted):
    """An engine that rests as it is told, and says who it is."""

    def __init__(self, name: str, mode: Mode = "sleep") -> None:
        super().__init__()
        self.next = lambda: name
        self.mode = mode
        self.ready = False
        self.did: list[str] = []
        self.adapters: set[str] = set()
        self.failing: list[TacitError] = []
        """What the next starts and wakings end with."""
        self.hold: asyncio.Event | None = None
        """Streams wait for it."""
        self.fits = True

    def plan(self, available: int | None) -> Plan:
        return Plan(self.mode, "")

    def stand_in_fits(self, mode: Mode, available: int | None) -> bool:
        return self.fits

    async def start(self) -> None:
        self._up("start")

    async def stop(self) -> None:
        self.did.append("stop")
        self.ready = False

    async def sleep(self) -> None:
        self.did.append("sleep")
        self.ready = False

    async def wake(self) -> None:
        self._up("wake")

    def _up(self, what: str) -> None:
        self.did.append(what)
        if self.failing:
            raise self.failing.pop(0)
        self.ready = True

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        if not self.ready:
            raise EngineUnavailable("It rests.")
        if self.hold is not None:
            await self.hold.wait()
        async for item in super().generate(prompt, sampling, adapter):
            yield item

    async def load(self, name: str, folder: Path) -> None:
        self.adapters.add(name)

    async def drop(self, name: str) -> None:
        self.adapters.discard(name)

    def loaded(self) -> frozenset[str]:
        return frozenset(self.adapters)


async def who(engine: Shifts) -> str:
    drawn = [item async for item in engine.generate([1], Sampling(8, 0.0, 0), None) if isinstance(item, Drawn)]
    return "".join(item.text for item in drawn)


async def by_day(mode: Mode = "sleep") -> tuple[Shifts, Sleeper, Sleeper]:
    day, stand_in = Sleeper("day", mode), Sleeper("stand-in")
    shifts = Shifts(day, lambda: stand_in)
    await shifts.start()
    await shifts.load("a@1", FOLDER)
    return shifts, day, stand_in


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("mode", ["sleep", "stop"])
async def test_the_stand_in_answers_at_rest_with_the_same_adapters(mode: Mode) -> None:
    shifts, day, stand_in = await by_day()
    assert await who(shifts) == "day"
    await shifts.rest(mode, True)
    assert await who(shifts) == "stand-in" and shifts.ready and shifts.resting == mode
    assert stand_in.adapters == {"a@1"} and day.did == ["start", mode]
    await shifts.back()
    assert await who(shifts) == "day" and shifts.resting is None
    await settled()
    assert day.did == ["start", mode, "wake" if mode == "sleep" else "start"] and stand_in.did == ["start", "stop"]


async def test_who_goes_on_is_not_put_to_rest() -> None:
    shifts, day, _ = await by_day()
    await shifts.rest("beside", True)
    assert shifts.resting is None and day.did == ["start"]


async def test_what_is_under_way_ends_before_the_engine_rests() -> None:
    shifts, day, _ = await by_day()
    day.hold = asyncio.Event()
    answer = asyncio.create_task(who(shifts))
    await settled()
    resting = asyncio.create_task(shifts.rest("sleep", True))
    await settled()
    assert "sleep" not in day.did and await who(shifts) == "stand-in"
    day.hold.set()
    await resting
    assert await answer == "day" and day.did == ["start", "sleep"]


async def test_one_that_has_not_done_is_ended_and_not_put_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM has to have nothing under way when it goes to sleep."""
    monkeypatch.setattr(shifting, "DRAIN_SECONDS", 0.05)
    shifts, day, _ = await by_day()
    day.hold = asyncio.Event()
    answer = asyncio.create_task(who(shifts))
    await settled()
    await shifts.rest("sleep", True)
    assert day.did == ["start", "stop"] and shifts.resting == "stop" and await who(shifts) == "stand-in"
    day.hold.set()
    await answer
    await shifts.back()
    assert day.did == ["start", "stop", "start"]


async def test_without_a_stand_in_it_is_said_when_serving_is_back() -> None:
    shifts, _, stand_in = await by_day()
    stand_in.failing = [EngineUnavailable("no room")]
    shifts.words = lambda: "back at 03:40"
    await shifts.rest("sleep", True)
    assert not shifts.ready and shifts.message == "back at 03:40"
    with pytest.raises(EngineUnavailable, match="back at 03:40"):
        await who(shifts)


async def test_an_engine_that_does_not_sleep_is_ended() -> None:
    shifts, day, _ = await by_day()

    async def no() -> None:
        raise EngineUnavailable("no")

    day.sleep = no  # type: ignore[method-assign]
    await shifts.rest("sleep", False)
    assert shifts.resting == "stop" and day.did == ["start", "stop"]
    await shifts.back()
    assert day.did == ["start", "stop", "start"] and await who(shifts) == "day"


async def test_it_is_tried_until_the_engine_is_back_and_the_stand_in_answers_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coming_back, "FIRST_DELAY", 0.01)
    shifts, day, _ = await by_day()
    await shifts.rest("sleep", True)
    day.failing = [EngineUnavailable("out of memory"), EngineUnavailable("out of memory")]
    back = asyncio.create_task(shifts.back())
    await settled()
    assert await who(shifts) == "stand-in"
    await back
    # It woke once; what has failed once does not sleep any more.
    assert await who(shifts) == "day" and day.did == ["start", "sleep", "wake", "start", "start"]


async def test_what_is_published_at_rest_is_loaded_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    shifts, day, stand_in = await by_day()
    await shifts.rest("sleep", False)
    assert not shifts.ready
    # The learner's own question starts one: nobody waits for it as for a completion.
    await shifts.load("a@2", FOLDER)
    assert stand_in.adapters == {"a@1", "a@2"} == day.adapters and await who(shifts) == "stand-in"
    await shifts.drop("a@1")
    assert stand_in.adapters == {"a@2"} == day.adapters
    # The engine refuses it when it is back: serving comes first.
    monkeypatch.setattr(coming_back, "FIRST_DELAY", 0.01)
    day.failing = [Refused("wrong shapes")]
    await shifts.back()
    assert await who(shifts) == "day" and shifts.loaded() == frozenset()


# Runs.


@pytest.fixture
def learner() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def runs(home: Home, store: Store) -> Runs:
    return Runs(home, store)


def hosted(home: Home, store: Store, shifts: Shifts) -> Host:
    settings = Settings()
    host = Host(home, settings, Adapters(home, settings, store))
    host._engine = shifts
    host.model = Model.__new__(Model)  # type: ignore[assignment]
    return host


async def until(condition: object) -> None:
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", ["crash", "end"])
async def test_however_the_learner_ends_serving_is_back(
    home: Home, store: Store, runs: Runs, learner: "subprocess.Popen[bytes]", how: str
) -> None:
    shifts, day, _ = await by_day()
    resting = Resting(runs, hosted(home, store, shifts))
    run = await runs.start(RunRequest(project="a", pid=learner.pid, trigger="nightly"), "base")
    assert resting.info is None
    await resting.make_room(run.id)
    assert resting.info is not None and resting.info.mode == "sleep" and resting.info.stand_in
    # It may ask again: after a lost answer, say.
    await resting.make_room(run.id)
    if how == "end":
        await runs.update(run.id, RunUpdate(state="refused"))
        await asyncio.sleep(1.5)
        # Its process still has its memory.
        assert day.did == ["start", "sleep"]
    learner.kill()
    learner.wait()
    await until(lambda: resting.info is None)
    assert day.did == ["start", "sleep", "wake"] and await who(shifts) == "day"
    assert (await runs.get(run.id)).state == ("interrupted" if how == "crash" else "refused")
    with pytest.raises(Conflict):
        await resting.make_room(run.id)


async def test_whoever_keeps_asking_at_rest_is_waiting_and_by_day_nobody_is(
    home: Home, store: Store, runs: Runs, learner: "subprocess.Popen[bytes]"
) -> None:
    shifts, _, _ = await by_day()
    resting = Resting(runs, hosted(home, store, shifts), quiet=0.2)
    for _ in range(2 * ASKED_TIMES):
        resting.asked()
    assert not resting.wanted.is_set()
    run = await runs.start(RunRequest(project="a", pid=learner.pid, trigger="nightly"), "base")
    await resting.make_room(run.id)
    for _ in range(ASKED_TIMES - 1):
        resting.asked()
    assert not resting.wanted.is_set()
    resting.asked()
    assert resting.wanted.is_set()
    await resting.quiet()
    await resting.stop()


async def test_beside_nobody_rests(home: Home, store: Store, runs: Runs, learner: "subprocess.Popen[bytes]") -> None:
    shifts, day, _ = await by_day("beside")
    resting = Resting(runs, hosted(home, store, shifts))
    run = await runs.start(RunRequest(project="a", pid=learner.pid, trigger="nightly"), "base")
    await resting.make_room(run.id)
    assert resting.info is None and day.did == ["start"]


async def test_the_last_night_tells_how_long_this_one_takes(runs: Runs, learner: "subprocess.Popen[bytes]") -> None:
    for project, state in (("a", "published"), ("b", "refused"), ("a", "failed")):
        run = await runs.start(RunRequest(project=project, pid=learner.pid, trigger="nightly"), "base")
        await runs.update(run.id, RunUpdate(state=state))  # type: ignore[arg-type]
    mine = await runs.start(RunRequest(project="a", pid=learner.pid, trigger="nightly"), "base")
    known = await runs.list()
    whole = next(run for run in known if run.state == "published")
    assert whole.finished_at is not None
    assert usual(known, mine) == (whole.finished_at - whole.started_at).total_seconds()
    assert usual([mine], mine) is None
