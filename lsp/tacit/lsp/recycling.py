"""Whether the answer of a running call may still fit: the hole it is for, followed through the changes. Pure.

The model was asked for what follows `left`, or for what follows once `ahead` stands there (a prefetch). While only such text
is typed into the hole the call is worth its time; any other change, a deletion above all, makes it useless.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tacit.lsp.documents import Step
from tacit.lsp.edits import carried_left, carried_right, slid, trimmed
from tacit.lsp.matching import match, unified

MOST_TYPED: Final = 24
"""Characters typed unseen: a slow engine's answer that so much has been typed past hardly ever begins with all of it."""


@dataclass(slots=True)
class Span:
    """The hole [left, right) of a call under way."""

    left: int
    right: int
    ahead: str = ""
    """What has to stand at its start before the answer is of use; line ends LF."""

    def follow(self, steps: Sequence[Step]) -> bool:
        """One didChange. False: the answer cannot be used any more."""
        for step in steps:
            edit = trimmed(step.edit, step.before)
            if edit.empty:
                continue
            if not self.left <= edit.start <= edit.end <= self.right:
                # Of all ways to tell this change the one that is about the hole.
                edit = slid(edit, step.before, step.after, self.right)
            if not self.left <= edit.start <= edit.end <= self.right:
                return False
            if edit.end > edit.start and not self.ahead:
                return False
            self.left, self.right = carried_left(self.left, edit), carried_right(self.right, edit)
        if not self.ahead:
            return self.right - self.left <= MOST_TYPED
        if not steps:
            return True
        hole = unified(steps[-1].after[self.left : self.right])
        return hole.startswith(self.ahead) or match(hole, self.ahead) is not None

    def asks(self, text: str, offset: int) -> bool:
        """True if its answer, whatever it is, is what a request at this offset of this text would be for."""
        if not self.left <= offset <= self.right:
            return False
        before, hole = unified(text[self.left : offset]), unified(text[self.left : self.right])
        if not before.startswith(self.ahead):
            return False
        found = match(hole, before)
        return found is not None and found.taken == len(before)
