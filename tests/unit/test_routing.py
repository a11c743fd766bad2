"""Which adapter answers whom: a project's own, else the shared one, else the base; and what going back means for each."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from recorded import exported, suggested
from test_adapters import BASE, FakeEngine, write

from tacit.protocol.adapters import MANIFEST, SHARED, CanaryInfo, CanaryJudgement
from tacit.protocol.completion import BASE_POLICY
from tacit.protocol.errors import Conflict, Refused
from tacit.protocol.home import Home
from tacit.server.adapters import Adapters
from tacit.server.canary import chosen
from tacit.server.export import project_infos
from tacit.server.ingest import store_events
from tacit.server.routing import Routes
from tacit.server.schedule import together
from tacit.server.settings import Settings
from tacit.server.sharing import share
from tacit.server.store.store import Store

ONE, OTHER = "dir-0000000000000001", "dir-0000000000000002"
SESSIONS = [f"session-{number}" for number in range(400)]
SHARE = 0.25


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    opened = Store.open(home)
    yield opened
    opened.close()


async def attached(home: Home, store: Store, engine: FakeEngine | None = None) -> Adapters:
    adapters = Adapters(home, Settings(canary_share=SHARE, shadow_places=0), store)
    await adapters.attach(engine or FakeEngine(), BASE)
    return adapters


async def own_and_shared(home: Home, store: Store) -> tuple[Adapters, str, str]:
    """(adapters, ONE's own, the shared one)"""
    adapters = await attached(home, store)
    own, shared = write(home, 1, project=ONE), write(home, 2, project=SHARED)
    await adapters.promote(own)
    await adapters.promote(shared)
    return adapters, own, shared


def canary(project: str, adapter: str, live: str) -> CanaryInfo:
    return CanaryInfo(
        project=project, task="completion", adapter=adapter, live=live, share=SHARE, started_at=datetime(2026, 11, 20, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("project", "task", "expected"),
    [
        (ONE, "completion", "own@1"),
        (OTHER, "completion", "shared@1"),
        (OTHER, "debug", "shared@2"),
        (ONE, "debug", "shared@2"),
        ("apart", "completion", BASE_POLICY),
        ("apart", "debug", "own@2"),
        (SHARED, "completion", "shared@1"),
        (None, "completion", BASE_POLICY),
        ("", "debug", BASE_POLICY),
    ],
)
def test_its_own_then_the_shared_one_then_the_base(project: str | None, task: str, expected: str) -> None:
    serving = {(ONE, "completion"): "own@1", (SHARED, "completion"): "shared@1", (SHARED, "debug"): "shared@2",
               ("apart", "debug"): "own@2"}  # fmt: skip
    routes = Routes(serving, {}, frozenset({"apart"}))
    assert routes.policy(project, task) == routes.routed(project, task, "any") == expected


def test_a_shared_canary_is_met_only_where_the_shared_one_serves() -> None:
    routes = Routes(
        {(ONE, "completion"): "own@1", (SHARED, "completion"): "shared@1"},
        {(SHARED, "completion"): canary(SHARED, "shared@2", "shared@1")},
        frozenset({"apart"}),
    )
    assert {routes.routed(ONE, "completion", session) for session in SESSIONS} == {"own@1"}
    assert {routes.routed("apart", "completion", session) for session in SESSIONS} == {BASE_POLICY}
    found = {session: routes.routed(OTHER, "completion", session) for session in SESSIONS}
    assert found == {s: "shared@2" if chosen(s, "shared@2", SHARE) else "shared@1" for s in SESSIONS}
    assert set(found.values()) == {"shared@1", "shared@2"}
    assert {routes.routed(OTHER, "debug", session) for session in SESSIONS} == {BASE_POLICY}


async def test_a_restart_serves_each_as_before(home: Home, store: Store) -> None:
    adapters, own, shared = await own_and_shared(home, store)
    for found in (adapters, await attached(home, store)):
        assert found.policy(ONE, "completion") == own
        assert found.policy(OTHER, "completion") == found.policy(SHARED, "completion") == shared
        assert found.policy(OTHER, "debug") == found.policy(None, "completion") == BASE_POLICY


async def test_going_back_from_its_own_is_going_back_to_the_shared_one(home: Home, store: Store) -> None:
    adapters, _, shared = await own_and_shared(home, store)
    assert await adapters.rollback(ONE, "completion") == shared == adapters.policy(ONE, "completion")
    with pytest.raises(Conflict, match=f"no adapter of its own: {shared}"):
        await adapters.rollback(ONE, "completion")
    assert await adapters.rollback(SHARED, "completion") == BASE_POLICY
    assert {adapters.policy(project, "completion") for project in (ONE, OTHER, SHARED)} == {BASE_POLICY}
    with pytest.raises(Conflict, match="served by the base"):
        await adapters.rollback(ONE, "completion")


@pytest.mark.parametrize("engine", [True, False])
async def test_going_back_from_the_shared_one_leaves_a_projects_own(engine: bool, home: Home, store: Store) -> None:
    adapters, own, shared = await own_and_shared(home, store)
    newer = write(home, 3, project=SHARED)
    await adapters.promote(newer)
    if not engine:
        await adapters.detach()
    assert await adapters.rollback(SHARED, "completion") == shared
    if not engine:
        await adapters.attach(FakeEngine(), BASE)
    assert (adapters.policy(ONE, "completion"), adapters.policy(OTHER, "completion")) == (own, shared)


async def test_an_own_adapter_that_cannot_be_loaded_leaves_the_shared_one_and_a_notice(home: Home, store: Store) -> None:
    _, own, shared = await own_and_shared(home, store)
    engine = FakeEngine()
    engine.refuses = {own}
    adapters = await attached(home, store, engine)
    assert adapters.policy(ONE, "completion") == shared
    (notice,) = adapters.notices.values()
    assert f"is served by {shared}" in notice


async def test_a_canary_beside_the_shared_one_begins_anew_when_that_moves(home: Home, store: Store, tmp_path: Path) -> None:
    adapters, own, shared = await own_and_shared(home, store)
    tried, beside_own = write(home, 3, project=OTHER), write(home, 4, project=ONE)
    first, kept = await adapters.try_out(tried), await adapters.try_out(beside_own)
    assert (first.live, kept.live) == (shared, own)
    newer = write(home, 5, project=SHARED)
    await adapters.promote(newer)
    after = {found.adapter: found for found in await adapters.canaries()}
    # What was found of it and the one before says nothing about these two.
    assert after[tried].live == newer and after[tried].started_at > first.started_at and after[tried].state == "running"
    assert after[beside_own] == kept
    assert await adapters.rollback(SHARED, "completion") == shared
    assert {found.adapter: found.live for found in await adapters.canaries()} == {tried: shared, beside_own: own}
    assert {found.adapter: found.live for found in adapters.tried_now()} == {tried: shared, beside_own: own}
    # A look that was taken at what it was compared with before decides nothing.
    late = CanaryJudgement(
        project=OTHER, task="completion", adapter=tried, verdict="promote", message="Better.", started_at=first.started_at
    )
    with pytest.raises(Conflict, match="begun anew"):
        await adapters.judge(late)
    assert adapters.policy(OTHER, "completion") == shared
    now = next(found for found in adapters.tried_now() if found.adapter == tried)
    await adapters.judge(late.model_copy(update={"started_at": CanaryInfo.model_validate_json(now.model_dump_json()).started_at}))
    assert adapters.policy(OTHER, "completion") == tried


# Which projects share.


def reseal(home: Home, name: str, projects: tuple[str, ...]) -> None:
    """As if it had been learned from these."""
    path = home.adapters / name / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "projects": projects}))


