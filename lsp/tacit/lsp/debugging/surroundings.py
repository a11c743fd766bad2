"""What the model is shown besides the file when it is asked about an error: collected from the parts of `gathering`, put into
order, bounded. Reads the workspace and asks git, in threads; never in the session's loop.

What is not there in time is not shown: an answer does not wait for its context longer than WAIT_S.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lsprotocol import types

from tacit.lsp.documents import Document
from tacit.lsp.gathering.candidate import Candidate
from tacit.lsp.gathering.dependencies import versions
from tacit.lsp.gathering.files import listed
from tacit.lsp.gathering.frames import Code, around, frames, output_now, places, saved_output
from tacit.lsp.gathering.history import Earlier, history
from tacit.lsp.gathering.reading import Reading
from tacit.lsp.workspace import Folder, Place, Workspace

if TYPE_CHECKING:
    from tacit.protocol.debugging import DebugSnippet, DebugSnippetKind, Diagnostic

log = logging.getLogger(__name__)

WAIT_S: Final = 5.0
GIT_S: Final = 3.0
"""For each question to git."""
VIEW_LINES: Final = 20
"""Above and below the place, the model sees the file itself."""
MOST_CHARS: Final = 2000
"""Of one piece."""
MOST: Final[Mapping[str, int]] = {
    "frame": 4, "definition": 6, "history": 3, "edit": 3, "test_output": 1, "dependency": 1, "diagnostic": 3, "retrieved": 2,
}  # fmt: skip
ORDER: Final = ("diagnostic", "frame", "history", "definition", "edit", "test_output", "dependency", "retrieved")
"""The most useful first: the last are dropped first when there is no room."""

About = Callable[[Document, int, tuple[int, int]], Awaitable[Sequence[Candidate]]]
"""What the gatherer finds about a place of a document that is shown from one offset to another."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the collecting needs to know, as plain data: threads read it."""

    reading: Reading
    path: str = ""
    """Of the file that is asked about, relative to the folder; empty: there is none."""
    language: str = ""
    text: str = ""
    line: int = 0
    """That it is about, counted from 0."""
    told: str = ""
    """A trace, or what the developer wrote, which may hold one."""
    related: Sequence[tuple[str, int, str]] = ()
    """(file, line from 0, words) of the places that the diagnostics refer to."""

    @property
    def folder(self) -> Folder:
        return self.reading.folder

    @property
    def view(self) -> range:
        return range(self.line - VIEW_LINES, self.line + VIEW_LINES + 1)


@dataclass(frozen=True, slots=True)
class Said:
    """An output that was saved in a folder: a trace through a file of it."""

    folder: Folder
    name: str
    """Relative to the folder."""
    about: str
    """The file, likewise."""
    text: str
    """Secrets replaced."""


class Surroundings:
    """Of questions about the session's documents and folders."""

    def __init__(
        self, documents: Mapping[str, Document], workspace: Workspace, wanted: Callable[[], bool], about: About | None = None
    ) -> None:
        """wanted: the developer lets the model see other places than the one that is asked about."""
        self._documents = documents
        self._workspace = workspace
        self._wanted = wanted
        self._about = about

    async def of(
        self, document: Document, place: Place, at: int, diagnostics: "Sequence[Diagnostic]", told: str
    ) -> "tuple[DebugSnippet, ...]":
        """At an offset of a document. told: a trace, or the developer's words. The most useful first."""
        if place.folder is None or not self._wanted():
            return ()
        line = document.position_at(at).line
        related = [(two.path, two.line, two.message) for one in diagnostics[:3] for two in one.related[:4]]
        question = Question(self._reading(place.folder), place.path, document.language, document.text, line, told, related)
        if self._about is None:
            return await collected(question)
        above, below = (types.Position(max(0, line + step), 0) for step in (-VIEW_LINES, VIEW_LINES + 1))
        return await collected(question, self._about(document, at, (document.offset_at(above), document.offset_at(below))))

    async def of_trace(self, told: str) -> "tuple[DebugSnippet, ...]":
        """Of a question about no file: code of the frames, from the first of the open folders that has any."""
        for folder in list(self._workspace.folders) if self._wanted() else ():
            if found := await collected(Question(self._reading(folder), told=told)):
                return found
        return ()

    async def led_to(self, trace: str) -> list[tuple[Path, str, int]]:
        """(root, file, line from 0) of its frames in the first of the open folders that has any, the innermost first."""
        for folder in list(self._workspace.folders):
            files = await asyncio.to_thread(listed, folder)
            found = await asyncio.to_thread(places, trace, str(folder.root), files)
            if found:
                return [(folder.root, name, line) for name, line in found]
        return []

    async def said(self, place: Place) -> Said | None:
        """Saved output that goes through a file; None: there is none, or the developer does not want it read."""
        folder = place.folder
        if folder is None or not self._wanted():
            return None
        found = await asyncio.to_thread(lambda: saved_output(self._reading(folder), place.path, listed(folder)))
        return None if found is None else Said(folder, found.path, place.path, found.whole)

    async def said_now(self, said: Said) -> tuple[str, float] | None:
        """What stands in that file now, and when it was written (seconds of the system's clock)."""
        if not self._wanted():
            return None
        return await asyncio.to_thread(output_now, Reading(said.folder, self._workspace.place), said.name)

    def _reading(self, folder: Folder) -> Reading:
        opened = {uri: document.text for uri, document in self._documents.items() if not document.refused}
        return Reading(folder, self._workspace.place, opened)


