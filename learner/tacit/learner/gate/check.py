"""What every step of the gate says, and the bootstrap that the steps share. Pure.

A check that could not be made has not passed. Two verdicts let a night go on without having passed: `inconclusive` (too little
is known to tell) and `not run` (there is nothing on this machine, or in this project, to check it with); the
report says them as what they are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

RESAMPLES = 4000
MIN_CLUSTERS = 5
"""With fewer sessions (then files) than this a bootstrap over them would have no width."""

Verdict = Literal["passed", "refused", "inconclusive", "not run"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure that a check has a bound for."""

    what: str
    """With its unit."""
    value: float
    bound: str
    """In words, as a person reads it."""
    low: float | None = None
    high: float | None = None
    """Ends of its interval, where there is one."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    verdict: Verdict
    message: str
    figures: Mapping[str, float] = field(default_factory=dict)
    """For programs."""
    measured: tuple[Measure, ...] = ()
    """For the report's table."""

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"

    @property
    def refused(self) -> bool:
        return self.verdict == "refused"


@dataclass(frozen=True, slots=True)
class Interval:
    mean: float
    low: float
    high: float


def decided(passed: bool) -> Verdict:
    return "passed" if passed else "refused"


def tried_on(checks: Sequence[Check], share: float) -> float:
    """Of the sessions, before it serves all: a version that nothing speaks against but of which the log cannot tell. 0: none."""
    return share if any(check.verdict == "inconclusive" for check in checks) else 0.0


def clusters(sessions: Sequence[str], paths: Sequence[str]) -> Sequence[str]:
    """By session; by file where there are too few sessions; else each text by itself."""
    for names in (sessions, paths):
        if len(set(names)) >= MIN_CLUSTERS:
            return names
    return [str(i) for i in range(len(sessions))]


def paired_bootstrap(
    deltas: Sequence[float], weights: Sequence[float], cluster: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """95 % interval of Σdeltas/Σweights, resampling whole clusters: samples of one session are not independent."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for delta, weight, name in zip(deltas, weights, cluster, strict=True):
        totals[name][0] += delta
        totals[name][1] += weight
    table = np.array(list(totals.values()))  # [clusters, 2]
    draws = np.random.default_rng(seed).integers(0, len(table), (resamples, len(table)))
    sums = table[draws].sum(axis=1)  # [resamples, 2]
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (0.025, 0.975))
    mean = table[:, 0].sum() / table[:, 1].sum()
    return Interval(float(mean), float(low), float(high))
