"""What `ty` says of a Python file with and without a change: names, imports, attributes that nothing defines. Starts `ty`.

What it says of the old text is subtracted by the caller: a workspace whose environment is not known is full of imports that it
cannot resolve.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from tacit.server.debugging.complaints import Said
from tacit.server.debugging.shadow import Ran, Shadow
from tacit.server.debugging.symbols.packages import python_declares
from tacit.server.debugging.tools import said_by

ENVIRONMENTS: Final = (".venv", "venv", "env")
DECLARED: Final = "declared-not-installed"
"""Of an import that a manifest or a lock file names."""
_MODULE: Final = re.compile("imported module `([^`]+)`")


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
    if (ty := program()) is None:
        return "`ty` is not installed, so names could not be checked."
    return await said_by("ty", lambda shadow: _command(ty, shadow), _reading, texts, path, workspace)


def _command(ty: str, shadow: Shadow) -> list[str]:
    command = [ty, "check", "--project", str(shadow.folder), "--output-format", "gitlab", "--exit-zero", "--no-progress"]
    root = shadow.root
    if root is not None and (environment := next((root / one for one in ENVIRONMENTS if (root / one).is_dir()), None)):
        command += ["--python", str(environment)]
    return [*command, str(shadow.file)]


def _reading(ran: Ran, shadow: Shadow) -> tuple[Said, ...] | None:
    # What it reports does not decide how it ends: another end than 0 is a failure, whatever it said before.
    if ran.code == 0:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return tuple(_declared(one, shadow) for one in _parsed(json.loads(ran.output)))
    return None


def _declared(said: Said, shadow: Shadow) -> Said:
    """An import that is only not installed here is no invention: it is said in other words, DECLARED."""
    if not said.unresolved or shadow.root is None or (found := _MODULE.search(said.message)) is None:
        return said
    folders = [shadow.root / one for one in shadow.file.relative_to(shadow.folder).parents]
    return replace(said, rule=DECLARED, error=False) if python_declares(found[1].partition(".")[0], folders) else said


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
