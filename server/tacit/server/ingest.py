"""Events into the store: redacted once more, each stored once, acknowledged only when synced. Touches the store only.

Order is not assumed: outboxes of several language servers arrive as they can, so an event about a suggestion that is not known
(yet) is stored like any other.
"""

import asyncio
import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Executable, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped
from sqlmodel import Session, SQLModel, col, select

from tacit.protocol.completion import Context
from tacit.protocol.debugging import Check, Diagnostic
from tacit.protocol.errors import BadRequest
from tacit.protocol.events import (
    BlockProposed,
    DebugRecord,
    Event,
    EventAck,
    EventBatch,
    Rated,
    Settled,
    Suggested,
    SuggestionEvent,
    TextChanged,
    TextEvent,
    TextSnapshot,
)
from tacit.protocol.redaction import last_line, mask, redact, redact_after
from tacit.server.store.checksums import checksum
from tacit.server.store.erasing import late
from tacit.server.store.store import Store, milliseconds
from tacit.server.store.tables import EventRow, SuggestionRow, TextBlobRow, TextRow

EVENTS_AT_ONCE = 10_000
"""Then the next batch is for other statements: SQLite takes 32,766 values in one, and a batch has 1,000 events at most."""

CHARACTERS_HERE = 16_000
"""Of contexts and texts in a batch; about 2 ms of looking for secrets. More of them go to a thread, which costs others less than
so long a wait; for fewer it costs more, since the two take turns at the interpreter."""

_BEFORE: Final = select(SuggestionRow.id, SuggestionRow.before).where(col(SuggestionRow.id).in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Rows:
    events: list[dict[str, Any]]
    suggestions: list[dict[str, Any]]
    written: list[tuple[int, Settled | Rated]]
    """Index in `events` and the event itself, where text stands at a place that only its suggestion knows."""
    texts: list[dict[str, Any]] = field(default_factory=list)
    blobs: list[dict[str, Any]] = field(default_factory=list)


def batch_of(body: bytes) -> EventBatch:
    """Of a request. BadRequest: it is none.

    Straight from the bytes: by way of Python's objects, as FastAPI goes, it takes longer than all else that is done with it.
    """
    try:
        return EventBatch.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in ("body", *first["loc"]))
        raise BadRequest(f"The request is not valid: {where}: {first['msg']}.") from error


async def store_events(store: Store, events: Sequence[Event], owner: str = "") -> EventAck:
    """Returns when all of them are on the disk. StorageFull, StorageCorrupt: none of them was acknowledged.

    owner: the team's user who sent them.
    """
    heavy = sum(map(_weight, events)) > CHARACTERS_HERE
    rows = await asyncio.to_thread(prepare, events, owner) if heavy else prepare(events, owner)
    stored = await store.write_shared(keep, rows)
    return EventAck(stored=stored, known=len(events) - stored)


def _weight(event: Event) -> int:
    """Characters of what may be long."""
    match event:
        case Suggested(context=context):
            drawn = 0 if event.debug is None else sum(len(one.text) for draw in event.debug.draws for one in draw.messages)
            return len(context.prefix) + len(context.suffix) + sum(len(one.text) for one in context.snippets) + drawn
        case TextSnapshot(text=str(text)):
            return len(text)
        case TextChanged(changes=changes):
            return sum(len(change.text) for change in changes)
    return 0


def prepare(events: Sequence[Event], owner: str = "") -> Rows:
    """Table rows of events, secrets replaced. Pure but for the time of arrival."""
    received = milliseconds()
    rows = Rows([], [], [])
    for raw in events:
        event = redacted(raw)
        if isinstance(event, TextSnapshot) and event.text is not None:
            rows.blobs.append({"sha256": event.sha256, "packed": zlib.compress(event.text.encode())})
            event = event.model_copy(update={"text": None})
        if isinstance(event, Settled | Rated):
            rows.written.append((len(rows.events), event))
        rows.events.append(
            {
                "id": event.id,
                "kind": event.kind,
                "session_id": event.session_id,
                "suggestion_id": event.suggestion_id if isinstance(event, SuggestionEvent) else None,
                "at_ms": milliseconds(event.at),
                "received_ms": received,
                "body": event.model_dump_json(),
                "owner": owner,
            }
        )
        if isinstance(event, TextEvent):
            rows.texts.append(
                {
                    "event_id": event.id,
                    "kind": event.kind,
                    "project": _without_nul(event.project),
                    "path": _without_nul(event.path),
                    "document": event.document,
                    "number": event.number,
                    "at_ms": milliseconds(event.at),
                    "sha256": event.sha256 if isinstance(event, TextSnapshot) else "",
                    "owner": owner,
                }
            )
        if isinstance(event, Suggested):
            rows.suggestions.append(
                {
                    "id": event.suggestion_id,
                    "event_id": event.id,
                    "project": _without_nul(event.project),
                    "task": event.task,
                    "at_ms": milliseconds(event.at),
                    "shown": event.shown,
                    "policy_version": _without_nul(event.generation.policy_version),
                    "before": _without_nul(last_line(event.context.prefix)),
                    "owner": owner,
                }
            )
    return rows


