"""What `ty` says of a Python file with and without a change: names, imports, attributes that nothing defines. Starts `ty`.

What it says of the old text is subtracted by the caller: a workspace whose environment is not known is full of imports that it
cannot resolve.
"""

import contextlib
import json
import shutil
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from tacit.protocol.errors import Refused
from tacit.server.debugging.complaints import Said, without_constants
from tacit.server.debugging.shadow import SECONDS, Shadow, shadowed

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
    if (ty := program()) is None:
        return "`ty` is not installed, so names could not be checked."
    found = []
    try:
        async with shadowed(path, workspace) as shadow:
            for text in texts:
                await shadow.write(text)
                answer = await _run(ty, shadow)
                if isinstance(answer, str):
                    return answer
                found.append(answer)
    except Refused as error:
        return f"{error.message} Names could not be checked."
    except OSError as error:
        return f"The workspace could not be looked at ({error.strerror or error}), so names could not be checked."
    return found


async def _run(ty: str, shadow: Shadow) -> tuple[Said, ...] | str:
    command = [ty, "check", "--project", str(shadow.folder), "--output-format", "gitlab", "--exit-zero", "--no-progress"]
    root = shadow.root
    if root is not None and (environment := next((root / one for one in ENVIRONMENTS if (root / one).is_dir()), None)):
        command += ["--python", str(environment)]
    answer = await shadow.run([*command, str(shadow.file)])
    if answer is None:
        return f"`ty` had not answered after {SECONDS:.0f} s, so names could not be checked."
    # What it reports does not decide how it ends: another end than 0 is a failure, whatever it said before.
    if answer.code == 0:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return _parsed(json.loads(answer.output))
    last = without_constants(answer.errors.strip().rpartition("\n")[2])[:200]
    return f"`ty` failed ({last or f'it ended with {answer.code}'}), so names could not be checked."


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
