"""The fit of the show policy: it finds what decides, keeps what is better, and writes a whole file or none."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tacit.learner.reward_model.labelled import Labelled, labelled, late_sessions
from tacit.learner.reward_model.scalar_head import OutOfTime
from tacit.learner.show_policy import fit, loss
from tacit.protocol.completion import Context, Generation
from tacit.protocol.durable import write_whole
from tacit.protocol.events import Accepted as AcceptedEvent
from tacit.protocol.events import Event, Rejected, Settled, Shown, Suggested, SuggestionRecord
from tacit.protocol.show_policy import PRIORS, features, read, written

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


def examples(count: int, seed: int = 0) -> list[Labelled]:
    """Of a developer who keeps what is short, whatever the model thinks of it."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        text = "x" * dice.choice((4, 90))
        found = features(
            text=text, logprobs=[-dice.random()], trigger="automatic", prefix="", suffix="\n", language="go", recent=None
        )
        value = 0.5 if dice.random() < (0.9 if len(text) == 4 else 0.1) else -0.25
        made.append(Labelled(NOW + timedelta(minutes=number), found, value, session=f"{seed}-{number // 10}"))
    return made


def test_it_finds_what_decides_and_predicts_new_ones_better() -> None:
    result = fit(examples(300), PRIORS, NOW)
    assert result.model is not None and result.gain is not None and result.gain.low > 0
    assert result.model.version == 1 and result.model.labelled == 300 and result.model.date.startswith("2026-11-21")
    assert result.auc_new is not None and result.auc_in_use is not None and result.auc_new > max(0.8, result.auc_in_use)
    assert loss(examples(300, seed=1), result.model) < 0.7 * loss(examples(300, seed=1), PRIORS)


def test_it_stays_where_nothing_is_won() -> None:
    best = fit(examples(500), PRIORS, NOW).model
    assert best is not None
    result = fit(examples(120, seed=2), best, NOW)
    assert result.model is None and "stays" in result.message


def test_what_is_held_out_are_the_latest_sessions_whole() -> None:
    found = examples(300)
    early, late = late_sessions(random.Random(1).sample(found, 300), 0.25)
    assert {one.session for one in early}.isdisjoint(one.session for one in late)
    assert max(one.at for one in early) < min(one.at for one in late)
    assert 75 <= len(late) < 85 and len(early) + len(late) == 300
    alone = [replace(one, session="one") for one in found]
    assert [len(part) for part in late_sessions(alone, 0.25)] == [225, 75], "one long session is cut by time"


@pytest.mark.parametrize("few", [examples(99), [replace(one, value=-0.1) for one in examples(300)]], ids=["few", "one kind"])
def test_too_few_labels_change_nothing(few: Sequence[Labelled]) -> None:
    result = fit(few, PRIORS, NOW)
    assert result.model is None and "needed" in result.message


def test_one_class_in_the_earlier_sessions_is_said_and_skipped() -> None:
    found = [replace(one, value=0.5 if number >= 260 else -0.25) for number, one in enumerate(examples(300))]
    result = fit(found, PRIORS, NOW)
    assert result.model is None and "all were kept, or none" in result.message


def test_a_teacher_is_listened_to_and_one_that_fails_is_done_without() -> None:
    read_by: list[str] = []

    def knows(some: Sequence[Labelled]) -> list[float]:
        read_by.extend(one.session for one in some)
        return [one.value for one in some]

    def slow(some: Sequence[Labelled]) -> list[float]:
        raise OutOfTime("It took too long.")

    found = examples(300)
    taught, alone = fit(found, PRIORS, NOW, knows), fit(found, PRIORS, NOW, slow)
    assert taught.distilled and taught.model is not None and "Distilled" in taught.message
    late = {one.session for one in late_sessions(found, 0.25)[1]}
    assert late.isdisjoint(read_by), "what is held out is held out from the teacher too"
    assert not alone.distilled and alone.model is not None and "It took too long." in alone.message
    assert alone.model == fit(found, PRIORS, NOW).model


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
    kept, gone = labelled(record([took, stayed])), labelled(record([refused], p_show=0.02))
    assert kept is not None and gone is not None
    assert (kept.kept, kept.weight, gone.kept, gone.weight) == (True, 1.0, False, 10.0)
    assert kept.features["confidence"] == -0.5
    assert (kept.session, kept.prefix, kept.text) == ("session-0001", "x = ", "call(argument)")
    assert labelled(record([], shown=False)) is None
    # A candidate that was shown in the end is one like any other.
    assert labelled(record([Shown(**source, inferred=True), took, stayed], shown=False)) == kept


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.json"
    write_whole(path, written(replace(PRIORS, version=1)))

    def full(descriptor: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        write_whole(path, written(replace(PRIORS, version=2)))
    assert read(path).version == 1
    assert [one.name for one in tmp_path.iterdir()] == ["w.json"]
