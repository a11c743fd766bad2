"""The scripted developer at work: types a file through an Editor, asks, decides, edits. Touches the editor and the clock.

The finished text is known here and nowhere else: the language server sees only what is typed.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tacit.learner.simulate.developer import Action, Decision, Traits, decide, edits_towards, keystrokes
from tacit.learner.simulate.editor import Document, Editor, Item, LspError
from tacit.learner.simulate.places import Place, without

PATIENCE = 75.0
"""Seconds for an answer: more than the deadline that any of these sessions sets the language server."""
LONGEST_HORIZON = 600.0
"""Session seconds after which the language server has read the settled text for the last time before a save."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What one would see in the editor's window at this moment."""

    path: str
    text: str
    cursor: int
    ghost: str
    note: str
    """What the developer does, in words; empty while typing."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One place where a suggestion was asked for, as the developer saw it."""

    path: str
    place: Place
    suggestion_id: str
    """Empty: nothing was suggested."""
    text: str
    waited: float
    """Seconds from asking to the answer."""
    decision: Decision | None


Watcher = Callable[[Scene], None]

_NOTES: dict[Action, str] = {
    "accept": "takes it",
    "partial": "takes its first words",
    "undo": "takes it, and takes it out again",
    "dismiss": "presses Esc",
    "leave": "goes elsewhere first",
    "type": "types on",
}


class Session:
    """One developer at one editor. `time_scale`: session seconds per real second, as told to the language server."""

    def __init__(
        self,
        editor: Editor,
        traits: Traits,
        *,
        seed: int,
        time_scale: float,
        watch: Watcher = lambda scene: None,
        visited: Callable[["Visit"], None] = lambda visit: None,
    ) -> None:
        self._editor = editor
        self._traits = traits
        self._seed = seed
        self._time_scale = time_scale
        self._watch = watch
        self._visited = visited
        self._open: list[Document] = []

    async def write(self, path: Path, finished: str, places: Sequence[Place], *, language: str = "python") -> list[Visit]:
        """Open the file without these places and write them one after another; ends with exactly `finished`, unsaved."""
        typing = _Typing(self, path, finished, places, language)
        self._open.append(typing.document)
        visits, later = [], []
        for index in range(len(places)):
            visit = await typing.visit(index)
            visits.append(visit)
            self._visited(visit)
            if visit.decision is not None and visit.decision.action == "leave":
                later.append(index)
        for index in later:
            await typing.write_out(index)
        assert typing.document.text == finished
        return visits

    async def finish(self) -> None:
        """Let the horizons pass, save everything, close it."""
        await self.wait(LONGEST_HORIZON + 10)
        for document in self._open:
            self._editor.save(document)
        # Saving is a horizon too: the language server reads the text before the document is gone.
        await self.wait(5)
        for document in self._open:
            self._editor.close(document)
        self._open.clear()

    async def wait(self, seconds: float) -> None:
        """Session seconds."""
        await asyncio.sleep(seconds / self._time_scale)

    @property
    def editor(self) -> Editor:
        return self._editor

    @property
    def traits(self) -> Traits:
        return self._traits

    def show(self, scene: Scene) -> None:
        self._watch(scene)

    def luck(self, path: str, place: Place) -> Random:
        """The same at the same place under the same seed, whatever happened before."""
        return Random(f"{self._seed}:{path}:{place.start}:{place.pause}")


class _Typing:
    """One document and how far it is."""

    def __init__(self, session: Session, path: Path, finished: str, places: Sequence[Place], language: str) -> None:
        self.session = session
        self.finished = finished
        self.places = places
        self.written = [0] * len(places)
        """How long the text at each place is now."""
        self.name = path.relative_to(session.editor.root).as_posix()
        self.document = session.editor.open(path, without(finished, places), language=language)

    async def visit(self, index: int) -> Visit:
        session, place = self.session, self.places[index]
        await self._type(index, self.finished[place.start : place.pause])
        await session.wait(0.6)
        item, waited = await self._ask(self._cursor(index))
        if item is None:
            await self.write_out(index)
            return Visit(self.name, place, "", "", waited, None)
        wanted = self.finished[place.pause : place.end]
        decision = decide(item.text, wanted, waited, session.traits, session.luck(self.name, place))
        self._show(index, item.text, "")
        await session.wait(0.7 + len(item.text) / 40)
        self._show(index, item.text if decision.action != "accept" else "", _NOTES[decision.action])
        await self._act(index, item, decision)
        return Visit(self.name, place, item.suggestion_id, item.text, waited, decision)

    async def write_out(self, index: int) -> None:
        """Bring the place to its finished text."""
        place = self.places[index]
        start = self._start(index)
        current = self.document.text[start : start + self.written[index]]
        await self._edit(index, current, self.finished[place.start : place.end])

    async def _ask(self, cursor: int) -> tuple[Item | None, float]:
        editor = self.session.editor
        pending = editor.ask(self.document, cursor)
        try:
            items = await editor.items(self.document, cursor, pending, timeout=PATIENCE)
        except LspError:
            # Whatever the reason, an editor shows nothing then, and the developer types on.
            items = []
        except TimeoutError:
            # The same; the answer that still comes is for a text that is not there any more.
            editor.cancel(pending)
            items = []
        # An item that replaces anything but what stands at the cursor would be an edit, not a completion.
        item = next((item for item in items if item.start <= cursor and item.end == cursor and item.text), None)
        return item, pending.elapsed_ms / 1000

    async def _act(self, index: int, item: Item, decision: Decision) -> None:
        session, editor = self.session, self.session.editor
        if decision.action == "leave":
            return
        if decision.action == "dismiss":
            editor.reject(item)
        if decision.length:
            before = self.document.text
            replaced, written = before[item.start : item.end], self.written[index]
            end = editor.accept(self.document, item, length=decision.length)
            self.written[index] += len(self.document.text) - len(before)
            self._show(index, "", _NOTES[decision.action])
            await session.wait(1.5)
            if decision.action == "undo":
                editor.change(self.document, item.start, end, replaced)
                self.written[index] = written
                await session.wait(0.5)
        await self.write_out(index)

    async def _edit(self, index: int, current: str, wanted: str) -> None:
        for edit in edits_towards(current, wanted):
            start = self._start(index) + edit.start
            if edit.end > edit.start:
                self.session.editor.change(self.document, start, start + edit.end - edit.start, "")
                self.written[index] -= edit.end - edit.start
                await self.session.wait(self.session.traits.seconds_per_key)
            await self._type(index, edit.text, at=edit.start)

    async def _type(self, index: int, text: str, *, at: int | None = None) -> None:
        """Key by key, at an offset in the place, or at its end."""
        at = self.written[index] if at is None else at
        for key in keystrokes(text):
            offset = self._start(index) + at
            self.session.editor.change(self.document, offset, offset, key)
            self.written[index] += len(key)
            at += len(key)
            self.session.show(Scene(self.name, self.document.text, offset + len(key), "", ""))
            await self.session.wait(self.session.traits.seconds_per_key)

    def _start(self, index: int) -> int:
        """Where the place begins in the document as it is now."""
        missing = sum(p.end - p.start - w for p, w in zip(self.places[:index], self.written[:index], strict=True))
        return self.places[index].start - missing

    def _cursor(self, index: int) -> int:
        return self._start(index) + self.written[index]

    def _show(self, index: int, ghost: str, note: str) -> None:
        self.session.show(Scene(self.name, self.document.text, self._cursor(index), ghost, note))
