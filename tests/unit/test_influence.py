"""No label, and no source of labels, outweighs the others: what a few loud and wrong ones can do is bounded."""

import dataclasses
import random
from collections import defaultdict
from math import exp
from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import SETTINGS, policy, sample

from tacit.learner.evaluate import Text, log_probabilities
from tacit.learner.influence import MOST_OF_SAMPLE, MOST_OF_SOURCE, capped
from tacit.learner.loss import Coefficients
from tacit.learner.policy import CANDIDATE
from tacit.learner.reward import Reward
from tacit.learner.samples import Sample
from tacit.learner.train import exposure, train

labels = st.lists(st.tuples(st.sampled_from([0.0, 1.0, 3.0, 10.0, 30.0]), st.sampled_from("abcd")), min_size=1, max_size=60)


@given(labels)
def test_bounded_for_each_sample_and_each_source_and_never_more(found: list[tuple[float, str]]) -> None:
    weights, sources = [weight for weight, _ in found], [source for _, source in found]
    after = capped(weights, sources)
    usual = median([weight for weight in weights if weight > 0] or [1.0])
    of_source: dict[str, list[float]] = defaultdict(list)
    for weight, was, source in zip(after, weights, sources, strict=True):
        assert 0 <= weight <= min(was, MOST_OF_SAMPLE * usual) + 1e-9
        assert (weight == 0) == (was == 0)
        if weight:
            of_source[source].append(weight)
    assert all(fmean(each) <= MOST_OF_SOURCE * usual + 1e-9 for each in of_source.values())


@given(labels, st.floats(0.1, 10))
def test_only_proportions_count_and_the_order_within_a_source_stays(found: list[tuple[float, str]], factor: float) -> None:
    weights, sources = [weight for weight, _ in found], [source for _, source in found]
    after = capped(weights, sources)
    assert capped([factor * weight for weight in weights], sources) == pytest.approx([factor * weight for weight in after])
    for i, j in zip(range(len(weights)), range(1, len(weights)), strict=False):
        if sources[i] == sources[j] and weights[i] >= weights[j]:
            assert after[i] >= after[j] - 1e-9


@given(st.integers(1, 200), st.sampled_from([1.0, 3.0]))
def test_labels_that_are_alike_are_left_alone(count: int, weight: float) -> None:
    assert capped([weight] * count, ["one"] * count) == [weight] * count


@given(st.integers(20, 200), st.booleans())
def test_one_in_twenty_has_no_more_than_a_fifth_of_the_say(count: int, spread: bool) -> None:
    """Rated and explored, 30 times a usual label: alone in a session, or spread over those of the others."""
    bad = count // 20
    weights = [30.0 if i < bad else 1.0 for i in range(count)]
    sources = [f"s{i % 7}" if spread else "bad" if i < bad else f"s{i % 7}" for i in range(count)]
    after = capped(weights, sources)
    share = sum(after[:bad]) / sum(after)
    assert share < (0.2 if spread else 0.1)
    assert sum(weights[:bad]) / sum(weights) > 0.4, "as it was"


def poisoned(count: int = 40) -> list[Sample]:
    """What was drawn was kept, and two of forty say the opposite as loudly as a record can."""
    kept = [sample(i, value=0.5, hindsight=0.0) for i in range(count)]
    for i in (7, 23):
        rated = Reward(-1.0, {}, "", 3.0, "rated")
        # Logged as so unlikely that no importance weight softens it.
        kept[i] = dataclasses.replace(kept[i], p_show=0.02, reward=rated, blame=(1.0, 1.0, 1.0), logprobs=(-30.0,) * 3)
    return kept


def test_one_poisoned_rating_in_twenty_does_not_turn_a_night_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def gain(samples: list[Sample]) -> float:
        """Nats by which a kept draw becomes likelier."""
        model = policy()
        texts = [Text(s.prompt, s.tokens) for s in samples if s.reward.value > 0]
        before, after = (
            log_probabilities(model, CANDIDATE, texts),
            train(model, samples, advantages, "base", settings) and log_probabilities(model, CANDIDATE, texts),
        )
        return fmean(sum(b) - sum(a) for a, b in zip(before, after, strict=True))

    settings = dataclasses.replace(SETTINGS, epochs=1, batch=40, coefficients=Coefficients(hindsight=0.0))
    samples = poisoned()
    # As `baseline.advantages` has them: the label's weight is in A.
    advantages = [s.reward.value * s.reward.weight for s in samples]
    assert gain(samples) > 0
    monkeypatch.setattr("tacit.learner.train.capped", lambda weights, sources: list(weights))
    assert gain(samples) < 0, "without the caps the two outweigh the thirty-eight"


WORSE = (40, 41, 42)
"""What is drawn at every other place, and not kept there."""


def two_ways(count: int, adversaries: int, seed: int) -> list[Sample]:
    """A night with draws that were kept and others that were not; the adversaries say the opposite, as loudly as they can."""
    liars = random.Random(seed).sample(range(count), adversaries)
    night = []
    for number in range(count):
        kept = number % 2 == 1
        one = sample(number, value=0.5 if kept else -0.25, hindsight=0.0)
        one = one if kept else dataclasses.replace(one, tokens=WORSE)
        if number in liars:
            lie = Reward(-1.0 if kept else 1.0, {}, "", 3.0, "rated")
            one = dataclasses.replace(one, p_show=0.02, reward=lie, blame=(1.0, 1.0, 1.0), logprobs=(-30.0,) * 3)
        night.append(one)
    return night


def points(night: list[Sample]) -> tuple[float, float]:
    """Of a hundred draws at places that nobody has seen, how many are of the kept kind: before the night and after it."""
    model = policy()
    unseen = [sample(1000 + number) for number in range(20)]

    def kept() -> float:
        good, bad = (
            [sum(found) for found in log_probabilities(model, CANDIDATE, [Text(s.prompt, tokens or s.tokens) for s in unseen])]
            for tokens in ((), WORSE)
        )
        return 100 * fmean(1 / (1 + exp(min(50.0, b - g))) for g, b in zip(good, bad, strict=True))

    before = kept()
    settings = dataclasses.replace(SETTINGS, epochs=3, batch=20, coefficients=Coefficients(hindsight=0.0))
    train(model, night, [s.reward.value * s.reward.weight for s in night], "base", settings)
    return before, kept()


@pytest.mark.parametrize("count", [40, 100])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 10))])
def test_five_adversaries_in_a_hundred_cost_no_point(count: int, seed: int) -> None:
    before, after = points(two_ways(count, count // 20, seed))
    assert after > before - 1


def test_without_the_caps_they_would_cost_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.learner.train.capped", lambda weights, sources: list(weights))
    before, after = points(two_ways(40, 2, seed=0))
    assert after < before - 1


def test_what_is_not_labelled_keeps_its_exposure() -> None:
    unlabelled = dataclasses.replace(sample(1), p_show=0.02, reward=Reward(0.0, {}, "no decision", 0.0, "none"))
    loud = dataclasses.replace(sample(2), p_show=0.02)
    found = exposure([unlabelled, loud, *(sample(i) for i in range(3, 20))])
    assert found[0] == 10.0 and found[1] < 10.0 and found[2] == 1.0
