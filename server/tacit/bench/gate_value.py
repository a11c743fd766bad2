"""Nights whose true off-policy value is known, for `tacit bench gate`: does the gate's interval hold the truth? Pure.

A world is drawn for each night: places of several kinds, a few texts at each, what each text earns there, and how sessions
differ. The serving policy draws; the candidate is the serving policy moved by a given amount. The true ΔV is the expectation over
the world, not over the night, so the interval has to cover what a bootstrap can only guess from one night.
"""

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt

from tacit.learner.gate.check import Interval
from tacit.learner.gate.value import difference, effective, weights

PLACES, TEXTS = 40, 6
SESSION_DRAWS = 8
SESSION_SPREAD = 0.2
"""Standard deviation of what a session adds to the chance of keeping: draws of one session are not independent."""
KEPT, THROWN = 0.6, -0.3
"""What is earned."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Night:
    truth: float
    snips: Interval
    doubly_robust: Interval
    effective: float

    def held(self, by: str) -> bool:
        """by: `snips`, `doubly_robust`, or `gate` for the union of both that the gate decides by."""
        chosen = [self.snips, self.doubly_robust] if by == "gate" else [getattr(self, by)]
        return min(i.low for i in chosen) <= self.truth <= max(i.high for i in chosen)


def night(draws: int, move: float, seed: int) -> Night:
    """move: spread of the change of each text's logit; 0.5 is about a third of a nat a sequence."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 1.5, (PLACES, TEXTS))
    serving = _softmax(logits)
    candidate = _softmax(logits + draw.normal(0, move, logits.shape))
    chance = np.clip(draw.beta(1.0, 2.0, (PLACES, TEXTS)), 0.02, 0.95)
    worth = chance * KEPT + (1 - chance) * THROWN
    truth = float(((candidate - serving) * worth).sum(axis=1).mean())

    place = draw.integers(0, PLACES, draws)
    session = np.arange(draws) // SESSION_DRAWS
    text = np.array([draw.choice(TEXTS, p=serving[x]) for x in place])
    # Bounded at both ends by how far the chance is from them, so that the session changes the spread and not the mean.
    lift = np.clip(draw.normal(0, SESSION_SPREAD, session.max() + 1), -0.5, 0.5)[session]
    chances = chance[place, text]
    kept = draw.random(draws) < chances + lift * np.minimum(chances, 1 - chances)
    rewards = np.where(kept, KEPT, THROWN)
    # b: a place's mean, known roughly, as a regression on few features knows it.
    expected = (serving * worth).sum(axis=1)[place] + draw.normal(0, 0.1, draws)
    logged = [log(p) for p in serving[place, text]]
    moved = [log(p) for p in candidate[place, text]]
    before, after = weights(logged, logged), weights(moved, logged)
    snips, robust = difference(rewards, expected, np.ones(draws), before, after, [str(s) for s in session], seed=seed)
    return Night(truth, snips, robust, effective(after))


def _softmax(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=float)
