"""Two processes, started by torchrun, train the tiny model: one process's adapter but for rounding; stopped, they keep
their steps, and none is left."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from threading import Event

import psutil
import pytest
import torch
from tiny_training import SAMPLES, SETTINGS, base_model, policy

from tacit.learner.checkpoint import Checkpoints
from tacit.learner.policy import Policy
from tacit.learner.several import Job, train_in
from tacit.learner.train import Stopped, train
from tacit.protocol.errors import TacitError

ADVANTAGES = [one.reward.value for one in SAMPLES]
# Batches are shared unevenly, and of the last one process has nothing. At a large rate Adam makes much of rounding.
ONCE = dataclasses.replace(SETTINGS, epochs=1, batch=5, learning_rate=1e-3)


def job(folder: Path, base: Path) -> Job:
    return Job(
        str(base), "0" * 64, str(folder / "start"), "base", "", tuple(SAMPLES), tuple(ADVANTAGES), ONCE, "topr",
        str(folder / "adapter"), "key",
    )  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base_model().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def at_step(number: int) -> tuple[Event, Callable[[str, int, int], None]]:
    """Who is told to stop there, as a run is; and what hears of the progress."""
    stop = Event()

    def progress(stage: str, done: int, total: int) -> None:
        if stop.is_set():
            raise Stopped
        if stage == "training" and done == number:
            stop.set()

    return stop, progress


def distance(one: Policy, other: list[torch.Tensor]) -> float:
    return sum(float((a.detach() - b).square().sum()) for a, b in zip(one.trainable(), other, strict=True)) ** 0.5


def test_two_processes_make_the_adapter_of_one(tmp_path: Path, base: Path) -> None:
    alone, together = policy(), policy()
    start = [p.detach().clone() for p in alone.trainable()]
    expected = train(alone, SAMPLES, ADVANTAGES, "base", ONCE)
    # They go on with what was interrupted.
    kept = Checkpoints(tmp_path / "first", "key")
    stop, interrupt = at_step(2)
    with pytest.raises(Stopped):
        train(policy(), SAMPLES, ADVANTAGES, "base", ONCE, progress=interrupt, stop=stop, checkpoints=kept)
    stages: set[str] = set()
    told: list[dict[str, float]] = []
    found = train_in(
        2, together, job(tmp_path / "run", base), lambda stage, done, total: stages.add(stage),
        lambda step, metrics: told.append(metrics), Event(),
    )  # fmt: skip
    assert (found.steps, found.samples, found.tokens) == (expected.steps, expected.samples, expected.tokens)
    assert found.continued_at == 2 < found.steps
    assert told == list(found.curve) and {"references", "training", "measuring the step"} <= stages
    for one, other in zip(found.curve, expected.curve, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.01)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=0.02)
    moved = distance(alone, start)
    assert distance(together, [p.detach() for p in alone.trainable()]) < 0.1 * moved
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists()
    assert not (tmp_path / "run" / "start").exists(), "the samples are not left lying about"


def test_stopped_or_failed_none_is_left(tmp_path: Path, base: Path) -> None:
    # Other tests' database server may be running.
    before = psutil.Process().children(recursive=True)
    stop, interrupt = at_step(2)
    long = dataclasses.replace(job(tmp_path / "one", base), settings=dataclasses.replace(ONCE, epochs=1000))
    with pytest.raises(Stopped):
        train_in(2, policy(), long, interrupt, lambda *step: None, stop)
    # It was not time for a checkpoint yet.
    place = Checkpoints(tmp_path / "other", "key").load()
    assert place is not None and 2 <= place.step < 1000
    missing = dataclasses.replace(job(tmp_path / "two", base), base=str(tmp_path / "none"))
    with pytest.raises(TacitError, match="Training in 2 processes ended with 1"):
        train_in(2, policy(), missing, lambda *stage: None, lambda *step: None, Event())
    assert not set(psutil.Process().children(recursive=True)) - set(before)
    assert not (tmp_path / "one" / "start").exists() and not (tmp_path / "two" / "start").exists()
