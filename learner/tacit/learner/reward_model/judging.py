"""How well a score tells kept suggestions from others: AUC with intervals over sessions, folds of whole sessions. Pure.

Suggestions of one session are not independent: intervals resample sessions, and no session is ever on both sides of a split.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import numpy as np

from tacit.learner.gate import clusters, paired_bootstrap

RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def auc(kept: Sequence[bool], scores: Sequence[float]) -> float:
    """Chance that a kept one scores higher than another, ties by half. ValueError: one class only."""
    return _auc(np.array(kept, bool), np.array(scores, float))


def auc_by_session(kept: Sequence[bool], scores: Sequence[float], sessions: Sequence[str], seed: int = 0) -> Spread:
    """AUC of all, interval by resampling sessions."""
    return difference(kept, scores, None, sessions, seed)


def difference(
    kept: Sequence[bool], scores: Sequence[float], others: Sequence[float] | None, sessions: Sequence[str], seed: int = 0
) -> Spread:
    """AUC(scores) - AUC(others) on the same draws of sessions; others None: nothing is taken away."""
    y, a = np.array(kept, bool), np.array(scores, float)
    b = None if others is None else np.array(others, float)

    def figure(rows: Any) -> float:
        return _auc(y[rows], a[rows]) - (0.0 if b is None else _auc(y[rows], b[rows]))

    names = clusters(sessions, sessions)
    groups: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        groups[name].append(row)
    parts = [np.array(rows) for rows in groups.values()]
    draw = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < RESAMPLES:
        rows = np.concatenate([parts[i] for i in draw.integers(0, len(parts), len(parts))])
        if 0 < y[rows].sum() < len(rows):
            found.append(figure(rows))
    low, high = np.quantile(found, (0.025, 0.975))
    return Spread(figure(np.arange(len(y))), float(low), float(high))


def gain_by_session(gains: Sequence[float], weights: Sequence[float], sessions: Sequence[str]) -> Spread:
    """Mean of weighted paired differences, interval by resampling sessions. gains: already multiplied by their weights."""
    found = paired_bootstrap(gains, weights, clusters(sessions, sessions))
    return Spread(found.mean, found.low, found.high)


def session_folds(sessions: Sequence[str], count: int, seed: int = 0) -> list[int]:
    """The fold of each example: whole sessions, folds of like size. Fewer sessions than folds: as many folds as sessions."""
    sizes = Counter(sessions)
    names = sorted(sizes)
    Random(seed).shuffle(names)
    names.sort(key=lambda name: sizes[name], reverse=True)
    filled = [0] * max(1, min(count, len(names)))
    chosen: dict[str, int] = {}
    for name in names:
        chosen[name] = filled.index(min(filled))
        filled[chosen[name]] += sizes[name]
    return [chosen[name] for name in sessions]


def cross_fitted(
    examples: Sequence[Any],
    sessions: Sequence[str],
    count: int,
    fit: Callable[[list[Any]], Callable[[Any], float]],
    seed: int = 0,
) -> list[float]:
    """A score for each example by a model that has seen none of its session. fit: from examples to a model."""
    folds = session_folds(sessions, count, seed)
    if len(set(folds)) < 2:
        raise ValueError("All of this is one session: nothing can be held out.")
    found = [0.0] * len(examples)
    for fold in sorted(set(folds)):
        model = fit([one for one, its in zip(examples, folds, strict=True) if its != fold])
        for row, (one, its) in enumerate(zip(examples, folds, strict=True)):
            if its == fold:
                found[row] = model(one)
    return found


def _auc(y: Any, scores: Any) -> float:
    positives = int(y.sum())
    if not 0 < positives < len(y):
        raise ValueError("All were kept, or none: nothing can be ranked.")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place]
    return float((ranks[y].sum() - positives * (positives + 1) / 2) / (positives * (len(y) - positives)))
