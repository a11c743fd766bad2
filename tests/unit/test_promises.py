"""PROMISES.md is true: the tests that it names are there, they hold the counts that it says, and soak is where it says so."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROW = re.compile(r"\| (?P<promise>.*?) ?\| `(?P<file>[\w/.]+)::(?P<name>\w+)` \| (?P<quick>.*?) ?\| (?P<soak>.*?) ?\|")
LINES = (TESTS / "PROMISES.md").read_text(encoding="utf-8").splitlines()
ROWS = [match for line in LINES if (match := ROW.fullmatch(line))]
NUMBER = re.compile(r"\b\d[\d,]*\b")
COMPUTED = {
    # Five hosts, four origins, five tokens, two methods.
    "test_host_token_and_origin_are_each_asked_for": {"200"},
    # Two sizes of a night, each with one seed or with ten.
    "test_five_adversaries_in_a_hundred_cost_no_point": {"2", "20"},
    # From one to this many.
    "test_whatever_page_is_damaged": {"1"},
}
"""Numbers that stand in no test as they are."""


def test_every_line_of_a_table_is_a_row() -> None:
    lines = [line for line in LINES if line.startswith("|") and "::" in line]
    assert len(lines) == len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_the_test_is_there_with_these_counts(row: "re.Match[str]") -> None:
    source = (TESTS / row["file"]).read_text(encoding="utf-8")
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    (test,) = [node for node in found if node.name == row["name"]]
    for number in NUMBER.findall(row["quick"] + " " + row["soak"]):
        plain = number.replace(",", "")
        if plain not in COMPUTED.get(row["name"], set()):
            assert re.search(rf"\b{plain}\b", source.replace("_", "")), f"{number} is nowhere in {row['file']}"
    decorated = "\n".join(ast.unparse(decorator) for decorator in test.decorator_list)
    only = "pytestmark = [pytest.mark.soak" in source or re.search(r"^pytest\.mark\.soak$", decorated, re.MULTILINE) is not None
    assert ("soak" in decorated or only) is bool(row["soak"]), "soak, where it says so and nowhere else"
    assert only is not bool(row["quick"]), "what only `make soak` runs is none of `make test`"


def test_the_numbers_that_are_computed() -> None:
    team = (TESTS / "unit/test_team.py").read_text(encoding="utf-8")
    (hosts,), (origins,) = (re.findall(rf"^{name} = (\{{.*\}})$", team, re.MULTILINE) for name in ("HOSTS", "ORIGINS"))
    assert (len(ast.literal_eval(hosts)), len(ast.literal_eval(origins))) == (5, 4)
