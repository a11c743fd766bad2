"""The objective's terms against values computed by hand, and the direction of its gradients."""

import dataclasses
from math import exp, log
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.clipped import ppo
from tacit.learner.imitation import awr, rwr
from tacit.learner.loss import L_MAX, Coefficients, LossInputs, token_kl
from tacit.learner.objective import importance_weight, topr
from tacit.learner.preference import kto

ONLY_POLICY = Coefficients(policy=1, hindsight=0, kl_base=0, kl_serving=0)


def inputs(**changes: Any) -> LossInputs:
    """One sample with a draw of two tokens out of four; the policy is uniform, as it was when it was logged."""
    logits = torch.zeros(2, 4, requires_grad=True)
    values: dict[str, Any] = {
        "logits": logits,
        "base": torch.zeros(2, 4),
        "serving": torch.zeros(2, 4),
        "tokens": torch.tensor([1, 2]),
        "sample": torch.tensor([0, 0]),
        "drawn": torch.tensor([True, True]),
        "logged": torch.full((2,), log(0.25)),
        "kept": torch.tensor([1.0, 0.0]),
        "blame": torch.tensor([0.0, 1.0]),
        "reward": torch.tensor([0.5]),
        "label_weight": torch.tensor([1.0]),
        "advantage": torch.tensor([1.0]),
        "show_weight": torch.tensor([1.0]),
        "temperature": torch.tensor([1.0]),
        "hindsight": torch.tensor([0.0]),
        "rehearsed": torch.tensor([False]),
        "drift": torch.tensor(0.0),
    }
    return LossInputs(**{**values, **changes})


def gradient(made: LossInputs, coefficients: Coefficients = ONLY_POLICY) -> torch.Tensor:
    topr(made, coefficients).loss.backward()
    assert made.logits.grad is not None
    return made.logits.grad


def test_policy_term_by_hand() -> None:
    loss = topr(inputs(), ONLY_POLICY).loss
    assert float(loss.detach()) == pytest.approx(-1.0 * log(0.25) / L_MAX)


def test_a_good_suggestion_gets_likelier_where_it_was_kept() -> None:
    slope = gradient(inputs())
    # Descent raises the logit of the kept token; the token that was not kept is left alone.
    assert slope[0, 1] < 0 < slope[0, 0]
    assert torch.equal(slope[1], torch.zeros(4))


def test_a_bad_suggestion_gets_unlikelier_from_its_first_divergence() -> None:
    slope = gradient(inputs(advantage=torch.tensor([-1.0])))
    assert torch.equal(slope[0], torch.zeros(4))
    assert slope[1, 2] > 0 > slope[1, 0]


def test_what_is_already_unlikely_is_pushed_down_less() -> None:
    """A < 0: the gradient shrinks by ratio; A > 0: it does not."""
    logged = torch.full((2,), log(0.5))  # ratio = (0.25/0.5)² = 1/4
    down = gradient(inputs(advantage=torch.tensor([-1.0]), logged=logged))
    assert torch.allclose(down, 0.25 * gradient(inputs(advantage=torch.tensor([-1.0]))))
    up = gradient(inputs(logged=logged))
    assert torch.allclose(up, gradient(inputs()))


@given(st.floats(-2, 2), st.floats(1e-6, 1e6))
def test_the_weight_is_never_above_one(advantage: float, ratio: float) -> None:
    weight = float(importance_weight(torch.tensor([advantage], dtype=torch.float64), torch.tensor([ratio]))[0])
    assert weight == pytest.approx(1.0 if advantage >= 0 else min(1.0, ratio))


def test_ratio_is_taken_at_the_sampling_temperature() -> None:
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]], requires_grad=True)
    temperature = 0.5
    logged = (logits.detach() / temperature).log_softmax(-1)[[0, 1], [1, 0]]
    made = inputs(
        logits=logits, base=torch.zeros(2, 2), serving=torch.zeros(2, 2), tokens=torch.tensor([1, 0]), logged=logged,
        temperature=torch.tensor([temperature]),
    )  # fmt: skip
    assert topr(made, ONLY_POLICY).metrics["ratio"] == pytest.approx(1.0, abs=1e-5)


def test_length_has_no_weight_of_its_own() -> None:
    """Two samples with the same per-token facts: the longer one's tokens count as much each as the shorter one's."""
    short = gradient(inputs(kept=torch.tensor([1.0, 0.0])))
    long = gradient(inputs(kept=torch.tensor([1.0, 1.0])))
    assert torch.allclose(short[0], long[0])


def test_rarely_shown_counts_more() -> None:
    assert torch.allclose(gradient(inputs(show_weight=torch.tensor([4.0]))), 4 * gradient(inputs()))


