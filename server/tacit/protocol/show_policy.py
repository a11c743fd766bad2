"""P(kept) of a suggestion from cheap features: the features, the model and its file. Pure but for reading that file.

The language server decides with it whether to stay quiet, and the learner fits it: both see a suggestion through
`features`, so that they agree. Imports nothing heavy: it is loaded while somebody types.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tacit.protocol import trees as forest
from tacit.protocol.trees import Tree

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
    "surprise",
    "in_comment",
    "is_comment",
    "mid_word",
    "after_sign",
    "known_words",
    "head",
    "repeats",
    "opens",
    "accept_rate",
)
PROSE: Final = frozenset(("markdown", "plaintext", "latex", "restructuredtext", "asciidoc", "git-commit", "text"))
"""LSP language ids of texts for people: less of what is suggested there is kept."""
FULL_LENGTH: Final = 80
LONGEST_GAP_S: Final = 600.0
LARGEST_WEIGHT: Final = 50.0
READ_BACK: Final = 4000
"""Characters before the cursor in which a suggestion's words are looked for."""

_WORD: Final = re.compile(r"\w{3,}")
_COMMENT: Final = ("#", "//", "--", "/*", "*", ";;", "%")
_SIGNS: Final = (" ", "(", "[", "{", ".", "=", ",")


@dataclass(frozen=True, slots=True)
class KeptModel:
    """P(kept) = logistic(shift + scale · (intercept + Σ weight · feature + Σ trees)).

    What is built in is the weights alone; what the learner fits is the trees alone, and scale and shift calibrate them.
    """

    intercept: float
    weights: Mapping[str, float]
    """Of FEATURES; one that is not there weighs nothing."""
    trees: tuple[Tree, ...] = ()
    """A feature's number in them is its place in FEATURES."""
    scale: float = 1.0
    """Not below zero: calibration never turns the order round."""
    shift: float = 0.0
    version: int = 0
    """Counts the fits; 0: the priors."""
    date: str = ""
    """ISO 8601, of the fit."""
    labelled: int = 0
    """Suggestions that it was fitted on."""

    def score(self, found: Mapping[str, float]) -> float:
        """Log odds before calibration. found: what `features` returns."""
        start = self.intercept + sum(weight * found[name] for name, weight in self.weights.items())
        return forest.summed(start, self.trees, [found[name] for name in FEATURES])

    def p_kept(self, found: Mapping[str, float]) -> float:
        """In (0, 1)."""
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self.shift + self.scale * self.score(found)))))


PRIORS: Final = KeptModel(
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
    spoken = text.strip()
    before = prefix[-READ_BACK:]
    words = set(_WORD.findall(text))
    accepts, rejects = (min(recent.accepts, 5.0), min(recent.rejects, 10.0)) if recent is not None else (0.0, 0.0)
    since = LONGEST_GAP_S if recent is None or recent.since_last_s is None else min(recent.since_last_s, LONGEST_GAP_S)
    return {
        "confidence": max(-3.0, sum(logprobs) / len(logprobs)) if logprobs else -3.0,
        "length": min(1.5, math.log1p(len(text)) / math.log1p(FULL_LENGTH)),
        "lines": float(min(text.rstrip("\n").count("\n"), 6)),
        "invoked": float(trigger == "invoked"),
        "mid_line": float(bool(rest.strip())),
        "fresh_line": float(not head.strip()),
        "prose": float(language in PROSE),
        "accepts": accepts,
        "rejects": rejects,
        "rejected_here": float(recent is not None and recent.rejected_here),
        "since_last": math.log1p(since) / math.log1p(LONGEST_GAP_S),
        "surprise": min(3.0, -sum(logprobs) / 10) if logprobs else 3.0,
        "in_comment": float(head.lstrip().startswith(_COMMENT)),
        "is_comment": float(spoken.startswith(_COMMENT)),
        "mid_word": float(head[-1:].isalnum() and text[:1].isalnum()),
        "after_sign": float(head.endswith(_SIGNS)),
        "known_words": len(words.intersection(_WORD.findall(before))) / max(1, len(words)),
        "head": min(1.5, math.log1p(len(head.strip())) / math.log1p(FULL_LENGTH)),
        "repeats": float(bool(spoken) and spoken in before),
        "opens": float(max(-3, min(3, sum(map(text.count, "([{")) - sum(map(text.count, ")]}"))))),
        "accept_rate": accepts / (accepts + rejects + 2),
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


def written(model: KeptModel) -> str:
    """The file's text."""
    values = {
        "version": model.version,
        "date": model.date,
        "labelled": model.labelled,
        "intercept": model.intercept,
        "weights": dict(model.weights),
        "features": list(FEATURES),
        "scale": model.scale,
        "shift": model.shift,
        "trees": [tree.to_json() for tree in model.trees],
    }
    return json.dumps(values, allow_nan=False) + "\n"


def parsed(text: str) -> KeptModel:
    """ValueError, with words: this is no file of a model, or one for other features."""
    try:
        return _parsed(text)
    except (OverflowError, RecursionError) as error:
        raise ValueError("it is damaged: a number is too large, or it is nested too deep") from error


def _parsed(text: str) -> KeptModel:
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("weights"), dict):
        raise ValueError("it holds no weights")
    trees = forest.parsed(found.get("trees", []), len(FEATURES))
    if not set(found["weights"]) <= set(FEATURES) or (trees and found.get("features") != list(FEATURES)):
        raise ValueError("its features are those of another version")
    scale = found.get("scale", 1.0)
    numbers: list[Any] = [found.get("intercept"), scale, found.get("shift", 0.0), *found["weights"].values()]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) <= LARGEST_WEIGHT for n in numbers):
        raise ValueError(f"its weights are not all numbers from -{LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}")
    if scale < 0:
        raise ValueError("its calibration turns the order round")
    version, date, labelled = found.get("version"), found.get("date"), found.get("labelled")
    if not isinstance(version, int) or not isinstance(date, str) or not isinstance(labelled, int):
        raise ValueError("it has no version, date or count")
    intercept, scale, shift, *weights = map(float, numbers)
    return KeptModel(intercept, dict(zip(found["weights"], weights, strict=True)), trees, scale, shift, version, date, labelled)


def read(path: Path) -> KeptModel:
    """PRIORS where there is no file. ValueError or OSError: it cannot be used."""
    try:
        return parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return PRIORS
