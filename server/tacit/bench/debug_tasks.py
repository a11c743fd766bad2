"""Bugs of public benchmarks as an editor would show them, and whether a file mends one. Reads the data folder; runs programs only
through `judging`, in the sandbox.

QuixBugs (jkoppel/QuixBugs, MIT) and HumanEvalPack-Fix (bigcode/humanevalpack, MIT), one JSON object a line, gzipped. A task is a
small workspace: the file with the bug, which has its documentation in it, and the failing test beside it. The reference is for
the judge alone. A task counts only if the reference passes and the buggy file fails here.
"""

import ast
import gzip
import hashlib
import json
import random
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tacit.bench import go_programs, judging
from tacit.learner import sandbox

QUIXBUGS, PACK = "quixbugs.jsonl.gz", "humanevalpack_fix.jsonl.gz"
LANGUAGES: Final = ("python", "javascript", "java", "cpp", "rust", "go")
"""LSP ids of those that can be judged."""
CPU_SECONDS, WALL_SECONDS = 30, 600.0
"""Of each process; of all steps. A busy machine is not a wrong answer."""
TEST_SECONDS = 5
"""CPU time after which a Python test that loops is broken off, with the place where it was."""
MEMORY: Final = 2 << 30

Half = Literal["first", "second"]

_PACK_NAMES: Final = {"python": "python", "js": "javascript", "java": "java", "cpp": "cpp", "rust": "rust", "go": "go"}
_FILES: Final = {
    "python": ("solution.py", "test_solution.py"),
    "javascript": ("solution.js", "test_solution.js"),
    "java": ("Solution.java", "Main.java"),
    "cpp": ("solution.cpp", "test_solution.cpp"),
    "rust": ("solution.rs", "test_solution.rs"),
    "go": ("solution.go", "solution_test.go"),
}
"""The file with the bug, and the test's."""


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    """Unique: `QuixBugs/gcd`, `HumanEvalPack/Java/12`."""
    problem: str
    """The same for every language that a problem comes in."""
    language: str
    """LSP id."""
    path: str
    """Of the buggy file, relative to the workspace."""
    text: str
    """The buggy file."""
    reference: str
    """The file as it should be. Nobody is shown it."""
    test_path: str
    """Empty: there is none."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Every other file of the workspace by name, the test among them."""
    words: str = ""
    """What a developer says is wrong, where no test does."""

    @property
    def half(self) -> Half:
        """By the problem, so that no language tells about another one's other half."""
        return "first" if hashlib.sha256(self.problem.encode()).digest()[0] % 2 == 0 else "second"


@dataclass(frozen=True, slots=True)
class Outcome:
    passed: bool
    output: str
    """What the test said, with paths relative to the workspace: what a developer sees below the editor."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Whether a task can be judged here."""

    why: str
    """Empty: it can. Else what is wrong with it."""
    output: str
    """Of the test with the buggy file."""


def load(folder: Path, languages: tuple[str, ...] = LANGUAGES, seed: int = 1) -> tuple[list[Task], list[str]]:
    """All tasks in these languages, ordered by the seed, languages in turn; and a sentence about each file that is missing."""
    absent = [
        f"{name} is not in {folder} (TACIT_DATA names another folder): its bugs were left out."
        for name in (QUIXBUGS, PACK)
        if not (folder / name).is_file()
    ]
    found: dict[str, list[Task]] = {}
    if (folder / PACK).is_file():
        for row in _rows(folder / PACK):
            language = _PACK_NAMES.get(row["language"], "")
            if language in languages:
                found.setdefault(language, []).append(pack_task(row, language))
    if (folder / QUIXBUGS).is_file() and "python" in languages:
        rows = list(_rows(folder / QUIXBUGS))
        node = next((row["buggy"] for row in rows if row["id"] == "py/node"), "")
        found["quixbugs"] = [quixbugs_task(row, node) for row in rows if row["id"] != "py/node"]
    orders = [random.Random(f"{seed}/{key}").sample(tasks, len(tasks)) for key, tasks in found.items()]
    # Python's two sources are one language: they take turns within its share.
    python = [tasks for tasks in orders if tasks and tasks[0].language == "python"]
    others = [tasks for tasks in orders if tasks and tasks[0].language != "python"]
    return _by_turns([_by_turns(python), *others]), absent


