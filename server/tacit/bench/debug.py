"""`tacit bench debug`: are bugs fixed, by the bare model with a plain prompt and by the product, side by side in one run.

Every bug is asked of the engine in this process (bare: one plain question, one answer) and of a real `tacit serve` (product:
place, context, checks, retries), with the same file, failing test, seed, temperature and time allowance. What is shown is run
against the test in the sandbox, and other judges look for names that nothing defines. Works in a folder of its own; leaves no
process behind.
"""

import asyncio
import hashlib
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tacit.bench import debug_asking, debug_names, debug_results, debug_similar, judging
from tacit.bench.debug_asking import Asked
from tacit.bench.debug_results import WAYS, OutcomeKind, Result, Results, Way
from tacit.bench.debug_tasks import LANGUAGES, Half, Task, judge, load, sound
from tacit.bench.report import Report
from tacit.learner import sandbox
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import BadRequest, Refused
from tacit.protocol.home import Home
from tacit.server.engine.embedded import EmbeddedEngine
from tacit.server.settings import Settings

NAMES: Final = {"python": "Python", "javascript": "JavaScript", "java": "Java", "cpp": "C++", "rust": "Rust", "go": "Go"}
QUICK: Final = ("python", "javascript")
FILE: Final = "answers.jsonl"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    each: int = 10
    """Bugs of each language."""
    languages: tuple[str, ...] = LANGUAGES
    similar: int = 0
    """Bugs of DebugBench of each of its languages, judged by likeness."""
    half: Half | None = None
    """None: of both halves."""
    minutes: float | None = None
    """After these no other bug is begun; None: all of them are."""
    seconds: float = 300.0
    """The time allowance of one answer, of either way."""
    candidates: int = 3
    folder: Path | None = None
    """Answers are kept there, and gone on from."""
    seed: int = 1


@dataclass(slots=True)
class Plan:
    tasks: list[Task]
    """More than are asked: the first sound ones of each language are."""
    absent: list[str]
    options: Options
    similar: list[Task] = field(default_factory=list)
    """Of DebugBench: more than are asked."""
    unsound: Counter[str] = field(default_factory=Counter)
    """By what is wrong with them."""


@dataclass(frozen=True, slots=True)
class _Asking:
    """What every question of a run has in common."""

    engine: EmbeddedEngine
    client: TacitClient
    settings: Settings
    workspaces: Path
    options: Options


def chosen(folder: Path, options: Options) -> Plan:
    """Refused: nothing can be run here. BadRequest: there is no bug at all. folder: of the data."""
    if why := sandbox.missing():
        raise Refused(f"Fixes are judged by running them, and programs run only in a sandbox: {why}")
    wanted = tuple(one for one in LANGUAGES if one in options.languages)
    if unknown := set(options.languages) - set(LANGUAGES):
        raise BadRequest(f"Bugs in {', '.join(sorted(unknown))} cannot be judged.", mend=f"There are: {', '.join(LANGUAGES)}.")
    here = tuple(one for one in wanted if judging.can_run(one))
    tasks, absent = load(folder, here, options.seed)
    if not_here := [NAMES[one] for one in wanted if one not in here]:
        absent.append(f"The tools of {', '.join(not_here)} are not installed, or do not work in the sandbox: left out.")
    tasks = [task for task in tasks if options.half in (None, task.half)]
    if not tasks:
        raise BadRequest(f"There is no bug to ask about. {' '.join(absent)}", mend="Name the data's folder with TACIT_DATA.")
    similar: list[Task] = []
    if options.similar:
        similar, missing = debug_similar.load(folder, wanted, options.seed)
        absent += missing
        similar = [task for task in similar if options.half in (None, task.half)]
    return Plan(tasks, absent, options, similar)


def run(plan: Plan, model: str, progress: Progress) -> Report:
    """Ask, judge, and sum up. model: catalogue name, path or `auto`."""
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as name:
        root = Path(name).resolve()
        for part in ("home", "straight", "work"):
            (root / part).mkdir(mode=0o700)
        return asyncio.run(_run(root, plan, model, progress))


async def _run(root: Path, plan: Plan, model: str, progress: Progress) -> Report:
    options = plan.options
    async with _engines(root, model) as (asking_of, digest, name):
        asking = asking_of(options)
        if options.folder is not None:
            options.folder.mkdir(parents=True, exist_ok=True)
        key = f"{digest[:16]}/{options.seed}/{options.seconds:g}/{options.candidates}"
        results = Results(options.folder / FILE if options.folder is not None else None, key)
        asked: list[Task] = []
        left = dict.fromkeys(options.languages, options.each)
        whole = options.each * len({task.language for task in plan.tasks})
        until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        for task in plan.tasks:
            if not left.get(task.language) or (until is not None and time.monotonic() > until):
                continue
            progress("bugs", len(asked), whole)
            why, output = await _soundness(task, results)
            if why:
                plan.unsound[why] += 1
                continue
            left[task.language] -= 1
            asked.append(task)
            # In turns, so that neither always finds the machine as the other has left it.
            for way in WAYS if len(asked) % 2 else WAYS[::-1]:
                if (task.name, way) not in results.answers:
                    results.add(await _answer(asking, task, way, output))
        progress("bugs", len(asked), whole)
        similar = plan.similar[: options.similar * len({task.language for task in plan.similar})]
        for number, task in enumerate(similar):
            if until is not None and time.monotonic() > until:
                break
            progress("bugs without a test", number, len(similar))
            for way in WAYS if number % 2 else WAYS[::-1]:
                if (task.name, way) not in results.answers:
                    results.add(await _answer(asking, task, way, ""))
    return _report(plan, results, asked, name)