async def collected(question: Question, about: Awaitable[Sequence[Candidate]] | None = None) -> "tuple[DebugSnippet, ...]":
    """about: definitions and changes, as the gatherer finds them."""
    found: list[DebugSnippet] = []

    async def collect(part: "Callable[[], Iterable[DebugSnippet]]") -> None:
        try:
            found.extend(await asyncio.to_thread(lambda: list(part())))
        except Exception:
            # One file that cannot be understood must not leave the question without an answer.
            log.exception("a part of what surrounds an error could not be read")

    async def definitions() -> None:
        if about is not None:
            found.extend(_candidates(await about))

    parts = [collect(partial(one, question)) for one in (_traced, _related, _history, _versions)]
    with contextlib.suppress(TimeoutError):
        # A thread cannot be stopped; each of them ends by itself soon after.
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*parts, definitions())
    return chosen(found)


def chosen(found: Sequence["DebugSnippet"]) -> "tuple[DebugSnippet, ...]":
    """In order, so many of each kind, each line of a file once."""
    kept: list[DebugSnippet] = []
    for kind in ORDER:
        mine = [one for one in found if one.kind == kind and one.text.strip()]
        kept += [one for one in mine if not any(_same_place(one, other) for other in kept)][: MOST[kind]]
    return tuple(kept)


def _same_place(one: "DebugSnippet", other: "DebugSnippet") -> bool:
    """Commits may have changed the same lines one after another, but what is not committed is the session's change too."""
    kinds = {one.kind, other.kind}
    if one.path != other.path or one.first_line is None or other.first_line is None or kinds == {"history"}:
        return False
    if "history" in kinds and kinds != {"history", "edit"}:
        return False
    (first, last), (start, end) = ((two.first_line or 0, (two.first_line or 0) + two.text.count("\n")) for two in (one, other))
    return first <= end and start <= last


def _traced(question: Question) -> Iterable["DebugSnippet"]:
    """Frames of what was told; else those of saved output that goes through the file, and its end."""
    files = listed(question.folder)
    root = str(question.folder.root)
    shown = (question.path, question.view) if question.path else None
    wanted = places(question.told, root, files)
    if not wanted and question.path and (output := saved_output(question.reading, question.path, files)) is not None:
        yield _snippet(output.path, output.text, "test_output", None, "a saved text; its end")
        wanted = places(output.whole, root, files)
    for code in frames(question.reading, wanted, shown):
        yield _code(code, "frame")


def _related(question: Question) -> Iterable["DebugSnippet"]:
    for path, line, words in question.related:
        if path == question.path and line in question.view:
            continue
        if (code := around(question.reading, path, line, f"line {line + 1}: {words}"[:300], lines=3)) is not None:
            yield _code(code, "diagnostic")


def _history(question: Question) -> Iterable["DebugSnippet"]:
    if not question.path:
        return
    text = question.text.replace("\r\n", "\n").replace("\r", "\n")
    found: list[Earlier] = history(question.folder.root, question.path, text, question.line, GIT_S)
    for one in found:
        yield _snippet(question.path, one.text, "history", one.first, one.note)


def _versions(question: Question) -> Iterable["DebugSnippet"]:
    found = versions(question.reading, question.path, question.text, question.language) if question.path else None
    if found is not None:
        yield _snippet(found[0], found[1], "dependency", None, "")


def _candidates(found: Iterable[Candidate]) -> Iterable["DebugSnippet"]:
    for one in sorted(found, key=lambda one: -one.score):
        yield _snippet(one.path, one.text, one.kind, max(0, one.first), one.reason)


def _code(code: Code, kind: "DebugSnippetKind") -> "DebugSnippet":
    return _snippet(code.path, code.text, kind, code.first, code.note)


def _snippet(path: str, text: str, kind: "DebugSnippetKind", first: int | None, note: str) -> "DebugSnippet":
    from tacit.protocol.debugging import DebugSnippet

    # Whole lines: half of one is no code.
    cut = (
        text if len(text) <= MOST_CHARS else text[: text.rfind("\n", 0, MOST_CHARS) if "\n" in text[:MOST_CHARS] else MOST_CHARS]
    )
    return DebugSnippet(path=path[-4096:], text=cut, kind=kind, first_line=first, note=note[:400])
