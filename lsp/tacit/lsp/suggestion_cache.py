"""Answers of the model by the text around their place: found again after typing, moving away and back, and edits elsewhere.

Pure; knows texts and offsets. An entry holds the few lines before and after its hole: it fits wherever these stand, followed
and preceded by nothing else than the beginning of its text. Deleting what was typed of a text throws it away.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from tacit.lsp.matching import match, unified

LINES_BEFORE: Final = 3
LINES_AFTER: Final = 2
WINDOW: Final = 2_000
"""Characters of these lines at most; more of the text is looked at by as much as an entry's text is long."""
ENTRIES: Final = 60
LONGEST_MS: Final = 600_000.0
"""After ten minutes the rest of the file, and what the model would say, is another one."""
_EDGE: Final = "\0"
"""Stands for the document's start and end; no text has it."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Hit(Generic[Value]):
    value: Value
    left: int
    """Where the text begins: before the cursor by what has been typed of it."""
    right: int
    """Behind the brackets at the cursor that the editor has closed by itself."""
    taken: int
    """Characters of the text that have been typed."""
    closers: int


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Value]):
    uri: str
    before: str
    after: str
    text: str
    """Line ends LF."""
    value: Value
    at: float


class SuggestionCache(Generic[Value]):
    def __init__(self) -> None:
        self._entries: list[_Entry[Value]] = []

    def put(self, uri: str, document: str, offset: int, text: str, value: Value, now: float) -> None:
        """Remember an answer for this place; an empty one too. now: session milliseconds."""
        before, after = _around(document, offset, offset, WINDOW)
        before = "\n".join(before.split("\n")[-1 - LINES_BEFORE :])
        after = "\n".join(after.split("\n")[: 1 + LINES_AFTER])
        entry = _Entry(uri, before, after, unified(text), value, now)
        kept = [e for e in self._entries if (e.uri, e.before, e.after, e.text) != (uri, before, after, entry.text)]
        self._entries = [entry, *kept][:ENTRIES]

    def find(
        self, uri: str, document: str, offset: int, now: float, wanted: Callable[[Value], bool] = lambda value: True
    ) -> Hit[Value] | None:
        """The newest that fits at the cursor, with something of it left; an empty text only at its very place."""
        self._entries = [entry for entry in self._entries if now - entry.at < LONGEST_MS]
        for entry, taken, closers in self._matching(uri, document, offset):
            if (taken < len(entry.text) or not entry.text) and wanted(entry.value):
                left = offset - _raw_length(document, offset, taken)
                return Hit(entry.value, left, offset + closers, taken, closers)
        return None

    def deleted(self, uri: str, document: str, end: int) -> list[Value]:
        """Characters before `end` of this text are about to go: what of an entry is among them is not wanted. Returns those."""
        gone = [entry for entry, taken, _ in self._matching(uri, document, end) if taken > 0]
        self._entries = [entry for entry in self._entries if not any(entry is other for other in gone)]
        return [entry.value for entry in gone]

    def drop(self, unwanted: Callable[[Value], bool]) -> None:
        self._entries = [entry for entry in self._entries if not unwanted(entry.value)]

    def values(self) -> list[Value]:
        return [entry.value for entry in self._entries]

    def _matching(self, uri: str, document: str, offset: int) -> list[tuple[_Entry[Value], int, int]]:
        """(entry, characters of it before the offset, closers behind it) of all that fit, newest first."""
        mine = [entry for entry in self._entries if entry.uri == uri]
        if not mine:
            return []
        reach = WINDOW + max(len(entry.text) for entry in mine)
        before, after = _around(document, offset, offset, 2 * reach)
        found = []
        for entry in mine:
            # The longest first: a text may begin as the line before it ends.
            for taken in range(len(entry.text), -1, -1):
                if taken and entry.text[taken - 1] != before[-1:]:
                    continue
                if not before.endswith(entry.before + entry.text[:taken]):
                    continue
                closers = _closers(entry, taken, after)
                if closers is not None:
                    found.append((entry, taken, closers))
                    break
        return found


def _closers(entry: _Entry[Value], taken: int, after: str) -> int | None:
    """How many characters stand between the cursor and what was after the hole; None: other ones than an editor's closers."""
    for count in range(min(8, len(after)) + 1):
        if after.startswith(entry.after, count):
            found = match(entry.text[:taken] + after[:count], entry.text)
            if found is not None and found.taken == taken:
                return count
    return None


def _around(document: str, start: int, end: int, reach: int) -> tuple[str, str]:
    """The text before `start` and after `end`, so much of it, line ends LF, with marks where the document ends."""
    low, high = max(0, start - reach), min(len(document), end + reach)
    before, after = unified(document[low:start]), unified(document[end:high])
    return (_EDGE if low == 0 else "") + before, after + (_EDGE if high == len(document) else "")


def _raw_length(document: str, offset: int, taken: int) -> int:
    """How many characters before the offset make so many with line ends LF."""
    start = offset
    for _ in range(taken):
        start -= 2 if document.endswith("\r\n", 0, start) else 1
    return offset - start
