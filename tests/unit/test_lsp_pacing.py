"""Pace, places and rhythm: when the model is asked at once, after how long, and where not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.lsp.pacing import LEAST_MS, MOST_MS, at_once, base_ms, closes, delay_ms
from tacit.lsp.recent import FADES_MS, Recent

COUNTS = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("head", "expected"),
    [("", True), ("    ", True), ("f(", True), ("x = [ ", True), ("if a {", True), ("ret", False), ("f(a", False)],
)
def test_new_lines_and_fresh_brackets_are_asked_at_once(head: str, expected: bool) -> None:
    assert at_once(head) is expected


@pytest.mark.parametrize(
    ("rest", "expected"),
    [("", True), (")", True), ('"):', True), (" });", True), ("x", False), (" + 1", False), (") + y", False), ("(", False)],
)
def test_the_middle_of_a_line_is_where_more_than_closers_follows(rest: str, expected: bool) -> None:
    assert closes(rest) is expected


@given(gap=st.floats(0, 2000), latency=st.none() | st.floats(0, 1e6), accepts=COUNTS, rejects=COUNTS)
def test_the_delay_has_bounds_and_moves_the_right_way(gap: float, latency: float | None, accepts: float, rejects: float) -> None:
    base = base_ms(gap, latency)
    delay = delay_ms(base, accepts, rejects)
    assert LEAST_MS <= delay <= MOST_MS
    assert delay_ms(base, accepts + 1, rejects) <= delay <= delay_ms(base, accepts, rejects + 1)


def test_each_reject_and_accept_has_its_factor() -> None:
    assert delay_ms(200, 0, 0) == 200
    assert delay_ms(200, 0, 2) == pytest.approx(450)
    assert delay_ms(200, 1, 0) == pytest.approx(160)


def test_what_happened_fades_within_ten_minutes() -> None:
    recent = Recent()
    recent.accepted(0)
    recent.rejected(0, "u", 3)
    assert (recent.accepts(0), recent.rejects(0)) == (1, 1)
    assert recent.rejects(FADES_MS / 2) == pytest.approx(0.5)
    assert (recent.accepts(FADES_MS), recent.rejects(FADES_MS)) == (0, 0)


def test_the_last_one_counts_for_its_line_until_one_is_taken() -> None:
    recent = Recent()
    recent.rejected(0, "u", 3)
    assert (recent.rejected_here("u", 3), recent.rejected_here("u", 4), recent.rejected_here("v", 3)) == (True, False, False)
    recent.accepted(1)
    assert not recent.rejected_here("u", 3)


@given(st.lists(st.floats(1, 5_000), min_size=40, max_size=60))
def test_the_rhythm_stays_within_what_was_typed_and_knows_no_thoughts(gaps: list[float]) -> None:
    recent, now = Recent(), 0.0
    recent.key(now)
    for gap in gaps:
        now += gap
        recent.key(now)
    counted = [gap for gap in gaps if gap <= 2_000]
    assert min([200, *counted]) - 1 <= recent.gap_ms <= max([200, *counted]) + 1