def judge(task: Task, text: str) -> Outcome:
    """Run the task's test with `text` as its file. Refused, in a sentence, without a sandbox; ask `judging.can_run` first."""
    files = {**task.others, task.path: text}
    mark = ""
    if task.language in ("python", "javascript"):
        # Said at the very end: a file that leaves early has not passed.
        mark = secrets.token_hex(16)
        test = files[task.test_path]
        say = f'\nconsole.log("{mark}")\n'
        if task.language == "python":
            test = test.removesuffix(_RUN) + _RUN.replace("unittest", "program = unittest").replace("(", "(exit=False, ")
            say = f'    print("{mark}" if program.result.wasSuccessful() else "")\n'
        files[task.test_path] = test + say
    addresses = MEMORY if task.language == "python" else judging.LANGUAGES[task.language].addresses
    steps = _steps(task.language, task.test_path)
    ran = judging.run(files, steps, addresses, cpu_seconds=CPU_SECONDS, wall_seconds=WALL_SECONDS)
    said = ran.output.replace(f"{judging.FOLDER}/", "")
    said = (said.replace(mark, "") if mark else said).strip()
    passed = ran.ok and mark in ran.output
    return Outcome(
        passed, said or ("" if passed else "The test said nothing: it crashed, or was broken off because it took too long.")
    )


def sound(task: Task) -> Sound:
    """Whether the reference passes and the buggy file fails. Runs both."""
    buggy = judge(task, task.text)
    if buggy.passed:
        return Sound("The buggy file passes its test here.", buggy.output)
    right = judge(task, task.reference)
    return Sound("" if right.passed else "The reference fails its test here.", buggy.output)


def pack_task(row: Mapping[str, Any], language: str) -> Task:
    """One row of HumanEvalPack-Fix, documented."""
    path, test_path = _FILES[language]
    if language in ("python", "java", "go"):
        text, reference = row["prompt"] + row["buggy_solution"], row["prompt"] + row["canonical_solution"]
    else:
        comment = _comment(row["prompt"])
        text, reference = (comment + row[key].strip("\n") + "\n" for key in ("buggy", "fixed"))
    if language == "rust":
        text, reference = (judging.without_crates(one) for one in (text, reference))
    if language == "javascript":
        exports = f"\nmodule.exports = {{ {', '.join(_script_names(reference))} }};\n"
        text, reference = text + exports, reference + exports
    if language == "go":
        # Of some rows the imports are missing.
        head = f"package solution\n\n{go_programs.imports(reference)}"
        text, reference = (f"{head}{one.strip()}\n" for one in (text, reference))
    test = row["test"].strip("\n") + "\n"
    files = go_programs.test_files(test) if language == "go" else {test_path: _test_of(language, path, test, reference)}
    number = row["id"].partition("/")[2]
    return Task(f"HumanEvalPack/{row['id']}", f"HumanEval/{number}", language, path, text, reference, test_path, files)


def _test_of(language: str, path: str, test: str, reference: str) -> str:
    if language == "python":
        return _python_test(test, reference)
    if language == "javascript":
        return _script_test(test, reference)
    if language == "java":
        return _java_test(test, reference)
    return (f'#include "{path}"\n' if language == "cpp" else f'include!("{path}");\n') + test


def quixbugs_task(row: Mapping[str, Any], node: str) -> Task:
    """One row of QuixBugs. node: the module that its graph programs' tests import."""
    name = row["id"].partition("/")[2]
    test = _cases(name, row) if row["testcases"] else _graph_test(name, row["pytest"])
    others = {f"test_{name}.py": test} | ({"node.py": node} if "from node import" in test else {})
    return Task(
        f"QuixBugs/{name}", f"QuixBugs/{name}", "python", f"{name}.py", row["buggy"], row["fixed"], f"test_{name}.py", others
    )


def _steps(language: str, test_path: str) -> tuple[tuple[str, ...], ...]:
    if language == "python":
        return ((sandbox.interpreter(), "-s", "-E", "-S", "-B", test_path),)
    if language == "javascript":
        return (("node", "--max-old-space-size=512", test_path),)
    if language == "java":
        compiler, *rest = judging.LANGUAGES["java"].steps
        return ((*compiler[:-1], _FILES["java"][1], _FILES["java"][0]), *rest)
    if language == "go":
        (test,) = judging.LANGUAGES["go"].steps
        return ((*test[:-1], "."),)
    return tuple(
        tuple(test_path if part == judging.LANGUAGES[language].file else part for part in step)
        for step in judging.LANGUAGES[language].steps
    )


# Tests, as a project has them

_HEAD: Final = "import signal\nimport unittest\n"
_UNITTEST: Final = f"""
def late(*_):
    raise TimeoutError("the test had not ended after {TEST_SECONDS} seconds")


class Test(unittest.TestCase):
    def setUp(self):
        signal.signal(signal.SIGPROF, late)
        signal.setitimer(signal.ITIMER_PROF, {TEST_SECONDS})

"""
_RUN: Final = "    unittest.main(failfast=True)\n"
_MAIN: Final = f'\n\nif __name__ == "__main__":\n{_RUN}'


