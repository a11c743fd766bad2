"""Erasing what a person wants forgotten: which rows that are, that late events of it stay out, that no byte of it stays behind.

Works within the session or on the engine it is given. What is erased is remembered by its bounds and by the ids of suggestions,
which tell nothing: outboxes may still hold events of it, for as long as another server is connected to. So that is kept for good.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, and_, exists, func, literal, or_, true
from sqlalchemy import insert as insert_into
from sqlmodel import Session, col, delete, select

from tacit.protocol.errors import Conflict
from tacit.server.store.tables import ErasedRow, ErasureRow, EventRow, SuggestionRow, TextBlobRow, TextRow

LEFT_TO_DO = "forgetting"
"""Key of the store's note of what is not erased yet; its value is empty when nothing is."""
FOREVER = 2**62
"""Clocks of sessions may be ahead."""

_ERASURES: Final = select(ErasureRow.project, ErasureRow.owner, ErasureRow.since_ms, ErasureRow.until_ms)
"""Asked with each batch of events: made once, and not as objects."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what is to be forgotten."""

    project: str = ""
    """Empty: all of them."""
    owner: str | None = None
    """Of this user of the team; None: of everybody."""
    since_ms: int = 0
    until_ms: int = FOREVER
    """Both by the sessions' clocks, and included."""

    def hold(self, project: str, at_ms: int, owner: str) -> bool:
        return self.project in ("", project) and self.owner in (None, owner) and self.since_ms <= at_ms <= self.until_ms


@dataclass(frozen=True, slots=True)
class Erased:
    """What was deleted."""

    suggestions: int
    events: int
    texts: int
    """Snapshots and changes of files."""
    projects: frozenset[str]
    """Whose they were."""
    earliest_ms: int | None
    """When the first of it was recorded; None: nothing was."""


def erase(session: Session, bounds: Bounds, now_ms: int) -> Erased:
    """Delete what is within the bounds. A suggestion goes whole, with the text that was written in its place, if anything of it
    is: what became of it quotes what was written then."""
    # What is recorded from now on is not meant, whatever is said of its end.
    until = min(bounds.until_ms, now_ms)
    session.add(
        ErasureRow(project=bounds.project, owner=bounds.owner, since_ms=bounds.since_ms, until_ms=until, erased_ms=now_ms)
    )
    of_event = _within(bounds, col(EventRow.at_ms), col(EventRow.owner))
    touched = exists().where(and_(col(EventRow.suggestion_id) == col(SuggestionRow.id), of_event))
    wanted = and_(
        _of(bounds, col(SuggestionRow.project), col(SuggestionRow.owner)),
        or_(_within(bounds, col(SuggestionRow.at_ms), col(SuggestionRow.owner)), touched),
    )
    # Those that came again after they had been erased once are none: they are not stored.
    session.execute(
        insert_into(ErasedRow).from_select(["id", "erased_ms"], select(SuggestionRow.id, literal(now_ms)).where(wanted))
    )
    ids = select(ErasedRow.id)
    of_text = and_(_of(bounds, col(TextRow.project), col(TextRow.owner)), _within(bounds, col(TextRow.at_ms), col(TextRow.owner)))
    texts = select(TextRow.event_id).where(of_text)
    found = session.exec(
        select(SuggestionRow.project, func.count(), func.min(SuggestionRow.at_ms))
        .where(col(SuggestionRow.id).in_(ids))
        .group_by(SuggestionRow.project)
    ).all()
    written = session.exec(
        select(TextRow.project, func.count(), func.min(TextRow.at_ms)).where(of_text).group_by(TextRow.project)
    ).all()
    erased = or_(col(EventRow.suggestion_id).in_(ids), col(EventRow.id).in_(texts))
    # What came before its suggestion has nothing that says whose project it is but its session.
    early = and_(
        of_event,
        col(EventRow.suggestion_id).is_not(None),
        col(EventRow.suggestion_id).not_in(select(SuggestionRow.id)),
        true() if not bounds.project else col(EventRow.session_id).in_(select(EventRow.session_id).where(erased)),
    )
    deleted = session.exec(delete(EventRow).where(early)).rowcount
    if not bounds.project:
        erased = or_(erased, and_(of_event, col(EventRow.suggestion_id).is_(None)))
    deleted += session.exec(delete(EventRow).where(erased)).rowcount
    session.exec(delete(TextBlobRow).where(col(TextBlobRow.sha256).not_in(select(TextRow.sha256))))
    return Erased(
        suggestions=sum(count for _, count, _ in found),
        events=deleted,
        texts=sum(count for _, count, _ in written),
        projects=frozenset(project for project, _, _ in [*found, *written]),
        earliest_ms=min((first for _, _, first in [*found, *written]), default=None),
    )


