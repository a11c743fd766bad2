"""`tacit bench gate`: is harm refused, is what helps accepted, does the off-policy interval hold the truth? Trains real adapters
on the real base with the product's trainer, and asks the product's steps 2 to 6. Touches a folder of its own.

A repetition is one made-up project (`gate_house`): a day's log, and from it one adapter of each kind, each from the base. Step 1
asks an engine and is left out; step 5 is `inconclusive` on so short a day, so it is measured by itself, on simulated nights whose
truth is known (`gate_value`). Every result is written as it comes: run again with the same folder, it goes on where it was.
"""

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from tacit.bench.gate_house import KINDS, TEMPERATURE, Drawn, Kind, Place, places, record, spoiled
from tacit.bench.gate_value import night
from tacit.bench.report import Goal, Report
from tacit.learner import baseline, evaluate
from tacit.learner.base import Tokenizer, best_device, load, prepare
from tacit.learner.evaluate import Text
from tacit.learner.gate import FORGETTING
from tacit.learner.policy import Policy
from tacit.learner.samples import END, Sample, sample_of, split
from tacit.learner.train import TrainSettings, train
from tacit.learner.trial import Trial, TrialSettings
from tacit.protocol.completion import BASE_POLICY
from tacit.protocol.fim import QWEN, prompt_tokens
from tacit.protocol.home import Home
from tacit.server.models import resolve

DRAW_TOKENS = 24
LEVEL = 1.96
HARMFUL = tuple(kind for kind in KINDS if kind != "useful")
VALUE_DRAWS, VALUE_MOVES = (120, 300), (0.3, 0.6, 1.2)

Progress = Callable[[str, int, int], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    each: int = 20
    """Repetitions: adapters of each kind."""
    nights: int = 400
    """Simulated nights of each shape, for the off-policy value."""
    suggestions: int = 120
    """Of one day."""
    generations: int = 24
    """As in the gate: places, and programs, where both policies write."""
    forgetting: float = FORGETTING
    seed: int = 1
    folder: Path | None = None
    """Where results are kept and found again; None: nowhere."""
    kinds: tuple[Kind, ...] = KINDS
    train: TrainSettings = field(default_factory=TrainSettings)


def quick() -> Options:
    """Every part once: shows that it runs, not how good the gate is."""
    return Options(each=1, nights=6, suggestions=40, generations=2)


def run(options: Options, model: str, progress: Progress) -> Report:
    """model: catalogue name, path or `auto`."""
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as temporary:
        folder = options.folder or Path(temporary) / "results"
        folder.mkdir(parents=True, exist_ok=True)
        results = Results(folder / "gate.jsonl", model, options)
        nights = _nights(options, results, progress)
        found = resolve(model)
        wanted = [(kind, number) for number in range(options.each) for kind in options.kinds]
        if any(results.find(kind, number) is None for kind, number in wanted):
            workshop = Workshop(found.path, found.sha256, Home(folder), options)
            for done, (kind, number) in enumerate(wanted):
                progress(f"{kind}, project {number + 1}", done, len(wanted))
                if results.find(kind, number) is None:
                    results.add(workshop.tried(kind, number))
        rows = [row for kind, number in wanted if (row := results.find(kind, number)) is not None]
        return report(rows, nights, found.model.name, options)


class Results:
    """One JSON object a line; a line that a kill cut in two is made again."""

    def __init__(self, path: Path, model: str, options: Options) -> None:
        self._path = path
        self._setting = f"{model} {options.seed} {options.suggestions} {options.generations} {options.forgetting}"
        self._rows: dict[tuple[str, int], Row] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text and not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]
            path.write_text(text, encoding="utf-8")
        for line in text.splitlines():
            row = json.loads(line)
            if row["setting"] == self._setting:
                self._rows[row["what"], row["number"]] = row

    def find(self, what: str, number: int) -> Row | None:
        return self._rows.get((what, number))

    def add(self, row: Row) -> Row:
        row = {**row, "setting": self._setting}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows[row["what"], row["number"]] = row
        return row