def _without_nul(text: str) -> str:
    """PostgreSQL's texts cannot hold it. An event's body is JSON, where it is written as an escape."""
    return text.replace("\0", "\ufffd")


def keep(session: Session, batches: Sequence[Rows]) -> list[int]:
    """Insert what is not known yet, in the session's transaction; returns how many events of each batch that were. What belongs
    to something that was forgotten is left out."""
    stored: list[int] = []
    begun, events = 0, 0
    for end, batch in enumerate(batches, start=1):
        events += len(batch.events)
        if events >= EVENTS_AT_ONCE or end == len(batches):
            stored += _keep(session, batches[begun:end])
            begun, events = end, 0
    return stored


def _keep(session: Session, batches: Sequence[Rows]) -> list[int]:
    rows = _together(batches)
    if gone := late(session, rows.events, rows.suggestions, rows.texts, milliseconds()):
        rows = _without(rows, gone)
    before = _before(session, rows)
    for index, event in rows.written:
        if place := before.get(event.suggestion_id):
            rows.events[index]["body"] = redacted(event, place).model_dump_json()
    for row in rows.events:
        # Only here is an event what will be read.
        row["crc"] = checksum(row)
    new = _insert_new(session, EventRow, col(EventRow.id), rows.events)
    # A known event brings a known suggestion; a second event about the same suggestion does not replace the first.
    _insert_new(session, SuggestionRow, col(SuggestionRow.id), rows.suggestions)
    _insert_new(session, TextRow, col(TextRow.event_id), rows.texts)
    _insert_new(session, TextBlobRow, col(TextBlobRow.sha256), rows.blobs)
    stored = []
    for batch in batches:
        ids = new.intersection(row["id"] for row in batch.events)
        # An event that came twice is the first one's.
        new -= ids
        stored.append(len(ids))
    return stored


def _together(batches: Sequence[Rows]) -> Rows:
    """All their rows; those of events are others, so that a second call finds the first ones as they were."""
    whole = Rows([], [], [])
    for batch in batches:
        whole.written.extend((len(whole.events) + index, event) for index, event in batch.written)
        whole.events.extend(map(dict, batch.events))
        whole.suggestions.extend(batch.suggestions)
        whole.texts.extend(batch.texts)
        whole.blobs.extend(batch.blobs)
    return whole


def _before(session: Session, rows: Rows) -> dict[str, str]:
    """What stands before the places that something was written at, by suggestion: as is known, else as it comes now."""
    asked = {event.suggestion_id for _, event in rows.written}
    before: dict[str, str] = {}
    for row in rows.suggestions:
        before.setdefault(row["id"], row["before"])
    if asked:
        before |= dict(session.connection().execute(_BEFORE, {"ids": list(asked)}).all())
    return before


def _without(rows: Rows, gone: set[str]) -> Rows:
    """The rows without those events."""
    number: dict[int, int] = {}
    events: list[dict[str, Any]] = []
    for index, row in enumerate(rows.events):
        if row["id"] not in gone:
            number[index] = len(events)
            events.append(row)
    texts = [row for row in rows.texts if row["event_id"] not in gone]
    used = {row["sha256"] for row in texts}
    return Rows(
        events=events,
        suggestions=[row for row in rows.suggestions if row["event_id"] not in gone],
        written=[(number[index], event) for index, event in rows.written if index in number],
        texts=texts,
        blobs=[row for row in rows.blobs if row["sha256"] in used],
    )