async def test_a_project_that_is_kept_out_is_not_served_and_takes_back_what_it_gave(home: Home, store: Store) -> None:
    adapters = await attached(home, store)
    clean, mixed, newer = (write(home, number, project=SHARED) for number in (1, 2, 3))
    own, of_other = write(home, 4, project=ONE), write(home, 5, project=OTHER)
    reseal(home, clean, (OTHER,))
    reseal(home, mixed, (ONE, OTHER))
    reseal(home, newer, (ONE, OTHER))
    # Gone on from the shared one: what ONE gave is in it, too.
    reseal(home, of_other, (ONE, OTHER))
    for name in (clean, mixed, own, of_other):
        await adapters.promote(name)
    await adapters.try_out(newer)
    assert set(await share(adapters, home.adapters, ONE, shares=False)) == {newer, mixed, of_other}
    for found in (adapters, await attached(home, store)):
        # Its own stays; all others are served by what has not learned from it.
        assert found.policy(ONE, "completion") == own
        assert found.policy(OTHER, "completion") == clean
        assert found.tried_now() == () and not found.routes().shares(ONE)
    await adapters.rollback(ONE, "completion")
    assert adapters.policy(ONE, "completion") == BASE_POLICY
    assert await share(adapters, home.adapters, ONE, shares=True) == []
    assert adapters.policy(ONE, "completion") == clean


