"""A randomly initialised tiny Qwen2 and samples for it: the training loop in a second. Nothing of it was drawn by an engine."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from tacit.learner.policy import Policy
from tacit.learner.reward import Reward
from tacit.learner.samples import Sample
from tacit.learner.train import TrainSettings
from tacit.protocol.completion import Context

VOCABULARY = 64
WRITTEN = (5, 6, 7, 8)
SETTINGS = TrainSettings(learning_rate=1e-2, batch=4, epochs=3, kl_budget=100.0)


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
