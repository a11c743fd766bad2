"""What a bench returns: goals with their bounds, percentiles that were measured; swap's check of who was serving."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tacit.bench.report import Goal, Report, percentile, spread
from tacit.bench.swap import Measured, _Answer


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (95, 10), (100, 10), (10, 1), (1, 1)])
def test_percentile_is_a_measured_value(percent: float, value: float) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value


def test_goal_without_a_measurement_is_missed() -> None:
    assert not Goal("g", None, 10).met
    assert Goal("g", 10.0, 10).met and not Goal("g", 10.1, 10).met


def test_report_has_the_shape_that_every_bench_has(tmp_path: Path) -> None:
    report = Report("latency", "m", [spread("a", [1.0, 2.0], "ms"), spread("none", [], "ms")], [Goal("g", 1.5, 1)], ["How."])
    report.write(tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    assert {"bench", "date", "version", "hardware", "model", "rows", "goals"} <= data.keys()
    assert data["goals"] == [{"name": "g", "value": 1.5, "bound": 1, "met": False}]
    assert data["rows"][1]["p50"] is None
    out = StringIO()
    console = Console(width=120, file=out)
    report.print(console)
    printed = out.getvalue()
    assert "missed" in printed and "How." in printed


def test_an_answer_by_a_policy_that_was_not_serving_is_found() -> None:
    measured = Measured(served=[(0.0, 10.0, "a"), (9.0, float("inf"), "b")])
    measured.answers = [_Answer(1, 2, "a"), _Answer(9.5, 9.7, "a"), _Answer(9.5, 9.7, "b"), _Answer(8, 12, "a")]
    assert measured.strangers() == 0
    measured.answers += [_Answer(1, 2, "b"), _Answer(11, 12, "a"), _Answer(1, 20, "base")]
    assert measured.strangers() == 3
