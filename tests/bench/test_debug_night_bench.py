"""`tacit bench debug-night` with a tiny model, which mends nothing: it asks, reports, learns nothing from too little, goes on."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tacit.bench.infill_cases import data_folder
from tacit.cli.bench import bench
from tacit.learner import sandbox

DATA = data_folder()

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(sandbox.missing()), reason="no sandbox on this machine"),
    pytest.mark.skipif(not (DATA / "quixbugs.jsonl.gz").exists(), reason="TACIT_DATA names no folder with QuixBugs"),
]


def test_a_night_of_one_bug_changes_nothing_and_is_kept(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TACIT_DATA", str(DATA))
    folder, out = tmp_path / "night", tmp_path / "report.json"
    arguments = ["debug-night", "--train", "1", "--held-out", "1", "--candidates", "1", "--seed", "33", "--folder", str(folder)]
    arguments += ["--model", str(tiny_model), "--json", str(out)]
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    rows = {row["what"]: row for row in report["rows"]}
    assert rows["the other half, learned from"]["draws"] == 1 and rows["held-out half, before"]["bugs"] == 1
    assert json.loads((folder / "night.json").read_text())["state"] == "skipped"
    assert "1 labelled suggestions" in " ".join(report["remarks"])
    assert not list((folder / "after").glob("*")) and report["goals"][0]["value"] is None

    # What is done is not done again; another experiment needs another folder.
    answers = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.json")}
    assert CliRunner().invoke(bench, arguments).exit_code == 0
    assert answers == {path: path.stat().st_mtime_ns for path in folder.glob("*/*.json")}
    assert CliRunner().invoke(bench, [*arguments, "--seed", "7"]).exit_code != 0