def _insert_new(session: Session, table: type[SQLModel], key: Mapped[str], rows: list[dict[str, Any]]) -> set[str]:
    """Insert those whose key is not there yet; returns their keys."""
    if not rows:
        return set()
    connection = session.connection()
    return set(connection.scalars(_insert(table, key, connection.dialect.name), rows))


@functools.cache
def _insert(table: type[SQLModel], key: Mapped[str], dialect: str) -> Executable:
    """With RETURNING, SQLAlchemy sends many rows in a statement, in place of one after another."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return insert(table).on_conflict_do_nothing().returning(key)


def redacted(event: Event, before: str = "") -> Event:
    """The event with every secret in its texts replaced. before: what stands on the line before the suggestion's place."""
    match event:
        case Suggested():
            return _redacted_suggestion(event)
        case Settled():
            span = None if event.span_text is None else redact_after(before, event.span_text)
            return event.model_copy(update={"span_text": span, "settled_text": redact_after(before, event.settled_text)})
        case Rated():
            correction = None if event.correction is None else redact_after(before, event.correction)
            return event.model_copy(update={"correction": correction, "comment": redact(event.comment)})
        case BlockProposed():
            return event.model_copy(update={"original": redact(event.original), "text": redact(event.text)})
        case TextSnapshot(text=str(text)) if (masked := mask(text)) != text or sha256(text.encode()).hexdigest() != event.sha256:
            return event.model_copy(update={"text": masked, "sha256": sha256(masked.encode()).hexdigest()})
        case TextChanged() if any(mask(change.text) != change.text for change in event.changes):
            changes = tuple(change.model_copy(update={"text": mask(change.text)}) for change in event.changes)
            return event.model_copy(update={"changes": changes, "sha256": ""})
        case _:
            return event


def _masked_debug(debug: DebugRecord) -> DebugRecord:
    """A draw in which a secret is found keeps its words, masked, and loses the tokens, which spell it."""
    draws = []
    for draw in debug.draws:
        messages = tuple(message.model_copy(update={"text": mask(message.text)}) for message in draw.messages)
        text = mask(draw.text)
        if (messages, text) != (draw.messages, draw.text):
            generation = draw.generation.model_copy(update={"tokens": (), "logprobs": ()})
            draw = draw.model_copy(update={"messages": messages, "text": text, "generation": generation})
        draws.append(draw.model_copy(update={"checks": _redacted_notes(draw.checks)}))
    said = {"trace": redact(debug.trace), "original": redact(debug.original), "reason": redact(debug.reason)}
    diagnostics = tuple(map(_redacted_diagnostic, debug.diagnostics))
    checks = _redacted_notes(debug.checks)
    return debug.model_copy(update={"draws": tuple(draws), "diagnostics": diagnostics, "checks": checks, **said})


def _redacted_notes(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    return tuple(check.model_copy(update={"note": redact(check.note)}) for check in checks)


def _redacted_diagnostic(one: Diagnostic) -> Diagnostic:
    related = tuple(place.model_copy(update={"message": redact(place.message)}) for place in one.related)
    words = {name: redact(getattr(one, name)) for name in ("message", "code", "source")}
    return one.model_copy(update={**words, "related": related})


def _redacted_suggestion(event: Suggested) -> Suggested:
    if event.debug is not None:
        debug = _masked_debug(event.debug)
        drawn = zip(event.debug.draws, debug.draws, strict=True)
        changed = any((old.messages, old.text) != (new.messages, new.text) for old, new in drawn)
        spelled = changed and any(draw.generation.tokens for draw in event.debug.draws)
        update = {"generation": event.generation.model_copy(update={"tokens": (), "logprobs": ()})} if spelled else {}
        event = event.model_copy(update={"debug": debug, **update})
    old = event.context
    prefix, suffix = redact(old.prefix), redact(old.suffix)
    text = redact_after(last_line(prefix), event.text)
    snippets = tuple(snippet.model_copy(update={"text": redact(snippet.text)}) for snippet in old.snippets)
    if (prefix, suffix, snippets, text) == (old.prefix, old.suffix, old.snippets, event.text):
        return event
    context = Context(path=old.path, language=old.language, prefix=prefix, suffix=suffix, snippets=snippets)
    changes: dict[str, Any] = {"context": context, "context_sha256": context.digest(), "text": text}
    if text != event.text:
        # The tokens spell the secret as well.
        changes["generation"] = event.generation.model_copy(update={"tokens": (), "logprobs": ()})
    return event.model_copy(update=changes)
