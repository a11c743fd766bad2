"""Open documents: their text, their versions, and LSP positions to offsets and back. Pure; offsets are code points.

Lines end at LF, CRLF or CR and nowhere else, as LSP has it (`str.splitlines` also breaks at form feeds and at U+2028, which
would put every later position on a wrong line).
"""

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tacit.lsp.edits import Edit, difference
from tacit.lsp.params import BadParams

Encoding = Literal["utf-8", "utf-16", "utf-32"]
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")

_LINE_END = re.compile(r"\r\n|\r|\n")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Step:
    """One edit with the text before and after it."""

    edit: Edit
    before: str
    after: str


def well_formed(text: str) -> str:
    """Without half characters: JSON can carry a lone surrogate, UTF-8 cannot. Length in UTF-16 units stays the same."""
    return _SURROGATE.sub("\ufffd", text)


def negotiate(offered: object) -> Encoding:
    """The first of the client's position encodings that there is; UTF-16 if it names none."""
    for name in offered if isinstance(offered, list) else []:
        for encoding in ENCODINGS:
            if name == encoding:
                return encoding
    return "utf-16"


@dataclass(slots=True)
class Document:
    uri: str
    language: str
    version: int
    text: str
    encoding: Encoding = "utf-16"
    _starts: list[int] | None = field(default=None, repr=False)
    """Offset of each line's start; None: not known for this text yet."""

    @property
    def newline(self) -> str:
        """What ends its lines: that of its first line."""
        found = _LINE_END.search(self.text)
        return "\r\n" if found is not None and found.group() == "\r\n" else "\n"

    def change(self, version: int, changes: Sequence[object]) -> list[Step]:
        """Apply the contentChanges of one didChange in order; returns each with the text around it. BadParams."""
        steps = []
        for change in changes:
            edit = self._edit(change)
            before = self.text
            self.text = edit.apply(before)
            self._starts = None
            steps.append(Step(edit, before, self.text))
        self.version = version
        return steps

    def offset_at(self, position: object) -> int:
        """Past a line's end: its end. Past the last line: the end of the text. Inside a character: before it. BadParams."""
        line, character = _position(position)
        starts = self._line_starts()
        if line >= len(starts):
            return len(self.text)
        start = starts[line]
        end = starts[line + 1] if line + 1 < len(starts) else len(self.text)
        while end > start and self.text[end - 1] in "\r\n":
            end -= 1
        content = self.text[start:end]
        if self.encoding == "utf-32" or content.isascii():
            return min(start + character, end)
        left = character
        for index, one in enumerate(content):
            left -= _units(one, self.encoding)
            if left < 0:
                return start + index
        return end

    def position_at(self, offset: int) -> dict[str, int]:
        starts = self._line_starts()
        line = bisect.bisect_right(starts, offset) - 1
        before = self.text[starts[line] : offset]
        if self.encoding == "utf-32" or before.isascii():
            return {"line": line, "character": len(before)}
        return {"line": line, "character": sum(_units(one, self.encoding) for one in before)}

    def _edit(self, change: object) -> Edit:
        if not isinstance(change, Mapping) or not isinstance(change.get("text"), str):
            raise BadParams("contentChanges: each needs a text")
        text = well_formed(change["text"])
        where = change.get("range")
        if where is None:
            return difference(self.text, text)
        if not isinstance(where, Mapping):
            raise BadParams("contentChanges: range is not an object")
        start, end = self.offset_at(where.get("start")), self.offset_at(where.get("end"))
        return Edit(min(start, end), max(start, end), text)

    def _line_starts(self) -> list[int]:
        if self._starts is None:
            self._starts = [0, *(found.end() for found in _LINE_END.finditer(self.text))]
        return self._starts


def _position(value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        line, character = value.get("line"), value.get("character")
        if isinstance(line, int) and isinstance(character, int) and line >= 0 and character >= 0:
            return line, character
    raise BadParams("a position needs a line and a character, both whole numbers from 0")


def _units(character: str, encoding: Encoding) -> int:
    if encoding == "utf-16":
        return 2 if character > "\uffff" else 1
    return len(character.encode("utf-8"))
