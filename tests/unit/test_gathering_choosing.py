"""What is shown of the workspace: within the budget, once each, and the same while the developer types."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tacit.lsp.gathering.candidate import Candidate, estimate
from tacit.lsp.gathering.choosing import IDLE_S, Choice, Where, choose, keep

HERE = Where("Account.close", 0)

CANDIDATES = st.lists(
    st.builds(
        Candidate,
        path=st.sampled_from(["a.py", "b/c.py"]),
        text=st.lists(st.text("ab(): _漢", max_size=30), min_size=1, max_size=12).map("\n".join),
        kind=st.sampled_from(["definition", "edit", "diagnostic", "viewed", "retrieved"]),
        score=st.floats(0, 1),
        reason=st.just(""),
        first=st.integers(0, 50),
    ).map(lambda one: replace(one, last=one.first + one.text.count("\n"))),
    max_size=12,
)


def piece(name: str, score: float, lines: int = 1) -> Candidate:
    return Candidate(f"{name}.py", "\n".join([f"def {name}(): ..."] * lines), "definition", score, "", 0, lines - 1)


@given(CANDIDATES, st.integers(0, 400), CANDIDATES)
def test_what_is_chosen_fits_and_shows_no_place_twice(found: list[Candidate], budget: int, before: list[Candidate]) -> None:
    choice = choose(found, budget, before)
    assert choice.tokens <= budget
    for at, one in enumerate(choice.chosen):
        assert not any(one.same_place(other) for other in choice.chosen[:at])
        assert any(one.path == other.path and other.text.startswith(one.text) for other in found)


def test_the_most_valuable_come_first_and_the_rest_says_why_not() -> None:
    choice = choose([piece("low", 0.1), piece("high", 0.9), piece("mid", 0.5)], 32)
    assert [one.path for one in choice.chosen] == ["high.py", "mid.py"]
    [left] = choice.left_out
    assert left.candidate.path == "low.py" and "no room" in left.why


def test_a_long_piece_is_cut_to_its_first_lines() -> None:
    [one] = choose([piece("long", 1.0, lines=200)], 100).chosen
    assert 1 < one.text.count("\n") < 20 and one.tokens <= 50


def test_what_stays_keeps_its_place_at_the_front() -> None:
    before = choose([piece("a", 0.5), piece("b", 0.4)], 200).chosen
    after = choose([piece("new", 0.9), piece("b", 0.8), piece("a", 0.3)], 200, before)
    assert [one.path for one in after.chosen] == ["a.py", "b.py", "new.py"]


def test_what_is_shown_stays_while_the_cursor_stays() -> None:
    shown = choose([piece("a", 0.9)], 200)
    other = choose([piece("b", 0.9)], 200)
    moved = Where("Account.open", 0)
    # Typing on in one place: whatever is found by now.
    assert keep(shown, HERE, HERE, other, invoked=False, idle_s=1.0)
    # Somewhere else, or after a pause, it gives way; and where the engine reads everything anew in any case.
    assert not keep(shown, HERE, moved, other, invoked=False, idle_s=1.0)
    assert not keep(shown, HERE, HERE, other, invoked=False, idle_s=IDLE_S)
    assert not keep(shown, HERE, Where(HERE.scope, 350), other, invoked=False, idle_s=1.0)
    assert not keep(shown, HERE, HERE, other, invoked=True, idle_s=1.0)
    # Not for something hardly better.
    better = choose([piece("a", 0.9), piece("b", 0.2)], 200)
    assert keep(shown, HERE, moved, better, invoked=False, idle_s=1.0)
    # What came too late for the first suggestion is shown from the next on.
    assert not keep(Choice(), HERE, HERE, shown, invoked=False, idle_s=1.0)


def test_the_estimate_counts_what_a_tokenizer_would() -> None:
    # 10 and 13 tokens in Qwen's vocabulary.
    assert abs(estimate("def add(a, b):\n    return a + b\n") - 14) <= 4
    assert estimate("") == 0
    assert estimate("漢字") >= 2
