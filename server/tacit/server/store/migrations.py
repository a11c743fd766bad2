"""From any older schema to this one, step by step. Touches the connection it is given; each step is one transaction.

Steps are numbered, never edited once released, and only ever added. They are written in SQLite's words; PostgreSQL's are made of
them (`_execute`). The number is SQLite's `user_version`, in PostgreSQL the row of `tacit_schema`.
"""

import logging
import re
import sqlite3
from collections.abc import Callable
from typing import cast

from sqlalchemy import Connection, Engine

from tacit.protocol.errors import Refused
from tacit.server.store.checksums import note_schema

log = logging.getLogger(__name__)


def _0001_first(connection: Connection) -> None:
    _execute(
        connection,
        """CREATE TABLE event (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, session_id TEXT NOT NULL,
            suggestion_id TEXT, at_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, body TEXT NOT NULL)""",
        "CREATE INDEX ix_event_suggestion ON event (suggestion_id, kind)",
        "CREATE INDEX ix_event_received_ms ON event (received_ms)",
        """CREATE TABLE suggestion (
            id TEXT NOT NULL PRIMARY KEY, event_id TEXT NOT NULL REFERENCES event (id) ON DELETE CASCADE,
            project TEXT NOT NULL, task TEXT NOT NULL, at_ms INTEGER NOT NULL, shown BOOLEAN NOT NULL,
            policy_version TEXT NOT NULL, before TEXT NOT NULL)""",
        "CREATE INDEX ix_suggestion_project ON suggestion (project, task, at_ms, id)",
        "CREATE INDEX ix_suggestion_event ON suggestion (event_id)",
        """CREATE TABLE adapter (
            name TEXT NOT NULL PRIMARY KEY, manifest_sha256 TEXT NOT NULL, project TEXT NOT NULL, task TEXT NOT NULL,
            run_id TEXT NOT NULL, parent TEXT NOT NULL, base_sha256 TEXT NOT NULL, created_ms INTEGER NOT NULL,
            summary TEXT NOT NULL, deleted_ms INTEGER)""",
        """CREATE TABLE alias_change (
            seq INTEGER PRIMARY KEY, project TEXT NOT NULL, task TEXT NOT NULL,
            action TEXT NOT NULL CHECK (action IN ('promote', 'rollback')),
            adapter TEXT NOT NULL REFERENCES adapter (name), at_ms INTEGER NOT NULL)""",
        """CREATE TABLE run (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, project TEXT NOT NULL, task TEXT NOT NULL,
            objective TEXT NOT NULL, "trigger" TEXT NOT NULL, state TEXT NOT NULL, pid INTEGER NOT NULL,
            pid_started TEXT NOT NULL, stage TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL,
            message TEXT NOT NULL, adapter TEXT NOT NULL UNIQUE, parent TEXT NOT NULL, started_ms INTEGER NOT NULL,
            finished_ms INTEGER)""",
        "CREATE UNIQUE INDEX one_running ON run (state) WHERE state = 'running'",
        "CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    )


def _0002_texts(connection: Connection) -> None:
    _execute(
        connection,
        """CREATE TABLE text_record (
            event_id TEXT NOT NULL PRIMARY KEY REFERENCES event (id) ON DELETE CASCADE, kind TEXT NOT NULL,
            project TEXT NOT NULL, path TEXT NOT NULL, document TEXT NOT NULL, number INTEGER NOT NULL,
            at_ms INTEGER NOT NULL, sha256 TEXT NOT NULL)""",
        "CREATE INDEX ix_text_record_path ON text_record (project, path, at_ms)",
        "CREATE INDEX ix_text_record_document ON text_record (document, number)",
        "CREATE INDEX ix_text_record_sha256 ON text_record (sha256)",
        "CREATE TABLE text_blob (sha256 TEXT NOT NULL PRIMARY KEY, packed BLOB NOT NULL)",
    )


def _0003_owners(connection: Connection) -> None:
    _execute(
        connection,
        """CREATE TABLE team_user (
            name TEXT NOT NULL PRIMARY KEY, token_sha256 TEXT NOT NULL UNIQUE, adapters TEXT NOT NULL,
            created_ms INTEGER NOT NULL, revoked_ms INTEGER)""",
        "ALTER TABLE event ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE suggestion ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE text_record ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
    )


def _0004_erasures(connection: Connection) -> None:
    _execute(
        connection,
        """CREATE TABLE erasure (
            seq INTEGER PRIMARY KEY, project TEXT NOT NULL, owner TEXT, since_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
            erased_ms INTEGER NOT NULL)""",
        "CREATE TABLE erased (id TEXT NOT NULL PRIMARY KEY, erased_ms INTEGER NOT NULL)",
    )


def _0005_checksums(connection: Connection) -> None:
    _execute(connection, "ALTER TABLE event ADD COLUMN crc INTEGER")


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_0001_first, _0002_texts, _0003_owners, _0004_erasures, _0005_checksums)


def migrate(engine: Engine, migrations: tuple[Callable[[Connection], None], ...] = MIGRATIONS) -> None:
    """Refused: the database was written by a newer Tacit; it is left as it is."""
    with engine.begin() as connection:
        version = schema_version(connection)
    if version > len(migrations):
        raise Refused(
            f"The database has schema {version}, and this Tacit knows up to {len(migrations)}: a newer Tacit wrote it.",
            mend="Update Tacit, or use another TACIT_HOME (`database_url` if it is set).",
        )
    for number, step in enumerate(migrations[version:], version + 1):
        with engine.begin() as connection:
            step(connection)
            _set_version(connection, number)
            if connection.dialect.name == "sqlite":
                note_schema(cast(sqlite3.Connection, connection.connection.driver_connection))
        log.info("the database has schema %d now", number)


def schema_version(connection: Connection) -> int:
    """How many steps this database has behind it."""
    if connection.dialect.name == "sqlite":
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS tacit_schema (version BIGINT NOT NULL)")
    return int(connection.exec_driver_sql("SELECT coalesce(max(version), 0) FROM tacit_schema").scalar_one())


def _set_version(connection: Connection, number: int) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {number}")
        return
    connection.exec_driver_sql("DELETE FROM tacit_schema")
    connection.exec_driver_sql(f"INSERT INTO tacit_schema (version) VALUES ({number})")


_POSTGRESQL = (
    (r"\bINTEGER PRIMARY KEY\b", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
    (r"\bINTEGER\b", "BIGINT"),
    # Ids and names are put in order byte by byte, as SQLite does.
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),
    (r"\bBLOB\b", "BYTEA"),
)


def _execute(connection: Connection, *statements: str) -> None:
    for statement in statements:
        if connection.dialect.name != "sqlite":
            for pattern, other in _POSTGRESQL:
                statement = re.sub(pattern, other, statement)
        connection.exec_driver_sql(statement)
