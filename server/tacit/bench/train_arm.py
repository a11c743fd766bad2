"""One trainer of `tacit bench train` in a process of its own: reads a job from stdin, prints what it took as one line of JSON.

Touches the model's folder (read) and the terminal. A process for each run, so that its peak memory is its own. The first batch is
trained on once before anything is timed: kernels are chosen, and pages touched, at the first use.
"""

import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

TRAINING, AFTER, TRL = "training", "measuring the step", "training (TRL)"
"""Stages as the trainers tell them; what comes after the last step is the same few passes however long the night is."""


@dataclass(frozen=True, slots=True)
class Arm:
    name: str
    objective: str
    """Of ours, or what TRL's trainer stands for: `sft`, `kto`."""
    trl: bool = False
    flat: bool = False
    """TRL only: a batch as one sequence without padding; else padded, batches of like length."""


ARMS: Final = (
    Arm("sft", "sft"),
    Arm("TRL SFT, padded", "sft", trl=True),
    Arm("TRL SFT, padding-free", "sft", trl=True, flat=True),
    Arm("kto", "kto"),
    Arm("TRL KTO", "kto", trl=True),
    Arm("topr", "topr"),
)


@dataclass(frozen=True, slots=True)
class Job:
    arm: str
    folder: str
    """Of the dequantised base."""
    model: str
    """sha256 of the model."""
    samples: int
    prefix_chars: int
    suffix_chars: int
    max_length: int
    batch: int
    rank: int
    seed: int
    threads: int


@dataclass(frozen=True, slots=True)
class Took:
    arm: str
    texts: int
    tokens: int
    """Of prompt and target of every text, no padding."""
    seconds: float
    """From the first reference or step to the end of the last step."""
    references: float
    """Seconds of it: what the fixed policies say (ours; TRL computes that within its steps)."""
    after: float
    """Seconds after the last step: ours measures how far it went, and goes back into the budget."""
    steps: int
    peak_mib: float
    """Largest resident size of the process."""
    device_mib: float | None
    """Largest allocation on the GPU."""
    device: str
    parameters: int
    embedding: int
    """How many of the parameters are the embedding's: no multiplication."""
    layers: int
    hidden: int


class Watch:
    """When each stage was first told of."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self.first: dict[str, float] = {}
        self.last = ""
        self._synchronize = synchronize

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.first:
            self._synchronize()
            self.first[stage] = time.monotonic()
        self.last = stage


def trl_sft(policy: Any, log: Any, tokenizer: Any, job: Job, arm: Arm, progress: Watch) -> int:
    """TRL's SFT trainer on the same texts, its loss on what was written only. Returns the steps taken."""
    from datasets import Dataset, disable_progress_bars
    from transformers import TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from tacit.learner.simulate.trl_kto import options
    from tacit.learner.train import TrainSettings

    class Told(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            progress(TRL, state.global_step, state.max_steps)

    found = [
        {"input_ids": [*s.prompt, *s.written_tokens], "labels": [-100] * len(s.prompt) + list(s.written_tokens)}
        for s in log.samples
        if s.hindsight > 0
    ]
    disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="tacit-trl-") as folder:
        config = SFTConfig(
            folder,
            **options(TrainSettings(batch=job.batch, seed=job.seed), policy.device.type),
            packing=False,
            padding_free=arm.flat,
            train_sampling_strategy="random" if arm.flat else "group_by_length",
        )
        trainer = SFTTrainer(policy.generator(), args=config, train_dataset=Dataset.from_list(found), processing_class=tokenizer)
        trainer.add_callback(Told())
        trainer.train()
        return int(trainer.state.global_step)


def run(job: Job) -> Took:
    import torch
    from transformers import AutoTokenizer

    from tacit.bench.train_log import Log, made, places, texts
    from tacit.learner.base import Tokenizer, best_device, load
    from tacit.learner.policy import Policy
    from tacit.learner.simulate import trl_kto
    from tacit.learner.train import TrainSettings, train
    from tacit.protocol.completion import BASE_POLICY
    from tacit.protocol.errors import BadRequest

    warnings.simplefilter("ignore")
    torch.set_num_threads(job.threads)
    arm = next(one for one in ARMS if one.name == job.arm)
    folder = Path(job.folder)
    device = best_device()
    found = places(job.samples, job.prefix_chars, job.suffix_chars, job.seed)
    words = Tokenizer(folder)
    log = made(found, job.max_length, job.seed, words.encode, words.decode, job.model)
    given = texts(log, arm.objective)
    if not given:
        raise BadRequest(
            f"None of {job.samples} suggestions is one that `{arm.objective}` learns from.", mend="Ask for more samples."
        )
    policy = Policy(load(folder, device), parent=None, rank=job.rank, alpha=2 * job.rank, seed=job.seed)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    settings = TrainSettings(batch=job.batch, seed=job.seed)

    def once(log: Log, watch: Watch) -> int:
        if arm.trl and arm.objective == "sft":
            return trl_sft(policy, log, tokenizer, job, arm, watch)
        if arm.trl:
            return trl_kto.train(policy, log.samples, log.advantages, tokenizer, settings, watch)
        return train(policy, log.samples, log.advantages, BASE_POLICY, settings, arm.objective, watch).steps

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    once(Log(log.samples[: job.batch], log.advantages[: job.batch]), Watch(synchronize))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    watch = Watch(synchronize)
    steps = once(log, watch)
    synchronize()
    end = time.monotonic()
    trained = watch.first.get(AFTER, end)
    began = min(watch.first.values())
    references = 0.0 if arm.trl else watch.first[TRAINING] - began
    config = policy.generator().config
    return Took(
        arm=arm.name,
        texts=len(given),
        tokens=sum(prompt + target for prompt, target in given),
        seconds=trained - began,
        references=references,
        after=end - trained,
        steps=steps,
        peak_mib=peak_mib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sys.platform),
        device_mib=torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None,
        device=torch.cuda.get_device_name() if device.type == "cuda" else "",
        parameters=policy.size,
        embedding=config.vocab_size * config.hidden_size * (1 if config.tie_word_embeddings else 2),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
    )


def peak_mib(maxrss: int, platform: str) -> float:
    """ru_maxrss is in KiB on Linux and in bytes on macOS."""
    return maxrss / (2**20 if platform == "darwin" else 2**10)


def main(arguments: Sequence[str] = ()) -> int:
    print(json.dumps(asdict(run(Job(**json.load(sys.stdin))))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
