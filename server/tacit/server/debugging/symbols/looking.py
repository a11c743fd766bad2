"""Names and imports of a file that nothing defines, by the symbols of the file, of its language and of its workspace. For files
that no checker at hand can judge. Reads the workspace's files that may be seen; starts nothing.

A name counts as defined where any file of the workspace has it: what is refused is in none of them. Attributes are not judged.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from tacit.server.debugging.complaints import Said
from tacit.server.debugging.shadow import visible_files
from tacit.server.debugging.symbols import packages
from tacit.server.debugging.symbols.builtin import names
from tacit.server.debugging.symbols.builtin import packages as standard
from tacit.server.debugging.symbols.reading import Symbols, read
from tacit.server.debugging.symbols.rules import RULES

MOST_BYTES: Final = 64 << 20
MOST_SECONDS: Final = 5.0
"""Of the workspace that is read for names; beyond it, what has not been found is not known to be nowhere."""
_SCRIPTS: Final = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".vue", ".svelte", ".html")
_ENDINGS: Final = {"go": (".go",), "rust": (".rs",)}
"""Files that may define what one of the language uses."""


@dataclass(frozen=True, slots=True)
class Looked:
    said: tuple[tuple[Said, ...], ...]
    """Of each text, in order."""
    attributes: tuple[frozenset[str], ...]
    """Of each text: names that only a checker could judge."""
    unknown: tuple[str, ...]
    """What nothing here can tell, as parts of a sentence: `whether "x" exists`."""


def look(texts: Sequence[str], path: str, workspace: str, language: str) -> Looked:
    """language: one of RULES. path, workspace: as for `shadowed`."""
    read_texts = [read(text, language) for text in texts]
    if not all(one.complete for one in read_texts):
        words = "whether its names are defined: the file is too large, or too odd, to be read"
        return Looked(((),) * len(texts), (frozenset(),) * len(texts), (words,))
    root = Path(workspace).resolve() if workspace and Path(workspace).is_dir() else None
    unknown: list[str] = []
    missing = _nowhere(read_texts, path, root, language, unknown)
    absent = _absent(read_texts, path, root, language, unknown)
    said = tuple(
        (
            *(Said("unresolved-name", f"nothing defines `{name}`", at) for name, at in one.unresolved.items() if name in missing),
            *(
                Said("unresolved-import", f"there is no `{name}` to import", at)
                for name, at in one.imports.items()
                if name in absent
            ),
        )
        for one in read_texts
    )
    return Looked(said, tuple(frozenset(one.attributes) for one in read_texts), tuple(dict.fromkeys(unknown)))


def _nowhere(found: Sequence[Symbols], path: str, root: Path | None, language: str, unknown: list[str]) -> set[str]:
    """Names that no text declares and nothing else defines."""
    missing = {name for one in found for name in one.unresolved} - names(language)
    if not missing:
        return set()
    new = missing - set(found[0].unresolved)
    declared = {name for one in found for name in one.declared}
    if glob := sorted(one for texts in found for one in texts.everything_of if not _within(one, language, declared)):
        unknown += [f"what `{glob[0]}` brings"] if new else []
        return set()
    if root is None and language in ("go", "rust"):
        unknown += ["names of the other files"] if new else []
        return set()
    if root is None:
        return missing
    here, complete = _words_of(missing, root, path, language)
    if not complete:
        unknown += [f"whether `{name}` is defined: the workspace is too large to be read" for name in sorted(new - here)[:3]]
        return set()
    return missing - here


def _within(name: str, language: str, declared: set[str]) -> bool:
    """Everything of it is in the workspace's files."""
    first = name.split("::")[0]
    return language == "rust" and (first in ("crate", "super", "self", "Self") or first in declared)


def _absent(found: Sequence[Symbols], path: str, root: Path | None, language: str, unknown: list[str]) -> set[str]:
    """Imports that lead nowhere. Those that all texts have are left out: they are not the change's."""
    everywhere = set(found[0].imports).intersection(*(one.imports for one in found)) if len(found) > 1 else set()
    absent = set()
    for name in {name for one in found for name in one.imports} - everywhere:
        builtin = name.removeprefix("node:") in standard(language) or name.split("::")[0] in standard(language)
        there = True if builtin else packages.there(name, language, path, root) if root is not None else None
        # `use Color::Red`: of what the file itself declares.
        if there is False and not (language == "rust" and any(name.split("::")[0] in one.declared for one in found)):
            absent.add(name)
        elif there is None and name not in found[0].imports:
            unknown.append(f"whether there is a `{name}` to import")
    return absent


def _words_of(wanted: set[str], root: Path, path: str, language: str) -> tuple[set[str], bool]:
    """Which of these words stand in the workspace's other files; whether all of them were read."""
    pattern = re.compile(rb"(?<![\w$])(?:" + b"|".join(re.escape(name.encode()) for name in wanted) + rb")(?![\w$])")
    seen: set[str] = set()
    budget, ends = MOST_BYTES, time.monotonic() + MOST_SECONDS
    for file in _others(root, path, language):
        if len(seen) == len(wanted):
            break
        try:
            data = file.read_bytes()
        except OSError:
            continue
        budget -= len(data)
        if budget < 0 or time.monotonic() > ends:
            return seen, False
        seen |= {word.decode() for word in pattern.findall(data)}
    return seen, True


def _others(root: Path, path: str, language: str) -> Iterator[Path]:
    """Files that may define names for this one: in Go those of its folder, which are its package."""
    parts = PurePosixPath(path).parts
    endings = _ENDINGS.get(language, _SCRIPTS)
    for found, source in visible_files(root, parts):
        if found == parts or not found[-1].endswith(endings):
            continue
        if language != "go" or found[:-1] == parts[:-1]:
            yield Path(source)


LANGUAGES: Final = frozenset(RULES)
