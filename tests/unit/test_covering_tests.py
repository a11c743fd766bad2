"""The tests that cover a file, run: in each language, with the workspace's own tools, and hostile ones."""

import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from bubblewrap_here import bubblewrap

from tacit.protocol.debugging import Check, DebugRequest
from tacit.sandbox.walls import missing
from tacit.server.debugging.running import OFF, CoveringTests
from tacit.server.debugging.toolchains import TOOLCHAINS, Tool, node_of, python_of

CART = "def total(values):\n    return sum(values) + 1\n"
RIGHT = CART.replace(" + 1", "")
UNITTEST = """import unittest

from shop.cart import total


class Totals(unittest.TestCase):
    def test_none(self):
        self.assertEqual(total([]), 0)

    def test_some(self):
        self.assertGreater(total([1]), 0)
"""


@pytest.fixture(scope="module")
def boxed() -> Iterator[None]:
    with bubblewrap():
        yield


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "work"
    (root / "shop").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "shop" / "cart.py").write_text(CART)
    (root / "tests" / "test_cart.py").write_text(UNITTEST)
    return root


def asked(root: Path, **other: Any) -> DebugRequest:
    told = {"kind": "fix", "request_id": "r", "session_id": "s", "workspace": str(root), "language": "python", "run_tests": True,
            "path": "shop/cart.py", "text": CART, "turns": [{"role": "user", "text": "?"}]}  # fmt: skip
    return DebugRequest.model_validate({**told, **other})


async def checked(root: Path, changed: str, **other: Any) -> Check:
    return await CoveringTests(asked(root, **other), CART).check(changed, 300.0)


async def test_nothing_runs_unless_it_is_wanted(shop: Path) -> None:
    assert (await checked(shop, RIGHT, run_tests=False)).note == OFF
    for other, words in (
        ({"language": "ruby"}, "those of ruby are not"),
        ({"path": "tests/test_cart.py"}, "test itself"),
        ({"whole": False}, "whole file"),
        ({"workspace": "/usr/share"}, "the system's own folders"),
    ):
        check = await checked(shop, RIGHT, **other)
        assert check.result == "unchecked" and words in check.note


async def test_without_a_sandbox_nothing_runs_and_that_is_said(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "tests" / "test_cart.py").write_text(f"open({str(shop / 'ran')!r}, 'w')\n")
    monkeypatch.setenv("PATH", str(shop))
    missing.cache_clear()
    try:
        check = await checked(shop, RIGHT)
    finally:
        missing.cache_clear()
    assert check.result == "unchecked" and "bubblewrap is not installed" in check.note
    assert not (shop / "ran").exists()


@pytest.mark.usefixtures("boxed")
async def test_a_fix_mends_breaks_or_changes_nothing(shop: Path) -> None:
    mended = await checked(shop, RIGHT)
    assert (mended.result, mended.note) == ("passed", "1 test that failed pass now. 2 tests that cover it pass.")
    assert mended.runs is not None and mended.runs.before_failed == ("tests/test_cart.py::test_cart.Totals.test_none",)
    broken = await checked(shop, "def total(values):\n    return 0\n")
    assert (broken.result, broken.note) == ("failed", "It breaks 1 test that passed before: `test_some`.")
    assert (await checked(shop, CART)).note == "1 test that covers it passes; 1 failed before and still do."
    assert (shop / "shop" / "cart.py").read_text() == CART
    (shop / "tests" / "test_cart.py").unlink()
    assert (await checked(shop, RIGHT)).note == "No test was found that covers it."


