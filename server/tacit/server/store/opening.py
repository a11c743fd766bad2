"""Connections to the database, and what is done when it is damaged. Touches the database file, its backups, the quarantine.

Nothing is ever deleted here but surplus backups: a damaged database is renamed with all its files, for whoever can save more.
"""

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.pool import QueuePool

from tacit.protocol.durable import sync
from tacit.protocol.errors import StorageCorrupt, StorageFull, TacitError
from tacit.protocol.home import Home
from tacit.server.store.checksums import first_wrong
from tacit.server.store.postgresql import by_state

log = logging.getLogger(__name__)

SQLITE_MENDED = (3, 51, 3)
"""Before it, two connections that write and checkpoint at once can damage a WAL database (sqlite.org/wal.html). Only the writer's
connection does either here."""
THOROUGH_BYTES = 256_000_000
"""Up to this size the whole database is checked at start, indexes and events included; above, its pages only, unless something
was found while it was in use. Backups are always checked whole."""
KEPT_BACKUPS = 3
NO_TEXT = "Could not decode to UTF-8"
"""How Python's sqlite3 begins to say so, without a code."""
BUSY_MS = 10_000


def writing_engine(path: Path) -> Engine:
    """One connection, which writes and checkpoints. Every transaction takes the write lock at its beginning."""
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=1, max_overflow=0)

    @event.listens_for(engine, "connect")
    def pragmas(connection: sqlite3.Connection, _: Any) -> None:
        # Transactions are begun by us, below: the driver's own would begin deferred and fail to upgrade.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def reading_engine(path: Path) -> Engine:
    """Connections that cannot write."""
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=4, max_overflow=12)

    @event.listens_for(engine, "connect")
    def pragmas(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def translated(error: BaseException) -> BaseException:
    """A TacitError for what the database says about the disk, the file or itself; anything else as it is."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, sqlite3.Error) and (code := getattr(seen, "sqlite_errorcode", None)) is not None:
            found = _by_code(code & 0xFF, str(seen))
            if found is not None:
                return found
        if isinstance(seen, sqlite3.OperationalError) and str(seen).startswith(NO_TEXT):
            # The words quote what stands there.
            return _by_code(sqlite3.SQLITE_CORRUPT, "a text in it is none") or error
        if isinstance(seen, OperationalError | InterfaceError | InternalError) and not isinstance(seen.orig, sqlite3.Error):
            found = by_state(getattr(seen.orig, "sqlstate", None), str(seen.orig))
            if found is not None:
                return found
        # The wrapped error first, then the one that was being handled: a rollback may fail for the first one's reason.
        seen = getattr(seen, "orig", None) or seen.__cause__ or seen.__context__
    return error


def _by_code(code: int, words: str) -> TacitError | None:
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return StorageFull(
            f"The disk is full or cannot be written ({words}); nothing was acknowledged.",
            mend="Make room: it goes on by itself, and language servers keep their events until then.",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageCorrupt(
            f"The database is damaged ({words}).",
            mend="Restart Tacit: it sets the database aside and restores the newest backup.",
        )
    return None


def note_old_library() -> None:
    """For the log file: whoever starts Tacit cannot do anything about it at once, and `tacit doctor` says it in its place."""
    if sqlite3.sqlite_version_info < SQLITE_MENDED:
        log.info(
            "SQLite %s is older than 3.51.3, in which a rare damage to databases in WAL mode was mended; only one connection "
            "writes here, which avoids the case",
            sqlite3.sqlite_version,
        )


def ensure_sound(home: Home) -> str:
    """Set a damaged database aside and put the newest sound backup in its place. Returns what was done, or an empty string."""
    if not home.database.exists():
        return ""
    mark = _suspect(home)
    why = damage(home.database, mark.exists() or home.database.stat().st_size <= THOROUGH_BYTES)
    if not why:
        mark.unlink(missing_ok=True)
        return ""
    now = datetime.now(UTC)
    aside = home.root / "quarantine" / now.strftime("%Y%m%d-%H%M%S-%f")
    aside.mkdir(parents=True, mode=0o700)
    for suffix in ("", "-wal", "-shm"):
        path = home.database.with_name(home.database.name + suffix)
        if path.exists():
            path.rename(aside / path.name)
    mark.unlink(missing_ok=True)
    said = f"The database was damaged ({why}) and set aside in {aside}. "
    for backup in reversed(backups(home)):
        if damage(backup):
            log.warning("the backup %s is damaged too", backup)
            continue
        part = home.database.with_suffix(".part")
        shutil.copyfile(backup, part)
        sync(part)
        part.replace(home.database)
        sync(home.root)
        said += f"The backup {backup.name} was restored; what was stored after it is only in the file set aside."
        break
    else:
        said += "There is no sound backup, so a new database was begun."
    log.error(said)
    return said


def suspect(home: Home) -> None:
    """The database said while it was in use that it is damaged: the next start looks at all of it, however large it is."""
    with contextlib.suppress(OSError):
        _suspect(home).touch(mode=0o600)


def _suspect(home: Home) -> Path:
    return home.database.with_name(home.database.name + "-suspect")


def damage(path: Path, thorough: bool = True) -> str:
    """What is wrong with a database; empty if nothing is. StorageFull if it cannot be looked at. thorough: not its pages only."""
    check = "integrity_check" if thorough else "quick_check"
    with path.open("rb") as file:
        # Any other makes it a database that can only be read, which no check calls damage.
        if (versions := file.read(20)[18:]) not in (b"\1\1", b"\2\2", b""):
            return f"the format versions {versions.hex()} are none"
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            found = connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
            if found == "ok" and thorough:
                found = first_wrong(connection) or "ok"
    except sqlite3.Error as error:
        if isinstance(known := translated(error), StorageFull):
            raise known from error
        return str(error)
    return "" if found == "ok" else str(found).replace("\n", " ")


def backups(home: Home) -> list[Path]:
    """Oldest first."""
    return sorted((home.root / "backups").glob("tacit-*.db"))


def back_up(home: Home) -> Path:
    """Copy the database as it is, check the copy, keep the newest few. StorageCorrupt: the copy shows that it is damaged."""
    folder = home.root / "backups"
    folder.mkdir(exist_ok=True, mode=0o700)
    part = folder / "new.part"
    part.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(home.database)) as source,
            contextlib.closing(sqlite3.connect(part)) as target,
        ):
            source.execute("PRAGMA query_only = ON")
            # In one step: a snapshot; in several, each write of the server would start it anew.
            source.backup(target, pages=-1)
            # The copy is one file, complete without a log beside it.
            target.execute("PRAGMA journal_mode = DELETE")
        if why := damage(part):
            raise StorageCorrupt(
                f"The database is damaged ({why}); its backup was not kept.",
                mend="Restart Tacit: it sets the database aside and restores the newest sound backup.",
            )
        sync(part)
        kept = folder / datetime.now(UTC).strftime("tacit-%Y%m%d-%H%M%S-%f.db")
        part.replace(kept)
        sync(folder)
    except sqlite3.Error as error:
        raise translated(error) from error
    finally:
        part.unlink(missing_ok=True)
    for old in backups(home)[:-KEPT_BACKUPS]:
        old.unlink()
    return kept


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """The database's errors leave as ours."""
    try:
        yield
    except Exception as error:
        known = translated(error)
        if known is error:
            raise
        raise known from error
