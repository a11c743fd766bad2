"""The training loop on a real, randomly initialised tiny Qwen2: it learns, keeps its budget, repeats itself."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from tacit.learner.evaluate import Text, log_probabilities
from tacit.learner.objective import Coefficients
from tacit.learner.policy import CANDIDATE, Policy, Tree, pack
from tacit.learner.reward import Reward
from tacit.learner.samples import Sample
from tacit.learner.train import Stopped, TrainResult, TrainSettings, next_coefficients, train
from tacit.protocol.completion import Context

VOCABULARY = 64
WRITTEN = (5, 6, 7, 8)
SETTINGS = TrainSettings(learning_rate=1e-2, batch=4, epochs=3, kl_budget=100.0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another cost more than a model of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def base_model() -> Any:
    torch.manual_seed(7)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, tie_word_embeddings=False,
    )  # fmt: skip
    model: Any = Qwen2ForCausalLM(config)
    with torch.no_grad():
        # Far from flat, so that there is something to unlearn.
        model.lm_head.weight.mul_(20)
    return model.bfloat16().requires_grad_(False).eval()


def policy(parent: Path | None = None) -> Policy:
    return Policy(base_model(), parent=parent, seed=1)


def sample(number: int, *, value: float = -0.25, hindsight: float = 0.5) -> Sample:
    tokens = (10 + number % 5, 20, 21)
    return Sample(
        suggestion_id=f"s{number}",
        session=f"session-{number // 4}",
        at=datetime(2026, 11, 20, tzinfo=UTC) + timedelta(minutes=number),
        policy_version="base",
        context=Context(path="a.py", language="python", prefix="", suffix=""),
        trigger="automatic",
        text="abc",
        p_show=1.0,
        temperature=1.0,
        prompt=tuple(1 + (number * k) % 50 for k in range(1, 8 + number % 3)),
        tokens=tokens,
        logprobs=(-4.0,) * len(tokens),
        kept=(1.0,) * len(tokens),
        blame=(0.0, 1.0, 0.7),
        written="w",
        written_tokens=WRITTEN,
        hindsight=hindsight,
        reward=Reward(value, {}, "", 1.0, "rejected"),
    )


SAMPLES = [sample(i) for i in range(16)]


def learn(
    model: Policy, settings: TrainSettings = SETTINGS, samples: list[Sample] = SAMPLES, serving: str = "base"
) -> TrainResult:
    return train(model, samples, [s.reward.value for s in samples], serving, settings)


def likelihood(model: Policy, version: str, samples: list[Sample] = SAMPLES) -> float:
    found = log_probabilities(model, version, [Text(s.prompt, s.written_tokens) for s in samples])
    return sum(map(sum, found)) / sum(map(len, found))


def test_packed_trees_compute_what_each_alone_computes() -> None:
    model = policy()
    trees = [Tree((1, 2, 3), [(4, 5), (6,)]), Tree((7, 8), [(9, 10, 11), ()])]
    with torch.inference_mode(), model.exact():
        together = model.logits(model.hidden(pack(trees)))
        alone = torch.cat(
            [
                model.logits(model.hidden(pack([Tree(tree.prompt, [branch])])))
                for tree in trees
                for branch in tree.branches
                if branch
            ]
        )
    assert torch.allclose(together, alone, atol=1e-4)
    plain = pack([Tree((1, 2, 3), [(4, 5)])])
    assert plain.rows.tolist() == [2, 3] and plain.targets.tolist() == [4, 5] and plain.positions.tolist() == [0, 1, 2, 3, 4]


def test_hindsight_makes_what_was_written_likelier() -> None:
    model = policy()
    before = likelihood(model, CANDIDATE)
    result = learn(model)
    assert result.steps == 12 and result.share == 1.0
    assert likelihood(model, CANDIDATE) > before + 0.5
    # The base under the adapter is untouched.
    assert likelihood(model, "base") == before


def test_rejected_draws_get_unlikelier_and_kept_ones_likelier() -> None:
    only_policy = dataclasses.replace(SETTINGS, coefficients=Coefficients(hindsight=0.0))
    for value, direction in ((-1.0, -1), (1.0, 1)):
        model = policy()
        samples = [sample(i, value=value, hindsight=0.0) for i in range(16)]
        draws = [Text(s.prompt, s.tokens) for s in samples]

        def total(version: str, model: Policy = model, draws: list[Text] = draws) -> float:
            return sum(sum(found[1:]) for found in log_probabilities(model, version, draws))

        before = total(CANDIDATE)
        learn(model, only_policy, samples)
        assert (total(CANDIDATE) - before) * direction > 1


def test_the_budget_is_kept() -> None:
    free = policy()
    unbounded = learn(free)
    bounded_model = policy()
    bounded = learn(bounded_model, dataclasses.replace(SETTINGS, kl_budget=0.1))
    assert unbounded.kl_serving > 0.2
    assert 0 < bounded.kl_serving <= 0.1 and 0 < bounded.share < 1
    # What is left of the step still helps.
    assert likelihood(bounded_model, "base") < likelihood(bounded_model, CANDIDATE) < likelihood(free, CANDIDATE)


def test_the_same_seed_takes_the_same_steps() -> None:
    first, second, other = policy(), policy(), policy()
    learn(first)
    learn(second)
    learn(other, dataclasses.replace(SETTINGS, seed=1))
    same = [torch.equal(a, b) for a, b in zip(first.trainable(), second.trainable(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.trainable(), other.trainable(), strict=True))


def test_only_the_candidates_matrices_change() -> None:
    model = policy()
    frozen = {name: p.detach().clone() for name, p in model.generator().named_parameters() if not p.requires_grad}
    learn(model)
    assert frozen and all(torch.equal(frozen[n], p) for n, p in model.generator().named_parameters() if n in frozen)
    with model.exact():
        pass
    assert all(torch.equal(frozen[n], p) for n, p in model.generator().named_parameters() if n in frozen)


def test_saved_adapters_come_back_and_are_continued(tmp_path: Path) -> None:
    model = policy()
    learn(model)
    model.save(tmp_path / "parent", "0" * 64)
    assert sorted(f.name for f in (tmp_path / "parent").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    reference = likelihood(model, CANDIDATE)

    child = policy(tmp_path / "parent")
    child.add("p-c@000001", tmp_path / "parent")
    assert likelihood(child, CANDIDATE) == pytest.approx(reference, abs=1e-5)
    before = likelihood(child, "base")
    learn(child, serving="p-c@000001")
    assert likelihood(child, CANDIDATE) > reference
    # Neither the parent nor the base moves with the candidate.
    assert likelihood(child, "p-c@000001") == pytest.approx(reference, abs=1e-5)
    assert likelihood(child, "base") == before


def test_samples_without_a_signal_are_no_step() -> None:
    model = policy()
    result = learn(model, samples=[sample(i, value=0.0, hindsight=0.0) for i in range(4)])
    assert (result.steps, result.samples) == (0, 0)


def test_it_stops_when_told() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Stopped):
        train(policy(), SAMPLES, [-1.0] * len(SAMPLES), "base", SETTINGS, stop=stop)


def test_beta_follows_the_budget() -> None:
    start = Coefficients()
    over = next_coefficients(start, start, kl=0.5, budget=0.35)
    assert over.kl_serving == pytest.approx(0.075)
    assert next_coefficients(over, start, kl=0.3, budget=0.35) == over
    assert next_coefficients(over, start, kl=0.1, budget=0.35).kl_serving == pytest.approx(0.05)
    assert next_coefficients(start, start, kl=0.0, budget=0.35).kl_serving == pytest.approx(0.05)