class Workshop:
    """The base in memory, and one candidate after the other on it."""

    def __init__(self, gguf: Path, sha256: str, home: Home, options: Options) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        prepared = prepare(gguf, sha256, home)
        self._sha256 = sha256
        self._options = options
        self._tokenizer = Tokenizer(prepared)
        self._policy = Policy(load(prepared, best_device()), parent=None, seed=options.seed)
        self._fresh = [p.detach().clone() for p in self._policy.trainable()]
        self._day: tuple[int, list[Sample], list[Sample]] | None = None

    def tried(self, kind: Kind, number: int) -> Row:
        """Train one candidate and let the gate judge it, up to its first refusal."""
        options = self._options
        seed = options.seed * 1000 + number
        training, held_out = self._samples(number, seed)
        with torch.no_grad():
            for parameter, fresh in zip(self._policy.trainable(), self._fresh, strict=True):
                parameter.copy_(fresh)
        lessons = spoiled(kind, training, seed, self._tokenizer.encode, END)
        began = time.monotonic()
        trained = train(
            self._policy, lessons, baseline.advantages(lessons), BASE_POLICY, _settings(options.train, kind, seed), "topr"
        )
        at = time.monotonic()
        settings = TrialSettings(options.generations, options.forgetting, seed)
        trial = Trial(self._policy, self._tokenizer, BASE_POLICY, lessons, held_out, settings, lambda stage, done, total: None)
        refused: list[str] = []
        for step in trial.steps:
            refused = [check.name for check in step.measure() if check.refused]
            if refused:
                break
        return {
            "what": kind, "number": number, "refused": refused, "samples": trained.samples,
            "kl_serving": round(trained.kl_serving, 3), "share": round(trained.share, 3),
            "train_seconds": round(at - began, 1), "gate_seconds": round(time.monotonic() - at, 1),
        }  # fmt: skip

    def _samples(self, number: int, seed: int) -> tuple[list[Sample], list[Sample]]:
        if self._day is None or self._day[0] != number:
            found = places(seed, self._options.suggestions)
            drawn = self._draw(found)
            samples = [
                sample_of(
                    record(at, place, suggestion, self._sha256), self._tokenizer.encode, self._tokenizer.decode, self._sha256
                )
                for at, (place, suggestion) in enumerate(zip(found, drawn, strict=True))
            ]
            self._day = (number, *split(samples))
        return self._day[1], self._day[2]

    def _draw(self, found: Sequence[Place]) -> list[Drawn]:
        """The base's own suggestion at each place, one line of it, greedy: the same on every machine of a kind."""
        encode, decode = self._tokenizer.encode, self._tokenizer.decode
        prompts = [prompt_tokens(QWEN, place.context, encode) for place in found]
        lines = [text.split("\n")[0] for text in evaluate.greedy(self._policy, BASE_POLICY, prompts, DRAW_TOKENS, decode)]
        tokens = [tuple(encode(line)) for line in lines]
        texts = [Text(prompt, line, TEMPERATURE) for prompt, line in zip(prompts, tokens, strict=True)]
        scored = evaluate.log_probabilities(self._policy, BASE_POLICY, texts)
        return [Drawn(line, ids, tuple(found)) for line, ids, found in zip(lines, tokens, scored, strict=True)]


def _settings(given: TrainSettings, kind: Kind, seed: int) -> TrainSettings:
    settings = replace(given, seed=seed)
    if kind == "sign-flipped reward":
        # What was written instead is feedback too: its sign is turned as well.
        settings = replace(settings, coefficients=replace(settings.coefficients, hindsight=-settings.coefficients.hindsight))
    return settings


