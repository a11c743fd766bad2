"""What a text declares, uses and imports, read by its grammar. Pure; tree-sitter comes late.

Scopes are not told apart: a name that is declared anywhere in the file is known everywhere in it. Work is bounded, and grows with
the text alone, whatever stands in it: children are walked, since asking a node for its nth child, or for its parent, is a search.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tacit.server.debugging.symbols.rules import RULES, Mode, Rules
from tacit.server.syntax import GRAMMARS, new_parser

if TYPE_CHECKING:
    from tree_sitter import Node

_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_LONGEST_CALL: Final = len("require")
MOST_CHARS: Final = 500_000
"""Of a text that is read: a second's work for the grammar where it is no program at all."""
MOST_NODES: Final = 400_000
"""That are looked at."""


@dataclass(slots=True)
class Symbols:
    declared: set[str] = field(default_factory=set)
    used: dict[str, int] = field(default_factory=dict)
    """Name: the line, from 0, where it is used first."""
    imports: dict[str, int] = field(default_factory=dict)
    """What is imported, as the language says it (`./cart`, `net/http`, `serde::de`): line from 0."""
    attributes: set[str] = field(default_factory=set)
    """Names of something of something else."""
    everything_of: set[str] = field(default_factory=set)
    """Imports that bring all the names there are: which, is not said."""
    complete: bool = True
    """False: the text is too long, or has too many parts, to be read to its end."""
    nodes: int = 0
    """How many were looked at."""

    @property
    def unresolved(self) -> dict[str, int]:
        """Of `used`, what the file itself does not declare."""
        return {name: line for name, line in self.used.items() if name not in self.declared}


def read(text: str, language: str) -> Symbols:
    """language: one of RULES."""
    found, rules = Symbols(), RULES[language]
    if len(text) > MOST_CHARS:
        found.complete = False
        return found
    root = new_parser(GRAMMARS[language]).parse(text.encode(errors="replace")).root_node
    # Not recursive: code may be nested deeper than the interpreter is.
    waiting: list[tuple[Node, Mode, str]] = [(root, "use", "")]
    while waiting:
        node, mode, parent = waiting.pop()
        if node.child_count == 0 or node.type in rules.names:
            _leaf(found, rules, node, mode, parent)
            continue
        _import(found, node)
        if not _skipped(node):
            below: list[tuple[Node, Mode, str]] = []
            for child, role in _children(node):
                found.nodes += 1
                if found.nodes > MOST_NODES:
                    found.complete = False
                    return found
                if child.is_named:
                    below.append((child, _mode(rules, node.type, role, child, mode), node.type))
            # The first is looked at first: lines are those of the first use.
            waiting += reversed(below)
    return found


def _children(node: "Node") -> "Iterator[tuple[Node, str | None]]":
    """In order, each with the name of its field."""
    cursor = node.walk()
    more = cursor.goto_first_child()
    while more:
        if cursor.node is not None:
            yield cursor.node, cursor.field_name
        more = cursor.goto_next_sibling()


def _mode(rules: Rules, parent: str, role: str | None, child: "Node", mode: Mode) -> Mode:
    if mode == "skip":
        return mode
    if mode == "import":
        return "skip" if role == "path" else mode
    told = rules.modes.get(f"{parent}.{role}") or rules.modes.get(child.type)
    return told or mode


def _leaf(found: Symbols, rules: Rules, node: "Node", mode: Mode, parent: str) -> None:
    if node.type in rules.attributes:
        found.attributes.add(_text(node))
    if node.type not in rules.names:
        return
    name = _text(node)
    if mode in ("declare", "import"):
        found.declared.add(name)
    elif mode == "use" and not _tag(node, parent):
        found.used.setdefault(name, node.start_point[0])


def _tag(node: "Node", parent: str) -> bool:
    """`<div>`: what is written small is none of the program's names."""
    return parent.startswith("jsx_") and parent != "jsx_expression" and _text(node)[:1].islower()


def _skipped(node: "Node") -> bool:
    """Names in it need not be there: `typeof x`, `export { x } from "y"`."""
    if node.type == "unary_expression":
        operator = node.child(0)
        return operator is not None and operator.type == "typeof"
    return node.type == "export_statement" and node.child_by_field_name("source") is not None


def _import(found: Symbols, node: "Node") -> None:
    line = node.start_point[0]
    match node.type:
        case "import_statement" | "export_statement" | "import_require_clause":
            source = node.child_by_field_name("source")
            if source is not None:
                found.imports.setdefault(_text(source)[1:-1], line)
        case "call_expression":
            function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
            # Of calls of calls each holds all the text before it.
            short = function is not None and function.end_byte - function.start_byte <= _LONGEST_CALL
            if short and function is not None and arguments is not None and _text(function) in ("require", "import"):
                only = arguments.named_child(0) if arguments.named_child_count == 1 else None
                if only is not None and only.type == "string":
                    found.imports.setdefault(_text(only)[1:-1], line)
        case "import_spec":
            path = node.child_by_field_name("path")
            name = node.child_by_field_name("name")
            if path is not None:
                source_path = _text(path)[1:-1]
                found.imports.setdefault(source_path, line)
                if name is None:
                    # What the package calls itself is only in its files; mostly it is a part of the path.
                    found.declared.update(_WORD.findall(source_path))
                elif name.type == "dot":
                    found.everything_of.add(source_path)
        case "use_declaration":
            argument = node.child_by_field_name("argument")
            if argument is not None:
                _use(found, argument, line)
        case "extern_crate_declaration":
            name = node.child_by_field_name("name")
            if name is not None:
                found.imports.setdefault(_text(name), line)


def _use(found: Symbols, argument: "Node", line: int) -> None:
    """The paths of a `use`, groups opened."""
    waiting = [(argument, "")]
    while waiting:
        node, before = waiting.pop()
        if node.type == "scoped_use_list":
            path, names = node.child_by_field_name("path"), node.child_by_field_name("list")
            before = "::".join(part for part in (before, _text(path) if path is not None else "") if part)
            if names is not None:
                waiting += [(one, before) for one in names.named_children]
        elif node.type == "self":
            found.declared.add(before.rpartition("::")[2])
            found.imports.setdefault(before, line)
        elif node.type == "use_list":
            waiting += [(one, before) for one in node.named_children]
        else:
            everything = node.type == "use_wildcard"
            inner = node.child_by_field_name("path") if node.type == "use_as_clause" else node
            told = (_text(inner) if inner is not None else "").removesuffix("*").removesuffix("::")
            path_text = "::".join(part for part in (before, told) if part)
            found.imports.setdefault(path_text, line)
            if everything:
                found.everything_of.add(path_text)


def _text(node: "Node") -> str:
    return (node.text or b"").decode(errors="replace")
