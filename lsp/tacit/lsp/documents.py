"""Open documents: their text, their versions, and LSP positions to offsets and back. Pure; offsets are code points.

Lines end at LF, CRLF or CR and nowhere else, as LSP has it (`str.splitlines` also breaks at form feeds and at U+2028, which
would put every later position on a wrong line).
"""

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lsprotocol.types import Position, PositionEncodingKind, TextDocumentContentChangeEvent, TextDocumentContentChangePartial

from tacit.lsp.edits import Edit, difference

LARGEST: Final = 4_000_000
"""Characters. Each key costs more in a longer text: about 10 ms in this one."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Step:
    """One edit with the text before and after it."""

    edit: Edit
    before: str
    after: str


def unusable(text: str) -> str:
    """Why nothing is suggested in a text; empty: nothing is wrong with it."""
    if len(text) > LARGEST:
        return f"it is larger than {LARGEST // 1_000_000} million characters"
    return "it is binary" if "\0" in text else ""


def well_formed(text: str) -> str:
    """Without half characters: JSON can carry a lone surrogate, UTF-8 cannot. Length in UTF-16 units stays the same."""
    return _SURROGATE.sub("\ufffd", text)


def joined(steps: Sequence[Step]) -> list[Step]:
    """The same change without what it takes out and puts back: a menu's entry replaces the word before the cursor by itself and
    more, in two edits."""
    told: list[Step] = []
    for step in steps:
        last = told[-1] if told else None
        if last is not None and not last.edit.text and step.edit.start == step.edit.end == last.edit.start:
            removed = last.before[last.edit.start : last.edit.end]
            if step.edit.text.startswith(removed):
                rest = Edit(last.edit.end, last.edit.end, step.edit.text[len(removed) :])
                told[-1] = Step(rest, last.before, step.after)
                continue
        told.append(step)
    return told


@dataclass(slots=True)
class Document:
    uri: str
    language: str
    version: int
    text: str
    encoding: PositionEncodingKind | str = PositionEncodingKind.Utf16
    refused: str = ""
    """Why its text is not kept here; empty: it is."""
    _starts: list[int] | None = field(default=None, repr=False)
    """Offset of each line's start; None: not known for this text yet."""

    @property
    def newline(self) -> str:
        """What ends its lines: that of its first line."""
        found = _LINE_END.search(self.text)
        return "\r\n" if found is not None and found.group() == "\r\n" else "\n"

    def change(self, version: int, changes: Sequence[TextDocumentContentChangeEvent]) -> list[Step]:
        """Apply the contentChanges of one didChange in order; returns them, joined, each with the text around it."""
        steps = []
        for change in changes:
            edit = self._edit(change)
            before = self.text
            self.text = edit.apply(before)
            if self._starts is not None:
                self._starts = _moved_starts(self._starts, edit, self.text)
            steps.append(Step(edit, before, self.text))
        self.version = version
        return joined(steps)

    def give_up(self, reason: str) -> None:
        """Its text is no longer kept."""
        self.refused, self.text, self._starts = reason, "", None

    def offset_at(self, position: Position) -> int:
        """Past a line's end: its end. Past the last line: the end of the text. Inside a character: before it."""
        line, character = position.line, position.character
        starts = self._line_starts()
        if line >= len(starts):
            return len(self.text)
        start = starts[line]
        end = starts[line + 1] if line + 1 < len(starts) else len(self.text)
        while end > start and self.text[end - 1] in "\r\n":
            end -= 1
        content = self.text[start:end]
        if self.encoding == PositionEncodingKind.Utf32 or content.isascii():
            return min(start + character, end)
        left = character
        for index, one in enumerate(content):
            left -= _units(one, self.encoding)
            if left < 0:
                return start + index
        return end

    def position_at(self, offset: int) -> Position:
        starts = self._line_starts()
        line = bisect.bisect_right(starts, offset) - 1
        before = self.text[starts[line] : offset]
        if self.encoding == PositionEncodingKind.Utf32 or before.isascii():
            return Position(line, len(before))
        return Position(line, sum(_units(one, self.encoding) for one in before))

    def _edit(self, change: TextDocumentContentChangeEvent) -> Edit:
        text = well_formed(change.text)
        if not isinstance(change, TextDocumentContentChangePartial):
            return difference(self.text, text)
        start, end = self.offset_at(change.range.start), self.offset_at(change.range.end)
        return Edit(min(start, end), max(start, end), text)

    def _line_starts(self) -> list[int]:
        if self._starts is None:
            self._starts = [0, *(found.end() for found in _LINE_END.finditer(self.text))]
        return self._starts


def _moved_starts(starts: list[int], edit: Edit, after: str) -> list[int]:
    """The line starts after an edit: to look for every one of them at every key takes 30 ms in a large file."""
    kept = max(1, bisect.bisect_left(starts, edit.start))
    # One character more: what was taken away may have been half of a CRLF, or what was put there half of one.
    end = edit.start + len(edit.text) + 1
    if after[end - 1 : end + 1] == "\r\n":
        end += 1
    found = (match.end() for match in _LINE_END.finditer(after, starts[kept - 1], end))
    tail = bisect.bisect_right(starts, end - edit.growth)
    return [*starts[:kept], *found, *(start + edit.growth for start in starts[tail:])]


def _units(character: str, encoding: PositionEncodingKind | str) -> int:
    if encoding == PositionEncodingKind.Utf16:
        return 2 if character > "\uffff" else 1
    return len(character.encode("utf-8"))
