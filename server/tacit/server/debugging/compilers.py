"""What a compiler says of a C, C++ or Java file with and without a change. Starts compilers; nothing is linked or run.

They know no build files: a header or class that only the build finds is missing, before as after, and then names are not checked.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tacit.server.debugging.complaints import Said
from tacit.server.debugging.shadow import Ran, Shadow
from tacit.server.debugging.tools import said_by

TOOLS: Final = {"c": ("gcc", "clang"), "cpp": ("g++", "clang++"), "java": ("javac",)}
"""LSP language id: compilers, the first that is installed is asked."""

_C: Final = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?:\d+:)? (?P<kind>fatal error|error|warning): (?P<message>.*)$", re.MULTILINE
)
_JAVA: Final = re.compile(
    r"^(?P<file>[^:\n]+\.java):(?P<line>\d+): (?P<kind>error|warning): (?P<message>.*)$"
    # Below it the line and a caret, and then the name that it is about.
    r"(?:(?:\n(?!\S+\.java:\d).*){2}\n\s+symbol:\s+(?P<symbol>.*)$)?",
    re.MULTILINE,
)
_MISSING: Final = re.compile(r"No such file|file not found|package \S+ does not exist")
_CRASHED: Final = re.compile(
    r"internal compiler error|terminated program|An exception has occurred in the compiler|PLEASE submit a"
)


def tool(language: str) -> str | None:
    """The compiler for a language; None: there is none here."""
    return next((found for name in TOOLS.get(language, ()) if (found := shutil.which(name))), None)


async def said_of(texts: Sequence[str], path: str, workspace: str, language: str) -> list[tuple[Said, ...]] | str:
    """As `python_names.said_of`. Complaints about the file itself only."""
    if (compiler := tool(language)) is None:
        return f"There is no compiler for {language} here, so names could not be checked."
    name = Path(compiler).name

    def reading(ran: Ran, shadow: Shadow) -> tuple[Said, ...] | str | None:
        if _failed(ran, language):
            return None
        said = parsed(ran.errors, language, shadow.file.name)
        if any(_MISSING.search(one.message) for one in said):
            return f"`{name}` does not find all that the file needs, so names could not be checked."
        return said

    return await said_by(name, lambda shadow: _command(compiler, language, shadow), reading, texts, path, workspace)


def _command(compiler: str, language: str, shadow: Shadow) -> list[str]:
    file = str(shadow.file)
    if language == "java":
        # Processors and plugins are code. javac looks for them on its class path, too, which is the folder that it runs in where
        # none is given: there is nothing to be found.
        empty = ["-classpath", str(shadow.empty), "-processorpath", str(shadow.empty)]
        places = ["-d", str(shadow.scratch), "-sourcepath", _sources(shadow)]
        return [compiler, "-J-Xmx1g", "-proc:none", "-implicit:none", *empty, *places, file]
    standard = ["-x", "c++", "-std=c++20"] if language == "cpp" else ["-x", "c"]
    folders = [shadow.folder, shadow.folder / "include", shadow.folder / "src", shadow.file.parent]
    includes = [part for one in folders for part in ("-I", str(one))]
    return [
        compiler,
        "-fsyntax-only",
        "-fmax-errors=50" if "g" in Path(compiler).name[:1] else "-ferror-limit=50",
        *standard,
        *includes,
        file,
    ]


def _sources(shadow: Shadow) -> str:
    """Where the packages begin."""
    usual = [
        shadow.folder / "src" / "main" / "java",
        shadow.folder / "src" / "test" / "java",
        shadow.folder / "src",
        shadow.folder,
    ]
    return ":".join(str(one) for one in usual if one.is_dir())


def _failed(ran: Ran, language: str) -> bool:
    """It ended otherwise than a compiler does that has read everything and says what is wrong: 0, or 1 and errors."""
    if ran.code == 0:
        return False
    errors = any(match["kind"] != "warning" for match in _lines(language).finditer(ran.errors))
    return ran.code != 1 or not errors or _CRASHED.search(ran.errors) is not None


def _lines(language: str) -> re.Pattern[str]:
    return _JAVA if language == "java" else _C


def parsed(output: str, language: str, name: str) -> tuple[Said, ...]:
    """Errors of a compiler's output that are about the file of that name."""
    said = []
    for match in _lines(language).finditer(output):
        found = match.groupdict()
        missing = _MISSING.search(found["message"]) is not None
        if found["kind"] == "warning" or (Path(found["file"]).name != name and not missing):
            continue
        symbol = f" ({' '.join(found['symbol'].split())})" if found.get("symbol") else ""
        said.append(Said("", found["message"].strip() + symbol, int(found["line"]) - 1))
    return tuple(said)
