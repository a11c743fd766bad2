"""`tacit bench infill`: are holes filled with the right code, by the raw model and by the product, side by side in one run.

Every hole is asked of a real `tacit serve` (the product), and then the engine in this process draws the same prompt with the same
seed, stopped only by the model itself or by the token limit (raw); its first line is a third, naive product. Exact match leaves
blanks at the end aside. A completion passes if the filled file runs its test without an error; only holes whose reference does
are judged, in the languages that are installed. Works in a folder of its own; leaves no process behind.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tacit.bench.infill_cases import INFILLING, PACK, Case, several_languages, single_lines
from tacit.bench.judging import Judge, can_run
from tacit.bench.report import Goal, Report
from tacit.learner import sandbox
from tacit.learner.gate import paired_bootstrap
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.errors import BadRequest, ModelUnavailable
from tacit.protocol.fim import prompt_tokens
from tacit.protocol.home import Home
from tacit.server.engine.embedded import EmbeddedEngine
from tacit.server.engine.interface import Drawn, Sampling
from tacit.server.settings import Settings

WAYS: Final = ("raw", "first line", "product")
SINGLE = "HumanEval-Infilling single-line"
NAMES: Final = {"javascript": "JavaScript", "java": "Java", "cpp": "C++", "go": "Go", "rust": "Rust"}
CLEARLY = -0.1
"""Points by which raw is ahead: below zero."""
DEADLINE_MS = 120_000
"""Nothing is to be cut off by a slow machine: the token limit ends what does not end itself."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """One way's answer for one hole."""

    text: str
    tokens: int
    """Drawn for it."""
    exact: bool
    passed: bool | None
    """None: not judged."""


@dataclass(slots=True)
class Answered:
    """Holes of one set, in order; all ways answer the same holes."""

    what: str
    cases: list[Case] = field(default_factory=list)
    ways: dict[str, list[Filled]] = field(default_factory=lambda: {way: [] for way in WAYS})


@dataclass(frozen=True, slots=True)
class Plan:
    cases: list[Case]
    absent: list[str]
    """Sentences about data that are not there."""


def chosen(folder: Path, single: int, each: int, seed: int) -> Plan:
    """single: holes of HumanEval-Infilling; each: holes for each other language. folder: of the two files, of which one may be
    missing: it is left out, and said. BadRequest: there is no hole at all."""
    missing = [name for name in (INFILLING, PACK) if not (folder / name).is_file()]
    cases = [] if INFILLING in missing else single_lines(folder, single, seed)
    cases += [] if PACK in missing else several_languages(folder, each, seed)
    absent = [f"{name} is not in {folder} (TACIT_DATA names another folder): its holes were left out." for name in missing]
    if not cases:
        why = f"Neither {INFILLING} nor {PACK} is in {folder}" if len(missing) == 2 else "No hole was asked for that there is"
        mend = "Name their folder with TACIT_DATA." if missing else "Ask for more of them: --single, --each."
        raise BadRequest(f"{why}.", mend=mend)
    return Plan(cases, absent)


def run(plan: Plan, seed: int, model: str, progress: Progress) -> Report:
    """Fill the holes in all ways. seed: which the plan is of. model: catalogue name, path or `auto`."""
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as name:
        root = Path(name).resolve()
        for part in ("home", "straight"):
            (root / part).mkdir(mode=0o700)
        sets, served = asyncio.run(_run(root, plan.cases, seed, model, progress))
    return _report(sets, served, plan.absent)


async def _run(root: Path, cases: Sequence[Case], seed: int, model: str, progress: Progress) -> tuple[list[Answered], str]:
    async with ServerProcess(Home(root / "home"), {"model": model, "nightly": "off"}) as server:
        status = await server.client.status()
        home = Home(root / "straight")
        settings = Settings.load(home)
        engine = EmbeddedEngine(Path(status.model_path), status.model_sha256, home, settings)
        await engine.start()
        try:
            sets: dict[str, Answered] = {}
            judge = Judge()
            for done, case in enumerate(cases):
                progress("holes", done, len(cases))
                name = SINGLE if case.language == "python" else NAMES[case.language]
                answered = sets.setdefault(name, Answered(name))
                answered.cases.append(case)
                request = _request(case, done, seed + done, settings.max_tokens)
                product = await server.client.complete(request)
                raw, drawn = await _raw(engine, request, settings)
                judged = (
                    not sandbox.missing()
                    and can_run(case.language)
                    and await judge.passes(case.language, case.program(case.middle))
                )
                for way, text, tokens in (
                    ("raw", raw, drawn),
                    ("first line", raw.partition("\n")[0], drawn),
                    ("product", product.text, len(product.generation.tokens)),
                ):
                    exact = text.rstrip() == case.middle.rstrip()
                    passed = await judge.passes(case.language, case.program(text)) if judged else None
                    answered.ways[way].append(Filled(text, tokens, exact, passed))
            progress("holes", len(cases), len(cases))
        finally:
            await engine.stop()
    return list(sets.values()), status.model


