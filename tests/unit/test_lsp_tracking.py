"""Tracking: what becomes of a suggestion, told from changes alone. Tables of behaviour."""

import pytest
from played import Play

from tacit.lsp.documents import Step
from tacit.lsp.edits import Edit, difference
from tacit.lsp.outcomes import Accepted, Outcome, Rejected, Settled, TypedThrough, Undone
from tacit.lsp.tracking import MOST_TRACKED, QUIET_MS, Tracker


def test_accepted_in_one_change() -> None:
    play = Play("x = |\n", "foo(1)")
    play.insert("foo(1)")
    assert play.said == [Accepted("s", 6, 6, 100.0, inferred=True)]


def test_accepted_after_a_typed_beginning_counts_from_its_start() -> None:
    play = Play("x = |\n", "foo(1)")
    play.type("fo")
    assert play.tracker.remaining(play.cursor).text == "o(1)"  # type: ignore[union-attr]
    play.insert("o(1)")
    assert play.told == [("accepted", 6, 6)]


def test_accepted_in_pieces_adds_up() -> None:
    play = Play("|", "one two three")
    play.insert("one ")
    play.insert("two ")
    play.insert("three")
    assert play.told == [("accepted", 4, 13), ("accepted", 8, 13), ("accepted", 13, 13)]


def test_a_piece_then_other_text_is_a_partial_acceptance_and_no_rejection() -> None:
    play = Play("|\n", "one two three")
    play.insert("one ")
    play.type("x")
    assert play.told == [("accepted", 4, 13)]
    assert play.after(QUIET_MS) == [Settled("s", "10s", QUIET_MS + 100, "one ", "one x")]


def test_typed_out_character_by_character() -> None:
    play = Play("x = |\n", "foo")
    play.type("foo")
    assert play.said == [TypedThrough("s", 3, 3, 300.0)]


def test_two_keys_in_one_notification_are_still_typed() -> None:
    play = Play("|", "abc")
    play.edit(Edit(0, 0, "a"), Edit(1, 1, "b"))
    assert play.told == []
    assert play.tracker.remaining(2).text == "c"  # type: ignore[union-attr]


def test_more_keys_at_once_than_anybody_types_are_an_acceptance() -> None:
    """Neovim tells a menu's entry so: the first character at once, the others soon, each as an edit of its own."""
    text = "paralysis()"
    play = Play("|", text)
    play.type(text[0])
    play.edit(*(Edit(at, at, character) for at, character in enumerate(text) if at))
    assert play.told == [("accepted", len(text), len(text))]


def test_what_was_typed_while_the_editor_hung_is_typed() -> None:
    play = Play("|", "paralysis()")
    play.after(60_000)
    play.edit(*(Edit(at, at, character) for at, character in enumerate("paralysis")))
    assert play.told == []


def test_enter_with_the_editors_indent_is_typed() -> None:
    play = Play("def f():|\n", "\n    return 1")
    play.insert("\n    ")
    assert play.told == []
    play.insert("return 1")
    assert play.told == [("accepted", 13, 13)]


def test_typed_over() -> None:
    play = Play("x = |\n", "foo(1)")
    play.type("fx")
    assert play.said == [TypedThrough("s", 1, 6, 200.0), Rejected("s", "typed_over", 200.0, inferred=True)]


def test_a_typed_character_taken_back_leaves_it_whole() -> None:
    play = Play("x = |\n", "foo(1)")
    play.type("fo")
    play.backspace(2)
    assert play.told == []
    left = play.tracker.remaining(play.cursor)
    assert left is not None
    assert (left.text, left.whole) == ("foo(1)", True)


@pytest.mark.parametrize("text", ["x = |\n", "x = |)\n", "f(|\r\n"])
def test_brackets_that_the_editor_closes_do_not_end_typing_through(text: str) -> None:
    play = Play(text, 'g(a, "b")')
    play.type("g")
    play.edit(Edit(play.cursor, play.cursor, "()"))
    play.cursor += 1
    assert play.told == []
    left = play.tracker.remaining(play.cursor)
    assert left is not None
    assert (left.text, left.replaces) == ('a, "b")', 1)
    play.type("a, ")
    play.edit(Edit(play.cursor, play.cursor, '""'))
    play.cursor += 1
    play.type("b")
    # The closing quote and bracket are there already: with the last character all of it stands there.
    assert play.told == [("typed", 9, 9)]