@pytest.mark.parametrize("how", ["promote", "try out"])
@pytest.mark.parametrize("when", ["before", "while it is loaded"])
async def test_a_night_that_had_read_it_before_serves_nobody_afterwards(how: str, when: str, home: Home, store: Store) -> None:
    engine = FakeEngine()
    adapters = await attached(home, store, engine)
    shared, own = write(home, 1, project=SHARED), write(home, 2, project=ONE)
    reseal(home, shared, (ONE, OTHER))
    reseal(home, own, (ONE, OTHER))
    take = adapters.promote if how == "promote" else adapters.try_out
    if when == "before":
        await share(adapters, home.adapters, ONE, shares=False)
        with pytest.raises(Refused, match=ONE):
            await take(shared)
    else:
        engine.may_load.clear()
        taken = asyncio.create_task(take(shared))
        await engine.loading.wait()
        await share(adapters, home.adapters, ONE, shares=False)
        engine.may_load.set()
        with pytest.raises(Refused, match=ONE):
            await taken
    assert shared not in engine.files and adapters.tried_now() == ()
    assert adapters.policy(OTHER, "completion") == BASE_POLICY
    await adapters.promote(own)
    assert adapters.policy(ONE, "completion") == own


async def test_a_restart_finishes_what_keeping_a_project_out_has_begun(home: Home, store: Store) -> None:
    adapters = await attached(home, store)
    shared = write(home, 1, project=SHARED)
    reseal(home, shared, (ONE, OTHER))
    await adapters.promote(shared)
    await adapters.set_apart(ONE, True)
    again = await attached(home, store)
    assert again.policy(OTHER, "completion") == BASE_POLICY
    assert any(ONE in notice for notice in again.notices.values())


async def test_an_old_manifest_is_of_its_own_project(home: Home, store: Store) -> None:
    adapters = await attached(home, store)
    name = write(home, 1, project=OTHER)
    await adapters.promote(name)
    assert await share(adapters, home.adapters, ONE, shares=False) == []
    assert adapters.policy(OTHER, "completion") == name


@pytest.mark.parametrize("settings", [{"share_between_projects": False}, {"listen": "127.0.0.1:8080"}])
async def test_turned_off_or_with_a_team_nobody_is_served_by_a_shared_one(
    settings: dict[str, object], home: Home, store: Store
) -> None:
    adapters = Adapters(home, Settings.model_validate(settings), store)
    await adapters.attach(FakeEngine(), BASE)
    await adapters.promote(write(home, 1, project=SHARED))
    assert adapters.policy(OTHER, "completion") == BASE_POLICY


async def test_what_is_shared_is_what_shares(home: Home, store: Store) -> None:
    await store_events(store, [suggested(project=project) for project in (ONE, OTHER, "third", SHARED)])
    await store_events(store, [suggested(project="of-a-team")], "ann")
    adapters = await attached(home, store)

    async def given() -> set[str]:
        return {record.suggestion.project for record in await exported(store, SHARED)}

    assert await given() == {ONE, OTHER, "third"}
    await share(adapters, home.adapters, OTHER, shares=False)
    assert await given() == {ONE, "third"}
    infos = await store.read(lambda session: project_infos(session, adapters.routes()))
    assert {info.project: info.shares for info in infos}[OTHER] is False


@pytest.mark.parametrize(
    ("projects", "apart", "own", "wanted"),
    [
        ([ONE, OTHER], [], [], True),
        ([ONE, OTHER], [], [ONE], True),
        ([ONE, OTHER], [], [ONE, OTHER], False),
        ([ONE, OTHER], [OTHER], [], False),
        ([ONE, SHARED], [], [], False),
        ([], [], [], False),
    ],
)
def test_it_is_learned_where_several_share_and_one_has_none(
    projects: list[str], apart: list[str], own: list[str], wanted: bool
) -> None:
    served = {(project, "completion"): ["x@000001"] for project in own} | {(OTHER, "debug"): ["y@000001"]}
    assert together(projects, frozenset(apart), served, "completion") is wanted
