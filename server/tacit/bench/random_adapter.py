"""An adapter of random matrices, laid out as a published one: for benches of the machinery, never of quality. Writes a folder.

B is drawn small and not zero, so that the adapter changes what the model says without breaking it.
"""

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tacit.protocol.adapters import ADAPTER_FILES, MANIFEST, FileDigest, Manifest, RunInfo
from tacit.server.engine.gguf_header import Base
from tacit.server.engine.lora_gguf import MODULES

RANK = 8
SPREAD_A, SPREAD_B = 0.05, 0.01


def write_random_adapter(folder: Path, run: RunInfo, base: Base, base_sha256: str, tokenizer_sha256: str, seed: int) -> None:
    """run: the learning run that the adapter's name was reserved by. The manifest is written last."""
    folder.mkdir(parents=True, mode=0o700)
    save_file(_tensors(base, seed), folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(module.rpartition(".")[2] for module in MODULES),
        "base_model_name_or_path": f"sha256:{base_sha256}",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    (folder / "report.json").write_text(json.dumps({"summary": f"random matrices, seed {seed}"}), encoding="utf-8")
    (folder / "lineage.jsonl").write_text("", encoding="utf-8")
    manifest = Manifest(
        name=run.adapter,
        project=run.project,
        task=run.task,
        run_id=run.id,
        parent=run.parent,
        base_sha256=base_sha256,
        tokenizer_sha256=tokenizer_sha256,
        created_at=datetime.now(UTC),
        files={name: _digest(folder / name) for name in ADAPTER_FILES},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


def _tensors(base: Base, seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    layers = sum(name.endswith(".attn_q.weight") for name in base.shapes)
    tensors: dict[str, np.ndarray] = {}
    for layer in range(layers):
        for module, target in MODULES.items():
            outputs, inputs = base.shapes[f"blk.{layer}.{target}.weight"]
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = draw.normal(0, SPREAD_A, (RANK, inputs)).astype(np.float32)
            tensors[f"{name}.lora_B.weight"] = draw.normal(0, SPREAD_B, (outputs, RANK)).astype(np.float32)
    return tensors


def _digest(path: Path) -> FileDigest:
    data = path.read_bytes()
    return FileDigest(sha256=sha256(data).hexdigest(), size=len(data))
