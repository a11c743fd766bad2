"""A very small Qwen2 model with the real vocabulary, as GGUF: real llama.cpp and real training at a hundredth of the time.

It knows nothing (random weights under a seed): right for tests of machinery (swaps, crashes, publishing), never of quality.
"""

import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np

HIDDEN, LAYERS, HEADS, KV_HEADS, FEED_FORWARD, CONTEXT = 64, 2, 2, 1, 128, 4096
HEAD_DIM = HIDDEN // HEADS

# A word as the byte-level vocabulary writes it: Ġ is a leading space.
_WORD = re.compile("Ġ?[a-z]{2,}")


def write_tiny_model(vocabulary_from: Path, out: Path, seed: int = 0) -> Path:
    """Write the model to `out`. vocabulary_from: a Qwen2 GGUF whose tokenizer is taken over."""
    reader = gguf.GGUFReader(str(vocabulary_from))
    writer = gguf.GGUFWriter(str(out), "qwen2")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    vocabulary = _copy_tokenizer(reader, writer)
    draw = np.random.default_rng(seed)

    def add(name: str, *shape: int, scale: float = 0.08) -> None:
        writer.add_tensor(name, draw.normal(0, scale, shape).astype(np.float32))

    size = len(vocabulary)
    writer.add_tensor("token_embd.weight", draw.normal(0, 0.5, (size, HIDDEN)).astype(np.float16))
    # Only plain words can be drawn, so that what it says survives the stop rules; the scale makes it far from undecided.
    words = np.array([_WORD.fullmatch(token) is not None for token in vocabulary])
    output = draw.normal(0, 1.0, (size, HIDDEN)) * words[:, None]
    writer.add_tensor("output.weight", output.astype(np.float16))
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(HIDDEN, np.float32))
        writer.add_tensor(f"{block}.ffn_norm.weight", np.ones(HIDDEN, np.float32))
        for part, rows in (("q", HEADS * HEAD_DIM), ("k", KV_HEADS * HEAD_DIM), ("v", KV_HEADS * HEAD_DIM)):
            add(f"{block}.attn_{part}.weight", rows, HIDDEN)
            add(f"{block}.attn_{part}.bias", rows)
        add(f"{block}.attn_output.weight", HIDDEN, HEADS * HEAD_DIM)
        add(f"{block}.ffn_gate.weight", FEED_FORWARD, HIDDEN)
        add(f"{block}.ffn_up.weight", FEED_FORWARD, HIDDEN)
        add(f"{block}.ffn_down.weight", HIDDEN, FEED_FORWARD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _copy_tokenizer(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> list[str]:
    """Copy every tokenizer field; returns the vocabulary."""
    vocabulary: list[str] = []
    for name, field in reader.fields.items():
        if not name.startswith("tokenizer."):
            continue
        value: Any = field.contents()
        kind = field.types[0]
        if kind is gguf.GGUFValueType.ARRAY:
            writer.add_key_value(name, value, kind, sub_type=field.types[-1])
        else:
            writer.add_key_value(name, value, kind)
        if name == "tokenizer.ggml.tokens":
            vocabulary = value
    return vocabulary
