"""What stood in a document at a moment, rebuilt from the nearest snapshot and the changes after it. Reads the store.

Nothing is guessed: a number that is missing, a text whose hash is another one, a moment that was hidden because of a secret
and a snapshot that is too old to be kept are each said to be a gap.
"""

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise

from sqlmodel import Session, col, select

from tacit.protocol.errors import NotFound
from tacit.protocol.events import EVENT, TextAt, TextChanged, TextClosed, TextEvent, TextSnapshot
from tacit.server.store.store import milliseconds, moment
from tacit.server.store.tables import EventRow, TextBlobRow, TextRow


def texts_at(session: Session, project: str, at: datetime, owner: str | None = None) -> list[str]:
    """Paths of all documents of which something is recorded at or before this moment. owner: by this user of the team."""
    query = select(TextRow.path).where(TextRow.project == project, TextRow.at_ms <= milliseconds(at)).distinct()
    return sorted(session.exec(query if owner is None else query.where(TextRow.owner == owner)))


def text_at(session: Session, project: str, path: str, at: datetime, owner: str | None = None) -> TextAt:
    """NotFound: nothing of this file is recorded at or before this moment; the message says from when on there is.

    owner: what this user of the team recorded; None: whoever recorded last.
    """
    limit = milliseconds(at)
    mine = [TextRow.project == project, TextRow.path == path, *([] if owner is None else [TextRow.owner == owner])]
    latest = session.exec(
        select(TextRow)
        .where(*mine, TextRow.at_ms <= limit)
        .order_by(col(TextRow.at_ms).desc(), col(TextRow.number).desc())
        .limit(1)
    ).first()
    if latest is None:
        first = session.exec(select(TextRow.at_ms).where(*mine).order_by(col(TextRow.at_ms)).limit(1)).first()
        when = f"; the record of it begins at {moment(first).isoformat(timespec='seconds')}" if first is not None else ""
        raise NotFound(f"Nothing of {path} is recorded at or before {at.isoformat(timespec='seconds')}{when}.")
    return rebuild(_of_document(session, latest, limit), at)


def rebuild(events: Sequence[TextEvent], at: datetime) -> TextAt:
    """events: of one opening, in the order of their numbers, from a snapshot at or before `at` on, to the one after `at`."""
    limit = milliseconds(at)
    known = [event for event in events if milliseconds(event.at) <= limit]
    confirmed = len(known) < len(events)
    first, last = known[0], known[-1]

    def gap(note: str) -> TextAt:
        return TextAt(path=last.path, at=at, state="gap", note=note, text=None, sha256="", since=None, document=last.document)

    if not isinstance(first, TextSnapshot) or first.text is None:
        return gap("The snapshot that it would be rebuilt from is not kept.")
    text, since = first.text, first.at
    if any(later.number != earlier.number + 1 for earlier, later in pairwise(known)):
        return gap("Changes between the snapshot and this moment are missing from the record.")
    for event in known:
        if isinstance(event, TextChanged):
            whole = text
            for change in event.changes:
                whole = whole[: change.start] + change.text + whole[change.end :]
                when = event.at + timedelta(milliseconds=change.after_ms)
                if milliseconds(when) <= limit:
                    text, since = whole, when
                elif event.hidden:
                    return gap("A secret was being typed: what stood there meanwhile is not recorded.")
                else:
                    confirmed = True
            if not event.sha256:
                return gap("A secret was found in it when it was stored, so the text after it cannot be checked.")
            if _digest(whole) != event.sha256:
                return gap("The text that is rebuilt from the record is another one than the editor had.")
        elif isinstance(event, TextClosed):
            why = {
                "closed": "It was not open at that moment; this is its text when it was closed",
                "private_key": "It holds a private key since then, so nothing is recorded; this is its text before",
                "unusable": "It could not be followed any more since then; this is its text before",
            }[event.reason]
            return _found(last, at, text, "closed", f"{why}, at {event.at.isoformat(timespec='seconds')}.", since)
    if confirmed:
        return _found(last, at, text, "exact", f"As it was since {since.isoformat(timespec='milliseconds')}.", since)
    note = f"Its last change that is recorded, at {since.isoformat(timespec='milliseconds')}; nothing later confirms it."
    return _found(last, at, text, "last_known", note, since)


def _found(event: TextEvent, at: datetime, text: str, state: str, note: str, since: datetime) -> TextAt:
    return TextAt.model_validate(
        {
            "path": event.path,
            "at": at,
            "state": state,
            "note": note,
            "text": text,
            "sha256": _digest(text),
            "since": since,
            "document": event.document,
        }
    )


def _of_document(session: Session, latest: TextRow, limit_ms: int) -> list[TextEvent]:
    """From the last snapshot at or before the moment whose text is kept to the first event after it, of the opening that `latest`
    belongs to, as its owner told of it: whoever names the same document has another.
    """
    opening = (TextRow.document == latest.document, TextRow.owner == latest.owner)
    snapshots = (
        select(TextRow.number)
        .join(TextBlobRow, col(TextBlobRow.sha256) == TextRow.sha256)
        .where(*opening, TextRow.kind == "text_snapshot", TextRow.at_ms <= limit_ms)
        .order_by(col(TextRow.number).desc())
        .limit(1)
    )
    begin = session.exec(snapshots).first() or 0
    rows = session.exec(
        select(TextRow.at_ms, TextRow.sha256, EventRow.body)
        # Of the same owner: somebody else may have named an event that was there.
        .join(EventRow, (col(EventRow.id) == TextRow.event_id) & (col(EventRow.owner) == TextRow.owner))
        .where(*opening, TextRow.number >= begin)
        .order_by(col(TextRow.number))
    )
    found: list[TextEvent] = []
    for at_ms, digest, body in rows:
        event = EVENT.validate_json(body)
        assert isinstance(event, TextEvent)
        if isinstance(event, TextSnapshot):
            blob = session.get(TextBlobRow, digest)
            event = event.model_copy(update={"text": _unpacked(blob)})
        found.append(event)
        if at_ms > limit_ms:
            break
    return found


def _unpacked(blob: TextBlobRow | None) -> str | None:
    """None: it is not kept, or no longer what was kept."""
    try:
        return zlib.decompress(blob.packed).decode() if blob is not None else None
    except (zlib.error, UnicodeDecodeError):
        return None


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
