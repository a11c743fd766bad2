"""What is kept, as tables. Pure declarations; the schema on disk is made by migrations.py, and a test compares the two.

Times are milliseconds since the epoch, UTC. `at_ms` is the session's own clock, `received_ms` the server's.
"""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class UserRow(SQLModel, table=True):
    """A developer of a team. Never deleted: what was recorded goes by the name."""

    __tablename__ = "team_user"

    name: str = Field(primary_key=True)
    token_sha256: str = Field(unique=True)
    adapters: str
    created_ms: int = Field(sa_type=BigInteger)
    revoked_ms: int | None = Field(default=None, sa_type=BigInteger)


class EventRow(SQLModel, table=True):
    """One event as it came, redacted. Idempotent by `id`."""

    __tablename__ = "event"

    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    """Order of arrival."""
    id: str = Field(unique=True)
    kind: str
    session_id: str
    suggestion_id: str | None = None
    """Not a foreign key: outboxes are sent in any order, so what became of a suggestion may arrive before it."""
    at_ms: int = Field(sa_type=BigInteger)
    received_ms: int = Field(index=True, sa_type=BigInteger)
    body: str
    """The event's JSON."""
    owner: str = ""
    """The name of the team's user who sent it; empty: it came through the Unix socket."""
    crc: int | None = Field(default=None, sa_type=BigInteger)
    """`checksums.checksum`; None: it was stored before there were any."""


class SuggestionRow(SQLModel, table=True):
    """What is asked about a suggestion without reading its body, which is that of its event."""

    __tablename__ = "suggestion"

    id: str = Field(primary_key=True)
    event_id: str = Field(foreign_key="event.id", ondelete="CASCADE")
    project: str
    task: str
    at_ms: int = Field(sa_type=BigInteger)
    shown: bool
    policy_version: str
    before: str
    """The last characters of the line before the hole: a secret may begin there and end in what was written."""
    owner: str = ""
    """As of its event."""


class TextRow(SQLModel, table=True):
    """What is asked about a text event without reading its body."""

    __tablename__ = "text_record"

    event_id: str = Field(primary_key=True, foreign_key="event.id", ondelete="CASCADE")
    kind: str
    project: str
    path: str
    document: str
    number: int = Field(sa_type=BigInteger)
    at_ms: int = Field(sa_type=BigInteger)
    sha256: str
    """Of a snapshot's text: where it is kept."""
    owner: str = ""
    """As of its event."""


class TextBlobRow(SQLModel, table=True):
    """A text by the sha256 of its UTF-8, once, for as long as a snapshot refers to it."""

    __tablename__ = "text_blob"

    sha256: str = Field(primary_key=True)
    packed: bytes
    """zlib."""


class AdapterRow(SQLModel, table=True):
    """An adapter that has been verified once. The folder is the adapter; this row remembers that the name is taken."""

    __tablename__ = "adapter"

    name: str = Field(primary_key=True)
    manifest_sha256: str
    project: str
    task: str
    run_id: str
    parent: str
    base_sha256: str
    created_ms: int = Field(sa_type=BigInteger)
    summary: str
    deleted_ms: int | None = Field(default=None, sa_type=BigInteger)
    """When its folder was removed to make room."""


class AliasChangeRow(SQLModel, table=True):
    """The history of (project, task) → adapter. Who serves now is what the history says: there is no second truth."""

    __tablename__ = "alias_change"

    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    project: str
    task: str
    action: str
    """`promote` puts `adapter` on top; `rollback` takes the top away."""
    adapter: str
    """promote: the one that serves from here on. rollback: the one that no longer does."""
    at_ms: int = Field(sa_type=BigInteger)


class RunRow(SQLModel, table=True):
    """One learning run. At most one is `running`: a partial unique index sees to it."""

    __tablename__ = "run"

    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    id: str = Field(unique=True)
    project: str
    task: str
    objective: str
    trigger: str
    state: str
    pid: int
    pid_started: str
    """When that process began, in the system's words: a reused pid is another process."""
    stage: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    adapter: str = Field(unique=True)
    parent: str
    started_ms: int = Field(sa_type=BigInteger)
    finished_ms: int | None = Field(default=None, sa_type=BigInteger)


class ErasureRow(SQLModel, table=True):
    """What a person had forgotten: whatever of it arrives later is not stored."""

    __tablename__ = "erasure"

    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    project: str
    """Empty: of all projects."""
    owner: str | None = None
    """Of this user of the team; None: of everybody."""
    since_ms: int = Field(sa_type=BigInteger)
    until_ms: int = Field(sa_type=BigInteger)
    """Both by the sessions' clocks, and included."""
    erased_ms: int = Field(sa_type=BigInteger)


class ErasedRow(SQLModel, table=True):
    """A suggestion that was forgotten: by its id what still arrives about it is known, and what has learned from it."""

    __tablename__ = "erased"

    id: str = Field(primary_key=True)
    erased_ms: int = Field(sa_type=BigInteger)


class MetaRow(SQLModel, table=True):
    """Single values: counters of adapter names, when the learner was last tried."""

    __tablename__ = "meta"

    key: str = Field(primary_key=True)
    value: str
