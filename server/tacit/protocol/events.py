"""Wire types of `POST /v1/events`: what the developer did with suggestions. Pure data.

Every event has an id (made once, kept through every retry: ingestion is idempotent by it), a time and a session. An
event about a suggestion names it. Text offsets are code points; times are in the session's own clock.
"""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import uuid4

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from tacit.protocol.completion import Context, Generation, Task, Trigger, Wire
from tacit.protocol.debugging import Check, DebugKind, Diagnostic, Draw

Horizon = Literal["10s", "2m", "10m", "save", "close"]
"""When settled text is read. `close`: the document or the session ended first; not a horizon of the reward."""

RejectReason = Literal["dismissed", "typed_over", "ignored", "superseded", "focus_lost"]
"""dismissed: the editor said so (Esc). typed_over: other text was typed there. ignored: the cursor moved away.
superseded: another suggestion replaced it. focus_lost: the document was left or closed (censored)."""

RatingFlag = Literal["hallucination", "wrong", "insecure", "unclear"]

Identifier = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


def new_id() -> str:
    """A fresh identifier for an event, suggestion, session or run: 32 hex digits."""
    return uuid4().hex


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_aware)]
"""One without a zone is UTC: times with and without one cannot be put in order."""


class EventBase(Wire):
    model_config = ConfigDict(allow_inf_nan=False)

    id: Identifier = Field(default_factory=new_id)
    at: Moment
    """UTC, of the session's clock."""
    session_id: Identifier


class SessionStarted(EventBase):
    kind: Literal["session_started"] = "session_started"
    editor: str = Field(default="", max_length=200)
    tacit_version: str = Field(default="", max_length=64)
    time_scale: float = Field(default=1.0, gt=0)
    """How many session seconds pass in a real one; 1 for a person, more in scripted replays."""


class SuggestionEvent(EventBase):
    suggestion_id: Identifier


class Recent(Wire):
    """What the developer did with the suggestions before this one, at the time of its draw: the show policy looks at it."""

    accepts: float = Field(ge=0)
    """Of the last ten minutes, the older the less."""
    rejects: float = Field(ge=0)
    """Dismissed or typed over, counted the same way."""
    rejected_here: bool
    """The last suggestion was on this line, and was rejected."""
    since_last_s: float | None = Field(default=None, ge=0)
    """Since the last one was shown; None: it is the first."""


class DebugRecord(Wire):
    """Of a suggestion of the `debug` task: what was asked, and everything that was drawn."""

    kind: DebugKind
    conversation: str = Field(default="", max_length=64)
    """The same for all answers of one; empty: a fix."""
    diagnostics: tuple[Diagnostic, ...] = Field(default=(), max_length=32)
    """The first is the one that it is about."""
    trace: str = Field(default="", max_length=200_000)
    original: str = ""
    """Of a fix: what `Suggested.text` takes the place of, whole lines."""
    reason: str = ""
    """Of a fix in the model's words; of one that was withheld: why."""
    confidence: float | None = Field(default=None, ge=0, le=1)
    checks: tuple[Check, ...] = ()
    draws: tuple[Draw, ...] = Field(default=(), max_length=64)
    """In order; `Suggested.generation` is the one that was shown, of a fix that was withheld the last."""


class Suggested(SuggestionEvent):
    """A suggestion was generated: the whole record of the draw. Sent once, before any other event about it."""

    kind: Literal["suggested"] = "suggested"
    project: str = Field(max_length=64)
    task: Task = "completion"
    context: Context
    context_sha256: str = Field(max_length=64)
    text: str
    """What was offered: the generated text as cut by the stop rules."""
    generation: Generation
    trigger: Trigger
    p_show: float = Field(gt=0, le=1)
    """Probability with which the show policy would show it."""
    shown: bool
    """False: generated but withheld, or its answer came too late to be shown."""
    withheld_reason: str = Field(default="", max_length=64)
    latency_ms: float = Field(ge=0)
    """From the editor's request to the language server's answer."""
    engine_ms: float = Field(ge=0)
    typed_before: int = Field(default=0, ge=0)
    """So many characters of `text` had been typed when it was shown first: the model was asked earlier, and the developer
    typed on meanwhile. They are part of what is typed through or accepted; nobody saw them."""
    p_kept: float | None = Field(default=None, ge=0, le=1)
    """What the show policy predicted; None: it was not asked."""
    recent: Recent | None = None
    debug: DebugRecord | None = None
    """Of the `debug` task only. Then `text` is the fix (the lines that it changes, as they become) or the answer's text."""


