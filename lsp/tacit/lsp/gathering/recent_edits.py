"""Which places the developer has just changed, across all files of the session. Pure; offsets are code points.

A hunk is whole lines: what stood there before the first change and what stands there now. Changes next to one another are
one hunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tacit.lsp.documents import Step

MOST_HUNKS: Final = 40
LONGEST_CHARS: Final = 4000
"""A larger change was not typed; it is not shown."""
NEAR_LINES: Final = 1
"""So many unchanged lines between two changes make them one."""


@dataclass(slots=True)
class Hunk:
    start: int
    end: int
    """Where it is now."""
    before: str
    """What stood there."""
    at: float
    """Seconds, of its last change."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A hunk as it is at one moment."""

    uri: str
    first: int
    """Its first line, zero-based."""
    before: str
    now: str
    at: float


@dataclass(slots=True)
class RecentEdits:
    _hunks: dict[str, list[Hunk]] = field(default_factory=dict)
    _closed: dict[str, tuple[Changed, ...]] = field(default_factory=dict)
    """Of documents that were closed since: as they were then."""

    def changed(self, uri: str, steps: Sequence[Step], now: float) -> None:
        hunks = self._hunks.setdefault(uri, [])
        for step in steps:
            if not step.edit.empty:
                _apply(hunks, step, now)
        self._forget_oldest()

    def opened(self, uri: str) -> None:
        self._hunks.pop(uri, None)

    def closed(self, uri: str, text: str) -> None:
        """text: its last. Of one that holds a private key nothing is kept: a line of it would not look like one."""
        hunks = self._hunks.pop(uri, [])
        self._closed[uri] = () if "PRIVATE KEY" in text else tuple(_as_they_are(uri, hunks, text))
        while len(self._closed) > MOST_HUNKS:
            del self._closed[next(iter(self._closed))]

    def latest(self, texts: dict[str, str]) -> list[Changed]:
        """Newest first. texts: of the open documents."""
        found = [one for uri, hunks in self._hunks.items() if uri in texts for one in _as_they_are(uri, hunks, texts[uri])]
        found += [one for uri, ones in self._closed.items() if uri not in texts for one in ones]
        return sorted(found, key=lambda one: -one.at)

    def _forget_oldest(self) -> None:
        held = [(hunk.at, uri, hunk) for uri, hunks in self._hunks.items() for hunk in hunks]
        if len(held) > MOST_HUNKS:
            for _, uri, hunk in sorted(held, key=lambda one: one[0])[: len(held) - MOST_HUNKS]:
                self._hunks[uri].remove(hunk)


def _apply(hunks: list[Hunk], step: Step, now: float) -> None:
    text, edit = step.before, step.edit
    start, end = _line_start(text, edit.start), _line_end(text, edit.end)
    reach_start, reach_end = start, end
    for _ in range(NEAR_LINES):
        reach_start = _line_start(text, max(0, reach_start - 1))
        reach_end = _line_end(text, min(len(text), reach_end + 1))
    touched = sorted((hunk for hunk in hunks if hunk.start <= reach_end and reach_start <= hunk.end), key=lambda hunk: hunk.start)
    start = min([start, *(hunk.start for hunk in touched)])
    end = max([end, *(hunk.end for hunk in touched)])
    pieces, at = [], start
    for hunk in touched:
        pieces += [text[at : hunk.start], hunk.before]
        at = max(at, hunk.end)
    pieces.append(text[at:end])
    hunks[:] = [hunk for hunk in hunks if hunk not in touched]
    for hunk in hunks:
        if hunk.start >= edit.end:
            hunk.start += edit.growth
            hunk.end += edit.growth
    before = "".join(pieces)
    if len(before) <= LONGEST_CHARS and end + edit.growth - start <= LONGEST_CHARS:
        hunks.append(Hunk(start, end + edit.growth, before, now))


def _as_they_are(uri: str, hunks: Sequence[Hunk], text: str) -> list[Changed]:
    return [
        Changed(uri, text.count("\n", 0, hunk.start), hunk.before, now, hunk.at)
        for hunk in hunks
        if (now := text[hunk.start : hunk.end]) != hunk.before
    ]


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1


def _line_end(text: str, offset: int) -> int:
    found = text.find("\n", offset)
    return len(text) if found < 0 else found
