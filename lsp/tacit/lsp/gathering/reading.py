"""One folder's files as they may be shown: an open document's text as it is in the editor, else the file's; secrets replaced.
Reads files. Asks of every file whether it may be shown, so it belongs into a thread.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tacit.lsp.gathering.files import allowed, clean_lines, text_of
from tacit.lsp.workspace import Folder, Place


@dataclass(slots=True)
class Reading:
    folder: Folder
    place: Callable[[str], Place] | None = None
    """Of a document's URI: a folder that is open inside this one has rules of its own. None: there is no such folder."""
    opened: Mapping[str, str] = field(default_factory=dict)
    """URI → text of every document that is open."""
    _lines: dict[str, list[str] | None] = field(default_factory=dict)

    def allowed(self, name: str) -> Path | None:
        """The file behind a name relative to the folder; None: nothing of it may be shown, or it is not in the folder."""
        path = allowed(self.folder, name)
        if path is None or self.place is None:
            return path
        place = self.place((self.folder.root / name).as_uri())
        return path if place.folder is self.folder and not place.refused else None

    def raw(self, name: str) -> str | None:
        """The text with line ends LF, secrets and all: only for what is not shown."""
        path = self.allowed(name)
        if path is None:
            return None
        if (text := self.opened.get((self.folder.root / name).as_uri())) is not None:
            return text.replace("\r\n", "\n").replace("\r", "\n")
        return text_of(path)

    def lines(self, name: str) -> list[str] | None:
        """None: it may not be shown, or is no text."""
        if name not in self._lines:
            text = self.raw(name)
            self._lines[name] = clean_lines(text) if text is not None else None
        return self._lines[name]
