"""The record of texts: changes in batches, snapshots at opening, saving and now and then. Touches a thread and the recorder.

A document's changes are gathered here and told in batches. A key costs an append; what takes time (looking for secrets, hashes)
is done by one thread, so that the editor never waits for it. Nothing is gathered of a document that may not be recorded.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

from tacit.lsp.clock import SessionClock
from tacit.lsp.documents import Step
from tacit.lsp.edits import difference
from tacit.lsp.revisions import KEY, Revision, Timed, begun_secret, covered, revised, small

if TYPE_CHECKING:
    from tacit.protocol.events import Event

log = logging.getLogger(__name__)

BATCH_S: Final = 5.0
"""Real seconds from a change to its batch: what a crash can lose."""
BATCH_CHANGES: Final = 200
HELD_CHANGES: Final = 600
"""While a secret is being typed, a batch waits until it is clear what it is, but not for more changes than these."""
SNAPSHOT_CHANGES: Final = 2000
SNAPSHOT_S: Final = 60.0
"""Editors that save by themselves save all the time: at most so often there is a snapshot at a save."""
MOST_CHANGES: Final = 1000
"""Of one event. Of an editor that replaces everywhere at once, all is told as one change."""
LONGEST: Final = 1_000_000
"""Characters: larger documents are not recorded, nor is what becomes of one that was larger for a moment."""

Reason = Literal["opened", "saved", "periodic"]
Closing = Literal["closed", "private_key", "unusable"]
Where = tuple[str, str]
"""Project and path."""


@dataclass(slots=True)
class _Told:
    """What has been recorded of one opening of a document. The thread's own."""

    where: Where
    document: str
    text: str
    known: str
    number: int = 0
    since_snapshot: int = 0
    snapshot_at: float = 0.0
    ended: bool = False


