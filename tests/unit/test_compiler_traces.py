"""What compilers say, read like a stack trace: their errors and places, as real ones printed them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.debug_record import problem_of
from tacit.protocol.debugging import MOST_TEXT
from tacit.protocol.events import DebugRecord
from tacit.protocol.traces.reading import read
from tacit.protocol.traces.trace import Trace

GCC = """make: Entering directory '/srv/u/shop'
g++ -c src/a.cpp
In file included from src/a.cpp:1:
src/b.h:1:16: error: expected \u2018;\u2019 at end of member declaration
    1 | struct S { int n };
      |                ^
      |                 ;
src/a.cpp: In function \u2018int main()\u2019:
src/a.cpp:4:11: error: \u2018vlaue\u2019 was not declared in this scope
    4 |   int x = vlaue;
      |           ^~~~~
src/a.cpp:3:7: warning: unused variable \u2018x\u2019 [-Wunused-variable]
src/a.cpp:2:5: note: declared here
make: *** [Makefile:2: a.o] Error 1
"""
CLANG = """src/a.c:4:11: fatal error: 'gone.h' file not found
#include "gone.h"
         ^~~~~~~~
1 error generated.
"""
LINKER = """/usr/bin/ld: /tmp/cc0TvM8Z.o: in function `main':
/srv/u/shop/c.cpp:2: undefined reference to `helper(int)'
/usr/bin/ld: d.cpp:(.text+0x5): undefined reference to `other()'
collect2: error: ld returned 1 exit status
"""
JAVAC = """src/A.java:2: error: cannot find symbol
  int f() { return price(1) + "a".lenght(); }
                   ^
  symbol:   method price(int)
  location: class A
src/A.java:3: error: incompatible types: int cannot be converted to String
  String s = 1;
             ^
2 errors
"""
MAVEN = """[INFO] Compiling 3 source files
[ERROR] /srv/u/shop/src/main/java/a/Cart.java:[12,20] cannot find symbol
  symbol:   variable vlaue
[INFO] BUILD FAILURE
"""
TSC = """src/cart.ts(2,16): error TS2307: Cannot find module 'fs'.
src/cart.ts(5,47): error TS2304: Cannot find name 'vlaue'.
"""
TSC_PRETTY = """\x1b[96msrc/cart.ts\x1b[0m:\x1b[93m5\x1b[0m:\x1b[93m47\x1b[0m - \x1b[91merror\x1b[0m\x1b[90m TS2304: \x1b[0m\
Cannot find name 'vlaue'.

\x1b[7m5\x1b[0m   for (const v of values) { sum += price(v) + vlaue; }
"""
RUSTC = """   Compiling shop v0.1.0 (/srv/u/shop)
warning: unused variable: `a`
 --> src/cart.rs:2:9
  |
2 | fn take(a: A) {}

error[E0382]: use of moved value: `a`
 --> src/cart.rs:3:38
  |
3 | pub fn f(a: A) -> u8 { take(a); take(a); 1 }
  |
note: consider changing this parameter type in function `take` to borrow instead
 --> src/prices.rs:7:12
  |
error: expected `;`
 --> src/lib.rs:1:8

error: aborting due to 2 previous errors; 1 warning emitted
error: could not compile `shop` (lib) due to 2 previous errors
"""
GO = """# example.org/shop
./main.go:9:24: undefined: missing
prices/price.go:12:6: declared and not used: unused
vet: ./other.go:3:2: undefined: x
"""
Place = tuple[str, int, int]
CASES: list[tuple[str, str, list[tuple[str, str, list[Place]]]]] = [
    (GCC, "cpp", [
        ("error", "expected \u2018;\u2019 at end of member declaration", [("src/b.h", 1, 16), ("src/a.cpp", 1, 0)]),
        ("error", "\u2018vlaue\u2019 was not declared in this scope", [("src/a.cpp", 4, 11)]),
    ]),
    (CLANG, "cpp", [("error", "'gone.h' file not found", [("src/a.c", 4, 11)])]),
    (LINKER, "cpp", [
        ("error", "undefined reference to `helper(int)'", [("/srv/u/shop/c.cpp", 2, 0)]),
        ("error", "undefined reference to `other()'", [("d.cpp", 0, 0)]),
    ]),
    (JAVAC, "java", [
        ("error", "cannot find symbol; symbol: method price(int); location: class A", [("src/A.java", 2, 0)]),
        ("error", "incompatible types: int cannot be converted to String", [("src/A.java", 3, 0)]),
    ]),
    (MAVEN, "java", [
        ("error", "cannot find symbol; symbol: variable vlaue", [("/srv/u/shop/src/main/java/a/Cart.java", 12, 20)]),
    ]),
    (TSC, "typescript", [
        ("TS2307", "Cannot find module 'fs'.", [("src/cart.ts", 2, 16)]),
        ("TS2304", "Cannot find name 'vlaue'.", [("src/cart.ts", 5, 47)]),
    ]),
    (TSC_PRETTY, "typescript", [("TS2304", "Cannot find name 'vlaue'.", [("src/cart.ts", 5, 47)])]),
    (RUSTC, "rust", [
        ("E0382", "use of moved value: `a`", [("src/cart.rs", 3, 38), ("src/prices.rs", 7, 12)]),
        ("error", "expected `;`", [("src/lib.rs", 1, 8)]),
    ]),
    (GO, "go", [
        ("error", "undefined: missing", [("./main.go", 9, 24)]),
        ("error", "declared and not used: unused", [("prices/price.go", 12, 6)]),
        ("error", "undefined: x", [("./other.go", 3, 2)]),
    ]),
]  # fmt: skip
TRACEBACK = 'Traceback (most recent call last):\n  File "run.py", line 2, in <module>\n    f()\nValueError: no\n'


