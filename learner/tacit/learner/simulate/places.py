"""Where a scripted developer stops and asks: places in a Python file at the boundaries of statements and blocks. Pure."""

import ast
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Literal

Kind = Literal["statement", "started", "value", "arguments", "header", "block", "edit"]

SHORTEST, LONGEST = 10, 200
"""Characters that are still to be written when the developer asks."""
MOST_LINES = 4
GAP = 60
"""Characters of finished text between two places, so that one is not the other's context alone."""

_REST = re.compile(r"[ .(\[]")
"""After which typing pauses."""


@dataclass(frozen=True, slots=True)
class Place:
    """Offsets in the finished text: [start, end) is missing at first; [start, pause) is typed before asking."""

    start: int
    pause: int
    end: int
    kind: Kind


def find_places(source: str) -> list[Place]:
    """Every place that would do, in order of the text; they may overlap. SyntaxError if it is not Python."""
    finder = _Finder(source)
    found = [place for node in ast.walk(ast.parse(source)) for place in finder.of(node)]
    return sorted((p for p in set(found) if finder.suits(p)), key=lambda p: (p.start, p.pause, p.end))


def choose_places(source: str, count: int, random: Random) -> list[Place]:
    """At most `count` places that are apart from one another, in order of the text; the same ones for the same seed."""
    places = find_places(source)
    random.shuffle(places)
    chosen: list[Place] = []
    for place in places:
        if len(chosen) == count:
            break
        if all(place.end + GAP <= other.start or other.end + GAP <= place.start for other in chosen):
            chosen.append(place)
    return sorted(chosen, key=lambda p: p.start)


def without(source: str, places: Sequence[Place]) -> str:
    """The text in which these places (in order, apart from one another) are still to be written."""
    parts, at = [], 0
    for place in places:
        parts.append(source[at : place.start])
        at = place.end
    return "".join([*parts, source[at:]])


class _Finder:
    def __init__(self, source: str) -> None:
        self.source = source
        # The parser's lines end at \n only after universal newlines; offsets are kept in the text as it is.
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def of(self, node: ast.AST) -> Iterator[Place]:
        match node:
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                yield from self._whole(node)
                yield self._rest(node, self._start(value), "value")
                yield from self._arguments(node, value)
            case ast.Return(value=ast.expr() as value):
                yield from self._whole(node)
                yield self._rest(node, self._start(value), "value")
            case ast.Expr(value=ast.Call() as value):
                yield from self._whole(node)
                yield from self._arguments(node, value)
            case ast.AugAssign() | ast.Raise() | ast.Assert():
                yield from self._whole(node)
            case ast.If(body=body) | ast.For(body=body) | ast.While(body=body) | ast.With(body=body):
                yield from self._header(node)
                if len(body) > 1:
                    yield Place(self._start(body[0]), self._start(body[0]), self._end(body[-1]), "block")
            case _:
                return

    def suits(self, place: Place) -> bool:
        """Nothing but white space before it on its first line and after it on its last, and of a size one suggests."""
        left = self.source[place.pause : place.end]
        line = bisect_right(self.starts, place.start) - 1
        before = self.source[self.starts[line] : place.start]
        after = self.source[place.end :].partition("\n")[0]
        return (
            SHORTEST <= len(left) <= LONGEST
            and self.source.count("\n", place.start, place.end) < MOST_LINES
            and not before.strip()
            and not after.strip()
        )

    def _whole(self, node: ast.stmt) -> Iterator[Place]:
        start, end = self._start(node), self._end(node)
        yield Place(start, start, end, "statement")
        yield from self._started(start, end)

    def _started(self, start: int, end: int) -> Iterator[Place]:
        """The first words are typed, and the fingers rest after one of them."""
        for found in islice(_REST.finditer(self.source, start + 2, end), 2):
            yield Place(start, found.end(), end, "started")

    def _rest(self, node: ast.stmt, pause: int, kind: Kind) -> Place:
        return Place(self._start(node), pause, self._end(node), kind)

    def _arguments(self, node: ast.stmt, value: ast.expr) -> Iterator[Place]:
        if isinstance(value, ast.Call) and (value.args or value.keywords):
            yield self._rest(node, self.source.index("(", self._end(value.func)) + 1, "arguments")

    def _header(self, node: ast.stmt) -> Iterator[Place]:
        """`if …:` up to its colon, if it is one line."""
        start = self._start(node)
        line = self.source[start:].partition("\n")[0].rstrip()
        if line.endswith(":"):
            yield Place(start, start, start + len(line), "header")
            yield from self._started(start, start + len(line))

    def _start(self, node: ast.stmt | ast.expr) -> int:
        return self._offset(node.lineno, node.col_offset)

    def _end(self, node: ast.stmt | ast.expr) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        """ast counts columns in UTF-8 bytes."""
        text = self.lines[line - 1]
        return self.starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))
