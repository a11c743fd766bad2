"""One suggestion as the tracker follows it: where its hole is, and what has been seen of it. Pure; offsets are code points."""

from dataclasses import dataclass, field
from typing import Final

from tacit.lsp.edits import Edit, carried_left, carried_right
from tacit.lsp.outcomes import Horizon

NEARBY_CHARS: Final = 200
"""An edit this close to the hole means that the developer has not moved on."""


@dataclass(slots=True)
class Tracked:
    id: str
    text: str
    left: int
    right: int
    """The hole: [left, right)."""
    shown_at: float
    seen: bool = False
    """The editor has said that it is visible."""
    taken: int = 0
    """Characters of `text` that stand at the start of the hole; kept up to date while live."""
    unseen: int = 0
    """So many of them stood there before it was shown."""
    accepted: int = 0
    """Most characters that were there by acceptance; 0: not accepted."""
    before_acceptance: int = 0
    """`taken` just before the first acceptance."""
    span_start: int = 0
    span_end: int = 0
    """Where the accepted text is: insertions at its ends are not part of it."""
    accepted_at: float = 0.0
    decided_at: float | None = None
    typed_all: bool = False
    undone: bool = False
    edited_at: float = 0.0
    """Of the last change nearby."""
    open: set[Horizon] = field(default_factory=lambda: {"10s", "2m", "10m"})
    saved_at: float | None = None
    saved_text: str = ""
    original: str | None = None
    """Of a change that was proposed: what stood in the hole, which `text` is to replace. None: `text` is inserted."""

    def carry(self, edit: Edit, now: float) -> None:
        if edit.start <= self.right + NEARBY_CHARS and edit.end >= self.left - NEARBY_CHARS:
            self.edited_at = now
        self.left, self.right = carried_left(self.left, edit), carried_right(self.right, edit)
        start, end = carried_right(self.span_start, edit), carried_left(self.span_end, edit)
        self.span_start, self.span_end = min(start, end), end
