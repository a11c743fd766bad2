"""Keeps what may be shown ready: one thread that indexes and gathers while the developer does something else, and the choice
that stays while they type. Touches the session's documents and the workspace's files; never waits for either.

A thread, not a process at idle priority: both would share the interpreter's lock or its memory anyway, and a thread that the
system starves while it holds the lock would starve the editor. So it runs at full priority and takes little: one file at a
time, and a quarter of the time at most, a twelfth while somebody types.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tacit.lsp.context import Budget, suffix_end, window_start
from tacit.lsp.documents import Document, Step
from tacit.lsp.gathering.candidate import Candidate
from tacit.lsp.gathering.choosing import Choice, Where, choose, keep
from tacit.lsp.gathering.diagnostics import Complaint, Diagnostics
from tacit.lsp.gathering.files import allowed
from tacit.lsp.gathering.gather import OpenText, Snapshot, gather, gather_about
from tacit.lsp.gathering.index import FolderIndex
from tacit.lsp.gathering.recent_edits import RecentEdits
from tacit.lsp.gathering.viewed import Viewed
from tacit.lsp.workspace import Folder, Place

if TYPE_CHECKING:
    from tacit.protocol.completion import Snippet

log = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 0.025
"""The first suggestion in a document waits so long for its snippets: coming later, they cost the reading of the whole prompt."""
WAIT_S: Final = 0.004
AGAIN_S: Final = 1.0
"""Between two looks at the same document while what is shown stays."""
QUIET_S: Final = 0.5
"""Without a message from the editor: nobody types."""
SHARE, SHARE_TYPING = 0.25, 0.08
"""Of the time, at most, for the index: while nobody types, and else."""
RESCAN_S: Final = 300.0
ABOUT_S: Final = 1.0
"""Of indexing, before a question about an error is answered with what there is."""
LARGEST_DOCUMENT: Final = 2_000_000
"""Characters; in a larger one nothing is looked for."""


@dataclass(frozen=True, slots=True)
class _Job:
    snapshot: Snapshot
    """Without what is open and may be shown: asking that of every document takes the thread's time, not the editor's."""
    opened: Sequence[tuple[str, str, str]]
    """(URI, language, text) of every document that is open."""
    folder: Folder | None
    budget: int
    before: tuple[Candidate, ...]
    answer: Callable[[list[Candidate]], None] | None = None
    """Of a question about an error: who gets all of it, in the thread."""


@dataclass(frozen=True, slots=True)
class _Ready:
    scope: str
    choice: Choice


@dataclass(slots=True)
class _Shown:
    choice: Choice
    where: Where
    asked_at: float


class Gatherer:
    def __init__(
        self,
        documents: Mapping[str, Document],
        place: Callable[[str], Place],
        tokens: Callable[[], int],
        window: Callable[[], Budget],
    ) -> None:
        """tokens: what the engine can read besides the file; 0: nothing is gathered. window: of the prefix and suffix."""
        self._documents = documents
        self._place = place
        self._tokens = tokens
        self._window = window
        self._edits = RecentEdits()
        self._viewed = Viewed()
        self._diagnostics = Diagnostics()
        self._shown: dict[str, _Shown] = {}
        self._ready: dict[str, _Ready] = {}
        self._looked: dict[str, float] = {}
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # Shared with the thread.
        self._bell = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._saved: list[tuple[Folder, str]] = []
        self._wanted: dict[Path, Folder] = {}
        self._active_at = 0.0
        self._ended = False
        self._thread: threading.Thread | None = None

    # What the session tells

    def opened(self, uri: str) -> None:
        self._edits.opened(uri)
        self._forget(uri)
        place = self._place(uri)
        if place.folder is not None and not place.refused:
            self._want(place.folder)

    def changed(self, uri: str, steps: Sequence[Step]) -> None:
        self._edits.changed(uri, steps, time.monotonic())
        document = self._documents.get(uri)
        if document is not None and steps:
            edit = steps[-1].edit
            self._look(document, edit.start + len(edit.text), self._shown.get(uri))

    def saved(self, uri: str) -> None:
        place = self._place(uri)
        if place.folder is not None and not place.refused:
            with self._bell:
                self._saved.append((place.folder, place.path))
                self._bell.notify()

    def closed(self, uri: str, text: str) -> None:
        self._edits.closed(uri, text)
        self._viewed.closed(uri)
        self._diagnostics.closed(uri)
        self._forget(uri)

    def told(self, uri: str, complaints: Iterable[Complaint]) -> None:
        """The diagnostics of a document, as far as the editor passes them on."""
        self._diagnostics.told(uri, complaints)

    def end(self) -> None:
        with self._bell:
            self._ended = True
            self._bell.notify()

    def _forget(self, uri: str) -> None:
        for known in (self._shown, self._ready, self._looked):
            known.pop(uri, None)

    # What a suggestion asks for

    async def snippets(self, document: Document, offset: int, invoked: bool) -> "tuple[Snippet, ...]":
        """What is shown there besides the file, in the prompt's order; whatever is not ready in time is not shown."""
        from tacit.protocol.completion import Snippet

        uri = document.uri
        shown = self._shown.get(uri)
        looking = self._look(document, offset, shown, asked=True)
        if looking and uri not in self._ready:
            await self._wait(uri, FIRST_WAIT_S)
        elif looking and invoked:
            self._ready.pop(uri, None)
            await self._wait(uri, WAIT_S)
        ready = self._ready.get(uri)
        if self._tokens() <= 0:
            return ()
        now = time.monotonic()
        start = window_start(document.text, offset, self._window().prefix)
        if ready is not None:
            where = Where(ready.scope, start)
            idle = now - shown.asked_at if shown is not None else 0.0
            if shown is None or not keep(shown.choice, shown.where, where, ready.choice, invoked=invoked, idle_s=idle):
                shown = _Shown(ready.choice, where, now)
            shown.asked_at = now
            self._shown[uri] = shown
        if shown is None:
            return ()
        return tuple(
            Snippet(path=one.path, text=one.text, kind=one.kind) for one in self._still_allowed(uri, shown.choice.chosen)
        )

    async def about(self, document: Document, offset: int, shown: tuple[int, int]) -> list[Candidate]:
        """What helps with an error there, all of it and in no order; what is shown to completions stays as it is. shown: what the
        model sees of the document in any case. The index is built for it if there is none yet, for ABOUT_S."""
        uri = document.uri
        place = self._place(uri)
        if place.refused or len(document.text) > LARGEST_DOCUMENT:
            return []
        found: asyncio.Future[list[Candidate]] = self._loop.create_future()

        def answer(candidates: list[Candidate]) -> None:
            self._loop.call_soon_threadsafe(lambda: None if found.done() else found.set_result(candidates))

        opened = [(one.uri, one.language, one.text) for one in self._documents.values() if len(one.text) <= LARGEST_DOCUMENT]
        now = time.monotonic()
        at = self._snapshot(document, offset, place, {name: text for name, _, text in opened}, now)
        at = replace(at, start=shown[0], end=shown[1])
        if place.folder is not None:
            self._want(place.folder, always=True)
        self._start()
        with self._bell:
            self._jobs[f"about:{id(found)}:{uri}"] = _Job(at, opened, place.folder, 0, (), answer)
            self._bell.notify()
        candidates = await found
        return [one for one in candidates if one.path == place.path or self._may_show(place.folder, one.path)]

    def _still_allowed(self, uri: str, chosen: Sequence[Candidate]) -> list[Candidate]:
        """An ignore file may have changed since they were chosen."""
        place = self._place(uri)
        if place.refused:
            return []
        return [one for one in chosen if one.path == place.path or self._may_show(place.folder, one.path)]

    def _may_show(self, folder: Folder | None, name: str) -> bool:
        """A folder that is open inside this one has its own rules: its files are not this one's to show."""
        if folder is None or allowed(folder, name) is None:
            return False
        other = self._place((folder.root / name).as_uri())
        return other.folder is folder and not other.refused

    async def _wait(self, uri: str, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while uri not in self._ready:
                    self._news.clear()
                    await self._news.wait()

    def _look(self, document: Document, offset: int, shown: _Shown | None, *, asked: bool = False) -> bool:
        """Have the thread look at this place; False: it is too early to look again, or there is nothing to look for."""
        now = time.monotonic()
        uri = document.uri
        self._active_at = now
        if asked:
            self._viewed.looked(uri, document.text.count("\n", 0, offset), now)
        budget = self._tokens()
        soon = now - self._looked.get(uri, -AGAIN_S) < AGAIN_S
        if budget <= 0 or len(document.text) > LARGEST_DOCUMENT or (soon and (not asked or uri in self._ready)):
            return False
        place = self._place(uri)
        if place.refused:
            return False
        self._looked[uri] = now
        opened = [(one.uri, one.language, one.text) for one in self._documents.values() if len(one.text) <= LARGEST_DOCUMENT]
        snapshot = self._snapshot(document, offset, place, {name: text for name, _, text in opened}, now)
        job = _Job(snapshot, opened, place.folder, budget, shown.choice.chosen if shown else ())
        if place.folder is not None:
            self._want(place.folder)
        self._start()
        with self._bell:
            self._jobs.pop(uri, None)
            self._jobs[uri] = job
            self._bell.notify()
        return True

    def _snapshot(self, document: Document, offset: int, place: Place, texts: dict[str, str], now: float) -> Snapshot:
        window = self._window()
        uri, text = document.uri, document.text
        return Snapshot(
            uri, place.path, document.language, text, offset,
            start=window_start(text, offset, window.prefix),
            end=suffix_end(text, offset, window.suffix),
            edits=self._edits.latest(texts),
            seen=self._viewed.latest(),
            complaints=self._diagnostics.near(uri, text.count("\n", 0, offset)),
            now=now,
        )  # fmt: skip

    def _with_documents(self, job: _Job) -> Snapshot:
        """With those of the same folder that may be shown."""
        at, folder = job.snapshot, job.folder
        documents = {at.uri: OpenText(at.path, at.language, at.text)}
        paths = {}
        if folder is not None:
            changed = {one.uri for one in at.edits}
            wanted = {one.uri for one in at.seen} | changed
            opened = {uri: (language, text) for uri, language, text in job.opened}
            for uri in wanted - {at.uri}:
                place = self._place(uri)
                if place.folder is not folder or place.refused:
                    continue
                if uri in opened:
                    documents[uri] = OpenText(place.path, *opened[uri])
                elif uri in changed:
                    paths[uri] = place.path
        return replace(at, documents=documents, paths=paths)

    def _done(self, uri: str, ready: _Ready) -> None:
        if uri in self._documents:
            self._ready[uri] = ready
        self._news.set()

    # The thread

    def _want(self, folder: Folder, *, always: bool = False) -> None:
        if (always or self._tokens() > 0) and folder.root not in self._wanted:
            self._start()
            with self._bell:
                self._wanted[folder.root] = folder
                self._bell.notify()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="gathering", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        indexes: dict[Path, FolderIndex] = {}
        scanned: dict[Path, float] = {}
        rest_until = 0.0
        while True:
            with self._bell:
                if self._ended:
                    return
                job = self._jobs.pop(next(iter(self._jobs))) if self._jobs else None
                saved, self._saved = self._saved, []
                wanted = dict(self._wanted)
            for folder, name in saved:
                if (index := indexes.get(folder.root)) is not None:
                    index.saved(name)
            if job is not None:
                if job.answer is not None:
                    self._guarded(partial(self._answer_about, job, indexes, scanned, wanted))
                else:
                    self._guarded(partial(self._answer, job, indexes))
                continue
            began = time.monotonic()
            pause = rest_until - began
            if pause <= 0:
                worked = self._guarded(partial(_index_some, indexes, scanned, wanted))
                took = time.monotonic() - began
                rest_until = began + took / (SHARE_TYPING if began - self._active_at < QUIET_S else SHARE)
                pause = rest_until - time.monotonic() if worked else RESCAN_S
            with self._bell:
                if not self._jobs and not self._saved and not self._ended and len(wanted) == len(self._wanted):
                    self._bell.wait(max(0.0, pause))

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """One file that cannot be understood must not end all gathering."""
        try:
            return work()
        except Exception:
            log.exception("gathering failed")
            return True

    def _answer(self, job: _Job, indexes: Mapping[Path, FolderIndex]) -> bool:
        index = indexes.get(job.folder.root) if job.folder is not None else None
        gathered = gather(self._with_documents(job), index)
        ready = _Ready(gathered.scope, choose(gathered.candidates, job.budget, job.before))
        # The loop may have ended: then nobody asks any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done, job.snapshot.uri, ready)
        return True

    def _answer_about(
        self, job: _Job, indexes: dict[Path, FolderIndex], scanned: dict[Path, float], wanted: Mapping[Path, Folder]
    ) -> bool:
        assert job.answer is not None
        found: list[Candidate] = []
        try:
            root = job.folder.root if job.folder is not None else None
            until = time.monotonic() + ABOUT_S
            while root is not None and not (root in indexes and indexes[root].built) and time.monotonic() < until:
                if not _index_some(indexes, scanned, {root: wanted[root]} if root in wanted else {}):
                    break
            found = gather_about(self._with_documents(job), indexes.get(root) if root is not None else None)
        finally:
            # The loop may have ended: then nobody asks any more.
            with contextlib.suppress(RuntimeError):
                job.answer(found)
        return True


def _index_some(indexes: dict[Path, FolderIndex], scanned: dict[Path, float], wanted: Mapping[Path, Folder]) -> bool:
    """One step of the work that is due. False: none is."""
    now = time.monotonic()
    for root, folder in wanted.items():
        if root not in indexes:
            indexes[root] = FolderIndex(folder)
        if now - scanned.get(root, -RESCAN_S) >= RESCAN_S:
            scanned[root] = now
            indexes[root].rescan()
            return True
        if indexes[root].step():
            return True
    return False
