"""What of a document's changes is recorded: the changes themselves, and where a secret stood, one change without it. Pure.

A text is recorded masked (`mask`): as long as the editor's, so that positions are the same in both. What has been masked once
stays so for as long as the document is open, also when it does not look like a secret any more.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tacit.lsp.edits import Edit, carried_left, carried_right, difference, trimmed
from tacit.protocol.redaction import mask, unfinished

AROUND: Final = 200
"""Characters before and after a change that are looked at with it, and the rest of their lines."""
LONGEST_LINE: Final = 2_000
_REST_OF_LINE: Final = re.compile(r"[^\r\n]*")
KEY: Final = "PRIVATE KEY"
"""Of a document that has these words nothing is recorded: one line of a key does not look like one."""


@dataclass(frozen=True, slots=True)
class Timed:
    at: float
    """Session milliseconds."""
    edit: Edit


@dataclass(frozen=True, slots=True)
class Revision:
    """What becomes of a recorded text."""

    text: str
    """The editor's, after the changes."""
    known: str
    """The recorded one."""
    edits: tuple[Timed, ...]
    """From the recorded text before to the recorded text now; empty: it is the same."""
    hidden: bool
    """They are told as one change, because a secret stood there meanwhile."""


def begun_secret(text: str, edits: Sequence[Timed]) -> bool:
    """Whether the last change, at its end, may be in the middle of a secret. text: after all of them."""
    return bool(edits) and bool(_unfinished(text, _end(edits[-1].edit)))


def revised(text: str, known: str, edits: Sequence[Timed]) -> Revision | None:
    """text, known: the editor's and the recorded one before the edits. None: a private key is there now."""
    before, secret = known, False
    for timed in edits:
        edit = timed.edit
        # By itself too, without what stands around it: so the server will see it.
        alone = mask(edit.text)
        # Where nothing is masked the two are one string: copying a large one takes longer than all the rest.
        same = known is text and alone == edit.text
        text = edit.apply(text)
        known = text if same else Edit(edit.start, edit.end, alone).apply(known)
        start, end = _window(text, edit.start, edit.start + len(edit.text))
        piece = text[start:end]
        if KEY in piece:
            return None
        covered = _covered(known[start:end], piece)
        if covered != known[start:end]:
            secret, known = True, known[:start] + covered + known[end:]
        secret = secret or alone != edit.text or bool(_unfinished(text, _end(edit)))
    for stop in _ends(edits):
        if begun := _unfinished(text, stop):
            secret, known = True, known[: stop - begun] + "*" * begun + known[stop:]
    if not secret:
        return Revision(text, known, tuple(edits), hidden=False)
    return _told_as_one(before, text, known, edits[-1].at)


def covered(text: str, known: str, at: float) -> Revision:
    """The whole text looked at again, for a snapshot."""
    return _told_as_one(known, text, _covered(known, text), at)


def _told_as_one(before: str, text: str, known: str, at: float) -> Revision:
    edit = difference(before, known)
    if edit.empty:
        return Revision(text, known, (), hidden=False)
    # As the server will see it.
    edit = Edit(edit.start, edit.end, mask(edit.text))
    return Revision(text, edit.apply(before), (Timed(at, edit),), hidden=True)


def small(edit: Edit, before: str) -> Edit:
    """The same change, without what it replaces by itself."""
    return trimmed(edit, before)


def _covered(known: str, text: str) -> str:
    """`known` with what is a secret in `text` masked too."""
    masked = mask(text)
    if masked == text:
        return known
    return "".join("*" if secret != plain else old for old, plain, secret in zip(known, text, masked, strict=True))


def _end(edit: Edit) -> int:
    return edit.start + len(edit.text)


def _ends(edits: Sequence[Timed]) -> set[int]:
    """Where the edits ended, in the text after all of them: one place for what was typed in one go."""
    ends: set[int] = set()
    for timed in edits:
        edit = timed.edit
        rest = _REST_OF_LINE.match(edit.text)
        if rest is not None and rest.end() < len(edit.text):
            # A line end that was typed leaves what was typed before it on its line.
            stop = edit.start + rest.end()
            ends = {stop if end == edit.start else carried_left(end, edit) for end in ends} | {stop}
        else:
            ends = {carried_right(end, edit) for end in ends}
        ends.add(_end(edit))
    return ends


def _unfinished(text: str, end: int) -> int:
    start = max(text.rfind("\n", 0, end) + 1, end - LONGEST_LINE)
    return unfinished(text[start:end])


def _window(text: str, start: int, end: int) -> tuple[int, int]:
    """The lines around a place, within reason."""
    first = max(0, start - AROUND)
    low = max(text.rfind("\n", 0, first) + 1, first - LONGEST_LINE)
    last = text.find("\n", min(len(text), end + AROUND))
    high = min(len(text) if last < 0 else last + 1, end + AROUND + LONGEST_LINE)
    return low, high
