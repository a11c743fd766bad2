"""What `rustc` says of a Rust file with and without a change: names, imports, attributes, types. Starts rustc, never cargo.

A build script and a procedural macro are code of the workspace or of what it depends on, and would run: rustc is given no other
crate, so it can judge crates that need none but the standard library. Nothing is linked.
"""

import asyncio
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tacit.server.debugging.complaints import Said
from tacit.server.debugging.shadow import Ran, Shadow
from tacit.server.debugging.symbols import packages
from tacit.server.debugging.tools import said_by

FIND_SECONDS: Final = 20.0
_LINE: Final = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?P<kind>error|warning)(?:\[(?P<code>E\d+)\])?: (?P<message>.*)$", re.MULTILINE
)
_UNRESOLVED: Final = frozenset(
    (
        "E0404 E0405 E0407 E0412 E0422 E0423 E0425 E0432 E0433 E0437 E0438 E0531 E0532 E0560 E0574 E0576 E0583 E0599 E0609 E0610"
    ).split()
)
"""A name, import, field or method that is not there, or not as what it is used."""
_LATER: Final = frozenset("E0560 E0599 E0609 E0610".split())
"""Of those, what is found only when all names are known."""
_UNLINKED: Final = re.compile(r"(?:unlinked crate|can't find crate for) `(\w+)`")
_CRASHED: Final = re.compile(r"internal compiler error|compiler unexpectedly panicked")


@cache
def program() -> str | None:
    """Path of `rustc` itself; None: there is none.

    What is in PATH may be rustup's, which would read in the workspace which toolchain to start: it is asked here, outside.
    """
    found = shutil.which("rustc")
    if found is None:
        return None
    try:
        asked = subprocess.run([found, "--print", "sysroot"], cwd="/", capture_output=True, text=True, timeout=FIND_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    own = Path(asked.stdout.strip()) / "bin" / "rustc"
    return str(own) if asked.returncode == 0 and own.is_file() else None


async def said_of(texts: Sequence[str], path: str, workspace: str) -> list[tuple[Said, ...]] | str:
    """As `python_names.said_of`. Complaints about the file itself only."""
    # Beside the loop: the first call starts a process.
    if (rustc := await asyncio.to_thread(program)) is None:
        return "There is no `rustc` here."
    return await said_by("rustc", lambda shadow: _command(rustc, shadow), _reading, texts, path, workspace)


def comparable(before: Sequence[Said], after: Sequence[Said], text: str, changed: str) -> tuple[Said, ...]:
    """Of `after`, what `before` would have said as well had it come so far: while names are unknown, types are not looked at.

    What is then said first of lines that the change leaves as they were is taken out.
    """
    if not any(said.unresolved and said.rule.rpartition(" ")[2] not in _LATER for said in before):
        return tuple(after)
    old, lines = set(text.splitlines()), changed.splitlines()
    return tuple(
        said
        for said in after
        if (said.unresolved and said.rule.rpartition(" ")[2] not in _LATER)
        or said.line >= len(lines)
        or lines[said.line] not in old
    )


def _command(rustc: str, shadow: Shadow) -> list[str]:
    root, edition = _crate(shadow)
    kind = "bin" if root.name == "main.rs" else "lib"
    return [
        *(rustc, "--edition", edition, "--crate-type", kind, "--crate-name", "shadow"),
        # Reads and judges, makes no code. The second says which files were read.
        *("--emit=metadata,dep-info", "--out-dir", str(shadow.scratch)),
        *("--error-format=short", "--cap-lints=allow", str(root)),
    ]


def _crate(shadow: Shadow) -> tuple[Path, str]:
    """The file that the crate begins with, and its edition; a file that is in no crate is one."""
    for folder in shadow.file.parents:
        if (manifest := folder / "Cargo.toml").is_file():
            break
        if folder == shadow.folder:
            return shadow.file, "2021"
    else:
        return shadow.file, "2021"
    try:
        told = tomllib.loads(manifest.read_text(encoding="utf-8", errors="replace")).get("package", {})
    except (OSError, ValueError):
        told = {}
    edition = told.get("edition", "2015")
    edition = edition if edition in ("2015", "2018", "2021", "2024") else "2021"
    parts = shadow.file.relative_to(folder).parts
    if parts[:2] == ("src", "bin") and len(parts) > 3:
        return folder.joinpath(*parts[:3], "main.rs"), edition
    if parts[0] == "src" and parts[:2] != ("src", "bin"):
        roots = [folder / "src" / one for one in ("lib.rs", "main.rs")]
        known = [one for one in roots if one.is_file()]
        if shadow.file in known or not known:
            return shadow.file, edition
        # Of a program with a library, a module is mostly the library's.
        return known[0], edition
    return shadow.file, edition


def _reading(ran: Ran, shadow: Shadow) -> tuple[Said, ...] | str | None:
    said: list[Said] = []
    name = shadow.file.relative_to(shadow.folder).as_posix()
    errors = list(_LINE.finditer(ran.errors))
    if ran.code not in (0, 1) or (ran.code == 1 and not errors) or _CRASHED.search(ran.errors):
        return None
    for crate in _UNLINKED.findall(ran.errors):
        if packages.there(crate, "rust", name, shadow.folder):
            return f"`rustc` is given no crates, and `{crate}` is one that the file's crate depends on."
    if not _read(shadow):
        return "The file is no module of the crate that it lies in, as far as `rustc` can tell."
    for match in errors:
        code, message = match["code"] or "", match["message"].strip()
        if match["kind"] != "error" or Path(match["file"]) not in (shadow.file, Path(name)):
            continue
        missing = code in _UNRESOLVED or message.startswith("cannot find")
        rule = f"unresolved {code}".strip() if missing else code
        said.append(Said(rule, message, int(match["line"]) - 1))
    return tuple(said)


def _read(shadow: Shadow) -> bool:
    """rustc has read the file."""
    try:
        told = (shadow.scratch / "shadow.d").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return f"\n{shadow.file}:".replace(" ", "\\ ") in f"\n{told}"
