"""A developer who types a passage in an editor, and what they see meanwhile: ghost text as editors show and drop it.

Behaves as VS Code does: tells each change, cancels the request before, asks anew; keeps ghost text while what is typed is its
beginning; drops an answer that comes after the next key. Touches one simulated editor.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

from tacit.bench.keystrokes import Key, Passage
from tacit.learner.simulate.editor import Document, Editor, Pending
from tacit.learner.simulate.positions import offset_at

SEEN_S: Final = 0.3
PAUSE_S: Final = 0.5
"""From here on a pause is one in which a suggestion is read."""
FEWEST_ACCEPTED: Final = 4
"""Characters that are worth a Tab."""


@dataclass(slots=True)
class Tally:
    """What was typed and what was seen of suggestions."""

    keys: int = 0
    chars: int = 0
    shown: int = 0
    """Suggestions that appeared; the rest of one that is typed is the same one."""
    seen: int = 0
    """For `SEEN_S` and longer."""
    matching: int = 0
    matching_seen: int = 0
    useful: set[str] = field(default_factory=set)
    """Ids of those that matched."""
    saved: int = 0
    """Characters that matching suggestions held before they were typed, each counted once."""
    stale: int = 0
    """Shown for a text that was not there any more."""
    accepted: int = 0
    pauses: int = 0
    to_ghost_ms: list[float] = field(default_factory=list)
    """Of each pause that had ghost text: from its beginning until it was there."""


@dataclass(slots=True)
class _Ghost:
    id: str
    text: str
    since: float
    """perf_counter seconds."""
    matching: bool
    whole: bool


class Typist:
    def __init__(self, editor: Editor, document: Document, tally: Tally, *, accept: bool) -> None:
        self._editor = editor
        self._document = document
        self._tally = tally
        self._accept = accept
        self._ghost: _Ghost | None = None
        self._pending: Pending | None = None
        self._asked = 0
        self._answered = 0
        """The latest request that has its answer."""
        self._known: dict[str, tuple[int, str]] = {}
        """Where a suggestion first began, in what is typed of the passage, and its text there."""
        self._passage = Passage(0, 0, "", ())
        self._typed = 0
        self._saved_to = 0
        self._key_at = 0.0
        self._ghost_at: float | None = None
        """When ghost text was there after the latest key."""

    async def type(self, passage: Passage) -> None:
        """Go there, delete what goes, type the keys at their times. What they leave out of the text comes by itself."""
        self._passage, self._typed, self._saved_to = passage, 0, 0
        self._known.clear()
        self._hide()
        if passage.end > passage.start:
            self._editor.change(self._document, passage.start, passage.end, "")
        due, done = time.perf_counter(), 0
        for key in passage.keys:
            done += len(key.text)
            if done > self._typed:
                self._key(passage.text[self._typed : done])
                due += key.pause_s
                await self._pause(key, due)
        await self.leave()
        if rest := passage.text[self._typed :]:
            self._editor.change(self._document, self._cursor, self._cursor, rest)

    async def leave(self) -> None:
        """The cursor is elsewhere now."""
        self._cancel()
        self._hide()

    @property
    def _cursor(self) -> int:
        return self._passage.start + self._typed

    def _key(self, text: str) -> None:
        self._tally.keys += 1
        self._tally.chars += len(text)
        self._put(text)

    def _put(self, text: str) -> None:
        """At the cursor, and what an editor does then."""
        ghost = self._ghost
        self._editor.change(self._document, self._cursor, self._cursor, text)
        self._typed += len(text)
        self._key_at = time.perf_counter()
        if ghost is not None and ghost.text.startswith(text) and len(ghost.text) > len(text):
            ghost.text = ghost.text[len(text) :]
        else:
            self._hide()
        self._ghost_at = self._key_at if self._ghost is not None else None
        self._cancel()
        self._asked += 1
        number, pending = self._asked, self._editor.ask(self._document, self._cursor)
        self._pending = pending
        pending.answer.add_done_callback(lambda answer: self._came(number, pending))

    async def _pause(self, key: Key, due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if key.pause_s >= PAUSE_S:
            self._tally.pauses += 1
            if self._ghost is not None and self._ghost_at is not None:
                self._tally.to_ghost_ms.append((self._ghost_at - self._key_at) * 1000)
        ghost = self._ghost
        if self._accept and ghost is not None and ghost.whole and time.perf_counter() - ghost.since >= SEEN_S:
            text = ghost.text
            if len(text) >= FEWEST_ACCEPTED and self._passage.text.startswith(text, self._typed):
                self._tally.accepted += 1
                self._tally.keys += 1
                self._tally.chars += len(text)
                self._put(text)

    def _cancel(self) -> None:
        if self._pending is not None and not self._pending.answer.done():
            self._editor.cancel(self._pending)
        self._pending = None

    def _came(self, number: int, pending: Pending) -> None:
        answer = pending.answer
        late, self._answered = number < self._answered, max(number, self._answered)
        items = [] if answer.cancelled() or answer.exception() is not None else _items(answer.result())
        if late and items:
            # A later request has its answer: the server knew of the later text when it sent this one.
            self._tally.stale += 1
        if number != self._asked or self._pending is None:
            return
        if not items:
            self._hide()
            return
        self._show(items[0], pending.answered_at)

    def _show(self, item: Any, at: float) -> None:
        start, end = (offset_at(self._document.text, item["range"][side]) for side in ("start", "end"))
        name, inserted = item["command"]["arguments"][0], item["insertText"]
        # What an item replaces before the cursor is typed already.
        typed, text = inserted[: self._cursor - start], inserted[self._cursor - start :]
        first, known = self._known.setdefault(name, (self._typed, text))
        fits = start <= self._cursor <= end and self._document.text[start : self._cursor] == typed
        if not fits or not known.startswith(self._passage.text[first : self._typed]):
            self._tally.stale += 1
        ghost = self._ghost
        if ghost is not None and (ghost.id == name or ghost.text == text):
            ghost.text = text
            if ghost.matching:
                self._tally.useful.add(name)
            return
        self._hide()
        matched, whole = self._matched(text, self._document.text[self._cursor :])
        self._tally.shown += 1
        if matched:
            self._tally.matching += 1
            self._tally.useful.add(name)
            reach = self._typed + matched
            self._tally.saved += max(0, reach - max(self._saved_to, self._typed))
            self._saved_to = max(self._saved_to, reach)
        self._ghost = _Ghost(name, text, at, matched > 0, whole)
        self._ghost_at = at

    def _matched(self, text: str, after: str) -> tuple[int, bool]:
        """How many characters that are still to be typed it holds; whether all of it, or its first line, is how it goes on."""
        rest = self._passage.text[self._typed :]
        coming = rest + after
        whole = coming.startswith(text)
        blank = len(text) - len(text.lstrip())
        line = text[: blank + len(text[blank:].split("\n", 1)[0])]
        held = text if whole else line if coming.startswith(line) else ""
        matched = min(len(held), len(rest))
        return (matched, whole) if rest[:matched].strip() else (0, False)

    def _hide(self) -> None:
        ghost, self._ghost = self._ghost, None
        if ghost is not None and time.perf_counter() - ghost.since >= SEEN_S:
            self._tally.seen += 1
            self._tally.matching_seen += ghost.matching


def _items(result: Any) -> list[Any]:
    items: list[Any] = result["items"] if isinstance(result, dict) else result or []
    return items
