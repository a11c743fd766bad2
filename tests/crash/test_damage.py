"""Pages of the database that are overwritten, emptied, swapped, or have one bit flipped: found, set aside, the backup restored.

SQLite itself sees none of it inside a text; the events' checksums do (store/checksums.py).
"""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from recorded import exported, rejected, suggested
from sqlmodel import SQLModel

from tacit.protocol.errors import StorageCorrupt
from tacit.protocol.home import Home
from tacit.server.ingest import store_events
from tacit.server.store import opening
from tacit.server.store.opening import backups
from tacit.server.store.store import Store, count_events
from tacit.server.store.tables import AdapterRow, AliasChangeRow, MetaRow

PAGE = 4096

Contents = dict[str, list[tuple[Any, ...]]]


async def contents(store: Store) -> Contents:
    tables = SQLModel.metadata.sorted_tables
    return await store.read(lambda s: {t.name: [tuple(row) for row in s.execute(t.select())] for t in tables})


async def add_events(store: Store, draw: random.Random, count: int) -> None:
    for number in range(count):
        one = suggested(number, prefix="x = 1\n" * draw.choice((1, 50, 2000)))
        await store_events(store, [one, rejected(one)])


async def recorded(home: Home) -> tuple[Contents, Contents]:
    """A database and its backup; what stands in the one and in the other."""
    draw = random.Random(3)
    store = Store.open(home)
    await add_events(store, draw, 40)

    def history(session: Any) -> None:
        adapter = {"project": "p", "task": "completion", "run_id": "r", "parent": "", "base_sha256": "b" * 64, "summary": ""}
        for name in ("p-c@000001", "p-c@000002"):
            session.add(AdapterRow(name=name, manifest_sha256="0" * 64, created_ms=1, **adapter))
            session.flush()
            session.add(AliasChangeRow(project="p", task="completion", action="promote", adapter=name, at_ms=1))
        session.add(MetaRow(key="a", value="b"))

    await store.write(history)
    await store.back_up()
    kept = await contents(store)
    await add_events(store, draw, 5)
    whole = await contents(store)
    store.close()
    return whole, kept


def damaged(good: bytes, draw: random.Random) -> bytes:
    """With one to three faults."""
    content = bytearray(good)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at, other = (PAGE * draw.randrange(len(good) // PAGE) for _ in range(2))
        match draw.choice(("bit", "bit", "random", "zeros", "sector", "other page")):
            case "bit":
                content[at + draw.randrange(PAGE)] ^= 1 << draw.randrange(8)
            case "random":
                content[at : at + PAGE] = draw.randbytes(PAGE)
            case "zeros":
                content[at : at + PAGE] = bytes(PAGE)
            case "sector":
                content[at + 512 : at + 1024] = draw.randbytes(512)
            case "other page":
                content[at : at + PAGE] = good[other : other + PAGE]
    return bytes(content)


def in_the_head(good: bytes, draw: random.Random) -> bytes:
    """One flipped bit in SQLite's head, or in the words of the schema, which stand at the end of the first page."""
    content = bytearray(good)
    content[draw.choice((draw.randrange(100), draw.randrange(PAGE - 2000, PAGE)))] ^= 1 << draw.randrange(8)
    return bytes(content)


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(2400)])])
async def test_whatever_page_is_damaged(home: Home, count: int) -> None:
    whole, kept = await recorded(home)
    good = home.database.read_bytes()
    draw = random.Random(500)
    aside = home.root / "quarantine"
    restored = 0
    for number in range(count):
        # The head, where one byte says much, is a small part of the first of many pages.
        content = damaged(good, draw) if number % 5 else in_the_head(good, draw)
        home.database.write_bytes(content)
        store = Store.open(home)
        try:
            found = await contents(store)
            if store.notice:
                assert "backup" in store.notice and found == kept, number
                assert [path.read_bytes() for path in aside.glob(f"*/{home.database.name}")] == [content], number
                restored += 1
            else:
                # Where nothing stands.
                assert found == whole, f"fault {number} was not found"
            before = await store.read(count_events)
            await add_events(store, draw, 1)
            assert await store.read(count_events) == before + 2, number
        finally:
            store.close()
        shutil.rmtree(aside, ignore_errors=True)
    assert restored > count / 3


def in_a_text(path: Path) -> None:
    """A byte that is no UTF-8, in the middle of an event's body."""
    content = path.read_bytes()
    at = content.index(b"x = 1\\nx = 1\\n" * 20)
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])


async def test_damage_that_is_met_while_it_serves_is_said_and_found_at_the_next_start(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database is too large to be looked at as a whole at every start."""
    _, kept = await recorded(home)
    monkeypatch.setattr(opening, "THOROUGH_BYTES", 0)
    in_a_text(home.database)
    store = Store.open(home)
    try:
        assert store.notice == ""
        with pytest.raises(StorageCorrupt, match="Restart Tacit") as said:
            await exported(store)
        assert "x = 1" not in str(said.value) + store.notice, "what stands there is nobody's business"
        assert "damaged" in store.notice
    finally:
        store.close()
    store = Store.open(home)
    try:
        assert "restored" in store.notice and await contents(store) == kept
    finally:
        store.close()
    store = Store.open(home)
    assert store.notice == "", "once is enough"
    store.close()


async def test_a_backup_of_what_is_damaged_is_not_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    await recorded(home)
    monkeypatch.setattr(opening, "THOROUGH_BYTES", 0)
    in_a_text(home.database)
    sound = backups(home)
    store = Store.open(home)
    try:
        with pytest.raises(StorageCorrupt, match="not kept"):
            await store.back_up()
        assert backups(home) == sound and "damaged" in store.notice
    finally:
        store.close()


async def test_events_of_before_there_were_checksums_are_no_damage(home: Home) -> None:
    await recorded(home)
    store = Store.open(home)
    await store.write(lambda session: session.connection().exec_driver_sql("UPDATE event SET crc = NULL"))
    store.close()
    store = Store.open(home)
    assert store.notice == ""
    store.close()
