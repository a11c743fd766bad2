"""What a grammar says about a hole and a text in it: the faults it brings, the block it stands in. Pure; tree-sitter comes late.

The code around the hole is parsed once; each text is then parsed into it incrementally. All sizes are bounded, and so is the
work. Faults are counted to be compared with those of other texts in the same hole: the window may cut a file anywhere, and no
grammar knows every macro. Grammars come with the tree-sitter-language-pack wheel; nothing is fetched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

GRAMMARS: Final = {
    "python": "python",
    "java": "java",
    "c": "c",
    "cpp": "cpp",
    "javascript": "javascript",
    "javascriptreact": "javascript",
    "typescript": "typescript",
    "typescriptreact": "tsx",
    "go": "go",
    "rust": "rust",
}
"""LSP language id: grammar."""
BEFORE, AFTER, TEXT = 6000, 2000, 4000
"""Characters that are parsed: before the hole, after it, of the text in it."""
MOST_FAULTS = 40
"""Places that do not parse in the window; with more, its grammar has nothing to say, and parsing gets slow."""
REMEMBERED = 64
"""Texts whose faults are kept."""

_CONTAINERS = frozenset(
    "module block program statement_block compound_statement translation_unit source_file statement_list class_body "
    "declaration_list field_declaration_list constructor_body interface_body enum_body_declarations "
    "switch_block_statement_group switch_case switch_default case_statement expression_case default_case "
    "communication_case".split()
)
"""Nodes whose children are statements or definitions."""
_JUMPS = frozenset(
    "return_statement raise_statement break_statement continue_statement throw_statement goto_statement return_expression "
    "break_expression continue_expression".split()
)
_MAY_FOLLOW_A_JUMP = ("comment", "function", "label", "preproc", "class", "case", "attribute", "item", ";", "type", "template")


@dataclass(frozen=True, slots=True)
class Place:
    """The block that the hole stands in, as far as it is in view."""

    before: bool
    """Statements of this block stand above the hole; comments and a docstring aside."""
    after: bool
    """Statements of this block follow it."""
    outermost: bool
    """It is the file itself."""
    documented: bool = False
    """A docstring stands right above the hole."""


class Surroundings:
    """The code around one hole. Use `around`."""

    def __init__(self, prefix: str, suffix: str, grammar: str) -> None:
        self._parser = _parser(grammar)
        self._indented = grammar == "python"
        self._semicolons = grammar not in ("python", "go")
        self._before = _window(prefix).encode(errors="replace")
        self._after = suffix[:AFTER].encode(errors="replace")
        self._row = self._before.count(b"\n")
        self._column = len(self._before) - self._before.rfind(b"\n") - 1
        self._tree = self._parser.parse(self._before + self._after)
        self._faults: dict[str, int] = {}
        self._places: dict[str, Place | None] = {}

    @classmethod
    def around(cls, prefix: str, suffix: str, language: str) -> Self | None:
        """language: LSP id. None: there is no grammar for it, or what is around the hole is not that language."""
        if (grammar := GRAMMARS.get(language)) is None:
            return None
        surroundings = cls(prefix, suffix, grammar)
        faults = sum(1 for _ in islice(broken(surroundings._tree.root_node), MOST_FAULTS + 1))
        return surroundings if faults <= MOST_FAULTS else None

    def faults(self, text: str) -> int:
        """How much is wrong with the file if `text` stands in the hole: what does not parse, what is missing, code after a jump
        in the same block; in Python also heads without a body and lines that are indented for no reason."""
        if text not in self._faults:
            if len(self._faults) >= REMEMBERED:
                self._faults.clear()
            inserted = text[:TEXT].encode(errors="replace")
            start = len(self._before)
            root = self._with(inserted).root_node
            self._faults[text] = sum(1 for _ in broken(root)) + self._misplaced(root, start, start + len(inserted))
        return self._faults[text]

    def place(self, indent: str = "") -> Place | None:
        """The block of a statement that is written into the hole after `indent`; None: it cannot be told."""
        if indent not in self._places:
            if len(self._places) >= REMEMBERED:
                self._places.clear()
            self._places[indent] = self._find_place(indent[:TEXT])
        return self._places[indent]

    def _with(self, text: bytes) -> "Tree":
        """The tree with the text in the hole."""
        if not text:
            return self._tree
        start, end = len(self._before), len(self._before) + len(text)
        rows = text.count(b"\n")
        column = len(text) - text.rfind(b"\n") - 1 + (0 if rows else self._column)
        old = self._tree.copy()
        point = (self._row, self._column)
        old.edit(start, start, end, point, point, (self._row + rows, column))
        return self._parser.parse(self._before + text + self._after, old)

    def _find_place(self, indent: str) -> Place | None:
        word = (indent + "tacit_hole").encode(errors="replace")
        at = len(self._before) + len(word) - 1
        if self._semicolons:
            word += b";"
        node = self._with(word).root_node.descendant_for_byte_range(at, at)
        while node is not None and node.parent is not None and node.parent.type not in _CONTAINERS:
            node = node.parent
        if node is None or node.parent is None or node.is_error:
            return None
        before = documented = False
        first = node.parent.named_children[0]
        above = node.prev_named_sibling
        while above is not None and above.type.endswith("comment"):
            above = above.prev_named_sibling
        if above is not None:
            documented = above == first and _is_docstring(above)
            before = not documented
        below = node.next_named_sibling
        while below is not None and below.type.endswith("comment"):
            below = below.next_named_sibling
        return Place(before, below is not None, node.parent.parent is None, documented)

    def _misplaced(self, root: "Node", start: int, end: int) -> int:
        """Faults that a grammar takes no offence at, in the text and on the lines next to it."""
        found = 0
        # Up to the end of the first line below that says something.
        rest = self._after
        below = len(rest) - len(rest.lstrip())
        reach = end + below + max(rest.find(b"\n", below) - below, 1)
        stack = [root]
        while stack:
            node = stack.pop()
            inside = [
                child for child in node.named_children if child.end_byte >= start - self._column - 1 and child.start_byte <= reach
            ]
            if node.type in _CONTAINERS:
                found += sum(_unreachable_after(child) for child in inside if start <= child.start_byte < end)
                if self._indented:
                    found += self._ill_indented(node, inside)
            stack.extend(inside)
        return found

    def _ill_indented(self, block: "Node", inside: "list[Node]") -> int:
        if block.type == "block" and block.start_byte == block.end_byte:
            return 1
        first = next(iter(block.named_children), None)
        if first is None or (block.type == "module" and first.start_point[1] != 0):
            return 0
        level = first.start_point[1]
        rows: set[int] = {first.start_point[0]} if block.type == "block" else set()
        found = 0
        for child in inside:
            row, column = child.start_point
            if not child.type.endswith("comment") and row not in rows and column != level and not _shares_line(child):
                found += 1
            rows.add(row)
        return found


def _shares_line(node: "Node") -> bool:
    above = node.prev_named_sibling
    return above is not None and above.end_point[0] == node.start_point[0]


def broken(root: "Node") -> "Iterator[Node]":
    """The outermost nodes that do not parse or are missing."""
    stack = [root]
    while stack:
        node = stack.pop()
        if node.is_error or node.is_missing:
            yield node
        elif node.has_error:
            stack.extend(node.children)


def _unreachable_after(node: "Node") -> bool:
    """The node leaves the block, and the block goes on."""
    if _alone(node).type not in _JUMPS:
        return False
    below = node.next_named_sibling
    while below is not None and below.type.endswith("comment"):
        below = below.next_named_sibling
    return below is not None and not any(word in below.type for word in _MAY_FOLLOW_A_JUMP)


def _is_docstring(node: "Node") -> bool:
    return _alone(node).type == "string"


def _alone(node: "Node") -> "Node":
    """The expression that a statement consists of."""
    return node.named_children[0] if node.type == "expression_statement" and node.named_child_count == 1 else node


def _window(prefix: str) -> str:
    """The end of the prefix, from a line on that stands at the left edge if there is one."""
    if len(prefix) <= BEFORE:
        return prefix
    shown = prefix[-BEFORE:]
    start = shown.find("\n") + 1
    at = start
    while 0 < at < len(shown) * 2 // 3:
        if shown[at].isalpha() or shown[at] == "@":
            return shown[at:]
        at = shown.find("\n", at) + 1
    return shown[start:]


@cache
def _parser(grammar: str) -> "Parser":
    return new_parser(grammar)


def new_parser(grammar: str) -> "Parser":
    """One of the caller's own: two threads must not share a parser. grammar: a value of GRAMMARS."""
    from tree_sitter_language_pack import get_parser

    name: Any = grammar
    return get_parser(name)