class Shown(SuggestionEvent):
    kind: Literal["shown"] = "shown"
    inferred: bool
    """False: the editor said so (didShowCompletion). True: it was the answer to a request that was not cancelled."""


class Accepted(SuggestionEvent):
    kind: Literal["accepted"] = "accepted"
    accepted_chars: int = Field(ge=1)
    """How much of the suggestion is in the document through acceptance, from its start, typed-through part included."""
    total_chars: int = Field(ge=1)
    visible_ms: float = Field(ge=0)
    inferred: bool
    """True: computed from didChange. False: the editor confirmed it (item.command, didPartiallyAcceptCompletion)."""

    @property
    def fraction(self) -> float:
        return min(1.0, self.accepted_chars / self.total_chars)


class TypedThrough(SuggestionEvent):
    """The developer typed what was suggested without accepting it."""

    kind: Literal["typed_through"] = "typed_through"
    matched_chars: int = Field(ge=1)
    total_chars: int = Field(ge=1)
    visible_ms: float = Field(ge=0)


class Rejected(SuggestionEvent):
    kind: Literal["rejected"] = "rejected"
    reason: RejectReason
    visible_ms: float = Field(ge=0)
    inferred: bool = True


class Undone(SuggestionEvent):
    """The accepted text was taken out again in one step."""

    kind: Literal["undone"] = "undone"
    after_ms: float = Field(ge=0)
    """Since acceptance."""


class Settled(SuggestionEvent):
    """The text at the suggestion's place once the developer has moved on."""

    kind: Literal["settled"] = "settled"
    horizon: Horizon
    elapsed_ms: float = Field(ge=0)
    """Since the suggestion was decided (accepted, typed through or rejected)."""
    span_text: str | None
    """What is now where the accepted text went in; None if nothing was accepted."""
    settled_text: str
    """y*: everything that now stands between the text that was before the hole and the text that was after it, cut at
    2,000 characters; for a rejected suggestion, what was typed instead."""


class DiagnosticChecked(SuggestionEvent):
    """After a fix was applied: what the editor's tools say of the file, where they have spoken since."""

    kind: Literal["diagnostic_checked"] = "diagnostic_checked"
    horizon: Horizon
    elapsed_ms: float = Field(ge=0)
    """Since the fix was applied."""
    gone: bool
    """What the fix was for is not reported any more."""
    new_errors: int = Field(default=0, ge=0)
    """Errors around the fix that were not reported when it was asked for."""


class Reran(SuggestionEvent):
    """After a fix was applied: the program, or its tests, ran again. What nobody looked at keeps its default."""

    kind: Literal["reran"] = "reran"
    elapsed_ms: float = Field(ge=0)
    """Since the fix was applied."""
    exception_gone: bool | None = None
    """The exception that the fix was for is not raised any more."""
    raised: str = Field(default="", max_length=200)
    """Type of the exception that ended it now, as the trace names it; empty: none did, or it was a test's own assertion."""
    tests_fixed: int = Field(default=0, ge=0)
    """Tests that failed before the fix and pass now."""
    tests_failing: int = Field(default=0, ge=0)
    """Those that failed before and still do."""
    tests_broken: int = Field(default=0, ge=0)
    """Those that passed before and fail now."""


class BlockProposed(SuggestionEvent):
    """The developer has a code block of an answer put into a file. What becomes of it is told of the answer."""

    kind: Literal["block_proposed"] = "block_proposed"
    block: int = Field(ge=0)
    """Which of the answer's, from 0."""
    path: str = Field(max_length=4096)
    original: str = Field(max_length=100_000)
    """Whole lines that it takes the place of."""
    text: str = Field(max_length=100_000)
    """And as they become."""


