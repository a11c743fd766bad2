"""Step 7 of the gate: is the canary worse than what serves, asked as often as one likes? Pure.

A confidence sequence is an interval that holds at all times at once, so looking every ten minutes and stopping at the first
clear answer errs no more often than alpha. Each arm's mean is bounded by betting (Waudby-Smith & Ramdas, "Estimating means of
bounded random variables by betting", JRSS B 2024, theorem 3 and eq. 24): whoever doubts that the mean is m bets on every value
before seeing it; capital beyond 1/alpha refutes m, for ever. The bets grow where values vary little, so stretches that are alike
settle the matter early, and nothing is asymptotic. The two arms' bounds are joined by a union bound.

What is counted is a stretch of work: the mean reward of one session's suggestions without a pause of half an hour. Suggestions
of one stretch are not independent, and assignment is by session. Assumed: while a canary runs, an arm's stretches have one mean
given those before; both arms run side by side, so that a better week raises both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
import numpy.typing as npt

ALPHA = 0.05
"""Chance, over a canary's whole life, of letting through one that is worse by more than MARGIN; and of withdrawing a good one."""
CANARY_SHARE = 0.8
"""Of ALPHA for the canary's own bound: the arm with a tenth of the sessions decides how wide the difference is."""
MARGIN = 0.05
"""A loss of mean reward (rewards lie in [-1, 1]) that is not told from none."""
MIN_STRETCHES = 10
"""Of each arm before anything is promoted, whatever the bounds say."""
TRUNCATION = 0.75
"""No bet may lose more than this share of the capital."""
GRID = 400
"""Means that are doubted, in [0, 1]; bounds are rounded outwards to it."""

Array = npt.NDArray[np.float64]
Verdict = Literal["undecided", "promote", "rollback"]


@dataclass(frozen=True, slots=True)
class Compared:
    """Canary less live, in units of reward."""

    verdict: Verdict
    low: float
    high: float
    canary: int
    """Stretches."""
    live: int

    @property
    def message(self) -> str:
        """For a person."""
        found = (
            f"{self.canary} stretches of work with the canary, {self.live} with what serves: the difference of their mean "
            f"rewards lies between {self.low:+.2f} and {self.high:+.2f} ({100 * (1 - ALPHA):.0f} %, whenever one looks)."
        )
        if self.verdict == "promote":
            return f"{found} It is not worse by more than {MARGIN:g}."
        if self.verdict == "rollback":
            return f"{found} It is worse."
        return f"{found} That does not decide it yet."


def compare(canary: Sequence[float], live: Sequence[float], alpha: float = ALPHA, margin: float = MARGIN) -> Compared:
    """Mean rewards of stretches in [-1, 1], each arm's in the order in which they ended.

    P(ever `promote` | worse by more than `margin`) ≤ alpha; P(ever `rollback` | not worse) ≤ alpha.
    """
    ours, theirs = alpha * CANARY_SHARE, alpha * (1 - CANARY_SHARE)
    low = lower_bound(canary, ours) - upper_bound(live, theirs)
    high = upper_bound(canary, ours) - lower_bound(live, theirs)
    verdict: Verdict = "undecided"
    if high < 0:
        verdict = "rollback"
    elif low >= -margin and min(len(canary), len(live)) >= MIN_STRETCHES:
        verdict = "promote"
    return Compared(verdict, low, high, len(canary), len(live))


def lower_bound(values: Sequence[float], alpha: float) -> float:
    """What the mean is above, in [-1, 1]: the highest bound that any beginning of `values` has given. -1: nothing is known."""
    found = (np.array(values, dtype=float) + 1) / 2
    if not len(found):
        return -1.0
    if found.min() < 0 or found.max() > 1:
        raise ValueError("rewards lie in [-1, 1]")
    means = np.arange(1, GRID) / GRID  # [m]
    bets = np.minimum(_bets(found, alpha)[:, None], TRUNCATION / means[None, :])  # [t, m]
    capital = np.log1p(bets * (found[:, None] - means[None, :])).cumsum(axis=0)
    # Capital falls as m rises: what is refuted are all means up to some point.
    refuted = means[capital.max(axis=0) >= log(1 / alpha)]
    return 2 * float(refuted.max(initial=0.0)) - 1


def upper_bound(values: Sequence[float], alpha: float) -> float:
    return -lower_bound([-value for value in values], alpha)


def _bets(found: Array, alpha: float) -> Array:
    """λ of each value, from those before it only."""
    count = np.arange(1, len(found) + 1)
    mean = (0.5 + found.cumsum()) / (count + 1)
    variance = (0.25 + ((found - mean) ** 2).cumsum()) / (count + 1)
    before = np.concatenate(([0.25], variance[:-1]))
    return np.asarray(np.sqrt(2 * log(1 / alpha) / (before * count * np.log1p(count))), dtype=float)
