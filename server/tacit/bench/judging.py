"""Runs generated programs against their tests, for `tacit bench infill` and `debug`: shut in or not at all. Touches processes.

The sandbox is the learner's, and Python's programs run in it as there. Programs of other languages need a compiler and more room:
the same walls, the tools bound beside the system, a folder in memory, and limits of CPU time, memory, file size, open files and
processes. A language whose tools do not work in there is not run.
"""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Final

from tacit.bench import go_programs
from tacit.learner import sandbox
from tacit.protocol.errors import Refused

CPU_SECONDS, WALL_SECONDS = 20, 120
"""CPU time of each process; wall time of all steps, generous: a busy machine is not a wrong answer."""
FILE_BYTES, ROOM = 64 << 20, 256 << 20
"""Of one file, and of all together."""
MEMORY: Final = 2 << 30
"""Of each process, what it can write to: Java and node reserve far more address space than they use."""
ADDRESSES: Final = 4 << 30
"""Of each process of a language without a runtime of its own."""
OPEN_FILES, PROCESSES = 1024, 128
"""Threads are counted too."""
OUTPUT = 4000
"""Bytes of what is said that are kept, of its beginning and of its end."""
FOLDER: Final = "/tmp/program"
"""In the sandbox: what programs run in."""
SETTINGS: Final = ("/etc/alternatives", "/etc/java-*")
"""Where Debian's tools lead, and what its Java reads."""

_START: Final = f"""
import json, os, resource, subprocess, sys
if os.getuid() == 0:
    os.setgroups([]), os.setgid({sandbox.NOBODY}), os.setuid({sandbox.NOBODY})
how = json.load(sys.stdin)
for limit, most in (
    (resource.RLIMIT_CPU, how["cpu_seconds"]), (resource.RLIMIT_DATA, {MEMORY}), (resource.RLIMIT_FSIZE, {FILE_BYTES}),
    (resource.RLIMIT_NOFILE, {OPEN_FILES}), (resource.RLIMIT_NPROC, {PROCESSES}), (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_AS, how["addresses"]),
):
    resource.setrlimit(limit, (most, most))
os.mkdir("{FOLDER}")
os.chdir("{FOLDER}")
for name, text in how["files"].items():
    with open(name, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
for step in how["steps"]:
    if subprocess.run(step, env=how["environment"], stdin=subprocess.DEVNULL).returncode:
        sys.exit(1)
"""


@dataclass(frozen=True, slots=True)
class Language:
    """How a program of one language is run. Commands run in the folder that holds `file`."""

    file: str
    steps: tuple[tuple[str, ...], ...]
    right: str
    """A program that passes where the tools work."""
    prepare: Callable[[str], str] = str
    addresses: int = ADDRESSES


def _asserting(program: str) -> str:
    """console.assert only prints; on the first line, so that no line moves."""
    return "console.assert = (ok) => { if (!ok) process.exit(1) }; " + program


def without_crates(program: str) -> str:
    """The data's imports of crates that a bare compiler does not have, where nothing uses them."""
    for line, used in (("use rand::Rng;", "gen"), ("use regex::Regex;", "Regex::"), ("use md5;", "md5::")):
        if used not in program:
            program = program.replace(line, "")
    return program


LANGUAGES: Final = {
    "javascript": Language(
        "main.js", (("node", "--max-old-space-size=512", "main.js"),), "console.assert(true)", _asserting, addresses=-1
    ),
    "java": Language(
        "Main.java",
        (
            ("javac", "-J-Xmx512m", "-J-XX:+UseSerialGC", "-nowarn", "Main.java"),
            ("java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", ".", "Main"),
        ),
        "public class Main { public static void main(String[] arguments) {} }",
        addresses=-1,
    ),
    "cpp": Language(
        "main.cpp", (("g++", "-std=c++17", "-w", "-o", "main", "main.cpp"), ("./main",)), "#include <vector>\nint main() {}"
    ),
    "rust": Language(
        "main.rs",
        (("rustc", "--test", "--edition=2018", "--cap-lints=allow", "-o", "main", "main.rs"), ("./main", "--test-threads=1")),
        "fn main() {}",
        without_crates,
    ),
    "go": Language(
        "main_test.go",
        (("go", "test", "-count=1", "-vet=off", "-p=2", "main_test.go"),),
        "func TestRight(t *testing.T) {}",
        go_programs.whole,
        addresses=-1,
    ),
}


