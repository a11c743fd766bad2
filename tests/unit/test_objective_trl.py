"""Our objectives beside TRL's trainers, on one tiny model: same batches, same losses, same gradients of every weight.

TRL divides by what is in the batch (tokens, pairs, samples), we by constants: that factor is written out in each test. TRL has
no trainer for PPO; GRPO's surrogate with given advantages is the same function.
"""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tacit.learner.clipped import group_advantages, ppo
from tacit.learner.imitation import sft
from tacit.learner.loss import L_MAX, Coefficients, LossInputs, LossOutput
from tacit.learner.preference import dpo, kto

ALONE = Coefficients(kl_base=0, kl_serving=0)
WORDS = 40
PROMPTS = ["w5 w6 w7 ", "w5 ", "w15 w16 "]
CHOSEN = ["w8 w9", "w8 w9 w3 w4", "w18"]
REJECTED = ["w10 w11 w12", "w11", "w10 w12"]
COMMON: dict[str, Any] = {
    "report_to": [], "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True, "save_strategy": "no",
}  # fmt: skip


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Data sets are made here; their cache goes where the test's files go."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def language_model(seed: int) -> Any:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=WORDS, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        tie_word_embeddings=False, max_position_embeddings=64, pad_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model: Any = Qwen2ForCausalLM(config)
    with torch.no_grad():
        # Far from flat, so that a wrong sign or a missing token shows.
        model.lm_head.weight.mul_(30)
    return model


def tokenizer() -> Any:
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w1", eos_token="w2", unk_token="w0")


def batch_of(trainer: Any) -> dict[str, Tensor]:
    batch: dict[str, Tensor] = next(iter(trainer.get_train_dataloader()))
    return batch


class Rows:
    """Completions of a batch as TRL laid it out: which positions count, and whose they are."""

    def __init__(self, input_ids: Tensor, attention: Tensor, counted: Tensor) -> None:
        self.input_ids, self.attention = input_ids, attention
        self.counted = counted[:, 1:].bool()
        self.row = torch.nonzero(self.counted)[:, 0]
        self.tokens = input_ids[:, 1:][self.counted]

    def logits(self, model: Any) -> Tensor:
        """[P, V]"""
        found: Tensor = model(input_ids=self.input_ids, attention_mask=self.attention).logits[:, :-1][self.counted]
        return found

    def inputs(self, model: Any, reference: Any, samples: int, sample: Tensor, drawn: Tensor, **changes: Tensor) -> LossInputs:
        logits = self.logits(model)
        with torch.no_grad():
            serving = self.logits(reference)
        ones = torch.ones(samples)
        values: dict[str, Tensor] = {
            "logits": logits, "base": serving, "serving": serving, "tokens": self.tokens, "sample": sample, "drawn": drawn,
            "logged": torch.zeros(len(self.tokens)), "kept": torch.ones(len(self.tokens)), "blame": torch.ones(len(self.tokens)),
            "reward": ones, "label_weight": ones, "advantage": ones, "show_weight": ones, "temperature": ones, "hindsight": ones,
            "rehearsed": torch.zeros(samples, dtype=torch.bool), "drift": torch.tensor(0.0),
        }  # fmt: skip
        return LossInputs(**{**values, **changes})


