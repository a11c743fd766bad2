"""Fits the show policy: boosted trees that say from the cheap features whether a suggestion will be kept.

Reads exported records; writes one small file in TACIT_HOME, at once or not at all. With too few labels, or where the new
model does not predict held-out sessions better than the one in use, beyond chance, the file stays as it is. Where the reward
model's head was trained, the trees are distilled from it: from what it says of suggestions whose session it had not seen.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import log
from pathlib import Path
from typing import Any, Final, Literal

from tacit.learner.reward_model.boosting import calibrated
from tacit.learner.reward_model.calibration import expected_calibration_error, platt
from tacit.learner.reward_model.judging import Spread, auc, gain_by_session
from tacit.learner.reward_model.labelled import Labelled, counted, labelled, late_sessions, one_class
from tacit.protocol.client import TacitClient
from tacit.protocol.durable import write_whole
from tacit.protocol.errors import TacitError
from tacit.protocol.home import Home
from tacit.protocol.show_policy import PRIORS, KeptModel, read, written

MIN_LABELLED: Final = 100
MIN_OF_EACH: Final = 15
"""Kept ones, and others."""
HELD_OUT: Final = 0.25
"""The latest sessions."""
HEAD_SECONDS: Final = 900.0
"""What the reward model's head may take of a night; beyond it the trees are fitted without it."""

Choice = Literal["trees", "lora"]
"""Which reward model a night trains. lora: a head on the base, distilled into the trees; it can cost more than the night's
training."""
Teacher = Callable[[Sequence[Labelled]], Sequence[float]]
"""R of each suggestion by a model that had not seen its session. ValueError, with words: it cannot be trained on these."""


@dataclass(frozen=True, slots=True)
class Fit:
    model: KeptModel | None
    """None: what is in use stays."""
    message: str
    labelled: int
    loss_in_use: float | None = None
    """Of held-out suggestions, nats each."""
    loss_new: float | None = None
    gain: Spread | None = None
    """loss_in_use - loss_new, interval over sessions."""
    auc_in_use: float | None = None
    """None: of the held-out ones all were kept, or none."""
    auc_new: float | None = None
    ece_new: float | None = None
    distilled: bool = False


def fit(examples: Sequence[Labelled], in_use: KeptModel, now: datetime, teacher: Teacher | None = None) -> Fit:
    """A model that predicts later sessions better than the one in use, if there is such."""
    count = len(examples)
    kept = sum(one.kept for one in examples)
    if count < MIN_LABELLED or min(kept, count - kept) < MIN_OF_EACH:
        return Fit(
            None,
            f"The show policy stays: {count} labelled suggestions, {kept} of them kept; {MIN_LABELLED} are needed, "
            f"{MIN_OF_EACH} of each kind.",
            count,
        )
    early, late = late_sessions(examples, HELD_OUT)
    if one_class(early):
        return Fit(None, "The show policy stays: of the earlier suggestions all were kept, or none.", count)
    targets, remark = _taught(early, teacher)
    tried = calibrated(early, targets=targets)
    old, new = loss(late, in_use), loss(late, tried)
    gains = [a - b for a, b in zip(_losses(late, in_use), _losses(late, tried), strict=True)]
    gain = gain_by_session(gains, counted(late), [one.session for one in late])
    two = not one_class(late)
    truth, predicted = [one.kept for one in late], [tried.p_kept(one.features) for one in late]
    found = Fit(
        None,
        f"The show policy stays: on {len(late)} suggestions of held-out sessions the new model loses {new:.3f} nats, the one in "
        f"use {old:.3f}; the gain, {gain}, is not beyond chance.{remark}",
        count,
        old,
        new,
        gain,
        auc(truth, [in_use.p_kept(one.features) for one in late]) if two else None,
        auc(truth, predicted) if two else None,
        expected_calibration_error(predicted, truth, counted(late)),
        targets is not None,
    )
    if gain.low <= 0:
        return found
    # The teacher has not read the later ones: their labels count alone.
    everything = None if targets is None else [*targets, *(None for _ in late)]
    model = calibrated([*early, *late], targets=everything)
    model = replace(model, version=in_use.version + 1, date=now.isoformat(timespec="seconds"), labelled=count)
    ranking = f", AUC {found.auc_new:.2f} instead of {found.auc_in_use:.2f}" if two else ""
    message = (
        f"The show policy is fitted on {count} suggestions: {new:.3f} nats on {len(late)} of held-out sessions instead of "
        f"{old:.3f} (gain {gain}){ranking}.{remark}"
    )
    return replace(found, model=model, message=message)


async def refit(client: TacitClient, home: Home, choice: Choice = "trees") -> dict[str, Any]:
    """Fit it on every project's records, one home being one developer's; returns what the report says of it. Never raises."""
    try:
        found = [
            example
            for info in await client.projects()
            async for record in client.export(info.project, unreadable=lambda what: None)
            if (example := labelled(record)) is not None
        ]
        try:
            in_use = read(home.show_policy)
        except ValueError:
            in_use = PRIORS
        status = await client.status()
        base = (Path(status.model_path), status.model_sha256) if status.model_path else None

        def work() -> Fit:
            return fit(found, in_use, datetime.now(UTC), _teacher(base, home, choice) if base else None)

        result = await asyncio.to_thread(work)
        if result.model is not None:
            await asyncio.to_thread(write_whole, home.show_policy, written(result.model))
    except Exception as error:
        # The run itself has ended well or badly by now; this must not leave it without an end.
        return {"message": f"The show policy stays as it is: {type(error).__name__}: {error}"}
    return {
        "message": result.message,
        "labelled": result.labelled,
        "fitted": result.model is not None,
        "version": (result.model or in_use).version,
        "loss_in_use": result.loss_in_use,
        "loss_new": result.loss_new,
        "gain": None if result.gain is None else [result.gain.value, result.gain.low, result.gain.high],
        "auc_in_use": result.auc_in_use,
        "auc_new": result.auc_new,
        "ece_new": result.ece_new,
        "distilled": result.distilled,
    }


def loss(examples: Sequence[Labelled], model: KeptModel) -> float:
    """Mean log loss, nats, each example with its weight."""
    return sum(_losses(examples, model)) / sum(counted(examples))


def _losses(examples: Sequence[Labelled], model: KeptModel) -> list[float]:
    predicted = [model.p_kept(one.features) for one in examples]
    counts = zip(examples, counted(examples), predicted, strict=True)
    return [-weight * log(p if one.kept else 1 - p) for one, weight, p in counts]


def _taught(early: Sequence[Labelled], teacher: Teacher | None) -> tuple[list[float] | None, str]:
    """(P(kept) of each by the teacher, a remark for the message)."""
    if teacher is None:
        return None, ""
    try:
        values = teacher(early)
        line = platt(values, [one.kept for one in early], counted(early))
    except (ValueError, RuntimeError, TacitError) as error:
        # Too slow, no memory for it, a base that cannot be read: labels alone are enough for the trees.
        return None, f" Without the reward model's head: {error}"
    return [line(value) for value in values], " Distilled from the reward model's head."


def _teacher(base: tuple[Path, str], home: Home, choice: Choice) -> Teacher | None:
    """None: trees alone."""
    if choice == "trees":
        return None
    from tacit.learner.base import best_device, prepare
    from tacit.learner.reward_model.scalar_head import HeadSettings, from_folder

    def teach(examples: Sequence[Labelled]) -> list[float]:
        path, digest = base
        return from_folder(prepare(path, digest, home), best_device(), HeadSettings(seconds=HEAD_SECONDS)).predictions(examples)

    return teach
