"""`tacit bench record`: what recording costs while somebody types: two language servers, the same keys, one of them records.

Both stand beside one real server, which takes what is recorded. Each key goes to one and then to the other, the order turning,
and is timed from the change to the answer of a request behind it. Works in a folder of its own; leaves no process behind.
"""

import asyncio
import difflib
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tacit.lsp
from tacit.bench.keystrokes import Episode, stretch
from tacit.bench.report import Goal, Report, percentile
from tacit.learner.simulate.editor import Document, Editor
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.errors import Refused
from tacit.protocol.home import Home

SIZES: Final = {"a file of this project": 0, "500,000 characters": 500_000}
"""What is typed in: the file itself, or with so much more below it."""
LINES: Final = 24
"""Of a file that are typed anew."""
CPU_BOUND: Final = 1.0
P99_BOUND: Final = 5.0
WARM_KEYS: Final = 10
"""Not counted: code is loaded, connections are made."""
SETTLE_S: Final = 6.0
"""After the last key: the last batch, which is told five seconds after its first change, is counted too."""


@dataclass(slots=True)
class Side:
    """One language server, in one of the files."""

    editor: Editor
    ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    document: Document | None = None


def run(minutes: float, seed: int, model: str, progress: Any) -> Report:
    """minutes: all of it. Refused: the system does not say how much time a process had."""
    if not Path("/proc/self/schedstat").exists():
        raise Refused("How much a process works can be read on Linux only.", mend="Run `tacit bench record` there.")
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as folder:
        root = Path(folder).resolve()
        (root / "home").mkdir(mode=0o700)
        return asyncio.run(_run(root, minutes, seed, model, progress))


async def _run(root: Path, minutes: float, seed: int, model: str, progress: Any) -> Report:
    rows: list[dict[str, Any]] = []
    goals: list[Goal] = []
    plan = list(_plan(minutes * 60 / len(SIZES), seed))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ServerProcess(Home(root / "home"), {"model": model}))
        status = await server.client.status()
        events = status.events
        for number, (what, size) in enumerate(SIZES.items()):
            sides: list[Side] = []
            async with AsyncExitStack() as editors:
                for name, learning in (("on", "on"), ("off", "off")):
                    workspace = root / f"{number}-{name}"
                    workspace.mkdir()
                    options = {"learning": learning, "startServer": False}
                    sides.append(
                        Side(
                            await editors.enter_async_context(Editor(workspace, options=options, environment=server.environment))
                        )
                    )
                server_cpu = cpu_seconds(status.pid)
                wall = await _type(sides, plan, size, lambda done, total, what=what: progress(f"typing in {what}", done, total))
                server_cpu = cpu_seconds(status.pid) - server_cpu
            now = (await server.client.status()).events
            on, off = sides
            rows += _rows(what, on, off, wall)
            rows.append({"what": f"{what}: server, CPU", "unit": "% of a core", "recorded": round(100 * server_cpu / wall, 2)})
            rows.append({"what": f"{what}: events stored", "unit": "", "recorded": now - events})
            events = now
            goals += [
                Goal(f"{what}: CPU that recording adds, % of a core", 100 * (on.cpu_s - off.cpu_s) / wall, CPU_BOUND),
                Goal(f"{what}: added to the p99 of a change, ms", _added(on.ms, off.ms), P99_BOUND),
            ]
    remarks = [
        f"{sum(one.keys for one in plan)} keys in each file, {sum(one.seconds for one in plan):.0f} s of typing at human speed, "
        f"by the seed {seed}; Tacit's own sources are what is typed.",
        "Both language servers get each key; the time is from the change to the answer of a request right behind it. No "
        "suggestions are asked for. The sending of what is recorded is part of it.",
    ]
    return Report("record", status.model, rows, goals, remarks)


async def _type(sides: list[Side], plan: list[Episode], size: int, progress: Any) -> float:
    """Seconds of typing, those of the first keys and of the settling left out."""
    began = time.perf_counter()
    total, done = sum(one.keys for one in plan), 0
    work = [0.0 for _ in sides]
    for number, episode in enumerate(plan):
        for side in sides:
            path = side.editor.root / f"{number}-{Path(episode.path).name}"
            filling = "".join(f"value_{n} = compute(value_{n - 1})\n" for n in range(max(0, size // 34)))
            side.document = side.editor.open(path, episode.text + filling)
        due = time.perf_counter()
        for passage in episode.passages:
            at = passage.start
            for side in sides:
                _change(side, passage.start, passage.end, "")
            typed = 0
            for key in passage.keys:
                for turn in range(len(sides)):
                    side = sides[(turn + done) % len(sides)]
                    sent = time.perf_counter()
                    _change(side, at + typed, at + typed, key.text)
                    await side.editor.request("tacit/counters", None)
                    if done >= WARM_KEYS:
                        side.ms.append((time.perf_counter() - sent) * 1000)
                typed += len(key.text)
                done += 1
                if done == WARM_KEYS:
                    work = [cpu_seconds(side.editor.pid) for side in sides]
                    began = time.perf_counter()
                progress(done, total)
                due += key.pause_s
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            for side in sides:
                _change(side, at + typed, at + typed, passage.text[typed:])
        for side in sides:
            assert side.document is not None
            side.editor.save(side.document)
            side.editor.close(side.document)
    wall = time.perf_counter() - began
    await asyncio.sleep(SETTLE_S)
    for side, before in zip(sides, work, strict=True):
        side.cpu_s = cpu_seconds(side.editor.pid) - before
    return wall


def _change(side: Side, start: int, end: int, text: str) -> None:
    if side.document is not None and (text or end > start):
        side.editor.change(side.document, start, end, text)


def _plan(seconds: float, seed: int) -> Iterator[Episode]:
    """Files of the language server, of each a piece that is typed anew, for so long; one at the least."""
    folder = Path(next(iter(tacit.lsp.__path__)))
    left = seconds
    for path in sorted(folder.glob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        middle = len(lines) // 2
        without = lines[:middle] + lines[middle + LINES :]
        diff = "".join(difflib.unified_diff(without, lines, f"a/{path.name}", f"b/{path.name}"))
        if len(lines) > 3 * LINES and (episode := stretch(path.name, "".join(without), [diff], seed)) is not None:
            yield episode
            left -= episode.seconds
            if left <= 0:
                return


def cpu_seconds(pid: int) -> float:
    """Time that a process's threads had a processor, children not counted. Linux."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        except (OSError, IndexError):
            # It has ended meanwhile.
            continue
    return total / 1e9


def _rows(what: str, on: Side, off: Side, wall: float) -> Iterator[dict[str, Any]]:
    def row(name: str, unit: str, of: Any) -> dict[str, Any]:
        return {"what": f"{what}: {name}", "unit": unit, "recorded": of(on), "not recorded": of(off)}

    yield row("keys", "", lambda side: len(side.ms))
    for percent in (50, 99):
        yield row(f"a change, p{percent}", "ms", lambda side, p=percent: _rounded(percentile(side.ms, p)))
    yield row("a change, longest", "ms", lambda side: _rounded(max(side.ms, default=None)))
    yield row("CPU", "% of a core", lambda side: _rounded(100 * side.cpu_s / wall))


def _added(on: list[float], off: list[float]) -> float | None:
    mine, other = percentile(on, 99), percentile(off, 99)
    return None if mine is None or other is None else mine - other


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
