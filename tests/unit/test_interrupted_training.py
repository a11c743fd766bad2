"""A training that is told to stop keeps every step it has taken; the next one goes on from there and ends where it would have."""

from pathlib import Path
from threading import Event

import pytest
import torch
from tiny_training import SAMPLES, SETTINGS, policy

from tacit.learner.checkpoint import Checkpoints
from tacit.learner.policy import Policy
from tacit.learner.train import Stopped, TrainResult, train

NEVER = 1e9
"""Seconds between two checkpoints that time alone would make."""


def trained(model: Policy, folder: Path, stop_at: int | None) -> TrainResult:
    """stop_at: the step at whose beginning it is told to stop."""
    stop = Event()

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == stop_at:
            stop.set()

    advantages = [s.reward.value for s in SAMPLES]
    kept = Checkpoints(folder, "key", every=NEVER)
    return train(model, SAMPLES, advantages, "base", SETTINGS, "topr", progress, stop, kept)


def test_a_stopped_training_goes_on_where_it_was(tmp_path: Path) -> None:
    for run, step in (("1", 3), ("2", 7)):
        with pytest.raises(Stopped):
            trained(policy(), tmp_path / run, step)
    model, whole = policy(), policy()
    result = trained(model, tmp_path / "3", None)
    assert result.continued_at == 7
    expected = trained(whole, tmp_path / "elsewhere" / "1", None)
    assert expected.continued_at == 0 and result.curve == expected.curve
    for one, other in zip(model.trainable(), whole.trainable(), strict=True):
        assert torch.equal(one, other)


def test_one_that_is_stopped_before_its_first_step_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(policy(), tmp_path / "1", 0)
    assert not list(tmp_path.glob("*/*.safetensors"))
