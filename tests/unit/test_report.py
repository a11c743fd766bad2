"""The report of a run: every check with verdict, figure, interval and bound, for a person and for a program."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tacit.learner import gate, report
from tacit.learner.gate import Executed, Generated, HeldOut
from tacit.learner.run import examine
from tacit.learner.trial import Step

RUN: dict[str, Any] = {
    "run": "r1", "project": "p", "objective": "topr", "parent": "base", "adapter": "p@000001", "seconds": 61.0,
    "summary": "Said.", "state": "published",
}  # fmt: skip


def of(*checks: gate.Check, **more: Any) -> dict[str, Any]:
    return {**RUN, "checks": report.checks(checks), **more}


def test_every_verdict_is_said_as_what_it_is(tmp_path: Path) -> None:
    better = gate.perplexity([HeldOut(f"s{i}", f"f{i}", 10, -20.0, -15.0 - i % 2) for i in range(8)])
    worse = gate.execution([Executed(f"t{i}", True, i > 5) for i in range(24)])
    found = of(better, gate.value([]), gate.not_run("There is no bubblewrap."), worse)
    report.write(tmp_path, found)
    text = (tmp_path / "report.md").read_text()
    assert "- passed: held-out perplexity." in text
    assert "- **inconclusive**: off-policy value." in text and "It serves" not in text
    assert "- not run: execution. There is no bubblewrap." in text
    assert "- **REFUSED**: execution." in text and "Lost: t0, t1" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| held-out perplexity |")]
    figures = better.measured[0]
    assert f"{figures.value:.4g}" in row and f"{figures.low:.4g} to {figures.high:.4g}" in row and figures.bound in row

    stored = json.loads((tmp_path / "report.json").read_text())
    assert [c["verdict"] for c in stored["checks"]] == ["passed", "inconclusive", "not run", "refused"]
    assert stored["checks"][0]["measured"][0]["bound"] == figures.bound


def test_what_a_refusal_left_out_is_said() -> None:
    text = report.readable(of(gate.shown([Generated("a", "a", "")] * 9), state="refused", not_reached=["execution (step 3)"]))
    assert "- not reached: execution (step 3)." in text


def test_a_night_that_could_not_be_told_says_that_it_serves() -> None:
    text = report.readable(of(gate.value([]), gate.not_run("There is no bubblewrap.")))
    assert "**Inconclusive**" in text and "It serves" in text


async def test_the_first_refusal_ends_it() -> None:
    """What cannot be told, or not be run, does not; and nothing after a refusal is measured."""
    measured: list[str] = []

    def step(number: int, title: str, *checks: gate.Check) -> Step:
        def measure() -> list[gate.Check]:
            measured.append(title)
            return list(checks)

        return Step(number, title, measure)

    async def do(work: Callable[[], list[gate.Check]]) -> list[gate.Check]:
        return work()

    async def passed(checks: Sequence[gate.Check]) -> bool:
        return not any(check.refused for check in checks)

    steps = [
        step(5, "value", gate.value([])),
        step(3, "execution", gate.not_run("There is no bubblewrap.")),
        step(6, "forgetting", gate.forgetting([])),
        step(4, "completions", gate.shown([Generated("a", "a", "a")])),
    ]
    found: dict[str, Any] = {}
    assert not await examine(steps, do, passed, found)
    assert measured == ["value", "execution", "forgetting"]
    assert found["not_reached"] == ["completions (step 4)"] and list(found["gate_seconds"]) == measured
    assert await examine([*steps[:2], steps[3]], do, passed, rest := {}) and "not_reached" not in rest
