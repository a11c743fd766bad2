"""Forgetting: what goes, what stays, what arrives late, which adapters go with it, and what a kill in between leaves to do."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from published_adapter import seal
from recorded import SESSION, START, exported, rejected, suggested
from sqlmodel import Session, select
from test_adapters import BASE, FakeEngine, write
from typer.testing import CliRunner

from tacit.cli import forget as cli_forget
from tacit.cli.commands import build
from tacit.cli.forget import _empty_refused
from tacit.protocol.adapters import RunRequest
from tacit.protocol.errors import BadRequest, Conflict, StorageFull
from tacit.protocol.events import Event, Settled, Suggested, TextSnapshot, new_id
from tacit.protocol.folders import folder_of, identified
from tacit.protocol.forgetting import ForgetRequest, Forgotten
from tacit.protocol.home import Home
from tacit.protocol.remote import checked, outbox_of, remote_of
from tacit.server.adapters import Adapters
from tacit.server.forgetting import finish, forget
from tacit.server.ingest import store_events
from tacit.server.runs import Runs
from tacit.server.settings import Settings
from tacit.server.store.erasing import LEFT_TO_DO
from tacit.server.store.store import Store, count_events, milliseconds
from tacit.server.store.tables import EventRow, RunRow, TextBlobRow


@pytest.fixture
async def adapters(home: Home, store: Store) -> AsyncIterator[Adapters]:
    made = Adapters(home, Settings(), store)
    await made.attach(FakeEngine(), BASE)
    yield made


def settled(of: Suggested, second: int) -> Settled:
    return Settled(
        at=of.at + timedelta(seconds=second), session_id=SESSION, suggestion_id=of.suggestion_id, horizon="2m",
        elapsed_ms=1000 * second, span_text=None, settled_text="what was written",
    )  # fmt: skip


def snapshot(text: str, project: str = "p", second: int = 0) -> TextSnapshot:
    return TextSnapshot(
        at=START + timedelta(seconds=second), session_id=SESSION, project=project, path="a.py", document=new_id(), number=0,
        text=text, sha256=sha256(text.encode()).hexdigest(), reason="opened",
    )  # fmt: skip


def second(number: int) -> datetime:
    return START + timedelta(seconds=number)


@pytest.mark.each_database
async def test_a_project_goes_with_all_that_belongs_to_it_and_the_others_stay(
    home: Home, store: Store, adapters: Adapters
) -> None:
    mine, other = suggested(), suggested(5, project="q")
    await store_events(
        store, [mine, rejected(mine), settled(mine, 9), snapshot("x = 1"), other, rejected(other), snapshot("y", "q")]
    )
    found = await forget(home, store, adapters, ForgetRequest(project="p"))
    assert (found.suggestions, found.events, found.texts) == (1, 4, 1)
    assert await exported(store) == []
    [left] = await exported(store, "q")
    assert left.suggestion == other and [event.kind for event in left.events] == ["rejected"]
    assert len(await store.read(lambda session: session.exec(select(TextBlobRow)).all())) == 1
    assert await store.read(count_events) == 3


@pytest.mark.each_database
async def test_of_a_time_goes_what_was_written_then_wherever_it_is_quoted(home: Home, store: Store, adapters: Adapters) -> None:
    """A suggestion from before whose settled text was read then quotes what was written then: it goes whole."""
    before, quotes, within, after = suggested(0), suggested(1), suggested(50), suggested(200)
    await store_events(store, [before, settled(before, 10), quotes, settled(quotes, 60), within, rejected(within, 120), after])
    await store_events(store, [snapshot("early", second=5), snapshot("then", second=55), snapshot("late", second=300)])
    found = await forget(home, store, adapters, ForgetRequest(project="p", since=second(40), until=second(70)))
    assert (found.suggestions, found.texts) == (2, 1)
    assert [record.suggestion for record in await exported(store)] == [before, after]


@pytest.mark.each_database
@pytest.mark.parametrize("order", ["suggestion first", "feedback first"])
async def test_what_arrives_late_is_not_stored(home: Home, store: Store, adapters: Adapters, order: str) -> None:
    """An outbox that nobody emptied in time, and one whose ack was lost: it is acknowledged, and gone."""
    known, waiting, new = suggested(), suggested(3), suggested(10)
    await store_events(store, [known])
    await store_events(store, [rejected(waiting)])
    await forget(home, store, adapters, ForgetRequest(project="p", until=second(9)))
    late: list[Event] = [known, waiting, snapshot("secret", second=2)]
    feedback: list[Event] = [settled(known, 1), settled(known, 999), settled(waiting, 4)]
    for batch in (late, feedback) if order == "suggestion first" else (feedback, late):
        ack = await store_events(store, batch)
        assert ack.known == len(batch) or batch is feedback
    await store_events(store, [new, rejected(new)])
    assert [record.suggestion for record in await exported(store)] == [new]
    stored = await store.read(lambda session: [row.suggestion_id for row in session.exec(select(EventRow))])
    assert stored == [new.suggestion_id] * 2
    assert not await store.read(lambda session: session.exec(select(TextBlobRow)).all())


async def test_an_outbox_may_wait_for_longer_than_anything_is_kept(home: Home, store: Store, adapters: Adapters) -> None:
    """Its events wait for this server while a team's is connected to; they come as new ones."""
    known, waiting = suggested(), suggested(3)
    await store_events(store, [known])
    await forget(home, store, adapters, ForgetRequest(project="p"))
    await store.forget_older_than(90, milliseconds() + 200 * 86_400_000)
    await store_events(store, [waiting, settled(known, 9), snapshot("secret")])
    assert await store.read(count_events) == 0


