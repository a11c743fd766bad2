"""Which lines of a function are blanked out, and what a fill makes of the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.server.debugging.blanks import MOST_LINES, Blank, above, blanks, enough, filled, fills, further, line_of, stays
from tacit.server.debugging.region import Region, around

PYTHON = '''import math


# About it.
def mean(
    values,
):
    """The mean.

    Of values.
    """
    # The sum.
    total = sum(values)  # of all
    if not values:
        return 0

    return total / 2
'''
SCRIPT = """/* Of
   values. */
function mean(values) {
  // The sum.
  const total = values.reduce((a, b) => a + b, 1);
  if (!values.length) {
    return 0;
  }
  return total / values.length;
}
"""
CODE = st.text(st.sampled_from("ab =(){}:#\"'\n\t\r"), max_size=120)


def lines(text: str, language: str, suspected: tuple[int, ...] = ()) -> list[str]:
    region = around(text, text.index("mean"), text.index("mean"), language)
    return [text[one.start : one.end].strip() for one in blanks(text, region, language, suspected)]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        (PYTHON, "python", ["total = sum(values)  # of all", "if not values:", "return 0", "return total / 2"]),
        (
            SCRIPT,
            "javascript",
            [
                "const total = values.reduce((a, b) => a + b, 1);",
                "if (!values.length) {",
                "return 0;",
                "return total / values.length;",
            ],
        ),
    ],
)
def test_only_lines_that_do_something_are_blanked_out(text: str, language: str, expected: list[str]) -> None:
    assert lines(text, language) == expected


def test_lines_that_are_suspected_come_first() -> None:
    row = PYTHON.count("\n", 0, PYTHON.index("    return total"))
    assert lines(PYTHON, "python", (row,))[:2] == ["return total / 2", "total = sum(values)  # of all"]


def test_a_function_on_one_line_is_blanked_out_whole() -> None:
    assert lines("const mean = (values) => sum(values) / 2;\n", "javascript") == ["const mean = (values) => sum(values) / 2;"]


@given(text=CODE, language=st.sampled_from(["python", "javascript", "rust", "cobol"]), data=st.data())
def test_a_blank_is_whole_lines_and_all_else_stays(text: str, language: str, data: st.DataObject) -> None:
    region = Region(0, len(text), "", is_function=False)
    lines = blanks(text, region, language)
    for blank in [*lines, *map(above, lines)]:
        old = text[blank.start : blank.end]
        assert blank.start == 0 or text[blank.start - 1] == "\n"
        assert text.count("\n", 0, blank.start) == blank.row and "\n" not in old
        fill = data.draw(st.text(st.sampled_from("ab \n"), min_size=1, max_size=9))
        changed = filled(text, blank, fill)
        assert changed.startswith(text[: blank.start]) and changed.endswith(text[blank.end :])
        if blank.added:
            assert not old
            assert len(changed) >= len(text) + len(fill) + 1
        else:
            assert old.strip() and filled(text, blank, old) == text


def test_a_line_that_is_added_stands_above_and_line_ends_stay_what_they_are() -> None:
    text = "a\r\nb\r\n"
    assert filled(text, Blank(3, 3, 1, added=True), "x\ny") == "a\r\nx\r\ny\r\nb\r\n"
    assert filled(text, Blank(3, 4, 1), "x\ny") == "a\r\nx\r\ny\r\n"


@pytest.mark.parametrize(
    ("old", "said", "left"),
    [
        ("    for (int k = 1; k < n; k++) {", "    for (int i = 2; i < n; i++) {", " = 1; k < n; k++) {"),
        ("    return idx + 1", "    return i + 1", " + 1"),
        ("    return b", "", " b"),
        ("    return b", "\n    return a\n    more", None),
        ("    x += 1;", "    x += 2;", ";"),
        # The same, and whatever follows it.
        ("    x += 1", "    x += 1\n    y", None),
        ("    x += 1", "    x += 1 + y", None),
    ],
)
def test_a_line_keeps_what_it_says_and_a_word_more(old: str, said: str, left: str | None) -> None:
    text = f"def f():\n{old}\n    z\n"
    blank = further(text, Blank(9, 9 + len(old), 1), said)
    assert (None if blank is None else text[blank.start : blank.end]) == left
    if blank is not None:
        assert line_of(text, blank) == (Blank(9, 9 + len(old), 1), old.removesuffix(left or ""))
        assert filled(text, blank, "!") == f"def f():\n{old.removesuffix(left or '')}!\n    z\n"


@given(text=CODE, said=st.lists(CODE, min_size=1, max_size=9))
def test_less_is_left_each_time_and_at_last_nothing(text: str, said: list[str]) -> None:
    for blank in blanks(text, Region(0, len(text), "", is_function=False), "python"):
        left: Blank | None = blank
        for one in said:
            assert left is not None
            behind = further(text, left, one)
            if behind is None:
                break
            assert left.start < behind.start < behind.end == left.end and behind.row == blank.row
            assert line_of(text, behind) == (blank, text[blank.start : behind.start])
            left = behind


@pytest.mark.parametrize(
    ("said", "ended", "expected"),
    [
        ("    x = 1", True, ["    x = 1"]),
        ("\n    x = 1  \n", True, ["    x = 1"]),
        ("    x = 1\n    y = 2", True, ["    x = 1\n    y = 2", "    x = 1"]),
        # Cut off: only its first line is surely meant as it is.
        ("    x = 1\n    y = ", False, ["    x = 1"]),
        ("a\nb\nc\nd", True, ["a"]),
        ("", True, []),
        ("  \n", True, []),
    ],
)
def test_a_fill_is_all_that_was_written_or_its_first_line(said: str, ended: bool, expected: list[str]) -> None:
    assert fills(said, ended=ended) == expected


def test_the_rest_of_a_line_is_on_that_line() -> None:
    assert fills("\n    y = 2", ended=True, begun=True) == fills("\r\n", ended=True, begun=True) == []
    assert fills(" = 1\n    y = 2", ended=False, begun=True) == [" = 1"]


@pytest.mark.parametrize(
    ("said", "old", "expected"),
    [
        ("\n" + "x\n" * (MOST_LINES - 1), "y", False),
        ("x\n" * MOST_LINES, "y", True),
        ("    x = 1\n", "    x = 1\r", True),
        ("    x = 1", "    x = 1", False),
        ("    x = 1\n", "", False),
    ],
)
def test_writing_is_stopped_where_it_is_no_small_change_or_none_at_all(said: str, old: str, *, expected: bool) -> None:
    assert enough(said, old) == expected


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("    result += value", True),
        ("    result += value  # of the list", True),
        ("    if vlaue is None:\n        return\n    result += vlaue", True),
        ("    pass", False),
        ("    # result += vlaue", False),
        ("    pass  # result += vlaue", False),
        ("    return result", False),
        # What follows is not looked at by a checker, since it is not reached.
        ("    return\n    result += vlaue", False),
    ],
)
def test_what_a_line_does_stays_or_is_done_away_with(fill: str, *, expected: bool) -> None:
    text = "def f():\n    result += vlaue\n"
    assert stays(text, Blank(9, 28, 1), fill) == expected
    assert stays(text.replace("\n", "\r\n"), Blank(10, 29, 1), fill) == expected


def test_a_line_that_is_added_may_be_any_but_one_that_leaves() -> None:
    text, above = "def f():\n    result += vlaue\n", Blank(9, 9, 1, added=True)
    assert stays(text, above, "    vlaue = g()") and stays(text, above, "    for vlaue in values:\n        break")
    assert not stays(text, above, "    raise ValueError")
    assert stays("def f():\n    return vlaue\n", Blank(9, 25, 1), "    return value")
