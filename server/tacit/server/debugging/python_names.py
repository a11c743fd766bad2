"""What `ty` says of a Python file with and without a change: names, imports, attributes that nothing defines. Starts processes.

The workspace is never written to: `ty` reads a folder of links to it in which one file is another (a shadow). It runs no code.
What it says of the old text is subtracted: a workspace whose environment is not known is full of imports that it cannot resolve.
"""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tacit.server.debugging.complaints import Said

SECONDS: Final = 60.0
"""For one run; the first in a large environment may read a lot."""
MOST_LINKS: Final = 20_000
"""Entries of the folders on the way to the file; more are not shadowed."""
ENVIRONMENTS: Final = (".venv", "venv", "env")


@cache
def program() -> str | None:
    """Path of `ty`; None: it is not installed."""
    try:
        from ty import find_ty_bin
    except ImportError:
        return shutil.which("ty")
    try:
        return str(find_ty_bin())
    except FileNotFoundError:
        return shutil.which("ty")


async def said_of(texts: Sequence[str], path: str, workspace: str) -> list[tuple[Said, ...]] | str:
    """What `ty` says of each text if it is the workspace's file; or a sentence that says why it cannot tell.

    path: relative to the workspace, forward slashes. workspace: absolute; empty or not there: the file is checked by itself.
    """
    ty = program()
    if ty is None:
        return "`ty` is not installed, so names could not be checked."
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts:
        return "The file is not in the workspace, so names could not be checked."
    root = Path(workspace) if workspace else None
    if root is not None and not root.is_dir():
        root = None
    with tempfile.TemporaryDirectory(prefix="tacit-check-") as name:
        shadow = Path(name) / "workspace"
        try:
            file = await asyncio.to_thread(_shadow, root, parts, shadow)
        except OSError as error:
            return f"The workspace could not be looked at ({error.strerror or error}), so names could not be checked."
        found = []
        for text in texts:
            await asyncio.to_thread(file.write_text, text, encoding="utf-8", errors="replace", newline="")
            answer = await _run(ty, shadow, file, root)
            if isinstance(answer, str):
                return answer
            found.append(answer)
        return found


def _shadow(root: Path | None, parts: Sequence[str], shadow: Path) -> Path:
    """Links to everything in the workspace but the file. Returns the file's path in it; it is not there yet."""
    shadow.mkdir()
    here, there, links = root, shadow, 0
    for number, part in enumerate(parts):
        if here is not None and here.is_dir():
            with os.scandir(here) as entries:
                for entry in entries:
                    # The system's case rules are not known: a second spelling of the file would be another file.
                    if entry.name.casefold() != part.casefold() and links < MOST_LINKS:
                        with contextlib.suppress(FileExistsError):
                            (there / entry.name).symlink_to(entry.path)
                        links += 1
            here = here / part
        there = there / part
        if number < len(parts) - 1:
            there.mkdir()
    return there


async def _run(ty: str, shadow: Path, file: Path, root: Path | None) -> tuple[Said, ...] | str:
    command = [ty, "check", "--project", str(shadow), "--output-format", "gitlab", "--exit-zero", "--no-progress"]
    if root is not None and (environment := next((root / one for one in ENVIRONMENTS if (root / one).is_dir()), None)):
        command += ["--python", str(environment)]
    # Nothing of the server's environment decides what is found but where the system's programs are.
    environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(shadow.parent), "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        *(*command, str(file)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=shadow,
        env=environ,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        return f"`ty` had not answered after {SECONDS:.0f} s, so names could not be checked."
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        return _parsed(json.loads(output))
    except (ValueError, KeyError, TypeError):
        last = errors.decode(errors="replace").strip().rpartition("\n")[2][:200]
        return f"`ty` failed ({last or 'it said nothing'}), so names could not be checked."


def _parsed(found: list[dict[str, Any]]) -> tuple[Said, ...]:
    said = []
    for one in found:
        rule = str(one["check_name"])
        said.append(
            Said(
                rule=rule,
                message=str(one["description"]).removeprefix(f"{rule}: "),
                line=int(one["location"]["positions"]["begin"]["line"]) - 1,
                error=one.get("severity") in ("major", "critical", "blocker"),
            )
        )
    return tuple(said)
