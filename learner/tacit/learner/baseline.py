"""What reward was to be expected at a place, so that the advantage says what the suggestion itself did. Pure.

b(x): ridge regression on language, trigger, length and hour, cross-fitted so that no sample predicts itself
(LEARNING.md, "Objective").
"""

from collections.abc import Callable, Sequence
from math import cos, log, pi, sin
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import Ridge

from tacit.learner.reward_debug import Verdict
from tacit.learner.reward_debug import advantages as of_answers
from tacit.learner.samples import Sample

FOLDS = 5
FLOOR = 0.25
"""Smallest deviation by which a residual is divided: a quiet night must not blow up noise."""
PRIOR_COUNT = 20.0
"""How many samples the prior deviation counts for."""
PRIOR_DEVIATION = 0.4
MAX_ADVANTAGE = 2.0

Array = npt.NDArray[np.float64]
Features = Callable[[Sample], dict[str, Any]]


def advantages(samples: Sequence[Sample]) -> list[float]:
    """A of each sample, in order of the argument: clip((R - b(x))/s, -2, 2); 0 where there is no label. Of debugging answers what
    is expected is the mean of their tier, and A is g·(Q - mean).

    All 0 where labels are of one kind, nothing kept or everything: what is left are differences between ways to say no.
    s is a running deviation in order of time, never that of a batch: a batch of one would give zero.
    """
    verdicts = [s.reward for s in samples if isinstance(s.reward, Verdict)]
    if len(verdicts) == len(samples):
        return of_answers(verdicts)
    order = sorted((i for i, s in enumerate(samples) if s.reward.labelled), key=lambda i: samples[i].at)
    result = [0.0] * len(samples)
    if len({samples[i].reward.value > 0 for i in order}) < 2:
        return result
    rewards = np.array([samples[i].reward.value for i in order])
    residuals = rewards - expected([samples[i] for i in order], rewards)
    squares = PRIOR_COUNT * PRIOR_DEVIATION**2
    for count, (i, residual) in enumerate(zip(order, residuals, strict=True), start=1):
        squares += float(residual) ** 2
        deviation = max(FLOOR, (squares / (PRIOR_COUNT + count)) ** 0.5)
        clipped = max(-MAX_ADVANTAGE, min(MAX_ADVANTAGE, float(residual) / deviation))
        result[i] = clipped * samples[i].reward.weight
    return result


def expected(samples: Sequence[Sample], rewards: Array, features: Features | None = None) -> Array:
    """b(x) of each sample, fitted on the other folds only. Shape [len(samples)]. features: what of a sample it may look at."""
    count = len(samples)
    if count < 2:
        return np.zeros(count)
    table = DictVectorizer(sparse=False).fit_transform([(features or _features)(s) for s in samples])
    fold = np.arange(count) % min(FOLDS, count)
    predicted = np.zeros(count)
    for number in range(int(fold.max()) + 1):
        out = fold == number
        # Strong regularisation: with a handful of samples this is the mean of the others.
        model: Any = Ridge(alpha=10.0).fit(table[~out], rewards[~out])
        predicted[out] = model.predict(table[out])
    return np.clip(predicted, -1.0, 1.0)


def place_features(sample: Sample) -> dict[str, Any]:
    """Of the place alone: the same whatever is suggested there."""
    hour = 2 * pi * (sample.at.hour + sample.at.minute / 60) / 24
    return {
        "language": sample.context.language,
        "trigger": sample.trigger,
        "hour_sin": sin(hour),
        "hour_cos": cos(hour),
    }


def _features(sample: Sample) -> dict[str, Any]:
    return {
        **place_features(sample),
        "length": log(1 + len(sample.text)),
        "lines": float(sample.text.count("\n")),
    }
