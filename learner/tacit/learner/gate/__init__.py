"""The gate: may a candidate serve? One module per step of LEARNING.md's "The gate". Pure: figures in, checks out.

`integrity` (1), `safety` (2), `execution` (3), `replay` (4), `value` (5), `forgetting` (6); `check` is what they all say. Who
measures the figures is `tacit.learner.trial`; shadow and canary (7) are the server's.
"""

from tacit.learner.gate.check import Check, Interval, Measure, Verdict, clusters, decided, paired_bootstrap
from tacit.learner.gate.integrity import Agreement, agreement, differs
from tacit.learner.gate.replay import (
    MIN_HELD_OUT,
    Generated,
    HeldOut,
    edit_similarity,
    length,
    perplexity,
    prefix_match,
    shown,
    similarity,
)

__all__ = [
    "MIN_HELD_OUT",
    "Agreement",
    "Check",
    "Generated",
    "HeldOut",
    "Interval",
    "Measure",
    "Verdict",
    "agreement",
    "clusters",
    "decided",
    "differs",
    "edit_similarity",
    "length",
    "paired_bootstrap",
    "perplexity",
    "prefix_match",
    "shown",
    "similarity",
]
