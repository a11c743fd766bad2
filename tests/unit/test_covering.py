"""The tests that cover a file: which they are, and what their runs say of a fix."""

from typing import Any

import pytest

from tacit.learner.debug_record import suites_of
from tacit.protocol.debugging import CoveringRuns
from tacit.server.debugging.covering import covering, judged


@pytest.mark.parametrize(
    ("name", "text", "covers"),
    [
        ("tests/test_cart.py", "", True),
        ("shop/cart_test.py", "", True),
        ("tests/test_other.py", "import shop.cart\n", True),
        ("tests/test_other.py", "from shop import (x, cart)\n", True),
        ("tests/test_other.py", "    from src.shop.cart import total\n", True),
        ("shop/test_other.py", "from .cart import total\n", True),
        ("shop/test_other.py", "from . import cart\n", True),
        ("tests/test_other.py", "from shop.carts import total\n# import cart\n", False),
        ("tests/other.py", "import shop.cart\n", False),
        ("tests/test_named.py", "", True),
    ],
)
def test_a_test_covers_what_it_is_called_like_what_it_imports_and_where_it_failed(name: str, text: str, covers: bool) -> None:
    said = 'File "/x/tests/test_named.py", line 3, in test_it'
    assert covering("src/shop/cart.py", [name, "src/shop/cart.py"], {name: text}.get, said) == [name] * covers


@pytest.mark.parametrize(
    ("name", "text", "covers"),
    [
        ("src/cart.test.ts", "", True),
        ("src/__tests__/cart.spec.js", "", True),
        ("test/totals.js", "const { total } = require('../src/cart');\n", True),
        ("src/b.test.ts", "import { total } from './cart.js'\n", True),
        ("src/b.test.ts", "import { total } from './carts'\n", False),
        ("src/b.ts", "import { total } from './cart'\n", False),
        ("src/cart_test.ts", "", True),
        ("src/test-cart.js", "", True),
        ("src/test_b.js", "const { total } = require('./cart.js');\n", True),
        ("test.js", "const { total } = require('./src/cart.js');\n", True),
        ("src/latest.js", "const { total } = require('./cart.js');\n", False),
        ("tests/test_cart.py", "import cart\n", False),
    ],
)
def test_scripts_are_covered_by_scripts(name: str, text: str, covers: bool) -> None:
    assert covering("src/cart.ts", [name, "src/cart.ts"], {name: text}.get, "") == [name] * covers


@pytest.mark.parametrize(
    ("name", "text", "covers"),
    [
        ("test_cart.rs", 'include!("src/cart.rs");\n#[test]\nfn of_none() {}\n', True),
        ("src/main.rs", "mod cart;\n#[test]\nfn of_none() {}\n", True),
        ("tests/all.rs", '#[path = "../src/cart.rs"]\nmod cart;\n#[test]\nfn of_none() {}\n', True),
        ("src/cart.rs", "#[cfg(test)]\nmod tests {\n    #[test]\n    fn of_none() {}\n}\n", True),
        ("src/cart.rs", "fn total() {}\n", False),
        ("src/main.rs", "mod cart;\nfn main() {}\n", False),
        ("src/main.rs", "mod carts;\n#[test]\nfn of_none() {}\n", False),
        ("Cargo.toml", "", True),
    ],
)
def test_without_a_package_what_has_a_rust_file_in_it_covers_it(name: str, text: str, covers: bool) -> None:
    assert covering("src/cart.rs", dict.fromkeys([name, "src/cart.rs"]), {name: text}.get, "") == [name] * covers


@pytest.mark.parametrize(
    ("text", "said", "covers"),
    [
        ("class Main { public static void main(String[] a) { new Cart(); } }", "at Main.main(Main.java:3)", True),
        ("class Main { public static void main(String[] a) { new Cart(); } }", "at Other.main(Other.java:3)", False),
        ("class Main { public static void main(String[] a) { new Carts(); } }", "at Main.main(Main.java:3)", False),
        ("class Main { void run() { new Cart(); } }", "at Main.run(Main.java:3)", False),
    ],
)
def test_the_java_program_that_failed_covers_what_it_uses(text: str, said: str, *, covers: bool) -> None:
    assert covering("Cart.java", ["Main.java", "Cart.java"], {"Main.java": text}.get, said) == ["Main.java"] * covers