def check(model: Any, theirs: Tensor, ours: LossOutput, factor: float) -> None:
    """factor · ours is theirs, and so is its gradient by every weight of the model."""
    assert float((factor * ours.loss).detach()) == pytest.approx(float(theirs.detach()), rel=1e-4, abs=1e-6)
    parameters = [p for p in model.parameters() if p.requires_grad]
    expected = torch.autograd.grad(theirs, parameters, retain_graph=True)
    found = torch.autograd.grad(factor * ours.loss, parameters)
    assert max(float(g.abs().max()) for g in expected) > 1e-3
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_sft(tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    data = [{"prompt": p, "completion": c} for p, c in zip(PROMPTS, CHOSEN, strict=True)]
    trainer = SFTTrainer(
        language_model(1), SFTConfig(str(tmp_path), per_device_train_batch_size=3, max_length=None, **COMMON),
        train_dataset=Dataset.from_list(data), processing_class=tokenizer(),
    )  # fmt: skip
    batch = batch_of(trainer)
    rows = Rows(batch["input_ids"], batch["attention_mask"], batch["labels"] != -100)
    written = torch.zeros(len(rows.tokens), dtype=torch.bool)
    made = rows.inputs(trainer.model, trainer.model, 3, rows.row, written)
    theirs = trainer.compute_loss(trainer.model, batch)
    check(trainer.model, theirs, sft(made, ALONE), L_MAX / len(rows.tokens))


def test_dpo(tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    data = [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in zip(PROMPTS, CHOSEN, REJECTED, strict=True)]
    reference = language_model(2)
    trainer = DPOTrainer(
        language_model(1), reference,
        args=DPOConfig(str(tmp_path), per_device_train_batch_size=3, beta=ALONE.beta, max_length=None, **COMMON),
        train_dataset=Dataset.from_list(data), processing_class=tokenizer(),
    )  # fmt: skip
    batch = batch_of(trainer)
    rows = Rows(batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    # The first half of the rows is what was chosen (written), the second what was rejected (drawn).
    made = rows.inputs(trainer.model, reference, 3, rows.row % 3, rows.row >= 3)
    theirs = trainer.compute_loss(trainer.model, batch)
    check(trainer.model, theirs, dpo(made, ALONE), 1 / 3)


@pytest.mark.parametrize(("reference_seed", "drifted"), [(2, False), (3, True)])
def test_kto(tmp_path: Path, reference_seed: int, drifted: bool) -> None:
    """Two written texts, one rejected draw. z₀ is TRL's own estimate: ours is another, exact one."""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    good = [True, False, True]
    data = [{"prompt": p, "completion": c, "label": g} for p, c, g in zip(PROMPTS, CHOSEN, good, strict=True)]
    reference = language_model(reference_seed)
    trainer = KTOTrainer(
        language_model(1), reference,
        args=KTOConfig(str(tmp_path), per_device_train_batch_size=3, beta=ALONE.beta, max_length=None, **COMMON),
        train_dataset=Dataset.from_list(data), processing_class=tokenizer(),
    )  # fmt: skip
    batch = batch_of(trainer)
    theirs = trainer.compute_loss(trainer.model, batch)
    label = batch["label"].bool()
    rows = Rows(batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    drift = torch.tensor(trainer._metrics["train"]["kl"][-1])
    assert bool(drift > 0) == drifted
    advantage = torch.where(label, 0.0, -1.0)
    made = rows.inputs(
        trainer.model, reference, 3, rows.row, ~label[rows.row], advantage=advantage, hindsight=label.float(), drift=drift
    )
    check(trainer.model, theirs, kto(made, ALONE), 1 / 3)
    # And the written ones as draws that were kept.
    kept = rows.inputs(
        trainer.model, reference, 3, rows.row, torch.ones(len(rows.tokens), dtype=torch.bool),
        advantage=torch.where(label, 1.0, -1.0), drift=drift,
    )  # fmt: skip
    check(trainer.model, theirs, kto(kept, ALONE), 1 / 3)


def rewarded(completions: list[str], **others: Any) -> list[float]:
    """A reward that differs within each group."""
    return [len(set(text.split())) / 5 + len(text) / 100 for text in completions]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_grpo_and_ppo(tmp_path: Path, temperature: float) -> None:
    """TRL draws the rollouts and rewards them; then its loss and ours, on the way out of the clip in both directions."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    scores: list[float] = []

    def reward(completions: list[str], **others: Any) -> list[float]:
        scores.extend(rewarded(completions))
        return scores[-len(completions) :]

    trainer = GRPOTrainer(
        language_model(1), reward,
        args=GRPOConfig(
            str(tmp_path), per_device_train_batch_size=8, num_generations=4, max_completion_length=L_MAX, loss_type="dr_grpo",
            beta=0.0, epsilon=ALONE.clip, delta=ALONE.ratio_cap, temperature=temperature, max_steps=1, learning_rate=0.0,
            **COMMON,
        ),
        train_dataset=Dataset.from_list([{"prompt": p} for p in PROMPTS]), processing_class=tokenizer(),
    )  # fmt: skip
    seen: list[dict[str, Tensor]] = []
    compute = trainer._compute_loss

    def capture(model: Any, inputs: dict[str, Tensor]) -> Tensor:
        seen.append(inputs)
        loss: Tensor = compute(model, inputs)
        return loss

    trainer._compute_loss = capture
    trainer.train()
    (rollouts,) = seen
    ids = torch.cat([rollouts["prompt_ids"], rollouts["completion_ids"]], 1)
    attention = torch.cat([rollouts["prompt_mask"], rollouts["completion_mask"]], 1)
    counted = torch.cat([torch.zeros_like(rollouts["prompt_mask"]), rollouts["completion_mask"]], 1)
    rows = Rows(ids, attention, counted)
    # Samples were shuffled after they were scored: by their advantages each finds its reward.
    rewards = torch.tensor(scores)
    expected = group_advantages(rewards, torch.arange(8) // 4)
    assert torch.allclose(expected.sort().values, rollouts["advantages"].sort().values, atol=1e-4)

    # How the rollouts were drawn: by something between a tenth of what the policy says now, and ten times that.
    torch.manual_seed(5)
    with torch.no_grad():
        now = (rows.logits(trainer.model) / temperature).log_softmax(-1).gather(1, rows.tokens[:, None])[:, 0]
        logged = now + torch.randn(len(now))
        old = torch.zeros(rollouts["completion_ids"].shape)
        old[rollouts["completion_mask"].bool()] = logged
    drawn = torch.ones(len(rows.tokens), dtype=torch.bool)
    common = {"logged": logged, "temperature": torch.full((8,), temperature)}
    theirs = compute(trainer.model, {**rollouts, "old_per_token_logps": old})
    ours = ppo(rows.inputs(trainer.model, trainer.model, 8, rows.row, drawn, advantage=rollouts["advantages"], **common), ALONE)
    check(trainer.model, theirs, ours, 1 / 8)

    order = [int((expected - a).abs().argmin()) for a in rollouts["advantages"]]
    judged = group_advantages(rewards[order], torch.tensor(order) // 4)
    assert torch.allclose(judged, rollouts["advantages"], atol=1e-4)
