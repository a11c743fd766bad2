"""The gate: may a candidate serve? Statistics and bounds over figures that others measured. Pure.

Steps 1 (integrity) and 4 (replay) of LEARNING.md, "The gate", and the first check of every run. A check that could not be
made has not passed.

About the first check. It compares log μ as the engine logged it with what training computes for the same tokens under the
adapter that drew them. Engine and trainer agree only up to their arithmetic: llama.cpp multiplies quantised weights by
activations that it rounds to 8 bits. Measured on the 0.5B (Q4_K_M, draws at T = 0.3, code): mean |Δ| 0.02 to 0.03 nats per
token against fp32, 0.035 to 0.07 against bf16, with a heavy tail of single tokens beyond 1 nat: dividing logits by T
multiplies their noise by 1/T. So the check computes in fp32 and judges T·|Δ|, the difference in units of temperature 1
(0.006 to 0.009 here), under the bound of 0.05. A prompt without its suffix gives 1.1, without its last token 1.1, without the
first fifth of its prefix 0.12, a wrong temperature 0.08 and more; without the line that names the file 0.04, not caught.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp

import numpy as np

from tacit.learner.reward import edit_distance

AGREEMENT = 0.05
"""Nats: largest mean |Δ| of log-probabilities between engine and trainer, in units of temperature 1."""
SAME = 1e-3
"""Nats: two policies whose log-probabilities differ by less than this are the same."""
SIMILARITY_SLACK = 0.10
"""By how much mean prefix match or edit similarity may fall where the few generations that fit a night cannot tell it from
chance; a fall that can be told from chance (95 % interval below zero) is refused however small."""
LENGTH_SLACK = 0.10
LENGTH_BOUND = 0.5
"""A mean length that moves by more than half must come nearer to what was written, whatever chance says."""
SHOWN_SLACK = 0.10
MIN_CLUSTERS = 5
"""With fewer sessions (then files) than this a bootstrap over them would have no width."""
MIN_HELD_OUT = 5
RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    passed: bool
    message: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interval:
    mean: float
    low: float
    high: float


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


@dataclass(frozen=True, slots=True)
class Agreement:
    """One token's log-probability by the engine and by the trainer."""

    engine: float
    trainer: float
    temperature: float = 1.0


def agreement(name: str, tokens: Sequence[Agreement], bound: float = AGREEMENT) -> Check:
    """Do engine and trainer compute the same? The mean over tokens of T·|Δ| must not pass the bound."""
    if not tokens:
        return Check(name, False, "There was no token to compare: nothing is known about engine and trainer agreeing.")
    differences = np.array([abs(t.engine - t.trainer) for t in tokens])
    scaled = differences * np.array([t.temperature for t in tokens])
    mean = float(scaled.mean())
    passed = mean <= bound
    message = f"Log-probabilities of {len(tokens)} tokens differ by {mean:.4f} nats on average (bound {bound:g})."
    if not passed:
        message += " They do not see the same prompt, weights or vocabulary: what is learned from these draws would not be sound."
    figures = {
        "mean": mean,
        "mean_as_logged": float(differences.mean()),
        "max": float(differences.max()),
        "tokens": float(len(tokens)),
    }
    return Check(name, passed, message, figures)


Continuation = tuple[Sequence[int], Sequence[float]]
"""(tokens, log-probabilities)"""


def differs(candidate: Sequence[Continuation], base: Sequence[Continuation]) -> Check:
    """Does the engine's candidate answer otherwise than its base? If not, the adapter is not applied."""
    changed, gaps = 0, []
    for (tokens, logprobs), (base_tokens, base_logprobs) in zip(candidate, base, strict=True):
        changed += tuple(tokens) != tuple(base_tokens)
        # Only the first token was predicted from the same text for certain.
        gaps += [abs(a - b) for a, b in zip(logprobs[:1], base_logprobs[:1], strict=False)]
    mean = float(np.mean(gaps)) if gaps else 0.0
    passed = changed > 0 or mean > SAME
    message = (
        f"{changed} of {len(candidate)} probes continue otherwise than under the base; the first token by {mean:.4f} nats."
        if passed
        else "The engine answers as if there were no adapter."
    )
    return Check("the adapter is applied", passed, message, {"changed": float(changed), "mean": mean})


