"""Step 4 of the gate: held-out places again. What was really written must be likelier than before, and what is written
greedily there no farther from it. Pure: statistics and bounds over figures that others measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from tacit.learner.gate.check import Check, Measure, clusters, decided, paired_bootstrap
from tacit.learner.reward import edit_distance

SIMILARITY_SLACK = 0.10
"""By how much mean prefix match or edit similarity may fall where the few generations that fit a night cannot tell it from
chance; a fall that can be told from chance (95 % interval below zero) is refused however small."""
LENGTH_SLACK = 0.10
LENGTH_BOUND = 0.5
"""A mean length that moves by more than half must come nearer to what was written, whatever chance says."""
SHOWN_SLACK = 0.10
MIN_HELD_OUT = 5


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One written text under the policy that serves and under the candidate."""

    session: str
    path: str
    tokens: int
    serving: float
    """Sum of log-probabilities, nats."""
    candidate: float


@dataclass(frozen=True, slots=True)
class Generated:
    """What both policies write, greedily, where the developer wrote `written`; all cut to its number of lines."""

    written: str
    serving: str
    candidate: str


def perplexity(texts: Sequence[HeldOut], seed: int = 0) -> Check:
    """Perplexity on what was really written must fall: the whole 95 % interval of Δ nats per token below zero."""
    name = "held-out perplexity"
    if len(texts) < MIN_HELD_OUT:
        return Check(
            name, "refused", f"Only {len(texts)} held-out texts, {MIN_HELD_OUT} are needed: too few to tell whether it helps."
        )
    tokens = sum(t.tokens for t in texts)
    before = exp(-sum(t.serving for t in texts) / tokens)
    after = exp(-sum(t.candidate for t in texts) / tokens)
    names = clusters([t.session for t in texts], [t.path for t in texts])
    delta = paired_bootstrap([t.serving - t.candidate for t in texts], [float(t.tokens) for t in texts], names, seed=seed)
    passed = delta.high < 0
    change = 100 * (after / before - 1)
    low, high = 100 * (exp(delta.low) - 1), 100 * (exp(delta.high) - 1)
    message = (
        f"Perplexity on {len(texts)} held-out texts that were really written: {before:.2f} before, {after:.2f} after "
        f"({change:+.1f} %, 95 % interval {low:+.1f} to {high:+.1f} %)."
    )
    if not passed:
        message += " That is no improvement that can be told from chance."
    figures = {"before": before, "after": after, "change_percent": change, "low_percent": low, "high_percent": high,
               "texts": float(len(texts)), "clusters": float(len(set(names)))}  # fmt: skip
    measured = Measure("change of perplexity, %", change, "95 % interval below 0", low, high)
    return Check(name, decided(passed), message, figures, (measured,))


def similarity(generated: Sequence[Generated], seed: int = 0) -> Check:
    """Exact prefix and edit similarity with what was written must not get worse."""
    name = "held-out similarity"
    if not generated:
        return Check(name, "refused", "Nothing was generated to compare.")
    everyone = [str(i) for i in range(len(generated))]
    figures: dict[str, float] = {"texts": float(len(generated))}
    worse: list[str] = []
    measured: list[Measure] = []
    for label, measure in (("exact prefix", prefix_match), ("edit similarity", edit_similarity)):
        before = [measure(g.serving, g.written) for g in generated]
        after = [measure(g.candidate, g.written) for g in generated]
        delta = paired_bootstrap([b - a for a, b in zip(before, after, strict=True)], [1.0] * len(before), everyone, seed=seed)
        key = label.replace(" ", "_")
        figures |= {f"{key}_before": float(np.mean(before)), f"{key}_after": float(np.mean(after)),
                    f"{key}_low": delta.low, f"{key}_high": delta.high}  # fmt: skip
        bound = f"≥ {-SIMILARITY_SLACK:g}, and no fall that can be told from chance"
        measured.append(Measure(f"change of {label}", delta.mean, bound, delta.low, delta.high))
        if delta.high < 0 or delta.mean < -SIMILARITY_SLACK:
            worse.append(label)
    message = (
        f"Greedy text against {len(generated)} held-out texts: exact prefix {figures['exact_prefix_before']:.2f} before, "
        f"{figures['exact_prefix_after']:.2f} after; edit similarity {figures['edit_similarity_before']:.2f} before, "
        f"{figures['edit_similarity_after']:.2f} after."
    )
    if worse:
        message += f" Worse: {' and '.join(worse)}."
    return Check(name, decided(not worse), message, figures, tuple(measured))


