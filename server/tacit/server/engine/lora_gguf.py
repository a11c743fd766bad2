"""A PEFT LoRA adapter as a llama.cpp LoRA adapter. Reads and writes files; knows neither torch nor a running engine.

What it does not understand completely it refuses: an adapter that is half applied is worse than none.
Formats: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and PEFT's checkpoint format documentation.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors

from tacit.protocol.errors import Refused
from tacit.server.engine.gguf_header import Base

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

# PEFT's module → llama.cpp's tensor, for architectures with the layers of Llama.
MODULES: dict[str, str] = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# Architectures whose q and k rows llama.cpp stores in another order, for its rotary embedding.
PERMUTED = {"llama": True, "qwen2": False}

_TENSOR = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.((?:self_attn|mlp)\.\w+)\.lora_([AB])\.weight")

# Config keys that change what the two matrices mean; only their plain values are understood.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False, None),
    "use_rslora": (False, None),
    "lora_bias": (False, None),
    "fan_in_fan_out": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "modules_to_save": ([], None),
    "layer_replication": ([], None),
    "trainable_token_indices": ([], {}, None),
}


@dataclass(frozen=True, slots=True)
class Lora:
    """One adapted weight: W + alpha/r · B·A."""

    a: Matrix
    """(r, inputs)"""
    b: Matrix
    """(outputs, r)"""


def convert(folder: Path, base: Base, out: Path) -> None:
    """Write the adapter in `folder` to `out`, atomically. Refused: it does not fit the base or cannot be understood."""
    alpha, rank = _read_config(folder)
    loras = fit(_read_weights(folder / WEIGHTS), base, rank)
    out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=".", suffix=".part")
    os.close(handle)
    try:
        _write(Path(name), base.architecture, alpha, loras)
        with Path(name).open("rb") as written:
            os.fsync(written.fileno())
        Path(name).replace(out)
    finally:
        Path(name).unlink(missing_ok=True)


def check(folder: Path, base: Base, most_rank: int) -> None:
    """Refused: the adapter in `folder` does not fit the base, cannot be understood, or has a higher rank than that."""
    _, rank = _read_config(folder)
    if rank > most_rank:
        raise Refused(f"The adapter in {folder} has rank {rank}; this engine takes {most_rank} at most.")
    fit(_read_weights(folder / WEIGHTS), base, rank)


def digest(folder: Path, base_sha256: str) -> str:
    """sha256, hex, of all that decides what `convert` writes. Refused if a file is missing."""
    total = hashlib.sha256(base_sha256.encode())
    try:
        for name in (CONFIG, WEIGHTS):
            with (folder / name).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise Refused(f"The adapter in {folder} cannot be read: {error.strerror}.") from error
    return total.hexdigest()


def fit(tensors: Mapping[str, Matrix], base: Base, rank: int) -> dict[str, Lora]:
    """Name of each adapted tensor of the base → its matrices, checked against the base. Refused: anything odd."""
    if base.architecture not in PERMUTED:
        raise Refused(f"Adapters for models of architecture `{base.architecture}` are not supported by this engine.")
    halves: dict[str, dict[str, Matrix]] = {}
    for name, matrix in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None or match[2] not in MODULES:
            raise Refused(f"The adapter changes `{name}`, which this engine cannot adapt.")
        halves.setdefault(f"blk.{match[1]}.{MODULES[match[2]]}.weight", {})[match[3]] = matrix
    if not halves:
        raise Refused("The adapter holds no tensors.")
    loras = {}
    for target, pair in halves.items():
        if pair.keys() != {"A", "B"}:
            raise Refused(f"The adapter holds only half of its change to `{target}`.")
        if target not in base.shapes:
            raise Refused(f"The adapter changes `{target}`, which the base model does not have. It was made for another base.")
        a, b = pair["A"], pair["B"]
        outputs, inputs = base.shapes[target]
        if a.shape != (rank, inputs) or b.shape != (outputs, rank):
            raise Refused(
                f"The adapter's change to `{target}` has shapes {a.shape} and {b.shape}; this base model and rank "
                f"{rank} need {(rank, inputs)} and {(outputs, rank)}. It was made for another base."
            )
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise Refused(f"The adapter's change to `{target}` holds values that are not finite.")
        if PERMUTED[base.architecture] and target.endswith(("attn_q.weight", "attn_k.weight")):
            b = _rotary_order(b, base.heads if target.endswith("attn_q.weight") else base.kv_heads)
        loras[target] = Lora(a, b)
    return loras


def _rotary_order(b: Matrix, heads: int) -> Matrix:
    """Rows of each head from halves (i, i + n/2) to neighbours (2i, 2i + 1), as llama.cpp stores Llama's q and k."""
    outputs, rank = b.shape
    ordered: Matrix = b.reshape(heads, 2, outputs // heads // 2, rank).swapaxes(1, 2).reshape(outputs, rank)
    return ordered


def _read_config(folder: Path) -> tuple[float, int]:
    """lora_alpha and r."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        alpha, rank = config["lora_alpha"], config["r"]
    except OSError as error:
        raise Refused(f"The adapter in {folder} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{CONFIG} of the adapter in {folder} is not a PEFT LoRA configuration.") from error
    for key, plain in _PLAIN.items():
        if key in config and config[key] not in plain:
            raise Refused(f"The adapter uses `{key} = {config[key]}`, which this engine cannot apply.")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float) or not np.isfinite(alpha):
        raise Refused(f"The adapter has rank {rank} and alpha {alpha}, which cannot be meant.")
    return float(alpha), rank


def _read_weights(path: Path) -> dict[str, Matrix]:
    """Every tensor as float32. bfloat16, which numpy does not know, is the upper half of a float32."""
    kinds: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
    try:
        entries: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from error
    except safetensors.SafetensorError as error:
        raise Refused(f"{path} is damaged: {error}.") from error
    tensors: dict[str, Matrix] = {}
    for name, entry in entries:
        if entry["dtype"] not in kinds or len(entry["shape"]) != 2:
            raise Refused(f"The adapter's `{name}` is a {entry['dtype']} of shape {entry['shape']}, not a matrix of floats.")
        values = np.frombuffer(entry["data"], kinds[entry["dtype"]]).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            tensors[name] = (values.astype(np.uint32) << 16).view(np.float32)
        else:
            tensors[name] = values.astype(np.float32)
    return tensors


def _write(path: Path, architecture: str, alpha: float, loras: Mapping[str, Lora]) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for target in sorted(loras):
        writer.add_tensor(f"{target}.lora_a", np.ascontiguousarray(loras[target].a))
        writer.add_tensor(f"{target}.lora_b", np.ascontiguousarray(loras[target].b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