def _python_test(test: str, reference: str) -> str:
    """HumanEval's `check` with unittest's assertions, which say both values."""
    tree = ast.parse(reference)
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    used = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
    names = ", ".join(name for name in defined if name in used)
    body = _saying(test).rstrip("\n")
    call = body[body.rindex("\ncheck(") :].strip() if "\ncheck(" in body else ""
    body = body.removesuffix(call).strip("\n")
    heads = "\n".join([*imports, f"from solution import {names}"])
    method = f"    def test(self):\n        {call}\n"
    return f"{_HEAD}{heads}\n\ncase = unittest.TestCase()\n\n\n{body}\n\n{_UNITTEST}{method}{_MAIN}"


def _saying(test: str) -> str:
    """`assert A == B` as `case.assertEqual(A, B)`, where it stands."""
    lines = test.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = test.encode()
    for node in sorted((one for one in ast.walk(ast.parse(test)) if isinstance(one, ast.Assert)), key=lambda one: -one.lineno):
        compared = node.test
        if isinstance(compared, ast.Compare) and len(compared.ops) == 1 and isinstance(compared.ops[0], ast.Eq):
            left, right = (
                ast.get_source_segment(test, part) or ast.unparse(part) for part in (compared.left, compared.comparators[0])
            )
            first, last = (
                starts[node.lineno - 1] + node.col_offset,
                starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0),
            )
            data = data[:first] + f"case.assertEqual({left}, {right})".encode() + data[last:]
    return data.decode()


def _cases(name: str, row: Mapping[str, Any]) -> str:
    """QuixBugs' cases as calls, without those that its test skips because they take minutes."""
    tree = ast.parse(row["pytest"])
    slow = [
        ast.literal_eval(node.comparators[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == "input_data"
    ]
    checked = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)][-1].test
    assert isinstance(checked, ast.Compare)
    expression = ast.unparse(checked.left)
    lines = []
    for given, expected in row["testcases"]:
        arguments = given if isinstance(given, list) else [given]
        if arguments in slow or given in slow:
            continue
        call = expression.replace("*input_data", ", ".join(map(repr, arguments)))
        if "approx" in ast.unparse(checked.comparators[0]):
            lines.append(f"        self.assertAlmostEqual({call}, {expected!r}, delta={arguments[-1]!r})")
        else:
            lines.append(f"        self.assertEqual({call}, {expected!r})")
    body = "\n".join(lines)
    return f"{_HEAD}from {name} import {name}\n\n{_UNITTEST}    def test_{name}(self):\n{body}\n{_MAIN}"


def _graph_test(name: str, test: str) -> str:
    """QuixBugs' own test functions, which build graphs."""
    kept = [
        ast.get_source_segment(test, node) or ""
        for node in ast.parse(test).body
        if not isinstance(node, ast.If | ast.Import) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    functions = re.findall(r"^def (test\w*)\(", test, re.MULTILINE)
    methods = "\n".join(f"    def {function}(self):\n        {function}()\n" for function in functions)
    heads = "\n".join(one for one in kept if one.startswith(("from ", "import ")))
    bodies = "\n\n\n".join(one for one in kept if not one.startswith(("from ", "import ")))
    return f"{_HEAD}from {name} import {name}\n{heads}\n\n\n{bodies}\n\n{_UNITTEST}{methods}{_MAIN}"


def _script_names(reference: str) -> list[str]:
    return list(
        dict.fromkeys(re.findall(r"^(?:const|let|var|(?:async )?function\*?) +([A-Za-z_$][\w$]*)", reference, re.MULTILINE))
    )


def _script_test(test: str, reference: str) -> str:
    names = [name for name in _script_names(reference) if re.search(rf"(?<![\w$.]){re.escape(name)}(?![\w$])", test)]
    head = f"const {{ {', '.join(names)} }} = require('./solution.js');\n"
    # Node's console.assert only prints.
    return f"{head}console.assert = require('assert').ok;\n\n{test}"


def _java_test(test: str, reference: str) -> str:
    imports = "".join(line + "\n" for line in reference.splitlines() if line.startswith("import ") and f"{line}\n" not in test)
    return f"{imports}\n{test}"


def _comment(prompt: str) -> str:
    """The comment that documents a function, if its prompt has one before it."""
    block = re.search(r"/\*.*?\*/[ \t]*\n", prompt, re.DOTALL)
    return block[0] if block is not None else ""


def _by_turns(groups: list[list[Task]]) -> list[Task]:
    longest = max((len(group) for group in groups), default=0)
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