@cache
def can_run(language: str) -> bool:
    """There is a sandbox, and everything that the language's programs need is installed and works in there."""
    if sandbox.missing():
        return False
    if language == "python":
        return True
    known = LANGUAGES.get(language)
    installed = known is not None and all(step[0].startswith("./") or shutil.which(step[0]) for step in known.steps)
    return installed and known is not None and passes(language, known.right)


class Judge:
    """Remembers what it has judged: the same program is run once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool] = {}

    async def passes(self, language: str, program: str) -> bool:
        """Whether the program and its test run without an error. The caller has asked `can_run`."""
        key = (language, program)
        if key not in self._known:
            self._known[key] = await asyncio.to_thread(passes, language, program)
        return self._known[key]


def passes(language: str, program: str) -> bool:
    """Refused, in a sentence, where there is no sandbox: nothing is run then."""
    if language == "python":
        _shut_in()
        return sandbox.run(program).ok
    how = LANGUAGES[language]
    return run({how.file: how.prepare(program)}, how.steps, how.addresses).ok


def run(
    files: Mapping[str, str],
    steps: Sequence[Sequence[str]],
    addresses: int,
    *,
    cpu_seconds: int = CPU_SECONDS,
    wall_seconds: float = WALL_SECONDS,
) -> sandbox.Ran:
    """Write the files into one folder and run the steps there, until one ends with an error; `ok`: none did.

    Refused, in a sentence, where there is no sandbox. addresses: bytes, as `Language.addresses`; -1: no limit. cpu_seconds: of
    each process. The output is that of all steps, its beginning and its end.
    """
    _shut_in()
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/tmp", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}
    if steps[0][0] == "rustc":
        # rustup's proxies look for their toolchain under the real home.
        environment |= {name: str(folder) for name, folder in _rust_folders().items()}
    told = {"files": files, "steps": steps, "environment": environment, "addresses": addresses, "cpu_seconds": cpu_seconds}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            sandbox.wrapped(_START, _tools(steps), ROOM), stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, cwd="/"
        )
        try:
            with suppress(subprocess.TimeoutExpired):
                process.communicate(json.dumps(told).encode(), timeout=wall_seconds)
            ok = process.returncode == 0
        finally:
            # The sandbox's first process: with it dies everything inside.
            process.kill()
            process.wait()
        return sandbox.Ran(ok, _ends(output))


def _shut_in() -> None:
    if why := sandbox.missing():
        raise Refused(f"Generated programs run only in a sandbox: {why}")


def _ends(output: IO[bytes]) -> str:
    """Its beginning and its end: a compiler's first words matter, and a traceback's last."""
    size = output.seek(0, os.SEEK_END)
    output.seek(0)
    said = output.read(OUTPUT)
    if size > OUTPUT:
        output.seek(max(OUTPUT, size - OUTPUT))
        said += (b"\n[...]\n" if size > 2 * OUTPUT else b"") + output.read()
    return said.decode(errors="replace")


def _rust_folders() -> dict[str, Path]:
    return {name: Path(os.environ.get(name, Path.home() / f".{name[:-5].lower()}")) for name in ("RUSTUP_HOME", "CARGO_HOME")}


def _tools(steps: Sequence[Sequence[str]]) -> list[str]:
    """What a language's tools need beside the system: never a home or what holds one."""
    found = [path for pattern in SETTINGS for path in Path("/").glob(pattern[1:])]
    for step in steps:
        if (tool := shutil.which(step[0])) is not None:
            # A tool with its libraries: FOLDER/bin/TOOL, by its own name and by where that leads.
            found += [Path(tool).absolute().parent.parent, Path(tool).resolve().parent.parent]
            if step[0] == "rustc":
                folders = _rust_folders()
                found += [folders["RUSTUP_HOME"], folders["CARGO_HOME"] / "bin"]
    # Programs' data lie in ~/.local/share, and beside CARGO_HOME's `bin` the credentials of registries.
    shut = {home / inside for home in (Path.home(), Path.home().resolve()) for inside in ("", ".local/share")}
    shut.add(_rust_folders()["CARGO_HOME"])
    return [str(path) for path in found if path.is_dir() and not any(closed.is_relative_to(path) for closed in shut)]
