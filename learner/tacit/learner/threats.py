"""What does a completion bring in that a security scanner calls grave? For Python, by ruff (its rules are Bandit's), over the
window around it. Runs that program on files in a folder of their own; runs none of the code.

A window rarely holds its file's imports, and a scanner knows a call by what was imported: every import that stands in the
prefix is put above the part that is read, and the modules that the rules are about are imported there under their own names.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tacit.learner.names import Part, Place

GRAVE: Final = (
    "S102", "S202", "S301", "S302", "S307", "S324", "S413", "S501", "S502", "S503", "S505", "S506", "S507", "S509", "S602",
    "S605", "S608", "S609", "S701", "S702",
)  # fmt: skip
"""What Bandit gives a high severity, and code or commands that are made of data: exec, eval, pickle, marshal, YAML, SQL."""
SECONDS: Final = 60.0
"""For all of them together; ruff reads a thousand in less than one."""

_MODULES: Final = "hashlib, marshal, os, pickle, ssl, subprocess, tarfile"
_IMPORT: Final = re.compile(r"^[ \t]*((?:import|from)[ \t]+[^\n#;\\()]+?)[ \t]*$", re.MULTILINE)


def missing() -> str:
    """Why nothing can be scanned here; empty if it can."""
    return "" if find_spec("ruff") else "There is no ruff, which looks for dangerous code: pip install 'tacit[learner]'."


def found(parts: Sequence[tuple[str, Part]]) -> list[frozenset[str]]:
    """For each (prefix, part of the window that parses): names of the rules that the completion in it breaks, such as `S602`.

    OSError, RuntimeError: ruff could not be run, or did not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="tacit-scan-") as name:
        folder = Path(name)
        shift = []
        for number, (prefix, part) in enumerate(parts):
            above = _imports(prefix)
            shift.append(above.count("\n"))
            (folder / f"{number}.py").write_text(above + part.source, encoding="utf-8")
        # What a model wrote may hold comments that tell scanners to look away.
        command = (
            sys.executable, "-P", "-m", "ruff", "check", "--isolated", "--no-cache", "--ignore-noqa", "--exit-zero", "--quiet",
            "--select", ",".join(GRAVE), "--output-format", "json", "--", str(folder),
        )  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=folder)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"ruff did not end within {SECONDS:.0f} s") from error
    if done.returncode:
        raise RuntimeError(f"ruff ended with {done.returncode}: {done.stderr.strip()[:300]}")
    rules: list[set[str]] = [set() for _ in parts]
    for said in json.loads(done.stdout or "[]"):
        number = int(Path(said["filename"]).stem)
        part = parts[number][1]
        first, last = _around(part, *(_place(part, said[end], shift[number]) for end in ("location", "end_location")))
        if said["code"] in GRAVE and first < part.end and last > part.start:
            rules[number].add(said["code"])
    return [frozenset(each) for each in rules]


def _imports(prefix: str) -> str:
    """Lines to stand above the part."""
    return "\n".join([f"import {_MODULES}", *(line for line in _IMPORT.findall(prefix) if _whole(line))]) + "\n"


def _whole(line: str) -> bool:
    try:
        # Of the future one imports in a file's first line only.
        return "__future__" not in line and bool(ast.parse(line))
    except (SyntaxError, ValueError):
        return False


def _around(part: Part, first: Place, last: Place) -> tuple[Place, Place]:
    """The call that a finding is about, else its own place: a call that the completion only goes on with is its call as well."""
    calls = [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        for node in ast.walk(part.tree)
        if isinstance(node, ast.Call)
    ]
    # Of those around it, the one that begins last is the innermost.
    return max((call for call in calls if call[0] <= first and last <= call[1]), default=(first, last))


def _place(part: Part, said: dict[str, int], shift: int) -> Place:
    """As `ast` has it, of a line and a character, both counted from 1."""
    row = said["row"] - shift
    lines = part.source.split("\n")
    line = lines[row - 1] if 0 < row <= len(lines) else ""
    return row, len(line[: said["column"] - 1].encode())
