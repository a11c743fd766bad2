"""Runs after a fix: what a second output says of it, and when the language server tells the record of one."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from debugging_bench import TEXT, Bench, debugging_bench
from lsprotocol import types

from tacit.lsp.debugging import reruns
from tacit.lsp.debugging.outputs import Rerun, compared, same_program
from tacit.lsp.extensions import ApplyBlockParams, ChatParams
from tacit.lsp.settings import Settings

ENTRY = 'Traceback (most recent call last):\n  File "a.py", line 8, in <module>\n    print(add(1, 2))\n'
ADD = '  File "a.py", line 5, in add\n    return a + c\n'
TRACE = f"{ENTRY}{ADD}NameError: name 'c' is not defined\n"
OTHER = f"{ENTRY}{ADD}TypeError: unsupported operand\n"
ELSEWHERE = f"{ENTRY}  File \"a.py\", line 2, in other\n    return c\nNameError: name 'c' is not defined\n"
PYTEST = f"{TRACE}=== short test summary info ===\nFAILED test_a.py::test_add - NameError\nFAILED test_a.py::test_b - x\n"
JAVA = 'Exception in thread "main" java.lang.IllegalStateException: no\n\tat a.A.f(A.java:3)\n\tat a.A.main(A.java:9)\n'


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (TRACE, "3\n", Rerun(True)),
        (TRACE, TRACE, Rerun(False, "NameError")),
        (TRACE, OTHER, Rerun(True, "TypeError")),
        (TRACE, ELSEWHERE, Rerun(True, "NameError")),
        (TRACE, TRACE.replace("line 5", "line 50"), Rerun(False, "NameError")),
        (TRACE, ENTRY + ADD + "AssertionError\n", Rerun(True)),
        (JAVA, "fine\n", Rerun(True)),
        (JAVA, JAVA.replace("3)", "4)"), Rerun(False, "java.lang.IllegalStateException")),
        # Not begun, not compiled, not come by there yet; no program's failure at all.
        (TRACE, " \n", None),
        (TRACE, "a.c:3:5: error: expected ';' before 'x'\n", None),
        (TRACE, TRACE + "request 2\n", None),
        (TRACE, TRACE + TRACE, Rerun(False, "NameError")),
        ("fine\n", TRACE, None),
        ("", TRACE, None),
        # Tests that have not come to their end yet; then counted.
        (PYTEST + "2 failed, 1 passed in 0.1s\n", "collected 3 items\n", None),
        (PYTEST + "2 failed, 1 passed in 0.1s\n", "3 passed in 0.1s\n", Rerun(True, "", 2)),
        (PYTEST + "2 failed, 1 passed in 0.1s\n", f"{OTHER}FAILED test_a.py::test_b - x\n1 failed, 2 passed in 0.1s\n",
         Rerun(True, "", 1, 1)),
        (PYTEST + "2 failed, 1 passed in 0.1s\n", PYTEST + "2 failed, 1 passed in 0.2s\n", Rerun(False, "NameError", 0, 2)),
        (PYTEST + "2 failed, 1 passed in 0.1s\n", "FAILED test_a.py::test_c - x\n1 failed, 2 passed in 0.1s\n",
         Rerun(True, "", 2, 0, 1)),
        # A test that is new has broken nothing.
        (PYTEST + "2 failed, 1 passed in 0.1s\n", "FAILED test_a.py::test_new - x\n1 failed, 3 passed in 0.1s\n",
         Rerun(True, "", 2)),
    ],
)  # fmt: skip
def test_what_a_second_output_says(before: str, now: str, told: Rerun | None) -> None:
    assert compared(before, now) == told


def test_traces_of_one_program_begin_at_the_same_place() -> None:
    assert same_program(TRACE, OTHER) and same_program(TRACE, ELSEWHERE)
    # The same words again are the same run as likely as another one.
    assert not same_program(TRACE, f"\n{TRACE}")
    assert not same_program(TRACE, OTHER.replace('"a.py", line 8', '"b.py", line 8')) and not same_program(TRACE, JAVA)


def reran(bench: Bench) -> list[dict[str, Any]]:
    return [one for one in bench.events() if one["kind"] == "reran"]


async def applied(bench: Bench, *, save: bool = True) -> None:
    made = await bench.fixed()
    assert made is not None
    bench.apply(made)
    if save:
        bench.feedback.saved(bench.document.uri)


def write(path: Path, text: str, seconds: float) -> None:
    """As if it had been so many seconds from now."""
    path.write_text(text)
    os.utime(path, (time.time() + seconds,) * 2)


async def looked(bench: Bench) -> None:
    """The document is closed: the last time that its texts are read."""
    bench.feedback.closed(bench.document.uri)
    await bench.debugging.reruns.end(30)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the future has been quiet long enough."""
    monkeypatch.setattr(reruns, "QUIET_S", -1000.0)


