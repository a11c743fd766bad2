"""The open folders: which document belongs where, may it be sent, what `.tacit.toml` says. Reads folders, writes that file.

Every path is resolved first and must then lie in an open folder: a link that leads out of it does not.
"""

import logging
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tacit.lsp.documents import well_formed
from tacit.protocol.ignoring import Ignoring, always_ignored, repository

log = logging.getLogger(__name__)

FILE: Final = ".tacit.toml"
_NOTEBOOK: Final = re.compile(r"^[a-z-]*notebook[a-z-]*:|\.ipynb(#|$)", re.IGNORECASE)
"""A cell that an editor opens as a document of its own, or the file."""
KEYS: Final = frozenset(("learning", "enabled"))


@dataclass(frozen=True, slots=True)
class Choices:
    """What `.tacit.toml` says; None: nothing."""

    learning: bool | None = None
    enabled: bool | None = None
    problem: str = ""
    """A sentence for the user, if it cannot be used. Then nothing is recorded."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is."""

    path: str
    """Relative to its folder, with forward slashes; just the name if it is in none."""
    folder: "Folder | None"
    refused: str = ""
    """Why nothing of it may leave the editor; empty: it may."""


@dataclass(slots=True)
class Folder:
    """One open folder."""

    root: Path
    """Resolved."""
    ignoring: Ignoring
    project: str | None = None
    """Filled in when it is known: it takes a git process to find out."""
    asked: bool = False
    """The developer has been asked about learning in this session."""
    answer: bool | None = None
    """What they said, for this session."""
    told: str = ""
    """The last problem of `.tacit.toml` that they were told."""
    _choices: tuple[int, Choices] | None = field(default=None, repr=False)

    @classmethod
    def at(cls, root: Path) -> "Folder":
        resolved = Path(os.path.realpath(root))
        return cls(resolved, Ignoring(repository(resolved)))

    def choices(self) -> Choices:
        """`.tacit.toml`, read again when it changes."""
        path = self.root / FILE
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            self._choices = None
            return Choices()
        if self._choices is None or self._choices[0] != changed:
            self._choices = (changed, _read_choices(path))
        return self._choices[1]

    def choose(self, learning: bool) -> None:
        """Write the developer's answer. OSError."""
        path = self.root / FILE
        line = f"learning = {str(learning).lower()}\n"
        old = path.read_text(encoding="utf-8") if path.exists() else "# What Tacit may do in this workspace.\n"
        # At the top: after a [table] header it would belong to that table. A comment may stay above it.
        comment, end, below = old.partition("\n")
        head, rest = (comment + "\n", below) if comment.startswith("#") else ("", comment + end + below)
        new = path.with_name(f"{FILE}.{os.getpid()}.new")
        new.write_text(head + line + rest, encoding="utf-8")
        new.replace(path)


class Workspace:
    """The open folders. None at all (a single file was opened): files are served, nothing is recorded."""

    def __init__(self) -> None:
        self.folders: list[Folder] = []

    def add(self, uris: Sequence[str]) -> None:
        for uri in uris:
            path = path_of(uri)
            if path is None or not path.is_absolute():
                continue
            root = _resolved(path)
            if root is None:
                log.warning("a workspace folder's path cannot be resolved")
                continue
            folder = Folder.at(root)
            if all(folder.root != known.root for known in self.folders):
                self.folders.append(folder)

    def remove(self, uris: Sequence[str]) -> None:
        gone = {resolved for uri in uris if (path := path_of(uri)) is not None and (resolved := _resolved(path)) is not None}
        self.folders = [folder for folder in self.folders if folder.root not in gone]

    def place(self, uri: str) -> Place:
        """Where this document is and whether anything of it may be sent."""
        if _NOTEBOOK.search(uri):
            return Place(well_formed(unquote(re.split("[/:]", uri)[-1]))[:255], None, "notebooks are not supported yet")
        path = path_of(uri)
        if path is None:
            name = well_formed(unquote(re.split("[/:]", uri)[-1]))[:255] or "untitled"
            if uri.lower().startswith("file:"):
                return Place(name, None, "its path cannot be resolved")
            # An untitled buffer, or a file on another machine: there is no workspace to record for.
            return Place(name, None, "it is ignored" if always_ignored(name) else "")
        resolved = _resolved(path)
        if resolved is None:
            return Place(well_formed(path.name), None, "its path cannot be resolved")
        inside = [folder for folder in self.folders if resolved.is_relative_to(folder.root)]
        if inside:
            folder = max(inside, key=lambda one: len(one.root.parts))
            # The name as opened and the file behind it: neither may be one that is hidden.
            opened = Path(os.path.realpath(path.parent)) / path.name
            names = {resolved, opened} if opened.is_relative_to(folder.root) else {resolved}
            hidden = any(folder.ignoring.ignored(name) for name in names)
            return Place(well_formed(resolved.relative_to(folder.root).as_posix()), folder, "it is ignored" if hidden else "")
        if self.folders:
            return Place(well_formed(path.name), None, "it is outside the open folders")
        alone = Ignoring(resolved.parent)
        return Place(well_formed(resolved.name), None, "it is ignored" if alone.ignored(resolved) else "")


def path_of(uri: str) -> Path | None:
    """The file that a `file:` URI names; None for every other kind, another machine's files, and paths with a NUL."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme.lower() != "file" or parts.netloc.lower() not in {"", "localhost"}:
        return None
    path = unquote(parts.path, errors="surrogateescape")
    if not path or "\0" in path:
        return None
    return Path(path)


def _resolved(path: Path) -> Path | None:
    """None: it cannot be one (half characters, a loop of links)."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return None


def _read_choices(path: Path) -> Choices:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Choices(problem=f"{path} cannot be read ({error}); nothing is recorded. Correct it or remove it.")
    for key, value in values.items():
        if key not in KEYS:
            return Choices(problem=f"{path} has no setting `{key}`; there are: {', '.join(sorted(KEYS))}. Nothing is recorded.")
        if not isinstance(value, bool):
            return Choices(problem=f"{path}: `{key}` must be true or false. Nothing is recorded.")
    return Choices(values.get("learning"), values.get("enabled"))
