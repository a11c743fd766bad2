"""`tacit bench train`, its figures: what is counted, compared and computed from what the trainers took."""

import math
from dataclasses import replace

import pytest

from tacit.bench import train as bench
from tacit.bench.train import Options, chosen, fastest, peak_flops, rate, speed_ratio, token_flops, told, utilisation
from tacit.bench.train_arm import Took, peak_mib
from tacit.bench.train_log import Log, made, places, texts
from tacit.protocol.errors import BadRequest

TOOK = Took(
    arm="sft", texts=10, tokens=5000, seconds=10.0, references=3.0, after=2.0, steps=2, peak_mib=900.0, device_mib=None,
    device="", parameters=500_000_000, embedding=100_000_000, layers=24, hidden=896,
)  # fmt: skip


def runs(name: str, *seconds: float) -> list[Took]:
    return [replace(TOOK, arm=name, seconds=one) for one in seconds]


def rounds(**arms: list[Took]) -> list[dict[str, Took]]:
    return [{one.arm: one for one in together} for together in zip(*arms.values(), strict=True)]


def test_a_ratio_is_of_pairs_and_its_interval_of_rounds() -> None:
    ours, theirs = runs("sft", 10, 20, 40), runs("TRL SFT, padded", 20, 40, 80)
    steady = speed_ratio(list(zip(ours, theirs, strict=True)))
    assert steady.value == pytest.approx(2) and steady.low == pytest.approx(2) == steady.high, "a busy round slows both"
    once = speed_ratio([(ours[0], theirs[0])])
    assert once.low is None and str(once) == "2.00"
    spread = speed_ratio([(ours[0], theirs[0]), (ours[0], theirs[1])])
    assert spread.value == pytest.approx(math.sqrt(8)) and spread.low is not None and spread.high is not None
    assert math.log(spread.high / spread.value) == pytest.approx(12.71 * math.log(2) / 2)


def test_the_faster_of_trls_is_what_is_compared_with() -> None:
    both = rounds(a=runs("sft", 10, 10), b=runs("TRL SFT, padded", 30, 30), c=runs("TRL SFT, padding-free", 20, 16))
    assert fastest(both, ("TRL SFT, padded", "TRL SFT, padding-free")) == "TRL SFT, padding-free"
    assert fastest(both, ("TRL KTO",)) is None
    report = told(both, Options(samples=12, repeats=2), "m")
    assert [goal.name for goal in report.goals] == [
        "sft: seconds for each second of TRL SFT, padding-free", "sft: the same, upper end of 95 %",
    ]  # fmt: skip
    assert report.goals[0].value == pytest.approx(10 / math.sqrt(20 * 16)) and report.goals[0].met and not report.goals[1].met
    assert report.rows[0]["tok/s"] == 500 and report.rows[0]["times TRL"].startswith("1.79 [")
    assert report.rows[0]["min for 1,000"] == round((1000 * 10 / 12 + 2) / 60, 1), "the fixed part counts once"


def test_without_trl_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "trl_is_here", lambda: False)
    assert [arm.name for arm in chosen("all")] == ["sft", "kto", "topr"]
    report = told(rounds(a=runs("sft", 10)), Options(), "m")
    assert report.goals == [] and any("TRL is not installed" in remark for remark in report.remarks)
    with pytest.raises(BadRequest, match="There are: sft, kto, topr, all"):
        chosen("grpo")


def test_utilisation_counts_the_models_work_only() -> None:
    on_gpu = replace(TOOK, device="NVIDIA H200", seconds=0.5)
    each = token_flops(on_gpu)
    assert each == 4 * 400_000_000 + 8 * 24 * 896 * 250, "no embedding, no pass for references"
    assert utilisation(on_gpu) == pytest.approx(10_000 * each / 989e12) and rate(on_gpu) == 10_000
    assert utilisation(TOOK) is None and utilisation(replace(TOOK, device="Unheard-of 9")) is None
    assert (
        peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
        and peak_flops("NVIDIA L40S") == 362e12
        and peak_flops("NVIDIA L4") == 121e12
    )
    report = told([{"topr": replace(on_gpu, arm="topr")}], Options(samples=10), "m")
    assert report.goals[-1].name == "topr: minutes for 1,000 samples" and report.goals[-1].value == pytest.approx(52 / 60)


def test_peak_memory_is_in_mib_everywhere() -> None:
    assert peak_mib(2048, "linux") == peak_mib(2048 * 1024, "darwin") == 2


def log(max_length: int = 1024) -> Log:
    """With a character a token."""
    holes = places(16, 200, 60, 1)
    return made(holes, max_length, 1, lambda text: [ord(c) for c in text], lambda ids: "".join(map(chr, ids)), "0" * 64)


def test_the_log_has_kept_and_rejected_draws_and_what_was_written_instead() -> None:
    found = log()
    values = [sample.reward.value > 0 for sample in found.samples]
    assert len(found.samples) == 16 and 8 <= values.count(True) < 12 and all(sample.tokens for sample in found.samples)
    taught = [sample for sample in found.samples if sample.hindsight > 0]
    assert taught and all(sample.reward.value <= 0 for sample in taught)
    assert log() == found, "the same for the same seed"


def test_every_trainer_of_an_objective_is_counted_the_same_texts() -> None:
    found = log()
    written = texts(found, "sft")
    assert written == [(len(s.prompt), len(s.written_tokens)) for s in found.samples if s.hindsight > 0]
    both = texts(found, "kto")
    assert both == texts(found, "topr") and len(both) == len(written) + sum(a != 0 for a in found.advantages)
    longest = max(prompt + target for prompt, target in both)
    cut = log(longest - 1)
    assert len(cut.samples) < 16 and all(prompt + target < longest for prompt, target in texts(cut, "kto"))
