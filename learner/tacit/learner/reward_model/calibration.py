"""From a score to a probability that can be believed: Platt's line or isotonic steps, and how far off it is (ECE). Pure.

Both are monotone: calibration changes no ranking (isotonic steps may make ties). Fit them on scores of examples that the model
has not seen, or they only learn how well it remembers.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, Final

import numpy as np

BINS: Final = 10
STEEPEST: Final = 20.0
PRIOR: Final = 2.0
"""Examples, kept as often as the mean, that are added to each isotonic step: none then says 0 or 1."""

Calibration = Callable[[float], float]
"""Score to P(kept)."""


@dataclass(frozen=True, slots=True)
class Platt:
    """P = logistic(shift + scale · score), with Platt's targets, which keep it from certainty (Platt 1999)."""

    scale: float
    shift: float

    def __call__(self, score: float) -> float:
        return 1 / (1 + exp(-max(-30.0, min(30.0, self.shift + self.scale * score))))


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Steps: from `start[i]` on P is `share[i]`, which never falls."""

    start: tuple[float, ...]
    share: tuple[float, ...]

    def __call__(self, score: float) -> float:
        return self.share[max(0, bisect_right(self.start, score) - 1)]


def platt(scores: Sequence[float], kept: Sequence[bool], weights: Sequence[float] | None = None) -> Platt:
    """ValueError: one class only. A score that points the wrong way gets scale 0: the share that is kept, whatever it says."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    x, y, w = _arrays(scores, kept, weights)
    positives, negatives = float((w * y).sum()), float((w * (1 - y)).sum())
    target = np.where(y > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    spread = float(x.std()) or 1.0
    z = (x - x.mean()) / spread

    def loss(at: Any) -> tuple[float, Any]:
        logit = at[0] * z + at[1]
        # log(1 + e^l) - t·l: cross-entropy with a soft target.
        residual = 1 / (1 + np.exp(-logit)) - target
        value = float((w * (np.logaddexp(0, logit) - target * logit)).sum())
        return value, np.array([(w * residual * z).sum(), (w * residual).sum()])

    start = np.array([1.0, log(positives / negatives)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, STEEPEST * spread), (-30.0, 30.0)]).x
    scale = float(found[0]) / spread
    return Platt(scale, float(found[1]) - scale * float(x.mean()))


def isotonic(scores: Sequence[float], kept: Sequence[bool], weights: Sequence[float] | None = None) -> Isotonic:
    """Pool adjacent violators; each step drawn a little towards the mean. ValueError: one class only."""
    from sklearn.isotonic import IsotonicRegression

    x, y, w = _arrays(scores, kept, weights)
    mean = float((w * y).sum() / w.sum())
    pooled = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(x, y, sample_weight=w)
    order = np.argsort(x, kind="stable")
    start, share = [], []
    for value in np.unique(pooled):
        step = order[pooled[order] == value]
        mass = float(w[step].sum())
        start.append(float(x[step].min()))
        share.append((float(value) * mass + mean * PRIOR) / (mass + PRIOR))
    # Drawn towards the mean by different amounts, two steps could change places.
    return Isotonic(tuple(start), tuple(np.maximum.accumulate(share).tolist()))


def expected_calibration_error(predicted: Sequence[float], kept: Sequence[bool], weights: Sequence[float] | None = None) -> float:
    """ECE (Naeini et al. 2015): mean distance of predicted and kept share over bins of equally many predictions."""
    p, y, w = np.array(predicted, float), np.array(kept, float), np.ones(len(kept)) if weights is None else np.array(weights)
    bins = np.array_split(np.argsort(p, kind="stable"), min(BINS, len(p)))
    return float(sum(abs((w[b] * (p[b] - y[b])).sum()) for b in bins) / w.sum())


def _arrays(scores: Sequence[float], kept: Sequence[bool], weights: Sequence[float] | None) -> tuple[Any, Any, Any]:
    y = np.array(kept, float)
    if len(set(kept)) < 2:
        raise ValueError("Of these suggestions all were kept, or none: there is nothing to calibrate with.")
    # Scores that differ by less are the same: interpolating between them would divide by nothing.
    return np.round(np.array(scores, float), 9), y, np.ones(len(y)) if weights is None else np.array(weights, float)