@pytest.mark.parametrize(("now", "gone", "raised"), [("3\n", True, ""), (TRACE, False, "NameError"), (OTHER, True, "TypeError")])
async def test_saved_output_that_is_written_anew_after_a_fix_is_told(tmp_path: Path, now: str, gone: bool, raised: str) -> None:
    async with debugging_bench(tmp_path) as bench:
        write(tmp_path / "run.log", TRACE, -60)
        await applied(bench)
        write(tmp_path / "run.log", now, 60)
        await looked(bench)
        suggested = next(one for one in bench.events() if one["kind"] == "suggested")
        [told] = reran(bench)
        assert told["suggestion_id"] == suggested["suggestion_id"] and told["elapsed_ms"] >= 0
        assert (told["exception_gone"], told["raised"]) == (gone, raised)


async def test_what_has_not_run_with_the_fix_says_nothing(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        # Not written since.
        write(tmp_path / "run.log", TRACE, -60)
        await applied(bench)
        await looked(bench)
        assert reran(bench) == []
    async with debugging_bench(tmp_path) as bench:
        # The file was not saved: it is the old code that ran.
        await applied(bench, save=False)
        write(tmp_path / "run.log", "3\n", 60)
        await looked(bench)
        assert reran(bench) == []
    async with debugging_bench(tmp_path) as bench:
        # The fix was taken out again.
        write(tmp_path / "run.log", TRACE, -60)
        await applied(bench)
        bench.type(TEXT.index("retrun"), TEXT.index("retrun") + 6, "retrun")
        write(tmp_path / "run.log", "3\n", 60)
        await looked(bench)
        assert "undone" in bench.kinds() and reran(bench) == []
    async with debugging_bench(tmp_path) as bench:
        # The trace is of another part of the file than what the fix was for.
        write(tmp_path / "run.log", TRACE.replace("line 5", "line 500").replace("line 8", "line 800"), -60)
        await applied(bench)
        write(tmp_path / "run.log", "3\n", 60)
        await looked(bench)
        assert reran(bench) == []


async def test_output_is_read_once_and_not_where_the_developer_does_not_want_it(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        write(tmp_path / "run.log", TRACE, -60)
        await applied(bench)
        write(tmp_path / "run.log", TRACE, 60)
        for _ in range(3):
            bench.debugging.reruns.look(next(one for one in bench.events() if one["kind"] == "suggested")["suggestion_id"])
            await asyncio.wait(bench.debugging.reruns._looking.values())
        assert len(reran(bench)) == 1
    (tmp_path / "other").mkdir()
    async with debugging_bench(tmp_path / "other") as bench:
        bench.settings = Settings(snippet_tokens=0)
        tmp_path = tmp_path / "other"
        write(tmp_path / "run.log", TRACE, -60)
        await applied(bench)
        write(tmp_path / "run.log", "3\n", 60)
        await looked(bench)
        assert reran(bench) == []


async def test_a_trace_that_is_given_again_tells_of_the_code_that_was_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debugging_bench(tmp_path) as bench:
        about = types.TextDocumentIdentifier(bench.document.uri)
        code = "Write it so:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"
        bench.model.chunks = [{"kind": "text", "text": code}]
        first = await bench.chat.ask(ChatParams(text_document=about, stack_trace=TRACE))
        # Nothing was applied yet.
        await bench.chat.ask(ChatParams("And now?", first["conversationId"], stack_trace=OTHER))
        assert reran(bench) == []

        async def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            bench.apply(params.edit)
            return types.ApplyWorkspaceEditResult(applied=True)

        monkeypatch.setattr(bench.lsp, "workspace_apply_edit_async", apply)
        assert (await bench.debugging.applying.apply(ApplyBlockParams(0, first["suggestionId"])))["applied"]
        bench.feedback.saved(bench.document.uri)
        for again in (TRACE, JAVA, ELSEWHERE):
            await bench.chat.ask(ChatParams("And now?", first["conversationId"], stack_trace=again))
        [told] = reran(bench)
        assert (told["suggestion_id"], told["exception_gone"], told["raised"]) == (first["suggestionId"], True, "NameError")
