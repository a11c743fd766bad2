"""Learning runs: one at a time, names that never come back, runs whose process is gone."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tacit.protocol.adapters import ADAPTER_NAME, RunRequest, RunUpdate
from tacit.protocol.errors import BadRequest, Conflict, NotFound
from tacit.protocol.home import Home
from tacit.server.runs import Runs, adapter_stem, process_start
from tacit.server.store.store import Store, milliseconds

pytestmark = pytest.mark.each_database


@pytest.fixture
def runs(home: Home, store: Store) -> Runs:
    return Runs(home, store)


def request(pid: int | None = None, project: str = "p") -> RunRequest:
    return RunRequest(project=project, pid=pid or os.getpid())


async def end(runs: Runs, run_id: str) -> None:
    await runs.update(run_id, RunUpdate(state="skipped", message="too few"))


async def test_only_one_of_many_gets_the_slot(runs: Runs) -> None:
    answers = await asyncio.gather(*(runs.start(request(), "base") for _ in range(8)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 7 + ["RunInfo"]
    conflict = next(answer for answer in answers if isinstance(answer, Conflict))
    running = await runs.running()
    assert running is not None and running.id in str(conflict) and str(os.getpid()) in str(conflict)


async def test_a_run_reports_progress_ends_and_frees_the_slot(runs: Runs) -> None:
    run = await runs.start(request(), "base")
    now = await runs.update(run.id, RunUpdate(stage="train", done=3, total=9))
    assert (now.state, now.stage, now.done, now.total, now.finished_at) == ("running", "train", 3, 9, None)
    await end(runs, run.id)
    with pytest.raises(Conflict, match="has ended: skipped"):
        await runs.update(run.id, RunUpdate(stage="late"))
    last = await runs.last()
    assert last is not None and last.id == run.id and last.message == "too few" and last.finished_at is not None
    assert (await runs.start(request(), "base")).id != run.id


async def test_the_share_of_a_day_that_was_spent_learning(runs: Runs) -> None:
    """One that ended long ago, and one that goes on: seen from tomorrow it takes all of the day."""
    now = datetime.now(UTC)
    assert await runs.training_share() == 0
    ended = await runs.start(request(), "base")
    await end(runs, ended.id)
    assert await runs.training_share(now + timedelta(hours=25)) == 0
    await runs.start(request(), "base")
    assert await runs.training_share(now + timedelta(hours=25)) == pytest.approx(1)
    assert await runs.training_share(now + timedelta(hours=6)) == pytest.approx(0.25, abs=0.01)


async def test_a_run_that_died_has_ended_when_it_was_heard_of_last(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine was off until the next morning: that was no learning."""
    now = datetime.now(UTC)
    clock = [now]
    monkeypatch.setattr("tacit.server.runs.milliseconds", lambda at=None: milliseconds(at or clock[0]))
    for heard in (3, 0):
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            began = clock[0]
            run = await runs.start(request(child.pid), "base")
            if heard:
                clock[0] += timedelta(hours=heard)
                await runs.update(run.id, RunUpdate(stage="train", done=3, total=9))
            child.kill()
        clock[0] += timedelta(hours=9)
        died = (await runs.list())[0]
        assert died.state == "interrupted" and died.finished_at is not None
        assert abs(died.finished_at - began - timedelta(hours=heard)) < timedelta(seconds=1)
    assert await runs.training_share(clock[0]) == pytest.approx(3 / 24, abs=0.001)


async def test_a_run_whose_process_is_gone_is_interrupted(runs: Runs) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run = await runs.start(request(child.pid), "base")
        assert (await runs.running()) is not None
        child.kill()
        # Not waited for: a zombie has ended too.
        while process_start(child.pid):
            await asyncio.sleep(0.001)
        assert await runs.running() is None
    (listed,) = await runs.list()
    assert (listed.id, listed.state) == (run.id, "interrupted")
    assert listed.finished_at is not None
    await runs.start(request(), "base")


async def test_another_process_with_the_same_pid_is_not_the_learner(runs: Runs, store: Store) -> None:
    from sqlalchemy import text

    run = await runs.start(request(), "base")
    await store.write(lambda s: s.execute(text("UPDATE run SET pid_started = 'long ago'")))
    assert await runs.running() is None
    assert (await runs.get(run.id)).state == "interrupted"


async def test_a_pid_that_does_not_exist_gets_no_slot(runs: Runs) -> None:
    with pytest.raises(BadRequest, match="no process"):
        await runs.start(request(2**22 + 1), "base")


async def test_unknown_runs_are_not_found(runs: Runs) -> None:
    with pytest.raises(NotFound):
        await runs.update("nope", RunUpdate())


async def test_names_are_never_given_twice(runs: Runs, home: Home) -> None:
    names = []
    for _ in range(3):
        run = await runs.start(request(project="abcdef0123456789"), "base")
        names.append(run.adapter)
        await end(runs, run.id)
    assert names == ["abcdef012345-c@000001", "abcdef012345-c@000002", "abcdef012345-c@000003"]
    # A database that was restored from an old backup knows less than the disk.
    (home.adapters / "abcdef012345-c@000041").mkdir(parents=True)
    assert (await runs.start(request(project="abcdef0123456789"), "base")).adapter == "abcdef012345-c@000042"


@pytest.mark.parametrize("project", ["dir-0123456789ab", "ÄÖÜ", "", "../../etc", "A" * 64, "-x-"])
def test_every_project_has_a_name_that_is_allowed(project: str) -> None:
    assert ADAPTER_NAME.fullmatch(f"{adapter_stem(project, 'completion')}@000001")
    assert adapter_stem(project, "completion") != adapter_stem(project, "debug")
