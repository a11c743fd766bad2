"""The store's door: open, read, write, back up, forget what is too old. Touches nothing but what the store package touches.

Reads and writes are functions over a session; those about one subject live beside it (ingest.py, adapters.py, runs.py).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Engine, func
from sqlmodel import Session, col, delete, select

from tacit.protocol.errors import Refused, StorageCorrupt
from tacit.protocol.home import Home
from tacit.server.store import postgresql
from tacit.server.store.erasing import rewrite
from tacit.server.store.migrations import migrate
from tacit.server.store.opening import (
    back_up,
    backups,
    ensure_sound,
    note_old_library,
    reading_engine,
    suspect,
    translating,
    writing_engine,
)
from tacit.server.store.tables import EventRow, MetaRow, SuggestionRow, TextBlobRow, TextRow
from tacit.server.store.writer import Writer

log = logging.getLogger(__name__)

T = TypeVar("T")
Item = TypeVar("Item")

DELETED_AT_ONCE = 2000
"""Rows per transaction of a clean-up: events go on being stored in between."""


class Store:
    """One process opens it once (the server holds a lock on its home, and in PostgreSQL one on the database)."""

    def __init__(self, home: Home, writing: Engine, reading: Engine, notice: str) -> None:
        self._home = home
        self._writing = writing
        self._reading = reading
        self._writer = Writer(writing)
        self._backing_up = asyncio.Lock()
        self.notice = notice
        """What a person must know: that it was damaged when it was opened and what was done, or that it is."""

    @classmethod
    def open(cls, home: Home, database_url: str = "") -> "Store":
        """Refused: a newer Tacit wrote it. StorageFull: it cannot be written. A damaged SQLite file is set aside and replaced.

        database_url: of a PostgreSQL database; empty: SQLite in the home. StorageUnavailable: it does not answer. Conflict:
        another server writes to it.
        """
        if database_url:
            return cls._open_postgresql(home, postgresql.url_of(database_url))
        note_old_library()
        with translating():
            notice = ensure_sound(home)
            writing = writing_engine(home.database)
            try:
                migrate(writing)
            except BaseException:
                writing.dispose()
                raise
        return cls(home, writing, reading_engine(home.database), notice)

    @classmethod
    def _open_postgresql(cls, home: Home, url: URL) -> "Store":
        with translating():
            writing = postgresql.writing_engine(url)
            try:
                migrate(writing)
                notice = postgresql.notice_of(writing)
            except BaseException:
                writing.dispose()
                raise
        return cls(home, writing, postgresql.reading_engine(url), notice)

    @property
    def makes_backups(self) -> bool:
        """Of SQLite only: PostgreSQL's are made by whoever runs it."""
        return self._writing.dialect.name == "sqlite"

    def close(self) -> None:
        """Readers first: the last connection that closes moves the log into the database, and only the writer may do that."""
        self._writer.close()
        self._reading.dispose()
        self._writing.dispose()

    async def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction; returns when it is on the disk. StorageFull, StorageCorrupt, or what `work` raises."""
        with self._noticing():
            return await self._writer.submit(work)

    async def write_shared(self, work: Callable[[Session, list[Item]], Sequence[T]], item: Item) -> T:
        """The same, in one call with all that waits to be written by the same `work`: from items to as many results. It may be
        called again with each of them alone."""
        with self._noticing():
            return await self._writer.submit_shared(work, item)

    async def read(self, query: Callable[[Session], T]) -> T:
        """Run `query` on one snapshot, in a thread. StorageCorrupt."""
        return await asyncio.to_thread(self.read_now, query)

    def read_now(self, query: Callable[[Session], T]) -> T:
        with self._noticing(), translating(), Session(self._reading) as session:
            return query(session)

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        """Damage is told to whoever asks how Tacit stands, and looked for at the next start."""
        try:
            yield
        except StorageCorrupt as damaged:
            if self.makes_backups:
                suspect(self._home)
            self.notice = f"{damaged.message} {damaged.mend}".strip()
            raise

    async def back_up(self) -> Path:
        """Refused: it is PostgreSQL's."""
        if not self.makes_backups:
            raise Refused("Tacit makes no backups of a PostgreSQL database.", mend="Use pg_dump or pg_basebackup.")
        async with self._backing_up:
            with self._noticing():
                return await asyncio.to_thread(back_up, self._home)

    async def erase_traces(self) -> None:
        """Leave nothing of what was deleted: the database is written anew, its log emptied, backups replaced by one of now.

        StorageFull, Conflict (somebody reads and does not end): what is deleted stays so, but traces of it may be left.
        """
        await self._writer.submit_alone(rewrite)
        if not self.makes_backups:
            return
        async with self._backing_up:
            # First: whatever becomes of the new one.
            for old in backups(self._home):
                old.unlink()
            await asyncio.to_thread(back_up, self._home)

    async def forget_older_than(self, days: int, now_ms: int | None = None) -> int:
        """Delete what was received before then: whole suggestions, and events that belong to none. Returns how many events."""
        limit = (now_ms if now_ms is not None else milliseconds()) - days * 86_400_000
        gone = 0
        while deleted := await self.write(lambda session: _delete_old(session, limit)):
            gone += deleted
        return gone

    async def get(self, key: str) -> str | None:
        """A single value."""
        return await self.read(lambda session: value(session, key))

    async def put(self, key: str, new: str) -> None:
        await self.write(lambda session: set_value(session, key, new))


def value(session: Session, key: str) -> str | None:
    row = session.get(MetaRow, key)
    return row.value if row else None


def set_value(session: Session, key: str, new: str) -> None:
    session.merge(MetaRow(key=key, value=new))


def count_events(session: Session, owner: str | None = None) -> int:
    """owner: of this user only."""
    counted = select(func.count()).select_from(EventRow)
    return session.exec(counted if owner is None else counted.where(EventRow.owner == owner)).one()


def _delete_old(session: Session, limit_ms: int) -> int:
    """A suggestion is as old as its own event; what became of it goes with it."""
    old = list(
        session.exec(
            select(EventRow.seq, EventRow.kind, EventRow.suggestion_id)
            .join(SuggestionRow, col(SuggestionRow.id) == EventRow.suggestion_id, isouter=True)
            .where(EventRow.received_ms < limit_ms, (col(EventRow.kind) == "suggested") | (col(SuggestionRow.id).is_(None)))
            .order_by(col(EventRow.received_ms))
            .limit(DELETED_AT_ONCE)
        )
    )
    suggestions = [suggestion for _, kind, suggestion in old if kind == "suggested"]
    deleted = 0
    for condition in (col(EventRow.suggestion_id).in_(suggestions), col(EventRow.seq).in_([seq for seq, _, _ in old])):
        deleted += session.exec(delete(EventRow).where(condition)).rowcount
    if any(kind == "text_snapshot" for _, kind, _ in old):
        forget_unused_texts(session)
    return deleted


def forget_unused_texts(session: Session) -> None:
    """Delete texts that no snapshot refers to any more: after whatever deletes events."""
    session.exec(delete(TextBlobRow).where(col(TextBlobRow.sha256).not_in(select(TextRow.sha256))))


def milliseconds(at: datetime | None = None) -> int:
    """Since the epoch; without `at`: now."""
    return round(at.timestamp() * 1000) if at else time.time_ns() // 1_000_000


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
