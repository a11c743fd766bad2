"""Holes for `tacit bench infill`: dug as an editor shows them, the same for a seed; programs are judged by running them."""

import gzip
import json
import os
import random
import socket
import tempfile
from pathlib import Path

import psutil
import pytest

from tacit.bench import judging
from tacit.bench.infill_cases import INFILLING, KINDS, PACK, Case, dig, several_languages, single_lines
from tacit.learner import sandbox

SOLUTION = "    let n = 0;\n    for (const x of xs) {\n        n += weigh(x, 1);\n        n -= 1;\n    }\n    return n;\n}\n"
ROW = {"id": "JavaScript/0", "language": "js", "prompt": "const f = (xs) => {\n", "canonical_solution": SOLUTION, "test": "f([])"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_filled_hole_is_the_program(kind: str) -> None:
    for seed in range(20):
        case = dig(ROW, kind, random.Random(seed))  # type: ignore[arg-type]
        if case is None:
            # The line that was drawn has no second token.
            assert kind == "rest"
            continue
        assert case.middle.strip()
        assert case.prefix + case.middle + case.suffix == ROW["prompt"] + SOLUTION
        # The line's end is below the cursor, the line's indentation above it.
        assert case.suffix.startswith("\n") and not case.middle.startswith((" ", "\n"))
        if kind == "block":
            assert case.middle == "n += weigh(x, 1);\n        n -= 1;"


def test_no_hole_where_there_is_no_place_for_one() -> None:
    assert dig({**ROW, "canonical_solution": "    return weigh(1);\n}\n"}, "block", random.Random(1)) is None


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_samples_are_the_seeds_and_spread_over_problems(tmp_path: Path) -> None:
    hole = {"kind": "SingleLineInfilling", "prefix": "a\n", "suffix": "c\n", "middle": "b\n", "test": "", "entry_point": "f"}
    _write(tmp_path / INFILLING, [{**hole, "id": f"S/HumanEval/{p}/L{line}"} for p in range(5) for line in range(4)])
    _write(tmp_path / PACK, [{**ROW, "id": f"JavaScript/{number}"} for number in range(9)])
    chosen = single_lines(tmp_path, 5, 1)
    assert len({case.name.rsplit("/", 1)[0] for case in chosen}) == 5
    assert chosen == single_lines(tmp_path, 5, 1) != single_lines(tmp_path, 5, 2)
    assert (chosen[0].suffix, chosen[0].middle) == ("\nc\n", "b")
    several = several_languages(tmp_path, 6, 1)
    assert [case.kind for case in several] == [*KINDS, *KINDS]
    assert several[:3] == several_languages(tmp_path, 3, 1)


@pytest.mark.parametrize(
    ("language", "right", "wrong"),
    [
        ("python", "x = 1\nassert x == 1", "assert False"),
        ("python", "print('x' * 10)", "x = bytearray(1 << 31)"),
        ("python", "import os\nassert 'TACIT_HOME' not in os.environ", "import os\nos.kill(os.getpid(), 9)"),
        ("javascript", "console.assert(1 === 1)", "console.assert(1 === 2)"),
        ("java", "public class Main { public static void main(String[] a) {} }", "public class Main { int x = ; }"),
        ("cpp", "int main() { return 0; }", "int main() { return 1; }"),
        ("go", *(f"func f() int {{ return {n} }}\nfunc TestF(t *testing.T) {{ assert.New(t).Equal(1, f()) }}" for n in (1, 2))),
        ("rust", "use md5;\nfn main() {}\n#[test]\nfn t() { assert!(true) }", "fn main() {}\n#[test]\nfn t() { assert!(false) }"),
    ],
)
def test_programs_are_judged_by_running_them(language: str, right: str, wrong: str) -> None:
    if why := sandbox.missing():
        pytest.skip(why)
    if not judging.can_run(language):
        pytest.skip(f"no toolchain for {language} is installed")
    assert judging.passes(language, right)
    assert not judging.passes(language, wrong)


CPP = """
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main() { %s; }
"""
REACH = {
    "a file of the host": 'return open("FOLDER/secret", O_RDONLY) >= 0',
    "the accounts": 'return open("/etc/passwd", O_RDONLY) >= 0',
    "a socket of the host": """int s = socket(AF_UNIX, SOCK_STREAM, 0); sockaddr_un to = {AF_UNIX, "FOLDER/socket"};
        return connect(s, (sockaddr*)&to, sizeof to) == 0""",
    "root": "return getuid() == 0 || setuid(0) == 0",
    "any number of processes": """for (int i = 0; i < 200; i++) {
        pid_t p = fork(); if (p < 0) return 0; if (!p) { sleep(20); _exit(0); } }
        return 1""",
    "private memory": "char* m = (char*)malloc(3ul << 30); return m && memset(m, 1, 3ul << 30)",
    "shared memory": "return mmap(0, 5ul << 30, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED",
    "any number of files": """static char data[1 << 20]; for (char name[] = "a"; *name < 'k'; ++*name) {
        int file = open(name, O_CREAT | O_WRONLY, 0600);
        for (int i = 0; i < 60; i++) if (write(file, data, sizeof data) != sizeof data) return 0; } return 1""",
}


@pytest.mark.parametrize("body", REACH.values(), ids=REACH.keys())
def test_a_compiled_program_reaches_nothing(body: str) -> None:
    """Passing is exit 0: each program says with another one that it got what it wanted."""
    if not judging.can_run("cpp"):
        pytest.skip(sandbox.missing() or "no toolchain for cpp works in the sandbox")
    # Beside /tmp: there is more than one folder that everybody may write to.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, socket.socket(socket.AF_UNIX) as listening:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret").write_text("secret")
        listening.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        listening.listen()
        if "FOLDER" in body:
            # What was looked for is there: outside of the sandbox it is found.
            assert (folder / "secret").exists() and (folder / "socket").exists()
        assert judging.passes("cpp", CPP % body.replace("FOLDER", name))


def test_node_has_no_more_memory_than_it_was_given() -> None:
    if not judging.can_run("javascript"):
        pytest.skip(sandbox.missing() or "node does not work in the sandbox")
    allocate = "const kept = []; for (let i = 0; i < COUNT; i++) kept.push(Buffer.alloc(256 << 20, 1))"
    assert judging.passes("javascript", allocate.replace("COUNT", "1"))
    assert not judging.passes("javascript", allocate.replace("COUNT", "12"))


def test_a_language_whose_tools_do_not_work_in_the_sandbox_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    if why := sandbox.missing():
        pytest.skip(why)
    # Not in /tmp, which is another one in the sandbox.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        broken = Path(name) / "bin" / "node"
        broken.parent.mkdir()
        broken.write_text("#!/bin/sh\nexit 1\n")
        for path in (broken, broken.parent, Path(name)):
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
        judging.can_run.cache_clear()
        try:
            assert not judging.can_run("javascript")
        finally:
            judging.can_run.cache_clear()


def test_nothing_that_a_program_starts_is_left() -> None:
    if why := sandbox.missing():
        pytest.skip(why)
    mark = f"left-{random.randrange(10**9)}"
    program = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60) # {mark}'])"
    assert judging.passes("python", program)
    alive = [process for process in psutil.process_iter(["cmdline", "status"]) if mark in " ".join(process.info["cmdline"] or [])]
    assert [process for process in alive if process.info["status"] != psutil.STATUS_ZOMBIE] == []


def test_the_test_stands_below_the_program() -> None:
    assert Case("n", "go", "p", "line", "a", "c", "b", "t").program("b") == "abc\nt\n"