def perplexity(texts: Sequence[HeldOut], seed: int = 0) -> Check:
    """Perplexity on what was really written must fall: the whole 95 % interval of Δ nats per token below zero."""
    name = "held-out perplexity"
    if len(texts) < MIN_HELD_OUT:
        return Check(
            name, False, f"Only {len(texts)} held-out texts, {MIN_HELD_OUT} are needed: too few to tell whether it helps."
        )
    tokens = sum(t.tokens for t in texts)
    before = exp(-sum(t.serving for t in texts) / tokens)
    after = exp(-sum(t.candidate for t in texts) / tokens)
    delta = paired_bootstrap(
        [t.serving - t.candidate for t in texts], [float(t.tokens) for t in texts], clusters(texts), seed=seed
    )
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
               "texts": float(len(texts)), "clusters": float(len(set(clusters(texts))))}  # fmt: skip
    return Check(name, passed, message, figures)


def similarity(generated: Sequence[Generated], seed: int = 0) -> Check:
    """Exact prefix and edit similarity with what was written must not get worse."""
    name = "held-out similarity"
    if not generated:
        return Check(name, False, "Nothing was generated to compare.")
    everyone = [str(i) for i in range(len(generated))]
    figures: dict[str, float] = {"texts": float(len(generated))}
    worse: list[str] = []
    for label, measure in (("exact prefix", prefix_match), ("edit similarity", edit_similarity)):
        before = [measure(g.serving, g.written) for g in generated]
        after = [measure(g.candidate, g.written) for g in generated]
        delta = paired_bootstrap([b - a for a, b in zip(before, after, strict=True)], [1.0] * len(before), everyone, seed=seed)
        key = label.replace(" ", "_")
        figures |= {f"{key}_before": float(np.mean(before)), f"{key}_after": float(np.mean(after)),
                    f"{key}_low": delta.low, f"{key}_high": delta.high}  # fmt: skip
        if delta.high < 0 or delta.mean < -SIMILARITY_SLACK:
            worse.append(label)
    message = (
        f"Greedy text against {len(generated)} held-out texts: exact prefix {figures['exact_prefix_before']:.2f} before, "
        f"{figures['exact_prefix_after']:.2f} after; edit similarity {figures['edit_similarity_before']:.2f} before, "
        f"{figures['edit_similarity_after']:.2f} after."
    )
    if worse:
        message += f" Worse: {' and '.join(worse)}."
    return Check(name, not worse, message, figures)


def length(generated: Sequence[Generated], seed: int = 0) -> Check:
    """Guards against learning to say little, or too much: length within ±10 %, or not farther from what was written.

    Farther: the 95 % interval of |length - written length|, after less before, lies above zero. Of a dozen texts one that ends
    elsewhere moves the mean by more than a tenth; that alone says nothing about the policy. Beyond ±50 % the mean must be nearer.
    """
    name = "held-out length"
    if not generated:
        return Check(name, False, "Nothing was generated to compare.")
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
    return Check(name, passed, message, figures)


def shown(generated: Sequence[Generated]) -> Check:
    """Guards against learning silence: at how many places there is something to show, within ±10 %, or one place, of before."""
    name = "held-out shown rate"
    if not generated:
        return Check(name, False, "Nothing was generated to compare.")
    before = sum(bool(g.serving.strip()) for g in generated)
    after = sum(bool(g.candidate.strip()) for g in generated)
    passed = abs(after - before) <= max(1.0, SHOWN_SLACK * before)
    message = f"Something to show at {before} of {len(generated)} held-out places before, at {after} after."
    figures = {"before": before / len(generated), "after": after / len(generated), "texts": float(len(generated))}
    return Check(name, passed, message, figures)


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


def clusters(texts: Sequence[HeldOut]) -> list[str]:
    """By session; by file where there are too few sessions; else each text by itself."""
    for names in ([t.session for t in texts], [t.path for t in texts]):
        if len(set(names)) >= MIN_CLUSTERS:
            return names
    return [str(i) for i in range(len(texts))]


def prefix_match(text: str, written: str) -> float:
    """Share of the written text that the text gets right from its start, in [0, 1]."""
    if not written:
        return float(not text)
    common = next((i for i, (a, b) in enumerate(zip(text, written, strict=False)) if a != b), min(len(text), len(written)))
    return common / len(written)


def edit_similarity(text: str, written: str) -> float:
    """1 - NED."""
    return 1.0 - edit_distance(text, written)
