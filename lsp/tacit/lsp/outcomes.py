"""What the tracker says of a suggestion, as plain data: the same words as the wire events, without ids and times. Pure."""

from dataclasses import dataclass
from typing import Literal

Horizon = Literal["10s", "2m", "10m", "save", "close"]
RejectReason = Literal["dismissed", "typed_over", "ignored", "superseded", "focus_lost"]


@dataclass(frozen=True, slots=True)
class Accepted:
    suggestion_id: str
    accepted_chars: int
    total_chars: int
    visible_ms: float
    inferred: bool


@dataclass(frozen=True, slots=True)
class TypedThrough:
    suggestion_id: str
    matched_chars: int
    total_chars: int
    visible_ms: float


@dataclass(frozen=True, slots=True)
class Rejected:
    suggestion_id: str
    reason: RejectReason
    visible_ms: float
    inferred: bool


@dataclass(frozen=True, slots=True)
class Undone:
    suggestion_id: str
    after_ms: float


@dataclass(frozen=True, slots=True)
class Settled:
    suggestion_id: str
    horizon: Horizon
    elapsed_ms: float
    span_text: str | None
    settled_text: str


Outcome = Accepted | TypedThrough | Rejected | Undone | Settled
