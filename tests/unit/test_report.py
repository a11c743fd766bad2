"""The report of a run: every check with verdict, figure, interval and bound, for a person and for a program."""

import json
from pathlib import Path
from typing import Any

from tacit.learner import gate, report
from tacit.learner.gate import Executed, Generated, HeldOut

RUN: dict[str, Any] = {
    "run": "r1", "project": "p", "objective": "topr", "parent": "base", "adapter": "p@000001", "seconds": 61.0,
    "summary": "Said.", "state": "published",
}  # fmt: skip


def of(*checks: gate.Check, **more: Any) -> dict[str, Any]:
    return {**RUN, "checks": report.checks(checks), **more}


def test_every_verdict_is_said_as_what_it_is(tmp_path: Path) -> None:
    better = gate.perplexity([HeldOut(f"s{i}", f"f{i}", 10, -20.0, -15.0 - i % 2) for i in range(8)])
    worse = gate.execution([Executed(f"t{i}", True, i > 5) for i in range(24)])
    found = of(better, gate.value([]), gate.not_run("There is no bubblewrap."), worse, rollout="canary")
    report.write(tmp_path, found)
    text = (tmp_path / "report.md").read_text()
    assert "- passed: held-out perplexity." in text
    assert "- **inconclusive**: off-policy value." in text and "**For a canary only**" in text
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
    assert "- not reached: execution (step 3)." in text and "canary" not in text
