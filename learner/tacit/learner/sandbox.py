"""Runs Python programs that a model wrote, shut in (`tacit.sandbox`). Touches processes; never without bubblewrap."""

import os
import secrets
import subprocess
import tempfile
from dataclasses import dataclass

from tacit.sandbox.walls import NOBODY as NOBODY
from tacit.sandbox.walls import PROGRAM, limiting
from tacit.sandbox.walls import interpreter as interpreter
from tacit.sandbox.walls import missing as missing
from tacit.sandbox.walls import wrapped as wrapped

CPU_SECONDS, WALL_SECONDS = PROGRAM.cpu_seconds, 60
"""Wall time is generous: a busy machine is not a wrong answer."""

_START = f"""{limiting(PROGRAM)}
import sys
exec(compile(sys.stdin.read(), "program", "exec"), {{"__name__": "__main__"}})
"""


@dataclass(frozen=True, slots=True)
class Ran:
    ok: bool
    """It ended by itself, without an error."""
    output: str
    """The end of what it wrote, both streams."""


def run(program: str) -> Ran:
    """Run a program with this Python's standard library. RuntimeError where there is no sandbox: ask `missing` first."""
    if why := missing():
        raise RuntimeError(why)
    return _run(program)


def _run(program: str) -> Ran:
    # Said at its very end: a program that leaves early has not passed.
    mark = secrets.token_hex(16)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            _command(),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.defpath},
            cwd="/",
        )
        try:
            process.communicate(f"{program}\nprint({mark!r})\n".encode(errors="replace"), timeout=WALL_SECONDS)
            ok = process.returncode == 0
        except subprocess.TimeoutExpired:
            ok = False
        finally:
            # The sandbox's first process: with it dies everything inside.
            process.kill()
            process.wait()
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - 2000))
        said = output.read().decode(errors="replace")
        return Ran(ok and mark in said, said.replace(f"{mark}\n", ""))


def _command() -> list[str]:
    return wrapped(_START)
