"""`tacit bench reward-model`: can it be told beforehand which suggestions will be kept? On real telemetry and on simulated logs.

Every score that was fitted is of a session that its model had not seen; intervals resample sessions. The trees are what a night
fits for the show policy; beside them stand the built-in priors, a logistic regression on the same features, and what one figure
alone would say. With `head`, the reward model's LoRA head is trained on two thirds of the sessions, and trees distilled from it
are compared on the others with trees that saw labels alone. Works in folders of its own; leaves no process behind.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tacit.bench.copilot_telemetry import FILE, seen
from tacit.bench.infill_cases import data_folder
from tacit.bench.report import Goal, Report, percentile
from tacit.bench.simulated_log import simulated_log
from tacit.learner.reward_model.boosting import boosted, calibrated
from tacit.learner.reward_model.calibration import expected_calibration_error, isotonic, platt
from tacit.learner.reward_model.judging import auc_by_session, cross_fitted, difference, session_folds
from tacit.learner.reward_model.labelled import Labelled, labelled, one_class
from tacit.protocol.errors import BadRequest
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home
from tacit.protocol.show_policy import FEATURES, PRIORS, KeptModel, features

FOLDS: Final = 7
HEAD_SPLIT: Final = 3
"""One of so many parts of the sessions is held out from the head and from all that is distilled from it."""
FEWEST: Final = 60
"""Labelled suggestions of a log, below which nothing is said of it."""
MOST_MS: Final = 2.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Log:
    """One set of labelled suggestions and what can be said of each without fitting anything."""

    what: str
    examples: list[Labelled]
    given: Mapping[str, list[float]]


def run(
    developers: int, places: int, head: bool, seed: int, model: str, progress: Progress, *, log: Path | None = None
) -> Report:
    """developers: simulated ones, `places` suggestions each; 0: no simulated log. head: train the LoRA head too.
    model: catalogue name, path or `auto`; of the head and of the simulated log. log: suggestion records, one JSON a line."""
    logs: list[Log] = []
    remarks: list[str] = []
    folder = data_folder()
    if (folder / FILE).is_file():
        logs.append(_telemetry(folder))
    else:
        remarks.append(f"{FILE} is not in {folder} (TACIT_DATA names another folder): Copilot's telemetry was left out.")
    if log is not None:
        logs.append(_recorded(f"log {log.name}", _read(log)))
    if developers:
        with tempfile.TemporaryDirectory(prefix="tacit-bench-") as name:
            records = asyncio.run(simulated_log(Path(name).resolve(), developers, places, seed, model, progress))
        logs.append(_recorded("simulated developers", records))
    rows: list[dict[str, Any]] = []
    goals: list[Goal] = []
    for one in logs:
        if len(one.examples) < FEWEST or one_class(one.examples):
            kept = sum(e.kept for e in one.examples)
            remarks.append(f"{one.what}: {len(one.examples)} labelled suggestions, {kept} of them kept: too few to say anything.")
            continue
        try:
            found, its_goals = _judged(one, seed, progress)
            rows += found
            goals += its_goals
            if head:
                rows += _with_head(one, seed, model, progress)
        except ValueError as error:
            # All kept ones in one session, for instance: some fold has nothing to learn from.
            remarks.append(f"{one.what} cannot be split by session: {error}")
    measurable = next((one.examples for one in logs if not one_class(one.examples)), None)
    took = _serving_ms(measurable) if measurable else None
    goals.append(Goal("features and trees of one suggestion, computing ms, p99", took, MOST_MS))
    remarks.append(
        "Fitted scores are of sessions that their models had not seen; [] is the 95 % interval over sessions. `ahead of` is the "
        "difference in AUC on the same sessions. kept: the product's reward is above zero. ECE: ten bins of equally many."
    )
    return Report("reward-model", model if head or developers else "no model", rows, goals, remarks)


def _telemetry(folder: Path) -> Log:
    found = seen(folder)
    given = {"Copilot's own confidence": [one.copilot for one in found]}
    return _log("Copilot telemetry", [one.example for one in found], given)


def _recorded(what: str, records: Sequence[SuggestionRecord]) -> Log:
    return _log(what, [one for record in records if (one := labelled(record)) is not None], {})


def _log(what: str, examples: list[Labelled], given: Mapping[str, list[float]]) -> Log:
    confidence = [one.features["confidence"] for one in examples]
    priors = [PRIORS.p_kept(one.features) for one in examples]
    return Log(what, examples, {"mean log-probability": confidence, **given, "built-in priors": priors})


def _read(path: Path) -> list[SuggestionRecord]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [SuggestionRecord.model_validate_json(line) for line in lines if line]
    except (OSError, ValueError) as error:
        raise BadRequest(
            f"{path} holds no suggestion records: {error}", mend="One record a line, as /v1/export gives them."
        ) from error


def _judged(log: Log, seed: int, progress: Progress) -> tuple[list[dict[str, Any]], list[Goal]]:
    examples, sessions = log.examples, [one.session for one in log.examples]
    kept = [one.kept for one in examples]
    fitted: dict[str, Callable[[list[Labelled]], Callable[[Labelled], float]]] = {
        "length, fitted": lambda some: _logistic(some, ("length",)),
        "confidence and length, fitted": lambda some: _logistic(some, ("confidence", "length")),
        "logistic, all features": lambda some: _logistic(some, FEATURES),
        "trees, as a night fits them": lambda some: _p_kept(calibrated(some)),
    }
    scores = dict(log.given)
    for number, (name, fit) in enumerate(fitted.items()):
        progress(log.what, number, len(fitted))
        scores[name] = cross_fitted(examples, sessions, FOLDS, fit, seed)
    trees = scores["trees, as a night fits them"]
    rows = []
    for name, found in scores.items():
        probability = name in fitted or name == "built-in priors"
        rows.append(
            _row(log, name, kept, found, sessions, expected_calibration_error(found, kept) if probability else None)
            | {"trees ahead": None if found is trees else str(difference(kept, trees, found, sessions))}
        )
    baselines = ("mean log-probability", "length, fitted", "logistic, all features", "built-in priors")
    goals = [
        Goal(
            f"AUC by which {name} is ahead of the trees, upper end, {log.what}",
            0.0 - difference(kept, trees, scores[name], sessions).low,
            0,
        )
        for name in baselines
    ]
    return rows, goals


def _with_head(log: Log, seed: int, model: str, progress: Progress) -> list[dict[str, Any]]:
    """The head on sessions it has not seen, all of them in the training part; trees distilled from it on the rest."""
    examples = log.examples
    folds = session_folds([one.session for one in examples], HEAD_SPLIT, seed)
    training = [one for one, fold in zip(examples, folds, strict=True) if fold]
    rest = [one for one, fold in zip(examples, folds, strict=True) if not fold]
    values = _head_values(training, seed, model, progress)
    kept, sessions = [one.kept for one in training], [one.session for one in training]
    alone = cross_fitted(training, sessions, FOLDS, lambda some: _p_kept(calibrated(some)), seed)
    rows = []
    for name, calibrate in (("LoRA head, Platt", platt), ("LoRA head, isotonic", isotonic)):
        pairs = list(zip(values, kept, strict=True))
        said = cross_fitted(pairs, sessions, FOLDS, lambda some, c=calibrate: _calibrated_by(c, some), seed)  # type: ignore[misc]
        row = _row(log, f"{name}, training part", kept, values, sessions, expected_calibration_error(said, kept))
        rows.append(row | {"trees ahead": str(difference(kept, alone, values, sessions))})
    line = platt(values, kept)
    labels, taught = calibrated(training), calibrated(training, targets=[line(value) for value in values])
    truth, where = [one.kept for one in rest], [one.session for one in rest]
    by_labels = [labels.p_kept(one.features) for one in rest]
    for name, found in (
        ("trees, held-out part", by_labels),
        ("trees distilled, held-out part", [taught.p_kept(one.features) for one in rest]),
    ):
        row = _row(log, name, truth, found, where, expected_calibration_error(found, truth))
        rows.append(row | {"trees ahead": None if found is by_labels else str(difference(truth, by_labels, found, where))})
    return rows


def _head_values(training: list[Labelled], seed: int, model: str, progress: Progress) -> list[float]:
    from tacit.learner.base import best_device, prepare
    from tacit.learner.reward_model.scalar_head import HeadSettings, from_folder
    from tacit.server.models import resolve

    chosen = resolve(model)
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as name:
        progress("preparing the base model", 0, 1)
        folder = prepare(chosen.path, chosen.sha256, Home(Path(name).resolve()))
        return from_folder(folder, best_device(), HeadSettings(seed=seed)).predictions(training, progress)


def _row(
    log: Log, name: str, kept: Sequence[bool], scores: Sequence[float], sessions: Sequence[str], error: float | None
) -> dict[str, Any]:
    return {
        "what": name,
        "log": log.what,
        "n": len(kept),
        "kept": sum(kept),
        "sessions": len(set(sessions)),
        "AUC": str(auc_by_session(kept, scores, sessions)),
        "trees ahead": None,
        "ECE": None if error is None else round(error, 3),
    }


def _p_kept(model: KeptModel) -> Callable[[Labelled], float]:
    return lambda one: model.p_kept(one.features)


def _calibrated_by(
    calibrate: Callable[..., Callable[[float], float]], pairs: Sequence[tuple[float, bool]]
) -> Callable[[Any], float]:
    made = calibrate([value for value, _ in pairs], [kept for _, kept in pairs])
    return lambda pair: made(pair[0])


def _logistic(examples: Sequence[Labelled], names: Sequence[str]) -> Callable[[Labelled], float]:
    """The straight line of the same figures, as strong as scikit-learn makes it."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000)
    model.fit(
        [[one.features[name] for name in names] for one in examples],
        [one.kept for one in examples],
        sample_weight=[one.weight for one in examples],
    )
    line = KeptModel(float(model.intercept_[0]), dict(zip(names, map(float, model.coef_[0]), strict=True)))
    return _p_kept(line)


def _serving_ms(examples: Sequence[Labelled]) -> float | None:
    """What the language server computes for one suggestion, 99th percentile of all: its own thread's time."""
    model = replace(boosted(examples), version=1)
    took = []
    for one in examples:
        began = time.thread_time()
        place = features(
            text=one.text,
            logprobs=[-0.1] * 16,
            trigger="automatic",
            prefix=one.prefix,
            suffix="\n",
            language="python",
            recent=None,
        )
        model.p_kept(place)
        took.append(1000 * (time.thread_time() - began))
    return percentile(took, 99)
