"""From records to samples: what y* is, which tokens are to blame, what may be learned in hindsight, what is held out."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.baseline import MAX_ADVANTAGE, advantages
from tacit.learner.reward import Reward
from tacit.learner.samples import (
    END,
    MAX_WRITTEN_TOKENS,
    Sample,
    blame_mask,
    kept_characters,
    labelled,
    sample_of,
    split,
    written_of,
)
from tacit.protocol.completion import PROMPT_FORMAT, Context, FinishReason, Generation, Snippet
from tacit.protocol.events import Accepted, Event, Horizon, Rated, Rejected, Settled, Suggested, SuggestionRecord, TypedThrough
from tacit.protocol.fim import QWEN, REPOSITORY

AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
SOURCE = {"at": AT, "session_id": "session-1", "suggestion_id": "suggestion-1"}
MODEL = "a" * 64
PAIR = 500


def encode(text: str) -> list[int]:
    """One token per character, but `)` and the newline after it are one, as in the real vocabulary."""
    return [PAIR if piece == ")\n" else ord(piece) for piece in pieces(text)]


def pieces(text: str) -> list[str]:
    made: list[str] = []
    for character in text:
        if character == "\n" and made and made[-1] == ")":
            made[-1] = ")\n"
        else:
            made.append(character)
    return made


def decode(tokens: Sequence[int]) -> str:
    return "".join(")\n" if token == PAIR else chr(token) for token in tokens)


def record(
    text: str,
    *events: Event,
    drawn: str | None = None,
    finish: FinishReason = "stop_rule",
    model: str = MODEL,
    path: str = "a.py",
    prompt_format: int = PROMPT_FORMAT,
) -> SuggestionRecord:
    tokens = (*encode(text if drawn is None else drawn), *((END,) if finish == "eos" else ()))
    return SuggestionRecord(
        suggestion=Suggested(
            **SOURCE,
            project="p",
            context=Context(path=path, language="python", prefix="x = ", suffix="\n"),
            context_sha256="0" * 64,
            text=text,
            generation=Generation(
                tokens=tokens, logprobs=(-0.5,) * len(tokens), temperature=0.3, seed=1, policy_version="base", model=model,
                finish_reason=finish, prompt_format=prompt_format,
            ),
            trigger="automatic",
            p_show=1,
            shown=True,
            latency_ms=1,
            engine_ms=1,
        ),
        events=events,
    )  # fmt: skip


def made(found: SuggestionRecord) -> Sample:
    return sample_of(found, encode, decode, MODEL)


def settled(text: str, span: str | None = None, horizon: Horizon = "10m", elapsed: float = 600_000) -> Settled:
    return Settled(**SOURCE, horizon=horizon, elapsed_ms=elapsed, span_text=span, settled_text=text)


TYPED_OVER = Rejected(**SOURCE, reason="typed_over", visible_ms=900)


def accepted(text: str) -> Accepted:
    return Accepted(**SOURCE, accepted_chars=len(text), total_chars=len(text), visible_ms=900, inferred=True)


# y*


def test_written_text_is_cut_to_the_suggestions_lines() -> None:
    found = made(record("foo(a)", TYPED_OVER, settled("foo(b)\nbar(c)\n")))
    assert found.written == "foo(b)"
    # The line's end keeps the token that really stands there; there is no end token: more was written.
    assert decode(found.written_tokens) == "foo(b)\n" and found.written_tokens[-1] == PAIR


def test_a_suggestion_of_two_lines_is_compared_with_two() -> None:
    found = made(record("\n    return a", TYPED_OVER, settled("\n    return b\n    # more")))
    assert found.written == "\n    return b"


def test_an_end_token_only_where_the_middle_ended_for_good() -> None:
    assert made(record("foo(a", TYPED_OVER, settled("foo(b"))).written_tokens[-1] == END
    soon = settled("foo(b", horizon="10s", elapsed=10_000)
    assert made(record("foo(a", TYPED_OVER, soon)).written_tokens[-1] != END
    closed = settled("foo(b", horizon="close")
    assert made(record("foo(a", TYPED_OVER, closed)).written_tokens[-1] != END


def test_the_latest_horizon_counts_and_close_only_alone() -> None:
    early, late = settled("fo", horizon="10s", elapsed=10_000), settled("foo(b)", horizon="2m", elapsed=120_000)
    closed = settled("gone", horizon="close", elapsed=999_999)
    found = written_of(record("foo(a)", TYPED_OVER, closed, late, early))
    assert found is not None and found.text == "foo(b)"
    alone = written_of(record("foo(a)", TYPED_OVER, closed))
    assert alone is not None and alone.text == "gone"


def test_nothing_written_is_nothing() -> None:
    assert written_of(record("foo", TYPED_OVER)) is None
    assert written_of(record("foo", TYPED_OVER, settled("  \n"))) is None


def test_a_correction_is_what_should_have_been_written() -> None:
    rated = Rated(**SOURCE, value=-1, correction="foo(None)")
    found = made(record("foo(a)", TYPED_OVER, settled("foo(b)"), rated))
    assert found.written == "foo(None)" and found.hindsight == 1.0


# Hindsight


def test_hindsight_weights() -> None:
    assert made(record("foo(abc)", TYPED_OVER, settled("foo(xyz)"))).hindsight == 0.5
    assert made(record("foo(abc)", accepted("foo(abc)"), settled("foo(xyz)", span="foo(xyz)"))).hindsight == 1.0


@pytest.mark.parametrize(
    "written",
    ["foo(abc)", "import os", "foo(abd" + "e" * MAX_WRITTEN_TOKENS],
    ids=["the same", "something else altogether", "too long: pasted"],
)
def test_no_hindsight(written: str) -> None:
    assert made(record("foo(abc)", TYPED_OVER, settled(written))).hindsight == 0.0


def test_no_hindsight_without_a_decision() -> None:
    left = Rejected(**SOURCE, reason="focus_lost", visible_ms=900)
    assert made(record("foo(abc)", left, settled("foo(xyz)"))).hindsight == 0.0
    assert made(record("foo(abc)", settled("foo(xyz)"))).hindsight == 0.0


# Masks


def test_kept_tokens_are_those_of_which_every_character_is_left() -> None:
    text = "foo(a, b)"
    found = made(record(text, accepted(text), settled("foo(a)", span="foo(a)")))
    assert "".join(c for c, kept in zip(text, found.kept, strict=True) if kept) == "foo(a)"


def test_typed_through_keeps_what_was_typed() -> None:
    typed = TypedThrough(**SOURCE, matched_chars=3, total_chars=6, visible_ms=900)
    assert kept_characters(record("foobar", typed)) == [True] * 3 + [False] * 3


def test_blame_starts_at_the_first_wrong_token_and_fades() -> None:
    assert blame_mask([2, 4, 6, 8], "aabbccdd", "aabXccdd") == (0.0, 1.0, 0.7, pytest.approx(0.49))


def test_nothing_is_to_blame_in_a_true_beginning() -> None:
    assert blame_mask([2, 4], "aabb", "aabbcc") == (0.0, 0.0)


def test_without_y_all_is_to_blame() -> None:
    assert blame_mask([1, 2], "ab", None) == (1.0, 0.7)


@given(st.text("ab", min_size=1, max_size=12), st.text("ab", max_size=12))
def test_no_blame_for_a_shared_prefix(text: str, written: str) -> None:
    mask = blame_mask(range(1, len(text) + 1), text, written)
    for at, value in enumerate(mask):
        assert (value == 0) == (text[: at + 1] == written[: at + 1] or text == written[: len(text)])


def test_only_what_was_shown_is_in_the_draw() -> None:
    found = made(record("foo(a)", TYPED_OVER, settled("bar"), drawn="foo(a) # and on and on"))
    assert decode(found.tokens) == "foo(a)" and len(found.logprobs) == len(found.tokens)


def test_the_end_token_belongs_to_what_was_shown() -> None:
    text = "foo"
    found = made(record(text, accepted(text), settled(text, span=text), finish="eos"))
    assert found.tokens[-1] == END and found.kept == (1.0,) * 4
    cut = made(record("fo", accepted("fo"), settled("fo", span="fo"), drawn="foo", finish="eos"))
    assert END not in cut.tokens


@pytest.mark.parametrize("other", [{"model": "b" * 64}, {"prompt_format": PROMPT_FORMAT - 1}])
def test_draws_of_another_model_or_prompt_have_no_propensity(other: dict[str, Any]) -> None:
    found = made(record("foo(abc)", TYPED_OVER, settled("foo(xyz)"), **other))
    assert found.tokens == () and found.hindsight == 0.5


def test_a_text_that_its_tokens_do_not_spell_is_not_used() -> None:
    assert made(record("bar", TYPED_OVER, settled("baz"), drawn="foo")).tokens == ()


# The split and the baseline


def samples(sessions: Sequence[int]) -> list[Sample]:
    """sessions: how many suggestions each had."""
    all_: list[Sample] = []
    template = made(record("foo(a)", TYPED_OVER, settled("foo(b)")))
    for session, count in enumerate(sessions):
        for _ in range(count):
            number = len(all_)
            changes = {
                "suggestion_id": f"suggestion-{number}",
                "session": f"session-{session}",
                "at": AT + timedelta(minutes=number),
                "written": f"line {number}",
            }
            all_.append(Sample(**{**{f: getattr(template, f) for f in Sample.__slots__}, **changes}))
    return all_


@given(st.lists(st.integers(1, 12), min_size=4, max_size=12))
def test_whole_late_sessions_are_held_out(sizes: list[int]) -> None:
    all_ = samples(sizes)
    train, held_out = split(all_)
    assert len(held_out) >= 0.15 * len(all_) - 1
    assert not {s.suggestion_id for s in train} & {s.suggestion_id for s in held_out}
    assert max((s.at for s in train), default=AT) < min(s.at for s in held_out)
    if len(held_out) > round(0.15 * len(all_)):
        assert not {s.session for s in train} & {s.session for s in held_out}


def test_one_long_session_is_split_by_time() -> None:
    train, held_out = split(samples([40]))
    assert (len(train), len(held_out)) == (34, 6)


def test_what_was_written_in_the_held_out_part_is_not_trained_on() -> None:
    all_ = samples([10, 10, 10, 10])
    twin = all_[-1]
    leak = Sample(**{**{f: getattr(all_[0], f) for f in Sample.__slots__}, "written": twin.written})
    train, held_out = split([leak, *all_[1:]])
    assert twin in held_out and leak not in train


def with_rewards(values: Sequence[float]) -> list[Sample]:
    return [
        Sample(**{**{f: getattr(s, f) for f in Sample.__slots__}, "reward": Reward(v, {}, "", 1.0, "accepted")})
        for s, v in zip(samples([len(values)]), values, strict=True)
    ]


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_advantages_are_bounded(values: list[float]) -> None:
    assert all(abs(a) <= MAX_ADVANTAGE for a in advantages(with_rewards(values)))


def test_better_than_expected_is_positive() -> None:
    found = advantages(with_rewards([0.5, -0.25] * 10))
    assert all(a > 0 for a in found[::2]) and all(a < 0 for a in found[1::2])


def test_the_same_reward_everywhere_teaches_nothing() -> None:
    assert all(abs(a) < 0.05 for a in advantages(with_rewards([0.4] * 30)))


def test_no_label_no_advantage() -> None:
    unlabelled = [made(record("foo", settled("foo")))]
    assert labelled(unlabelled) == 0 and advantages(unlabelled) == [0.0]


def test_the_prompt_learned_from_has_the_places_that_were_shown_and_no_special_token_of_theirs() -> None:
    """Token for token what serving assembles: both sides use the protocol's one function."""
    shown = (
        Snippet(path="b.py", text="def one(): ...", kind="definition"),
        Snippet(path="c.py", text="<|fim_middle|>", kind="edit"),
    )
    plain = record("one()")
    told = plain.suggestion.model_copy(update={"context": plain.suggestion.context.model_copy(update={"snippets": shown})})
    with_them = sample_of(SuggestionRecord(suggestion=told, events=()), encode, decode, MODEL).prompt
    without = sample_of(plain, encode, decode, MODEL).prompt
    before = with_them[: len(with_them) - len(without)]
    # What follows the snippets is the prompt of so short a file alone.
    assert with_them[len(before) :] == without
    assert before == (
        QWEN.repo_name, *encode(REPOSITORY),
        QWEN.file_sep, *encode("b.py\ndef one(): ...\n"),
        QWEN.file_sep, *encode("c.py\n<|fim_middle|>\n"),
    )  # fmt: skip