def test_an_item_that_takes_the_closed_bracket_with_it_is_accepted() -> None:
    play = Play("|\n", "g(abc)")
    play.type("g")
    play.edit(Edit(1, 1, "()"))
    play.edit(Edit(2, 3, "abc)"))
    assert play.told == [("accepted", 6, 6)]


def test_a_change_elsewhere_means_ignored() -> None:
    play = Play("a = 1\nx = |\n", "foo")
    play.edit(Edit(0, 1, "b"))
    assert play.told == ["ignored"]


def test_a_request_elsewhere_means_ignored_and_one_at_the_cursor_does_not() -> None:
    play = Play("x = |\n", "foo")
    play.ask(play.cursor)
    play.type("f")
    play.ask(play.cursor)
    assert play.told == []
    play.ask(0)
    assert play.told == [("typed", 1, 3), "ignored"]


def test_backspace_before_it_means_ignored() -> None:
    play = Play("x = |\n", "foo")
    play.backspace()
    assert play.told == ["ignored"]


def test_superseded_dismissed_and_focus_lost() -> None:
    play = Play("x = |\n", "foo")
    play._hear(play.tracker.offer("t", "bar", play.cursor, 1200))
    assert play.said == [Rejected("s", "superseded", 200.0, inferred=True)]
    assert play.tracker.dismissed("s", 1300) == []
    assert play.tracker.dismissed("t", 1300) == [Rejected("t", "dismissed", 100.0, inferred=False)]
    play.tracker.offer("u", "baz", play.cursor, 1400)
    assert play.tracker.focus_lost(1500) == [Rejected("u", "focus_lost", 100.0, inferred=True)]
    assert play.tracker.live_id is None


@pytest.mark.parametrize(
    ("marked", "suggestion"),
    [
        ("def f():|\n    return 1\n", "\n    x = 2"),
        ("a(|)\n", "b(c)"),
        ("x = [|]\n", "[1], [2]"),
        ("|\n\n", "a\n\nb\n"),
        ("😀 = |😀\n", "😀 + 1 + 😀"),
        ("    |\n    pass\n", "if a:\n        pass\n    if b:\n        pass"),
    ],
)
@pytest.mark.parametrize("way", ["difference", "line", "document", "shifted"])
def test_acceptance_is_seen_however_the_editor_tells_it(marked: str, suggestion: str, way: str) -> None:
    play = Play(marked, suggestion)
    before, at = play.text, play.cursor
    after = before[:at] + suggestion + before[at:]
    if way == "difference":
        edit = difference(before, after)
    elif way == "line":
        start, end = before.rfind("\n", 0, at) + 1, before.find("\n", at)
        edit = Edit(start, end, before[start:at] + suggestion + before[at:end])
    elif way == "document":
        edit = Edit(0, len(before), after)
    else:
        # The same insertion, told as early as it can be: what comparing texts from their ends gives.
        tail = difference(before[::-1], after[::-1])
        start = len(before) - tail.end
        edit = Edit(start, start, tail.text[::-1])
    assert edit.apply(before) == after
    play.edit(edit)
    assert play.told == [("accepted", len(suggestion), len(suggestion))]
    assert play.after(QUIET_MS) == [Settled("s", "10s", QUIET_MS, suggestion, suggestion)]
    play.undo()
    assert play.told[-1] == "undone"


def test_windows_line_ends_are_no_difference() -> None:
    play = Play("def f():|\r\nx\r\n", "\n    a\n    b")
    play.insert("\r\n    ")
    play.insert("a\r\n    b")
    assert play.told == [("accepted", 12, 12)]
    assert play.after(QUIET_MS)[0] == Settled("s", "10s", QUIET_MS, "\n    a\n    b", "\n    a\n    b")


def test_undone_in_one_step_restores_the_typed_beginning() -> None:
    play = Play("x = |\n", "foo(1)")
    play.type("fo")
    play.insert("o(1)")
    play.undo()
    assert play.told == [("accepted", 6, 6), "undone"]
    assert play.said[-1] == Undone("s", 100.0)


