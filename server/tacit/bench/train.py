"""`tacit bench train`: our trainer beside TRL's SFT and KTO trainers. Same model, LoRA, samples, batch; a process for each run.

Trainers take turns, and what is compared is one round's pair: a busy machine slows both. Counted are the tokens of prompt and
target of every text that a trainer is given, without padding, the same number for both of a pair; a prompt that two texts
continue counts twice, however often it is read. Timed are references and steps. What ours does once a night, however long
(measuring how far it went, going back into the budget), is told apart.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from tacit.bench.report import Goal, Report
from tacit.bench.train_arm import ARMS, Arm, Job, Took
from tacit.protocol.errors import BadRequest, TacitError
from tacit.protocol.home import Home

WANTED: Final = 1.5
"""Times TRL's tokens per second."""
MINUTES: Final = 5.0
"""For 1,000 samples, on a data-centre GPU."""
PAIRS: Final = (
    ("sft", ("TRL SFT, padded", "TRL SFT, padding-free")),
    ("kto", ("TRL KTO",)),
    ("topr", ("TRL KTO",)),
)
"""Ours, and TRL's that it is compared with: the fastest of them."""
PEAK_FLOPS: Final = {"H200": 989e12, "H100": 989e12, "GH200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12}
"""bf16, dense, as NVIDIA's data sheets give them, by a word of the device's name."""
# Student's t, two-sided 95 %, by degrees of freedom; above: the last.
T_95: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    samples: int = 24
    repeats: int = 3
    batch: int = 8
    rank: int = 16
    max_length: int = 1024
    """Tokens."""
    prefix_chars: int = 1500
    suffix_chars: int = 300
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Ratio:
    value: float
    low: float | None
    """95 %; None of a single pair."""
    high: float | None

    def __str__(self) -> str:
        return f"{self.value:.2f}" if self.low is None else f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def chosen(objective: str) -> list[Arm]:
    """The arms that tell something of an objective, or of `all`; TRL's only where it is installed. BadRequest for another."""
    pairs = [(ours, theirs) for ours, theirs in PAIRS if objective in (ours, "all")]
    if not pairs:
        mend = f"There are: {', '.join(ours for ours, _ in PAIRS)}, all."
        raise BadRequest(f"`{objective}` is not compared with a trainer of TRL's.", mend=mend)
    names = {name for ours, theirs in pairs for name in (ours, *theirs)}
    return [arm for arm in ARMS if arm.name in names and (not arm.trl or trl_is_here())]


def run(arms: Sequence[Arm], options: Options, model: str, progress: Progress) -> Report:
    """model: catalogue name, path or `auto`. TacitError if a trainer fails."""
    from tacit.learner.base import prepare
    from tacit.server.models import resolve

    base = resolve(model)
    rounds: list[dict[str, Took]] = []
    progress("preparing the base model", 0, 1)
    folder = prepare(base.path, base.sha256, Home.from_environment())
    for number in range(options.repeats):
        took: dict[str, Took] = {}
        # Every second round backwards: none is always the first.
        for place, arm in enumerate(arms if number % 2 == 0 else arms[::-1]):
            progress(f"training: {arm.name}", number * len(arms) + place, options.repeats * len(arms))
            took[arm.name] = _child(
                Job(
                    arm=arm.name, folder=str(folder), model=base.sha256, samples=options.samples,
                    prefix_chars=options.prefix_chars, suffix_chars=options.suffix_chars, max_length=options.max_length,
                    batch=options.batch, rank=options.rank, seed=options.seed, threads=os.cpu_count() or 1,
                )
            )  # fmt: skip
        rounds.append(took)
    return told(rounds, options, model)


def told(rounds: Sequence[Mapping[str, Took]], options: Options, model: str) -> Report:
    """The report of what every arm took in every round."""
    rows = [_row([one[name] for one in rounds], options.samples) for name in rounds[0]]
    goals: list[Goal] = []
    for ours, theirs in PAIRS:
        best = fastest(rounds, theirs)
        if best is None or ours not in rounds[0]:
            continue
        ratio = speed_ratio([(one[ours], one[best]) for one in rounds])
        row = next(row for row in rows if row["what"] == ours)
        row["times TRL"] = str(ratio)
        goals.append(Goal(f"{ours}: seconds for each second of {best}", 1 / ratio.value, round(1 / WANTED, 3)))
        if ratio.low is not None:
            goals.append(Goal(f"{ours}: the same, upper end of 95 %", 1 / ratio.low, round(1 / WANTED, 3)))
    remarks = [
        f"{options.samples} suggestions with the code of an installed package around them, draws and their log-probabilities "
        f"made up; batch {options.batch}, LoRA rank {options.rank} on every linear layer, bf16 base, fp32 adapter, at most "
        f"{options.max_length} tokens. tok/s: tokens of prompt and target of every text, no padding, over references and steps. "
        "[]: 95 % interval over rounds (t, of logarithms).",
        "TRL's trainers: bf16, no activation checkpointing, no logging, no saving; SFT with batches of like length, or flat "
        "without padding (the faster of the two is compared with), its loss on the target only; KTO's batches in order, as it "
        "demands.",
    ]
    if not any(name.startswith("TRL") for name in rounds[0]):
        remarks.append("TRL is not installed (it is in the extra `dev`): there is nothing to compare with.")
    first = next(iter(rounds[0].values()))
    if first.device and "topr" in rounds[0]:
        goals.append(Goal("topr: minutes for 1,000 samples", _minutes([one["topr"] for one in rounds], options.samples), MINUTES))
    if first.device and peak_flops(first.device) is None:
        remarks.append(f"How much {first.device} can compute is not known here: no utilisation.")
    return Report("train", model, rows, goals, remarks)


def trl_is_here() -> bool:
    return importlib.util.find_spec("trl") is not None


def speed_ratio(pairs: Sequence[tuple[Took, Took]]) -> Ratio:
    """How many times as many tokens per second the first of each pair has: geometric mean, 95 % t interval over the pairs."""
    logs = [math.log(rate(one) / rate(other)) for one, other in pairs]
    mean = sum(logs) / len(logs)
    if len(logs) < 2:
        return Ratio(math.exp(mean), None, None)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in logs) / (len(logs) - 1))
    half = T_95[min(len(logs) - 2, len(T_95) - 1)] * deviation / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def fastest(rounds: Sequence[Mapping[str, Took]], names: Sequence[str]) -> str | None:
    """Which of these arms took the least time in all; None if none of them ran."""
    there = [name for name in names if name in rounds[0]]
    return min(there, key=lambda name: sum(one[name].seconds for one in rounds), default=None)


