"""Small boosted trees on the cheap features: fitted by scikit-learn, handed to the language server as arrays. Pure.

They learn from what was kept, and, where the reward model's head has scored the same suggestions, from its soft targets as well
(distillation): an example counts as kept by share `target` and as not kept by the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from scipy.special import logit  # type: ignore[import-untyped]

from tacit.learner.reward_model.calibration import platt
from tacit.learner.reward_model.judging import cross_fitted
from tacit.learner.reward_model.labelled import Labelled, counted, one_class
from tacit.protocol.show_policy import LARGEST_WEIGHT, KeptModel
from tacit.protocol.trees import LEAF, Tree

TEACHER_SHARE: Final = 0.5
"""How much of a distilled target is the teacher's; the rest is what was seen."""
FOLDS: Final = 5
"""Of whole sessions, for calibration."""


@dataclass(frozen=True, slots=True)
class TreeSettings:
    trees: int = 80
    depth: int = 2
    rate: float = 0.05
    subsample: float = 0.7
    leaf: int = 20
    """Fewest examples in a leaf; in small nights a tenth of them."""
    seed: int = 0


def boosted(
    examples: Sequence[Labelled], settings: TreeSettings | None = None, targets: Sequence[float | None] | None = None
) -> KeptModel:
    """Uncalibrated. targets: P(kept) of each by a teacher that had not seen it; None: it has not read this one, the label
    counts alone. ValueError: one class only."""
    return exported(classifier(examples, settings, targets))


def classifier(
    examples: Sequence[Labelled], settings: TreeSettings | None = None, targets: Sequence[float | None] | None = None
) -> Any:
    """The fitted scikit-learn model."""
    from sklearn.ensemble import GradientBoostingClassifier

    chosen = settings or TreeSettings()
    if one_class(examples):
        raise ValueError("Of these suggestions all were kept, or none: there is nothing to tell apart.")
    rows = np.array([one.row for one in examples])
    kept = np.array([float(one.kept) for one in examples])
    taught = kept if targets is None else np.array([k if t is None else t for k, t in zip(kept, targets, strict=True)])
    share = (1 - TEACHER_SHARE) * kept + TEACHER_SHARE * taught
    weights = np.array(counted(examples))
    # A soft label is two hard ones, each with its share of the weight.
    table = np.concatenate([rows, rows])
    labels = np.repeat([1, 0], len(rows))
    mass = np.concatenate([weights * share, weights * (1 - share)])
    some = mass > 0
    model = GradientBoostingClassifier(
        n_estimators=chosen.trees,
        max_depth=chosen.depth,
        learning_rate=chosen.rate,
        subsample=chosen.subsample,
        min_samples_leaf=max(1, min(chosen.leaf, len(rows) // 10)),
        random_state=chosen.seed,
    )
    return model.fit(table[some], labels[some], sample_weight=mass[some])


def exported(model: Any) -> KeptModel:
    """The same trees as arrays; `KeptModel.score` is `model.decision_function`, to the last bit."""
    rate = float(model.learning_rate)
    trees = []
    for (grown,) in model.estimators_:
        inner = grown.tree_
        leaves = inner.children_left == LEAF
        trees.append(
            Tree(
                feature=tuple(int(f) if not leaf else LEAF for f, leaf in zip(inner.feature, leaves, strict=True)),
                threshold=tuple(float(t) if not leaf else 0.0 for t, leaf in zip(inner.threshold, leaves, strict=True)),
                left=tuple(int(n) for n in inner.children_left),
                right=tuple(int(n) for n in inner.children_right),
                value=tuple(rate * float(v) if leaf else 0.0 for v, leaf in zip(inner.value[:, 0, 0], leaves, strict=True)),
            )
        )
    return KeptModel(float(logit(model.init_.class_prior_[1])), {}, tuple(trees))


def calibrated(
    examples: Sequence[Labelled],
    settings: TreeSettings | None = None,
    targets: Sequence[float | None] | None = None,
    seed: int = 0,
) -> KeptModel:
    """Trees fitted on all, Platt's line fitted on scores of trees that had not seen the session. ValueError as `boosted`."""
    model = boosted(examples, settings, targets)
    numbered = list(enumerate(examples))

    def fit(some: list[tuple[int, Labelled]]) -> Any:
        own = None if targets is None else [targets[number] for number, _ in some]
        part = boosted([one for _, one in some], settings, own)
        return lambda pair: part.score(pair[1].features)

    try:
        scores = cross_fitted(numbered, [one.session for one in examples], FOLDS, fit, seed)
    except ValueError:
        # One session, or a fold without the other class: the trees' own shrinkage is all the calibration there is.
        return model
    line = platt(scores, [one.kept for one in examples], counted(examples))
    bounded = max(-LARGEST_WEIGHT, min(LARGEST_WEIGHT, line.shift))
    return replace(model, scale=min(LARGEST_WEIGHT, line.scale), shift=bounded)
