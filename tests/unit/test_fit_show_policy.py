"""The fit of the show policy: it finds what decides, keeps what is better, and writes a whole file or none."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tacit.learner.show_policy import Example, example, fit, loss, write
from tacit.protocol.completion import Context, Generation
from tacit.protocol.events import Accepted as AcceptedEvent
from tacit.protocol.events import Event, Rejected, Settled, Shown, Suggested, SuggestionRecord
from tacit.protocol.show_policy import PRIORS, features, read

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


def examples(count: int, seed: int = 0) -> list[Example]:
    """Of a developer who keeps what is short, whatever the model thinks of it."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        text = "x" * dice.choice((4, 90))
        found = features(
            text=text, logprobs=[-dice.random()], trigger="automatic", prefix="", suffix="\n", language="go", recent=None
        )
        kept = dice.random() < (0.9 if len(text) == 4 else 0.1)
        made.append(Example(NOW + timedelta(minutes=number), found, kept, 1.0))
    return made


def test_it_finds_what_decides_and_predicts_new_ones_better() -> None:
    result = fit(examples(300), PRIORS, NOW)
    assert result.weights is not None
    assert result.weights.version == 1 and result.weights.labelled == 300 and result.weights.date.startswith("2026-11-21")
    assert result.weights.weights["length"] < -2
    assert loss(examples(300, seed=1), result.weights) < 0.7 * loss(examples(300, seed=1), PRIORS)


def test_it_stays_where_nothing_is_won() -> None:
    best = fit(examples(2000), PRIORS, NOW).weights
    assert best is not None
    result = fit(examples(120, seed=2), best, NOW)
    assert result.weights is None and "stays" in result.message


@pytest.mark.parametrize("few", [examples(99), [replace(one, kept=False) for one in examples(300)]], ids=["few", "one kind"])
def test_too_few_labels_change_nothing(few: Sequence[Example]) -> None:
    result = fit(few, PRIORS, NOW)
    assert result.weights is None and "needed" in result.message


def record(events: Sequence[Event], *, p_show: float = 1.0, shown: bool = True) -> SuggestionRecord:
    context = Context(path="a.py", language="python", prefix="x = ", suffix="\n")
    generation = Generation(
        tokens=(1,), logprobs=(-0.5,), temperature=0.3, seed=1, policy_version="base", model="0" * 64, finish_reason="eos"
    )
    suggested = Suggested(
        at=NOW, session_id="session-0001", suggestion_id="suggestion-1", project="p", context=context, context_sha256="",
        text="call(argument)", generation=generation, trigger="automatic", p_show=p_show, shown=shown, latency_ms=1, engine_ms=1,
    )  # fmt: skip
    return SuggestionRecord(suggestion=suggested, events=tuple(events))


def test_labels_come_from_what_was_kept_and_count_by_their_chance() -> None:
    source = {"at": NOW, "session_id": "session-0001", "suggestion_id": "suggestion-1"}
    took = AcceptedEvent(**source, accepted_chars=14, total_chars=14, visible_ms=900, inferred=True)
    stayed = Settled(**source, horizon="10m", elapsed_ms=6e5, span_text="call(argument)", settled_text="call(argument)")
    refused = Rejected(**source, reason="dismissed", visible_ms=900)
    kept, gone = example(record([took, stayed])), example(record([refused], p_show=0.02))
    assert kept is not None and gone is not None
    assert (kept.kept, kept.weight, gone.kept, gone.weight) == (True, 1.0, False, 10.0)
    assert kept.features["confidence"] == -0.5
    assert example(record([], shown=False)) is None
    # A candidate that was shown in the end is one like any other.
    assert example(record([Shown(**source, inferred=True), took, stayed], shown=False)) == kept


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.json"
    write(path, replace(PRIORS, version=1))

    def full(descriptor: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        write(path, replace(PRIORS, version=2))
    assert read(path).version == 1
    assert [one.name for one in tmp_path.iterdir()] == ["w.json"]
