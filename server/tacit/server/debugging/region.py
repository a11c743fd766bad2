"""The lines that a fix may rewrite: the function around a place, or a few lines where there is none. Pure (tree-sitter).

Small, because all of it is written anew by the model: what it leaves as it was costs as much time as what it changes.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tacit.server.syntax import GRAMMARS, new_parser

if TYPE_CHECKING:
    from tree_sitter import Node

LONGEST = 60
"""Lines; of a longer function, those around the place."""
AROUND = 12
"""Lines above and below a place that is in no function."""
MOST_MEANT = 3
"""Functions that a failing test may mean."""

FUNCTIONS: Final = frozenset(
    "function_definition method_declaration constructor_declaration function_declaration method_definition function_item "
    "generator_function_declaration lambda_expression arrow_function function_expression compact_constructor_declaration".split()
)
"""Nodes of a grammar that are a function with a body."""
_WRAPPERS: Final = frozenset(
    "decorated_definition export_statement lexical_declaration variable_declaration template_declaration pair "
    "variable_declarator public_field_definition field_definition".split()
)
"""Nodes around a function that belong to it: its decorators, its name."""
_WORD: Final = re.compile(r"[^\W\d]\w*")
IMPORTS: Final = frozenset(
    "import_statement import_from_statement future_import_statement import_declaration preproc_include use_declaration".split()
)


@dataclass(frozen=True, slots=True)
class Region:
    """Whole lines of a text."""

    start: int
    """Code points; the beginning of a line."""
    end: int
    """Behind the last line's end, or the text's end."""
    name: str
    """Of the function; empty: it is none, or a part of one."""
    is_function: bool


def around(text: str, start: int, end: int, language: str) -> Region:
    """The region around `[start, end)`, code points. language: LSP id; without a grammar for it, a few lines."""
    start = max(0, min(start, len(text)))
    end = max(start, min(end, len(text)))
    node = _function(text, start, end, language)
    if node is None:
        return _lines(text, start, end)
    first, last = node.start_point[0], node.end_point[0]
    if last - first + 1 > LONGEST:
        return _lines(text, start, end, first, last, LONGEST // 2)
    bounds = _bounds(text)
    return Region(bounds[first], bounds[min(last + 1, len(bounds) - 1)], name_of(node), is_function=True)


def spoken_of(text: str, language: str, said: Iterable[str]) -> list[int]:
    """Where the functions begin that may be meant, likeliest first: those that the first of `said` names which names any of the
    text, what it names most often before the others; where none does, the only function there is. Empty: it cannot be told.
    """
    if language not in GRAMMARS:
        return []
    found = _named(text, language)
    first = dict(reversed(found))
    for words in said:
        counts = Counter(word for word in _WORD.findall(words) if word in first)
        if counts:
            return [first[name] for name in sorted(counts, key=lambda name: (-counts[name], first[name]))][:MOST_MEANT]
    return [start for _, start in found] if len(found) == 1 else []


def _named(text: str, language: str) -> list[tuple[str, int]]:
    """Functions that have a name and where they begin, in order of the text; of those inside another one only the outer."""
    found: list[tuple[str, int]] = []
    data = text.encode(errors="replace")
    stack = [new_parser(GRAMMARS[language]).parse(data).root_node]
    while stack:
        node = stack.pop()
        if node.type in FUNCTIONS and (name := name_of(_enclosing(node))):
            found.append((name, len(data[: node.start_byte].decode(errors="replace"))))
        else:
            stack += reversed(node.named_children)
    return found


def _lines(text: str, start: int, end: int, least: int = 0, most: int | None = None, around: int = AROUND) -> Region:
    """Lines around a place, of those from `least` to `most`."""
    bounds = _bounds(text)
    last_line = len(bounds) - 2
    row, end_row = text.count("\n", 0, start), text.count("\n", 0, end)
    first = max(least, row - around)
    last = min(last_line if most is None else most, min(end_row, row + LONGEST) + around)
    return Region(bounds[first], bounds[max(first, last) + 1], "", is_function=False)


def _bounds(text: str) -> list[int]:
    """Where each line begins, and the text's end."""
    bounds = [0]
    while (found := text.find("\n", bounds[-1])) >= 0:
        bounds.append(found + 1)
    if bounds[-1] < len(text) or len(bounds) == 1:
        bounds.append(len(text))
    return bounds


def _function(text: str, start: int, end: int, language: str) -> "Node | None":
    """The innermost function around a place that is a definition of its own, with what belongs to it."""
    if language not in GRAMMARS:
        return None
    from_byte, to_byte = len(text[:start].encode(errors="replace")), len(text[:end].encode(errors="replace"))
    tree = new_parser(GRAMMARS[language]).parse(text.encode(errors="replace"))
    node = tree.root_node.descendant_for_byte_range(from_byte, to_byte)
    best = None
    while node is not None:
        if node.type in FUNCTIONS and (best is None or node.type not in ("arrow_function", "lambda_expression")):
            # A lambda inside a function is too little to go by; a named one outside of it is taken.
            outer = _enclosing(node)
            if best is None or _height(best) < 3:
                best = outer
        node = node.parent
    return best


def _enclosing(node: "Node") -> "Node":
    while node.parent is not None and node.parent.type in _WRAPPERS:
        node = node.parent
    return node


def _height(node: "Node") -> int:
    return int(node.end_point[0] - node.start_point[0] + 1)


def name_of(node: "Node") -> str:
    """Of a function's node or one that wraps it; empty: it has none that is known."""
    stack = [node]
    while stack:
        one = stack.pop(0)
        if (named := one.child_by_field_name("name")) is not None and named.text is not None:
            return named.text.decode(errors="replace")
        if (declarator := one.child_by_field_name("declarator")) is not None:
            while (inner := declarator.child_by_field_name("declarator")) is not None:
                declarator = inner
            return (declarator.text or b"").decode(errors="replace")
        if one.type in _WRAPPERS:
            stack += one.named_children
    return ""
