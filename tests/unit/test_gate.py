"""The gate's statistics: what is refused, what passes, and that chance alone does not pass."""

import random
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner import gate
from tacit.learner.gate import Agreement, Generated, HeldOut


def held_out(changes: list[float], tokens: int = 10, sessions: int = 8) -> list[HeldOut]:
    """changes: nats per token that the candidate gains."""
    return [
        HeldOut(f"s{i % sessions}", f"f{i}.py", tokens, -1.5 * tokens, -1.5 * tokens + change * tokens)
        for i, change in enumerate(changes)
    ]


def test_perplexity_by_hand() -> None:
    check = gate.perplexity(held_out([log(1.25)] * 16))
    assert check.passed
    assert check.figures["change_percent"] == pytest.approx(-20, abs=1e-6)
    assert check.figures["high_percent"] == pytest.approx(-20, abs=1e-6)


def test_a_change_within_chance_is_refused() -> None:
    draw = random.Random(0)
    refused = sum(
        not gate.perplexity(held_out([draw.gauss(0, 0.3) for _ in range(40)], sessions=40), seed=i).passed for i in range(60)
    )
    assert refused >= 55


def test_a_real_improvement_passes() -> None:
    draw = random.Random(1)
    passed = sum(
        gate.perplexity(held_out([draw.gauss(0.2, 0.3) for _ in range(40)], sessions=40), seed=i).passed for i in range(30)
    )
    assert passed >= 27


def test_sessions_are_resampled_whole() -> None:
    """Forty texts of which one session has all the gain are one observation, not forty."""
    one = [HeldOut("good" if i < 20 else f"s{i % 5}", f"f{i}", 10, -15.0, -15.0 + (6 if i < 20 else -1)) for i in range(40)]
    assert not gate.perplexity(one).passed
    as_if_independent = [HeldOut(f"s{i}", t.path, t.tokens, t.serving, t.candidate) for i, t in enumerate(one)]
    assert gate.perplexity(as_if_independent).passed


def test_too_few_texts_do_not_pass() -> None:
    check = gate.perplexity(held_out([1.0] * (gate.MIN_HELD_OUT - 1)))
    assert not check.passed and str(gate.MIN_HELD_OUT) in check.message


def test_worse_is_refused() -> None:
    assert not gate.perplexity(held_out([-0.2] * 20)).passed


def test_clusters_fall_back_to_files_then_texts() -> None:
    same = [HeldOut("s", f"f{i % 6}", 1, 0, 0) for i in range(12)]
    assert len(set(gate.clusters([t.session for t in same], [t.path for t in same]))) == 6
    assert len(set(gate.clusters(["s"] * 12, ["f"] * 12))) == 12


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=20))
def test_the_interval_holds_the_mean(deltas: list[float]) -> None:
    names = [str(i) for i in range(len(deltas))]
    found = gate.paired_bootstrap(deltas, [1.0] * len(deltas), names, resamples=500)
    assert found.low - 1e-9 <= found.high
    assert min(deltas) - 1e-9 <= found.low and found.high <= max(deltas) + 1e-9


def test_agreement() -> None:
    good = [Agreement(-0.10, -0.11)] * 50
    assert gate.agreement("x", good).passed
    assert not gate.agreement("x", [Agreement(-0.1, -0.2)] * 50).passed
    assert not gate.agreement("x", []).passed


def test_agreement_is_judged_at_temperature_one() -> None:
    """The same difference of logits shows as 1/T times as much in a log-probability at T."""
    cold = [Agreement(-0.10, -0.22, temperature=0.3)] * 50
    check = gate.agreement("x", cold)
    assert check.passed and check.figures["mean"] == pytest.approx(0.036)
    assert not gate.agreement("x", [Agreement(-0.10, -0.30, temperature=0.3)] * 50).passed


def test_an_adapter_that_is_not_applied_is_noticed() -> None:
    base = [((1, 2), (-0.1, -0.2))] * 8
    assert not gate.differs(base, base).passed
    assert gate.differs([((1, 3), (-0.1, -0.2))] * 8, base).passed
    assert gate.differs([((1, 2), (-0.15, -0.2))] * 8, base).passed


WRITTEN = "return self.total / self.count"


def test_text_that_drifts_from_what_was_written_is_refused() -> None:
    worse = [Generated(WRITTEN, WRITTEN, "return 0")] * 10
    check = gate.similarity(worse)
    assert not check.passed and "exact prefix" in check.message
    assert gate.similarity([Generated(WRITTEN, "return 0", WRITTEN)] * 10).passed
    assert gate.similarity([Generated(WRITTEN, WRITTEN, WRITTEN)] * 10).passed


def test_noise_in_a_few_generations_is_not_refused() -> None:
    mixed = [Generated(WRITTEN, WRITTEN[:20], WRITTEN[:22]), Generated(WRITTEN, WRITTEN[:20], WRITTEN[:16])] * 6
    assert gate.similarity(mixed).passed


def test_a_small_but_certain_fall_is_refused() -> None:
    assert not gate.similarity([Generated(WRITTEN, WRITTEN, WRITTEN[:-2])] * 12).passed


def test_a_truncator_is_refused() -> None:
    assert not gate.length([Generated(WRITTEN, WRITTEN, WRITTEN[:6])] * 10).passed


def test_a_rambler_is_refused() -> None:
    assert not gate.length([Generated(WRITTEN, WRITTEN, WRITTEN * 2)] * 10).passed


def test_stopping_where_the_developer_stopped_is_no_fault() -> None:
    assert gate.length([Generated(WRITTEN, WRITTEN + " " * 30, WRITTEN)] * 10).passed
    assert gate.length([Generated(WRITTEN, WRITTEN, WRITTEN + "  ")] * 10).passed


def test_half_as_much_again_is_refused_even_if_chance_could_explain_it() -> None:
    same = Generated(WRITTEN, WRITTEN, WRITTEN)
    check = gate.length([same] * 9 + [Generated(WRITTEN, WRITTEN, WRITTEN * 8)])
    assert check.figures["error_low"] <= 0 and not check.passed
    # The same move towards what was written is what learning is for.
    assert gate.length([same] * 9 + [Generated(WRITTEN * 8, WRITTEN, WRITTEN * 8)]).passed


def test_silence_is_refused() -> None:
    assert not gate.length([Generated(WRITTEN, WRITTEN, "")] * 10).passed
    shown, silent = Generated(WRITTEN, WRITTEN, WRITTEN), Generated(WRITTEN, WRITTEN, " \n")
    assert gate.shown([shown] * 11 + [silent]).passed
    assert not gate.shown([shown] * 10 + [silent] * 2).passed
    assert not gate.shown([]).passed


def test_one_text_that_ends_elsewhere_is_chance() -> None:
    same = Generated(WRITTEN, WRITTEN, WRITTEN)
    assert gate.length([same] * 9 + [Generated(WRITTEN, WRITTEN, WRITTEN * 4)]).passed
    assert not gate.length([]).passed and not gate.similarity([]).passed


@pytest.mark.parametrize(("text", "expected"), [(WRITTEN, 1.0), ("", 0.0), (WRITTEN[:15], 0.5), ("x" + WRITTEN, 0.0)])
def test_prefix_match(text: str, expected: float) -> None:
    assert gate.prefix_match(text, WRITTEN) == pytest.approx(expected)
