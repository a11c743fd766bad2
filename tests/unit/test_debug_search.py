"""Small changes that are searched for where whole answers lead nowhere: when, for how long, what is shown, what is recorded.

Real checks, and the real sandbox where the tests of a workspace are the proof; only the words of the model are given.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from bubblewrap_here import bubblewrap
from scripted_engine import Scripted

from tacit.protocol.debugging import DebugChunk, DebugRequest, Done, Progress, Proposal, Withheld
from tacit.protocol.fim import QWEN
from tacit.server.debugging import checks
from tacit.server.debugging.answering import DebugService
from tacit.server.debugging.checking import Checker, proven
from tacit.server.debugging.edits import Edit, apply, minimal_edits
from tacit.server.debugging.naming import Naming
from tacit.server.debugging.region import around
from tacit.server.debugging.searching import FILL_TOKENS, MOST_FILLS
from tacit.server.engine.interface import Drawn, DrawStats, Sampling
from tacit.server.settings import Settings

TOTAL = "def total(values):\n    result = 1\n    for value in values:\n        result += value\n    return result\n"
RIGHT = TOTAL.replace("= 1", "= 0")
TEST = (
    "import unittest\nfrom cart import total\n\n\nclass Totals(unittest.TestCase):\n"
    "    def test_none(self):\n        self.assertEqual(total([]), 0)\n\n"
    "    def test_one(self):\n        self.assertGreater(total([1]), 0)\n"
)
SAME = f"It is off by one.\n\n```python\n{TOTAL}```\n"
TRACE = 'Traceback (most recent call last):\n  File "test_cart.py", line 7, in test_none\nAssertionError: 1 != 0\n'
PREFIX, MIDDLE = chr(QWEN.prefix), chr(QWEN.middle)


class Filling(Scripted):
    """Answers as it is told to, and fills blanks by a function of the line that stood there and the temperature."""

    def __init__(self, answers: Sequence[str], fill: Callable[[str, float], str], text: str = TOTAL) -> None:
        super().__init__(*answers)
        self.fill = fill
        self.text = text
        self.filled: list[tuple[str, float]] = []
        """Lines that stood in the blanks; empty: none did."""
        self.closed = 0

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        told = "".join(map(chr, prompt))
        if not told.endswith(MIDDLE):
            async for item in super().generate(prompt, sampling, adapter):
                yield item
            return
        assert sampling.max_tokens == FILL_TOKENS
        before, _, after = told.partition(PREFIX)[2].removesuffix(MIDDLE).partition(chr(QWEN.suffix))
        line = self.text[len(before) : len(self.text) - len(after)]
        self.filled.append((line, sampling.temperature))
        said = self.fill(line, sampling.temperature)
        try:
            yield DrawStats(len(prompt), 1, 1.0, 0, 0.0, False)
            for one in said:
                yield Drawn(ord(one), one, -0.1)
                await asyncio.sleep(0)
            yield DrawStats(len(prompt), 1, 1.0, len(said), 1.0, True)
        finally:
            self.closed += 1


def asking(**changes: Any) -> DebugRequest:
    whole = {
        "kind": "fix", "request_id": "r", "session_id": "s", "language": "python", "path": "cart.py", "text": TOTAL,
        "trace": TRACE, "seed": 1, "record": True, "turns": ({"role": "user", "text": "total"},), **changes,
    }  # fmt: skip
    return DebugRequest.model_validate(whole)


async def answered(engine: Filling, **changes: Any) -> list[DebugChunk]:
    service = DebugService(engine, Settings(context_tokens=8192))
    return [chunk async for chunk in service.answer(asking(**changes), "base", "0" * 64)]


@pytest.fixture(scope="module")
def boxed() -> Iterator[None]:
    with bubblewrap():
        yield


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "cart.py").write_text(TOTAL)
    (tmp_path / "test_cart.py").write_text(TEST)
    return {"workspace": str(tmp_path), "run_tests": True}


def mends(line: str, _: float) -> str:
    """With another name than the code around it has; right where the line keeps its own."""
    return {"    result = 1": "    total = 0", " = 1": " = 0"}.get(line, line)


@pytest.mark.usefixtures("boxed")
async def test_what_a_test_proves_is_shown_and_recorded_as_what_it_is(shop: dict[str, Any]) -> None:
    engine = Filling([SAME], mends)
    chunks = await answered(engine, **shop)
    proposal, done = chunks[-2], chunks[-1]
    assert isinstance(proposal, Proposal) and isinstance(done, Done), proposal
    assert apply(TOTAL, [Edit(edit.start, edit.end, edit.text) for edit in proposal.edits]) == RIGHT
    assert proposal.checks[-1].note == "1 test that failed pass now. 2 tests that cover it pass."
    assert "`result = 1` was wrong." in proposal.reason and "trying" in proposal.reason
    assert 0.5 < proposal.confidence < 1
    # The answer that changed nothing was the last of its kind; then each line in turn, and the first one with its beginning.
    assert len(engine.asked) == 1
    assert engine.filled[-1] == (" = 1", 0.0) and len(engine.filled) == 5
    assert "Trying small changes: 5 of at most 20." in [chunk.text for chunk in chunks if isinstance(chunk, Progress)]
    first, second = done.draws
    assert (first.origin, first.shown, bool(first.generation.tokens)) == ("drawn", False, True)
    # No token of it was sampled as it stands there.
    assert (second.origin, second.shown, second.generation.tokens, second.generation.logprobs) == ("searched", True, (), ())
    assert second.text == f"```python\n{RIGHT}```\n`result = 1` was wrong.\n" and second.checks == proposal.checks
    assert second.messages == first.messages and second.generation.temperature == engine.filled[-1][1]
    assert done.timings.generated == len(SAME) + sum(len(mends(*one)) for one in engine.filled)


@pytest.mark.usefixtures("boxed")
async def test_what_no_test_proves_is_not_shown_and_each_text_is_tried_once(
    shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    check = Checker.check

    async def counted(self: Checker, changed: str, *more: Any) -> Any:
        checked.append(changed)
        return await check(self, changed, *more)

    monkeypatch.setattr(Checker, "check", counted)
    engine = Filling([SAME] * 3, lambda line, _: line.replace("1", "3") or "    result += 1")
    chunks = await answered(engine, **shop)
    withheld = chunks[-2]
    assert isinstance(withheld, Withheld) and "8 small changes that were tried then, none mends it" in withheld.reason
    assert len(engine.filled) == 8 <= MOST_FILLS and len(checked) == len(set(checked)) and TOTAL.replace("1", "3") in checked
    done = chunks[-1]
    assert isinstance(done, Done) and {draw.origin for draw in done.draws} == {"drawn"}


@pytest.mark.usefixtures("boxed")
async def test_first_each_line_then_what_is_behind_its_beginning_then_what_may_be_missing(shop: dict[str, Any]) -> None:
    engine = Filling([SAME] * 3, lambda line, _: "?")
    assert isinstance((await answered(engine, **shop))[-2], Withheld)
    assert [line for line, _ in engine.filled] == [
        "    result = 1", "    for value in values:", "        result += value", "    return result",
        " = 1", " value in values:", " += value", " result",
        " 1", " in values:", " value",
        "", "", "", "",
        " values:",
    ]  # fmt: skip
    assert {temperature for _, temperature in engine.filled} == {0.0}


@pytest.mark.usefixtures("boxed")
@pytest.mark.parametrize("passing", [True, False])
async def test_where_nothing_could_prove_a_fix_none_is_searched_for(shop: dict[str, Any], *, passing: bool) -> None:
    """The tests may not be run, or they pass as it is."""
    if passing:
        (Path(shop["workspace"]) / "test_cart.py").write_text(TEST.replace("), 0)\n\n", "), 1)\n\n"))
    engine = Filling([SAME] * 3, mends)
    chunks = await answered(engine, **{**shop, "run_tests": passing})
    assert isinstance(chunks[-2], Withheld) and not engine.filled and len(engine.asked) == 3


@pytest.mark.usefixtures("boxed")
async def test_tests_that_take_long_are_no_proof_to_search_with(shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.server.debugging.checking.PROOF_SECONDS", 0.0)
    engine = Filling([SAME] * 3, mends)
    assert isinstance((await answered(engine, **shop))[-2], Withheld) and not engine.filled


@pytest.mark.usefixtures("boxed")
async def test_a_program_that_is_ended_before_it_asks_anything_proves_nothing(tmp_path: Path) -> None:
    for tool in ("gcc", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed; where programs end is looked at without it as well, below")
    text = "#include <stdlib.h>\nint total(void) {\n    int sum = 1;\n    return sum;\n}\n"
    (tmp_path / "total.c").write_text(text)
    (tmp_path / "test_total.c").write_text('#include "total.c"\nint main(void) {\n    return total();\n}\n')
    request = asking(language="c", path="total.c", text=text, trace="", workspace=str(tmp_path), run_tests=True)
    checker = Checker(request, text, around(text, text.index("sum"), text.index("sum"), "c"))
    assert await checker.proof(300.0) == "tests"
    for line, result in (("    int sum = 0;", "passed"), ("    exit(0);", "unchecked")):
        changed = text.replace("    int sum = 1;", f"{line}\n    int sum = 0;" if "exit" in line else line)
        found = await checker.check(changed, minimal_edits(text, changed), 300.0)
        assert (found[-1].name, found[-1].result) == ("tests", result), found[-1].note
        assert proven(found, "tests") == (result == "passed")


@pytest.mark.parametrize(
    "line",
    ["exit(0);", "_exit(0);", "quick_exit (0);", "sys.exit()", "os._exit(0)", "process.exit(0);", "std::process::exit(0);",
     "os.Exit(0)", "System.exit(0);", "Runtime.getRuntime().halt(0);"],
)  # fmt: skip
def test_where_a_program_ends_itself_is_seen_in_each_language(line: str) -> None:
    assert checks.ends("a\nb\n", f"a\n{line}\nb\n")
    # It stood there before, or is another word.
    assert not checks.ends(f"{line}\na\n", f"{line}\nb\n") and not checks.ends("a\n", "on_exits(0)\nhalted(1)\nexit\n")


def misspelt() -> dict[str, Any]:
    text = TOTAL.replace("+= value", "+= vlaue")
    start = text.index("vlaue")
    message = "Name `vlaue` used when not defined"
    diagnostic = {"start": start, "end": start + 5, "message": message, "code": "unresolved-reference", "source": "ty"}
    return {"text": text, "diagnostics": (diagnostic,), "trace": "", "turns": ()}


async def test_a_diagnostic_that_is_gone_is_proof_and_only_its_line_is_tried() -> None:
    about = misspelt()
    engine = Filling([f"```python\n{about['text']}```\nSo.\n"] * 3, lambda line, _: "        result += value", about["text"])
    chunks = await answered(engine, **about)
    proposal = chunks[-2]
    assert isinstance(proposal, Proposal), proposal
    assert [line.strip() for line, _ in engine.filled] == ["result += vlaue"]
    assert {check.name: check.result for check in proposal.checks}["diagnostic"] == "passed"


@pytest.mark.parametrize("fill", ["        pass", "        # result += vlaue", "        continue\n        result += vlaue"])
async def test_a_diagnostic_that_is_gone_with_what_it_is_about_is_no_proof(fill: str) -> None:
    about = misspelt()
    engine = Filling([f"```python\n{about['text']}```\nSo.\n"] * 3, lambda line, _: fill, about["text"])
    assert isinstance((await answered(engine, **about))[-2], Withheld) and engine.filled


async def test_what_would_prove_a_fix_is_looked_for_no_longer_than_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hanging(self: Naming, changed: str) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(Naming, "compared", hanging)
    request = asking(**misspelt())
    async with asyncio.timeout(60):
        assert await Checker(request, request.text, around(request.text, 0, 0, "python")).proof(0.2) == ""


async def test_a_diagnostic_that_stays_is_searched_for_on_its_line_only_and_then_drawn_for_again() -> None:
    about = misspelt()
    answers = [f"```python\n{about['text'].replace('vlaue', name)}```\nSo.\n" for name in ("vlaue", "vlaues", "value")]
    engine = Filling(answers, lambda line, _: line, about["text"])
    chunks = await answered(engine, **about)
    assert isinstance(chunks[-2], Proposal) and [line.strip() for line, _ in engine.filled] == ["result += vlaue", ""]


async def test_the_deadline_ends_a_search() -> None:
    about = misspelt()

    class Hanging(Filling):
        async def generate(self, prompt: Sequence[int], *more: Any) -> AsyncGenerator[Drawn | DrawStats, None]:
            if prompt[-1] != QWEN.middle:
                async for item in super().generate(prompt, *more):
                    yield item
                return
            try:
                await asyncio.Event().wait()
            finally:
                self.closed += 1

    engine = Hanging([f"```python\n{about['text']}```\nSo.\n"] * 3, mends)
    async with asyncio.timeout(60):
        chunks = await answered(engine, **about, deadline_ms=3000)
    assert isinstance(chunks[-2], Withheld) and "in the time there was" in chunks[-2].reason
    assert engine.closed == 1


async def test_whoever_hangs_up_ends_the_search_and_frees_the_engine() -> None:
    about = misspelt()
    engine = Filling([f"```python\n{about['text']}```\nSo.\n"] * 3, lambda line, _: line * 2, about["text"])
    service = DebugService(engine, Settings(context_tokens=8192))
    async with contextlib.aclosing(service.answer(asking(**about), "base", "0" * 64)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Progress) and "small changes: 2" in chunk.text:
                break
    assert engine.closed == 1 == len(engine.filled)


async def test_a_prompt_for_a_blank_fits_however_long_the_file_is() -> None:
    about = misspelt()
    text = "x = 1\n" * 3000 + about["text"] + "y = 2\n" * 3000
    start = text.index("vlaue")
    about = {**about, "text": text, "diagnostics": ({**about["diagnostics"][0], "start": start, "end": start + 5},)}
    lengths: list[int] = []

    class Reading(Filling):
        async def generate(self, prompt: Sequence[int], *more: Any) -> AsyncGenerator[Drawn | DrawStats, None]:
            lengths.append(len(prompt))
            fills = prompt[-1] == QWEN.middle
            said = "        result += value" if fills else "I do not know."
            if fills:
                told = "".join(map(chr, prompt))
                assert "def total" in told and "x = 1\n" in told and "vlaue" not in told
            yield DrawStats(len(prompt), 1, 1.0, 0, 0.0, False)
            for one in said:
                yield Drawn(ord(one), one, -0.1)
            yield DrawStats(len(prompt), 1, 1.0, len(said), 1.0, True)

    service = DebugService(Reading([], mends), Settings(context_tokens=2500))
    chunks = [chunk async for chunk in service.answer(asking(**about), "base", "0" * 64)]
    assert isinstance(chunks[-2], Proposal), chunks[-2]
    assert max(lengths) <= 2500 - FILL_TOKENS
    assert around(text, start, start, "python").name == "total"
