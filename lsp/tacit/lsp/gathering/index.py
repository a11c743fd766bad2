"""What one open folder's files define and read like. Reads files; keeps names, line numbers and word counts, never text but
of the few files that were shown last.

Work comes in steps of one file, so that whoever drives it can stop between two. A file is read again when its size or time
changed; what it says is read from the disk when it is shown, and is asked again then whether it may be.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tacit.lsp.gathering.bm25 import Chunk, Chunks, cut
from tacit.lsp.gathering.files import allowed, clean_lines, listed, text_of
from tacit.lsp.gathering.languages import language_of, related
from tacit.lsp.gathering.names import words
from tacit.lsp.gathering.syntax import Definition, definitions
from tacit.lsp.workspace import Folder

MOST_CHARS: Final = 16_000_000
"""Of all files together."""
MOST_DEFINITIONS: Final = 100_000
MOST_OF_A_NAME: Final = 40
"""A name that is defined in more places than this says nothing."""
REMEMBERED: Final = 24
"""Files whose lines are kept without their secrets: looking for those takes milliseconds."""


@dataclass(slots=True)
class _File:
    stamp: tuple[int, int]
    """(size, time in ns)."""
    language: str
    chars: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A definition somewhere in the folder."""

    file: str
    definition: Definition


@dataclass(slots=True)
class FolderIndex:
    folder: Folder
    chunks: Chunks = field(default_factory=Chunks)
    _files: dict[str, _File] = field(default_factory=dict)
    _names: dict[str, list[Place]] = field(default_factory=dict)
    _chars: int = 0
    _definitions: int = 0
    _due: list[str] = field(default_factory=list)
    """Files to look at, last first."""
    _clean: dict[str, tuple[tuple[int, int], list[str] | None]] = field(default_factory=dict)
    built: bool = False
    """All of it has been looked at once."""

    @property
    def files(self) -> int:
        return len(self._files)

    def rescan(self) -> None:
        """List the folder again; what is gone is forgotten, everything else is due."""
        names = listed(self.folder)
        for gone in self._files.keys() - set(names):
            self._forget(gone)
        self._due = names[::-1]

    def look_again(self, name: str) -> None:
        """This file was saved."""
        if name in self._due:
            self._due.remove(name)
        self._due.append(name)

    def saved(self, name: str) -> None:
        """A file that is not listed waits for the next listing: git may have been told to ignore it."""
        if name in self._files:
            self.look_again(name)

    def step(self) -> bool:
        """Look at one file. False: none is due."""
        if not self._due:
            self.built = True
            return False
        self._read(self._due.pop())
        return True

    def defined(self, name: str, language: str) -> list[Place]:
        """Where code in this language finds that name."""
        return [place for place in self._names.get(name, ()) if related(self._files[place.file].language, language)]

    def best(self, code: str, count: int) -> list[tuple[Chunk, float]]:
        return self.chunks.best(words(code), count)

    def lines(self, name: str) -> list[str] | None:
        """The file's lines now, secrets replaced; None: it may not be shown, or has changed since it was looked at."""
        path = allowed(self.folder, name)
        known = self._files.get(name)
        if path is None or known is None:
            self._forget(name)
            return None
        if _stamp(path) != known.stamp:
            self.look_again(name)
            return None
        if (clean := self._clean.get(name)) is not None and clean[0] == known.stamp:
            return clean[1]
        text = text_of(path)
        lines = clean_lines(text) if text is not None else None
        self._clean[name] = (known.stamp, lines)
        while len(self._clean) > REMEMBERED:
            del self._clean[next(iter(self._clean))]
        return lines

    def _read(self, name: str) -> None:
        path = allowed(self.folder, name)
        stamp = _stamp(path) if path is not None else None
        if path is None or stamp is None:
            self._forget(name)
            return
        known = self._files.get(name)
        if known is not None and known.stamp == stamp:
            return
        self._forget(name)
        text = text_of(path)
        if text is None or "PRIVATE KEY" in text or self._chars + len(text) > MOST_CHARS:
            return
        language = language_of(name)
        lines = text.split("\n")
        found = definitions(text, language) if self._definitions < MOST_DEFINITIONS else []
        for one in found:
            places = self._names.setdefault(one.name, [])
            if len(places) < MOST_OF_A_NAME:
                places.append(Place(name, one))
                self._definitions += 1
        self._files[name] = _File(stamp, language, len(text), tuple({one.name for one in found}))
        self._chars += len(text)
        self.chunks.put(name, ((first, last, words("\n".join(lines[first : last + 1]))) for first, last in cut(lines)))

    def _forget(self, name: str) -> None:
        known = self._files.pop(name, None)
        if known is None:
            return
        self._chars -= known.chars
        self.chunks.drop(name)
        for word in known.names:
            kept = [place for place in self._names.get(word, ()) if place.file != name]
            self._definitions -= len(self._names.get(word, ())) - len(kept)
            if kept:
                self._names[word] = kept
            else:
                self._names.pop(word, None)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
