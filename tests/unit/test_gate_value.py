"""Off-policy value: the estimators against cases whose answer is known, and what the gate makes of them."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.gate import value as check_value
from tacit.learner.gate.value import Draw, difference, doubly_robust, effective, snips, weights

REWARDS = st.lists(st.floats(-1, 1), min_size=1, max_size=30)


@given(REWARDS, st.floats(-1, 1))
def test_on_policy_both_estimates_are_the_mean_reward(values: list[float], expected: float) -> None:
    rewards, ones = np.array(values), np.ones(len(values))
    same = weights([-3.0] * len(values), [-3.0] * len(values))
    assert snips(rewards, same) == pytest.approx(rewards.mean())
    # Whatever b is, wrong or right.
    assert doubly_robust(rewards, expected * ones, ones, same) == pytest.approx(rewards.mean())


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=30))
def test_effective_draws(values: list[float]) -> None:
    array = np.array(values)
    assert 1 - 1e-9 <= effective(array) <= len(values) + 1e-9
    assert effective(3 * array) == pytest.approx(effective(array))
    assert effective(np.ones(len(values))) == pytest.approx(len(values))


def test_effective_draws_by_hand() -> None:
    assert effective(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective(np.array([5.0, 0.0, 0.0])) == 1
    assert effective(np.zeros(3)) == 0


def test_weights_are_clipped() -> None:
    assert list(weights([0.0, -1.0, -900.0], [-50.0, -1.0, 0.0])) == pytest.approx([10, 1, 0])


# Two actions. Action 1 earns 1 with probability 0.7, action 0 with 0.2; logged half and half, the candidate takes 1 in 80 %.
GOOD, BAD, CHOSEN = 0.7, 0.2, 0.8
TRUE_DELTA = (CHOSEN - 0.5) * (GOOD - BAD)


def bandit(draw: np.random.Generator, count: int, chosen: float = CHOSEN, session_size: int = 5) -> list[Draw]:
    actions = draw.random(count) < 0.5
    rewards = (draw.random(count) < np.where(actions, GOOD, BAD)).astype(float)
    new = np.where(actions, log(chosen), log(1 - chosen))
    return [
        Draw(f"s{i // session_size}", f"f{i}", float(rewards[i]), 0.45, 1.0, log(0.5), log(0.5), float(new[i]))
        for i in range(count)
    ]


def measured(draws: list[Draw], seed: int = 0):  # type: ignore[no-untyped-def]
    ones = np.ones(len(draws))
    return difference(
        np.array([d.reward for d in draws]), np.array([d.expected for d in draws]), ones,
        weights([d.serving for d in draws], [d.logged for d in draws]),
        weights([d.candidate for d in draws], [d.logged for d in draws]),
        [d.session for d in draws], resamples=400, seed=seed,
    )  # fmt: skip


def test_a_bandit_whose_value_is_known() -> None:
    """Over simulated nights the estimates are right in the mean, and the 90 % interval holds the truth in about 90 %."""
    draw = np.random.default_rng(0)
    nights = [measured(bandit(draw, 200), seed) for seed in range(200)]
    for estimate in (0, 1):
        means = [night[estimate].mean for night in nights]
        assert np.mean(means) == pytest.approx(TRUE_DELTA, abs=0.015)
        held = np.mean([night[estimate].low <= TRUE_DELTA <= night[estimate].high for night in nights])
        assert 0.83 <= held <= 0.97


def test_knowing_the_place_narrows_the_interval() -> None:
    """Half of the places are hard whatever is written there: b takes their noise away."""
    draw = np.random.default_rng(1)
    draws = []
    for i, d in enumerate(bandit(draw, 400, session_size=1)):
        hard = bool(draw.random() < 0.5)
        base = -0.9 if hard else 0.9
        draws.append(Draw(f"s{i}", d.path, base + 0.1 * d.reward, base, 1.0, d.logged, d.serving, d.candidate))
    by_snips, by_dr = measured(draws)
    assert by_dr.high - by_dr.low < 0.3 * (by_snips.high - by_snips.low)


def test_a_better_policy_passes() -> None:
    check = check_value(bandit(np.random.default_rng(2), 600))
    assert check.verdict == "passed", check.message
    assert check.figures["effective"] >= 100


def test_a_policy_that_turns_it_round_is_refused() -> None:
    check = check_value(bandit(np.random.default_rng(3), 600, chosen=0.2))
    assert check.verdict == "refused", check.message


def test_few_effective_draws_are_inconclusive_whatever_they_say() -> None:
    for chosen in (0.8, 0.2):
        check = check_value(bandit(np.random.default_rng(4), 60, chosen=chosen))
        assert check.verdict == "inconclusive" and "known against" in check.message and not check.refused
    assert check_value([]).verdict == "inconclusive"


def test_a_wide_interval_is_inconclusive() -> None:
    same = [Draw(d.session, d.path, d.reward, 0.45, 1.0, d.logged, d.serving, d.logged + 0.4 * (-1) ** i)
            for i, d in enumerate(bandit(np.random.default_rng(5), 300))]  # fmt: skip
    check = check_value(same)
    assert check.figures["effective"] >= 100 and check.verdict == "inconclusive", check.message


def test_sessions_are_resampled_whole() -> None:
    draws = bandit(np.random.default_rng(6), 300, session_size=1)
    # The same session again and again says nothing new.
    copied = [Draw(f"s{i % 30}", d.path, *_rest(draws[i % 30])) for i, d in enumerate(draws)]
    apart = [Draw(f"t{i}", d.path, *_rest(draws[i % 30])) for i, d in enumerate(draws)]
    together, single = measured(copied)[0], measured(apart)[0]
    assert together.high - together.low > 2 * (single.high - single.low)


def _rest(d: Draw) -> tuple[float, ...]:
    return d.reward, d.expected, d.show_weight, d.logged, d.serving, d.candidate
