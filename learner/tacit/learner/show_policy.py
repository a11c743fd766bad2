"""Fits the show policy: a logistic regression of kept or not on the cheap features that the language server computes too.

Reads exported records; writes one small file in TACIT_HOME, at once or not at all. With too few labels, or where the new
weights predict held-out suggestions worse than those in use, the file stays as it is.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from tacit.learner.reward import reward
from tacit.protocol.client import TacitClient
from tacit.protocol.durable import sync
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home
from tacit.protocol.show_policy import FEATURES, LARGEST_WEIGHT, PRIORS, ShowWeights, features_of, read, written

MIN_LABELLED: Final = 100
MIN_OF_EACH: Final = 15
"""Kept ones, and others."""
HELD_OUT: Final = 0.25
"""The latest ones."""
MOST_WEIGHT: Final = 10.0
"""Of one that was shown to explore: as LEARNING.md bounds 1/P(show)."""
STRENGTH: Final = 1.0
"""Inverse of the regularisation."""


@dataclass(frozen=True, slots=True)
class Example:
    at: datetime
    features: dict[str, float]
    kept: bool
    weight: float
    """1/P(show), and three times that for a rating."""


@dataclass(frozen=True, slots=True)
class Fit:
    weights: ShowWeights | None
    """None: what is in use stays."""
    message: str
    labelled: int
    loss_in_use: float | None = None
    """Of held-out suggestions, nats each."""
    loss_new: float | None = None


def example(record: SuggestionRecord) -> Example | None:
    """None: nothing is known of whether it was wanted."""
    verdict = reward(record)
    if not verdict.labelled:
        return None
    suggested = record.suggestion
    weight = verdict.weight * min(1 / suggested.p_show, MOST_WEIGHT)
    return Example(suggested.at, features_of(suggested), verdict.value > 0, weight)


def fit(examples: Sequence[Example], in_use: ShowWeights, now: datetime) -> Fit:
    """Weights that predict later suggestions better than those in use, if there are such."""
    count = len(examples)
    kept = sum(one.kept for one in examples)
    if count < MIN_LABELLED or min(kept, count - kept) < MIN_OF_EACH:
        return Fit(
            None,
            f"The show policy stays: {count} labelled suggestions, {kept} of them kept; {MIN_LABELLED} are needed, "
            f"{MIN_OF_EACH} of each kind.",
            count,
        )
    ordered = sorted(examples, key=lambda one: one.at)
    cut = int(count * (1 - HELD_OUT))
    early, late = ordered[:cut], ordered[cut:]
    if len({one.kept for one in early}) < 2:
        return Fit(None, "The show policy stays: of the earlier suggestions all were kept, or none.", count)
    tried = _regression(early)
    old, new = loss(late, in_use), loss(late, tried)
    # Better by more than chance: one standard error of the paired difference.
    gains = [a - b for a, b in zip(_losses(late, in_use), _losses(late, tried), strict=True)]
    if fmean(gains) <= stdev(gains) / len(gains) ** 0.5:
        return Fit(
            None,
            f"The show policy stays: on held-out suggestions new weights lose {new:.3f} nats, it {old:.3f}.",
            count,
            old,
            new,
        )
    found = _regression(ordered)
    weights = ShowWeights(found.intercept, found.weights, in_use.version + 1, now.isoformat(timespec="seconds"), count)
    return Fit(
        weights,
        f"The show policy is fitted on {count} suggestions: {new:.3f} nats on held-out ones instead of {old:.3f}.",
        count,
        old,
        new,
    )


async def refit(client: TacitClient, home: Home) -> dict[str, Any]:
    """Fit it on every project's records, one home being one developer's; returns what the report says of it. Never raises."""
    try:
        found = [
            e for info in await client.projects() async for r in client.export(info.project) if (e := example(r)) is not None
        ]
        try:
            in_use = read(home.show_policy)
        except ValueError:
            in_use = PRIORS
        result = await asyncio.to_thread(fit, found, in_use, datetime.now(UTC))
        if result.weights is not None:
            await asyncio.to_thread(write, home.show_policy, result.weights)
    except Exception as error:
        # The run itself has ended well or badly by now; this must not leave it without an end.
        return {"message": f"The show policy stays as it is: {type(error).__name__}: {error}"}
    return {
        "message": result.message,
        "labelled": result.labelled,
        "fitted": result.weights is not None,
        "version": (result.weights or in_use).version,
        "loss_in_use": result.loss_in_use,
        "loss_new": result.loss_new,
    }


def loss(examples: Sequence[Example], weights: ShowWeights) -> float:
    """Mean log loss, nats, each example with its weight."""
    return sum(_losses(examples, weights)) / sum(one.weight for one in examples)


def _losses(examples: Sequence[Example], weights: ShowWeights) -> list[float]:
    predicted = [(one, weights.p_kept(one.features)) for one in examples]
    return [-one.weight * log(p if one.kept else 1 - p) for one, p in predicted]


def write(path: Path, weights: ShowWeights) -> None:
    """The whole file or none of it, synced."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".show_policy-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(written(weights))
        sync(Path(name))
        Path(name).replace(path)
        sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _regression(examples: Sequence[Example]) -> ShowWeights:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, max_iter=1000)
    model.fit(
        [[one.features[name] for name in FEATURES] for one in examples],
        [one.kept for one in examples],
        sample_weight=[one.weight for one in examples],
    )
    bounded = [max(-LARGEST_WEIGHT, min(LARGEST_WEIGHT, float(value))) for value in (*model.intercept_, *model.coef_[0])]
    return ShowWeights(bounded[0], dict(zip(FEATURES, bounded[1:], strict=True)))
