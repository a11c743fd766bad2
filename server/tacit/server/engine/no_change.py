"""An adapter that changes nothing, for the place whose weights vLLM's CPU build takes for the base. Writes a folder.

vLLM 0.32 gives a request that asks for no adapter the index -1. In one step with requests that ask for one, its CPU kernels take
that for the last of the adapters' places: this one stands there for good. Without such a request beside it nothing is multiplied,
which asking for this adapter by its name would cost.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tacit.server.engine.gguf_header import Base
from tacit.server.engine.lora_gguf import CONFIG, MODULES, PERMUTED, WEIGHTS

MODULE = "self_attn.o_proj"
"""Of the first layer: the smallest that vLLM does not put together with others. In all others its place is zero anyway."""


def write_no_change(folder: Path, base: Base) -> bool:
    """PEFT's files, rank 1, all zeros. False, and nothing is written: no adapter fits this base, so none comes beside it."""
    if base.architecture not in PERMUTED:
        return False
    outputs, inputs = base.shapes[f"blk.0.{MODULES[MODULE]}.weight"]
    name = f"base_model.model.model.layers.0.{MODULE}"
    zeros = {"A": np.zeros((1, inputs), np.float32), "B": np.zeros((outputs, 1), np.float32)}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    save_file({f"{name}.lora_{half}.weight": matrix for half, matrix in zeros.items()}, folder / WEIGHTS)
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "bias": "none", "target_modules": [MODULE.rpartition(".")[2]]}
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    return True
