"""KTO by TRL's own trainer on the learner's samples: the classical arm that is not ours. Touches the policy's tensors.

It gets the same token sequences as our `kto`: draws with an advantage, labelled by its sign, and the written texts as good ones.
Learning rate, batch and epochs are ours; the rest (KL estimate, no budget, linear decay) is TRL's. TRL is in the extra `dev`.
"""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tacit.learner.objective import useful
from tacit.learner.policy import Policy
from tacit.learner.samples import Sample
from tacit.learner.train import TrainSettings

Row = dict[str, Any]


def rows(samples: Sequence[Sample], advantages: Sequence[float]) -> list[Row]:
    """What TRL learns from: token ids of prompt and completion, and whether that was good."""
    found: list[Row] = []
    for sample, advantage in zip(samples, advantages, strict=True):
        if not useful(sample, advantage, "kto"):
            continue
        prompt = list(sample.prompt)
        if sample.tokens and advantage != 0:
            found.append({"prompt_ids": prompt, "completion_ids": list(sample.tokens), "label": advantage > 0})
        if sample.hindsight > 0:
            found.append({"prompt_ids": prompt, "completion_ids": list(sample.written_tokens), "label": True})
    return found


def train(
    policy: Policy,
    samples: Sequence[Sample],
    advantages: Sequence[float],
    tokenizer: Any,
    settings: TrainSettings,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> int:
    """Train the candidate in place; returns the steps taken, 0 without at least two rows. tokenizer: transformers'."""
    from datasets import Dataset, disable_progress_bars
    from transformers import TrainerCallback
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    class Told(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            progress("training (TRL)", state.global_step, state.max_steps)

    class Tokenised(KTOTrainer):
        """The rows are token ids already, as they were logged; as text they would be split anew, and apart from the log."""

        def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
            return dataset

    found = rows(samples, advantages)
    Random(settings.seed).shuffle(found)
    if len(found) % settings.batch == 1:
        # TRL estimates KL from the other completions of a batch: alone, a row has none.
        found.pop()
    if not found:
        return 0
    for start in range(0, len(found), settings.batch):
        batch = found[start : start + settings.batch]
        for row, other in zip(batch, [batch[-1], *batch[:-1]], strict=True):
            row["KL_completion_ids"] = other["completion_ids"]
    disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="tacit-trl-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = KTOConfig(folder, **options(settings, policy.device.type))
        trainer = Tokenised(policy.generator(), args=config, train_dataset=Dataset.from_list(found), processing_class=tokenizer)
        trainer.add_callback(Told())
        trainer.train()
        return int(trainer.state.global_step)


def options(settings: TrainSettings, device: str) -> dict[str, Any]:
    """What any of TRL's trainers is told here: a night's batch, epochs and rate, bf16; nothing saved, nothing logged, no
    activation computed twice. device: torch's type."""
    return {
        "per_device_train_batch_size": settings.batch,
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "max_grad_norm": settings.grad_norm,
        "warmup_steps": settings.warm_up,
        "max_length": None,
        "seed": settings.seed,
        "use_cpu": device == "cpu",
        "bf16": True,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": device != "cpu",
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }
