"""Stack traces of seven languages as frames and exceptions; whatever else is in the text, and whatever the text is."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.protocol.traces.reading import in_workspace, read
from tacit.protocol.traces.trace import Frame


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    language: str
    raised: list[tuple[str, str]]
    """Type and message, the cause first."""
    frames: list[tuple[str, int, int, str]]
    """Path, line, column, function of the first ones, the innermost of the cause first."""


CASES = [
    Case(
        "python",
        """$ python app.py
starting
Traceback (most recent call last):
  File "/srv/u/shop/app.py", line 12, in <module>
    main()
    ~~~~^^
  File "/srv/u/shop/app.py", line 8, in main
    print(total(order))
  File "/srv/u/shop/cart.py", line 3, in total
    return sum(item.prise for item in order)
               ^^^^^^^^^^
AttributeError: 'Item' object has no attribute 'prise'. Did you mean: 'price'?
""",
        "python",
        [("AttributeError", "'Item' object has no attribute 'prise'. Did you mean: 'price'?")],
        [
            ("/srv/u/shop/cart.py", 3, 0, "total"),
            ("/srv/u/shop/app.py", 8, 0, "main"),
            ("/srv/u/shop/app.py", 12, 0, "<module>"),
        ],
    ),
    Case(
        "python, while handling another one",
        """Traceback (most recent call last):
  File "conf.py", line 5, in read
    return json.loads(text)
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "run.py", line 2, in <module>
    read("x")
  File "conf.py", line 7, in read
    raise ConfigError("bad configuration") from None
conf.ConfigError: bad configuration
""",
        "python",
        [
            ("json.decoder.JSONDecodeError", "Expecting value: line 1 column 1 (char 0)"),
            ("conf.ConfigError", "bad configuration"),
        ],
        [("conf.py", 5, 0, "read"), ("conf.py", 7, 0, "read"), ("run.py", 2, 0, "<module>")],
    ),
    Case(
        "python, a direct cause without a message",
        """Traceback (most recent call last):
  File "a.py", line 1, in f
    raise KeyError
KeyError

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "b.py", line 2, in g
    raise RuntimeError("no") from error
RuntimeError: no
""",
        "python",
        [("KeyError", ""), ("RuntimeError", "no")],
        [("a.py", 1, 0, "f"), ("b.py", 2, 0, "g")],
    ),
    Case(
        "python, a syntax error",
        """  File "/srv/bad.py", line 4
    if x = 3:
       ^^^^^
SyntaxError: invalid syntax. Maybe you meant '==' or ':=' instead of '='?
""",
        "python",
        [("SyntaxError", "invalid syntax. Maybe you meant '==' or ':=' instead of '='?")],
        [("/srv/bad.py", 4, 0, "")],
    ),
    Case(
        "python, an import of a file that does not parse, on Windows",
        """Traceback (most recent call last):\r
  File "C:\\code\\app.py", line 1, in <module>\r
    import util\r
  File "C:\\code\\util.py", line 9\r
    return 1\r
IndentationError: unexpected indent\r
""",
        "python",
        [("IndentationError", "unexpected indent")],
        [("C:/code/util.py", 9, 0, ""), ("C:/code/app.py", 1, 0, "<module>")],
    ),
    Case(
        "python, too deep",
        """Traceback (most recent call last):
  File "r.py", line 4, in <module>
    f(1)
  File "r.py", line 2, in f
    return f(x)
  [Previous line repeated 996 more times]
