"""`tacit bench debug`: both ways answer the same bugs, what is kept is gone on from, and missing data or languages are said."""

import gzip
import json
from pathlib import Path

import pytest
from test_benches import goals, rows, run

from tacit.bench import judging
from tacit.bench.debug import Options, chosen
from tacit.bench.debug_similar import FILE
from tacit.bench.debug_tasks import PACK, QUIXBUGS
from tacit.learner import sandbox
from tacit.protocol.errors import BadRequest, Refused

PYTHON = {
    "id": "Python/7",
    "language": "python",
    "prompt": 'def double(x):\n    """ Twice x.\n    """\n',
    "buggy_solution": "    return x\n",
    "canonical_solution": "    return x + x\n",
    "test": "def check(double):\n    assert double(2) == 4\n\ncheck(double)",
}
WITHOUT_TEST = {
    "id": "python/faulty indexing/first-letter",
    "language": "python",
    "description": "Return the first letter.",
    "examples": ["Input: abc"],
    "buggy": "def first(text):\n    return text[1]\n",
    "fixed": "def first(text):\n    return text[0]  # the first\n",
}
UNSOUND = {**PYTHON, "id": "Python/8", "canonical_solution": "    return x - x\n"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data with one bug that can be judged and one that cannot."""
    if why := sandbox.missing():
        pytest.skip(why)
    folder = tmp_path / "data"
    folder.mkdir()
    with gzip.open(folder / PACK, "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in (UNSOUND, PYTHON)))
    with gzip.open(folder / FILE, "wt", encoding="utf-8") as file:
        file.write(json.dumps(WITHOUT_TEST) + "\n")
    monkeypatch.setenv("TACIT_DATA", str(folder))
    return folder


@pytest.mark.timeout(1500)
def test_both_ways_answer_the_same_bugs_and_a_second_run_asks_nothing(data: Path, tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "answers"
    told = ("debug", "--quick", "--candidates", "1", "--similar", "1", "--seconds", "1200", "--folder", str(folder))
    report = run(tmp_path, *told, "--model", str(tiny_model))
    found = rows(report)
    for way in ("bare", "product"):
        assert found[f"Python, {way}"]["n"] == found[f"all, {way}"]["n"] == 1
        # Nonsense words fix nothing, whoever is asked.
        assert found[f"all, {way}"]["fixed %"] == 0
        likened = found[f"DebugBench, the same as the reference, {way}"]
        assert (likened["n"], likened["fixed %"], likened["nearer %"]) == (1, 0, 0)
    assert found["all, product"]["withheld"] == 1 and found["all, bare"]["no code"] == 1
    assert len(goals(report)) == 3 and not any(goal["met"] for goal in goals(report).values())
    said = json.dumps(report["remarks"])
    assert QUIXBUGS in said
    kept = (folder / "answers.jsonl").read_text(encoding="utf-8")
    assert (
        rows(run(tmp_path, *told, "--model", str(tiny_model))) == found
        and (folder / "answers.jsonl").read_text(encoding="utf-8") == kept
    )


def test_what_cannot_be_asked_is_said(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest, match="haskell"):
        chosen(data, Options(languages=("python", "haskell")))
    with pytest.raises(BadRequest, match="TACIT_DATA"):
        chosen(tmp_path / "none", Options())
    monkeypatch.setattr(judging, "can_run", lambda language: language == "python")
    assert any("Java" in remark for remark in chosen(data, Options(languages=("python", "java"))).absent)
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.missing.cache_clear()
    try:
        with pytest.raises(Refused, match="bubblewrap"):
            chosen(data, Options())
    finally:
        sandbox.missing.cache_clear()