def length(generated: Sequence[Generated], seed: int = 0) -> Check:
    """Guards against learning to say little, or too much: length within ±10 %, or not farther from what was written.

    Farther: the 95 % interval of |length - written length|, after less before, lies above zero. Of a dozen texts one that ends
    elsewhere moves the mean by more than a tenth; that alone says nothing about the policy. Beyond ±50 % the mean must be nearer.
    """
    name = "held-out length"
    if not generated:
        return Check(name, "refused", "Nothing was generated to compare.")
    before = float(np.mean([len(g.serving) for g in generated]))
    after = float(np.mean([len(g.candidate) for g in generated]))
    error_before = float(np.mean([abs(len(g.serving) - len(g.written)) for g in generated]))
    error_after = float(np.mean([abs(len(g.candidate) - len(g.written)) for g in generated]))
    ratio = after / before if before else float(after == 0) or 2.0
    within = abs(ratio - 1) <= LENGTH_SLACK
    farther = paired_bootstrap(
        [float(abs(len(g.candidate) - len(g.written)) - abs(len(g.serving) - len(g.written))) for g in generated],
        [1.0] * len(generated),
        [str(i) for i in range(len(generated))],
        seed=seed,
    )
    passed = within or (farther.low <= 0 if abs(ratio - 1) <= LENGTH_BOUND else farther.mean < 0)
    off = f"off from what was written by {error_before:.1f} before, {error_after:.1f} after"
    message = f"Mean length {before:.1f} characters before, {after:.1f} after ({100 * (ratio - 1):+.0f} %)"
    if not within:
        verdict = "" if farther.mean < 0 else ": no difference that can be told from chance" if passed else ": farther"
        message += f", {off}{verdict}"
    message += "."
    figures = {"before": before, "after": after, "ratio": ratio, "error_before": error_before, "error_after": error_after,
               "error_low": farther.low, "error_high": farther.high}  # fmt: skip
    bound = f"within ±{100 * LENGTH_SLACK:.0f} %, or not farther from what was written"
    measured = Measure("change of mean length, %", 100 * (ratio - 1), bound)
    return Check(name, decided(passed), message, figures, (measured,))


def shown(generated: Sequence[Generated]) -> Check:
    """Guards against learning silence: at how many places there is something to show, within ±10 %, or one place, of before."""
    name = "held-out shown rate"
    if not generated:
        return Check(name, "refused", "Nothing was generated to compare.")
    before = sum(bool(g.serving.strip()) for g in generated)
    after = sum(bool(g.candidate.strip()) for g in generated)
    passed = abs(after - before) <= max(1.0, SHOWN_SLACK * before)
    message = f"Something to show at {before} of {len(generated)} held-out places before, at {after} after."
    figures = {"before": before / len(generated), "after": after / len(generated), "texts": float(len(generated))}
    measured = Measure(
        "places with something to show, after less before", float(after - before), f"within ±{100 * SHOWN_SLACK:.0f} %, or 1"
    )
    return Check(name, decided(passed), message, figures, (measured,))


def prefix_match(text: str, written: str) -> float:
    """Share of the written text that the text gets right from its start, in [0, 1]."""
    if not written:
        return float(not text)
    common = next((i for i, (a, b) in enumerate(zip(text, written, strict=False)) if a != b), min(len(text), len(written)))
    return common / len(written)


def edit_similarity(text: str, written: str) -> float:
    """1 - NED."""
    return 1.0 - edit_distance(text, written)
