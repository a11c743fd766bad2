"""Adapters in PEFT's format with random matrices, for any base model: they change what it says, and teach it nothing."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tacit.server.engine.gguf_header import read_base
from tacit.server.engine.lora_gguf import MODULES


def write_random_adapter(folder: Path, base: Path, seed: int, *, rank: int = 4, scale: float = 0.05) -> Path:
    """base: the GGUF model that it has to fit. scale: of the values of B."""
    draw = np.random.default_rng(seed)
    shapes = read_base(base).shapes
    tensors = {}
    for layer in range(sum(name.endswith("attn_q.weight") for name in shapes)):
        for peft, ours in MODULES.items():
            outputs, inputs = shapes[f"blk.{layer}.{ours}.weight"]
            name = f"base_model.model.model.layers.{layer}.{peft}"
            tensors[f"{name}.lora_A.weight"] = draw.normal(0, inputs**-0.5, (rank, inputs)).astype(np.float32)
            tensors[f"{name}.lora_B.weight"] = draw.normal(0, scale, (outputs, rank)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    modules = [module.rpartition(".")[2] for module in MODULES]
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none", "target_modules": modules}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