@pytest.mark.each_database
async def test_of_one_user_only_what_they_recorded(home: Home, store: Store, adapters: Adapters) -> None:
    annas, berts = suggested(), suggested(1)
    await store_events(store, [annas, rejected(annas)], "anna")
    await store_events(store, [berts, rejected(berts)], "bert")
    found = await forget(home, store, adapters, ForgetRequest(user="anna"))
    assert (found.suggestions, found.events) == (1, 2)
    # What anna sends again stays out; what bert says in the same time does not.
    await store_events(store, [annas], "anna")
    again = suggested(2)
    await store_events(store, [again], "bert")
    assert [record.suggestion for record in await exported(store)] == [berts, again]


def learned(home: Home, number: int, ids: list[str], *, project: str = "p", days_ago: float = 0) -> str:
    """An adapter folder whose lineage names these suggestions."""
    name = write(home, number, project=project)
    folder = home.adapters / name
    (folder / "lineage.jsonl").write_text("".join(json.dumps({"suggestion_id": one}) + "\n" for one in ids))
    seal(folder, name, BASE, project=project, created_at=datetime.now(UTC) - timedelta(days=days_ago))
    return name


async def test_adapters_that_have_learned_from_it_serve_nobody_and_are_gone(home: Home, store: Store, adapters: Adapters) -> None:
    """The version before it serves again; another project's stays."""
    now = datetime.now(UTC)
    old, mine = suggested(), suggested(1)
    mine = mine.model_copy(update={"at": now - timedelta(days=3)})
    await store_events(store, [old, mine])
    clean = learned(home, 1, [old.suggestion_id], days_ago=9)
    tainted = learned(home, 2, [old.suggestion_id, mine.suggestion_id], days_ago=2)
    others = learned(home, 3, ["else"], project="q", days_ago=2)
    tried = learned(home, 4, [mine.suggestion_id], days_ago=1)
    for name in (clean, tainted, others):
        await adapters.promote(name)
    await adapters.try_out(tried)
    found = await forget(home, store, adapters, ForgetRequest(project="p", since=now - timedelta(days=4)))
    assert set(found.removed) == {tainted, tried} == set(found.withdrawn)
    assert (adapters.policy("p", "completion"), adapters.policy("q", "completion")) == (clean, others)
    assert sorted(path.name for path in home.adapters.iterdir()) == [clean, others]
    assert not [info for info in await adapters.infos() if info.name in found.removed]
    with pytest.raises(Exception, match="no adapter"):
        await adapters.promote(tainted)


