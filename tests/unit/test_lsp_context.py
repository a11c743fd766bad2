"""Context: a window that stays put while one types, budgets that hold, and no secret that the cursor cuts in two."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.lsp.context import Budget, hidden_characters, suffix_end, surroundings, window_start

LINES = "".join(f"value_{number} = compute({number}) + {number * 7}\n" for number in range(2000))
SMALL = Budget(2000, 300)


def test_the_window_stays_put_for_hundreds_of_keystrokes() -> None:
    text, at = LINES, 40_000
    starts = []
    for _ in range(1000):
        text = text[:at] + "x" + text[at:]
        at += 1
        starts.append(window_start(text, at, 2000))
    moves = sum(one != other for one, other in pairwise(starts))
    assert 1 <= moves <= 3, "1,000 characters at a budget of 2,000: every quarter of it, at most"


@given(st.text(alphabet="ab\n", max_size=200), st.integers(0, 200), st.integers(8, 100), st.integers(1, 40))
def test_the_budget_holds_and_cuts_fall_on_lines(text: str, offset: int, prefix: int, suffix: int) -> None:
    offset = min(offset, len(text))
    start, end = window_start(text, offset, prefix), suffix_end(text, offset, suffix)
    assert 0 <= start <= offset <= end <= len(text)
    assert offset - start <= prefix
    assert end - offset <= suffix
    assert offset - start >= min(offset, prefix // 4) - 1, "it is never cut to almost nothing"
    if start and text[start - 1] != "\n":
        line_end = text.find("\n", start, offset)
        assert line_end < 0 or offset - (line_end + 1) < prefix // 4, "inside a line only where the line is too long"
    if end < len(text) and text[end - 1] != "\n":
        assert "\n" not in text[offset:end]


def test_line_ends_are_unified() -> None:
    found = surroundings("a\r\nb\r\nc", 3, SMALL)
    assert found is not None
    assert (found.prefix, found.suffix) == ("a\n", "b\nc")


def test_secrets_are_replaced_on_both_sides() -> None:
    text = 'password = "hunter2hunter2"\n\napi_key = "abcdef0123456789"\n'
    found = surroundings(text, text.index("\n\n") + 1, SMALL)
    assert found is not None
    assert found.prefix == 'password = "<redacted:assigned>"\n'
    assert found.suffix == '\napi_key = "<redacted:assigned>"\n'


@pytest.mark.parametrize(
    "marked",
    [
        'password = "hunter2|hunter2"\n',
        'password = "hunter2hunter2|\n',
        "token = 'ghp_0123456789abcdef01|23456789abcdef0123'\n",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc|def\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMIIEabcdef\nabcd|",
    ],
)
def test_nothing_is_sent_from_inside_a_secret(marked: str) -> None:
    at = marked.index("|")
    assert surroundings(marked.replace("|", ""), at, SMALL) is None


def test_a_key_whose_first_line_is_outside_the_window_is_not_sent() -> None:
    key = "".join(f"{'QUJDREVGRw' * 6}\n" for _ in range(60))
    text = f"-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\nx = 1\n"
    found = surroundings(text, len(text), SMALL)
    assert found is not None
    assert found.prefix == "\nx = 1\n"
    assert surroundings(text, len(text) - 60, SMALL) is None


@pytest.mark.parametrize(("text", "hidden"), [("a = 1", False), ("a\u202eb", True), ("a\u200bb", True), ("漢字 é 😀", False)])
def test_hidden_characters_are_found(text: str, hidden: bool) -> None:
    assert hidden_characters(text) is hidden
