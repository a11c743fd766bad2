"""Runs the covering tests of a file in the sandbox, with the file as it was and as a candidate has it. Copies what may be seen of
the workspace into a temporary folder; starts processes, in the sandbox only: no network, limits, nothing of it is left.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

from tacit.protocol.debugging import Check, CoveringRuns, DebugRequest
from tacit.protocol.plain_text import visible
from tacit.protocol.redaction import redact
from tacit.sandbox.walls import SYSTEM, Limits, limiting, missing, wrapped
from tacit.server.debugging import covering
from tacit.server.debugging.inside import WORKSPACE
from tacit.server.debugging.shadow import visible_files
from tacit.server.debugging.toolchains import ENVIRONMENTS, TOOLCHAINS, VENDOR, vendored

OFF: Final = "The tests were not run: `debugRunTests` is off."
LIMITS: Final = Limits(cpu_seconds=120, memory=4 << 30, file_bytes=64 << 20, open_files=512, processes=128, reserved=False)
SECONDS: Final = 60.0
"""For whoever does not say how long a check may take."""
LEAST_SECONDS: Final = 5.0
"""With less time left none is begun."""
STARTING: Final = 20.0
"""More, for the sandbox itself."""
MANY_TIMES: Final = 5.0
"""A candidate with which the tests take so many times as long, and SLOWER seconds more, has broken them. What counts is what they
compute and sleep, not what they wait for on a busy machine."""
SLOWER: Final = 10.0
FAR: Final = 5.0
"""So many times as long as they may take, a busy machine may take for them: then nothing is known."""
MOST_FILES: Final = 5000
MOST_BYTES: Final = 64 << 20
LARGEST: Final = 8 << 20
MOST_OUTPUT: Final = 1_000_000
MOST_TESTS: Final = 500
INSTALLED: Final = (*ENVIRONMENTS, "node_modules")
"""Not copied: what of them is needed is bound."""
BUILT: Final = ("target",)
"""Not copied either: it is built anew."""
_PARAMETERS: Final = re.compile(r"\[.*\]$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ran:
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float


@dataclass(slots=True)
class CoveringTests:
    """Of one request. What they say of the old text is asked once."""

    request: DebugRequest
    text: str
    _before: Ran | str | None = None
    _files: list[str] = field(default_factory=list)

    async def check(self, changed: str, left: float) -> Check:
        """left: seconds that there are."""
        found = await self._runs(changed, left)
        if isinstance(found, CoveringRuns):
            return covering.judged(found, self.request.trace)
        return found if isinstance(found, Check) else Check(name="tests", result="unchecked", note=found)

    async def failing(self, left: float, seconds: float) -> bool:
        """Whether one fails with the old text: then it shows when a change mends it. seconds: all of them take no longer."""
        if self._before is None:
            await self._runs(None, left)
        return isinstance(self._before, Ran) and bool(self._before.failed) and self._before.seconds <= seconds

    async def _runs(self, changed: str | None, left: float) -> CoveringRuns | Check | str:
        """A sentence: why they were not run. changed: None: with the old text only, and nothing is said."""
        request = self.request
        if why := _not_here(request):
            return why
        until = asyncio.get_running_loop().time() + left
        root = await asyncio.to_thread(Path(request.workspace).resolve)
        if why := await asyncio.to_thread(missing):
            return f"The tests were not run: {why}"
        top = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="tacit-tests-"))
        try:
            copy = top / "workspace"
            names = await asyncio.to_thread(_copy, root, request.path, copy)
            if isinstance(names, str):
                return names
            said = "\n".join((request.trace, *(one.text for one in request.snippets if one.kind == "test_output")))
            tests = await asyncio.to_thread(covering.covering, request.path, names, lambda name: _read(copy / name), said)
            if not tests:
                return "No test was found that covers it."
            if self._before is None:
                self._before = await _run(copy, root, request, self.text, tests, until)
            before = self._before
            if isinstance(before, str) or changed is None:
                return before if isinstance(before, str) else ""
            after = await _run(copy, root, request, changed, tests, until, before.seconds)
            if after == LATE and before.passed:
                return Check(name="tests", result="failed", note="With it the tests that cover it do not end any more.")
            if isinstance(after, str):
                return after
            return CoveringRuns(
                before_passed=before.passed,
                before_failed=before.failed,
                after_passed=after.passed,
                after_failed=after.failed,
                before_seconds=before.seconds,
                after_seconds=after.seconds,
            )
        except OSError as error:
            return f"The tests were not run: the workspace could not be copied ({error.strerror or error})."
        finally:
            await asyncio.to_thread(shutil.rmtree, top, ignore_errors=True)


NO_PYTEST: Final = "The tests that cover it could not be read; the Python that they ran with has no pytest."
LATE: Final = "The tests took much longer with it than before."
_HURRY: Final = "The tests were not run: there was no time left for them."
_TOO_LONG: Final = "The tests that cover it had not ended in time."


def _not_here(request: DebugRequest) -> str:
    if not request.run_tests:
        return OFF
    if request.language not in TOOLCHAINS:
        return f"The tests were not run: those of {request.language} are not."
    if not request.whole or not request.workspace:
        return "The tests were not run: they need the whole file and its workspace."
    if covering.is_test(request.path):
        return "It is a test itself: that it passes would say nothing."
    root = os.path.realpath(request.workspace)
    if (
        not Path(root).is_dir()
        or any(Path(root).is_relative_to(one) for one in (*SYSTEM, "/proc", "/dev", WORKSPACE))
        or root == "/"
    ):
        return "The tests were not run: the workspace lies among the system's own folders."
    return ""


def _copy(root: Path, path: str, copy: Path) -> list[str] | str:
    """The names of what was copied; or why it was not. What is ignored or hidden is not there, nor where links lead out to."""
    copy.mkdir()
    copy.chmod(0o755)
    names: list[str] = []
    size = 0
    installed = {*INSTALLED, *([VENDOR] if vendored(root) else [])}
    for parts, source in islice(visible_files(root, tuple(path.split("/"))), MOST_FILES + 1):
        if parts[0] in installed or (parts[0] in BUILT and (root / parts[0] / "CACHEDIR.TAG").is_file()):
            continue
        length = Path(source).stat().st_size
        size += length
        if len(names) >= MOST_FILES or size > MOST_BYTES:
            return f"The tests were not run: the workspace is too large to be copied ({MOST_FILES} files, {MOST_BYTES >> 20} MB)."
        if length > LARGEST:
            continue
        target = copy.joinpath(*parts)
        for folder in reversed(target.relative_to(copy).parents[:-1]):
            (copy / folder).mkdir(exist_ok=True)
            (copy / folder).chmod(0o755)
        with contextlib.suppress(FileNotFoundError, PermissionError):
            shutil.copyfile(source, target)
            target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
            names.append("/".join(parts))
    return names


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


async def _run(
    copy: Path, root: Path, request: DebugRequest, text: str, tests: Sequence[str], until: float, usual: float | None = None
) -> Ran | str:
    """usual: seconds that they take; LATE: it was much more this time. until: in the loop's time."""
    chain = TOOLCHAINS[request.language]
    left = until - asyncio.get_running_loop().time() - STARTING / 4
    if left < LEAST_SECONDS:
        return _HURRY
    seconds = min(FAR * chain.seconds, left)
    most = chain.seconds if usual is None else min(chain.seconds, MANY_TIMES * usual + SLOWER)
    tool = await asyncio.to_thread(chain.find, root)
    if isinstance(tool, str):
        return f"The tests were not run: {tool} is not installed."
    mark = secrets.token_hex(16)
    told = {
        "root": str(root), "path": request.path, "text": text, "program": tool.program, "files": list(tests), "seconds": seconds,
        "most": most, "mark": mark, **tool.told,
    }  # fmt: skip
    # vitest looks its own machine up before it starts.
    hosts = copy.parent / "hosts"
    await asyncio.to_thread(hosts.write_text, "127.0.0.1 localhost\n")
    hosts.chmod(0o644)
    # What lies below what can be written there is bound after it.
    within = {one: one for one in tool.binds if Path(one).is_relative_to(root) or Path(one).is_relative_to("/tmp")}
    inner = {WORKSPACE: str(copy), "/etc/hosts": str(hosts), **within}
    outer = [one for one in tool.binds if one not in inner]
    command = wrapped(limiting(LIMITS) + chain.inside, outer, chain.room, work=str(root), within=inner)
    answer = await _said(command, json.dumps(told).encode(), seconds + STARTING, mark)
    if answer is None:
        return "The tests were not run: the sandbox did not answer."
    if answer.get("slow"):
        return LATE if most < chain.seconds else _TOO_LONG
    if answer.get("late"):
        return _TOO_LONG
    if "problem" in answer:
        return f"The tests could not be run: {visible(str(answer['problem']))[:200]}."
    passed, failed = _names(answer.get("passed")), _names(answer.get("failed"))
    if not answer.get("readable") and not passed and not any("::" in one for one in failed):
        return NO_PYTEST
    took = answer.get("seconds")
    return Ran(passed, failed, float(took) if isinstance(took, int | float) else 0.0)


