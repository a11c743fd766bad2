"""A suggestion accounted for: the figures are those that learning uses, for shown, rejected and withheld ones alike."""

from datetime import UTC, datetime

import pytest

from tacit.learner.account import account, at_horizons, logprobs_summary
from tacit.learner.reward import reward
from tacit.learner.samples import written_of
from tacit.lsp.outcomes import Settled as SettledOutcome
from tacit.lsp.tracking import Tracker
from tacit.protocol.completion import Context, Generation
from tacit.protocol.events import Event, Rejected, Settled, Suggested, SuggestionRecord, new_id

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def record(text: str, *events: Event, shown: bool = True) -> SuggestionRecord:
    context = Context(path="a.py", language="python", prefix="x = ", suffix="\n")
    suggested = Suggested(
        at=NOW,
        session_id="s" * 8,
        suggestion_id="suggestion",
        project="p",
        context=context,
        context_sha256=context.digest(),
        text=text,
        generation=Generation(
            tokens=(1,), logprobs=(-0.5,), temperature=0.3, seed=1, policy_version="base", model="m", finish_reason="eos"
        ),
        trigger="automatic",
        p_show=0.02,
        shown=shown,
        withheld_reason="" if shown else "quiet",
        latency_ms=1,
        engine_ms=1,
    )
    return SuggestionRecord(suggestion=suggested, events=events)


def settled(horizon: str, text: str, ms: float) -> Settled:
    return Settled.model_validate(
        {
            "id": new_id(),
            "at": NOW,
            "session_id": "s" * 8,
            "suggestion_id": "suggestion",
            "horizon": horizon,
            "elapsed_ms": ms,
            "span_text": None,
            "settled_text": text,
        }
    )


def test_a_withheld_suggestion_has_what_was_written_and_no_reward() -> None:
    one = record("foo(1)", settled("10s", "foo(2)\nrest\n", 1e4), settled("save", "bar\nrest\n", 2e5), shown=False)
    told = account(one)
    assert (told["shown"], told["withheld_reason"], told["written"]) == (False, "quiet", "bar")
    assert [(h["horizon"], h["text"]) for h in told["horizons"]] == [("10s", "foo(2)\n"), ("save", "bar\n")]
    assert told["horizons"][0]["kept_rate"] == pytest.approx(5 / 6) and told["horizons"][1]["kept_rate"] == 0.0
    assert told["reward"]["value"] is None and told["reward"]["censored"] == "not shown"


def test_the_reward_is_the_one_that_is_learnt_from() -> None:
    rejected = Rejected(at=NOW, session_id="s" * 8, suggestion_id="suggestion", reason="dismissed", visible_ms=900)
    one = record("foo(1)", rejected, settled("2m", "bar()", 12e4))
    told, verdict, written = account(one), reward(one), written_of(one)
    assert (told["reward"]["value"], told["reward"]["parts"]) == (verdict.value, dict(verdict.parts))
    assert written is not None and told["written"] == written.text == "bar()"


def test_nothing_is_made_up_for_what_was_never_settled() -> None:
    told = account(record("foo(1)"))
    assert (told["written"], told["horizons"], told["reward"]["value"]) == (None, [], None)
    assert at_horizons(record("", settled("10s", "x", 1e4)))[0].kept_rate == 0.0
    assert logprobs_summary(()) == {"tokens": 0, "sum": None, "mean": None, "least": None, "perplexity": None}


def test_a_withheld_suggestions_place_is_followed_to_its_horizons() -> None:
    tracker = Tracker("x = \ny = 2\n")
    tracker.passed_over("quiet-one", "foo(1)", 4, 4, 0.0)
    assert tracker.live_id is None and tracker.next_due() is not None
    said = [outcome for outcome in tracker.tick(200_000.0) if isinstance(outcome, SettledOutcome)]
    assert {outcome.horizon for outcome in said} == {"10s", "2m"}
    assert all((outcome.suggestion_id, outcome.span_text, outcome.settled_text) == ("quiet-one", None, "") for outcome in said)
