"""Bugs of benchmarks as small workspaces: what is shown, what is held back, and that the judge tells right from wrong."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tacit.bench import debug_tasks, go_programs, judging
from tacit.bench.debug_names import unresolved
from tacit.bench.debug_tasks import PACK, QUIXBUGS, judge, load, pack_task, quixbugs_task, sound
from tacit.learner import sandbox

PYTHON: dict[str, Any] = {
    "id": "Python/7",
    "language": "python",
    "prompt": 'import math\n\n\ndef half_up(x):\n    """ Half of x, rounded up.\n    """\n',
    "buggy_solution": "    return math.floor(x / 2)\n",
    "canonical_solution": "    return math.ceil(x / 2)\n",
    "test": '\n\ndef check(half_up):\n    assert half_up(3) == 2\n    assert math.isfinite(half_up(1)), "no"\n\ncheck(half_up)',
}
SCRIPT: dict[str, Any] = {
    "id": "JavaScript/7",
    "language": "js",
    "prompt": "/* Half of x, rounded up.\n  */\nconst halfUp = (x) => {\n",
    "buggy": "\nconst halfUp = (x) => {\n  return Math.floor(x / 2);\n}\n\n",
    "fixed": "\nconst halfUp = (x) => {\n  return Math.ceil(x / 2);\n}\n\n",
    "test": "const testHalfUp = () => {\n  console.assert(halfUp(3) === 2)\n}\ntestHalfUp()\n",
}
GO: dict[str, Any] = {
    "id": "Go/7",
    "language": "go",
    "prompt": 'import (\n    "math"\n)\n\n// Half of x, rounded up.\nfunc HalfUp(x float64) float64 {\n',
    "buggy_solution": "    return math.Floor(x / 2)\n}\n\n",
    "canonical_solution": "    return math.Ceil(x / 2)\n}\n\n",
    "test": (
        'func TestHalfUp(t *testing.T) {\n    assert := assert.New(t)\n    assert.Equal(2.0, HalfUp(3), "up")\n'
        '    assert.Equal(true, math.Abs(HalfUp(4)-2) < 1e-6)\n    assert.Equal([]string{}, strings.Fields(""))\n}\n\n'
    ),
}
QUIX: dict[str, Any] = {
    "id": "py/last",
    "language": "python",
    "buggy": "def last(a):\n    while a:\n        pass\n    return a\n",
    "fixed": "def last(a):\n    while a:\n        yield a.pop()\n",
    "testcases": [[[[1, 2]], [2, 1]], [[[9] * 9], [0]]],
    "pytest": (
        "import pytest\n\n\ndef test_last(input_data, expected):\n"
        "    if not pytest.run_slow and input_data == [[9, 9, 9, 9, 9, 9, 9, 9, 9]]:\n        pytest.skip()\n"
        "    assert list(last(*input_data)) == expected\n"
    ),
}


def test_the_file_is_documented_and_nothing_shown_holds_the_answer() -> None:
    for row, language in ((PYTHON, "python"), (SCRIPT, "javascript"), (GO, "go")):
        task = pack_task(row, language)
        assert "rounded up" in task.text and "floor" in task.text.lower() and "ceil" in task.reference.lower()
        assert not any("ceil" in text.lower() for text in (task.text, *task.others.values()))
        assert task.test_path in task.others and task.path not in task.others


def test_languages_of_a_problem_are_in_the_same_half_and_halves_are_both_there() -> None:
    assert pack_task(PYTHON, "python").half == pack_task(SCRIPT, "javascript").half
    halves = [pack_task({**PYTHON, "id": f"Python/{number}"}, "python").half for number in range(64)]
    assert 16 < halves.count("first") < 48


def test_cases_that_take_minutes_are_no_cases() -> None:
    test = quixbugs_task(QUIX, "").others["test_last.py"]
    assert "self.assertEqual(list(last([1, 2])), [2, 1])" in test and "9, 9" not in test


def test_languages_take_turns_and_what_is_missing_is_said(tmp_path: Path) -> None:
    with gzip.open(tmp_path / PACK, "wt", encoding="utf-8") as file:
        for row in [{**PYTHON, "id": f"Python/{number}"} for number in range(3)] + [SCRIPT, {**SCRIPT, "language": "php"}]:
            file.write(json.dumps(row) + "\n")
    tasks, absent = load(tmp_path)
    assert {task.language for task in tasks[:2]} == {"python", "javascript"} and len(tasks) == 4
    assert len(absent) == 1 and QUIXBUGS in absent[0] and "TACIT_DATA" in absent[0]
    assert [task.name for task in load(tmp_path, seed=1)[0]] == [task.name for task in tasks]


@pytest.mark.skipif(bool(sandbox.missing()), reason="programs run only in a sandbox")
def test_the_reference_passes_and_the_failing_test_says_what_a_developer_would_read() -> None:
    task = pack_task(PYTHON, "python")
    found = sound(task)
    assert found.why == "" and "AssertionError: 1 != 2" in found.output and 'File "test_solution.py"' in found.output
    assert not judge(task, "").passed and "Error" in judge(task, "").output
    # Left before the test: not passed.
    assert not judge(task, "raise SystemExit(0)\n" + task.reference).passed
    assert not judge(task, "import os\nos._exit(0)\n" + task.reference).passed


@pytest.mark.skipif(bool(sandbox.missing()), reason="programs run only in a sandbox")
def test_a_task_that_cannot_be_judged_is_not_sound() -> None:
    assert "reference fails" in sound(pack_task({**PYTHON, "canonical_solution": "    return x\n"}, "python")).why
    assert "buggy file passes" in sound(pack_task({**PYTHON, "buggy_solution": PYTHON["canonical_solution"]}, "python")).why


@pytest.mark.skipif(bool(sandbox.missing()), reason="programs run only in a sandbox")
def test_a_loop_is_broken_off_with_the_place_where_it_was() -> None:
    task = quixbugs_task(QUIX, "")
    quick = task.others[task.test_path].replace(f"ITIMER_PROF, {debug_tasks.TEST_SECONDS}", "ITIMER_PROF, 0.5")
    assert quick != task.others[task.test_path]
    found = judge(task, task.reference)
    assert found.passed
    looping = judge(replace(task, others={task.test_path: quick}), task.text)
    assert not looping.passed and "TimeoutError" in looping.output and 'File "last.py", line ' in looping.output


def test_javascript_says_which_assertion_failed() -> None:
    if sandbox.missing() or not judging.can_run("javascript"):
        pytest.skip(sandbox.missing() or "node is not installed")
    found = sound(pack_task(SCRIPT, "javascript"))
    assert found.why == "" and "console.assert(halfUp(3) === 2)" in found.output


def test_go_runs_the_datas_tests_without_the_module_that_they_name() -> None:
    if sandbox.missing() or not judging.can_run("go"):
        pytest.skip(sandbox.missing() or "Go is not installed")
    task = pack_task(GO, "go")
    found = sound(task)
    assert found.why == "", judge(task, task.reference).output
    assert (
        "solution_test.go:" in found.output and "not equal: expected 2, actual 1\n" in found.output and ": up\n" in found.output
    )
    # As there, an int is no float.
    other = replace(task, others=pack_task({**GO, "test": GO["test"].replace("2.0, ", "2, ")}, "go").others)
    assert "expected 2, actual 2" in judge(other, task.reference).output
    unknown = judge(task, task.text.replace("Floor(x", "Rnd(half(x)"))
    assert not unknown.passed
    assert unresolved("go", unknown.output, task.path) == ["undefined: math.Rnd", "undefined: half"]


def test_go_programs_import_what_they_use() -> None:
    bare = pack_task({**GO, "prompt": GO["prompt"].partition(")\n\n")[2]}, "go")
    assert all(text.startswith('package solution\n\nimport "math"\n//') for text in (bare.text, bare.reference))
    assert pack_task(GO, "go").text.count("import") == 1
    assert go_programs.imports('import (\n\t"math"\n)\nvar x = math.Pi + rand.Float64() + x.rand.Y + words.Z') == (
        'import "math/rand"\n'
    )
    assert judging.LANGUAGES["go"].prepare("func f() string { return fmt.Sprint(1) }").count('import "fmt"\n') == 1
