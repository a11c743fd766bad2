"""Step 1 of the gate, and the first check of every run: do engine and trainer compute the same, is the adapter applied? Pure.

About the first check. It compares log μ as the engine logged it with what training computes for the same tokens under the
adapter that drew them. Engine and trainer agree only up to their arithmetic: llama.cpp multiplies quantised weights by
activations that it rounds to 8 bits. Measured on the 0.5B (Q4_K_M, draws at T = 0.3, code): mean |Δ| 0.02 to 0.03 nats per
token against fp32, 0.035 to 0.07 against bf16, with a heavy tail of single tokens beyond 1 nat: dividing logits by T
multiplies their noise by 1/T. So the check computes in fp32 and judges T·|Δ|, the difference in units of temperature 1
(0.006 to 0.009 here), under the bound of 0.05. A prompt without its suffix gives 1.1, without its last token 1.1, without the
first fifth of its prefix 0.12, a wrong temperature 0.08 and more; without the line that names the file 0.04, not caught.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tacit.learner.gate.check import Check, Measure, decided

AGREEMENT = 0.05
"""Nats: largest mean |Δ| of log-probabilities between engine and trainer, in units of temperature 1."""
SAME = 1e-3
"""Nats: two policies whose log-probabilities differ by less than this are the same."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One token's log-probability by the engine and by the trainer."""

    engine: float
    trainer: float
    temperature: float = 1.0


def agreement(name: str, tokens: Sequence[Agreement], bound: float = AGREEMENT) -> Check:
    """Do engine and trainer compute the same? The mean over tokens of T·|Δ| must not pass the bound."""
    if not tokens:
        return Check(name, "refused", "There was no token to compare: nothing is known about engine and trainer agreeing.")
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
    measured = Measure("mean |Δ|, nats", mean, f"≤ {bound:g}")
    return Check(name, decided(passed), message, figures, (measured,))


def nothing_logged(name: str) -> Check:
    """After a change of the base, or of how prompts are made: no draw can be compared, and none is learned from."""
    message = "No suggestion was drawn by this base model from prompts as they are made now: there is nothing to compare."
    return Check(name, "not run", message)


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
    measured = Measure(
        "probes that continue otherwise than the base", float(changed), f"> 0, or the first token by > {SAME:g} nats"
    )
    figures = {"changed": float(changed), "mean": mean}
    return Check("the adapter is applied", decided(passed), message, figures, (measured,))
