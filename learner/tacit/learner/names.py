"""Which names does a completion use that nothing defines? For Python, by pyflakes over the window around it. Pure.

A window is a part of a file. It is cut to whole top-level statements so that it parses, and a name that is also used elsewhere
in the window counts as known: its definition is outside. Modules count as known if they are the standard library's, or
imported anywhere in what was recorded.
"""

import ast
import re
import sys
from collections.abc import Iterable

from pyflakes.checker import Checker
from pyflakes.messages import UndefinedName

MAX_CUTS = 12
"""Lines at which a window's ends are tried, each way."""

_IMPORT = re.compile(r"^\s*(?:from|import)\s+([A-Za-z_]\w*)", re.MULTILINE)
_TOP_LEVEL = re.compile(r"^(?=[^\s#)\]}])", re.MULTILINE)


def modules(texts: Iterable[str], paths: Iterable[str]) -> frozenset[str]:
    """Top-level names of modules that the project is known to have: those it imports, and its own files and folders."""
    known = {name for text in texts for name in _IMPORT.findall(text)}
    known |= {part.removesuffix(".py") for path in paths for part in path.split("/")}
    return frozenset(known)


def unresolved(prefix: str, completion: str, suffix: str, known: frozenset[str] = frozenset()) -> frozenset[str] | None:
    """Names and modules that the completion uses and nothing defines; None if no part of the window with it in parses."""
    parsed = _parse(prefix, completion, suffix)
    if parsed is None:
        return None
    tree, start, end = parsed
    elsewhere = f"{prefix}\n{suffix}"
    names: set[str] = set()
    for message in Checker(tree).messages:
        if isinstance(message, UndefinedName) and start <= (message.lineno, message.col) < end:
            name = str(message.message_args[0])
            if not re.search(rf"\b{re.escape(name)}\b", elsewhere):
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


def _parse(prefix: str, completion: str, suffix: str) -> tuple[ast.Module, Place, Place] | None:
    for head in _heads(prefix):
        start = _place(head)
        end = _place(head + completion)
        for tail in _tails(suffix):
            try:
                return ast.parse(head + completion + tail), start, end
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
    return None


def _heads(prefix: str) -> list[str]:
    """The prefix, whole, and from each of its first top-level lines on."""
    return [prefix, *(prefix[m.start() :] for m in _TOP_LEVEL.finditer(prefix) if m.start())][: MAX_CUTS + 1]


def _tails(suffix: str) -> list[str]:
    """The suffix, whole, and up to each of its last top-level lines; last, nothing but its first line."""
    cuts = [m.start() for m in _TOP_LEVEL.finditer(suffix) if m.start()][-MAX_CUTS:]
    return [suffix, *(suffix[:cut] for cut in reversed(cuts)), suffix.partition("\n")[0], ""]


def _place(text: str) -> Place:
    last = text[text.rfind("\n") + 1 :]
    return text.count("\n") + 1, len(last.encode())