@pytest.mark.usefixtures("boxed")
async def test_the_workspaces_own_environment_and_pytest_are_used(shop: Path) -> None:
    """An environment as `python -m venv` makes it, with pytest copied into it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = shop / ".venv" / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (shop / ".venv" / "bin").mkdir()
    (shop / ".venv" / "bin" / "python").symlink_to(Path(sys.base_prefix) / "bin" / version)
    (shop / ".venv" / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin\n")
    (shop / ".gitignore").write_text(".venv/\n")
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        folder = Path(str(pytest.importorskip(name).__file__)).parent
        shutil.copytree(folder, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(str(pytest.importorskip("py").__file__)), packages)
    tests = (
        "import pytest\nfrom shop.cart import total\n\n\n"
        "@pytest.mark.parametrize('values', [[], [1]])\ndef test_total(values):\n    assert total(values) == sum(values)\n"
    )
    (shop / "tests" / "test_cart.py").write_text(tests)
    check = await checked(shop, RIGHT)
    assert check.note == "2 tests that failed pass now. 2 tests that cover it pass.", check.note
    # What a test is given is a value of the program's.
    assert check.runs is not None and not any("values" in one for one in check.runs.after_passed)
    (shop / "pytest.py").write_text("raise ImportError\n")
    assert "no pytest" in (await checked(shop, RIGHT)).note


@pytest.mark.usefixtures("boxed")
async def test_scripts_are_checked_by_node(shop: Path) -> None:
    if not node_of(shop)[0]:
        pytest.skip("Node is not installed")
    cart = "exports.total = (values) => values.reduce((sum, value) => sum + value, 1);\n"
    (shop / "cart.js").write_text(cart)
    (shop / "cart.test.js").write_text(
        "const { test, describe } = require('node:test');\nconst assert = require('node:assert');\n"
        "const { total } = require('./cart');\n\ndescribe('total', () => {\n"
        "  test('of nothing', () => assert.equal(total([]), 0));\n"
        "  test('of some', () => assert.ok(total([1]) > 0));\n});\n"
    )
    other = {"language": "javascript", "path": "cart.js", "text": cart}
    mended = await CoveringTests(asked(shop, **other), cart).check(cart.replace(", 1)", ", 0)"), 300.0)
    assert mended.note == "1 test that failed pass now. 2 tests that cover it pass.", mended.note
    broken = await CoveringTests(asked(shop, **other), cart).check("exports.total = () => 0;\n", 300.0)
    assert broken.note == "It breaks 1 test that passed before: `cart.test.js`.", broken.note


@pytest.mark.usefixtures("boxed")
async def test_a_script_that_only_asserts_is_a_test(shop: Path) -> None:
    if not node_of(shop)[0]:
        pytest.skip("Node is not installed")
    cart = "exports.total = (values) => values.reduce((sum, value) => sum + value, 1);\n"
    (shop / "cart.js").write_text(cart)
    (shop / "test_all.js").write_text("const { total } = require('./cart.js');\nrequire('node:assert').equal(total([]), 0);\n")
    other = {"language": "javascript", "path": "cart.js", "text": cart}
    mended = await CoveringTests(asked(shop, **other), cart).check(cart.replace(", 1)", ", 0)"), 300.0)
    assert mended.note == "1 test that failed pass now. 1 test that covers it passes.", mended.note


MANIFEST = '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n'
RUST = """pub fn total(values: &[i32]) -> i32 {
    values.iter().sum::<i32>() + 1
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_some() {
        assert!(super::total(&[1]) > 0);
    }
}
"""
RUST_TEST = """#[test]
fn of_nothing() {
    assert_eq!(shop::total(&[]), 0);
}

#[test]
fn reaches_nothing_outside() {
    assert!(std::fs::read(OUTSIDE).is_err());
    assert!(std::net::TcpStream::connect(("127.0.0.1", PORT)).is_err());
}
"""
GO = """package shop

func Total(values []int) int {
\tsum := 1
\tfor _, value := range values {
\t\tsum += value
\t}
\treturn sum
}
"""
GO_TEST = """package shop

import "testing"

func TestOfNothing(t *testing.T) {
\tif Total(nil) != 0 {
\t\tt.Fatal("not 0")
\t}
}