def rate(took: Took) -> float:
    """Tokens per second."""
    return took.tokens / took.seconds


def peak_flops(device: str) -> float | None:
    """FLOP/s in bf16 of a GPU, by its name; None if it is not known."""
    words = device.replace("-", " ").split()
    return next((flops for name, flops in PEAK_FLOPS.items() if name in words), None)


def token_flops(took: Took) -> float:
    """Of the model, for one token, forward and backward: 4 for each parameter that is multiplied with, since the base's own
    gradients are not computed, and attention over the mean length. Passes for references are no work of the model's."""
    length = took.tokens / took.texts
    return 4 * (took.parameters - took.embedding) + 8 * took.layers * took.hidden * length / 2


def utilisation(took: Took) -> float | None:
    """Model FLOPs utilisation, 0 to 1; None without a GPU that is known."""
    peak = peak_flops(took.device)
    return None if peak is None else rate(took) * token_flops(took) / peak


def _minutes(runs: Sequence[Took], samples: int) -> float:
    """For 1,000 samples: what grows with them, and what a night takes once."""
    each = [1000 * one.seconds / samples + one.after for one in runs]
    return sum(each) / len(each) / 60


def _row(runs: Sequence[Took], samples: int) -> dict[str, Any]:
    middle = sorted(runs, key=rate)[len(runs) // 2]
    used = utilisation(middle)
    return {
        "what": middle.arm,
        "texts": middle.texts,
        "tokens": middle.tokens,
        "tok/s": round(rate(middle), 1),
        "times TRL": None,
        "seconds": round(middle.seconds, 1),
        "references": round(middle.references, 3),
        "after": round(middle.after, 1),
        "peak MiB": round(max(one.peak_mib for one in runs)),
        "GPU MiB": None if middle.device_mib is None else round(max(one.device_mib or 0 for one in runs)),
        "MFU": None if used is None else round(used, 3),
        "min for 1,000": round(_minutes(runs, samples), 1),
    }


def _child(job: Job) -> Took:
    done = subprocess.run(
        [sys.executable, "-m", "tacit.bench.train_arm"],
        input=json.dumps(asdict(job)),
        # TRL and transformers speak of what they would like to fetch; nothing is fetched here.
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise TacitError(f"The trainer `{job.arm}` ended with {done.returncode}: {said[-1] if said else 'it said nothing'}.")
    return Took(**json.loads(done.stdout.strip().splitlines()[-1]))
