"""From any older schema to this one, step by step. Touches the connection it is given; each step is one transaction.

Steps are numbered, never edited once released, and only ever added. The number is SQLite's `user_version`.
"""

import logging
from collections.abc import Callable

from sqlalchemy import Connection, Engine

from tacit.protocol.errors import Refused

log = logging.getLogger(__name__)


def _0001_first(connection: Connection) -> None:
    for statement in (
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
    ):
        connection.exec_driver_sql(statement)


def _0002_texts(connection: Connection) -> None:
    for statement in (
        """CREATE TABLE text_record (
            event_id TEXT NOT NULL PRIMARY KEY REFERENCES event (id) ON DELETE CASCADE, kind TEXT NOT NULL,
            project TEXT NOT NULL, path TEXT NOT NULL, document TEXT NOT NULL, number INTEGER NOT NULL,
            at_ms INTEGER NOT NULL, sha256 TEXT NOT NULL)""",
        "CREATE INDEX ix_text_record_path ON text_record (project, path, at_ms)",
        "CREATE INDEX ix_text_record_document ON text_record (document, number)",
        "CREATE INDEX ix_text_record_sha256 ON text_record (sha256)",
        "CREATE TABLE text_blob (sha256 TEXT NOT NULL PRIMARY KEY, packed BLOB NOT NULL)",
    ):
        connection.exec_driver_sql(statement)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_0001_first, _0002_texts)


def migrate(engine: Engine, migrations: tuple[Callable[[Connection], None], ...] = MIGRATIONS) -> None:
    """Refused: the database was written by a newer Tacit; it is left as it is."""
    with engine.connect() as connection:
        version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version > len(migrations):
        raise Refused(
            f"The database has schema {version}, and this Tacit knows up to {len(migrations)}: a newer Tacit wrote it.",
            mend="Update Tacit, or set TACIT_HOME to another folder.",
        )
    for number, step in enumerate(migrations[version:], version + 1):
        with engine.begin() as connection:
            step(connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {number}")
        log.info("the database has schema %d now", number)