async def test_a_version_of_that_project_made_since_goes_even_if_its_lineage_does_not_say(
    home: Home, store: Store, adapters: Adapters
) -> None:
    """Its report may quote what was held out. An older version cannot; one that cannot be read is not trusted."""
    mine = suggested().model_copy(update={"at": datetime.now(UTC) - timedelta(days=3)})
    await store_events(store, [mine])
    older, newer = learned(home, 1, ["x"], days_ago=4), learned(home, 2, ["x"], days_ago=2)
    broken = learned(home, 3, ["x"], days_ago=9)
    (home.adapters / broken / "lineage.jsonl").write_text("no json")
    found = await forget(home, store, adapters, ForgetRequest(project="p", since=mine.at - timedelta(hours=1)))
    assert set(found.removed) == {newer, broken}
    found = await forget(home, store, adapters, ForgetRequest(project="p"))
    assert found.removed == (older,), "without a beginning all that the project has taught goes"


async def test_nothing_that_was_erased_is_left_in_a_file(home: Home, store: Store, adapters: Adapters) -> None:
    """Backups, damaged databases, working folders, leftovers, converted adapters; what belongs to others stays."""
    canary, kept = "CANARY-one", "CANARY-two"
    await store_events(store, [suggested(prefix=f"{canary} = "), suggested(prefix=f"{kept} = ", project="q")])
    await store.back_up()
    name = learned(home, 1, [canary])
    runs = Runs(home, store)
    places = [
        "quarantine/1/tacit.db",
        f"runs/unknown/{name}.json",
        f"adapters/.publishing-x/{name}",
        f"cache/lora/{name}-ab.gguf",
        "cache/lora/candidate-x-ab.gguf",
        "logs/learner.log",
    ]
    for place in places:
        (home.root / place).parent.mkdir(parents=True, exist_ok=True)
        (home.root / place).write_text(canary)
    run = await runs.start(RunRequest(project="q", pid=os.getpid()), "base")
    with pytest.raises(Conflict, match=run.id):
        await forget(home, store, adapters, ForgetRequest(project="p"))
    assert holding(home.root, canary) >= {"tacit.db-wal", *places}, "a refusal erases nothing"
    await store.write(lambda session: _end(session, run.id))
    (home.runs / run.id).mkdir(parents=True)
    (home.runs / run.id / "report.md").write_text(kept)

    found = await forget(home, store, adapters, ForgetRequest(project="p"))
    assert found.quarantined == 1 and found.backups
    assert holding(home.root, canary) == set()
    files = holding(home.root, kept)
    assert f"runs/{run.id}/report.md" in files and "tacit.db" in files
    assert len([file for file in files if file.startswith("backups/")]) == 1, "there is a backup of what is left"


def _end(session: Session, run_id: str) -> None:
    row = session.exec(select(RunRow).where(RunRow.id == run_id)).one()
    row.state = "skipped"


def holding(root: Path, words: str) -> set[str]:
    """Files below the folder in which these bytes stand."""
    return {
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and words.encode() in path.read_bytes()
    }


async def test_a_server_killed_in_between_goes_on_at_its_next_start(
    home: Home, store: Store, adapters: Adapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = suggested(prefix="CANARY-one = ")
    await store_events(store, [mine])
    await store.back_up()
    name = learned(home, 1, [mine.suggestion_id])
    await adapters.promote(name)

    async def killed(self: Adapters, name: str) -> None:
        raise OSError("by intention")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="by intention"):
        patched.setattr(Adapters, "remove", killed)
        await forget(home, store, adapters, ForgetRequest(project="p"))
    assert await store.get(LEFT_TO_DO) and (home.adapters / name).exists()
    assert holding(home.root, "CANARY-one")
    # A run would go on from what is to go, in a folder that goes with it.
    with pytest.raises(Conflict, match="forgotten"):
        await Runs(home, store).start(RunRequest(project="p", pid=os.getpid()), name)
    # The next server: nothing is loaded yet.
    fresh = Adapters(home, Settings(), store)
    await finish(home, store, fresh)
    assert not (home.adapters / name).exists() and holding(home.root, "CANARY-one") == set()
    assert not await store.get(LEFT_TO_DO)
    await Runs(home, store).start(RunRequest(project="p", pid=os.getpid()), "base")
    await fresh.attach(FakeEngine(), BASE)
    assert fresh.policy("p", "completion") == "base" and not fresh.notices


