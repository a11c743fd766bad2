"""Which model suits this machine, and the reason in one sentence. `choose` is pure; `read_hardware` asks the system.

Speeds behind the rule, llama.cpp on 2 shared cores: the 0.5B reads about 150 and writes about 20 tokens a second, the 1.5B
54 and 14. On few cores the larger one keeps its developer waiting.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SMALL, LARGER, LARGEST = "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "qwen2.5-coder-7b"

Kind = Literal["embedded", "vllm"]
"""Which kind of engine the model is for."""

FEW_CORES = 4
GPU_FOR_7B = 24_000
"""MB of GPU memory from which vLLM serves a 7B."""


@dataclass(frozen=True, slots=True)
class Hardware:
    cores: int
    """That this process may use."""
    gpu: str = ""
    """Name of the largest NVIDIA GPU; empty: none."""
    gpu_memory: int = 0
    """MB, of that one."""
    gpus: tuple[tuple[int, int], ...] = ()
    """(number as `nvidia-smi` counts, MB) of each NVIDIA GPU that processes started here see."""


@dataclass(frozen=True, slots=True)
class Choice:
    model: str
    reason: str
    """One sentence, for a person."""


def choose(hardware: Hardware, engine: Kind = "embedded") -> Choice:
    """The default model for that engine. The embedded one computes on the CPU, whatever the GPU could do."""
    cores = f"{hardware.cores} core{'s' if hardware.cores != 1 else ''}"
    large_gpu = hardware.gpu_memory >= GPU_FOR_7B
    if engine == "vllm" and large_gpu:
        model, why = LARGEST, f"{LARGEST} was chosen because the {hardware.gpu} has {hardware.gpu_memory / 1000:.0f} GB"
    elif hardware.cores <= FEW_CORES:
        model, why = SMALL, f"{SMALL} was chosen because this machine has {cores}: a larger one would answer too late"
    else:
        model, why = LARGER, f"{LARGER} was chosen because this machine has {cores}: enough for it to answer while you type"
    if engine == "embedded" and large_gpu:
        why += f"; the {hardware.gpu} trains adapters but does not serve, since the embedded engine computes on the CPU"
    return Choice(model, f"{why} (setting `model` changes it).")


def read_hardware() -> Hardware:
    """Cores from the process's affinity, the GPU from `nvidia-smi` if there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = visible(_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    name, memory = max(gpus.values(), key=lambda gpu: gpu[1], default=("", 0))
    return Hardware(cores, name, memory, tuple((number, gpu[1]) for number, gpu in gpus.items()))


def visible(gpus: Sequence[tuple[str, int]], said: str | None) -> dict[int, tuple[str, int]]:
    """(name, MB) by number. said: CUDA_VISIBLE_DEVICES; where it names GPUs otherwise than by number, the largest stands for
    them, and nothing is shared out."""
    every = dict(enumerate(gpus))
    if said is None:
        return every
    try:
        named = [int(number) for number in said.split(",")] if said.strip() else []
    except ValueError:
        largest = max(every.items(), key=lambda gpu: gpu[1][1], default=None)
        return dict([largest]) if largest else {}
    return {number: every[number] for number in named if number in every}


def _gpus() -> list[tuple[str, int]]:
    """(name, MB) of each NVIDIA GPU; a driver that does not answer counts as none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        return [(name.strip(), int(memory)) for name, _, memory in (line.rpartition(",") for line in lines if line)]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