def _nights(options: Options, results: Results, progress: Progress) -> list[Row]:
    """For each shape of a night: how many of the intervals hold the truth."""
    found: list[Row] = []
    shapes = [(draws, move) for draws in VALUE_DRAWS for move in VALUE_MOVES]
    for done, (draws, move) in enumerate(shapes):
        progress("off-policy value, nights whose truth is known", done, len(shapes))
        what = f"value {draws} {move}"
        row = results.find(what, options.nights)
        if row is None:
            nights = [night(draws, move, options.seed * 100_000 + number) for number in range(options.nights)]
            row = results.add(
                {
                    "what": what, "number": options.nights, "draws": draws, "move": move,
                    "effective": sum(n.effective for n in nights) / len(nights),
                    **{by: sum(n.held(by) for n in nights) for by in ("snips", "doubly_robust", "gate")},
                }
            )  # fmt: skip
        found.append(row)
    return found


def report(rows: Sequence[Row], nights: Sequence[Row], model: str, options: Options) -> Report:
    table: list[Row] = []
    for kind in options.kinds:
        mine = [row for row in rows if row["what"] == kind]
        if not mine:
            continue
        refused = [row for row in mine if row["refused"]]
        table.append(_counted(f"{kind}: {'accepted' if kind == 'useful' else 'refused'}",
                              len(mine) - len(refused) if kind == "useful" else len(refused), len(mine)))  # fmt: skip
    for row in nights:
        what = f"interval holds the truth: {row['draws']} draws ({row['effective']:.0f} effective), moved by {row['move']}"
        table.append(_counted(what, row["gate"], options.nights))
    harmful = [row for row in rows if row["what"] in HARMFUL]
    useful = [row for row in rows if row["what"] == "useful"]
    held, all_nights = sum(row["gate"] for row in nights), options.nights * len(nights)
    goals = [
        Goal("harmful adapters accepted, %", _percent([not row["refused"] for row in harmful]), 5),
        Goal("useful adapters refused, %", _percent([bool(row["refused"]) for row in useful]), 20),
        Goal(
            "off-policy intervals that miss the true value, %", 100 * (all_nights - held) / all_nights if all_nights else None, 10
        ),
    ]
    remarks = [
        f"One adapter of each kind in each of {options.each} made-up projects of {options.suggestions} suggestions, trained from "
        "the base by the product's trainer and budget; steps 2 to 6, up to the first refusal. low, high: Wilson, 95 %.",
        *(_reasons(kind, [row for row in rows if row["what"] == kind]) for kind in options.kinds),
        "The interval is the union of both estimators' 90 % intervals, which is what the gate decides by. By itself "
        + "; ".join(
            f"{name} held the truth in {sum(row[by] for row in nights)} of {all_nights} nights"
            for by, name in (("snips", "SNIPS"), ("doubly_robust", "the doubly robust one"))
        )
        + ".",
    ]
    seconds = sum(row["train_seconds"] + row["gate_seconds"] for row in rows)
    if rows:
        remarks.append(
            f"{seconds / len(rows):.0f} s for one adapter in the mean, training and gate; {seconds / 60:.0f} min in all."
        )
    return Report("gate", model, table, goals, remarks)


def wilson(successes: int, count: int, z: float = LEVEL) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    share = successes / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _counted(what: str, successes: int, count: int) -> Row:
    low, high = wilson(successes, count)
    return {
        "what": what, "n": count, "times": successes, "%": 100 * successes / count, "low": 100 * low, "high": 100 * high
    }  # fmt: skip


def _percent(values: Sequence[bool]) -> float | None:
    return 100 * sum(values) / len(values) if values else None


def _reasons(kind: Kind, rows: Sequence[Mapping[str, Any]]) -> str:
    reasons = [name for row in rows for name in row["refused"]]
    counts = ", ".join(f"{name} {reasons.count(name)}" for name in dict.fromkeys(reasons))
    return f"{kind}: refused by {counts}." if counts else f"{kind}: never refused."
