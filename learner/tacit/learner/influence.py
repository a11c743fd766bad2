"""How much each label may weigh, so that a few loud ones cannot turn a night round. Pure.

A label weighs its own weight (3 for a rating) times e = min(1/P(show), 10), at most 30 usual ones: of labels that were rated,
explored and wrong, one in twenty would outweigh all others. Two caps (TRUST.md, "Poisoned feedback"), both in units of the
night's median, so that a night of nothing but ratings is what it is:

- of one sample: four usual ones;
- of one source: on average twice the usual one. A source is a session, the finest thing that a record names; how much somebody
  works does not count against him, only how loud each of his labels is.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Final

MOST_OF_SAMPLE: Final = 4.0
MOST_OF_SOURCE: Final = 2.0


def capped(weights: Sequence[float], sources: Sequence[str]) -> list[float]:
    """What each label weighs, never more than it did. weights: 0 where there is no label. sources: whose each is."""
    labels = [weight for weight in weights if weight > 0]
    if not labels:
        return list(weights)
    usual = median(labels)
    bounded = [min(weight, MOST_OF_SAMPLE * usual) for weight in weights]
    common: dict[str, list[float]] = defaultdict(list)
    for weight, source in zip(bounded, sources, strict=True):
        if weight > 0:
            common[source].append(min(weight, usual))
    loud: dict[str, float] = defaultdict(float)
    for weight, source in zip(bounded, sources, strict=True):
        loud[source] += max(0.0, weight - usual)
    # What is above the usual gives way, so that the quiet labels of the same source stay what they are.
    left = {
        source: min(1.0, (MOST_OF_SOURCE * usual * len(each) - sum(each)) / loud[source]) if loud[source] else 1.0
        for source, each in common.items()
    }
    return [
        usual + (weight - usual) * left[source] if weight > usual else weight
        for weight, source in zip(bounded, sources, strict=True)
    ]
