"""Which names does a completion use that nothing defines? For Python, by pyflakes over the window around it. Pure.

A window is a part of a file, and begins and ends anywhere: the smallest part around the completion that parses is read, and a
name that stands anywhere else, in the window or in what else was recorded of the project, counts as known. What is left is
invented, or misspelt. Modules count as known if they are the standard library's, too.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pyflakes.checker import Checker
from pyflakes.messages import UndefinedName

MAX_ABOVE, MAX_BELOW = 40, 8
"""Lines above and below the hole within which a part that parses is looked for."""

_NAME = re.compile(r"\b[A-Za-z_]\w*")


def vocabulary(texts: Iterable[str], paths: Iterable[str]) -> frozenset[str]:
    """Names that the project is known to have: every identifier of these texts, and of its own files and folders."""
    known = {name for text in texts for name in _NAME.findall(text)}
    known |= {part.removesuffix(".py") for path in paths for part in path.split("/")}
    return frozenset(known)


def unresolved(prefix: str, completion: str, suffix: str, known: frozenset[str] = frozenset()) -> frozenset[str] | None:
    """Names and modules that the completion uses and nothing defines; None if no part of the window with it in parses."""
    found = part(prefix, completion, suffix)
    if found is None:
        return None
    tree, start, end = found.tree, found.start, found.end
    known = known | vocabulary((prefix, suffix), ())
    names: set[str] = set()
    for message in Checker(tree).messages:
        if isinstance(message, UndefinedName) and start <= (message.lineno, message.col) < end:
            name = str(message.message_args[0])
            if name not in known:
                names.add(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and start <= (node.lineno, node.col_offset) < end:
            wanted = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level:
                continue
            tops = {name.partition(".")[0] for name in wanted}
            names |= {top for top in tops if top and top not in sys.stdlib_module_names and top not in known}
    return frozenset(names)


Place = tuple[int, int]
"""(line, counted from 1; UTF-8 bytes from its start), as in `ast`."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a window that parses, and where in it a completion stands: from `start` to before `end`."""

    source: str
    tree: ast.Module
    start: Place
    end: Place


def part(prefix: str, completion: str, suffix: str) -> Part | None:
    """The smallest part of the window around the completion that parses."""
    tails = list(_tails(prefix, completion, suffix))
    for head in _heads(prefix):
        for tail in tails:
            source = head + completion + tail
            try:
                return Part(source, ast.parse(source), _place(head), _place(head + completion))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
    return None


def _heads(prefix: str) -> Iterator[str]:
    """The prefix from the line of the hole on, from the line above it on, and so forth, as a block of its own."""
    lines = prefix.split("\n")
    least = None
    for first in range(len(lines) - 1, max(-1, len(lines) - 1 - MAX_ABOVE), -1):
        line = lines[first]
        if not line.strip() and first < len(lines) - 1:
            continue
        indent = len(line) - len(line.lstrip())
        if least is None or indent <= least:
            least = indent
            yield ("def _():\n" if indent else "") + "\n".join(lines[first:])


def _tails(prefix: str, completion: str, suffix: str) -> Iterator[str]:
    """The rest of the hole's last line; the same with a body, for a head that has none yet; then ever more lines below."""
    lines = suffix.split("\n")
    last = (prefix + completion).rpartition("\n")[2]
    body = "\n" + " " * (len(last) - len(last.lstrip()) + 4) + "pass"
    for count in range(1, min(len(lines), MAX_BELOW) + 1):
        tail = "\n".join(lines[:count])
        yield tail
        if count == 1:
            yield tail + body


def _place(text: str) -> Place:
    last = text[text.rfind("\n") + 1 :]
    return text.count("\n") + 1, len(last.encode())