def _request(case: Case, number: int, seed: int, max_tokens: int) -> CompleteRequest:
    context = Context(path=case.path, language=case.language, prefix=case.prefix, suffix=case.suffix)
    return CompleteRequest(
        request_id=f"infill-{number}",
        session_id="bench-infill",
        context=context,
        deadline_ms=DEADLINE_MS,
        max_tokens=max_tokens,
        seed=seed,
    )


async def _raw(engine: EmbeddedEngine, request: CompleteRequest, settings: Settings) -> tuple[str, int]:
    """(text, tokens) of the same draw with nothing but the model's own end and the token limit."""
    texts: dict[str, list[int]] = {}
    context = request.context

    def remember(text: str) -> list[int]:
        texts.setdefault(text, [])
        return texts[text]

    prompt_tokens(engine.fim, context, remember)
    for text in texts:
        texts[text] = await engine.tokenize(text)
    prompt = prompt_tokens(engine.fim, context, texts.__getitem__)
    if len(prompt) + settings.max_tokens > settings.context_tokens:
        raise ModelUnavailable("A hole of the data is longer than the engine's context.", mend="Raise `context_tokens`.")
    sampling = Sampling(settings.max_tokens, settings.temperature, request.seed or 0)
    async with contextlib.aclosing(engine.generate(prompt, sampling, None)) as items:
        pieces = [item.text async for item in items if isinstance(item, Drawn)]
    return "".join(pieces), len(pieces)


def _report(sets: Sequence[Answered], model: str, remarks: list[str]) -> Report:
    rows: list[dict[str, Any]] = []
    goals: list[Goal] = []
    everything = Answered("all sets")
    for one in sets:
        everything.cases += one.cases
        for way in WAYS:
            everything.ways[way] += one.ways[way]
    for one in (*sets, everything):
        rows += [_row(one, way) for way in WAYS]
    for one in sets:
        for figure, pairs in _pairs(one):
            goals.append(Goal(f"points that raw is ahead, {figure}, {one.what}", 0.0 - 100 * _mean(pairs), 0))
    for figure, pairs in _pairs(everything):
        interval = paired_bootstrap(pairs, [1.0] * len(pairs), _problems(everything, figure))
        goals.append(Goal(f"the same, all sets, upper end of the 95 % interval, {figure}", 0.0 - 100 * interval.low, CLEARLY))
    why_none = sandbox.missing()
    ran = sorted({case.language for one in sets for case in one.cases if not why_none and can_run(case.language)})
    not_run = sorted({case.language for one in sets for case in one.cases} - set(ran))
    remarks = [
        *remarks,
        "Same prompt, seed and temperature for every way; `ahead of raw` is in points, with the 95 % interval of a paired "
        "bootstrap over problems.",
        f"Judged by running: {', '.join(ran) or 'nothing'}."
        + (f" Only exact match, no sandbox, toolchain or packages for the tests: {', '.join(not_run)}." if not_run else ""),
        f"No generated program was run: {why_none}" if why_none else "Generated programs ran in bubblewrap, under limits.",
    ]
    return Report("infill", model, rows, goals, remarks)


def _row(one: Answered, way: str) -> dict[str, Any]:
    filled = one.ways[way]
    verdicts = [answer.passed for answer in filled if answer.passed is not None]
    row: dict[str, Any] = {
        "what": f"{one.what}, {way}",
        "n": len(filled),
        "exact %": round(100 * _mean([answer.exact for answer in filled]), 1),
        "judged": len(verdicts),
        "pass@1 %": round(100 * _mean(verdicts), 1) if verdicts else None,
        "exact ahead of raw": None,
        "pass@1 ahead of raw": None,
        "tokens": round(_mean([answer.tokens for answer in filled]), 1),
        "silent": sum(not answer.text.strip() for answer in filled),
    }
    if way != "raw":
        for figure, pairs in _pairs(one, way):
            interval = paired_bootstrap(pairs, [1.0] * len(pairs), _problems(one, figure))
            row[f"{figure} ahead of raw"] = f"{100 * interval.mean:+.0f} [{100 * interval.low:+.0f}, {100 * interval.high:+.0f}]"
    return row


def _pairs(one: Answered, way: str = "product") -> list[tuple[str, list[float]]]:
    """By figure, what a way is ahead of raw at each hole where both were judged; figures without a verdict are left out."""
    both = list(zip(one.ways["raw"], one.ways[way], strict=True))
    exact = [float(other.exact) - float(raw.exact) for raw, other in both]
    passed = [
        float(other.passed) - float(raw.passed) for raw, other in both if raw.passed is not None and other.passed is not None
    ]
    return [(figure, pairs) for figure, pairs in (("exact", exact), ("pass@1", passed)) if pairs]


def _problems(one: Answered, figure: str) -> list[str]:
    """The problem of each hole that `_pairs` has for the figure: two holes of one problem are not independent."""
    judged = zip(one.cases, one.ways["raw"], strict=True)
    return [case.name.rsplit("/", 1)[0] for case, answer in judged if figure == "exact" or answer.passed is not None]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
