"""What the demo claims: counts from records, intervals, the verdict's words, the picture of ghost text."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from tacit.learner.simulate import measure
from tacit.learner.simulate.measure import Count, Interval, Scored
from tacit.learner.simulate.result import Night, Result
from tacit.learner.simulate.session import Scene
from tacit.learner.simulate.view import View
from tacit.protocol.completion import Context, Generation
from tacit.protocol.events import Accepted, Event, Rejected, Settled, Suggested, SuggestionRecord, TypedThrough, Undone

AT = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = {"at": AT, "session_id": "session1", "suggestion_id": "suggestion1"}
TEXT = "total = sum(items)"


def record(*events: Event, shown: bool = True) -> SuggestionRecord:
    generation = Generation(
        tokens=(1,), logprobs=(-0.1,), temperature=0.3, seed=1, policy_version="base", model="0" * 64, finish_reason="eos"
    )
    suggestion = Suggested(
        **HEAD,
        project="p",
        context=Context(path="a.py", language="python", prefix="", suffix=""),
        context_sha256="",
        text=TEXT,
        generation=generation,
        trigger="automatic",
        p_show=1,
        shown=shown,
        latency_ms=1,
        engine_ms=1,
    )
    return SuggestionRecord(suggestion=suggestion, events=events)


ACCEPTED = Accepted(**HEAD, accepted_chars=len(TEXT), total_chars=len(TEXT), visible_ms=900, inferred=True)
REJECTED = Rejected(**HEAD, reason="typed_over", visible_ms=900)
TYPED = TypedThrough(**HEAD, matched_chars=5, total_chars=len(TEXT), visible_ms=900)
UNDONE = Undone(**HEAD, after_ms=900)


def settled(text: str) -> Settled:
    return Settled(**HEAD, horizon="save", elapsed_ms=700_000, span_text=text, settled_text=text)


def test_kept_characters_are_those_that_are_still_there() -> None:
    assert measure.kept_by_acceptance(record(ACCEPTED, settled(TEXT))) == len(TEXT)
    assert measure.kept_by_acceptance(record(ACCEPTED, settled("total = 0"))) < len(TEXT) / 2 + 2
    assert measure.kept_by_acceptance(record(ACCEPTED, UNDONE, settled(""))) == 0
    assert measure.kept_by_acceptance(record(TYPED, settled(TEXT))) == 0, "typed by hand is not kept by acceptance"


def test_every_shown_suggestion_is_counted_once() -> None:
    records = [
        record(ACCEPTED, settled(TEXT)),
        record(ACCEPTED, UNDONE, settled("")),
        record(TYPED, REJECTED),
        record(REJECTED),
        record(shown=False),
    ]
    count = measure.count(records, 7)
    assert (count.places, count.shown, count.accepted, count.typed_through, count.rejected) == (7, 4, 1, 1, 1)
    assert count.kept_chars == len(TEXT)
    assert count.policy_versions == ("base",)


def test_a_place_without_a_suggestion_counts_nothing() -> None:
    difference = measure.compare({"a": record(ACCEPTED, settled(TEXT))}, {"b": record(REJECTED)}, measure.accepted)
    assert difference.value == -0.5


def test_interval_of_a_clear_difference_excludes_zero_and_of_noise_does_not() -> None:
    clear = [Scored(10, 20.0 + i % 3, 15.0 + i % 2) for i in range(25)]
    noise = [Scored(10, 20.0, 20.0 + (1 if i % 2 else -1)) for i in range(24)]
    assert measure.perplexity_change(clear).tells and measure.perplexity_change(clear).value < 0
    assert not measure.perplexity_change(noise).tells
    assert not measure.perplexity_change([]).tells
    before, after = measure.perplexity(clear)
    assert after / before - 1 == pytest.approx(measure.perplexity_change(clear).value)


def result(state: str, scored: list[Scored], kept: Interval | None = None) -> Result:
    count = Count(25, 25, 6, 3, 16, 120, 500, ("base",))
    return Result(
        package="p",
        seed=1,
        model="m",
        training_files=("a.py",),
        held_out_files=("b.py",),
        training=count,
        night=Night(state, "because", "p@000001", 80, 40, 100.0, {}, "report.md"),
        before=count,
        after=count if state == "published" else None,
        accepted=None,
        kept=kept,
        scored=tuple(scored),
        seconds=500,
        evidence={"Database": "x"},
    )


@pytest.mark.parametrize(
    ("state", "scored", "kept", "says"),
    [
        ("refused", [], None, "changed nothing"),
        ("published", [Scored(10, 20.0, 20.0)] * 20, None, "no difference"),
        ("published", [Scored(10, 20.0, 25.0)] * 20, None, "did harm"),
        ("published", [Scored(10, 20.0, 15.0)] * 20, Interval(1, -1, 3), "too small to tell"),
        ("published", [Scored(10, 20.0, 15.0)] * 20, Interval(2, 1, 3), "+2.0 kept"),
    ],
)
def test_the_verdict_claims_no_more_than_was_measured(state: str, scored: list[Scored], kept: Interval | None, says: str) -> None:
    found = result(state, scored, kept)
    assert says in found.verdict
    out = StringIO()
    console = Console(width=160, file=out)
    console.print(found.tables())
    printed = out.getvalue()
    assert found.verdict in printed and "Simulated developer" in printed and "because" in printed
    assert found.to_json()["verdict"] == found.verdict


@pytest.mark.parametrize("cursor", [0, 7, 59, 60])
def test_ghost_text_stands_at_the_cursor(cursor: int) -> None:
    text = "".join(f"x{i:02} = {i:02}\n" for i in range(6))
    shown = View(Console(quiet=True)).code(Scene("a.py", text, min(cursor, len(text)), "GHOST", ""))
    cursor = min(cursor, len(text))
    assert shown.plain == text[:cursor] + "GHOST" + text[cursor:]
