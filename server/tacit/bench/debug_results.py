"""Answers to debugging tasks as lines of a file, and the figures that are made of them. Pure but for that one file.

A line is one way's answer to one task, or what was found of a task. They are appended and synced one by one: a run that ends in
the middle is gone on with. What was asked is the line's key; lines with another key are left alone.
"""

import json
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from tacit.bench.report import Goal, percentile

Way = Literal["bare", "product"]
WAYS: Final[tuple[Way, ...]] = ("bare", "product")
OutcomeKind = Literal["fixed", "wrong", "withheld", "unusable", "late"]
"""fixed: the test passes. wrong: shown, and it does not. withheld: the product said that it has no fix. unusable: an answer
without a code block. late: the time was up."""
RESAMPLED = 2000
MORE_FIXED, FEWER_NAMES, PARITY = 1.42, 0.37, 0.7
"""Of issue 5: at least 42 % more bugs fixed, at least 63 % fewer names; the worst language at least 0.7 of the best."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Result:
    task: str
    problem: str
    language: str
    half: str
    way: Way
    outcome: OutcomeKind
    names: tuple[str, ...] | None
    """That nothing defines, of an answer that was shown. None: nothing was shown, or nobody could judge."""
    seconds: float
    tokens: int
    draws: int
    said: str
    """The whole answer, for those who look at failures."""
    nearer: float | None = None
    """Judged by likeness to the reference: the part of the way there. `fixed` is then: the same as the reference."""

    @property
    def fixed(self) -> bool:
        return self.outcome == "fixed"

    @property
    def shown(self) -> bool:
        return self.outcome in ("fixed", "wrong")


_T = TypeVar("_T", Result, dict[Way, Result])


class Results:
    """The file."""

    def __init__(self, path: Path | None, key: str) -> None:
        """key: what all of it depends on; path: None keeps nothing."""
        self._path, self._key = path, key
        self.answers: dict[tuple[str, Way], Result] = {}
        self.sound: dict[str, tuple[str, str]] = {}
        """Task: why it cannot be judged (empty: it can), and what its test says of the buggy file."""
        self._ended = True
        if path is not None and path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            self._ended = text.endswith("\n") or not text
            for line in text.split("\n"):
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            # The last line of a run that was killed.
            return
        if said.get("kind") == "task":
            self.sound[said["task"]] = (said["why"], said["output"])
        elif said.get("key") == self._key:
            known = {field.name for field in fields(Result)}
            names = said["names"]
            result = Result(**{**{k: v for k, v in said.items() if k in known}, "names": None if names is None else tuple(names)})
            self.answers[result.task, result.way] = result

    def add(self, result: Result) -> None:
        self.answers[result.task, result.way] = result
        self._append({"kind": "answer", "key": self._key, **asdict(result)})

    def found(self, task: str, why: str, output: str) -> None:
        self.sound[task] = (why, output)
        self._append({"kind": "task", "task": task, "why": why, "output": output})

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            if not self._ended:
                # Half a line, of a run that was killed.
                file.write("\n")
                self._ended = True
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def pairs(answers: Mapping[tuple[str, Way], Result], tasks: Iterable[str]) -> list[dict[Way, Result]]:
    """The tasks that both ways have answered, in order."""
    found = ({way: answers[task, way] for way in WAYS if (task, way) in answers} for task in tasks)
    return [pair for pair in found if len(pair) == len(WAYS)]


def rows(answered: Sequence[dict[Way, Result]], languages: Sequence[str], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each language, and all, a row for each way. names: of the languages, for people."""
    groups = [(names.get(one, one), [pair for pair in answered if pair["bare"].language == one]) for one in languages]
    groups.append(("all", list(answered)))
    return [_row(f"{name}, {way}", [pair[way] for pair in group]) for name, group in groups if group for way in WAYS]


def _row(what: str, results: Sequence[Result]) -> dict[str, Any]:
    low, high = interval(results, fixed_rate)
    per_answer = names_per_answer(results)
    return {
        "what": what,
        "n": len(results),
        "fixed %": round(100 * (fixed_rate(results) or 0), 1),
        "95 %": f"{100 * low:.0f} to {100 * high:.0f}",
        "shown, wrong %": round(100 * sum(one.outcome == "wrong" for one in results) / len(results), 1),
        "withheld": sum(one.outcome == "withheld" for one in results),
        "no code": sum(one.outcome == "unusable" for one in results),
        "late": sum(one.outcome == "late" for one in results),
        "names an answer": None if per_answer is None else round(per_answer, 3),
        "p50 s": round(percentile([one.seconds for one in results], 50) or 0.0, 1),
        "tokens": round(sum(one.tokens for one in results) / len(results)),
        "draws": round(sum(one.draws for one in results) / len(results), 2),
        "nearer %": None,
    }


