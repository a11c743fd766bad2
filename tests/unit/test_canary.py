"""Canaries: who gets them, what ends them, what a restart finds; and what of the feedback counts."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from published_adapter import PROJECT
from test_adapters import BASE, FakeEngine, write

from tacit.learner.canary import PAUSE, stretches
from tacit.learner.gate import Check, tried_on
from tacit.protocol.adapters import CanaryJudgement
from tacit.protocol.errors import Conflict, EngineUnavailable, NotFound, Refused, StorageFull
from tacit.protocol.home import Home
from tacit.server import canary
from tacit.server.adapters import Adapters
from tacit.server.canary import MOST_FAILURES, chosen
from tacit.server.settings import Settings
from tacit.server.store.store import Store

pytestmark = pytest.mark.each_database

SESSIONS = [f"session-{number}" for number in range(400)]
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def attached(home: Home, store: Store, engine: FakeEngine | None = None) -> Adapters:
    adapters = Adapters(home, Settings(canary_share=0.25, shadow_places=0), store)
    await adapters.attach(engine or FakeEngine(), BASE)
    return adapters


async def tried(home: Home, store: Store, engine: FakeEngine | None = None) -> tuple[Adapters, str, str]:
    """(adapters, what serves, the canary)"""
    adapters = await attached(home, store, engine)
    live, new = write(home, 1), write(home, 2)
    await adapters.promote(live)
    await adapters.try_out(new)
    return adapters, live, new


def routes(adapters: Adapters) -> dict[str, str]:
    found = {}
    for session in SESSIONS:
        with adapters.using(PROJECT, "completion", session) as policy:
            found[session] = policy
    return found


def judgement(adapter: str, verdict: str) -> CanaryJudgement:
    return CanaryJudgement(
        project=PROJECT, task="completion", adapter=adapter, verdict=verdict, message="Because.", canary_stretches=7,
        live_stretches=60, low=-0.2, high=-0.1,
    )  # fmt: skip


async def states(adapters: Adapters) -> dict[str, str]:
    return {info.name: info.state for info in await adapters.infos()}


def test_a_session_stays_where_it_is_and_each_canary_meets_others() -> None:
    first = {session for session in SESSIONS if chosen(session, "a@000001", 0.1)}
    again = {session for session in SESSIONS if chosen(session, "a@000001", 0.1)}
    other = {session for session in SESSIONS if chosen(session, "a@000002", 0.1)}
    assert first == again and first != other
    assert 20 <= len(first) <= 60 and 20 <= len(other) <= 60
    assert first <= {session for session in SESSIONS if chosen(session, "a@000001", 0.3)}
    assert not any(chosen(session, "a@000001", 0.0) for session in SESSIONS)


async def test_a_share_of_the_sessions_gets_the_canary_and_a_restart_changes_none(home: Home, store: Store) -> None:
    adapters, live, new = await tried(home, store)
    found = routes(adapters)
    assert 60 <= sum(policy == new for policy in found.values()) <= 140
    assert {*found.values()} == {live, new}
    assert adapters.policy(PROJECT, "completion") == live  # what a night trains from
    assert adapters.routed("another", "completion", SESSIONS[0]) == "base"
    assert routes(await attached(home, store)) == found
    assert await states(adapters) == {live: "live", new: "canary"}


async def test_clearly_worse_is_rolled_back(home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters, live, new = await tried(home, store, engine)
    noted = await adapters.judge(judgement(new, "undecided"))
    assert (noted.state, noted.canary_stretches) == ("running", 7)
    assert (await adapters.judge(judgement(new, "rollback"))).state == "rolled_back"
    assert {*routes(adapters).values()} == {live} == {*routes(await attached(home, store)).values()}
    assert await states(adapters) == {live: "live", new: "retired"}


async def test_clearly_no_worse_serves_everyone(home: Home, store: Store) -> None:
    adapters, live, new = await tried(home, store)
    ended = await adapters.judge(judgement(new, "promote"))
    assert (ended.state, ended.reason) == ("promoted", "Because.")
    assert {*routes(adapters).values()} == {new} == {*routes(await attached(home, store)).values()}
    assert await adapters.rollback(PROJECT, "completion") == live


async def test_a_judgement_of_one_that_is_gone_does_nothing(home: Home, store: Store) -> None:
    adapters, live, new = await tried(home, store)
    newer = write(home, 3)
    await adapters.try_out(newer)
    for verdict in ("promote", "rollback", "undecided"):
        with pytest.raises(Conflict, match="not being tried"):
            await adapters.judge(judgement(new, verdict))
    assert {*routes(adapters).values()} == {live, newer}
    assert [found.state for found in await adapters.canaries()] == ["running", "replaced"]


@pytest.mark.parametrize(("by_hand", "state"), [("promote", "promoted"), ("rollback", "withdrawn"), ("other", "replaced")])
async def test_a_person_ends_it(by_hand: str, state: str, home: Home, store: Store) -> None:
    adapters, live, new = await tried(home, store)
    other = write(home, 3)
    if by_hand == "rollback":
        assert await adapters.rollback(PROJECT, "completion") == live
    else:
        await adapters.promote(new if by_hand == "promote" else other)
    found = (await adapters.canaries())[0]
    assert found.state == state and found.ended_at is not None
    assert {*routes(adapters).values()} == {{"promote": new, "rollback": live, "other": other}[by_hand]}


async def test_an_engine_that_fails_on_it_ends_it(home: Home, store: Store) -> None:
    adapters, live, new = await tried(home, store)
    died = EngineUnavailable("It died.")
    for policy in [live] * 9 + [new] * (MOST_FAILURES - 1):
        await adapters.answered(policy, died)
    await adapters.answered(new, None)
    for _ in range(MOST_FAILURES - 1):
        await adapters.answered(new, died)
    assert new in routes(adapters).values()
    await adapters.answered(new, died)
    found = (await adapters.canaries())[0]
    assert found.state == "rolled_back" and "It died." in found.reason
    assert {*routes(adapters).values()} == {live}


async def test_an_engine_that_has_lost_it_ends_it_at_once(home: Home, store: Store) -> None:
    adapters, live, new = await tried(home, store)
    await adapters.answered(new, NotFound("Not loaded."))
    assert {*routes(adapters).values()} == {live}


async def test_one_that_cannot_be_loaded_at_start_is_rolled_back(home: Home, store: Store) -> None:
    _, live, new = await tried(home, store)
    engine = FakeEngine()
    engine.refuses = {new}
    adapters = await attached(home, store, engine)
    assert {*routes(adapters).values()} == {live}
    found = (await adapters.canaries())[0]
    assert found.state == "rolled_back" and "could not be loaded" in found.reason


async def test_a_failure_that_is_not_the_adapters_ends_none(home: Home, store: Store) -> None:
    _, live, new = await tried(home, store)

    class Failing(FakeEngine):
        async def load(self, name: str, folder: Path) -> None:
            if name == new:
                raise EngineUnavailable("It died.")
            await super().load(name, folder)

    adapters = await attached(home, store, Failing())
    assert {*routes(adapters).values()} == {live}
    assert (await adapters.canaries())[0].state == "running"
    await adapters.attach(FakeEngine(), BASE)
    assert {*routes(adapters).values()} == {live, new}


@pytest.mark.parametrize("fresh", [True, False])
async def test_without_an_engine_it_is_the_canary_that_is_withdrawn(fresh: bool, home: Home, store: Store) -> None:
    adapters, live, _ = await tried(home, store)
    if fresh:
        adapters = Adapters(home, Settings(), store)
    else:
        await adapters.detach()
    assert await adapters.rollback(PROJECT, "completion") == live
    assert (await adapters.canaries())[0].state == "withdrawn"
    await adapters.attach(FakeEngine(), BASE)
    assert {*routes(adapters).values()} == {live}


async def test_one_that_is_withdrawn_while_it_is_loaded_does_not_come_back(home: Home, store: Store) -> None:
    _, live, new = await tried(home, store)
    adapters = Adapters(home, Settings(), store)

    class Withdrawing(FakeEngine):
        async def load(self, name: str, folder: Path) -> None:
            await super().load(name, folder)
            if name == new:
                await adapters.rollback(PROJECT, "completion")

    await adapters.attach(Withdrawing(), BASE)
    assert {*routes(adapters).values()} == {live}


async def test_a_rollback_while_it_is_brought_in_changes_what_it_is_compared_with(home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    first, second, new = (write(home, number) for number in (1, 2, 3))
    await adapters.promote(first)
    await adapters.promote(second)
    engine.loading.clear()
    engine.may_load.clear()
    trying = asyncio.create_task(adapters.try_out(new))
    await engine.loading.wait()
    assert await adapters.rollback(PROJECT, "completion") == first
    engine.may_load.set()
    assert (await trying).live == first
    assert {*routes(adapters).values()} == {first, new}


async def test_a_rollback_to_what_is_brought_in_keeps_it_loaded(home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    first, second = write(home, 1), write(home, 2)
    await adapters.promote(first)
    await adapters.promote(second)
    await engine.drop(first)
    engine.loading.clear()
    engine.may_load.clear()
    trying = asyncio.create_task(adapters.try_out(first))
    await engine.loading.wait()
    going_back = asyncio.create_task(adapters.rollback(PROJECT, "completion"))
    async with asyncio.timeout(60):
        while not adapters._moving.locked():
            await asyncio.sleep(0)
    engine.may_load.set()
    assert await going_back == first
    with pytest.raises(Conflict, match="serves"):
        await trying
    assert first in engine.loaded() and {*routes(adapters).values()} == {first}


async def test_a_spoiled_one_is_never_tried(home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    name = write(home, 1)
    (home.adapters / name / "adapter_model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(Refused):
        await adapters.try_out(name)
    assert await adapters.canaries() == [] and not engine.loaded()


async def test_a_full_disk_starts_none(home: Home, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    name = write(home, 1)

    def full(*_: object) -> None:
        raise StorageFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(canary, "keep", full)
        with pytest.raises(StorageFull):
            await adapters.try_out(name)
    assert {*routes(adapters).values()} == {"base"} and not engine.loaded()


async def test_what_serves_is_not_tried(home: Home, store: Store) -> None:
    adapters = await attached(home, store)
    name = write(home, 1)
    await adapters.promote(name)
    with pytest.raises(Conflict, match="serves"):
        await adapters.try_out(name)


def test_only_what_the_log_cannot_tell_is_tried_first() -> None:
    passed, open_ = Check("text", "passed", ""), Check("value", "inconclusive", "")
    assert tried_on([passed, open_], 0.1) == 0.1
    assert tried_on([passed, Check("programs", "not run", "")], 0.1) == 0
    assert tried_on([passed, open_], 0) == 0


def test_a_pause_ends_a_stretch_and_the_last_one_is_awaited() -> None:
    one = [(AT, 1.0), (AT + 20 * MINUTE, 0.0), (AT + 20 * MINUTE + PAUSE, -1.0)]
    other = [(AT + 10 * MINUTE, 0.3)]
    # In the order of their ends; the stretch that is under way may still change.
    assert stretches([one, other], AT + 55 * MINUTE) == [0.3, 0.5]
    assert stretches([one, other], AT + 3 * PAUSE) == [0.3, 0.5, -1.0]
    assert stretches([one[:2], other], AT + 45 * MINUTE) == [0.3]