RecursionError: maximum recursion depth exceeded
""",
        "python",
        [("RecursionError", "maximum recursion depth exceeded")],
        [("r.py", 2, 0, "f"), ("r.py", 4, 0, "<module>")],
    ),
    Case(
        "python, a group",
        """  + Exception Group Traceback (most recent call last):
  |   File "g.py", line 3, in <module>
  |     raise ExceptionGroup("two", errors)
  | ExceptionGroup: two (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "g.py", line 1, in h
    |     1 / 0
    | ZeroDivisionError: division by zero
    +------------------------------------
""",
        "python",
        [("ExceptionGroup", "two (1 sub-exception)"), ("ZeroDivisionError", "division by zero")],
        [("g.py", 3, 0, "<module>"), ("g.py", 1, 0, "h")],
    ),
    Case(
        "pytest",
        """=================================== FAILURES ===================================
__________________________________ test_total __________________________________

    def test_total():
>       assert total([1]) == 1

tests/test_cart.py:5:
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _

    def total(values):
>       return sum(vlaues)
E       NameError: name 'vlaues' is not defined

cart.py:2: NameError
""",
        "python",
        [("NameError", "name 'vlaues' is not defined")],
        [("cart.py", 2, 0, "")],
    ),
    Case(
        "java, caused by",
        """Exception in thread "main" java.lang.RuntimeException: cannot read order
\tat com.acme.shop.Orders.read(Orders.java:42)
\tat com.acme.shop.Main.main(Main.java:11)
Caused by: java.lang.NullPointerException: Cannot invoke "String.length()" because "<local1>" is null
\tat com.acme.shop.Parser$Line.parse(Parser.java:17)
\tat java.base/java.util.ArrayList.forEach(ArrayList.java:1596)
\tat com.acme.shop.Orders.read(Orders.java:40)
\t... 1 more
""",
        "java",
        [
            ("java.lang.NullPointerException", 'Cannot invoke "String.length()" because "<local1>" is null'),
            ("java.lang.RuntimeException", "cannot read order"),
        ],
        [
            ("com/acme/shop/Parser.java", 17, 0, "com.acme.shop.Parser$Line.parse"),
            ("java/util/ArrayList.java", 1596, 0, "java.util.ArrayList.forEach"),
            ("com/acme/shop/Orders.java", 40, 0, "com.acme.shop.Orders.read"),
        ],
    ),
    Case(
        "java, from a log, native frames and a constructor",
        """2026-01-02 10:00:00 ERROR [main] failed
java.lang.ArrayIndexOutOfBoundsException: Index 3 out of bounds for length 3
\tat Main.<init>(Main.java:9)
\tat java.base/jdk.internal.reflect.DirectMethodHandleAccessor.invoke(Native Method)
\tat app//org.junit.Assert.fail(Unknown Source)
""",
        "java",
        [("java.lang.ArrayIndexOutOfBoundsException", "Index 3 out of bounds for length 3")],
        [("Main.java", 9, 0, "Main.<init>"), ("", 0, 0, "jdk.internal.reflect.DirectMethodHandleAccessor.invoke")],
    ),
    Case(
        "node",
        """/app/src/cart.js:10
  return items.reduce((a, b) => a + b.price)
               ^

TypeError: Cannot read properties of undefined (reading 'reduce')
    at total (/app/src/cart.js:10:16)
    at async Object.<anonymous> (/app/src/main.js:3:1)
    at new Shop (file:///app/src/shop.mjs:8:5)
    at /app/src/anonymous.js:4:7
    at node:internal/main/run_main_module:28:49

Node.js v20.11.0
""",
        "javascript",
        [("TypeError", "Cannot read properties of undefined (reading 'reduce')")],
        [
            ("/app/src/cart.js", 10, 16, "total"),
            ("/app/src/main.js", 3, 1, "Object.<anonymous>"),
            ("/app/src/shop.mjs", 8, 5, "new Shop"),
            ("/app/src/anonymous.js", 4, 7, ""),
            ("node:internal/main/run_main_module", 28, 49, ""),
        ],
    ),
    Case(
        "node, a syntax error",
        """/app/bad.js:2
const x = ;
          ^

SyntaxError: Unexpected token ';'
    at wrapSafe (node:internal/modules/cjs/loader:1378:20)
""",
        "javascript",
        [("SyntaxError", "Unexpected token ';'")],
        [("/app/bad.js", 2, 0, ""), ("node:internal/modules/cjs/loader", 1378, 20, "wrapSafe")],
    ),
    Case(
        "typescript, with a cause and a code",
        """Error [ERR_ORDER]: no order
    at load (/app/src/order.ts:12:9) {
  [cause]: RangeError: Invalid array length
      at make (/app/src/list.ts:3:10)
}
""",
        "typescript",
        [("RangeError", "Invalid array length"), ("Error", "no order")],
        [("/app/src/list.ts", 3, 10, "make"), ("/app/src/order.ts", 12, 9, "load")],
    ),
    Case(
        "AddressSanitizer",
        """=================================================================
==4242==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010 at pc 0x55d5 bp 0x7ffc sp 0x7ffc
READ of size 4 at 0x602000000010 thread T0
    #0 0x55d5d2f0b2f1 in sum(std::vector<int, std::allocator<int>> const&, int) /src/shop/sum.cpp:12:15
    #1 0x55d5d2f0b3a4 in main /src/shop/main.cpp:7:10
    #2 0x7f1b2c82a1c9 in __libc_start_call_main (/lib/x86_64-linux-gnu/libc.so.6+0x2a1c9)

freed by thread T0 here:
    #0 0x55d5d2e9b1d2 in operator delete(void*) (/src/shop/a.out+0xb1d2)
    #1 0x55d5d2f0b2d0 in release(int*) /src/shop/sum.cpp:5:3
""",
        "cpp",
        [
            (
                "heap-use-after-free",
                "AddressSanitizer: heap-use-after-free on address 0x602000000010 at pc 0x55d5 bp 0x7ffc sp 0x7ffc",
            ),
            ("freed by thread T0 here", ""),
        ],
        [("/src/shop/sum.cpp", 12, 15, "sum"), ("/src/shop/main.cpp", 7, 10, "main"), ("/src/shop/sum.cpp", 5, 3, "release")],
    ),
    Case(
        "undefined behaviour",
        "calc.cpp:8:14: runtime error: signed integer overflow: 2147483647 + 1 cannot be represented in type 'int'\n",
        "cpp",
        [("runtime error", "signed integer overflow: 2147483647 + 1 cannot be represented in type 'int'")],
        [("calc.cpp", 8, 14, "")],
    ),
    Case(
        "c++, an assertion",
        "shop: src/shop_test.cpp:6: int main(): Assertion `total({1, 2}) == 3' failed.\nAborted (core dumped)\n",
        "cpp",
        [("assertion", "total({1, 2}) == 3")],
        [("src/shop_test.cpp", 6, 0, "main")],
    ),
    Case(
        "gdb",
        """Program received signal SIGSEGV, Segmentation fault.
0x0000555555555171 in length (s=0x0) at list.cpp:6
6\t  while (s->next) n++;
(gdb) bt
#0  0x0000555555555171 in length (s=0x0) at list.cpp:6
#1  0x00005555555551a1 in main (argc=1, argv=0x7fffffffe0f8) at src/main.cpp:14
""",
        "cpp",
        [("SIGSEGV", "Segmentation fault")],
        [("list.cpp", 6, 0, "length"), ("src/main.cpp", 14, 0, "main")],
    ),
    Case(
        "c++, an exception that nobody caught",
        """terminate called after throwing an instance of 'std::out_of_range'
  what():  vector::_M_range_check: __n (which is 5) >= this->size() (which is 3)
Aborted (core dumped)
""",
        "cpp",
        [("std::out_of_range", "vector::_M_range_check: __n (which is 5) >= this->size() (which is 3)")],
        [],
    ),
    Case(
        "go",
        """panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.pick({0xc000012345, 0x3, 0x3}, 0x5)
\t/srv/u/shop/pick.go:7 +0x1d
main.(*Shop).run(...)
\t/srv/u/shop/main.go:12
main.main()
\t/srv/u/shop/main.go:20 +0x2a

goroutine 18 [chan receive]:
main.worker()
\t/srv/u/shop/worker.go:3 +0x1
exit status 2
""",
        "go",
        [("panic", "runtime error: index out of range [5] with length 3")],
        [
            ("/srv/u/shop/pick.go", 7, 0, "main.pick"),
            ("/srv/u/shop/main.go", 12, 0, "main.(*Shop).run"),
            ("/srv/u/shop/main.go", 20, 0, "main.main"),
        ],
    ),
    Case(
        "go, a nil pointer",
        """panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f1]

goroutine 1 [running]:
main.main()
\t./main.go:5 +0x11
""",
        "go",
        [("SIGSEGV", "runtime error: invalid memory address or nil pointer dereference")],
        [("./main.go", 5, 0, "main.main")],
    ),
    Case(
        "rust",
        """thread 'main' panicked at src/main.rs:4:10:
index out of bounds: the len is 3 but the index is 5
stack backtrace:
   0: rust_begin_unwind
             at /rustc/90b35/library/std/src/panicking.rs:647:5
   1: core::panicking::panic_fmt
             at /rustc/90b35/library/core/src/panicking.rs:72:14
   2: shop::pick
             at ./src/main.rs:4:10
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
""",
        "rust",
        [("panic", "index out of bounds: the len is 3 but the index is 5")],
        [
            ("src/main.rs", 4, 10, ""),
            ("/rustc/90b35/library/std/src/panicking.rs", 647, 5, "rust_begin_unwind"),
            ("/rustc/90b35/library/core/src/panicking.rs", 72, 14, "core::panicking::panic_fmt"),
            ("./src/main.rs", 4, 10, "shop::pick"),
        ],
    ),
    Case(
        "rust, as it was",
        "thread 'worker' panicked at 'called `Option::unwrap()` on a `None` value', src/lib.rs:9:20\n",
        "rust",
        [("panic", "called `Option::unwrap()` on a `None` value")],
        [("src/lib.rs", 9, 20, "")],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_trace_is_read(case: Case) -> None:
    trace = read(case.text)
    assert trace is not None and trace.language == case.language
    assert [(one.type, one.message) for one in trace.raised] == case.raised
    found = [(frame.path, frame.line, frame.column, frame.function) for frame in trace.frames]
    assert found[: len(case.frames)] == case.frames
    assert case.frames or not found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_trace_is_read_in_colours_and_among_other_output(case: Case) -> None:
    coloured = "".join(f"\x1b[31m{line}\x1b[0m\n" for line in case.text.splitlines())
    assert read(f"12 tests\nwarning: unused\n{coloured}\nmake: *** [run] Error 1\n") == read(case.text)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "at home (really)", "Error", "x" * 300_000, "panic: ", "#0 1 2 3", 'File "a", line 99999999999']
)
def test_other_text_is_no_trace(text: str) -> None:
    assert read(text) is None


@given(st.text(max_size=300), st.lists(st.sampled_from(CASES), max_size=3), st.integers(0, 400), st.integers(0, 400))
def test_odd_input_never_raises(noise: str, cases: list[Case], first: int, last: int) -> None:
    """Traces that are cut anywhere, run into one another, and stand in noise."""
    pieces = [case.text[first:] + noise + case.text[:last] for case in cases]
    read(noise.join(pieces))


def test_frames_are_found_in_the_workspace() -> None:
    paths = ["src/shop/cart.py", "src/main/java/com/acme/Main.java", "main.py", "lib/a/util.py", "lib/b/util.py"]

    def where(path: str) -> str | None:
        return in_workspace(Frame(path, 1, 0, "", "python"), "/srv/u/shop", paths)

    assert where("/srv/u/shop/src/shop/cart.py") == "src/shop/cart.py"
    assert where("com/acme/Main.java") == "src/main/java/com/acme/Main.java"
    assert where("./main.py") == "main.py"
    assert where("/app/src/shop/cart.py") == "src/shop/cart.py"
    # Not there, another program's, ambiguous, the runtime's.
    elsewhere = ("/srv/u/shop/gone.py", "/other/main.py", "util.py", "node:internal/x", "<frozen importlib>", "", "../main/x.py")
    assert [where(path) for path in elsewhere] == [None] * 7
