"""The store: durability settings, group commits, migrations, full disks, damaged files, retention."""

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from recorded import exported, rejected, suggested
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel, select

from tacit.protocol.errors import NotFound, Refused, StorageFull
from tacit.protocol.home import Home
from tacit.server.export import record_of
from tacit.server.ingest import prepare
from tacit.server.store.checksums import note_schema
from tacit.server.store.migrations import MIGRATIONS, migrate
from tacit.server.store.opening import KEPT_BACKUPS, backups, writing_engine
from tacit.server.store.store import Store, count_events, set_value, value
from tacit.server.store.tables import EventRow


def _event(id_: str, *, kind: str = "shown", received_ms: int = 0, suggestion: str | None = None, body: str = "{}") -> EventRow:
    return EventRow(id=id_, kind=kind, session_id="s", suggestion_id=suggestion, at_ms=0, received_ms=received_ms, body=body)


def _pragma(session: Session, name: str) -> object:
    return session.execute(text(f"PRAGMA {name}")).scalar_one()


async def test_the_writer_syncs_every_commit_and_checks_foreign_keys(store: Store) -> None:
    found = await store.write(lambda s: [_pragma(s, n) for n in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")])
    assert found == ["wal", 2, 1, 10_000]


@pytest.mark.each_database
async def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"read-?only"):
        await store.read(lambda session: session.execute(text("DELETE FROM event")))


async def test_a_write_transaction_holds_the_lock_from_its_beginning(store: Store, home: Home) -> None:
    def while_writing(session: Session) -> str:
        # Nothing was written yet; a deferred transaction would let the other one in here and fail itself later.
        session.execute(text("SELECT 1"))
        with closing(sqlite3.connect(home.database, timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                return str(error)
        return "the lock was free"

    assert await store.write(while_writing) == "database is locked"


@pytest.mark.each_database
async def test_a_job_that_fails_takes_nobody_of_its_commit_along(store: Store) -> None:
    def fail(session: Session) -> None:
        session.add(_event("lost"))
        session.flush()
        raise KeyError("by intention")

    def twice(session: Session) -> None:
        session.add(_event("first"))
        session.flush()

    # Submitted without waiting, they share commits.
    results = await asyncio.gather(
        store.write(lambda s: s.add(_event("first"))),
        store.write(fail),
        store.write(twice),
        store.write(lambda s: s.add(_event("second"))),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == ["NoneType", "KeyError", "IntegrityError", "NoneType"]
    # One that fails only when its savepoint ends is not acknowledged either, and the writer goes on.
    async with asyncio.timeout(60):
        with pytest.raises(IntegrityError):
            await store.write(lambda s: s.add(_event("first")))
        await store.write(lambda s: s.add(_event("third")))
    assert await store.read(lambda s: sorted(s.exec(select(EventRow.id)))) == ["first", "second", "third"]


@pytest.mark.each_database
async def test_jobs_that_wait_share_a_commit(store: Store) -> None:
    commits = 0

    def count(connection: Connection) -> None:
        nonlocal commits
        commits += 1

    from sqlalchemy import event

    event.listen(store._writing, "commit", count)
    await asyncio.gather(*(store.write(lambda s, n=n: s.add(_event(str(n)))) for n in range(200)))  # type: ignore[misc]
    assert await store.read(count_events) == 200
    assert commits < 100


async def test_a_loop_is_woken_once_for_all_that_a_commit_has_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, woken = asyncio.get_running_loop(), 0
    wake = loop.call_soon_threadsafe

    def count(*asked: Any, **named: Any) -> Any:
        nonlocal woken
        woken += 1
        return wake(*asked, **named)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    await asyncio.gather(*(store.write(lambda s, n=n: s.add(_event(str(n)))) for n in range(200)))  # type: ignore[misc]
    assert 0 < woken < 100


@pytest.mark.each_database
async def test_what_raises_is_asked_once_and_leaves_nothing(store: Store) -> None:
    asked = 0

    def fail(session: Session) -> None:
        nonlocal asked
        asked += 1
        session.add(_event("half"))
        raise KeyError("by intention")

    with pytest.raises(KeyError):
        await store.write(fail)
    assert asked == 1 and await store.read(count_events) == 0
    await store.write(lambda session: session.add(_event("whole")))
    assert await store.read(count_events) == 1


@pytest.mark.each_database
async def test_jobs_of_the_same_work_are_one_call_and_none_fails_for_another(store: Store) -> None:
    calls: list[list[str]] = []

    def add(session: Session, ids: list[str]) -> list[str]:
        calls.append(ids)
        for id_ in ids:
            session.add(_event(id_))
            session.flush()
        return [id_.upper() for id_ in ids]

    # While the first commits, the others come to wait.
    ids = ["a", "b", "b", *(f"c{number}" for number in range(60))]
    results = await asyncio.gather(*(store.write_shared(add, id_) for id_ in ids), return_exceptions=True)
    assert [results[0], results[1], *results[3:]] == [id_.upper() for id_ in ("a", "b", *ids[3:])]
    assert isinstance(results[2], IntegrityError)
    assert await store.read(count_events) == len(ids) - 1
    # Either many had one call, or that one broke a rule and was asked for again, one by one.
    assert max(map(len, calls)) > 1


@pytest.mark.each_database
async def test_whatever_one_of_a_call_raises_it_takes_nobody_along(store: Store) -> None:
    def add(session: Session, ids: list[str]) -> list[str]:
        for id_ in ids:
            session.add(_event(id_))
            session.flush()
            if id_ == "wrong":
                raise KeyError("by intention")
        return ids

    ids = ["wrong", *(f"c{number}" for number in range(60)), "wrong"]
    results = await asyncio.gather(*(store.write_shared(add, id_) for id_ in ids), return_exceptions=True)
    assert results[1:-1] == ids[1:-1] and isinstance(results[0], KeyError) and isinstance(results[-1], KeyError)
    assert await store.read(count_events) == 60


async def test_the_results_of_one_call_are_in_the_order_of_its_items(store: Store) -> None:
    async def ask(number: int) -> int:
        return await store.write_shared(_doubled, number)

    assert await asyncio.gather(*map(ask, range(500))) == [2 * number for number in range(500)]


def _doubled(_: Session, numbers: list[int]) -> list[int]:
    return [2 * number for number in numbers]


def test_the_migrated_schema_is_the_one_of_the_tables(store: Store, home: Home) -> None:
    with closing(sqlite3.connect(home.database)) as connection:
        for table in SQLModel.metadata.sorted_tables:
            columns = {row[1]: (bool(row[3]) or bool(row[5])) for row in connection.execute(f"PRAGMA table_info({table.name})")}
            assert columns == {column.name: not column.nullable for column in table.columns}, table.name
            keys = {row[3]: f"{row[2]}.{row[4]}" for row in connection.execute(f"PRAGMA foreign_key_list({table.name})")}
            declared = {key.parent.name: key.target_fullname for key in table.foreign_keys}
            assert declared.items() <= keys.items()


async def test_what_an_older_tacit_recorded_is_read_after_an_upgrade(home: Home) -> None:
    """Before there were owners: rows without one are the operator's."""
    mine = suggested()
    rows = prepare([mine, rejected(mine)])
    engine = writing_engine(home.database)
    migrate(engine, MIGRATIONS[:2])
    with engine.begin() as connection:
        for table, found in (("event", rows.events), ("suggestion", rows.suggestions)):
            names = [name for name in found[0] if name != "owner"]
            values = ", ".join(f":{name}" for name in names)
            connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"), found)
    engine.dispose()
    store = Store.open(home)
    try:
        [record] = await exported(store)
        assert record.suggestion == mine and [event.kind for event in record.events] == ["rejected"]
        with pytest.raises(NotFound):
            await store.read(lambda session: record_of(session, mine.suggestion_id, "anna"))
    finally:
        store.close()


def test_a_migration_that_fails_leaves_the_schema_before_it(home: Home) -> None:
    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE half (x)")
        raise RuntimeError("by intention")

    engine = writing_engine(home.database)
    with pytest.raises(RuntimeError):
        migrate(engine, (*MIGRATIONS, broken))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA user_version").scalar_one() == len(MIGRATIONS)
        assert not connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'half'").all()
    engine.dispose()


def test_a_newer_database_is_refused_and_left_alone(home: Home) -> None:
    Store.open(home).close()
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("PRAGMA user_version = 99")
        note_schema(connection)
        connection.commit()
    before = home.database.read_bytes()
    with pytest.raises(Refused, match=r"schema 99.*newer Tacit"):
        Store.open(home)
    assert home.database.read_bytes() == before
    assert not (home.root / "quarantine").exists()


async def test_a_full_disk_acknowledges_nothing_and_ends_by_itself(store: Store) -> None:
    await store.write(lambda s: s.add(_event("before")))
    await store.write(lambda s: s.execute(text("PRAGMA max_page_count = 1")))
    results = await asyncio.gather(
        *(store.write(lambda s, n=n: s.add(_event(f"full-{n}", body="x" * 100_000))) for n in range(3)),  # type: ignore[misc]
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [StorageFull] * 3
    assert await store.read(lambda s: s.exec(select(EventRow.id)).all()) == ["before"]
    await store.write(lambda s: s.execute(text("PRAGMA max_page_count = 1000000")))
    await store.write(lambda s: s.add(_event("after", body="x" * 100_000)))
    assert await store.read(count_events) == 2


_ON_A_SMALL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from sqlmodel import select
from tacit.protocol.errors import StorageFull
from tacit.protocol.home import Home
from tacit.server.store.store import Store
from tacit.server.store.tables import EventRow

async def main():
    store = Store.open(Home(Path(sys.argv[1])))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    acked = refused = 0
    def add(name):
        row = dict(kind="shown", session_id="s", at_ms=0, received_ms=0, body="x" * 5000)
        return store.write(lambda session: session.add(EventRow(id=name, **row)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    for number in range(100):
        try:
            await add(f"acked-{acked}")
            acked += 1
        except StorageFull:
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await add("after")
    stored = await store.read(lambda session: set(session.exec(select(EventRow.id))))
    assert refused and acked, (acked, refused)
    assert stored == {f"acked-{n}" for n in range(acked)} | {"after"}, (acked, len(stored))
    store.close()

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no file size limit on this system")
def test_files_that_cannot_grow_lose_nothing_that_was_acknowledged(home: Home) -> None:
    """The real system call fails here, in the middle of a log that grows; afterwards the same connection goes on."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    child = subprocess.run([sys.executable, "-c", _ON_A_SMALL_DISK, str(home.root)], capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    with closing(sqlite3.connect(home.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _damage(path: Path) -> bytes:
    """Overwrite pages after the first; returns what the file holds now."""
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 6] = b"\xa5" * (4096 * 5)
    path.write_bytes(content)
    return bytes(content)


async def test_a_damaged_database_is_set_aside_whole_and_the_backup_restored(home: Home) -> None:
    store = Store.open(home)
    await store.write(lambda s: set_value(s, "answer", "42"))
    await store.back_up()
    await store.write(lambda s: set_value(s, "answer", "43"))
    store.close()
    damaged = _damage(home.database)

    store = Store.open(home)
    assert await store.read(lambda s: value(s, "answer")) == "42"
    await store.write(lambda s: set_value(s, "answer", "44"))
    store.close()
    (aside,) = (home.root / "quarantine").iterdir()
    assert (aside / home.database.name).read_bytes() == damaged
    assert str(aside) in store.notice and "backup" in store.notice


async def test_without_a_sound_backup_a_new_database_is_begun(home: Home) -> None:
    store = Store.open(home)
    backup = await store.back_up()
    store.close()
    _damage(backup)
    home.database.write_bytes(b"this is no database" * 1000)
    store = Store.open(home)
    assert await store.read(count_events) == 0
    assert "no sound backup" in store.notice
    assert backup.exists()
    store.close()


def test_a_sound_database_is_not_set_aside(home: Home) -> None:
    Store.open(home).close()
    store = Store.open(home)
    assert store.notice == "" and not (home.root / "quarantine").exists()
    store.close()


async def test_backups_are_complete_while_writing_goes_on_and_few(store: Store, home: Home) -> None:
    async def write() -> None:
        for number in range(200):
            await store.write(lambda s, n=number: s.add(_event(str(n))))  # type: ignore[misc]

    writing = asyncio.create_task(write())
    made = [await store.back_up() for _ in range(KEPT_BACKUPS + 2)]
    await writing
    assert backups(home) == made[-KEPT_BACKUPS:]
    for path in backups(home):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as copy:
            stored = [int(row[0]) for row in copy.execute("SELECT id FROM event ORDER BY seq")]
            assert stored == list(range(len(stored)))


@pytest.mark.each_database
async def test_old_suggestions_go_with_all_that_became_of_them(store: Store) -> None:
    day = 86_400_000

    def add(session: Session) -> None:
        from tacit.server.store.tables import SuggestionRow

        for name, received in (("old", 1 * day), ("new", 8 * day)):
            session.add(_event(f"{name}-event", kind="suggested", received_ms=received, suggestion=name))
            session.flush()
            session.add(
                SuggestionRow(
                    id=name,
                    event_id=f"{name}-event",
                    project="p",
                    task="completion",
                    at_ms=0,
                    shown=True,
                    policy_version="base",
                    before="",
                )
            )
        # Long after its suggestion; and long before its suggestion's own event arrived.
        session.add(_event("late", received_ms=9 * day, suggestion="old"))
        session.add(_event("early", received_ms=1 * day, suggestion="new"))
        session.add(_event("session", kind="session_started", received_ms=1 * day))

    await store.write(add)
    assert await store.forget_older_than(5, now_ms=10 * day) == 3
    assert await store.read(lambda s: sorted(s.exec(select(EventRow.id)))) == ["early", "new-event"]
    assert await store.read(lambda s: s.execute(text("SELECT id FROM suggestion")).scalars().all()) == ["new"]
