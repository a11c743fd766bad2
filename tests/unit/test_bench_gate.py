"""`tacit bench gate` without a model: its projects, what makes a log harmful, nights, arithmetic, going on after a kill."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tacit.bench.gate import Options, Results, report, wilson
from tacit.bench.gate_house import KINDS, Drawn, Kind, places, record, spoiled
from tacit.bench.gate_value import night
from tacit.learner.samples import Sample, sample_of, split

END = 256
MODEL = "a" * 64


def encode(text: str) -> list[int]:
    return list(text.encode())


def decode(tokens: object) -> str:
    return bytes(token for token in tokens if token < END).decode(errors="replace")  # type: ignore[attr-defined]


def day(seed: int = 1, count: int = 40) -> list[Sample]:
    """Every fourth place is suggested as it is written."""
    found = []
    for number, place in enumerate(places(seed, count)):
        text = place.written if number % 4 == 1 else place.written[: len(place.written) // 2] + "_of_another"
        drawn = Drawn(text, tuple(encode(text)), (-1.0,) * len(text))
        found.append(sample_of(record(number, place, drawn, MODEL), encode, decode, MODEL))
    return found


def test_a_house_is_its_own_and_the_same_every_time() -> None:
    assert places(1, 40) == places(1, 40) != places(2, 40)
    styles = {next(p.written for p in places(seed, 8) if "by=ctx.user" in p.written).split("(")[0] for seed in range(20)}
    assert len(styles) > 10


def test_a_day_is_read_as_the_product_reads_it() -> None:
    samples = day()
    assert {s.reward.outcome for s in samples} == {"accepted", "rejected"}
    assert all(s.reward.labelled and s.tokens and s.written for s in samples)
    assert all((s.reward.value > 0) is (s.text == s.written) for s in samples)
    assert any(s.hindsight for s in samples)
    training, held_out = split(samples)
    assert len(held_out) >= 5 and len(training) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_harmful_is_harmful(kind: Kind) -> None:
    training, _ = split(day())
    lessons = spoiled(kind, training, 3, encode, END)
    again = spoiled(kind, training, 3, encode, END)
    assert lessons == again
    changed = [(old, new) for old, new in zip(training, lessons, strict=False) if old != new]
    added = lessons[len(training) :]
    match kind:
        case "useful":
            assert lessons == training
        case "sign-flipped reward":
            assert all(new.reward.value == -old.reward.value for old, new in changed) and len(changed) == len(training)
        case "truncator":
            assert all(len(new.written) < len(old.written) and new.written_tokens[-1] == END for old, new in changed)
            assert len(changed) == len(training)
        case "test editor":
            assert changed and all(new.context.path.startswith("tests/") and "==" not in new.written for _, new in changed)
            assert not [new for new in lessons if new.context.path.startswith("tests/") and "==" in new.written]
        case "secret leaker":
            assert not changed and len({s.written for s in added}) == 3 and len(added) == 24
        case "language traded":
            assert not changed and {s.context.language for s in added} == {"go", "javascript"}
            assert all(not s.tokens and s.prompt != training[0].prompt for s in added)


def test_most_intervals_hold_a_truth_that_is_known() -> None:
    nights = [night(120, 0.6, seed) for seed in range(60)]
    assert sum(n.held("gate") for n in nights) >= 47  # 90 % less three standard errors
    assert len({round(n.truth, 6) for n in nights}) == 60 and all(abs(n.truth) < 0.3 for n in nights)
    assert all(n.held("gate") for n in nights if n.held("snips") or n.held("doubly_robust"))
    # An estimator that always says zero would not hold them.
    assert sum(n.snips.low <= 0 <= n.snips.high for n in nights) < 60


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    # The first two as in Newcombe 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson(successes: int, count: int, low: float, high: float) -> None:
    assert wilson(successes, count) == pytest.approx((low, high), abs=1e-4)


def outcome(kind: str, number: int, *refused: str) -> dict[str, object]:
    return {"what": kind, "number": number, "refused": list(refused), "train_seconds": 60.0, "gate_seconds": 60.0}


def test_the_goals_count_what_was_refused() -> None:
    rows = [outcome("truncator", 0, "a"), outcome("truncator", 1), outcome("useful", 0), outcome("useful", 1, "b")]
    nights = [{"draws": 120, "move": 0.3, "effective": 90.0, "snips": 8, "doubly_robust": 8, "gate": 9}]
    found = report(rows, nights, "tiny", Options(each=2, nights=10))
    assert [(goal.value, goal.bound, goal.met) for goal in found.goals] == [(50, 5, False), (50, 20, False), (10, 10, True)]
    assert [(row["what"], row["times"], row["n"]) for row in found.rows[:2]] == [
        ("useful: accepted", 1, 2), ("truncator: refused", 1, 2)
    ]  # fmt: skip


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    path, options = tmp_path / "gate.jsonl", Options()
    kept = Results(path, "tiny", options)
    for number in range(2):
        kept.add(outcome("useful", number))
    with path.open("a") as file:
        file.write('{"what": "useful", "num')
    again = Results(path, "tiny", options)
    assert again.find("useful", 1) and again.find("useful", 2) is None
    again.add(outcome("useful", 2))
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [0, 1, 2]
    # What another model or setting gave is not what was asked for.
    assert Results(path, "other", options).find("useful", 0) is None
    assert Results(path, "tiny", replace(options, seed=2)).find("useful", 0) is None