def _of(bounds: Bounds, project: Any, owner: Any) -> ColumnElement[bool]:
    return and_(
        true() if not bounds.project else project == bounds.project, true() if bounds.owner is None else owner == bounds.owner
    )


def _within(bounds: Bounds, at_ms: Any, owner: Any) -> ColumnElement[bool]:
    return and_(at_ms.between(bounds.since_ms, bounds.until_ms), true() if bounds.owner is None else owner == bounds.owner)


def erased_ids(session: Session) -> frozenset[str]:
    """Of all suggestions that were forgotten and may still be asked about."""
    return frozenset(session.exec(select(ErasedRow.id)))


def late(
    session: Session,
    events: Sequence[dict[str, Any]],
    suggestions: Sequence[dict[str, Any]],
    texts: Sequence[dict[str, Any]],
    now_ms: int,
) -> set[str]:
    """Ids of those events, as rows to be stored, that belong to what was forgotten; what came before them goes, too."""
    forgotten = [Bounds(*row) for row in session.connection().execute(_ERASURES)]
    if not forgotten:
        return set()

    def held(project: str, row: dict[str, Any]) -> bool:
        return any(bounds.hold(project, row["at_ms"], row["owner"]) for bounds in forgotten)

    gone = {row["event_id"] for row in [*suggestions, *texts] if held(row["project"], row)}
    asked = {row["suggestion_id"] for row in events if row["suggestion_id"] is not None}
    known = set(session.exec(select(ErasedRow.id).where(col(ErasedRow.id).in_(asked))))
    for row in suggestions:
        if row["event_id"] in gone and row["id"] not in known:
            known.add(row["id"])
            session.add(ErasedRow(id=row["id"], erased_ms=now_ms))
            session.exec(delete(EventRow).where(col(EventRow.suggestion_id) == row["id"], col(EventRow.owner) == row["owner"]))
    named = select(SuggestionRow.id, SuggestionRow.project).where(col(SuggestionRow.id).in_(asked - known))
    project_of = dict(session.exec(named).all()) | {row["id"]: row["project"] for row in suggestions}
    for row in events:
        about = row["suggestion_id"]
        if about in known or (about in project_of and held(project_of[about], row)):
            gone.add(row["id"])
    session.flush()
    return gone


def rewrite(engine: Engine) -> None:
    """Write the database anew without what was deleted, and empty its log. Conflict: somebody goes on reading."""
    raw = engine.raw_connection()
    try:
        connection: Any = raw.driver_connection
        if engine.dialect.name == "sqlite":
            _rewrite_sqlite(connection)
            return
        connection.autocommit = True
        try:
            for table in ("event", "suggestion", "text_record", "text_blob", "run", "adapter"):
                connection.execute(f"VACUUM FULL {table}")
        finally:
            connection.autocommit = False
    finally:
        raw.close()


def _rewrite_sqlite(connection: sqlite3.Connection) -> None:
    connection.execute("VACUUM")
    # Waits for readers (busy_timeout): a log that somebody reads cannot be emptied.
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise Conflict("Something goes on reading the database, so its log could not be emptied.", mend="Try again.")
