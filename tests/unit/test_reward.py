"""The reward pays for what was kept and for nothing else."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.reward import edit_distance, reward, worth
from tacit.protocol.completion import Context, Generation
from tacit.protocol.events import (
    Accepted,
    Event,
    Horizon,
    Rated,
    Rejected,
    RejectReason,
    Settled,
    Suggested,
    SuggestionRecord,
    TypedThrough,
    Undone,
)

AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
SOURCE = {"at": AT, "session_id": "session-1", "suggestion_id": "suggestion-1"}


def suggestion(text: str, *, shown: bool = True) -> Suggested:
    return Suggested(
        **SOURCE,
        project="p",
        context=Context(path="a.py", language="python", prefix="x = ", suffix="\n"),
        context_sha256="0" * 64,
        text=text,
        generation=Generation(
            tokens=(1,),
            logprobs=(-0.1,),
            temperature=0.3,
            seed=1,
            policy_version="base",
            model="0" * 64,
            finish_reason="stop_rule",
        ),
        trigger="automatic",
        p_show=1,
        shown=shown,
        latency_ms=1,
        engine_ms=1,
    )


def record(text: str, *events: Event, shown: bool = True) -> SuggestionRecord:
    return SuggestionRecord(suggestion=suggestion(text, shown=shown), events=events)


def accepted(text: str, chars: int | None = None) -> Accepted:
    return Accepted(**SOURCE, accepted_chars=chars or len(text), total_chars=len(text), visible_ms=800, inferred=True)


def settled(span: str | None, horizon: Horizon = "10m", whole: str | None = None) -> Settled:
    return Settled(
        **SOURCE, horizon=horizon, elapsed_ms=600_000, span_text=span, settled_text=whole if whole is not None else span or ""
    )


def rejected(reason: RejectReason, visible: float = 900) -> Rejected:
    return Rejected(**SOURCE, reason=reason, visible_ms=visible)


def test_everything_kept_by_hand() -> None:
    text = "y" * 80
    value = reward(record(text, accepted(text), settled(text))).value
    assert value == pytest.approx(1.0 * 1.0 - 0.25)


def test_half_kept_by_hand() -> None:
    # 10 of 20 characters are left: NED 0.5; u = 0.4 + 0.6 ln(11)/ln(81) = 0.7274.
    text = "abcdefghij" + "0123456789"
    value = reward(record(text, accepted(text), settled("abcdefghij"))).value
    assert value == pytest.approx(0.72739 * 0.5 - 0.25, abs=1e-4)


def test_horizons_are_weighted_over_those_reached() -> None:
    text = "z" * 80
    whole = [accepted(text), settled(text, "10s"), settled("", "save")]
    # 0.15 of 0.45 kept; nothing kept at the last one, so u = 0.4.
    assert reward(record(text, *whole)).value == pytest.approx(0.4 * (0.15 / 0.45) - 0.25)


def test_acceptance_alone_earns_no_label() -> None:
    text = "return 1"
    assert not reward(record(text, accepted(text))).labelled
    assert not reward(record(text, accepted(text), settled(text, "close"))).labelled


def test_accepted_and_thrown_away_is_worse_than_ignored() -> None:
    text = "return compute(total)"
    thrown = reward(record(text, accepted(text), settled(""))).value
    assert thrown < reward(record(text, rejected("ignored"))).value < 0


def test_trivial_completions_do_not_pay() -> None:
    """One character, always kept, earns less than a line of which a third was changed."""
    line = "return total / max(1, len(values)) * scale"
    trivial = reward(record(")", accepted(")"), settled(")"))).value
    two_thirds = reward(record(line, accepted(line), settled(line[:28]))).value
    perfect = reward(record(line, accepted(line), settled(line))).value
    assert trivial < two_thirds < perfect
    assert trivial < perfect / 2


@pytest.mark.parametrize(
    ("reason", "expected"), [("dismissed", -0.35), ("ignored", -0.15), ("superseded", -0.15), ("typed_over", -0.25)]
)
def test_rejections(reason: RejectReason, expected: float) -> None:
    assert reward(record("foo()", rejected(reason))).value == pytest.approx(expected)


def test_not_seen_is_no_label() -> None:
    assert reward(record("foo()", rejected("dismissed", visible=200))).censored
    assert reward(record("foo()", rejected("focus_lost"))).censored
    assert reward(record("foo()", rejected("dismissed"), shown=False)).censored
    assert reward(record("foo()")).censored


def test_undone_at_once_costs_more_than_a_rejection() -> None:
    text = "foo(bar)"
    undone = Undone(**SOURCE, after_ms=4000)
    value = reward(record(text, accepted(text), undone, settled(text))).value
    assert value == pytest.approx(-0.5)
    late = Undone(**SOURCE, after_ms=16_000)
    assert reward(record(text, accepted(text), late, settled(text))).value > 0


def test_typing_what_was_suggested_is_a_hit() -> None:
    text = "return self._value"
    typed = TypedThrough(**SOURCE, matched_chars=len(text), total_chars=len(text), visible_ms=900)
    hit = reward(record(text, typed))
    assert hit.value == pytest.approx(0.8 * worth(len(text)) - 0.25) and hit.value > 0
    taken = reward(record(text, accepted(text), settled(text)))
    assert taken.value > hit.value


def test_a_rating_outweighs_all_else() -> None:
    text = "eval(x)"
    bad = Rated(**SOURCE, value=-1)
    found = reward(record(text, accepted(text), settled(text), bad))
    assert (found.value, found.weight) == (-1.0, 3.0)
    confused = Rated(**SOURCE, value=1, flag="hallucination")
    assert reward(record(text, confused)).value == -1.0


def test_analysis_and_execution_are_added() -> None:
    text = "a" * 80
    clean = record(text, accepted(text), settled(text))
    assert reward(clean, analysis=-0.5).value == pytest.approx(0.25)
    assert reward(clean, analysis=-0.8, execution=-0.6).value == pytest.approx(-0.65)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=60)
events = st.lists(
    st.one_of(
        st.builds(lambda n: accepted("x" * 60, n), st.integers(1, 60)),
        st.builds(lambda s, h: settled(s, h), texts, st.sampled_from(["10s", "2m", "10m", "save", "close"])),
        st.builds(
            lambda r, v: rejected(r, v), st.sampled_from(["dismissed", "ignored", "typed_over", "focus_lost"]), st.floats(0, 5000)
        ),
        st.builds(lambda ms: Undone(**SOURCE, after_ms=ms), st.floats(0, 30_000)),
        st.builds(lambda v: Rated(**SOURCE, value=v), st.sampled_from([-1, 1])),
    ),
    max_size=6,
)


@given(texts, events, st.floats(-1.3, 0.4), st.floats(-0.6, 0.3))
def test_bounded_whatever_happened(text: str, happened: Sequence[Event], analysis: float, execution: float) -> None:
    found = reward(record(text, *happened), analysis=analysis, execution=execution)
    assert -1 <= found.value <= 1
    assert found.labelled or found.value == 0


@given(st.text("abcdef ()", min_size=2, max_size=60), st.data())
def test_more_kept_never_earns_less(text: str, data: st.DataObject) -> None:
    less = data.draw(st.integers(0, len(text) - 1))
    more = data.draw(st.integers(less + 1, len(text)))
    values = [reward(record(text, accepted(text), settled(text[:kept]))).value for kept in (less, more)]
    assert values[0] < values[1]


@given(texts, texts)
def test_edit_distance_is_normalised(a: str, b: str) -> None:
    assert 0 <= edit_distance(a, b) <= 1
    assert (edit_distance(a, b) == 0) == (a == b)


def test_what_was_typed_before_it_was_shown_earns_nothing() -> None:
    text, before = "connection.close()", 14
    rest = text[before:]

    def seen_late(*events: Event) -> SuggestionRecord:
        late = suggestion(text).model_copy(update={"typed_before": before})
        return SuggestionRecord(suggestion=late, events=events)

    taken = reward(seen_late(accepted(text), settled(text)))
    # As if the part that was seen had been the whole suggestion.
    assert taken.value == pytest.approx(reward(record(rest, accepted(rest), settled(rest))).value)
    one_more = TypedThrough(**SOURCE, matched_chars=before + 1, total_chars=len(text), visible_ms=900)
    alone = TypedThrough(**SOURCE, matched_chars=1, total_chars=len(rest), visible_ms=900)
    assert reward(seen_late(one_more, rejected("typed_over"))).value == pytest.approx(
        reward(record(rest, alone, rejected("typed_over"))).value
    )
    # Half of what was seen was changed: that the rest still stands is the developer's own doing.
    half = text[: before + 2] + "zz"
    assert reward(seen_late(accepted(text), settled(half))).value < taken.value - 0.1
