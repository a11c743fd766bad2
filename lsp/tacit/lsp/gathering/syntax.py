"""What a source file defines: names, the lines they stand on, and what of them is worth showing. Pure; loads tree-sitter lazily.

Half-written code is parsed like any other: tree-sitter goes on after what it cannot understand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tacit.lsp.gathering.languages import CONTAINERS, DEFINITIONS, GRAMMARS

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Query

LONGEST_BYTES: Final = 300_000
"""A larger text is not parsed: it would hold the interpreter for a tenth of a second."""
WHOLE_LINES: Final = 4
"""A definition of so many lines is shown whole."""
MEMBERS: Final = 12
"""Of a class, at most."""
MOST_DEFINITIONS: Final = 3000
"""In one file; a file with more was not written by hand."""


@dataclass(frozen=True, slots=True)
class Definition:
    name: str
    first: int
    last: int
    """Its lines, zero-based, both included."""
    shown: tuple[int, ...]
    """The lines that say how to use it: signature, first line of the description, a class's members."""
    members: bool = False
    """It is a class or the like."""


@cache
def _tools(grammar: str) -> "tuple[Parser, Query]":
    from tree_sitter import Query
    from tree_sitter_language_pack import get_language, get_parser

    name: Any = grammar
    return get_parser(name), Query(get_language(name), DEFINITIONS[grammar])


def definitions(text: str, language: str) -> list[Definition]:
    """In the order of their beginnings; none for a language without a grammar, and for a text too long to parse."""
    grammar = GRAMMARS.get(language)
    source = text.encode("utf-8", "replace")
    if grammar is None or len(source) > LONGEST_BYTES:
        return []
    from tree_sitter import QueryCursor

    parser, query = _tools(grammar)
    found = []
    for _, captures in QueryCursor(query).matches(parser.parse(source).root_node)[:MOST_DEFINITIONS]:
        node, name = captures["def"][0], captures["name"][0]
        if (word := _last_word(name)) and len(word) <= 100:
            found.append(Definition(word, node.start_point[0], node.end_point[0], tuple(_shown(node)), node.type in CONTAINERS))
    return sorted(found, key=lambda one: (one.first, -one.last))


def scope_at(found: Sequence[Definition], line: int) -> str:
    """The definitions around a line, outermost first: `Account.close`."""
    around = [one.name for one in found if one.first <= line <= one.last and one.last > one.first]
    return ".".join(around)


def _last_word(name: "Node") -> str:
    """`Account::close` defines `close`."""
    text = (name.text or b"").decode("utf-8", "replace")
    return text.rpartition("::")[2].strip("~*& ")


def _shown(node: "Node") -> list[int]:
    first, last = node.start_point[0], node.end_point[0]
    if last - first < WHOLE_LINES:
        return list(range(first, last + 1))
    lines = _head(node)
    if node.type in CONTAINERS:
        body = _body(node)
        members = body.named_children if body is not None else []
        for member in members[:MEMBERS]:
            # A decorated or exported member's own line is the one of what is in it.
            inner = member.child_by_field_name("definition") or member
            if inner.type != "comment":
                lines += _signature(inner)
    return sorted({line for line in lines if first <= line <= last})


def _head(node: "Node") -> list[int]:
    """Lines of the signature, and the first line of a description in the body."""
    body = _body(node)
    first = next(iter(body.named_children), None) if body is not None else None
    described = first is not None and first.type in {"expression_statement", "string"} and _is_text(first)
    return [*_signature(node), *([first.start_point[0]] if first is not None and described else [])]


def _signature(node: "Node") -> list[int]:
    body = _body(node)
    start = node.start_point[0]
    if body is None:
        return list(range(start, min(node.end_point[0], start + WHOLE_LINES - 1) + 1))
    # A brace may open the body on the signature's last line; an indented body begins below it.
    end = body.start_point[0] if body.start_point[0] == start or not _on_own_line(body) else body.start_point[0] - 1
    return list(range(start, min(end, start + 2 * WHOLE_LINES) + 1))


def _is_text(node: "Node") -> bool:
    return (node.text or b"").lstrip(b"rRbBuU")[:1] in (b'"', b"'")


def _body(node: "Node") -> "Node | None":
    if (body := node.child_by_field_name("body")) is not None:
        return body
    # Go's types and JavaScript's constants have theirs below: the fields of a struct, the body of an arrow function.
    for child in node.named_children:
        inner = child.child_by_field_name("type") or child.child_by_field_name("value")
        if inner is not None and inner.end_point[0] > inner.start_point[0]:
            return inner.child_by_field_name("body") or next(iter(inner.named_children), inner)
    return None


def _on_own_line(body: "Node") -> bool:
    before = body.prev_sibling
    return before is not None and before.end_point[0] < body.start_point[0]