def test_taken_out_bit_by_bit_is_an_edit_and_not_undone() -> None:
    play = Play("x = |\n", "foo(1)")
    play.insert("foo(1)")
    play.backspace(6)
    assert play.told == [("accepted", 6, 6)]
    assert play.after(QUIET_MS) == [Settled("s", "10s", QUIET_MS + 600, "", "")]


def test_deleting_an_equal_line_beside_it_is_not_undone() -> None:
    play = Play("a()\n|a()\n", "a()\n")
    play.insert("a()\n")
    play.edit(Edit(8, 12, ""))
    assert play.told == [("accepted", 4, 4)]


def test_partial_acceptance_undone() -> None:
    play = Play("x = |\n", "one two")
    play.insert("one ")
    play.undo()
    assert play.told == [("accepted", 4, 7), "undone"]
    assert play.tracker.live_id is None


def test_what_was_edited_afterwards_is_what_settles() -> None:
    play = Play("x = |\ny = 2\n", "foo(1)")
    play.insert("foo(1)")
    play.edit(Edit(8, 9, "22"))  # foo(22)
    play.cursor += 1
    play.type(" + 3")
    play.edit(Edit(0, 0, "# a comment above\n"))
    told = play.after(QUIET_MS)
    assert told == [Settled("s", "10s", QUIET_MS + 600, "foo(22)", "foo(22) + 3")]


def test_what_was_typed_instead_settles_for_a_rejected_one() -> None:
    play = Play("x = |\ny = 2\n", "foo(1)")
    play.type("bar")
    assert play.told == ["typed_over"]
    assert play.after(QUIET_MS) == [Settled("s", "10s", QUIET_MS + 200, None, "bar")]


def test_quiet_counts_from_the_last_edit_nearby_and_the_others_from_the_decision() -> None:
    play = Play("x = |\n" + "z = 1\n" * 100, "foo(1)")
    play.insert("foo(1)")
    assert play.tracker.next_due() == play.now + QUIET_MS
    assert play.after(9_000) == []
    play.type(";")
    assert play.after(9_000) == []
    play.edit(Edit(500, 500, "far away"))
    assert [s.horizon for s in play.after(1_000)] == ["10s"]  # type: ignore[union-attr]
    assert [s.horizon for s in play.after(100_000)] == []  # type: ignore[union-attr]
    assert [s.horizon for s in play.after(1_000)] == ["2m"]  # type: ignore[union-attr]
    assert [s.horizon for s in play.after(480_000)] == ["10m"]  # type: ignore[union-attr]
    assert play.tracker.next_due() is None


def test_save_settles_once_and_again_only_later_and_if_it_differs() -> None:
    play = Play("x = |\n", "foo(1)")
    assert play.tracker.saved(play.now) == [], "undecided"
    play.insert("foo(1)")
    assert [s.horizon for s in play.tracker.saved(play.now)] == ["save"]  # type: ignore[union-attr]
    play.type(" + 1")
    assert play.tracker.saved(play.now + 1_000) == []
    assert [s.settled_text for s in play.tracker.saved(play.now + 31_000)] == ["foo(1) + 1"]  # type: ignore[union-attr]
    assert play.tracker.saved(play.now + 90_000) == []


def test_closing_loses_focus_and_settles_what_is_open() -> None:
    play = Play("x = |\n", "foo(1)")
    assert play.tracker.close(1500) == [
        Rejected("s", "focus_lost", 500.0, inferred=True),
        Settled("s", "close", 0.0, None, ""),
    ]
    assert play.tracker.close(1600) == []


def test_settled_text_is_cut() -> None:
    play = Play("|\r\n", "foo")
    play.insert("x" + "\r\n" * 5000)
    settled = play.after(QUIET_MS)[0]
    assert isinstance(settled, Settled)
    assert settled.settled_text == "x" + "\n" * 1999


def test_a_confirmation_needs_the_text_to_be_there() -> None:
    play = Play("x = |\n", "foo(1)")
    assert play.tracker.confirmed("s", None, 1100) == []
    play.type("fo")
    assert play.tracker.confirmed("s", 4, 1200) == []
    play.insert("o(1)")
    play._hear(play.tracker.confirmed("s", None, 1300))
    assert play.told == [("accepted", 6, 6), ("confirmed", 6, 6)]
    assert play.tracker.confirmed("unknown", None, 1300) == []


