"""Code-point offsets to LSP positions (UTF-16) and back. Pure."""

import re
from typing import TypedDict

_LINE_END = re.compile(r"\r\n|\r|\n")


class Position(TypedDict):
    """As LSP has it: zero-based line, UTF-16 code units from its start."""

    line: int
    character: int


def position_at(text: str, offset: int) -> Position:
    """An offset between CR and LF counts as past the line's end, which LSP rounds back to it."""
    line, start = _line_of(text, offset)
    return {"line": line, "character": _units(text[start:offset])}


def offset_at(text: str, position: Position) -> int:
    """The offset; past the line's end: its end; past the text's end: its end; inside a surrogate pair: before it."""
    start = 0
    for _ in range(position["line"]):
        found = _LINE_END.search(text, start)
        if found is None:
            return len(text)
        start = found.end()
    found = _LINE_END.search(text, start)
    end = found.start() if found else len(text)
    left = position["character"]
    for offset in range(start, end):
        left -= 2 if text[offset] > "\uffff" else 1
        if left < 0:
            return offset
    return end


def _line_of(text: str, offset: int) -> tuple[int, int]:
    """Number of the line that holds `offset`, and where it starts."""
    if "\r" not in text:
        return text.count("\n", 0, offset), text.rfind("\n", 0, offset) + 1
    ends = [match.end() for match in _LINE_END.finditer(text) if match.end() <= offset]
    return len(ends), ends[-1] if ends else 0


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)
