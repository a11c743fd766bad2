"""What the learner reads: each suggestion with its events, and the counts of each project. Touches the store, reading only."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, text, tuple_
from sqlmodel import Session, col, select

from tacit.protocol.adapters import SHARED, ProjectInfo
from tacit.protocol.completion import Task
from tacit.protocol.errors import BadRequest, NotFound
from tacit.server.routing import Routes
from tacit.server.sharing import apart
from tacit.server.store.store import Store, milliseconds
from tacit.server.store.tables import EventRow, SuggestionRow

PAGE = 200
"""Suggestions per read: memory stays flat and no snapshot is held long."""

NEVER_MS = 2**62

Place = tuple[int, str]
"""(time, id) of the last suggestion of a page."""

DECISIONS = ("accepted", "typed_through", "rejected", "rated")


async def export(
    store: Store,
    project: str,
    task: Task,
    since: datetime | None = None,
    owner: str | None = None,
    until: datetime | None = None,
) -> AsyncIterator[bytes]:
    """One SuggestionRecord as JSON per line, oldest first. since: received by the server from then on, by its own clock. until:
    suggestions and events received by then; None: all.

    owner: what this user of the team recorded; None: what anybody did.
    """
    received = (milliseconds(since) if since else 0, milliseconds(until) if until else NEVER_MS)
    after: Place | None = None
    while True:
        lines, after = await store.read(lambda session, place=after: _page(session, project, task, place, received, owner))  # type: ignore[misc]
        if lines:
            yield lines
        if after is None:
            return


def _page(
    session: Session, project: str, task: Task, after: Place | None, received: tuple[int, int], owner: str | None
) -> tuple[bytes, Place | None]:
    """(lines, where to go on or None at the end). Bodies were validated when they came; they are passed on as they are."""
    page = (
        select(SuggestionRow.id, SuggestionRow.at_ms, EventRow.body)
        .join(EventRow, _its_event())
        .where(SuggestionRow.task == task, col(EventRow.received_ms).between(*received))
        .where(*_of(session, project))
        .order_by(col(SuggestionRow.at_ms), col(SuggestionRow.id))
        .limit(PAGE)
    )
    if after is not None:
        page = page.where(tuple_(col(SuggestionRow.at_ms), col(SuggestionRow.id)) > after)
    if owner is not None:
        page = page.where(SuggestionRow.owner == owner)
    suggestions = session.exec(page).all()
    if not suggestions:
        return b"", None
    events: dict[str | None, list[str]] = defaultdict(list)
    for suggestion_id, body in session.exec(
        select(EventRow.suggestion_id, EventRow.body)
        .join(SuggestionRow, col(SuggestionRow.id) == EventRow.suggestion_id)
        # What somebody else says of a suggestion is nothing.
        .where(EventRow.owner == SuggestionRow.owner)
        .where(col(EventRow.suggestion_id).in_([row[0] for row in suggestions]), EventRow.kind != "suggested")
        .where(EventRow.received_ms <= received[1])
        .order_by(col(EventRow.at_ms), col(EventRow.seq))
    ):
        events[suggestion_id].append(body)
    lines = "".join(f'{{"suggestion":{body},"events":[{",".join(events[id_])}]}}\n' for id_, _, body in suggestions)
    last = suggestions[-1]
    return lines.encode(), (last[1], last[0]) if len(suggestions) == PAGE else None


def _its_event() -> ColumnElement[bool]:
    """Of the same owner: somebody else may have named an event that was there."""
    return (col(EventRow.id) == SuggestionRow.event_id) & (col(EventRow.owner) == SuggestionRow.owner)


def _of(session: Session, project: str) -> tuple[ColumnElement[bool], ...]:
    """Which suggestions are a project's. Of SHARED: those of every project that shares, and of no user of a team."""
    if project != SHARED:
        return (col(SuggestionRow.project) == project,)
    return col(SuggestionRow.project).not_in([*apart(session), SHARED]), col(SuggestionRow.owner) == ""


def record_of(session: Session, name: str, owner: str | None = None) -> bytes:
    """A SuggestionRecord as JSON. name: the suggestion's id or a beginning of it. NotFound, BadRequest: it begins several.

    owner: for this user of the team there are only theirs.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise BadRequest(f"`{name[:80]}` is no suggestion's id.")
    begins = (
        select(SuggestionRow.id, EventRow.body, SuggestionRow.owner)
        .join(EventRow, _its_event())
        .where(col(SuggestionRow.id).startswith(name, autoescape=True))
        .order_by(col(SuggestionRow.id) != name)
        .limit(2)
    )
    found = session.exec(begins if owner is None else begins.where(SuggestionRow.owner == owner)).all()
    if not found:
        raise NotFound(f"There is no suggestion {name}; it may be older than `retention_days`.")
    if len(found) > 1 and found[0][0] != name:
        raise BadRequest(f"Several suggestions begin with {name}.", mend="Give more of the id.")
    suggestion, body, whose = found[0]
    events = session.exec(
        select(EventRow.body)
        .where(EventRow.suggestion_id == suggestion, EventRow.kind != "suggested", EventRow.owner == whose)
        .order_by(col(EventRow.at_ms), col(EventRow.seq))
    )
    return f'{{"suggestion":{body},"events":[{",".join(events)}]}}'.encode()


def project_infos(session: Session, routes: Routes, owner: str | None = None) -> tuple[ProjectInfo, ...]:
    """A project that has an adapter is listed even if its samples are gone; SHARED is none.

    owner: what this user of the team recorded, and nothing else.
    """
    counted = text(
        f"""SELECT project, count(*), sum(CASE WHEN
            (shown OR EXISTS (SELECT 1 FROM event WHERE suggestion_id = suggestion.id AND kind = 'shown'))
            AND EXISTS (SELECT 1 FROM event WHERE suggestion_id = suggestion.id AND kind IN :decisions) THEN 1 ELSE 0 END)
        FROM suggestion {"" if owner is None else "WHERE owner = :owner"} GROUP BY project"""
    ).bindparams(bindparam("decisions", expanding=True))
    bound = {"decisions": DECISIONS, **({} if owner is None else {"owner": owner})}
    counts = {project: (int(suggestions), int(labelled)) for project, suggestions, labelled in session.execute(counted, bound)}
    served = {project for project, _ in routes.serving} if owner is None else set()
    names = sorted((counts.keys() | served) - {SHARED})
    return tuple(
        ProjectInfo(
            project=name,
            suggestions=counts.get(name, (0, 0))[0],
            labelled=counts.get(name, (0, 0))[1],
            policy_version=routes.policy(name, "completion"),
            debug_policy_version=routes.policy(name, "debug"),
            shares=routes.shares(name),
        )
        for name in names
    )
