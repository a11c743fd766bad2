"""What a question that is asked again, and errors around a fix, say of the answer: by place and time, not by words alone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from debugging_bench import TEXT, WRONG, debugging_bench, edit
from lsprotocol import types

from tacit.lsp.debugging.problems import AGAIN_MS, Asked, Problems
from tacit.lsp.documents import Step
from tacit.lsp.edits import Edit

URI = "file:///a.py"
WIDTH = 10
"""Of a line, in these tests."""
ABOUT = ("ty", "wrong")


def line(offset: int) -> int:
    return offset // WIDTH


def span(first: int, last: int | None = None) -> tuple[int, int]:
    return first * WIDTH, (first if last is None else last) * WIDTH + WIDTH - 1


def told(*lines: int, message: str = "wrong", severity: int = 1) -> list[types.Diagnostic]:
    return [
        types.Diagnostic(
            types.Range(types.Position(number, 0), types.Position(number, 5)),
            message,
            source="ty",
            severity=types.DiagnosticSeverity(severity),
        )
        for number in lines
    ]


def asked(name: str, at: float, where: int, problems: Problems, *, kind: str = "fix") -> str | None:
    """The answer that was no use, if this question says so."""
    before = problems.asked(Asked(kind, URI, ABOUT, name, at, span(where)), line)
    return None if before is None else before[0]


def fixed(problems: Problems, name: str, where: int, now: float) -> None:
    problems.watch(name, URI, told(where)[0], span(where), line)
    problems.applied(name, now)


def test_ten_equal_problems_mended_one_by_one_are_ten_questions() -> None:
    problems = Problems()
    for number in range(10):
        now = 1000.0 * number
        problems.told(URI, told(*range(number, 10)), now)
        assert asked(f"fix-{number}", now, number, problems) is None
        fixed(problems, f"fix-{number}", number, now + 1)
    # All in one place, as where each fix deletes its line.
    problems = Problems()
    for number in range(10):
        now = 1000.0 * number
        problems.told(URI, told(*[0] * (10 - number)), now)
        assert asked(f"fix-{number}", now, 0, problems) is None
        fixed(problems, f"fix-{number}", 0, now + 1)


def test_a_problem_that_is_still_there_is_asked_about_again() -> None:
    problems = Problems()
    problems.told(URI, told(3), 0)
    assert asked("one", 10, 3, problems) is None
    fixed(problems, "one", 3, 20)
    problems.told(URI, told(3), 30)
    assert asked("two", 40, 3, problems) == "one"
    # Once for each answer, and of the same kind.
    assert asked("three", 50, 3, problems, kind="explain") is None
    assert asked("four", 60, 3, problems) == "two"


@pytest.mark.parametrize(("after", "again"), [(AGAIN_MS, True), (AGAIN_MS + 1, False)])
def test_after_half_an_hour_it_is_another_question(after: float, again: bool) -> None:
    problems = Problems()
    asked("one", 5, 3, problems)
    assert (asked("two", 5 + after, 3, problems) == "one") is again


@pytest.mark.parametrize(
    ("edits", "now_at"),
    [
        ([Edit(0, 0, "x" * 2 * WIDTH)], 5),
        ([Edit(0, WIDTH, "")], 2),
        ([Edit(9 * WIDTH, 9 * WIDTH, "x" * 50)], 3),
        ([Edit(0, WIDTH, ""), Edit(0, 0, "x" * 4 * WIDTH)], 6),
        # Inside: a fix of more lines.
        ([Edit(3 * WIDTH + 2, 3 * WIDTH + 4, "x" * 2 * WIDTH)], 5),
    ],
)
def test_a_place_goes_with_the_text(edits: Sequence[Edit], now_at: int) -> None:
    def carried() -> Problems:
        problems = Problems()
        asked("one", 0, 3, problems)
        problems.changed(URI, [Step(edit, "", "") for edit in edits])
        problems.changed("file:///b.py", [Step(Edit(0, 0, "x" * 100), "", "")])
        return problems

    assert asked("two", 10, now_at, carried()) == "one"
    assert asked("two", 10, now_at + 1, carried()) is None


def test_where_it_is_not_known_the_words_tell() -> None:
    problems = Problems()
    asked("one", 0, 3, problems)
    problems.closed(URI)
    assert asked("two", 10, 30, problems) == "one"


def test_errors_count_around_the_fix_alone() -> None:
    problems = Problems()
    problems.told(URI, [*told(20), *told(1, 18, message="old")], 0)
    fixed(problems, "fix", 20, 10)
    new = [*told(22, message="near"), *told(16, 40, message="half-typed"), *told(21, message="warning", severity=2)]
    problems.told(URI, [*new, *told(1, 18, message="old")], 20)
    assert problems.checked("fix", 30, line) == (20, True, 1)
    # It came nearer, when lines between went away; it is not new.
    problems.told(URI, told(18, 19, message="old"), 40)
    assert problems.checked("fix", 50, line) == (40, True, 0)
    # One more of those that are elsewhere, too.
    problems.told(URI, told(1, 18, 21, message="old"), 60)
    assert problems.checked("fix", 70, line) == (60, True, 1)


def test_the_fixs_place_goes_with_the_text() -> None:
    problems = Problems()
    problems.told(URI, told(20), 0)
    fixed(problems, "fix", 20, 10)
    problems.changed(URI, [Step(Edit(0, 0, "x" * 30 * WIDTH), "", "")])
    problems.told(URI, [*told(50, message="near"), *told(20, message="far")], 20)
    assert problems.checked("fix", 30, line) == (20, True, 1)


async def test_equal_problems_in_other_places_are_other_questions(tmp_path: Path) -> None:
    text = TEXT + TEXT
    second = len(TEXT) + WRONG
    async with debugging_bench(tmp_path, text=text) as bench:
        bench.complain("unexpected `a`", "unexpected `a`", lines=(4, 12))
        made = await bench.fixed()
        assert made is not None
        bench.apply(made)
        # Nobody has said yet whether it helped: the place alone tells the second from the first.
        bench.model.chunks = [edit(second, second + 6, "return  #")]
        made = await bench.fixed(bench.question(second, second + 6))
        assert made is not None
        bench.apply(made)
        assert "asked_again" not in bench.kinds()
        # The same place, lines farther down: this one did not help.
        bench.type(0, 0, "\n\n\n")
        bench.complain("unexpected `a`", "unexpected `a`", lines=(7, 15))
        await bench.fixed(bench.question(second + 3, second + 9))
        names = [one["suggestion_id"] for one in bench.events() if one["kind"] == "suggested"]
        assert [one["suggestion_id"] for one in bench.events() if one["kind"] == "asked_again"] == [names[1]]


async def test_a_place_that_moves_while_the_model_thinks_stays_that_place(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.chunks = [{"kind": "text", "text": "It is "}, {"kind": "text", "text": "no word."}]
        bench.model.gate.clear()
        task = asyncio.create_task(bench.debugging.explain(bench.question()))
        await bench.model.said.wait()
        bench.type(0, 0, "\n\n\n")
        bench.model.gate.set()
        assert await task is not None
        # What is on its old line now is something else.
        assert await bench.debugging.explain(bench.question(WRONG - 8, WRONG - 7)) is not None
        assert "asked_again" not in bench.kinds()
        assert await bench.debugging.explain(bench.question(WRONG + 3, WRONG + 9)) is not None
        assert bench.kinds().count("asked_again") == 1