@dataclass(slots=True)
class _Open:
    """A document as the editor has it."""

    text: str
    told: _Told | None = None
    """None: it is not recorded."""
    pending: list[Timed] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class Journal:
    def __init__(
        self,
        record: Callable[["Event"], None],
        clock: SessionClock,
        session_id: str,
        where: Callable[[str], Where | None],
    ) -> None:
        """record: called in the event loop. where: a document's project and path; None: it may not be recorded (now)."""
        self._record = record
        self._clock = clock
        self._session_id = session_id
        self._where = where
        self._documents: dict[str, _Open] = {}
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "tacit-journal")

    def opened(self, uri: str, text: str) -> None:
        self.closed(uri)
        self._documents[uri] = _Open(text)
        self._begin(uri)

    def changed(self, uri: str, steps: Sequence[Step]) -> None:
        document = self._documents.get(uri)
        if document is None or not steps:
            return
        before, document.text = document.text, steps[-1].after
        if document.told is None:
            return
        now = self._clock.now()
        if any(len(step.after) > LONGEST for step in steps):
            self._tell(uri, whatever=True)
            if document.told is not None:
                self._submit(self._close, document.told, "unusable", now)
            document.told = None
            return
        if len(document.pending) + len(steps) > MOST_CHANGES:
            edits = [difference(before, document.text)]
        else:
            edits = [small(step.edit, step.before) for step in steps]
        document.pending += [Timed(now, edit) for edit in edits if not edit.empty]
        if len(document.pending) >= BATCH_CHANGES:
            self._tell(uri)
        elif document.timer is None:
            document.timer = self._loop.call_later(BATCH_S, self._tell, uri)

    def saved(self, uri: str) -> None:
        self._tell(uri)
        if (document := self._documents.get(uri)) is not None:
            if document.told is not None and not document.pending:
                self._submit(self._snapshot, document.told, "saved", self._clock.now(), self._loop.time())
            else:
                self._begin(uri)

    def closed(self, uri: str, reason: Closing = "closed") -> None:
        """Nothing more is known of it."""
        document = self._documents.get(uri)
        if document is None:
            return
        self._tell(uri, whatever=True)
        if (told := document.told) is not None:
            self._submit(self._close, told, reason, self._clock.now())
        self._documents.pop(uri, None)

    def review(self) -> None:
        """What may be recorded may have changed: the developer's answer, a pause, a project that was found."""
        for uri in self._documents:
            self._tell(uri)
            self._begin(uri)

    async def end(self) -> None:
        """Everything that was gathered has been recorded when it returns."""
        for uri in list(self._documents):
            self.closed(uri)
        await asyncio.to_thread(self._thread.shutdown)
        # What the thread has handed over stands in the loop's queue before this.
        await asyncio.sleep(0)

    # In the event loop

    def _begin(self, uri: str) -> None:
        document = self._documents[uri]
        if document.told is not None or len(document.text) > LONGEST or (where := self._where(uri)) is None:
            return
        told = document.told = _Told(where, uuid4().hex, document.text, document.text)
        self._submit(self._first, told, self._clock.now(), self._loop.time())

    def _tell(self, uri: str, *, whatever: bool = False) -> None:
        """Record what is pending. whatever: also if a secret may be half typed, which is masked then."""
        document = self._documents.get(uri)
        if document is None:
            return
        if document.timer is not None:
            document.timer.cancel()
            document.timer = None
        told, edits = document.told, document.pending
        if told is None:
            return
        if self._where(uri) != told.where:
            # Turned off meanwhile, or ignored: nothing of this is recorded, nor of what follows, until that is taken back.
            document.told, document.pending = None, []
            return
        if not edits:
            return
        if not whatever and len(edits) < HELD_CHANGES and begun_secret(document.text, edits):
            document.timer = self._loop.call_later(BATCH_S, self._tell, uri)
            return
        document.pending = []
        self._submit(self._batch, told, edits, self._loop.time())

    def _submit(self, work: Callable[..., None], *arguments: object) -> None:
        self._thread.submit(self._guarded, work, *arguments)

    # In the thread

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        except Exception:
            log.exception("a text was not recorded")

    def _first(self, told: _Told, now: float, real: float) -> None:
        if KEY in told.text:
            told.ended = True
            return
        told.known = covered(told.text, told.known, now).known
        self._say_snapshot(told, "opened", now, real)

    def _batch(self, told: _Told, edits: Sequence[Timed], real: float) -> None:
        if told.ended:
            return
        revision = revised(told.text, told.known, edits)
        if revision is None:
            self._close(told, "private_key", edits[0].at)
            return
        self._say_changes(told, revision, edits[0].at)
        told.since_snapshot += len(edits)
        if told.since_snapshot >= SNAPSHOT_CHANGES:
            self._say_whole(told, "periodic", edits[-1].at, real)

    def _snapshot(self, told: _Told, reason: Reason, now: float, real: float) -> None:
        if not told.ended and told.since_snapshot and real - told.snapshot_at >= SNAPSHOT_S:
            self._say_whole(told, reason, now, real)

    def _close(self, told: _Told, reason: Closing, now: float) -> None:
        from tacit.protocol.events import TextClosed

        if not told.ended:
            told.ended = True
            self._say(TextClosed(at=self._at(now), reason=reason, **self._of(told)))

    def _say_whole(self, told: _Told, reason: Reason, now: float, real: float) -> None:
        # Looked at as a whole, it may have a secret that no change showed.
        self._say_changes(told, covered(told.text, told.known, now), now)
        self._say_snapshot(told, reason, now, real)

    def _say_snapshot(self, told: _Told, reason: Reason, now: float, real: float) -> None:
        from tacit.protocol.events import TextSnapshot

        told.since_snapshot, told.snapshot_at = 0, real
        digest = sha256(told.known.encode()).hexdigest()
        self._say(TextSnapshot(at=self._at(now), reason=reason, sha256=digest, text=told.known, **self._of(told)))

    def _say_changes(self, told: _Told, revision: Revision, began: float) -> None:
        from tacit.protocol.events import Change, TextChanged

        told.text, told.known = revision.text, revision.known
        if not revision.edits:
            return
        at = self._at(began)
        changes = tuple(
            Change(
                after_ms=max(0, round((self._at(timed.at) - at).total_seconds() * 1000)),
                start=timed.edit.start,
                end=timed.edit.end,
                text=timed.edit.text,
            )
            for timed in revision.edits
        )
        digest = sha256(told.known.encode()).hexdigest()
        self._say(TextChanged(at=at, changes=changes, sha256=digest, hidden=revision.hidden, **self._of(told)))

    def _of(self, told: _Told) -> dict[str, Any]:
        project, path = told.where
        number, told.number = told.number, told.number + 1
        return {
            "session_id": self._session_id,
            "project": project,
            "path": path,
            "document": told.document,
            "number": number,
        }

    def _at(self, now: float) -> datetime:
        """Of a moment of the session, in whole milliseconds."""
        at = self._clock.at(now).astimezone(UTC)
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    def _say(self, event: "Event") -> None:
        self._loop.call_soon_threadsafe(self._record, event)
