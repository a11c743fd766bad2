"""How long covering tests may take: what they compute and wait for counts, not what a busy machine keeps from them."""

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from test_covering_tests import CART, RIGHT, asked, checked

from tacit.server.debugging.inside import COPY
from tacit.server.debugging.running import CoveringTests

TEST = """import unittest

from shop.cart import total


class Totals(unittest.TestCase):
    def test_some(self):
        self.assertGreater(total([1]), 0)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "work"
    (root / "shop").mkdir(parents=True)
    (root / "shop" / "cart.py").write_text(CART)
    (root / "shop" / "test_cart.py").write_text(TEST)
    return root


@pytest.mark.usefixtures("boxed")
async def test_tests_that_do_not_end_end(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.server.debugging.running.SLOWER", 4.0)
    looping = await checked(shop, "def total(values):\n    while True:\n        pass\n")
    assert (looping.result, looping.note) == ("failed", "With it the tests that cover it do not end any more.")
    assert (await CoveringTests(asked(shop), CART).check(RIGHT, 3.0)).note.endswith("no time left for them.")


@pytest.mark.usefixtures("boxed")
async def test_tests_that_wait_for_ever_have_no_end_either(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.server.debugging.running.SLOWER", 2.0)
    waiting = await checked(shop, "import threading\n\n\ndef total(values):\n    threading.Event().wait()\n")
    assert (waiting.result, waiting.note) == ("failed", "With it the tests that cover it do not end any more.")


@pytest.mark.usefixtures("boxed")
@pytest.mark.parametrize("stopped", ["all of it", "the tests alone"])
async def test_time_that_a_machine_has_no_processor_for_them_is_not_theirs(
    shop: Path, stopped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where others take it all: the tests with the fix are stopped for longer than they may take."""
    monkeypatch.setattr("tacit.server.debugging.running.MANY_TIMES", 1.0)
    monkeypatch.setattr("tacit.server.debugging.running.SLOWER", 2.0)
    sign = f"stop-{os.getpid()}"
    # Where it waits to be stopped, it can be told by its name.
    fixed = f"import ctypes, time\nctypes.CDLL(None).prctl(15, b{sign!r}, 0, 0, 0)\ntime.sleep(0.5)\n{RIGHT}"
    found: list[int] = []
    ended = threading.Event()

    def stop() -> None:
        me = psutil.Process()
        while not found and not ended.wait(0.02):
            inside = me.children(recursive=True)
            tests = [one for one in inside if named(one) == sign]
            if tests:
                chosen = inside if stopped == "all of it" else tests
                found.extend(one.pid for one in chosen)
                for one in chosen:
                    one.suspend()
                time.sleep(4)
                for one in chosen:
                    one.resume()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        check = await checked(shop, fixed)
    finally:
        ended.set()
        thread.join()
    assert found and check.result == "passed", check.note


@pytest.mark.parametrize(
    ("computed", "passed", "expected"),
    [
        ((1.0, True), 1.0, 1.0),
        # Eight processors at work, as when a package is built.
        ((8.0, True), 1.0, 1.0),
        # A busy machine; one that stood still; sleep.
        ((0.25, True), 1.0, 0.25),
        ((0.0, True), 60.0, 0.0),
        ((0.0, False), 0.25, 0.25),
    ],
)
def test_no_more_is_counted_than_the_time_that_passed(computed: tuple[float, bool], passed: float, expected: float) -> None:
    now = 100.0
    inside: dict[str, Any] = {"time": SimpleNamespace(monotonic=lambda: now), "computed": lambda: computed}
    # The program is text: of it, what counts.
    exec(COPY[COPY.index("LOOK = ") : COPY.index("def wait(")], inside)
    now += passed
    assert inside["spent"]() == expected


def named(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""
