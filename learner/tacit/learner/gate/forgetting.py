"""Step 6 of the gate: has the candidate moved away from the base where nobody asked it to? Pure.

Exact KL(base‖candidate) over the whole vocabulary at each token of general code that is no part of the project, mean per
language: what a model forgets by training tracks it ("RL's Razor"). Each language has the bound to itself, so that none pays for
another.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tacit.learner.gate.check import Check, Measure, decided

FORGETTING = 0.05
"""Nats per token."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One text of the set."""

    language: str
    kl: tuple[float, ...]
    """Nats, at each token."""


def forgetting(texts: Sequence[Drift], bound: float = FORGETTING) -> Check:
    name = "forgetting"
    by_language: dict[str, list[float]] = defaultdict(list)
    for text in texts:
        by_language[text.language] += text.kl
    means = {language: fmean(kl) for language, kl in sorted(by_language.items()) if kl}
    if not means:
        return Check(name, "refused", "There was no text to measure on: nothing is known about what was forgotten.")
    over = [language for language, mean in means.items() if not mean <= bound]
    worst = max(means, key=lambda language: means[language])
    message = (
        f"KL to the base on general code in {len(means)} languages: at most {means[worst]:.4f} nats per token ({worst}; "
        f"bound {bound:g})."
    )
    if over:
        message += f" It has moved too far in {', '.join(over)}."
    measured = tuple(Measure(f"KL in {language}, nats per token", mean, f"≤ {bound:g}") for language, mean in means.items())
    return Check(name, decided(not over), message, {f"kl_{language}": mean for language, mean in means.items()}, measured)
