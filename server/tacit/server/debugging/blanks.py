"""Small changes where whole answers did not help: which lines are blanked out, and what a fill makes of the text. Pure.

A model that is shown a faulty line copies it; one that sees a gap in its place writes what belongs there (cloze-style repair: Xia
and Zhang, "Less Training, More Repairing Please", ESEC/FSE 2022). Where the fault is need not be known: each line is tried.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from io import StringIO
from typing import TYPE_CHECKING, Final

from tacit.server.debugging.region import FUNCTIONS, Region
from tacit.server.syntax import GRAMMARS, new_parser

if TYPE_CHECKING:
    from tree_sitter import Node

MOST_LINES: Final = 3
"""Of what is written into a blank: a small change is no new function."""
WARM: Final = 0.8
"""Temperature of a second thought."""
ALIKE: Final = 0.6
"""Of the characters of a line and of what was written in its place: so much they share at least, if it is still the same line."""
_SAYS: Final = re.compile(r"\w")
_COMMENT: Final = re.compile(r"#|//|/\*|\"\"\"|\'\'\'")
_LEAVES: Final = re.compile(r"(?:return|raise|throw|break|continue|goto|panic|unreachable|todo|unimplemented)\b")


@dataclass(frozen=True, slots=True)
class Blank:
    """`[start, end)` of the text is taken out, whole lines but for the end of the last; code points."""

    start: int
    end: int
    row: int
    """Of the text, from 0: the line that begins at `start`."""
    added: bool = False
    """Nothing is taken out: a line is written above this one."""

    def before(self, text: str) -> str:
        return text[: self.start]

    def after(self, text: str) -> str:
        return ("\n" if self.added else "") + text[self.end :]


def blanks(text: str, region: Region, language: str, suspected: Collection[int] = ()) -> list[Blank]:
    """A blank for each line of the region that does something, those of `suspected` first; rows from 0 in `text`.

    Not for lines of comments, of documentation, of brackets only, nor for the head of a function, which others rely on.
    """
    rest = _idle_rows(text, region, language)
    found, start, row = [], region.start, text.count("\n", 0, region.start)
    # At LF and nowhere else, as rows are counted.
    for line in StringIO(text[region.start : region.end]):
        if row not in rest and _SAYS.search(line):
            found.append(Blank(start, start + len(line.rstrip("\r\n")), row))
        start, row = start + len(line), row + 1
    return sorted(found, key=lambda blank: blank.row not in suspected)


def plan(found: Sequence[tuple[int, Blank]]) -> list[tuple[int, Blank, float]]:
    """(region, blank, temperature) in the order in which they are asked about. found: (region, blank).

    First what the model is surest of, for each line; then a second thought, drawn; then a line that may be missing.
    """
    missing = [(region, Blank(one.start, one.start, one.row, added=True)) for region, one in found]
    return [
        *((region, one, 0.0) for region, one in found),
        *((region, one, WARM) for region, one in found),
        *((region, one, 0.0) for region, one in missing),
    ]


def fills(said: str, *, ended: bool) -> list[str]:
    """What a blank may be filled with, the likeliest first: all that was written, if it ended by itself and is short; its first
    line."""
    lines = [line.rstrip() for line in said.replace("\r\n", "\n").strip("\n").split("\n")]
    whole = "\n".join(lines).rstrip("\n") if ended and len(lines) <= MOST_LINES else ""
    return [one for one in dict.fromkeys((whole, lines[0])) if one.strip()]


def filled(text: str, blank: Blank, fill: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{blank.before(text)}{fill.replace(chr(10), newline)}{newline if blank.added else ''}{text[blank.end :]}"


def stays(text: str, blank: Blank, fill: str) -> bool:
    """Whether what is done at the blank still is, in other words, with the fill: it is not replaced by something else, nor turned
    into a comment, nor left before it is reached."""
    old = text[blank.start :].partition("\n")[0]
    indent = len(old) - len(old.lstrip())
    lines = fill.split("\n")
    if not _LEAVES.match(old.lstrip()) and any(
        _LEAVES.match(line.lstrip()) and len(line) - len(line.lstrip()) <= indent for line in lines
    ):
        return False
    done = _COMMENT.split(old, maxsplit=1)[0].strip()
    others = [_COMMENT.split(line, maxsplit=1)[0].strip() for line in lines]
    return blank.added or any(SequenceMatcher(None, done, one, autojunk=False).ratio() >= ALIKE for one in others)


def enough(said: str, old: str) -> bool:
    """Whether no more has to be written: it is long, or begins with the line that stood there. old: that line."""
    lines = said.lstrip("\n").split("\n")
    return len(lines) > MOST_LINES or (len(lines) > 1 and bool(old) and lines[0].rstrip() == old.rstrip())


def _idle_rows(text: str, region: Region, language: str) -> frozenset[int]:
    """Rows of comments, documentation and heads of functions, as far as a grammar tells."""
    if language not in GRAMMARS:
        return frozenset()
    data = text.encode(errors="replace")
    first, last = (len(text[:at].encode(errors="replace")) for at in (region.start, region.end))
    lines = data.split(b"\n")
    rows: set[int] = set()
    for node in _below(new_parser(GRAMMARS[language]).parse(data).root_node, first, last):
        if node.type.endswith("comment") or _documents(node):
            alone = not lines[node.start_point[0]][: node.start_point[1]].strip()
            rest = not lines[node.end_point[0]][node.end_point[1] :].strip()
            rows.update(range(node.start_point[0] + (not alone), node.end_point[0] + rest))
        elif node.type in FUNCTIONS and (body := node.child_by_field_name("body")) is not None:
            inside = next(iter(body.named_children), body)
            rows.update(range(node.start_point[0], inside.start_point[0]))
    return frozenset(rows)


def _below(root: "Node", first: int, last: int) -> "Iterator[Node]":
    stack = [root]
    while stack:
        node = stack.pop()
        if node.start_byte < last and first < node.end_byte:
            yield node
            stack += node.named_children


def _documents(node: "Node") -> bool:
    """A statement that is nothing but a string, as Python's documentation is; some grammars have it without one around it."""
    above = node.parent
    while node.type == "expression_statement" and node.named_child_count == 1:
        above, node = node, node.named_children[0]
    return node.type == "string" and above is not None and above.type in ("module", "block", "expression_statement")