def _names(found: Any) -> tuple[str, ...]:
    """They are recorded: parameters, which are values of the program's, only as what tells them apart."""
    names = [visible(str(one)) for one in found] if isinstance(found, list) else []
    plain = (_PARAMETERS.sub(lambda values: f"[{sha256(values[0].encode()).hexdigest()[:8]}]", one) for one in names)
    return tuple(dict.fromkeys(redact(one)[:300] for one in plain))[:MOST_TESTS]


async def _said(command: Sequence[str], told: bytes, seconds: float, mark: str) -> dict[str, Any] | None:
    """What was said behind the mark, which nothing that the tests print has."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.defpath},
        cwd="/",
    )
    assert process.stdin is not None and process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(seconds):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(told)
                await process.stdin.drain()
                process.stdin.close()
            while len(said) < MOST_OUTPUT and (piece := await process.stdout.read(65_536)):
                said += piece
    except TimeoutError:
        return {"late": True}
    finally:
        # The sandbox's first process: with it dies everything inside. By its number: `process.kill` may take away its end from
        # whoever waits for it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    for line in said.decode(errors="replace").split("\n"):
        if line.startswith(mark):
            with contextlib.suppress(ValueError):
                answer = json.loads(line.removeprefix(mark))
                return answer if isinstance(answer, dict) else None
    return None
