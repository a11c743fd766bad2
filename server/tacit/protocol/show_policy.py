"""P(kept) of a suggestion from cheap features: the features, the weights and their file. Pure but for reading that file.

The language server decides with it whether to stay quiet, and the learner fits it: both see a suggestion through
`features`, so that they agree. Imports nothing heavy: it is loaded while somebody types.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tacit.protocol.events import Recent, Suggested

FEATURES: Final = (
    "confidence",
    "length",
    "lines",
    "invoked",
    "mid_line",
    "fresh_line",
    "prose",
    "accepts",
    "rejects",
    "rejected_here",
    "since_last",
)
PROSE: Final = frozenset(("markdown", "plaintext", "latex", "restructuredtext", "asciidoc", "git-commit", "text"))
"""LSP language ids of texts for people: less of what is suggested there is kept."""
FULL_LENGTH: Final = 80
LONGEST_GAP_S: Final = 600.0
LARGEST_WEIGHT: Final = 50.0


@dataclass(frozen=True, slots=True)
class ShowWeights:
    """A logistic model: P(kept) = logistic(intercept + Σ weight · feature)."""

    intercept: float
    weights: Mapping[str, float]
    """One for each of FEATURES."""
    version: int = 0
    """Counts the fits; 0: the priors."""
    date: str = ""
    """ISO 8601, of the fit."""
    labelled: int = 0
    """Suggestions that it was fitted on."""

    def p_kept(self, found: Mapping[str, float]) -> float:
        """In (0, 1). found: what `features` returns."""
        score = self.intercept + sum(self.weights[name] * found[name] for name in FEATURES)
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))


PRIORS: Final = ShowWeights(
    intercept=-0.4,
    weights=MappingProxyType(
        {
            "confidence": 1.2, "length": -0.3, "lines": -0.15, "invoked": 1.0, "mid_line": -0.4, "fresh_line": 0.2,
            "prose": -0.5, "accepts": 0.2, "rejects": -0.12, "rejected_here": -0.7, "since_last": 0.2,
        }
    ),
)  # fmt: skip
"""Before anything is known of this developer. Twenty sure characters are kept with a chance near the published mean
acceptance (25.8 % of 2,047 developers); each nat per token that the model is less sure takes away about two thirds of it."""


def features(
    *, text: str, logprobs: Sequence[float], trigger: str, prefix: str, suffix: str, language: str, recent: "Recent | None"
) -> dict[str, float]:
    """What the model looks at, each value between about -3 and 3.

    logprobs: nats, of the drawn tokens under the distribution that was sampled from. prefix, suffix: around the hole, as the
    model was shown them. recent: what the developer did with the suggestions before this one; None: not known.
    """
    rest = suffix.split("\n", 1)[0]
    head = prefix[prefix.rfind("\n") + 1 :]
    since = LONGEST_GAP_S if recent is None or recent.since_last_s is None else min(recent.since_last_s, LONGEST_GAP_S)
    return {
        "confidence": max(-3.0, sum(logprobs) / len(logprobs)) if logprobs else -3.0,
        "length": min(1.5, math.log1p(len(text)) / math.log1p(FULL_LENGTH)),
        "lines": float(min(text.rstrip("\n").count("\n"), 6)),
        "invoked": float(trigger == "invoked"),
        "mid_line": float(bool(rest.strip())),
        "fresh_line": float(not head.strip()),
        "prose": float(language in PROSE),
        "accepts": min(recent.accepts, 5.0) if recent is not None else 0.0,
        "rejects": min(recent.rejects, 10.0) if recent is not None else 0.0,
        "rejected_here": float(recent is not None and recent.rejected_here),
        "since_last": math.log1p(since) / math.log1p(LONGEST_GAP_S),
    }


def features_of(suggested: "Suggested") -> dict[str, float]:
    """The same, from the record."""
    context = suggested.context
    return features(
        text=suggested.text,
        logprobs=suggested.generation.logprobs,
        trigger=suggested.trigger,
        prefix=context.prefix,
        suffix=context.suffix,
        language=context.language,
        recent=suggested.recent,
    )


def written(weights: ShowWeights) -> str:
    """The file's text."""
    values = {
        "version": weights.version,
        "date": weights.date,
        "labelled": weights.labelled,
        "intercept": weights.intercept,
        "weights": dict(weights.weights),
    }
    return json.dumps(values, indent=2) + "\n"


def parsed(text: str) -> ShowWeights:
    """ValueError, with words: this is no file of weights, or one for other features."""
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("weights"), dict):
        raise ValueError("it holds no weights")
    if set(found["weights"]) != set(FEATURES):
        raise ValueError("its features are those of another version")
    numbers = [found.get("intercept"), *found["weights"].values()]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) <= LARGEST_WEIGHT for n in numbers):
        raise ValueError(f"its weights are not all numbers from -{LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}")
    version, date, labelled = found.get("version"), found.get("date"), found.get("labelled")
    if not isinstance(version, int) or not isinstance(date, str) or not isinstance(labelled, int):
        raise ValueError("it has no version, date or count")
    return ShowWeights(float(found["intercept"]), {k: float(v) for k, v in found["weights"].items()}, version, date, labelled)


def read(path: Path) -> ShowWeights:
    """PRIORS where there is no file. ValueError or OSError: it cannot be used."""
    try:
        return parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return PRIORS
