"""What serving does while the learner trains on the same device: decided by memory. Pure.

`beside`: it goes on, there is room for both. `sleep`: vLLM gives its weights to the machine's memory and the rest away (its sleep
mode, level 1; level 2 loses adapters). `stop`: the engine ends and is started again afterwards.

Weights and caches are counted from the model's shapes. What else either side takes is an estimate, named here with what it stands
for, and not yet measured on a GPU.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from tacit.server.engine.gguf_header import Base

Mode = Literal["beside", "sleep", "stop"]
Wanted = Literal["auto", "beside", "sleep", "stop"]

GIB = 1 << 30
WEIGHT_BYTES = 2
"""bf16: what vLLM serves (`base_folder`) and what the learner loads (`tacit.learner.base.load`)."""
CACHE_BYTES = 2
"""Of a key's or a value's number: bf16 with vLLM, fp16 with llama.cpp."""
VLLM_REST = 3 * GIB
"""CUDA's context, captured graphs, activations of the longest batch. Estimate."""
ASLEEP_REST = 2 * GIB
"""What a vLLM that sleeps keeps of a GPU: CUDA's context, graphs, and the adapters' matrices. vLLM's documentation says that it
gives up nine tenths. Estimate."""
LEARNER_REST = 8 * GIB
"""CUDA's context, and a pack of 8,192 tokens with activations computed twice (`tacit.learner.train`): its logits are fp32 over
150,000 tokens of vocabulary, several times, at the scored places. With more it computes them once. Estimate."""
LEARNER_REST_ON_CPU = 5 * GIB // 2
"""A pack of 640 tokens there, and torch itself: with the tiny model, which is all output layer, 1.1 GB were measured for shorter
packs (`tacit bench train`)."""
STAND_IN_REST = GIB // 2
"""Of llama.cpp besides weights and cache. Estimate."""
SHARE = 0.9
"""Of the GPU that vLLM takes where nobody else wants it: its own default."""
LORAS_AT_ONCE, MAX_RANK = 4, 16
"""Adapters in one batch, and the rank of each: what the learner makes. vLLM sets the memory aside at its start, and on a
processor multiplies each token with all of it."""

_MATRIX = re.compile(r"blk\.\d+\.(attn_[qkvo]\w*|ffn_\w+)\.weight")
_CACHED = re.compile(r"blk\.\d+\.attn_[kv]\.weight")


@dataclass(frozen=True, slots=True)
class Size:
    """Of a base model; bytes."""

    weights: int
    """In bf16."""
    cache: int
    """Keys and values of all streams at their longest."""
    adapters: int
    """What vLLM sets aside for adapters."""
    file: int
    """The GGUF file, which the embedded engine maps."""


@dataclass(frozen=True, slots=True)
class Plan:
    mode: Mode
    reason: str
    """One sentence, for a person."""
    share: float = SHARE
    """Of each of its GPUs that vLLM may take."""
    serving: tuple[int, ...] = ()
    """vLLM's GPUs, where there are several; empty: whichever it finds."""
    learning: tuple[int, ...] = ()
    """The learner's, as above."""


def size_of(base: Base, file: int, tokens: int) -> Size:
    """file: bytes of the GGUF file. tokens: of context, of all streams together."""
    matrices = [shape for name, shape in base.shapes.items() if _MATRIX.fullmatch(name) and len(shape) == 2]
    cached = sum(shape[0] for name, shape in base.shapes.items() if _CACHED.fullmatch(name))
    return Size(
        weights=WEIGHT_BYTES * sum(map(prod, base.shapes.values())),
        cache=CACHE_BYTES * cached * tokens,
        adapters=WEIGHT_BYTES * LORAS_AT_ONCE * MAX_RANK * sum(map(sum, matrices)),
        file=file,
    )