def test_a_confirmation_makes_an_acceptance_of_one_last_character() -> None:
    play = Play("x = |\n", "ab")
    play.type("a")
    play.insert("b")
    play._hear(play.tracker.confirmed("s", None, play.now))
    assert play.told == [("typed", 2, 2), ("confirmed", 2, 2)]
    assert play.after(QUIET_MS)[0] == Settled("s", "10s", QUIET_MS, "ab", "ab")


def test_visible_counts_from_when_the_editor_showed_it() -> None:
    play = Play("x = |\n", "foo(1)")
    assert play.tracker.shown("s", 1800)
    assert not play.tracker.shown("s", 1900), "only the first time counts"
    play.now = 2000
    play.insert("foo(1)")
    assert play.said == [Accepted("s", 6, 6, 300.0, inferred=True)]


def test_the_rest_is_offered_only_at_the_cursor() -> None:
    play = Play("x = |\n", "foo(1)")
    play.type("fo")
    assert play.tracker.remaining(play.cursor - 1) is None
    assert play.tracker.remaining(play.cursor + 1) is None
    play.type("o(1)")
    assert play.tracker.remaining(play.cursor) is None, "nothing is left"


def test_the_oldest_are_closed_when_there_are_too_many() -> None:
    tracker = Tracker("")
    said: list[Outcome] = []
    for number in range(MOST_TRACKED + 2):
        said += tracker.offer(f"s{number}", "foo", 0, float(number))
    closed = [outcome.suggestion_id for outcome in said if isinstance(outcome, Settled)]
    assert closed == ["s0"]


def _step(before: str, start: int, end: int, text: str) -> Step:
    edit = Edit(start, end, text)
    return Step(edit, before, edit.apply(before))


def test_what_stood_there_before_it_was_shown_is_no_hit() -> None:
    tracker = Tracker("x = fo\n")
    tracker.offer("a", "foo(1)", 4, 0, right=6)
    remaining = tracker.remaining(6)
    assert remaining is not None and (remaining.text, remaining.whole) == ("o(1)", True)
    assert tracker.change([_step("x = fo\n", 6, 6, "z")], 900) == [Rejected("a", "typed_over", 900, True)]
    tracker = Tracker("x = fo\n")
    tracker.offer("a", "foo(1)", 4, 0, right=6)
    tracker.change([_step("x = fo\n", 6, 6, "o")], 500)
    assert tracker.change([_step("x = foo\n", 7, 7, "z")], 900)[0] == TypedThrough("a", 3, 6, 900)


def test_another_candidate_that_is_taken_takes_its_place() -> None:
    tracker = Tracker("x = \n")
    tracker.offer("a", "foo(1)", 4, 0, others=[("b", "foo(2)"), ("c", "bar")])
    outcomes = tracker.change([_step("x = \n", 4, 4, "foo(2)")], 900)
    assert outcomes == [Rejected("a", "superseded", 900, True), Accepted("b", 6, 6, 900, True)]
    tracker = Tracker("x = \n")
    tracker.offer("a", "foo(1)", 4, 0, others=[("c", "bar")])
    # Typed, nobody knows whether it was seen.
    assert tracker.change([_step("x = \n", 4, 4, "b")], 900) == [Rejected("a", "typed_over", 900, True)]
    tracker = Tracker("x = \n")
    tracker.offer("a", "foo(1)", 4, 0, others=[("c", "bar")])
    assert tracker.turned_to("c", 300) == [Rejected("a", "superseded", 300, True)]
    assert tracker.live_id == "c" and tracker.shown("c", 300)


def test_shown_again_it_is_judged_anew_and_settles_once() -> None:
    tracker = Tracker("x = \ny\n")
    tracker.offer("a", "foo", 4, 0)
    assert tracker.asked(6, 400) == [Rejected("a", "ignored", 400, True)]
    tracker.offer("a", "foo", 4, 1000)
    assert tracker.change([_step("x = \ny\n", 4, 4, "foo")], 2000) == [Accepted("a", 3, 3, 1000, True)]
    assert [outcome.suggestion_id for outcome in tracker.tick(12_000)] == ["a"]
