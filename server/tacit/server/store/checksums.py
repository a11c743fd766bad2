"""Is a stored event the one that was stored, and the schema the one that was made? SQLite checks its own structure, never what
stands in it: a flipped bit in a text or in the name of a column is sound to it. Touches the connection that it is given.
PostgreSQL has checksums of its own (`initdb --data-checksums`).
"""

import sqlite3
import zlib
from collections.abc import Mapping
from typing import Any

SCHEMA_KEY = "schema_crc"
"""In the table `meta`."""


def checksum(row: Mapping[str, Any]) -> int:
    """CRC-32 of an event's row: of what no index covers, since an index that differs from its table is seen by SQLite."""
    return zlib.crc32("\n".join((row["session_id"], str(row["at_ms"]), row["owner"], row["body"])).encode())


def note_schema(connection: sqlite3.Connection) -> None:
    """To be called in the transaction that changes the schema."""
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (SCHEMA_KEY, _schema(connection)))


def first_wrong(connection: sqlite3.Connection) -> str:
    """The first thing that is not what was stored, in words; empty: all is, or was stored before there were checksums.

    Reads every event. sqlite3.Error: they cannot be read.
    """
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return ""
    noted = connection.execute("SELECT value FROM meta WHERE key = ?", (SCHEMA_KEY,)).fetchone()
    if noted is None:
        return ""
    if noted[0] != _schema(connection):
        return "the schema is not what was made"
    if not connection.execute("SELECT 1 FROM pragma_table_info('event') WHERE name = 'crc'").fetchone():
        return ""
    connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
    covered = "session_id || char(10) || at_ms || char(10) || owner || char(10) || body"
    # As bytes: what was damaged may be no UTF-8.
    found = connection.execute(
        f"SELECT seq FROM event WHERE crc IS NOT NULL AND crc IS NOT crc32(CAST({covered} AS BLOB)) LIMIT 1"
    ).fetchone()
    return f"event {found[0]} is not what was stored" if found else ""


def _schema(connection: sqlite3.Connection) -> str:
    """CRC-32 of its number and of all that it consists of."""
    number = connection.execute("PRAGMA user_version").fetchone()
    made = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    return f"{zlib.crc32(repr((number, made)).encode()):08x}"