def on_gpu(wanted: Wanted, gpus: Mapping[int, int], size: Size, count: int = 1) -> Plan:
    """Of a vLLM that is started here. gpus: bytes of each by its number; none: not known. count: on so many of them, the largest,
    vLLM lays the model out; the learner has a whole base on each of its own.

    GPUs that vLLM does not use are the learner's if a base has room there: then nobody has to rest.
    """
    serving = (size.weights + size.adapters + size.cache) // count + VLLM_REST
    learning = size.weights + LEARNER_REST
    ranked = sorted(gpus, key=lambda number: (-gpus[number], number))
    taken, roomy = sorted(ranked[:count]), sorted(number for number in ranked if gpus[number] >= learning)
    free = [number for number in roomy if number not in taken]
    plan = _shared(wanted, min((gpus[number] for number in taken), default=0), serving, learning)
    if len(gpus) < 2:
        return plan
    if free and wanted in ("auto", "beside"):
        names = f"GPU{'s' if len(free) > 1 else ''} {' and '.join(map(str, free))}"
        return Plan("beside", f"The learner has {names} for itself.", serving=tuple(taken), learning=tuple(free))
    return replace(plan, serving=tuple(taken), learning=tuple(roomy or taken))


def _shared(wanted: Wanted, gpu: int, serving: int, learning: int) -> Plan:
    """On the same GPU. gpu, serving, learning: bytes that it has, and that either side needs; gpu 0: not known."""
    share = round(min(SHARE, (gpu - learning) / gpu), 3) if gpu else SHARE
    both = f"serving needs {_gib(serving)}, learning {_gib(learning)}, and the GPU has {_gib(gpu)}"
    if wanted == "beside":
        # vLLM is not told less than it needs: it would not start, and learning may need less than is counted here.
        least = min(SHARE, serving / gpu) if gpu else SHARE
        return Plan("beside", "The setting `while_learning` says so.", round(max(share, least), 3))
    if wanted != "auto":
        return Plan(wanted, "The setting `while_learning` says so.")
    if not gpu:
        return Plan("stop", "How much memory the GPU has is not known.")
    if share * gpu >= serving:
        return Plan("beside", f"There is room for both: {both}.", share)
    if learning + ASLEEP_REST <= gpu:
        return Plan("sleep", f"There is no room for both: {both}.")
    return Plan("stop", f"There is no room even beside a vLLM that sleeps: {both}.")


def at_night(plan: Plan, available: int | None, size: Size) -> Plan:
    """The plan of the start, when the learner wants its room. available: bytes of the machine's memory; None: not known.

    A vLLM that sleeps keeps its weights there.
    """
    if plan.mode == "sleep" and available is not None and available < size.weights + LEARNER_REST_ON_CPU:
        return replace(
            plan,
            mode="stop",
            reason=f"vLLM's weights ({_gib(size.weights)}) have no room in the machine's memory while it sleeps.",
        )
    return plan


def on_cpu(wanted: Wanted, available: int | None, size: Size, held: int) -> Plan:
    """Of an engine that computes where the learner does. available: as above. held: bytes that ending the engine gives back."""
    learning = size.weights + LEARNER_REST_ON_CPU
    if wanted in ("stop", "sleep"):
        why = "The setting `while_learning` says so" + ("; only a GPU's vLLM can sleep." if wanted == "sleep" else ".")
        return Plan("stop", why)
    if wanted == "beside":
        return Plan("beside", "The setting `while_learning` says so.")
    if available is not None and available < learning <= available + held:
        return Plan("stop", f"Learning needs {_gib(learning)} of memory, and {_gib(available)} are free.")
    return Plan("beside", "The engine works on the processor.")


def elsewhere() -> Plan:
    """Of a vLLM that somebody else runs."""
    return Plan("beside", "vLLM is somebody else's, and nothing but requests is sent to it.")


def stand_in_fits(mode: Mode, available: int | None, size: Size) -> bool:
    """Can an embedded engine answer meanwhile, beside learner and sleeping weights? available: before any of these."""
    asleep = size.weights if mode == "sleep" else 0
    needed = size.file + size.cache + STAND_IN_REST + asleep + LEARNER_REST_ON_CPU
    return available is None or available >= needed


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
