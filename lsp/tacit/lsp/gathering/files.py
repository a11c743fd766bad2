"""Which files of an open folder may be read, and their text with secrets replaced. Asks git; reads files; changes nothing.

Where git knows the folder: what it tracks and what it does not ignore. Elsewhere: a walk. Either way the folder's own ignore
rules decide, built-in secret patterns included, and nothing outside the folder is read, whatever links there are.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tacit.lsp.gathering.languages import EXTENSIONS, OTHER_TEXT
from tacit.lsp.workspace import Folder
from tacit.protocol import git
from tacit.protocol.redaction import redact

MOST_FILES: Final = 5000
LARGEST_BYTES: Final = 150_000
GIT_SECONDS: Final = 20.0
NEVER: Final = frozenset("node_modules .git .hg .svn .venv venv __pycache__ target build dist .tox .mypy_cache".split())
"""Folders that a walk does not enter."""


def listed(folder: Folder) -> list[str]:
    """Paths relative to the folder, sources first, MOST_FILES at most. Not yet asked: whether they are ignored."""
    names = _git_files(folder.root)
    if names is None:
        names = list(_walk(folder.root))
    wanted = [name for name in names if _extension(name) in EXTENSIONS or _extension(name) in OTHER_TEXT]
    wanted.sort(key=lambda name: (_extension(name) not in EXTENSIONS, name.count("/"), name))
    return wanted[:MOST_FILES]


def allowed(folder: Folder, name: str) -> Path | None:
    """The file behind a listed name; None: it is ignored, or is not in the folder."""
    path = folder.root / name
    try:
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(folder.root) or folder.ignoring.ignored(path) or folder.ignoring.ignored(real):
            return None
    except (OSError, ValueError):
        return None
    return real


def text_of(path: Path) -> str | None:
    """A file's text with line ends LF; None: too large, not text, or gone."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    if b"\0" in content:
        return None
    return content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def clean_lines(text: str) -> list[str] | None:
    """The text's lines with secrets replaced: a piece cut out of it could hold half of one. None: it holds private keys."""
    if "PRIVATE KEY" in text or len(text) > 2 * LARGEST_BYTES:
        return None
    clean = redact(text)
    lines = clean.split("\n")
    # Lines are what places are counted in.
    return lines if len(lines) == text.count("\n") + 1 else None


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""


def _git_files(root: Path) -> list[str] | None:
    said = git.read(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z", seconds=GIT_SECONDS)
    if said is None:
        return None
    names = said.decode("utf-8", "surrogateescape").split("\0")
    return list(dict.fromkeys(name for name in names if name and _printable(name)))


def _printable(name: str) -> bool:
    return name.encode("utf-8", "replace").decode("utf-8") == name


def _walk(root: Path) -> Iterator[str]:
    seen = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in NEVER and not name.startswith("."))
        for name in sorted(files):
            seen += 1
            if seen > 4 * MOST_FILES:
                return
            path = Path(folder, name).relative_to(root).as_posix()
            if _printable(path):
                yield path
