"""Real later edits as places: what a change added is missing from the finished text until the developer writes it. Pure.

What a change took out is gone before the typing starts, and of two additions in one file the later is written later: nothing
of y* is in what the language server has seen when it is asked.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import PurePosixPath
from random import Random
from types import MappingProxyType
from typing import Final

from tacit.learner.simulate.places import SHORTEST, Place

LANGUAGES: Final = MappingProxyType(
    {
        ".py": "python", ".rs": "rust", ".ts": "typescript", ".tsx": "typescriptreact", ".js": "javascript",
        ".jsx": "javascriptreact", ".go": "go", ".java": "java", ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp", ".hpp": "cpp",
        ".rb": "ruby", ".php": "php", ".cs": "csharp", ".kt": "kotlin", ".swift": "swift", ".scala": "scala", ".lua": "lua",
    }
)  # fmt: skip
"""LSP language id by the end of a file's name."""

LONGEST_FILE: Final = 60_000
"""Characters."""
BEFORE, AFTER = 4, 6
"""Lines of one addition that are written before the developer asks, and afterwards."""
STARTED: Final = 0.4
"""How often the first words of the line are written when they ask."""
ADDITIONS: Final = 4
"""Of one change, at most: one long change is not a day's work."""

_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_INDENT: Final = re.compile(r"[ \t]*")
_REST: Final = re.compile(r"[ .(\[]")


@dataclass(frozen=True, slots=True)
class Change:
    """One file as one commit (or pull request, or edit) changed it."""

    project: str
    commit: str
    at: float
    """Only the order counts: seconds, or the number of a pull request."""
    path: str
    before: str
    finished: str


def language_of(path: str) -> str:
    """LSP language id; empty: none that is known here."""
    return LANGUAGES.get(PurePosixPath(path).suffix.lower(), "")


def places_of(change: Change, random: Random) -> tuple[Place, ...]:
    """Where its author would have asked: once in each addition, apart from one another, in order of the text."""
    if "\r" in change.finished or max(len(change.before), len(change.finished)) > LONGEST_FILE:
        return ()
    new = _LINE.findall(change.finished)
    starts = [0]
    for line in new:
        starts.append(starts[-1] + len(line))
    found = [
        place for first, last in _added(change.before, new) if (place := _place(change.finished, starts, first, last, random))
    ]
    chosen = random.sample(found, min(ADDITIONS, len(found)))
    return tuple(sorted(chosen, key=lambda place: place.start))


def _added(before: str, new: Sequence[str]) -> Iterator[tuple[int, int]]:
    """[first, last) of the lines of each addition."""
    for tag, _, _, first, last in SequenceMatcher(None, _LINE.findall(before), new, autojunk=False).get_opcodes():
        if tag in ("insert", "replace"):
            yield first, last


def _place(text: str, starts: Sequence[int], first: int, last: int, random: Random) -> Place | None:
    """The addition from the end of the line before it; it is asked at one of its lines that says something."""
    if first == 0:
        return None  # it would begin where no line ends
    asked = [line for line in range(first, last) if len(text[starts[line] : starts[line + 1]].strip()) >= SHORTEST]
    if not asked:
        return None
    line = random.choice(asked)
    first, last = max(first, line - BEFORE), min(last, line + 1 + AFTER)
    end = starts[last] - (text[starts[last] - 1] == "\n")
    indent = _INDENT.match(text, starts[line])
    assert indent is not None
    pause = indent.end()
    if random.random() < STARTED:
        line_end = starts[line + 1] - SHORTEST
        rests = [found.end() for found in _REST.finditer(text, pause + 2, max(pause + 2, line_end))][:2]
        pause = random.choice(rests) if rests else pause
    return Place(starts[first] - 1, pause, end, "edit")
