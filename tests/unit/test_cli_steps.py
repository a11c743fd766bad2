"""What long commands say where no terminal shows how far they are."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tacit.cli import learning
from tacit.cli.commands import build
from tacit.cli.simulate import _shown
from tacit.cli.steps import Lines
from tacit.protocol.home import Home


def test_a_line_for_each_stage_that_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as lines:
        lines("exporting", 0, 1)
        assert capsys.readouterr().err == ""
        lines("training", 1, 8)
        assert capsys.readouterr().err.startswith("exporting: done, ")
        lines("training, loss 0.5", 7, 8)
        assert capsys.readouterr().err == ""
    out, err = capsys.readouterr()
    assert err.startswith("training, loss 0.5 (8): done, ") and err.count("\n") == 1 and out == ""


def test_what_an_error_has_broken_off_is_not_said_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), Lines() as lines:
        lines("exporting", 0, 1)
        raise ValueError
    assert capsys.readouterr().err == ""


@pytest.fixture
def learn(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """`tacit learn` with a run that does nothing but tell how far it is."""

    async def run(client: Any, home: Home, options: Any, progress: Callable[[str, int, int], None]) -> Any:
        progress("exporting", 0, 1)
        progress("training", 3, 8)
        return SimpleNamespace(state="skipped", message="too few", adapter="", run_id="r", report={}, report_path=None)

    async def nothing(client: Any) -> None: ...

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tacit.learner.run.learn", run)
    monkeypatch.setattr("tacit.learner.__main__.before_torch", nothing)
    monkeypatch.setattr("tacit.learner.give_way", lambda: None)
    monkeypatch.setattr(learning, "_ask", lambda call: asyncio.run(call(None)))
    return lambda *words: CliRunner().invoke(build(["learn"]), ["learn", *words])


def test_learning_says_first_what_it_does_then_what_is_done(learn: Callable[..., Result], tmp_path: Path) -> None:
    told = learn("--now")
    first, *rest = told.stderr.splitlines()
    assert first.startswith(f"Learning from what is recorded of the project in {tmp_path}") and "`tacit status`" in first
    assert [line.partition(": done")[0] for line in rest] == ["exporting", "training (8)"]
    assert told.stdout == "skipped: too few\n"
    assert learn("--dry-run", "--project", "abc").stderr.startswith("Looking at what a run for project abc would learn from.\n")


def test_learning_says_what_it_does_before_the_long_import(
    learn: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tacit.learner.run", None)
    told = learn("--now")
    assert isinstance(told.exception, ImportError)
    assert told.stderr.startswith(f"Learning from what is recorded of the project in {tmp_path}")


def test_a_script_is_told_nothing_but_the_outcome(learn: Callable[..., Result]) -> None:
    told = learn("--now", "--json")
    assert told.stderr == "" and json.loads(told.stdout)["state"] == "skipped"


def test_a_simulation_says_which_day_or_night_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with _shown() as (advance, ended):
        advance("seed 1, topr, night 2", 1, 4)
        assert capsys.readouterr().err == ""
        ended("seed 1, topr, night 2")
        assert capsys.readouterr() == ("", "seed 1, topr, night 2: done\n")