def test_hindsight_raises_what_was_written_and_only_that() -> None:
    made = inputs(
        drawn=torch.tensor([True, False]), advantage=torch.tensor([0.0]), hindsight=torch.tensor([0.5]), logged=torch.zeros(2)
    )
    out = topr(made, Coefficients(policy=1, hindsight=0.5, kl_base=0, kl_serving=0))
    assert float(out.loss.detach()) == pytest.approx(-0.5 * 0.5 * log(0.25) / L_MAX)
    out.loss.backward()
    assert made.logits.grad is not None
    assert torch.equal(made.logits.grad[0], torch.zeros(4))
    assert made.logits.grad[1, 2] < 0


def test_kl_by_hand() -> None:
    reference = torch.tensor([[log(0.5), log(0.5)]])
    policy = torch.tensor([[log(0.9), log(0.1)]])
    expected = 0.5 * log(0.5 / 0.9) + 0.5 * log(0.5 / 0.1)
    assert float(token_kl(reference, policy)[0]) == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3), st.lists(st.floats(-10, 10), min_size=3, max_size=3))
def test_kl_is_zero_for_the_same_and_positive_else(a: list[float], b: list[float]) -> None:
    left, right = torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    assert float(token_kl(left, left.log_softmax(-1))[0]) == pytest.approx(0, abs=1e-9)
    assert float(token_kl(left, right.log_softmax(-1))[0]) >= -1e-9


def test_kl_pulls_back_to_the_serving_policy() -> None:
    serving = torch.zeros(2, 4)
    logits = torch.tensor([[3.0, 0.0, 0.0, 0.0]] * 2, requires_grad=True)
    slope = gradient(
        inputs(logits=logits, serving=serving, advantage=torch.tensor([0.0])),
        Coefficients(policy=0, hindsight=0, kl_base=0, kl_serving=1),
    )
    assert (slope[:, 0] > 0).all() and (slope[:, 1:] < 0).all()


def test_importance_is_that_of_the_whole_draw() -> None:
    logged = torch.tensor([log(0.5), log(0.125)])  # ratio = (0.25/0.5)·(0.25/0.125) = 1
    out = topr(inputs(logged=logged), ONLY_POLICY)
    assert out.metrics["ratio"] == pytest.approx(exp(0), abs=1e-5)


def test_regressions_weigh_a_draw_by_what_it_was_worth() -> None:
    """rwr by the reward, awr by the advantage; a rating's weight multiplies, it does not sharpen."""
    once = -2 * log(0.25) / L_MAX
    rated = inputs(label_weight=torch.tensor([3.0]), advantage=torch.tensor([3.0]))
    assert float(rwr(inputs(), ONLY_POLICY).loss.detach()) == pytest.approx(exp(0.5 / 0.5) * once)
    assert float(awr(inputs(), ONLY_POLICY).loss.detach()) == pytest.approx(exp(1.0) * once)
    assert float(awr(rated, ONLY_POLICY).loss.detach()) == pytest.approx(3 * exp(1.0) * once)


def test_a_weight_is_capped() -> None:
    sharp = dataclasses.replace(ONLY_POLICY, advantage_temperature=0.01)
    assert float(awr(inputs(), sharp).loss.detach()) == pytest.approx(20 * -2 * log(0.25) / L_MAX)


@pytest.mark.parametrize(("advantage", "ratio", "followed"), [(1, 1.1, True), (1, 1.3, False), (-1, 0.9, True), (-1, 0.7, False),
                                                             (1, 0.5, True), (-1, 3.9, True), (-1, 4.1, False)])  # fmt: skip
def test_a_ratio_is_followed_until_its_clip(advantage: float, ratio: float, followed: bool) -> None:
    logged = torch.full((2,), log(0.25 / ratio))
    made = inputs(advantage=torch.tensor([float(advantage)]), logged=logged)
    ppo(made, ONLY_POLICY).loss.backward()
    assert made.logits.grad is not None
    expected = -advantage * ratio * 0.75 / L_MAX if followed else 0.0
    assert float(made.logits.grad[0, 1]) == pytest.approx(expected, abs=1e-6)


def test_kto_measures_from_the_drift() -> None:
    """As far from the serving policy as the batch is anyway: not yet good, not yet bad."""
    logits = torch.tensor([[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    moved = float(logits.detach().log_softmax(-1)[0, 1]) - log(0.25)
    at_drift = kto(inputs(logits=logits, drift=torch.tensor(moved)), ONLY_POLICY)
    assert float(at_drift.loss.detach()) == pytest.approx(0.5)
    assert float(kto(inputs(logits=logits), ONLY_POLICY).loss.detach()) == pytest.approx(1 / (1 + exp(0.1 * moved)), abs=1e-6)
