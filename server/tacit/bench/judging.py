"""Runs generated programs against their tests, for `tacit bench infill`: shut in or not at all. Touches processes and folders.

Whether there is a sandbox is the learner's to say, and Python's programs run in it. Programs of other languages need a compiler
and a folder: bubblewrap with no network, no other process, no home, nothing that can be written but that folder, and limits
of CPU time and file size.
"""

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tacit.learner import sandbox
from tacit.protocol.errors import Refused

CPU_SECONDS, WALL_SECONDS = 20, 60
"""Of one step, compiling or running. Wall time is generous: a busy machine is not a wrong answer."""
FILE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Language:
    """How a program of one language is run. Commands run in the folder that holds `file`."""

    file: str
    steps: tuple[tuple[str, ...], ...]
    prepare: Callable[[str], str] = str


def _asserting(program: str) -> str:
    """console.assert only prints; on the first line, so that no line moves."""
    return "console.assert = (ok) => { if (!ok) process.exit(1) }; " + program


def _without_crates(program: str) -> str:
    """The data's imports of crates that a bare compiler does not have, where nothing uses them."""
    for line, used in (("use rand::Rng;", "gen"), ("use regex::Regex;", "Regex::"), ("use md5;", "md5::")):
        if used not in program:
            program = program.replace(line, "")
    return program


LANGUAGES: Final = {
    "javascript": Language("main.js", (("node", "--max-old-space-size=512", "main.js"),), _asserting),
    "java": Language(
        "Main.java",
        (("javac", "-J-Xmx512m", "-nowarn", "Main.java"), ("java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", ".", "Main")),
    ),
    "cpp": Language("main.cpp", (("g++", "-std=c++17", "-w", "-o", "main", "main.cpp"), ("./main",))),
    "rust": Language(
        "main.rs",
        (("rustc", "--test", "--edition=2018", "--cap-lints=allow", "-o", "main", "main.rs"), ("./main", "--test-threads=1")),
        _without_crates,
    ),
}
"""Go's tests in the data need a module that is fetched: its programs are not run."""


def can_run(language: str) -> bool:
    """Everything that the language's programs need is installed."""
    if language == "python":
        return True
    known = LANGUAGES.get(language)
    return known is not None and all(step[0].startswith("./") or shutil.which(step[0]) for step in known.steps)


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
    if why := sandbox.missing():
        raise Refused(f"Generated programs run only in a sandbox: {why}")
    if language == "python":
        return sandbox.run(program).ok
    how = LANGUAGES[language]
    with tempfile.TemporaryDirectory(prefix="tacit-judge-") as name:
        folder = Path(name).resolve()
        (folder / how.file).write_text(how.prepare(program), encoding="utf-8", errors="replace")
        return all(_run(step, folder) for step in how.steps)


def _run(command: tuple[str, ...], folder: Path) -> bool:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8", "TMPDIR": str(folder)}
    # rustup's proxies look for their toolchain under the real home.
    for name in ("RUSTUP_HOME", "CARGO_HOME"):
        environment[name] = os.environ.get(name, str(Path.home() / f".{name.partition('_')[0].lower()}"))
    tools = [Path(environment["RUSTUP_HOME"]), Path(environment["CARGO_HOME"]) / "bin"] if command[0] == "rustc" else []
    if (found := shutil.which(command[0])) is not None:
        # A tool with its libraries: FOLDER/bin/TOOL, by its own name and by where that leads.
        tools += [Path(found).absolute().parent.parent, Path(found).resolve().parent.parent]
    process = subprocess.Popen(
        [*_wrapping(folder, tools), *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_limit,
    )
    try:
        return process.wait(WALL_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        # The whole session: a program may have started others.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wrapping(folder: Path, tools: Sequence[Path]) -> tuple[str, ...]:
    home = Path.home().resolve()
    inside = [tool for tool in tools if tool.is_relative_to(home) and tool != home and tool.is_dir()]
    return (
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", str(home)),
        *(word for tool in inside for word in ("--ro-bind", str(tool), str(tool))),
        *("--bind", str(folder), str(folder), "--chdir", str(folder)),
    )


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
