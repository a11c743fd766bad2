"""The stack trace in a text, or what a compiler says in it; whatever wrote it, whatever stands around it. Pure; odd input is no
trace, never an error.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from tacit.protocol.traces import compilers, managed, native, python
from tacit.protocol.traces.trace import Frame, Trace

MOST_CHARS: Final = 200_000
MOST_LINES: Final = 5000
MOST_LINE: Final = 2000
"""Longer lines are cut: no frame is so long."""

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)")
_PARSERS: Final[tuple[Callable[[list[str]], Trace | None], ...]] = (
    python.parse,
    native.parse_rust,
    native.parse_go,
    managed.parse_java,
    managed.parse_javascript,
    native.parse_cpp,
)


def read(text: str) -> Trace | None:
    """The trace that most of the text is, else the errors of a compiler; None: there is neither.

    Of a text that is too long, the beginning and the end are read: an error stands at one of them.
    """
    if len(text) > MOST_CHARS:
        text = text[: MOST_CHARS // 2] + "\n" + text[-MOST_CHARS // 2 :]
    lines = [line[:MOST_LINE].rstrip() for line in _ANSI.sub("", text).replace("\r\n", "\n").split("\n")]
    if len(lines) > MOST_LINES:
        lines = lines[: MOST_LINES // 2] + lines[-MOST_LINES // 2 :]
    found = [trace for parse in _PARSERS if (trace := parse(lines)) is not None]
    # The first of equals: the order above is that of how hard a format is to mistake for another.
    best = max(found, key=lambda trace: len(trace.frames), default=None)
    # What has run has been compiled: beside a trace, what a compiler says is not what went wrong.
    return best if best is not None else compilers.parse(lines)


def in_workspace(frame: Frame, root: str, paths: Sequence[str]) -> str | None:
    """Which of the workspace's files a frame is in; None: none, or it cannot be told.

    root: the workspace, absolute. paths: its files, relative to it, with forward slashes. A trace may name files from elsewhere
    (a container, a build machine) or by their ends only (Java): then the only file that ends the same way is meant.
    """
    path = frame.path.replace("\\", "/").removeprefix("file://")
    top = root.replace("\\", "/").rstrip("/")
    if not path or path.startswith(("<", "node:")):
        return None
    if top and path.startswith(top + "/"):
        inner = path[len(top) + 1 :]
        return inner if inner in paths else None
    plain = path.removeprefix("./")
    if plain in paths:
        return plain
    parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
    # At least two names where there are two: `main.py` of another program is not this one's.
    for count in range(len(parts), min(len(parts), 2) - 1, -1):
        ending = "/".join(parts[-count:])
        same = [one for one in paths if one == ending or one.endswith("/" + ending)]
        if len(same) == 1:
            return same[0]
        if same:
            return None
    return None
