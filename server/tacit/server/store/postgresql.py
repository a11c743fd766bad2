"""PostgreSQL in the place of the SQLite file: connections, the lock of the one writer, its errors as ours. Touches that database.

Needs `tacit[postgresql]`. What PostgreSQL does itself is not done here: no backups, no quarantine. An ack still means synced:
`synchronous_commit` is turned on for each connection, and a server that runs without `fsync` is said to lose acks.
"""

import logging
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from tacit.protocol.errors import Conflict, SettingError, StorageCorrupt, StorageFull, StorageUnavailable, TacitError

log = logging.getLogger(__name__)

WRITER_LOCK = 0x7461636974
"""The advisory lock that the one writer of a database holds for as long as its connection lives."""
LOCK_SECONDS = 5
LOCK_NOT_AVAILABLE = "55P03"
CONNECT = {
    "connect_timeout": 10,
    "application_name": "tacit",
    # A host that went away without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
MEND_AWAY = "Start it, or correct `database_url`; language servers keep their events until it answers."


def url_of(database_url: str) -> URL:
    """SettingError: it is no PostgreSQL URL, or the driver is not installed. Its words never hold the password."""
    try:
        url = make_url(database_url)
    except ArgumentError:
        url = None
    if url is None or url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise SettingError(
            "The setting `database_url` is not the address of a PostgreSQL database.",
            mend="Write postgresql://USER@HOST:PORT/DATABASE, or leave it empty for SQLite in TACIT_HOME.",
        )
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise SettingError(
            "The setting `database_url` names PostgreSQL, whose driver is not installed.",
            mend="Install it: pip install 'tacit[postgresql]'.",
        ) from error
    return url.set(drivername="postgresql+psycopg")


def writing_engine(url: URL) -> Engine:
    """One connection, which holds the writer's lock. Conflict, when it connects: another server writes to this database."""
    # Looked at before each commit: a server that was restarted is found again, and so is the lock.
    engine = create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=CONNECT)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            # Others may have turned it off for everybody.
            cursor.execute("SET synchronous_commit = on")
            # The connection of a server that was killed lives on until PostgreSQL notices.
            cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            try:
                cursor.execute("SELECT pg_advisory_lock(%s)", (WRITER_LOCK,))
            except connection.OperationalError as error:
                connection.close()
                if getattr(error, "sqlstate", "") != LOCK_NOT_AVAILABLE:
                    raise
                raise Conflict(
                    f"Another Tacit server writes to the database {said(url)}.",
                    mend="One server writes to one database: end the other one, or use another database.",
                ) from None
            cursor.execute("RESET lock_timeout")
        connection.commit()

    return engine


def reading_engine(url: URL) -> Engine:
    """Connections that cannot write; each transaction sees one snapshot."""
    engine = create_engine(url, poolclass=QueuePool, pool_size=4, max_overflow=12, pool_pre_ping=True, connect_args=CONNECT)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute("SET default_transaction_isolation = 'repeatable read'")
        connection.commit()

    return engine


def notice_of(engine: Engine) -> str:
    """What a person must know about how this server keeps what it acknowledges; empty: nothing."""
    with engine.begin() as connection:
        off = [name for name in ("fsync", "full_page_writes") if connection.exec_driver_sql(f"SHOW {name}").scalar_one() != "on"]
    if not off:
        return ""
    return f"PostgreSQL runs with {' and '.join(off)} off: what it acknowledges can be lost with the power."


def said(url: URL) -> str:
    """The address without its password."""
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def by_state(state: str | None, words: str) -> TacitError | None:
    """A TacitError for what PostgreSQL says about the disk, the file or itself. state: its SQLSTATE; None: nobody answered."""
    words = " ".join(words.split())
    if state is None or state.startswith(("08", "57P")):
        return StorageUnavailable(f"PostgreSQL does not answer ({words}); nothing was acknowledged.", mend=MEND_AWAY)
    if state in ("53100", "58030"):
        return StorageFull(
            f"PostgreSQL's disk is full or cannot be written ({words}); nothing was acknowledged.",
            mend="Make room there: it goes on by itself, and language servers keep their events until then.",
        )
    if state.startswith("53"):
        return StorageUnavailable(f"PostgreSQL has no room for this connection ({words}).", mend="Raise its limits; see its log.")
    if state.startswith("28") or state == "3D000":
        return StorageUnavailable(
            f"PostgreSQL refuses the connection ({words}).", mend="Correct `database_url`, or the rights there."
        )
    if state.startswith("XX"):
        return StorageCorrupt(f"PostgreSQL says that the database is damaged ({words}).", mend="Restore it from its backups.")
    return None
