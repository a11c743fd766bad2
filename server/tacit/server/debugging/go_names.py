"""What the Go compiler says of a file's package with and without a change. Starts `go list -export`: it compiles, links nothing.

No generator, test or C code of the workspace is run, no module is fetched. Compiled packages are kept in the user's build cache,
where they lie by their content.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tacit.server.debugging.complaints import Said
from tacit.server.debugging.shadow import Ran, Shadow
from tacit.server.debugging.tools import said_by

FIND_SECONDS: Final = 20.0
_LINE: Final = re.compile(r"^(?P<file>[^:\n]+\.go):(?P<line>\d+):(?:\d+:)? (?P<message>.*)$", re.MULTILINE)
_UNRESOLVED: Final = re.compile(
    r"^undefined: |undefined \(|no required module provides|is not in std|cannot find (?:package|module)|unknown field"
    r"|not exported by|imported (?:and|but) not used as|could not import"
)
_NOT_LOADED: Final = re.compile(r"no required module provides|is not in std|cannot find (?:package|module)|missing go\.sum entry")


@cache
def program() -> tuple[str, dict[str, str]] | None:
    """Path of `go`, and where it keeps modules and what it has compiled; None: there is none. Asked outside of any workspace."""
    found = shutil.which("go")
    if found is None:
        return None
    try:
        command = [found, "env", "-json", "GOCACHE", "GOMODCACHE", "GOROOT"]
        asked = subprocess.run(
            command,
            cwd="/",
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=FIND_SECONDS,
        )
        told = json.loads(asked.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    places = {name: value for name in ("GOCACHE", "GOMODCACHE") if (value := str(told.get(name) or ""))}
    return found, places


async def said_of(texts: Sequence[str], path: str, workspace: str) -> list[tuple[Said, ...]] | str:
    """As `python_names.said_of`. Complaints about the file itself only."""
    # Beside the loop: the first call starts a process.
    if (started := await asyncio.to_thread(program)) is None:
        return "There is no `go` here."
    if path.endswith("_test.go"):
        return "`go` compiles a test only to run it, and nothing of the workspace is run."
    go, places = started
    return await said_by("go", lambda _: _command(go, places), _reading, texts, path, workspace, beside=True)


def _command(go: str, places: dict[str, str]) -> list[str]:
    """Of the package that is in the folder where it runs."""
    settings = {
        **places,
        # Nothing of the workspace's or the user's own flags: they may name programs.
        "GOFLAGS": "-buildvcs=false",
        "GOENV": "off",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GONOSUMDB": "*",
        "CGO_ENABLED": "0",
    }
    given = [f"{name}={value}" for name, value in settings.items()]
    # -e: all of the errors.
    return ["env", *given, go, "list", "-export", "-gcflags=-e", "-f", "{{.Name}}", "."]


def _reading(ran: Ran, shadow: Shadow) -> tuple[Said, ...] | str | None:
    found = list(_LINE.finditer(ran.errors))
    # 2: older ones, where it does not compile.
    if ran.code not in (0, 1, 2) or (ran.code and not found):
        return None
    said = []
    for match in found:
        if Path(match["file"]).name != shadow.file.name:
            continue
        message = match["message"].strip()
        said.append(Said("unresolved" if _UNRESOLVED.search(message) else "", message, int(match["line"]) - 1))
    if "lookup disabled" in ran.errors or any(
        _NOT_LOADED.search(match["message"]) and Path(match["file"]).name != shadow.file.name for match in found
    ):
        return "`go` does not find all the modules that the package needs."
    return tuple(said)


def not_compiled(said: Sequence[Said]) -> bool:
    """A package that is imported is not there: nothing else was looked at."""
    return any(_NOT_LOADED.search(one.message) for one in said)
