"""The store and a whole server on a real PostgreSQL: one writer, acks that survive, a database that goes away and comes back."""

import asyncio
from pathlib import Path

import pytest
from recorded import exported, rejected, suggested
from sqlalchemy import text
from sqlmodel import Session, SQLModel, select

from tacit.bench.postgresql_server import PostgresqlServer
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.errors import Conflict, Refused, SettingError, StorageUnavailable, TacitError
from tacit.protocol.events import Rejected
from tacit.protocol.home import Home
from tacit.server.ingest import store_events
from tacit.server.store import postgresql as kind
from tacit.server.store.migrations import MIGRATIONS, migrate
from tacit.server.store.store import Store, count_events
from tacit.server.store.tables import EventRow

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    postgresql.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return postgresql.url


async def test_the_same_steps_make_the_tables(home: Home, url: str) -> None:
    store = Store.open(home, url)
    columns = (
        "SELECT table_name, column_name, is_nullable, data_type, collation_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name <> 'tacit_schema'"
    )
    found = await store.read(lambda session: [tuple(row) for row in session.execute(text(columns))])
    store.close()
    declared = {
        (table.name, column.name): "YES" if column.nullable else "NO"
        for table in SQLModel.metadata.sorted_tables
        for column in table.columns
    }
    assert {(table, column): nullable for table, column, nullable, _, _ in found} == declared
    # Milliseconds since the epoch have no room in 32 bits; ids are put in order as in SQLite.
    assert {kind for _, _, _, kind, _ in found} == {"bigint", "text", "boolean", "bytea"}
    assert {collation for _, _, _, kind, collation in found if kind == "text"} == {"C"}


async def test_a_database_has_one_writer(home: Home, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "LOCK_SECONDS", 1)
    first = Store.open(home, url)
    with pytest.raises(Conflict, match="Another Tacit server writes"):
        Store.open(home, url)
    await store_events(first, [rejected(suggested())])
    first.close()
    second = Store.open(home, url)
    assert await second.read(count_events) == 1
    second.close()


async def test_a_newer_database_is_refused(home: Home, url: str) -> None:
    Store.open(home, url).close()
    engine = kind.writing_engine(kind.url_of(url))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tacit_schema SET version = 99")
    engine.dispose()
    with pytest.raises(Refused, match=r"schema 99.*newer Tacit"):
        Store.open(home, url)


def test_a_step_that_fails_leaves_the_schema_before_it(url: str) -> None:
    def broken(connection: object) -> None:
        connection.exec_driver_sql("CREATE TABLE half (x BIGINT)")  # type: ignore[attr-defined]
        raise RuntimeError("by intention")

    engine = kind.writing_engine(kind.url_of(url))
    with pytest.raises(RuntimeError):
        migrate(engine, (*MIGRATIONS, broken))
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT version FROM tacit_schema").scalar_one() == len(MIGRATIONS)
        assert connection.exec_driver_sql("SELECT to_regclass('half')").scalar_one() is None
    engine.dispose()


async def test_commits_are_synced_though_the_database_says_otherwise(home: Home, url: str) -> None:
    store = Store.open(home, url)
    name = await store.read(lambda session: session.execute(text("SELECT current_database()")).scalar_one())
    await store.write(lambda session: session.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off")))
    store.close()
    store = Store.open(home, url)
    await store.write(lambda session: session.execute(text("ALTER ROLE tacit RESET synchronous_commit")))
    assert await store.write(lambda session: session.execute(text("SHOW synchronous_commit")).scalar_one()) == "on"
    assert store.notice == ""
    store.close()


async def test_backups_are_said_to_be_somebody_elses(home: Home, url: str) -> None:
    store = Store.open(home, url)
    assert not store.makes_backups
    with pytest.raises(Refused, match="pg_dump"):
        await store.back_up()
    store.close()


async def test_a_text_with_nul_takes_no_other_event_along(home: Home, url: str) -> None:
    store = Store.open(home, url)
    odd, good = suggested(prefix="a\0b = "), suggested()
    acks = await asyncio.gather(store_events(store, [odd]), store_events(store, [good]))
    assert [ack.stored for ack in acks] == [1, 1]
    assert {record.suggestion.context.prefix for record in await exported(store)} == {"a\0b = ", "x = "}
    bad = EventRow(id="bad", kind="a\0b", session_id="s", at_ms=0, received_ms=0, body="{}")

    def add(session: Session, row: EventRow) -> None:
        session.add(row)
        session.flush()

    fine = EventRow(id="fine", kind="shown", session_id="s", at_ms=0, received_ms=0, body="{}")
    results = await asyncio.gather(
        store.write(lambda s: add(s, bad)), store.write(lambda s: add(s, fine)), return_exceptions=True
    )
    assert [type(result).__name__ for result in results] == ["DataError", "NoneType"]
    store.close()


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("mysql://somebody:secret@host/d", SettingError),
        ("not an address", SettingError),
        ("postgresql://somebody:secret@/d?host=/nowhere-at-all", StorageUnavailable),
    ],
)
def test_what_cannot_be_used_is_said_without_the_password(home: Home, address: str, error: type[TacitError]) -> None:
    with pytest.raises(error) as raised:
        Store.open(home, address)
    assert "secret" not in str(raised.value) and raised.value.mend


async def test_a_server_loses_nothing_that_it_acknowledged_when_postgresql_is_killed(
    home: Home, tiny_model: Path, url: str, postgresql: PostgresqlServer
) -> None:
    """It ends without a checkpoint: what is there afterwards was in its log on the disk."""
    acked: list[str] = []
    refused: list[TacitError] = []
    stop = asyncio.Event()

    async with ServerProcess(home, {"model": str(tiny_model), "database_url": url}) as server:

        async def send() -> None:
            while not stop.is_set():
                events: list[Rejected] = [rejected(suggested()) for _ in range(5)]
                try:
                    await server.client.send_events(events)
                except TacitError as error:
                    refused.append(error)
                    await asyncio.sleep(0.05)
                else:
                    acked.extend(event.id for event in events)

        async def reach(count: int) -> None:
            async with asyncio.timeout(120):
                while len(acked) < count:
                    await asyncio.sleep(0.01)

        senders = [asyncio.create_task(send()) for _ in range(8)]
        await reach(200)
        postgresql.stop(orderly=False)
        async with asyncio.timeout(60):
            while not refused:
                await asyncio.sleep(0.01)
        before = len(acked)
        postgresql.start()
        # The same server goes on, without a restart.
        await reach(before + 200)
        stop.set()
        await asyncio.gather(*senders)
        assert (await server.client.status()).notices == ()
    assert all(isinstance(error, StorageUnavailable | Conflict) for error in refused), refused[:3]
    assert any(isinstance(error, StorageUnavailable) for error in refused)

    store = Store.open(home, url)
    stored = await store.read(lambda session: list(session.exec(select(EventRow.id))))
    store.close()
    assert set(acked) <= set(stored)
    assert len(stored) == len(set(stored))
    assert not home.database.exists()