async def test_a_full_disk_keeps_no_server_from_starting(
    home: Home, store: Store, adapters: Adapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write a database anew takes as much room again: what is left to do is said, and done when there is room."""
    mine = suggested()
    await store_events(store, [mine])
    name = learned(home, 1, [mine.suggestion_id])
    await adapters.promote(name)

    async def full(self: Store) -> None:
        raise StorageFull("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "erase_traces", full)
        with pytest.raises(StorageFull):
            await forget(home, store, adapters, ForgetRequest(project="p"))
        await finish(home, store, Adapters(home, Settings(), store))
    assert await store.get(LEFT_TO_DO)
    assert not (home.adapters / name).exists()
    await finish(home, store, Adapters(home, Settings(), store))
    assert not await store.get(LEFT_TO_DO)


async def test_a_request_that_uses_such_an_adapter_ends_before_its_files_go(home: Home, store: Store, adapters: Adapters) -> None:
    mine = suggested()
    await store_events(store, [mine])
    name = learned(home, 1, [mine.suggestion_id])
    await adapters.promote(name)
    with adapters.using("p", "completion"):
        forgetting = asyncio.create_task(forget(home, store, adapters, ForgetRequest(project="p")))
        for _ in range(500):
            if adapters.policy("p", "completion") == "base":
                break
            await asyncio.sleep(0.01)
        assert adapters.policy("p", "completion") == "base", "nobody else is served by it"
        assert (home.adapters / name).exists() and not forgetting.done()
    assert (await forgetting).removed == (name,)


async def test_a_clock_that_is_ahead_hides_nothing(home: Home, store: Store, adapters: Adapters) -> None:
    ahead = suggested().model_copy(update={"at": datetime.now(UTC) + timedelta(days=2)})
    await store_events(store, [ahead])
    assert (await forget(home, store, adapters, ForgetRequest(project="p"))).suggestions == 1
    # What is recorded from now on is recorded.
    await store_events(store, [new := ahead.model_copy(update={"id": new_id(), "suggestion_id": new_id()})])
    assert [record.suggestion for record in await exported(store)] == [new]


async def test_a_time_that_ends_before_it_begins_is_refused(home: Home, store: Store, adapters: Adapters) -> None:
    with pytest.raises(BadRequest, match="empty"):
        await forget(home, store, adapters, ForgetRequest(since=second(9), until=second(3)))


async def test_everything_leaves_not_even_the_show_policy(home: Home, store: Store, adapters: Adapters) -> None:
    home.show_policy.write_text("{}")
    await store_events(store, [suggested(), snapshot("x", "q")])
    await forget(home, store, adapters, ForgetRequest(project="p"))
    assert home.show_policy.exists()
    # Of a time: something may be left, and stays.
    await forget(home, store, adapters, ForgetRequest(until=second(-9)))
    assert home.show_policy.exists()
    await forget(home, store, adapters, ForgetRequest())
    assert not home.show_policy.exists() and await store.read(count_events) == 0


@pytest.mark.parametrize("asked", [ForgetRequest(user="nobody"), ForgetRequest(since=second(500))])
async def test_where_nothing_was_recorded_nothing_goes(
    home: Home, store: Store, adapters: Adapters, asked: ForgetRequest
) -> None:
    await store_events(store, [suggested()])
    run = await Runs(home, store).start(RunRequest(project="p", pid=os.getpid()), "base")
    report = home.runs / run.id / "report.md"
    report.parent.mkdir(parents=True)
    report.write_text("What a night learned.")

    def end(session: Session) -> None:
        _end(session, run.id)
        session.exec(select(RunRow)).one().message = "It said so."

    await store.write(end)
    assert (await forget(home, store, adapters, asked)).suggestions == 0
    assert report.exists()
    assert await store.read(lambda session: session.exec(select(RunRow.message)).one()) == "It said so."


def test_it_asks_first_and_a_no_erases_nothing(home: Home) -> None:
    """No server runs: a yes comes as far as to ask one."""
    refused = home.outbox / "s.refused"
    refused.parent.mkdir()
    refused.write_text("{}\n")
    app = build(["forget"])
    no = CliRunner().invoke(app, ["forget", "--project", "abc"], input="n\n")
    assert no.exit_code == 1 and "everything recorded of project abc" in no.output and "cannot be undone" in no.output
    nobody = CliRunner().invoke(app, ["forget", "--project", "abc"], input="")
    for asked in (no, nobody):
        assert asked.exit_code == 1 and "Nothing was erased." in asked.output and "--yes" in asked.output
    yes = CliRunner().invoke(app, ["forget", "--project", "abc"], input="y\n")
    assert type(yes.exception).__name__ == "ServerUnavailable"
    assert str(yes.exception).startswith("No Tacit server runs. ")
    assert refused.exists() and remote_of(home) is None
    for wrong in (["--all", "--project", "abc"], ["--json"], ["--since", "yesterday or so"]):
        assert isinstance(CliRunner().invoke(app, ["forget", *wrong]).exception, BadRequest), wrong


def test_what_no_server_took_goes_from_every_outbox(home: Home) -> None:
    """Of this machine's own server and of a team's; events that wait stay: the server that they are for looks at them."""
    for folder in (home.outbox, outbox_of(home, checked("https://tacit.example.com", "x"))):
        folder.mkdir(parents=True)
        for name in ("a.refused", "b.refused", "waits.jsonl"):
            (folder / name).touch()
    assert _empty_refused(home.outbox) == 4
    assert {path.name for path in home.outbox.rglob("*.*")} == {"waits.jsonl"}


class Asked:
    """Stands in for the server: what it was asked to forget."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[ForgetRequest] = []
        monkeypatch.setattr(cli_forget, "_forget", self._forget)

    async def _forget(self, _: Path, asked: ForgetRequest) -> Forgotten:
        self.requests.append(asked)
        return Forgotten(suggestions=0, events=0, texts=0, withdrawn=(), removed=(), quarantined=0, backups=True)


def test_a_users_are_those_of_all_projects(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder of the operator's machine is one of theirs."""
    asked = Asked(monkeypatch)
    for words in (["--user", "anna"], ["--user", "anna", "--project", "abc.anna"]):
        assert CliRunner().invoke(build(["forget"]), ["forget", *words, "--yes"]).exit_code == 0
    assert [(one.user, one.project) for one in asked.requests] == [("anna", ""), ("anna", "abc.anna")]


def test_what_a_team_refused_goes_and_what_waits_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Asked(monkeypatch)
    team = home.outbox / "team-0123456789abcdef"
    team.mkdir(parents=True)
    (team / "s.refused").write_text("{}\n")
    (home.outbox / "s-000001.jsonl").write_text("{}\n{}\n")
    (team / "s-000001.jsonl").write_text("{}\n")
    told = CliRunner().invoke(build(["forget"]), ["forget", "--all", "--yes"])
    assert told.exit_code == 0 and "3 events still wait" in told.output
    assert not (team / "s.refused").exists() and (team / "s-000001.jsonl").exists()


def test_a_project_is_shown_with_its_folder_and_that_goes_with_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch)
    shop, other = (identified(home, tmp_path / name, recorded=True) for name in ("shop\x1b[2J", "other"))
    silent = identified(home, tmp_path / "silent", recorded=False)
    assert folder_of(home, silent) == "" and folder_of(home, other) == str(tmp_path / "other")

    def said(*words: str, answer: str = "y\n") -> str:
        return CliRunner().invoke(build(["forget"]), ["forget", *words], input=answer).output

    where = f"project {shop} (in {tmp_path}/shop\\u{{1b}}[2J)"
    assert f"everything recorded of {where}, and" in said("--project", shop, answer="n\n")
    assert "Erased of " + where in said("--project", shop, "--since", "2026-01-01")
    # What is left of it is still somebody's.
    assert folder_of(home, shop) and "Erased of " + where in said("--project", shop, "--yes")
    assert folder_of(home, shop) == "" and folder_of(home, other) != ""
    assert f"project {silent}, and" in said("--project", silent)
    assert "Erased of all projects: " in said("--all")
    assert not home.projects.exists() and len(asked.requests) == 4


def test_a_folder_list_that_cannot_be_read_or_written_stops_nothing(home: Home, tmp_path: Path) -> None:
    home.projects.write_text("[1]")
    project = identified(home, tmp_path, recorded=True)
    assert json.loads(home.projects.read_text()) == {project: str(tmp_path)}
    home.projects.unlink()
    home.projects.mkdir()
    assert identified(home, tmp_path, recorded=True) == project and folder_of(home, project) == ""