def told(trace: Trace) -> list[tuple[str, str, list[Place]]]:
    return [(one.type, one.message, [(frame.path, frame.line, frame.column) for frame in one.frames]) for one in trace.raised]


@pytest.mark.parametrize(("text", "language", "errors"), CASES)
def test_errors_are_read_with_their_places(text: str, language: str, errors: list[tuple[str, str, list[Place]]]) -> None:
    trace = read(text)
    assert trace is not None and trace.refused and trace.language == language
    assert told(trace) == errors


def test_a_function_is_told_where_the_compiler_tells_it() -> None:
    trace = read(GCC)
    assert trace is not None and trace.raised[1].frames[0].function == "int main()"


def test_warnings_are_read_where_there_is_no_error() -> None:
    trace = read("a.c:3:5: warning: unused variable 'x'\nb.c:1:1: warning: y\n")
    assert trace is not None and [one.message for one in trace.raised] == ["unused variable 'x'", "y"]


def test_beside_a_stack_trace_a_compilers_words_do_not_count() -> None:
    trace = read(GCC + TRACEBACK)
    assert trace is not None and not trace.refused and trace.cause.type == "ValueError"


def test_an_error_of_a_compiler_is_no_crash_of_a_program() -> None:
    problem = problem_of(DebugRecord(kind="explain", trace=CLANG + TSC))
    assert problem.exceptions == () and [one.code for one in problem.findings] == ["error", "TS2307", "TS2304"]
    assert problem_of(DebugRecord(kind="explain", trace=TRACEBACK)).exceptions == ("ValueError",)


@pytest.mark.parametrize(
    "text", ["12:30: lunch", "see http://a.example:80: error: x", "a.txt:1:2: error: b", "error: could not", "x.go: y"]
)
def test_other_text_is_none(text: str) -> None:
    assert read(text) is None


@given(st.text(max_size=200), st.lists(st.sampled_from([case[0] for case in CASES]), max_size=3), st.integers(0, 300))
def test_odd_input_never_raises(noise: str, texts: list[str], cut: int) -> None:
    read(noise.join(text[cut:] + noise + text[:cut] for text in texts))


def test_a_long_log_is_read_in_bounded_work() -> None:
    assert read("x/" * (MOST_TEXT // 2)) is None
    trace = read(GCC * 500)
    assert trace is not None and len(trace.raised) <= 50


WRONG = {
    "g++": ("a.cpp", "int main() {\n  return vlaue;\n}\n", ["-fsyntax-only"]),
    "gcc": ("a.c", "int main(void) {\n  return vlaue;\n}\n", ["-fsyntax-only"]),
    "javac": ("A.java", "class A {\n  int f() { return vlaue; }\n}\n", ["-d", "out"]),
    "rustc": ("a.rs", "fn main() {\n    vlaue;\n}\n", ["--emit=metadata"]),
}


@pytest.mark.parametrize("compiler", WRONG)
def test_a_real_compiler_is_understood(tmp_path: Path, compiler: str) -> None:
    """Whatever version is installed."""
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} here")
    name, text, options = WRONG[compiler]
    (tmp_path / name).write_text(text)
    said = subprocess.run([compiler, *options, name], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    trace = read(said.stdout + said.stderr)
    assert trace is not None and trace.refused
    assert "vlaue" in trace.cause.message and (trace.cause.frames[0].path, trace.cause.frames[0].line) == (name, 2)