@asynccontextmanager
async def _engines(root: Path, model: str) -> AsyncIterator[tuple[Callable[[Options], _Asking], str, str]]:
    """The server and the engine of this process, both with the same model: (what asks, its digest, its name)."""
    async with ServerProcess(Home(root / "home"), {"model": model, "nightly": "off"}) as server:
        status = await server.client.status()
        home = Home(root / "straight")
        settings = Settings.load(home)
        engine = EmbeddedEngine(Path(status.model_path), status.model_sha256, home, settings)
        await engine.start()
        try:
            yield (
                lambda options: _Asking(engine, server.client, settings, root / "work", options),
                status.model_sha256,
                status.model,
            )
        finally:
            await engine.stop()


async def _soundness(task: Task, results: Results) -> tuple[str, str]:
    if task.name not in results.sound:
        found = await asyncio.to_thread(sound, task)
        results.found(task.name, found.why, found.output)
    return results.sound[task.name]


async def _answer(asking: _Asking, task: Task, way: Way, output: str) -> Result:
    options = asking.options
    seed = (options.seed * 1_000_003 + zlib.crc32(task.name.encode())) % 2**31
    if way == "bare":
        settings = asking.settings
        asked = await debug_asking.bare(
            asking.engine,
            task,
            output,
            temperature=settings.temperature,
            seed=seed,
            context=settings.context_tokens,
            seconds=options.seconds,
        )
    else:
        workspace = asking.workspaces / hashlib.sha256(task.name.encode()).hexdigest()[:12]
        workspace.mkdir(exist_ok=True)
        for path, text in {**task.others, task.path: task.text}.items():
            (workspace / path).write_text(text, encoding="utf-8")
        request = debug_asking.request(task, output, workspace, seed=seed, seconds=options.seconds, candidates=options.candidates)
        asked = await debug_asking.product(asking.client, task, request)
    outcome, names = await asyncio.to_thread(_judged, task, asked, output)
    facts = (asked.seconds, asked.tokens, asked.draws, asked.said)
    near = None if task.test_path else max((debug_similar.nearer(task, text) for text in asked.texts), default=0.0)
    return Result(task.name, task.problem, task.language, task.half, way, outcome, names, *facts, nearer=near)


def _judged(task: Task, asked: Asked, before: str) -> tuple[OutcomeKind, tuple[str, ...] | None]:
    """Of several readings the best: the one that passes, else the one with the fewest names."""
    if not asked.texts:
        return ("late" if asked.late else "withheld" if asked.withheld else "unusable"), None
    if not task.test_path:
        return ("fixed" if any(debug_similar.same(task, text) for text in asked.texts) else "wrong"), None
    outcomes = [(judge(task, text), text) for text in asked.texts]
    fixed = [(found, text) for found, text in outcomes if found.passed]
    names = None
    if debug_names.judged(task.language):
        each = [tuple(debug_names.invented(task, text, found.output, before)) for found, text in fixed or outcomes]
        names = min(each, key=len)
    return ("fixed" if fixed else "wrong"), names


def _report(plan: Plan, results: Results, asked: list[Task], model: str) -> Report:
    answered = debug_results.pairs(results.answers, [task.name for task in asked])
    languages = [one for one in plan.options.languages if any(task.language == one for task in asked)]
    options = plan.options
    missing = [NAMES[one] for one in languages if not debug_names.judged(one)]
    remarks = [
        *plan.absent,
        *debug_results.remarks(answered),
        f"{len(answered)} bugs"
        + (f" of the {options.half} half" if options.half else "")
        + f", seed {options.seed}, {options.seconds:g} s for an answer of either way. "
        + (
            "Left out: "
            + "; ".join(f"{count} where {why[0].lower()}{why[1:].rstrip('.')}" for why, count in plan.unsound.items())
            if plan.unsound
            else "None was left out"
        )
        + ".",
        "Bare: file and test output in a plain question; its code block is read as the whole file and as the function, pasted "
        "where the bug is, whichever passes. Product: `POST /v1/debug`.",
        "Intervals: 95 %, bootstrap over problems. Names: basedpyright, compilers, Node; only of answers that were shown, "
        "only such as were not missing before."
        + (f" Not judged: {', '.join(missing)} (pip install basedpyright)." if missing else ""),
    ]
    rows = debug_results.rows(answered, languages, NAMES)
    if similar := debug_results.pairs(results.answers, [task.name for task in plan.similar]):
        rows += debug_results.similar_rows(similar)
        remarks.append("DebugBench: no test, compared with the reference without comments; nearer: the part of the way there.")
    return Report("debug", model, rows, debug_results.goals(answered, languages), remarks)
