"""What is asked of both ways, how answers are kept and summed up, and the names that judges find. Pure; no model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tacit.bench import debug_names, debug_results, debug_similar
from tacit.bench.debug_asking import frames, readings, request
from tacit.bench.debug_results import OutcomeKind, Result, Results, Way
from tacit.bench.debug_tasks import Task

TASK = Task(
    name="Made/1",
    problem="Made/1",
    language="python",
    path="solution.py",
    text="import math\n\n\ndef half(x):\n    return math.floor(x / 2)\n",
    reference="import math\n\n\ndef half(x):\n    return math.ceil(x / 2)\n",
    test_path="test_solution.py",
    others={"test_solution.py": "from solution import half\n\nprint(1)\nassert half(3) == 2\n"},
)
SAID = """Traceback (most recent call last):
  File "test_solution.py", line 4, in <module>
    assert half(3) == 2
AssertionError
"""


def result(task: str, way: Way, outcome: OutcomeKind, names: int | None = 0, **more: Any) -> Result:
    told = None if names is None else tuple(f"n{number}" for number in range(names))
    facts = {"problem": task, "language": "python", "half": "first", "seconds": 1.0, "tokens": 10, "draws": 1, "said": "", **more}
    return Result(task=task, way=way, outcome=outcome, names=told, **facts)


def pair(task: str, bare: OutcomeKind, product: OutcomeKind, names: tuple[int, int] = (0, 0), **more: Any) -> dict[Way, Result]:
    return {"bare": result(task, "bare", bare, names[0], **more), "product": result(task, "product", product, names[1], **more)}


def test_neither_way_is_shown_the_answer_and_the_product_gets_the_failing_test() -> None:
    asked = request(TASK, SAID, Path("/somewhere"), seed=1, seconds=5, candidates=2)
    assert "ceil" not in asked.model_dump_json() and asked.text == TASK.text and asked.trace == SAID
    (snippet,) = frames(TASK, SAID, Path("/somewhere"))
    assert (snippet.path, snippet.kind, snippet.first_line) == ("test_solution.py", "frame", 0) and "half(3) == 2" in snippet.text
    assert frames(TASK, "no trace", Path("/somewhere")) == []


def test_without_a_test_the_developer_marks_the_file_and_says_what_is_wrong() -> None:
    task = replace(TASK, test_path="", others={}, words="It should round up.")
    asked = request(task, "", Path("/somewhere"), seed=1, seconds=5, candidates=1)
    assert asked.trace == "" and asked.turns[0].text == task.words
    assert asked.selection is not None and (asked.selection.start, asked.selection.end) == (0, len(task.text))


def test_likeness_is_the_part_of_the_way_to_the_reference_whatever_comments_say() -> None:
    assert debug_similar.same(TASK, TASK.reference.replace("2)", "2)  # up")) and not debug_similar.same(TASK, TASK.text)
    assert debug_similar.nearer(TASK, TASK.reference) == 1 and debug_similar.nearer(TASK, TASK.text) == 0
    two = replace(TASK, text=TASK.text.replace("half", "haff").replace("import math", "import meth"))
    halfway = two.text.replace("meth", "math")
    assert 0 < debug_similar.nearer(two, halfway) < 1 and -1 <= debug_similar.nearer(TASK, "x = 1\n") < 0


def test_a_bare_answer_is_read_as_the_file_and_as_the_function_in_its_place() -> None:
    whole, pasted = readings(TASK, "Here:\n```python\ndef half(x):\n    return math.ceil(x / 2)\n```\n")
    assert "import math" not in whole and pasted == TASK.reference
    assert readings(TASK, f"```python\n{TASK.reference}```\n") == (TASK.reference,)
    assert readings(TASK, "It should round up.") == ()


def test_answers_are_gone_on_from_and_those_to_other_questions_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    results = Results(path, "key")
    results.found("a", "", "output")
    results.add(result("a", "bare", "wrong", 2))
    with path.open("a") as file:
        # A run that was killed while it wrote.
        file.write('{"kind": "answer", "key": "ke')
    again = Results(path, "key")
    assert again.answers == {("a", "bare"): result("a", "bare", "wrong", 2)} and again.sound == {"a": ("", "output")}
    again.add(result("b", "bare", "fixed"))
    assert set(Results(path, "key").answers) >= {("a", "bare"), ("b", "bare")}
    assert Results(path, "another model").answers == {} and Results(path, "another model").sound == again.sound


def test_goals_are_the_issue_s_and_only_tasks_that_both_answered_count() -> None:
    answered = [pair("a", "fixed", "fixed", (1, 0)), pair("b", "wrong", "fixed", (3, 1)), pair("c", "wrong", "withheld", (0, 0))]
    answers = {(one.task, way): one for both in answered for way, one in both.items()}
    answers["d", "bare"] = result("d", "bare", "fixed")
    assert debug_results.pairs(answers, "abcd") == answered
    fixed, names, parity = debug_results.goals(answered, ["python"])
    assert (fixed.value, fixed.bound, fixed.met) == (0.5, 0.704, True)
    # Four names in three answers against one in two: what is withheld shows none.
    assert names.value == pytest.approx((1 / 2) / (4 / 3)) and names.bound == 0.37 and not names.met
    assert parity.value == 1.0
    half = [pair("e", "fixed", "fixed", language="java"), pair("f", "wrong", "wrong", language="java")]
    assert debug_results.goals([*answered, *half], ["python", "java"])[2].value == pytest.approx((2 / 3) / (1 / 2))


def test_nothing_measured_is_no_goal_met() -> None:
    none_fixed = [pair("a", "wrong", "withheld")]
    assert [goal.met for goal in debug_results.goals(none_fixed, ["python"])] == [False, False, False]
    assert [goal.met for goal in debug_results.goals([], ["python"])] == [False, False, False]


def test_rows_count_what_was_shown_wrong_withheld_and_without_code() -> None:
    answered = [
        pair("a", "unusable", "withheld", (9, 9)),
        pair("b", "wrong", "fixed", (2, 0)),
        pair("c", "late", "wrong", (9, 1)),
    ]
    bare, product, *_ = debug_results.rows(answered, ["python"], {"python": "Python"})
    assert (bare["what"], bare["fixed %"], bare["shown, wrong %"], bare["no code"], bare["late"]) == (
        "Python, bare",
        0.0,
        33.3,
        1,
        1,
    )
    assert (product["fixed %"], product["withheld"], product["names an answer"], bare["names an answer"]) == (33.3, 1, 0.5, 2.0)


def test_the_interval_is_over_problems_not_over_tasks() -> None:
    # Twenty tasks of two problems, one always right, one never: what is known is that of two, not of twenty.
    results = [result(f"{problem}{number}", "bare", kind, problem=problem) for problem, kind in _TWO for number in range(10)]
    assert debug_results.interval(results, debug_results.fixed_rate) == (0.0, 1.0)
    apart = [result(f"{number}", "bare", "fixed" if number % 2 else "wrong") for number in range(20)]
    low, high = debug_results.interval(apart, debug_results.fixed_rate)
    assert 0.2 < low < 0.5 < high < 0.8


_TWO: tuple[tuple[str, OutcomeKind], ...] = (("a", "fixed"), ("b", "wrong"))


@pytest.mark.parametrize(
    ("language", "output", "names"),
    [
        (
            "cpp",
            "In file included from t.cpp:1:\nsolution.cpp:9:3: error: 'foo' was not declared in this scope; did you mean 'for'?\n"
            "solution.cpp:9:9: error: 'class std::vector<int>' has no member named 'frob'\n"
            "t.cpp:3:1: error: 'half' was not declared in this scope\n",
            ["foo", "frob"],
        ),
        (
            "java",
            "Solution.java:5: error: cannot find symbol\n    s.frob();\n     ^\n  symbol:   method frob()\n  location: class S\n"
            "Solution.java:1: error: package a.b does not exist\n"
            "Main.java:9: error: cannot find symbol\n    x\n    ^\n  symbol: variable x\n",
            ["method frob()", "package a.b does not exist"],
        ),
        (
            "rust",
            "error[E0425]: cannot find function `foo` in this scope\n --> solution.rs:3:5\n\n"
            "error[E0599]: no method named `frob` found for struct `Vec<i32>`\n --> solution.rs:4:5\n\n"
            "error[E0308]: mismatched types\n --> solution.rs:5:5\n",
            ["foo", "frob"],
        ),
        (
            "javascript",
            "ReferenceError: foo is not defined\n    at half (solution.js:2:3)\n    at Object.<anonymous> (t.js:3:1)\n",
            ["foo"],
        ),
        ("javascript", "TypeError: a.frob is not a function\n    at half (solution.js:2:3)\n", ["a.frob"]),
        # The test's, not the fix's.
        ("javascript", "TypeError: half is not a function\n    at Object.<anonymous> (t.js:3:1)\n", []),
    ],
)
def test_names_that_nothing_defines_are_those_of_the_fix_alone(language: str, output: str, names: list[str]) -> None:
    path = {"cpp": "solution.cpp", "java": "Solution.java", "rust": "solution.rs", "javascript": "solution.js"}[language]
    assert debug_names.unresolved(language, output, path) == names


def test_python_is_judged_by_basedpyright_and_what_was_missing_before_is_not_counted() -> None:
    if not debug_names.installed():
        pytest.skip("basedpyright is not installed")
    before = replace(TASK, text="import nothing\n" + TASK.text)
    text = before.text + "\n\ndef other():\n    return mathh.floor(1) + math.frobnicate() + nothing.a + half(1)\n"
    found = debug_names.invented(before, text, "", "")
    assert len(found) == 2 and "mathh" in found[0] and "frobnicate" in found[1]


def test_lines_of_the_file_are_json_and_hold_the_whole_answer(tmp_path: Path) -> None:
    Results(tmp_path / "a", "key").add(result("a", "product", "withheld", None, said="why\u2028not"))
    (line,) = (tmp_path / "a").read_text(encoding="utf-8").strip().split("\n")
    assert json.loads(line) | {"key": "", "kind": ""} and json.loads(line)["said"] == "why\u2028not"
