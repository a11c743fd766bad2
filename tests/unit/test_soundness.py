"""Bad data: copies, clocks that jump, one kind of label, another base, what is no number. Each is handled, and said in words."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from test_samples import MODEL, TYPED_OVER, accepted, made, record, settled

from tacit.learner.baseline import advantages
from tacit.learner.reward import Reward
from tacit.learner.run import KEPT_RUNS, _forget_old_runs, _of_one_kind, _too_few
from tacit.learner.samples import split
from tacit.learner.several import START, heard
from tacit.learner.soundness import one_kind, other_bases, sound
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import Generation
from tacit.protocol.errors import AnswerUnreadable
from tacit.protocol.events import EVENT, Event, SuggestionRecord
from tacit.protocol.home import Home

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


def numbered(number: int, *events: Event, at: datetime = NOW - timedelta(hours=9), seed: int | None = None) -> SuggestionRecord:
    """Ten a session, a minute apart."""
    found = record("foo(a)", *(events or (TYPED_OVER, settled(f"foo({number})"))))
    suggestion = found.suggestion
    return found.model_copy(
        update={
            "suggestion": suggestion.model_copy(
                update={
                    "suggestion_id": f"suggestion-{number:04d}",
                    "session_id": f"session-{number // 10:04d}",
                    "at": at + timedelta(minutes=number) if at.year > 1 else at,
                    "generation": suggestion.generation.model_copy(update={"seed": number if seed is None else seed}),
                }
            )
        }
    )


def names(records: tuple[SuggestionRecord, ...]) -> list[str]:
    return [one.suggestion.suggestion_id for one in records]


# Copies


def test_a_log_that_came_twice_is_one_log_and_says_so() -> None:
    first = [numbered(i) for i in range(20)]
    again = [numbered(100 + i, seed=i) for i in range(20)]
    log = sound([*first, *again, *first], (), NOW)
    assert len(log.fresh) == 20 and len({r.suggestion.generation.seed for r in log.fresh}) == 20
    assert log.copies["suggestion-0003"] == ("suggestion-0103",)
    assert "40 of 60" in log.remarks[0] and "copied" in log.remarks[0]


def test_the_copy_that_knows_most_of_what_became_of_it_counts() -> None:
    short, whole = numbered(1, TYPED_OVER), numbered(101, accepted("foo(a)"), settled("foo(a)", span="foo(a)"), seed=1)
    (kept,) = sound([short, whole], (), NOW).fresh
    assert kept.suggestion.suggestion_id == "suggestion-0101" and made(kept).reward.value > 0


def test_a_copy_of_what_was_learned_from_is_not_learned_from_again() -> None:
    log = sound([numbered(1), numbered(101, seed=1), numbered(2)], {"suggestion-0101"}, NOW)
    assert names(log.fresh) == ["suggestion-0002"] and log.known == 2


@given(st.lists(st.integers(0, 12), max_size=40), st.sets(st.integers(0, 12)))
def test_each_draw_counts_once_whatever_came_how_often(drawn: list[int], learned: set[int]) -> None:
    records = [numbered(place, seed=seed) for place, seed in enumerate(drawn)]
    known = {f"suggestion-{place:04d}" for place, seed in enumerate(drawn) if seed in learned}
    log = sound(records, known, NOW)
    assert sorted(r.suggestion.generation.seed for r in log.fresh) == sorted(set(drawn) - learned)
    assert log.known + len(log.fresh) + sum(map(len, log.copies.values())) == len(drawn)


# Clocks


@pytest.mark.parametrize("when", [datetime(2038, 1, 19, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)], ids=["2038", "1970"])
def test_what_claims_an_impossible_time_is_trained_on_and_not_held_out_for_ever(when: datetime) -> None:
    records = [numbered(i, at=when if 40 <= i < 50 else NOW - timedelta(hours=9)) for i in range(80)]
    log = sound(records, (), NOW)
    assert "10 of 80" in log.remarks[0] and "clock" in log.remarks[0]
    train, held_out = split([made(one) for one in log.fresh])
    odd = {f"suggestion-{i:04d}" for i in range(40, 50)}
    assert odd <= {one.suggestion_id for one in train}
    assert {one.session for one in held_out} == {"session-0006", "session-0007"}, "the latest sessions by a clock that is right"
    ordered = [r.suggestion.suggestion_id for r in sorted(log.fresh, key=lambda r: r.suggestion.at)]
    assert ordered[:10] == sorted(odd), "in their own order"


def test_a_learner_whose_own_clock_is_wrong_says_so_and_keeps_the_order() -> None:
    records = [numbered(i) for i in range(30)]
    log = sound(records, (), datetime(1970, 1, 1, tzinfo=UTC))
    assert [r.suggestion.at for r in log.fresh] == [r.suggestion.at for r in records]
    assert "this machine's clock" in log.remarks[0] and "1970-01-01" in log.remarks[0]


def test_a_time_without_a_zone_is_utc_and_can_be_put_in_order() -> None:
    body = json.loads(numbered(1).model_dump_json())
    body["suggestion"]["at"] = "2026-11-20T18:01:00"
    naive = SuggestionRecord.model_validate_json(json.dumps(body))
    assert naive.suggestion.at == datetime(2026, 11, 20, 18, 1, tzinfo=UTC)
    train, held_out = split([made(naive), *(made(numbered(i)) for i in range(2, 12))])
    assert len(train) + len(held_out) == 11


def test_a_run_keeps_its_own_folder_where_the_clock_was_set_back(home: Home) -> None:
    for number in range(KEPT_RUNS + 5):
        folder = home.runs / f"run-{number:03d}"
        folder.mkdir(parents=True)
        os.utime(folder, (2_000_000_000 + number, 2_000_000_000 + number))
    mine = home.runs / "mine"
    mine.mkdir()
    killed = home.runs / f"run-{KEPT_RUNS + 4:03d}" / START / "job.json"
    for file in (killed, mine / START / "job.json"):
        file.parent.mkdir()
        file.write_text("{}")
    os.utime(killed.parent.parent, (2_100_000_000, 2_100_000_000))
    _forget_old_runs(home, mine)
    # Samples of a run that was killed are not kept with its folder.
    assert not killed.parent.exists() and killed.parent.parent.exists() and (mine / START / "job.json").exists()
    assert mine.exists() and len(list(home.runs.iterdir())) == KEPT_RUNS and not (home.runs / "run-000").exists()


def test_what_a_library_says_between_is_not_taken_for_the_trainings() -> None:
    assert heard('{"step": 1, "metrics": {}}\n') == {"step": 1, "metrics": {}}
    assert heard("NCCL version 2.27.5+cuda12.9\n") is heard("\n") is None


# Nights with nothing in them


def test_an_empty_night_says_why_it_is_empty() -> None:
    assert "There is no new suggestion" in _too_few([], 0, 200) and "`.tacit.toml`" in _too_few([], 0, 200)
    assert "12 were learned from before" in _too_few([], 12, 200) and "`.tacit.toml`" not in _too_few([], 12, 200)
    left = numbered(1, TYPED_OVER.model_copy(update={"reason": "focus_lost"}))
    said = _too_few([numbered(0), left, numbered(2, settled("foo"))], 0, 200)
    assert said.startswith("1 labelled") and "200 are needed" in said
    assert "2 have no label" in said and "1 the document was left" in said and "1 no decision" in said


# One kind of label


@pytest.mark.parametrize(("value", "words"), [(0.5, "was kept"), (-0.25, "was rejected")])
def test_labels_of_one_kind_are_no_advantage_and_are_said(value: float, words: str) -> None:
    samples = [made(numbered(i, *_labels(value, i))) for i in range(30)]
    assert len({one.reward.value for one in samples}) > 1, "some are noisier than others"
    assert advantages(samples) == [0.0] * 30
    assert words in one_kind(one.reward for one in samples)
    said, ends = _of_one_kind("completion", "rwr", samples)
    assert words in said[0] and "rewards alone" in ends
    assert _of_one_kind("completion", "topr", samples) == (said, "")
    # Its draws are made anew, and rewarded by what was written.
    assert _of_one_kind("completion", "grpo", samples) == ([], "")
    mixed = [*samples, made(numbered(30, *_labels(-value, 30)))]
    assert any(advantages(mixed)) and one_kind(one.reward for one in mixed) == ""
    assert one_kind([Reward(0.0, {}, "no decision", 0.0, "none")]) == ""


def _labels(value: float, number: int) -> tuple[Event, ...]:
    text = "foo(a)"
    if value < 0:
        return (TYPED_OVER.model_copy(update={"reason": ("dismissed", "typed_over")[number % 2]}), settled("bar(b)"))
    return (
        accepted(text),
        settled(text, span=text),
        settled(text if number % 2 else text[:-1], span=text if number % 2 else text[:-1]),
    )


# Another base


def test_another_base_is_said_with_its_name() -> None:
    assert other_bases([MODEL] * 3, MODEL) == ""
    said = other_bases([MODEL, "b" * 64, "b" * 64], MODEL)
    assert "2 of 3" in said and "bbbbbbbbbbbb… (2)" in said and "aaaaaaaaaaaa…" in said


# What is no number, and what breaks lines


def test_a_draw_with_a_log_probability_that_is_none_is_refused_at_the_door() -> None:
    good = numbered(1).suggestion.generation
    for bad in (float("nan"), float("-inf")):
        with pytest.raises(ValidationError):
            Generation.model_validate({**good.model_dump(), "logprobs": (bad,) * len(good.tokens)})
    body = numbered(1).suggestion.model_dump_json().replace("-0.5", "NaN", 1)
    with pytest.raises(ValidationError):
        EVENT.validate_json(body)


def test_a_probability_above_one_is_no_propensity() -> None:
    found = numbered(1)
    drawn = found.suggestion.generation
    wrong = drawn.model_copy(update={"logprobs": (2.0, *drawn.logprobs[1:])})
    suggestion = found.suggestion.model_copy(update={"generation": wrong})
    sample = made(found.model_copy(update={"suggestion": suggestion}))
    assert sample.tokens == () and sample.hindsight > 0


async def exported(body: bytes, unreadable: list[str] | None = None) -> list[SuggestionRecord]:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    async with TacitClient(Path("none"), transport=transport) as client:
        return [one async for one in client.export("p", unreadable=None if unreadable is None else unreadable.append)]


async def test_separators_inside_a_text_end_no_line() -> None:
    text = "a\u2028b\u2029c\x85d\x1ce\x0cf"
    found = numbered(1)
    context = found.suggestion.context.model_copy(update={"prefix": text})
    found = found.model_copy(update={"suggestion": found.suggestion.model_copy(update={"context": context})})
    body = f"{found.model_dump_json()}\n{numbered(2).model_dump_json()}\n".encode()
    (one, other) = await exported(body)
    assert one.suggestion.context.prefix == text and other.suggestion.suggestion_id == "suggestion-0002"


async def test_a_record_that_cannot_be_read_does_not_cost_the_others() -> None:
    broken = numbered(1).model_dump_json().replace("-0.5", "null").replace("foo(a)", "hunter2")
    body = f"{broken}\n{numbered(2).model_dump_json()}\n".encode()
    unreadable: list[str] = []
    (left,) = await exported(body, unreadable)
    assert left.suggestion.suggestion_id == "suggestion-0002"
    assert len(unreadable) == 1 and "logprobs" in unreadable[0] and "hunter2" not in unreadable[0]
    with pytest.raises(AnswerUnreadable):
        await exported(body)