func TestOfSome(t *testing.T) {
\tif Total([]int{1}) <= 0 {
\t\tt.Fatal("not more")
\t}
}
"""


def needs(language: str, root: Path) -> None:
    if isinstance(tool := TOOLCHAINS[language].find(root), str):
        pytest.skip(f"{tool} is not installed")


@pytest.mark.usefixtures("boxed")
async def test_rust_is_checked_by_cargo(shop: Path) -> None:
    """Unit tests and tests of their own; what they run has no network and no files from outside."""
    needs("rust", shop)
    (shop / "Cargo.toml").write_text(MANIFEST)
    (shop / "src").mkdir()
    (shop / "src" / "lib.rs").write_text(RUST)
    with socket.create_server(("127.0.0.1", 0)) as door:
        outside = shop.parent / "outside"
        outside.write_text("here")
        test = RUST_TEST.replace("PORT", str(door.getsockname()[1])).replace("OUTSIDE", f'"{outside}"')
        (shop / "tests" / "total.rs").write_text(test)
        other = {"language": "rust", "path": "src/lib.rs", "text": RUST}
        tests = CoveringTests(asked(shop, **other), RUST)
        mended = await tests.check(RUST.replace(" + 1", ""), 900.0)
        assert mended.note == "1 test that failed pass now. 3 tests that cover it pass.", mended.note
        assert mended.runs is not None and mended.runs.before_failed == ("tests/total.rs::of_nothing",)
        assert "src/lib.rs::tests::of_some" in mended.runs.after_passed
        unbuilt = await tests.check(RUST.replace(" + 1", " + one"), 900.0)
    assert (unbuilt.result, unbuilt.note.partition(":")[0]) == ("failed", "It breaks 2 tests that passed before"), unbuilt.note
    assert not (shop / "target").exists() and not (shop / "Cargo.lock").exists()


@pytest.mark.usefixtures("boxed")
async def test_rust_without_a_package_is_checked_by_its_compiler(shop: Path) -> None:
    needs("rust", shop)
    (shop / "cart.rs").write_text(RUST)
    (shop / "test_cart.rs").write_text('include!("cart.rs");\n#[test]\nfn of_nothing() {\n    assert_eq!(total(&[]), 0);\n}\n')
    tests = CoveringTests(asked(shop, language="rust", path="cart.rs", text=RUST), RUST)
    mended = await tests.check(RUST.replace(" + 1", ""), 900.0)
    assert mended.note == "1 test that failed pass now. 3 tests that cover it pass.", mended.note
    assert mended.runs is not None and mended.runs.before_failed == ("test_cart.rs::of_nothing",)
    unbuilt = await tests.check(RUST.replace(" + 1", " + one"), 900.0)
    assert unbuilt.result == "failed", unbuilt.note


@pytest.mark.usefixtures("boxed")
async def test_go_is_checked_by_its_packages_tests(shop: Path) -> None:
    needs("go", shop)
    (shop / "go.mod").write_text("module example.com/m\n\ngo 1.20\n")
    (shop / "shop" / "cart.go").write_text(GO)
    (shop / "shop" / "cart_test.go").write_text(GO_TEST)
    other = {"language": "go", "path": "shop/cart.go", "text": GO}
    tests = CoveringTests(asked(shop, **other), GO)
    mended = await tests.check(GO.replace("sum := 1", "sum := 0"), 900.0)
    assert mended.note == "1 test that failed pass now. 2 tests that cover it pass.", mended.note
    assert mended.runs is not None and mended.runs.before_failed == ("shop/cart_test.go::TestOfNothing",)
    unbuilt = await tests.check(GO.replace("sum := 1", "sum := one"), 900.0)
    assert unbuilt.note == "It breaks 1 test that passed before: `TestOfSome`.", unbuilt.note


CPP = (
    "int total(const int *values, int count) {\n    int sum = 1;\n    while (count--) sum += values[count];\n    return sum;\n}\n"
)
CPP_TEST = """#include <cstring>
int total(const int *values, int count);

int main(int count, char **told) {
    int one[] = {1};
    return std::strcmp(told[1], "nothing") ? total(one, 1) <= 0 : total(one, 0) != 0;
}
"""
CMAKE = """cmake_minimum_required(VERSION 3.10)
project(shop CXX)
enable_testing()
add_executable(totals tests/totals.cpp cart.cpp)
add_test(NAME of_nothing COMMAND totals nothing)
add_test(NAME of_some COMMAND totals some)
"""


@pytest.mark.usefixtures("boxed")
async def test_c_plus_plus_is_checked_by_ctest_or_by_programs_that_include_it(shop: Path) -> None:
    needs("cpp", shop)
    (shop / "cart.cpp").write_text(CPP)
    (shop / "tests" / "totals.cpp").write_text(CPP_TEST)
    (shop / "tests" / "nothing.cpp").write_text('#include "../cart.cpp"\nint main() { return total(nullptr, 0); }\n')
    other = {"language": "cpp", "path": "cart.cpp", "text": CPP}
    alone = await CoveringTests(asked(shop, **other), CPP).check(CPP.replace("sum = 1", "sum = 0"), 900.0)
    assert alone.note == "1 test that failed pass now. 1 test that covers it passes.", alone.note
    assert alone.runs is not None and alone.runs.before_failed == ("tests/nothing.cpp",)
    tool = TOOLCHAINS["cpp"].find(shop)
    if not isinstance(tool, Tool) or not tool.told["cmake"]:
        pytest.skip("CMake is not installed")
    (shop / "CMakeLists.txt").write_text(CMAKE)
    tests = CoveringTests(asked(shop, **other), CPP)
    mended = await tests.check(CPP.replace("sum = 1", "sum = 0"), 900.0)
    assert mended.note == "1 test that failed pass now. 2 tests that cover it pass.", mended.note
    assert mended.runs is not None and mended.runs.before_failed == ("CMakeLists.txt::of_nothing",)
    unbuilt = await tests.check(CPP.replace("sum = 1", "sum = one"), 900.0)
    assert unbuilt.note == "It breaks 1 test that passed before: `of_some`.", unbuilt.note


async def test_a_tool_that_is_not_here_runs_nothing_and_that_is_said(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "Cargo.toml").write_text(MANIFEST)
    chain = replace(TOOLCHAINS["rust"], find=lambda root: "cargo")
    monkeypatch.setattr("tacit.server.debugging.running.TOOLCHAINS", {**TOOLCHAINS, "rust": chain})
    with bubblewrap():
        check = await checked(shop, RIGHT, language="rust", path="src/lib.rs")
    assert (check.result, check.note) == ("unchecked", "The tests were not run: cargo is not installed.")


def test_of_a_toolchain_in_a_home_only_its_parts_are_bound(shop: Path) -> None:
    """And of what cargo keeps there the crates, not the tokens."""
    needs("rust", shop)
    tool = TOOLCHAINS["rust"].find(shop)
    assert isinstance(tool, Tool)
    for bind in map(Path, tool.binds):
        assert bind.name in ("bin", "lib", "libexec", "registry") and not Path.home().is_relative_to(bind)


def test_a_link_is_no_python(shop: Path) -> None:
    """What would be bound into the sandbox is a Python, not what a workspace calls one."""
    (shop / ".venv" / "bin").mkdir(parents=True)
    (shop / ".venv" / "pyvenv.cfg").write_text("home = /etc\n")
    private = shop.parent / "private"
    (private / "bin").mkdir(parents=True)
    (private / "bin" / "python3").write_text("")
    (shop / ".venv" / "bin" / "python").symlink_to(private / "bin" / "python3")
    assert python_of(shop)[1] == []


def test_of_where_a_python_is_installed_only_its_parts_are_bound(shop: Path) -> None:
    """It may be a home, or `~/.local`."""
    home = shop.parent / "somebody"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").write_text("")
    (home / "lib" / "python3.11").mkdir(parents=True)
    (home / "lib" / "python3.11" / "os.py").write_text("")
    (home / ".ssh").mkdir()
    (shop / ".venv" / "bin").mkdir(parents=True)
    (shop / ".venv" / "pyvenv.cfg").write_text(f"home = {home}/bin\n")
    (shop / ".venv" / "bin" / "python").symlink_to(home / "bin" / "python3")
    assert python_of(shop)[1] == [str(shop / ".venv"), str(home / "bin"), str(home / "lib")]


HOSTILE = """import contextlib, os, socket, subprocess, unittest

