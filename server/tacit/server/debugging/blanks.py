"""Small changes where whole answers did not help: which lines are blanked out, and what a fill makes of the text. Pure.

A model that is shown a faulty line copies it; one that sees a gap in its place writes what belongs there (cloze-style repair: Xia
and Zhang, "Less Training, More Repairing Please", ESEC/FSE 2022). Where the fault is need not be known: each line is tried. What
it writes may be right but for a name or a form that the rest of the code does not have: then the line keeps what it says up to
there and a word more, and what is behind is written anew. Of 20 faulty lines (HumanEvalPack's first half, 0.5B) the gap alone
mended 9, a second draw at 0.8 one more, up to three such beginnings in its place 5 more.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from io import StringIO
from typing import TYPE_CHECKING, Final

from tacit.server.debugging.region import FUNCTIONS, Region
from tacit.server.syntax import GRAMMARS, new_parser

if TYPE_CHECKING:
    from tree_sitter import Node

MOST_LINES: Final = 3
"""Of what is written into a blank: a small change is no new function."""
ALIKE: Final = 0.6
"""Of the characters of a line and of what was written in its place: so much they share at least, if it is still the same line."""
_SAYS: Final = re.compile(r"\w")
_WORD: Final = re.compile(r"\s*(?:\w+|[-+*/%=<>!&|^:.]+|.)")
_COMMENT: Final = re.compile(r"#|//|/\*|\"\"\"|\'\'\'")
_LEAVES: Final = re.compile(r"(?:return|raise|throw|break|continue|goto|panic|unreachable|todo|unimplemented)\b")


@dataclass(frozen=True, slots=True)
class Blank:
    """`[start, end)` of the text is taken out, a line or the rest of one, without its end; code points."""

    start: int
    end: int
    row: int
    """Of the text, from 0: the line that it is of."""
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


def above(blank: Blank) -> Blank:
    """For a line that may be missing there."""
    return Blank(blank.start, blank.start, blank.row, added=True)


def further(text: str, blank: Blank, said: str) -> Blank | None:
    """What is left of the blank when the line keeps what it says up to where the fill departs from it, and the word that stands
    there. None: nothing is."""
    old = text[blank.start : blank.end]
    begun = text[: blank.start].rpartition("\n")[2]
    first = (said if begun else said.lstrip("\r\n")).partition("\n")[0]
    same = next((at for at, (one, other) in enumerate(zip(old, first, strict=False)) if one != other), min(len(old), len(first)))
    word = _WORD.match(old, same)
    return replace(blank, start=blank.start + word.end()) if word is not None and word.end() < len(old) else None


def line_of(text: str, blank: Blank) -> tuple[Blank, str]:
    """The blank of its whole line; what of the line stands before this one."""
    start = text.rfind("\n", 0, blank.start) + 1
    return replace(blank, start=start), text[start : blank.start]


def fills(said: str, *, ended: bool, begun: bool = False) -> list[str]:
    """What a blank may be filled with, the likeliest first: all that was written, if it ended by itself and is short; its first
    line. begun: the line is there up to the blank, and a line's end ends it."""
    if begun and said.startswith(("\n", "\r")):
        return []
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
