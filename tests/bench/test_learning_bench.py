"""`tacit bench learning`: its size and its arms. A run takes most of an hour."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tacit.bench import learning
from tacit.cli.bench import bench
from tacit.learner.simulate.sizing import FEWEST, Pace, places, seconds
from tacit.protocol.errors import TacitError


@pytest.mark.parametrize("minutes", [60, 120, 600])
def test_the_size_fits_the_time_and_a_slow_machine_is_told(minutes: float) -> None:
    wanted = learning.options("auto", ["a/b"])
    fast, slow = Pace(1.0, 0.5), Pace(30.0, 20.0)
    count = places(wanted, minutes, fast)
    assert seconds(wanted, count, fast) <= 60 * minutes < seconds(wanted, count + 1, fast)
    assert places(wanted, 1, slow) == FEWEST and seconds(wanted, FEWEST, slow) > 60
    assert seconds(replace(wanted, seeds=1), 20, fast) < seconds(wanted, 20, fast) < seconds(wanted, 20, slow)


def test_its_arms_are_those_that_topr_is_to_beat_and_controls() -> None:
    wanted = learning.options("auto", ["a/b"])
    wanted.check()
    assert {"sft", "rwr", "topr", "random", "shuffled"} < set(wanted.arms) and {"kto", "trl-kto"} & set(wanted.arms)
    assert (wanted.nights, wanted.seeds) == (5, 3)


def test_without_the_data_it_says_where_they_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_DATA", str(tmp_path / "none"))
    result = CliRunner().invoke(bench, ["learning", "--quick"])
    assert isinstance(result.exception, TacitError)
    assert "TACIT_DATA" in str(result.exception) and str(tmp_path) in str(result.exception)