class Held(unittest.TestCase):
    def test_a_program_can_be_started_and_the_copy_written(self):
        open("shop/cart.py", "w").write("gone")
        subprocess.Popen(["sleep", {seconds!r}], start_new_session=True)

    def test_reads_nothing_outside(self):
        with self.assertRaises(FileNotFoundError):
            open({outside!r})
        with self.assertRaises(FileNotFoundError):
            open("link")

    def test_writes_nothing_outside(self):
        # Where it may write there, that is gone with the sandbox.
        with contextlib.suppress(OSError):
            open({planted!r}, "w")
        with self.assertRaises(OSError):
            open("/planted", "w")
        with self.assertRaises(OSError):
            open("/workspace/shop/cart.py", "w")

    def test_sees_nothing_hidden(self):
        self.assertFalse(os.path.exists("private.txt") or os.path.exists(".env") or "TACIT_PLANTED" in os.environ)
        self.assertLess(sum(one.isdigit() for one in os.listdir("/proc")), 20)

    def test_reaches_nobody(self):
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", {port}), 3)

    def test_when_all_else_is_done_forks_no_more_than_it_may(self):
        with self.assertRaises(BlockingIOError):
            for _ in range(500):
                if not os.fork():
                    os.execv("/bin/sleep", ["sleep", {seconds!r}])
"""


@pytest.mark.usefixtures("boxed")
async def test_hostile_tests_reach_nothing_outside(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = shop.parent / "outside"
    outside.write_text("here")
    (shop / ".gitignore").write_text("private.txt\n")
    (shop / "private.txt").write_text("here")
    (shop / ".env").write_text("KEY=here\n")
    (shop / "link").symlink_to(outside)
    monkeypatch.setenv("TACIT_PLANTED", "here")
    knocks: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(0.2)
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    knocks.append(door.accept()[0].recv(1))
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        planted = shop.parent / "planted"
        seconds = str(3000 + os.getpid() / 1e7)
        program = HOSTILE.format(outside=str(outside), planted=str(planted), port=door.getsockname()[1], seconds=seconds)
        (shop / "tests" / "test_cart.py").write_text(program)
        check = await checked(shop, RIGHT)
        stop.set()
        thread.join()
    assert check.runs is not None, check.note
    assert check.runs.before_failed == check.runs.after_failed == () and len(check.runs.after_passed) == 6, check.runs
    assert knocks == [] and not planted.exists()
    assert (shop / "shop" / "cart.py").read_text() == CART
    assert not [one for one in psutil.process_iter(["cmdline"]) if seconds in (one.info["cmdline"] or ())]