class AskedAgain(SuggestionEvent):
    """The same question about the same place, within half an hour: this answer did not settle it. Never of a fix that was
    applied and whose problem is gone."""

    kind: Literal["asked_again"] = "asked_again"
    after_ms: float = Field(ge=0)


class Rated(SuggestionEvent):
    kind: Literal["rated"] = "rated"
    value: Literal[-1, 1]
    flag: RatingFlag | None = None
    correction: str | None = Field(default=None, max_length=20_000)
    """What it should have been: supplies y*."""
    comment: str = Field(default="", max_length=2000)


MOST_TEXT: Final = 1_000_000
"""Characters of a document that is recorded."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TextEvent(EventBase):
    """Of the record of a workspace's texts: enough of them rebuild what stood in a document at any moment.

    The text that they tell of is as long as the editor's, character by character; those of secrets are `*`.
    """

    project: str = Field(max_length=64)
    path: str = Field(max_length=4096)
    """Relative to the workspace root, with forward slashes."""
    document: Identifier
    """One opening of the document in one session."""
    number: int = Field(ge=0, lt=2**63)
    """Counts the text events of one opening, in a column of 64 bits. One that is missing is a gap."""


class TextSnapshot(TextEvent):
    """All of a document's text at `at`. The first event of each opening is one."""

    kind: Literal["text_snapshot"] = "text_snapshot"
    reason: Literal["opened", "saved", "periodic"]
    sha256: Sha256
    """Of the text in UTF-8."""
    text: str | None = Field(max_length=MOST_TEXT)
    """None once it is stored: it is kept once for each sha256."""


class Change(Wire):
    """`[start, end)` of the text before it, in code points, was replaced."""

    after_ms: float = Field(ge=0)
    """Since the event's `at`."""
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: str = Field(max_length=MOST_TEXT)


class TextChanged(TextEvent):
    """Changes of a document, in order; `at` is that of the first."""

    kind: Literal["text_changed"] = "text_changed"
    changes: tuple[Change, ...] = Field(min_length=1, max_length=1000)
    sha256: Literal[""] | Sha256
    """Of the text after all of them; empty: a secret was found when they were stored, and nothing can be checked by it."""
    hidden: bool = False
    """A secret stood there meanwhile: the changes are told as one, and the text between `at` and that one is not recorded."""


class TextClosed(TextEvent):
    """From here on nothing is known of the document."""

    kind: Literal["text_closed"] = "text_closed"
    reason: Literal["closed", "private_key", "unusable"]
    """closed: in the editor, or with it. private_key: it holds one now. unusable: it is too large, binary or out of step."""


Event = Annotated[
    SessionStarted
    | Suggested
    | Shown
    | Accepted
    | TypedThrough
    | Rejected
    | Undone
    | Settled
    | Rated
    | DiagnosticChecked
    | Reran
    | AskedAgain
    | BlockProposed
    | TextSnapshot
    | TextChanged
    | TextClosed,
    Field(discriminator="kind"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Validates and serialises one event."""


TextState = Literal["exact", "last_known", "closed", "gap"]
"""exact: a later event of the same opening confirms the text. last_known: nothing later is recorded. closed: the document was
not open; this is its text when it was closed last. gap: what stood there is not recorded."""


class TextAt(Wire):
    """`GET /v1/replay`: what stood in a document at a moment."""

    path: str
    at: datetime
    """The moment that was asked about."""
    state: TextState
    note: str
    """A sentence that says what is known, and what is not."""
    text: str | None
    """None: a gap."""
    sha256: str
    """Of the text; empty: a gap."""
    since: datetime | None
    """Of the last change, or of the snapshot if there was none since."""
    document: str
    """The opening that it is rebuilt from."""


class EventBatch(Wire):
    events: tuple[Event, ...] = Field(min_length=1, max_length=1000)


class EventAck(Wire):
    """Sent only after every event of the batch is on disk, synced."""

    stored: int
    """New events."""
    known: int
    """Events that were stored before (a retry)."""


class SuggestionRecord(Wire):
    """A suggestion with all that became of it: one line of `GET /v1/export`."""

    suggestion: Suggested
    events: tuple[Event, ...]
    """In order of time."""
