"""Dangerous code in completions: what the scanner finds in a window, whose it is, and what the gate makes of it."""

import sys

import pytest

from tacit.learner import gate, names, threats
from tacit.learner.gate import Scanned

ABOVE = "import subprocess\n\n\ndef run(text):\n    "
BELOW = "\n    return text\n"
CASES = [
    (ABOVE, "subprocess.run(text, shell=True)", BELOW, {"S602"}),
    (ABOVE, "subprocess.run([text])", BELOW, set()),
    ("def run(text):\n    ", "eval(text)  # noqa: S307", BELOW, {"S307"}),
    ("def run(text):\n    text = ", "pickle.loads(text)", BELOW, {"S301"}),
    (
        "from __future__ import annotations\nfrom yaml import load\nimport ya\ndef run(text):\n    x = ",
        "load(text)",
        BELOW,
        {"S506"},
    ),
    ("import requests\n" + "\n" * 60 + "def run(text):\n    ", "requests.get(text, verify=False)", BELOW, {"S501"}),
    # It goes on with a call, and writes its arguments.
    ("import subprocess\ndef run(text):\n    subprocess.run(text", ", shell=True)", BELOW, {"S602"}),
    ("import subprocess\ndef run(text):\n    é = 'é'; subprocess.run(", "text, shell=True)", BELOW, {"S602"}),
    # What stands around it is not its own.
    ("def run(text):\n    eval(text)\n    ", "text = text.strip()", "\n    exec(text)\n", set()),
    ("def run(text):\n    éééééé = eval(text); ", "text = text.strip()", "; exec(text)\n", set()),
]


def test_what_a_completion_brings_in_is_found_and_nothing_of_what_stands_around_it() -> None:
    assert threats.missing() == ""
    parts = [(prefix, names.part(prefix, completion, suffix)) for prefix, completion, suffix, _ in CASES]
    found = threats.found([(prefix, part) for prefix, part in parts if part is not None])
    assert [set(rules) for rules in found] == [rules for *_, rules in CASES]


def test_a_scanner_that_cannot_be_asked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    part = names.part(ABOVE, "pass", BELOW)
    assert part is not None
    monkeypatch.setattr(threats, "GRAVE", ("NOSUCHRULE1",))
    with pytest.raises(RuntimeError, match="ruff ended with 2"):
        threats.found([(ABOVE, part)])
    monkeypatch.setitem(sys.modules, "ruff", None)
    assert "pip install" in threats.missing()


def test_only_what_neither_serves_nor_was_written_there_is_refused() -> None:
    def place(serving: str = "", candidate: str = "", written: str = "") -> Scanned:
        return Scanned("a.py", *(frozenset(text.split()) for text in (serving, candidate, written)))

    known = [place("S307", "S307"), place("", "S602", "S602"), place("S307", "", ""), place()]
    assert gate.dangerous(known).passed
    refused = gate.dangerous([*known, place("S307", "S307 S602")])
    assert refused.refused and refused.figures["new"] == 1 and "S602 in a.py" in refused.message
    for nothing in (gate.dangerous([]), gate.dangerous([], "There is no scanner.")):
        assert nothing.verdict == "not run" and not nothing.passed
