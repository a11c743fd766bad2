"""The canary's confidence sequence: right at all times at once, with rewards of any shape, and not so wide as to say nothing."""

import numpy as np
import pytest

from tacit.learner.gate.sequence import ALPHA, MARGIN, MIN_STRETCHES, compare, lower_bound, upper_bound

REPETITIONS = 200
CANARY, LIVE = 60, 540


def stretches(draw: np.random.Generator, mean: float, count: int, *, shape: str) -> list[float]:
    """Mean rewards with that expectation, in [-1, 1]."""
    if shape == "two values":
        return list(np.where(draw.random(count) < (1 + mean) / 2, 1.0, -1.0))
    spread = 0.15 if shape == "alike" else 0.5
    # A beta distribution over [-1, 1].
    a, b = (1 + mean) / 2 / spread, (1 - mean) / 2 / spread
    return list(2 * draw.beta(a, b, count) - 1)


@pytest.mark.parametrize("shape", ["two values", "alike", "spread"])
@pytest.mark.parametrize("mean", [-0.4, 0.0, 0.7])
def test_a_bound_is_never_wrong_more_often_than_alpha(mean: float, shape: str) -> None:
    # The bound is the best of all beginnings: one wrong moment would show at the end.
    draw = np.random.default_rng(1)
    runs = [stretches(draw, mean, LIVE // 2, shape=shape) for _ in range(REPETITIONS)]
    above = sum(lower_bound(values, ALPHA) > mean for values in runs)
    below = sum(upper_bound(values, ALPHA) < mean for values in runs)
    # Three standard errors of 200 tosses at 5 %.
    assert max(above, below) <= REPETITIONS * ALPHA + 3 * (REPETITIONS * ALPHA) ** 0.5


@pytest.mark.parametrize(("gain", "wrong"), [(0.0, "rollback"), (-MARGIN - 1e-9, "promote")])
def test_looking_all_the_time_errs_no_more_often_than_alpha(gain: float, wrong: str) -> None:
    draw = np.random.default_rng(2)
    errors = 0
    for _ in range(REPETITIONS):
        canary = stretches(draw, 0.1 + gain, CANARY, shape="alike")
        live = stretches(draw, 0.1, LIVE, shape="alike")
        errors += any(
            compare(canary[:seen], live[: seen * LIVE // CANARY]).verdict == wrong for seen in range(MIN_STRETCHES, CANARY, 10)
        )
    assert errors <= REPETITIONS * ALPHA


@pytest.mark.parametrize(("gain", "right"), [(0.3, "promote"), (-0.4, "rollback")])
def test_a_large_difference_is_told(gain: float, right: str) -> None:
    draw = np.random.default_rng(3)
    told = sum(
        compare(stretches(draw, gain, CANARY, shape="alike"), stretches(draw, 0.0, LIVE, shape="alike")).verdict == right
        for _ in range(40)
    )
    assert told >= 32


def test_nothing_is_known_of_nothing() -> None:
    found = compare([], [0.3] * 1000)
    assert (found.verdict, found.low <= -1, found.high >= 0.5) == ("undecided", True, True)


def test_few_stretches_promote_nothing_however_good() -> None:
    assert compare([1.0] * (MIN_STRETCHES - 1), [-1.0] * 100).verdict == "undecided"
    assert compare([1.0] * MIN_STRETCHES, [-1.0] * 100).verdict == "promote"


def test_bounds_never_widen_as_more_is_seen() -> None:
    values = stretches(np.random.default_rng(4), 0.2, 100, shape="spread")
    lows = [lower_bound(values[:count], ALPHA) for count in range(0, 101, 5)]
    assert lows == sorted(lows)


def test_a_reward_out_of_range_is_no_reward() -> None:
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        lower_bound([1.5], ALPHA)
