"""The gate: may a candidate serve? One module per step of LEARNING.md's "The gate". Pure: figures in, checks out.

`integrity` (1), `safety` (2), `execution` (3), `replay` (4), `value` (5), `forgetting` (6), `shadow` and `sequence` (7); `check`
is what they all say. Who measures the figures is `tacit.learner.trial`; for step 7 `tacit.learner.shadow` and
`tacit.learner.canary`, and the server draws and routes.
"""

from tacit.learner.gate.check import Check, Interval, Measure, Verdict, clusters, decided, paired_bootstrap, tried_on
from tacit.learner.gate.execution import Executed, execution, not_run
from tacit.learner.gate.forgetting import FORGETTING, Drift, forgetting
from tacit.learner.gate.integrity import Agreement, agreement, differs, nothing_logged
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
from tacit.learner.gate.safety import COMES_OUT, Invited, Names, Remembered, Scanned, dangerous, leaks, memorised, unresolved
from tacit.learner.gate.value import CLIP, Draw, value

__all__ = [
    "CLIP",
    "COMES_OUT",
    "FORGETTING",
    "MIN_HELD_OUT",
    "Agreement",
    "Check",
    "Draw",
    "Drift",
    "Executed",
    "Generated",
    "HeldOut",
    "Interval",
    "Invited",
    "Measure",
    "Names",
    "Remembered",
    "Scanned",
    "Verdict",
    "agreement",
    "clusters",
    "dangerous",
    "decided",
    "differs",
    "edit_similarity",
    "execution",
    "forgetting",
    "leaks",
    "length",
    "memorised",
    "not_run",
    "nothing_logged",
    "paired_bootstrap",
    "perplexity",
    "prefix_match",
    "shown",
    "similarity",
    "tried_on",
    "unresolved",
    "value",
]