@pytest.mark.parametrize(
    ("path", "files", "covers"),
    [
        ("src/cart.rs", ["Cargo.toml", "src/lib.rs"], ["Cargo.toml"]),
        ("shop/src/cart.rs", ["Cargo.toml", "shop/Cargo.toml", "other/Cargo.toml"], ["shop/Cargo.toml"]),
        ("src/cart.rs", ["shop/Cargo.toml"], []),
        ("shop/cart.go", ["shop/cart_test.go", "other/cart_test.go", "shop/cart.go"], ["shop/cart_test.go"]),
        ("shop/cart.go", ["api/uses_test.go", "shop/test_cart.py"], ["api/uses_test.go"]),
        ("main.go", ["main_test.go", "shop/cart_test.go"], ["main_test.go"]),
        ("src/cart.cpp", ["tests/uses.cpp", "tests/other.cpp", "uses.cpp", "CMakeLists.txt"], ["tests/uses.cpp"]),
        ("src/cart.h", ["test_uses.c", "CMakeLists.txt"], ["test_uses.c"]),
    ],
)
def test_packages_are_covered_by_their_own_tests(path: str, files: list[str], covers: list[str]) -> None:
    texts = dict.fromkeys(("tests/uses.cpp", "uses.cpp", "test_uses.c"), '#include "../src/cart.h"\n')
    texts |= {"tests/other.cpp": '#include "../src/carts.h"\n', "CMakeLists.txt": "project(x)\n"}
    texts |= {"api/uses_test.go": 'import "example.com/m/shop"\n', "shop/cart_test.go": "", "other/cart_test.go": ""}
    assert covering(path, files, texts.get, "") == covers


@pytest.mark.parametrize(
    ("name", "text", "covers"),
    [
        ("src/test/java/com/acme/shop/CartTest.java", "", True),
        ("tests/TestCart.java", "", True),
        ("core/src/test/java/com/acme/shop/AllTests.java", "package com.acme.shop;\nclass AllTests { Cart cart; }", True),
        ("src/test/java/com/acme/AllTests.java", "package com.acme;\nimport com.acme.shop.Cart;\n", True),
        ("src/test/java/com/acme/AllTests.java", "package com.acme;\nimport static com.acme.shop.Cart.total;\n", True),
        ("src/test/java/com/acme/AllTests.java", "package com.acme;\nimport com.acme.shop.*;\nclass AllTests { Cart c; }", True),
        (
            "src/test/java/com/acme/AllTests.java",
            "package com.acme;\nimport com.acme.shop.*;\nclass AllTests { Carts c; }",
            False,
        ),
        ("src/test/java/com/acme/AllTests.java", "package com.acme;\nimport com.acme.other.Cart;\n", False),
        ("src/test/java/com/acme/NamedIT.java", "", True),
        ("src/main/java/com/acme/shop/Latest.java", "package com.acme.shop;\nclass Latest { Cart cart; }", False),
    ],
)
def test_java_is_covered_by_what_its_package_or_an_import_says(name: str, text: str, covers: bool) -> None:
    said = "\tat app//com.acme.NamedIT.it(NamedIT.java:3)\n"
    path = "src/main/java/com/acme/shop/Cart.java"
    assert covering(path, [name, path], {name: text}.get, said) == [name] * covers


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ('File "/x/a/test_it.py", line 3', ["a/test_it.py"]),
        ("b/test_it.py:3: AssertionError", ["b/test_it.py"]),
        ("FAILED deep/b/test_it.py::test_one", ["deep/b/test_it.py"]),
        ("my_test_it.py:3", []),
        ('File "/app/test_else.py", line 3', ["a/test_else.py"]),
        ("test_it.py:3", ["a/test_it.py", "b/test_it.py", "deep/b/test_it.py"]),
    ],
)
def test_of_tests_of_one_name_the_one_is_meant_that_is_named(said: str, first: list[str]) -> None:
    files = ["a/test_it.py", "b/test_it.py", "deep/b/test_it.py", "a/test_else.py"]
    assert covering("cart.py", files, lambda _: "", said) == first