def similar_rows(answered: Sequence[dict[Way, Result]]) -> list[dict[str, Any]]:
    """Of bugs that are judged by likeness: a row for each way. A fix that is not shown goes no part of the way."""
    found = []
    for way in WAYS if answered else ():
        results = [pair[way] for pair in answered]
        row: dict[str, Any] = dict.fromkeys(_row("", results))
        shown = [one.nearer or 0.0 for one in results]
        row |= {
            "what": f"DebugBench, the same as the reference, {way}",
            "n": len(results),
            "fixed %": round(100 * (fixed_rate(results) or 0), 1),
            "withheld": sum(one.outcome == "withheld" for one in results),
            "no code": sum(one.outcome == "unusable" for one in results),
            "late": sum(one.outcome == "late" for one in results),
            "tokens": round(sum(one.tokens for one in results) / len(results)),
            "nearer %": round(100 * sum(shown) / len(shown), 1),
        }
        found.append(row)
    return found


def goals(answered: Sequence[dict[Way, Result]], languages: Sequence[str]) -> list[Goal]:
    """Issue 5's. A ratio that cannot be computed is no ratio: nothing was measured."""
    product = [pair["product"] for pair in answered]
    by_language = {one: [result for result in product if result.language == one] for one in languages}
    rates = [rate for results in by_language.values() if (rate := fixed_rate(results)) is not None]
    ratio = fixed_ratio(answered)
    parity = max(rates) / min(rates) if rates and min(rates) > 0 else None
    return [
        Goal("bugs that bare fixes for one that the product fixes", 1 / ratio if ratio else None, round(1 / MORE_FIXED, 3)),
        Goal("unresolved names an answer, product over bare", names_ratio(answered), FEWER_NAMES),
        Goal("product's fixed rate, best language over worst", parity, round(1 / PARITY, 3)),
    ]


def remarks(answered: Sequence[dict[Way, Result]]) -> list[str]:
    """The goals' ratios with their intervals, in sentences."""
    found = []
    ratio = fixed_ratio(answered)
    if ratio is not None:
        low, high = interval(answered, fixed_ratio)
        found.append(
            f"The product fixes {100 * (ratio - 1):+.0f} % [{100 * (low - 1):+.0f}, {100 * (high - 1):+.0f}] against bare."
        )
    ratio = names_ratio(answered)
    if ratio is not None:
        low, high = interval(answered, names_ratio)
        found.append(f"Unresolved names an answer: {100 * (ratio - 1):+.0f} % [{100 * (low - 1):+.0f}, {100 * (high - 1):+.0f}].")
    return found


def fixed_rate(results: Sequence[Result]) -> float | None:
    return sum(one.fixed for one in results) / len(results) if results else None


def names_per_answer(results: Sequence[Result]) -> float | None:
    """Of the answers that were shown and judged."""
    judged = [len(one.names) for one in results if one.shown and one.names is not None]
    return sum(judged) / len(judged) if judged else None


def fixed_ratio(answered: Sequence[dict[Way, Result]]) -> float | None:
    """Of the product over bare."""
    bare = sum(pair["bare"].fixed for pair in answered)
    return sum(pair["product"].fixed for pair in answered) / bare if bare else None


def names_ratio(answered: Sequence[dict[Way, Result]]) -> float | None:
    """Of the product over bare, an answer."""
    bare = names_per_answer([pair["bare"] for pair in answered])
    product = names_per_answer([pair["product"] for pair in answered])
    return product / bare if bare and product is not None else None


def interval(sample: Sequence[_T], figure: Callable[[Sequence[_T]], float | None]) -> tuple[float, float]:
    """Of the bootstrap over problems: a problem's languages stand or fall together. Resamples without a figure are left out."""
    problems: dict[str, list[_T]] = {}
    for one in sample:
        problems.setdefault((one if isinstance(one, Result) else one["bare"]).problem, []).append(one)
    draw, groups = random.Random(1), list(problems.values())
    found = []
    for _ in range(RESAMPLED):
        value = figure([one for group in draw.choices(groups, k=len(groups)) for one in group])
        if value is not None:
            found.append(value)
    found.sort()
    if not found:
        return (0.0, 0.0)
    cut = int(len(found) * (1 - CONFIDENCE) / 2)
    return found[cut], found[-1 - cut]
