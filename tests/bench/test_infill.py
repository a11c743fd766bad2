"""`tacit bench infill`: every way answers the same holes, in every language that there is data for; missing data is said."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_benches import goals, rows, run

from tacit.bench.infill import WAYS, chosen
from tacit.bench.infill_cases import INFILLING, PACK
from tacit.bench.judging import can_run, passes
from tacit.learner import sandbox
from tacit.protocol.errors import BadRequest, Refused

HOLE = {
    "id": "SingleLineInfilling/Handmade/0/L1",
    "kind": "SingleLineInfilling",
    "language": "python",
    "prefix": "def double(x):\n",
    "middle": "    y = x + x\n",
    "suffix": "    return y\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
    "entry_point": "double",
}
PROGRAM = {
    "id": "Go/0",
    "language": "go",
    "prompt": "// Double adds x to itself.\nfunc Double(x int) int {\n",
    "canonical_solution": "    y := x + x\n    return y\n}\n",
    "test": "func TestDouble(t *testing.T) {\n    assert := assert.New(t)\n    assert.Equal(4, Double(2))\n}\n",
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data with one problem in each file."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, row in ((INFILLING, HOLE), (PACK, PROGRAM)):
        with gzip.open(folder / name, "wt", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    monkeypatch.setenv("TACIT_DATA", str(folder))
    return folder


@pytest.mark.timeout(300)
def test_all_ways_answer_the_same_holes(data: Path, tmp_path: Path, tiny_model: Path) -> None:
    report = run(tmp_path, "infill", "--single", "1", "--each", "1", "--model", str(tiny_model))
    found = rows(report)
    run_here, go = int(not sandbox.missing()), int(can_run("go"))
    for what, judged in (("HumanEval-Infilling single-line", run_here), ("Go", go), ("all sets", run_here + go)):
        figures = [found[f"{what}, {way}"] for way in WAYS]
        assert {figure["n"] for figure in figures} == {2 if what == "all sets" else 1}
        assert {figure["judged"] for figure in figures} == {judged}
        assert figures[0]["tokens"] >= figures[2]["tokens"] > 0
    assert goals(report)["points that raw is ahead, exact, Go"]["met"]
    only = any("Only exact match" in remark and "go" in remark for remark in report["remarks"])  # type: ignore[attr-defined]
    assert only is not bool(go)


def test_without_data_nothing_is_measured_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_DATA", str(tmp_path / "none"))
    # Before any model is looked for: what is missing is the data.
    command = [sys.executable, "-m", "tacit.cli", "bench", "infill", "--model", "no-such-model", "--json", str(tmp_path / "out")]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 2 and answer.stdout == "" and not (tmp_path / "out").exists()
    assert answer.stderr.count("\n") == 1
    assert all(part in answer.stderr for part in (INFILLING, PACK, str(tmp_path / "none"), "TACIT_DATA"))


def test_one_missing_file_is_left_out_and_said(data: Path) -> None:
    (data / PACK).unlink()
    plan = chosen(data, 1, 1, 1)
    assert [case.language for case in plan.cases] == ["python"]
    assert len(plan.absent) == 1 and PACK in plan.absent[0] and "TACIT_DATA" in plan.absent[0]
    with pytest.raises(BadRequest):
        chosen(data, 0, 1, 1)


def test_without_a_sandbox_no_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.missing.cache_clear()
    try:
        for language, program in (("python", f"open({str(tmp_path / 'ran')!r}, 'w')"), ("javascript", "process.exit(0)")):
            with pytest.raises(Refused, match="bubblewrap"):
                passes(language, program)
        assert not (tmp_path / "ran").exists()
    finally:
        sandbox.missing.cache_clear()


def test_a_program_of_another_language_is_judged_and_sees_no_home() -> None:
    if sandbox.missing() or not can_run("javascript"):
        pytest.skip(sandbox.missing() or "node is not installed")
    assert passes("javascript", "console.assert(1 + 1 === 2)") and not passes("javascript", "console.assert(1 + 1 === 3)")
    assert passes("python", "assert 1 + 1 == 2") and not passes("python", "assert 1 + 1 == 3")
    home = Path.home().resolve()
    files = json.dumps([path.name for path in home.iterdir() if path.is_file()])
    seen = f"{files}.some((name) => require('fs').existsSync({json.dumps(f'{home}/')} + name))"
    assert passes("javascript", f"console.assert(!{seen})")
    assert not passes("javascript", "require('fs').writeFileSync('/usr/planted', 'x')")