def test_the_surest_come_first() -> None:
    files = ["test_a.py", "test_cart.py", "test_z.py"]
    assert covering("cart.py", files, lambda name: "import cart", "test_z.py:3: AssertionError") == [
        "test_z.py",
        "test_cart.py",
        "test_a.py",
    ]


@pytest.mark.parametrize(
    ("before", "after", "result", "words"),
    [
        ((["a", "b"], []), (["a", "b"], []), "passed", "2 tests that cover it pass."),
        ((["a"], ["b"]), (["a", "b"], []), "passed", "1 test that failed pass now. 2 tests that cover it pass."),
        ((["a"], ["b"]), (["a"], ["b"]), "passed", "1 test that covers it passes; 1 failed before and still do."),
        ((["a", "b"], []), (["a"], ["b"]), "failed", "It breaks 1 test that passed before: `b`."),
        ((["a", "b"], []), (["a"], []), "failed", "It breaks 1 test that passed before: `b`."),
        (([], ["a"]), ([], ["a"]), "unchecked", "1 test that covers it fails, as before."),
        (([], []), ([], []), "unchecked", "none ran"),
    ],
)
def test_what_failed_before_does_not_count_against_a_fix(before: Any, after: Any, result: str, words: str) -> None:
    check = judged(CoveringRuns(before_passed=before[0], before_failed=before[1], after_passed=after[0], after_failed=after[1]))
    assert check.result == result and words in check.note, check.note


def test_a_fix_of_a_failing_test_makes_something_pass() -> None:
    trace = 'File "tests/test_a.py", line 3, in test_it\nAssertionError: 1 != 2\n'
    failing, other = "tests/test_a.py::T::test_it", "tests/test_b.py::test_other"
    still = CoveringRuns(before_failed=(failing,), before_passed=(other,), after_failed=(failing,), after_passed=(other,))
    assert judged(still, trace).result == "failed" and "`test_it`" in judged(still, trace).note
    # Of a diagnostic, or of another test's failure, it says nothing that this one fails as before.
    assert judged(still).result == judged(still, trace.replace("test_a", "test_c")).result == "passed"
    mended = CoveringRuns(before_failed=(failing,), before_passed=(other,), after_passed=(failing, other))
    assert judged(mended, trace).result == "passed"
    # Of two functions that one file tests, the other one's failure is not what was asked about.
    wrong = "tests/test_a.py::T::test_other_one"
    both = {"before_failed": (failing, wrong), "before_passed": (other,)}
    only_wrong = judged(CoveringRuns(**both, after_failed=(failing,), after_passed=(wrong, other)), trace)
    assert only_wrong.result == "failed" and "`test_it`" in only_wrong.note and "other_one" not in only_wrong.note
    assert judged(CoveringRuns(**both, after_failed=(wrong,), after_passed=(failing, other)), trace).result == "passed"
    unnamed = trace.replace(", in test_it", "")
    assert judged(CoveringRuns(**both, after_failed=(failing,), after_passed=(wrong, other)), unnamed).result == "passed"


def test_a_note_tells_names_and_no_values() -> None:
    check = judged(CoveringRuns(before_passed=("t.py::C::test_it[hunter2]",)))
    assert "`test_it`" in check.note and "hunter2" not in check.note


def test_the_reward_is_made_of_what_ran() -> None:
    runs = CoveringRuns(before_failed=("tests/a.py::t",), after_passed=("tests/a.py::t",), before_seconds=1, after_seconds=2)
    before, after = suites_of((judged(runs),), trace=False)
    assert before is not None and after is not None
    assert (before.failed, after.passed) == ({"tests/a.py::t"}, {"tests/a.py::t"})
    assert after.paths == {"tests/a.py::t": "tests/a.py"}
