"""Edits: trimming, sliding and carrying positions change how a change is told, never what it makes of the text."""

from hypothesis import given
from hypothesis import strategies as st

from tacit.lsp.edits import Edit, carried_left, carried_right, difference, slid, trimmed

TEXT = st.text(alphabet="ab\n", max_size=30)


@st.composite
def texts_and_edits(draw: st.DrawFn) -> tuple[str, Edit]:
    before = draw(TEXT)
    start = draw(st.integers(0, len(before)))
    end = draw(st.integers(start, len(before)))
    return before, Edit(start, end, draw(TEXT))


@given(texts_and_edits())
def test_trimming_keeps_the_result_and_leaves_nothing_to_trim(case: tuple[str, Edit]) -> None:
    before, edit = case
    small = trimmed(edit, before)
    assert small.apply(before) == edit.apply(before)
    removed = before[small.start : small.end]
    if removed and small.text:
        assert removed[0] != small.text[0]
        assert removed[-1] != small.text[-1]


@given(TEXT, TEXT)
def test_difference_makes_one_of_the_other(before: str, after: str) -> None:
    assert difference(before, after).apply(before) == after


@given(texts_and_edits(), st.integers(0, 30))
def test_sliding_keeps_the_result(case: tuple[str, Edit], target: int) -> None:
    before, edit = case
    after = edit.apply(before)
    moved = slid(edit, before, after, target)
    assert moved.apply(before) == after
    assert moved.start in {edit.start, target}


def test_an_insertion_told_later_slides_back_to_the_cursor() -> None:
    before = "def f():\n    return 1\n"
    # "\n    x = 2" was put after the colon; an editor that compares texts says that "x = 2\n    " was put before "return".
    after = "def f():\n    x = 2\n    return 1\n"
    told = difference(before, after)
    assert told == Edit(13, 13, "x = 2\n    ")
    assert slid(told, before, after, 8) == Edit(8, 8, "\n    x = 2")
    assert slid(told, before, after, 7) == told, "not the same change"


@given(texts_and_edits(), st.data())
def test_a_carried_hole_is_what_a_labelled_text_says(case: tuple[str, Edit], data: st.DataObject) -> None:
    """Reference: every character has a label; what replaces something takes the label of the place that was touched."""
    before, edit = case
    left = data.draw(st.integers(0, len(before)))
    right = data.draw(st.integers(left, len(before)))
    labels = ["before"] * left + ["hole"] * (right - left) + ["after"] * (len(before) - right)
    if edit.start == edit.end:
        inside = left <= edit.start <= right
    else:
        inside = edit.start < right and edit.end > left
        # A change from before to after an empty hole swallows it.
        inside = inside or (left == right and edit.start < left < edit.end)
    where = "hole" if inside else ("before" if edit.end <= left else "after")
    expected = labels[: edit.start] + [where] * len(edit.text) + labels[edit.end :]
    new_left, new_right = carried_left(left, edit), carried_right(right, edit)
    assert expected == ["before"] * new_left + ["hole"] * (new_right - new_left) + ["after"] * (len(expected) - new_right)
