"""Step 5 of the gate: what the candidate would have earned on the logged draws. Off-policy, hence with weights. Pure.

Each draw counts with w = min(π/μ, 10) of the tokens that were shown, and with e = min(1/P(show), 10). Two estimates of a
policy's mean reward (Swaminathan & Joachims 2015; Dudík et al. 2011):

- SNIPS: Σ e·w·r / Σ e·w.
- doubly robust: Σ e·b / Σ e + Σ e·w·(r - b) / Σ e·w, where b is what was to be expected at that place whatever is written
  there. It depends on the place alone, so its mean under any policy is itself, and the estimate is right if either the weights
  or b are. The correction is self-normalised like SNIPS, since clipping takes the weights' mean away from one.

ΔV is the candidate's less the serving policy's, both by weights on the same draws; its interval resamples sessions. With few
effective draws the interval means nothing: ESS = (Σ e·w)²/Σ (e·w)² must be at least 100 and a tenth of the draws. A night of
200 suggestions holds out thirty, so `inconclusive` is what most small nights get: it refuses nothing, and the report says so.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
import numpy.typing as npt

from tacit.learner.gate.check import RESAMPLES, Check, Interval, Measure, Verdict, clusters

CLIP = 10.0
"""Of the weights, and of e."""
LARGEST_LOSS = -0.01
"""The lower end of ΔV's 90 % interval may not be below this: rewards lie in [-1, 1]."""
MIN_EFFECTIVE = 100.0
MIN_EFFECTIVE_SHARE = 0.10

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draw:
    """One shown suggestion with a label. Log-probabilities are sums over its shown tokens, nats, at its own temperature."""

    session: str
    path: str
    reward: float
    expected: float
    """b: of this place, fitted without this draw."""
    show_weight: float
    """e."""
    logged: float
    """log μ."""
    serving: float
    candidate: float


def value(draws: Sequence[Draw], seed: int = 0) -> Check:
    """Passed: no loss that matters, by both estimates. Refused: a loss by both, told from chance. Else inconclusive."""
    name = "off-policy value"
    unknown = "Nothing is known against it."
    if not draws:
        return Check(name, "inconclusive", f"No held-out draw has a label and tokens to be weighed. {unknown}")
    rewards = np.array([d.reward for d in draws])
    expected = np.array([d.expected for d in draws])
    exposure = np.array([d.show_weight for d in draws])
    logged = [d.logged for d in draws]
    serving = exposure * weights([d.serving for d in draws], logged)
    candidate = exposure * weights([d.candidate for d in draws], logged)
    ess = effective(candidate)
    names = clusters([d.session for d in draws], [d.path for d in draws])
    by_snips, by_dr = difference(rewards, expected, exposure, serving, candidate, names, seed=seed)
    low, high = min(by_snips.low, by_dr.low), max(by_snips.high, by_dr.high)

    enough = ess >= MIN_EFFECTIVE and ess >= MIN_EFFECTIVE_SHARE * len(draws)
    verdict: Verdict = "inconclusive"
    if enough and low >= LARGEST_LOSS:
        verdict = "passed"
    elif enough and high < LARGEST_LOSS:
        verdict = "refused"
    message = (
        f"Mean reward on {len(draws)} held-out draws: {snips(rewards, serving):+.3f} as it serves, "
        f"{snips(rewards, candidate):+.3f} with the candidate; ΔV {by_dr.mean:+.3f} (90 % interval {low:+.3f} to {high:+.3f}) "
        f"from {ess:.0f} effective draws."
    )
    if not enough:
        needed = max(MIN_EFFECTIVE, MIN_EFFECTIVE_SHARE * len(draws))
        message += f" {needed:.0f} are needed to tell. {unknown}"
    elif verdict == "inconclusive":
        message += f" That does not exclude a loss. {unknown}"
    figures = {
        "draws": float(len(draws)), "effective": ess, "sessions": float(len({d.session for d in draws})),
        "serving_snips": snips(rewards, serving), "candidate_snips": snips(rewards, candidate),
        "serving_dr": doubly_robust(rewards, expected, exposure, serving),
        "candidate_dr": doubly_robust(rewards, expected, exposure, candidate),
        "snips_delta": by_snips.mean, "snips_low": by_snips.low, "snips_high": by_snips.high,
        "dr_delta": by_dr.mean, "dr_low": by_dr.low, "dr_high": by_dr.high,
    }  # fmt: skip
    bound = f"lower end ≥ {LARGEST_LOSS:g} (90 %)"
    measured = (
        Measure("ΔV by SNIPS", by_snips.mean, bound, by_snips.low, by_snips.high),
        Measure("ΔV, doubly robust", by_dr.mean, bound, by_dr.low, by_dr.high),
        Measure("effective draws", ess, f"≥ {MIN_EFFECTIVE:.0f} and ≥ {100 * MIN_EFFECTIVE_SHARE:.0f} % of all"),
    )
    return Check(name, verdict, message, figures, measured)


def weights(policy: Sequence[float], logged: Sequence[float], clip: float = CLIP) -> Array:
    """min(exp(log π - log μ), clip), one per draw."""
    ceiling = np.log(clip)
    ratios: Array = np.exp(np.minimum(np.array(policy, dtype=float) - np.array(logged, dtype=float), ceiling))
    return ratios


def effective(weight: Array) -> float:
    """Kish's effective sample size: n if all weights are equal, 1 if one has everything."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def snips(rewards: Array, weight: Array) -> float:
    total = float(weight.sum())
    return float((weight * rewards).sum()) / total if total > 0 else 0.0


def doubly_robust(rewards: Array, expected: Array, exposure: Array, weight: Array) -> float:
    """weight: e·w. With all of them equal this is the mean reward, whatever b is."""
    return float((exposure * expected).sum() / exposure.sum()) + snips(rewards - expected, weight)


def difference(
    rewards: Array,
    expected: Array,
    exposure: Array,
    serving: Array,
    candidate: Array,
    cluster: Sequence[str],
    *,
    level: float = 0.90,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Interval, Interval]:
    """(SNIPS, doubly robust): candidate's value less the serving policy's, with the bootstrap interval over clusters.

    The part of the doubly robust estimate that is b alone is the same for both policies and falls out.
    """
    residuals = rewards - expected
    columns = np.stack(
        [candidate * rewards, candidate * residuals, candidate, serving * rewards, serving * residuals, serving], 1
    )
    totals: dict[str, Array] = defaultdict(lambda: np.zeros(columns.shape[1]))
    for row, name in zip(columns, cluster, strict=True):
        totals[name] = totals[name] + row
    table = np.array(list(totals.values()))  # [clusters, 6]
    drawn = np.random.default_rng(seed).integers(0, len(table), (resamples, len(table)))
    sums = table[drawn].sum(axis=1)  # [resamples, 6]
    point = table.sum(axis=0)
    tails = ((1 - level) / 2, (1 + level) / 2)
    found: list[Interval] = []
    for at in (0, 1):
        spread = _ratio(sums[:, at], sums[:, 2]) - _ratio(sums[:, at + 3], sums[:, 5])
        low, high = np.quantile(spread, tails)
        mean = _ratio(point[None, at], point[None, 2]) - _ratio(point[None, at + 3], point[None, 5])
        found.append(Interval(float(mean[0]), float(low), float(high)))
    return found[0], found[1]


def _ratio(above: Array, below: Array) -> Array:
    return above / np.maximum(below, exp(-700))
