"""Activations computed twice: the same gradients bit for bit, less kept, only where it is needed; metrics of each step."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_training import SAMPLES, SETTINGS, policy

from tacit.learner import train as training
from tacit.learner.metrics import Metrics
from tacit.learner.policy import Policy, Tree, pack
from tacit.learner.train import TrainResult, TrainSettings, train


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def learn(model: Policy, settings: TrainSettings = SETTINGS, metrics: Metrics | None = None) -> TrainResult:
    advantages = [one.reward.value for one in SAMPLES]
    return train(model, SAMPLES, advantages, "base", settings, told=metrics or (lambda step, figures: None))


def kept_bytes(model: Policy, tokens: int, recompute: bool) -> int:
    """Of tensors that a forward pass keeps, the weights apart."""
    weights = {p.untyped_storage().data_ptr() for p in model.generator().parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    prompt = [1 + number % 50 for number in range(tokens - 10)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), model.recomputing(recompute):
        model.hidden(pack([Tree(prompt, [range(10)])]))
    return sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in weights)


def test_computing_twice_changes_nothing_but_the_memory() -> None:
    kept, again = policy(), policy()
    expected = learn(kept, dataclasses.replace(SETTINGS, recompute=False))
    assert learn(again, dataclasses.replace(SETTINGS, recompute=True)) == expected
    assert all(torch.equal(a, b) for a, b in zip(kept.trainable(), again.trainable(), strict=True))
    assert kept_bytes(again, 200, True) < kept_bytes(again, 200, False) / 3
    # And it is over when training is.
    assert kept_bytes(again, 200, False) == pytest.approx(kept_bytes(policy(), 200, False), rel=0.1)


def test_what_is_kept_is_known_beforehand() -> None:
    model = policy()
    counted = kept_bytes(model, 240, False) - kept_bytes(model, 140, False)
    assert 0.6 < model.activation_bytes(100) / counted < 1.6


@pytest.mark.parametrize("room", [0, 1 << 40, None])
def test_it_is_done_where_memory_is_short(monkeypatch: pytest.MonkeyPatch, room: int | None) -> None:
    asked: list[bool] = []
    recomputing = Policy.recomputing

    def watched(self: Policy, wanted: bool) -> object:
        asked.append(wanted)
        return recomputing(self, wanted)

    monkeypatch.setattr(Policy, "recomputing", watched)
    monkeypatch.setattr(training, "free_bytes", lambda device: room)
    learn(policy(), dataclasses.replace(SETTINGS, epochs=1))
    assert asked == [room == 0]


def test_each_step_is_told_and_drawn(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    metrics = Metrics(tmp_path / "run", tmp_path / "board")
    result = learn(policy(), metrics=metrics)
    metrics.close()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line.pop("step") for line in lines] == list(range(1, result.steps + 1))
    assert lines == list(result.curve)
    drawn = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [point.value for point in drawn.Scalars("loss")] == pytest.approx([line["loss"] for line in lines])
    assert metrics.words == f"loss {lines[-1]['loss']:.3f}, sequence kl {lines[-1]['sequence_kl']:.3f}"


def test_without_the_setting_there_is_no_board(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "run", None)
    metrics(0, {"loss": 1.0})
    metrics.close()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["metrics.jsonl"]
