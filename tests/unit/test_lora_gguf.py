"""Converting PEFT adapters: names and values of a real one, and every kind that must be refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tacit.protocol.errors import ModelUnavailable, Refused
from tacit.server.engine.gguf_header import Base, check_whole, read_base
from tacit.server.engine.lora_gguf import convert, digest, fit
from tacit.server.engine.no_change import write_no_change

HIDDEN, LAYERS, HEADS, KV_HEADS, FEED_FORWARD, RANK = 64, 2, 2, 1, 128, 4
BASE = Base(
    "qwen2",
    {
        f"blk.{layer}.{name}.weight": shape
        for layer in range(LAYERS)
        for name, shape in {
            "attn_q": (64, 64),
            "attn_k": (32, 64),
            "attn_v": (32, 64),
            "attn_output": (64, 64),
            "ffn_gate": (128, 64),
            "ffn_up": (128, 64),
            "ffn_down": (64, 128),
        }.items()
    },
    HEADS,
    KV_HEADS,
)
TENSOR = "base_model.model.model.layers.{}.{}.lora_{}.weight"
Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def peft_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real PEFT adapter of a tiny Qwen2, both halves random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=128,
        hidden_size=HIDDEN,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
    )
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(Qwen2ForCausalLM(config), LoraConfig(r=RANK, lora_alpha=8, target_modules=modules))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    folder = tmp_path_factory.mktemp("peft")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(peft_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(peft_folder, tmp_path / "adapter"))


def test_names_and_values(folder: Path, tmp_path: Path) -> None:
    convert(folder, BASE, tmp_path / "out.gguf")
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    assert reader.fields["general.architecture"].contents() == "qwen2"
    assert reader.fields["general.type"].contents() == "adapter"
    assert reader.fields["adapter.type"].contents() == "lora"
    assert reader.fields["adapter.lora.alpha"].contents() == 8
    written = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    saved = load_file(folder / "adapter_model.safetensors")
    assert len(written) == len(saved) == LAYERS * 7 * 2
    names = {"self_attn.q_proj": "attn_q", "self_attn.o_proj": "attn_output", "mlp.down_proj": "ffn_down"}
    for peft, ours in names.items():
        for half in "AB":
            expected = saved[TENSOR.format(1, peft, half)]
            assert np.array_equal(written[f"blk.1.{ours}.weight.lora_{half.lower()}"], expected)


def test_half_precision_keeps_its_values(folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    weights = folder / "adapter_model.safetensors"
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in load_torch(weights).items()}
    save_torch(rounded, weights)
    convert(folder, BASE, tmp_path / "out.gguf")
    written = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(tmp_path / "out.gguf").tensors}
    expected = rounded[TENSOR.format(0, "mlp.up_proj", "B")].float().numpy()
    assert np.array_equal(written["blk.0.ffn_up.weight.lora_b"], expected)


def test_llama_rows_are_reordered_as_its_weights_are() -> None:
    """The order is that of convert_hf_to_gguf.py: of each head's rows, first and second half alternate."""
    rows = np.arange(64, dtype=np.float32)[:, None].repeat(RANK, 1)
    query = {"A": np.ones((RANK, 64), np.float32), "B": rows}
    tensors = {TENSOR.format(0, "self_attn.q_proj", half): matrix for half, matrix in query.items()}
    assert list(fit(tensors, replace(BASE, architecture="llama"), RANK)["blk.0.attn_q.weight"].b[:4, 0]) == [0, 16, 1, 17]
    assert list(fit(tensors, BASE, RANK)["blk.0.attn_q.weight"].b[:4, 0]) == [0, 1, 2, 3]


def _nan(tensors: Tensors) -> None:
    tensors[TENSOR.format(0, "self_attn.q_proj", "B")][3, 1] = np.nan


def _infinite(tensors: Tensors) -> None:
    tensors[TENSOR.format(1, "mlp.up_proj", "A")][0, 0] = np.inf


def _other_rank(tensors: Tensors) -> None:
    tensors[TENSOR.format(0, "self_attn.k_proj", "A")] = np.zeros((RANK + 1, HIDDEN), np.float32)
    tensors[TENSOR.format(0, "self_attn.k_proj", "B")] = np.zeros((32, RANK + 1), np.float32)


def _other_base(tensors: Tensors) -> None:
    tensors[TENSOR.format(0, "mlp.down_proj", "B")] = np.zeros((HIDDEN * 2, RANK), np.float32)


def _missing_half(tensors: Tensors) -> None:
    del tensors[TENSOR.format(0, "mlp.gate_proj", "B")]


def _missing_layer(tensors: Tensors) -> None:
    for half, shape in (("A", (RANK, HIDDEN)), ("B", (HIDDEN, RANK))):
        tensors[TENSOR.format(LAYERS, "self_attn.q_proj", half)] = np.zeros(shape, np.float32)


def _head(tensors: Tensors) -> None:
    tensors["base_model.model.lm_head.lora_A.weight"] = np.zeros((RANK, HIDDEN), np.float32)


def _embeddings(tensors: Tensors) -> None:
    tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = np.zeros((RANK, 128), np.float32)


def _integers(tensors: Tensors) -> None:
    tensors[TENSOR.format(0, "self_attn.q_proj", "B")] = np.zeros((HIDDEN, RANK), np.int32)


SPOILERS: list[Callable[[Tensors], None]] = [
    _nan,
    _infinite,
    _other_rank,
    _other_base,
    _missing_half,
    _missing_layer,
    _head,
    _embeddings,
    _integers,
    lambda tensors: tensors.clear(),
]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_spoiled_tensors_are_refused_and_nothing_is_written(
    spoil: Callable[[Tensors], None], folder: Path, tmp_path: Path
) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    spoil(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(Refused):
        convert(folder, BASE, tmp_path / "cache" / "out.gguf")
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize(
    "change",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"r": 8},
        {"modules_to_save": ["lm_head"]},
        {"peft_type": "IA3"},
        {"alpha_pattern": {"q_proj": 2}},
    ],
)
def test_variants_that_mean_something_else_are_refused(change: dict[str, object], folder: Path, tmp_path: Path) -> None:
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(Refused):
        convert(folder, BASE, tmp_path / "out.gguf")


def _damage(folder: Path) -> Iterator[None]:
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    yield
    weights.write_bytes(b"\xff" * 8 + whole[8:])
    yield
    weights.unlink()
    yield
    weights.write_bytes(whole)
    config.write_text("{")
    yield
    config.unlink()
    yield


def test_damaged_files_are_refused(folder: Path, tmp_path: Path) -> None:
    for _ in _damage(folder):
        with pytest.raises(Refused):
            convert(folder, BASE, tmp_path / "out.gguf")


def test_other_architectures_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="gpt2"):
        convert(folder, replace(BASE, architecture="gpt2"), tmp_path / "out.gguf")


def test_the_digest_changes_with_weights_config_and_base(folder: Path) -> None:
    digests = {digest(folder, "0" * 64), digest(folder, "1" * 64)}
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        digests.add(digest(folder, "0" * 64))
    assert len(digests) == 4


def test_the_header_of_a_base_is_read(tmp_path: Path) -> None:
    """Fields of every kind are stepped over; shapes come as numpy has them."""
    path = tmp_path / "base.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_array("tokenizer.ggml.tokens", ["a", "Ġb", "ünï"])
    writer.add_array("tokenizer.ggml.token_type", [1, 1, 3])
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_float64("x.double", 0.5)
    writer.add_tensor("blk.0.attn_k.weight", np.zeros((32, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert read_base(path) == Base("qwen2", {"blk.0.attn_k.weight": (32, 64)}, HEADS, KV_HEADS)


@pytest.mark.parametrize("field", ["qwen2.attention.head_count", "qwen2.attention.head_count_kv", "general.alignment"])
def test_a_list_where_one_number_is_needed_is_named(field: str, tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    if field != "qwen2.attention.head_count":
        writer.add_head_count(HEADS)
    writer.add_array(field, [HEADS, HEADS])
    writer.add_tensor("blk.0.attn_k.weight", np.zeros((32, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelUnavailable, match=f"{field} is not one whole number"):
        (check_whole if field == "general.alignment" else read_base)(path)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"not a model at all, but long enough for a header", b"GGUF\x03\0\0\0" + b"\xff" * 64]
)
def test_what_is_not_a_model_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable):
        read_base(path)


def test_the_adapter_that_changes_nothing_fits_and_is_all_zeros(tmp_path: Path) -> None:
    for _ in "12":
        assert write_no_change(tmp_path / "nothing", BASE)
        tensors = load_file(tmp_path / "nothing" / "adapter_model.safetensors")
        ((target, lora),) = fit(tensors, BASE, 1).items()
        assert target == "blk.0.attn_output.weight" and not lora.a.any() and not lora.b.any()
        # In PEFT's words: rank 1 and an alpha that can be meant.
        convert(tmp_path / "nothing", BASE, tmp_path / "nothing.gguf")
    assert not write_no_change(tmp_path / "other", replace(BASE, architecture="mamba", shapes={}))
    assert not (tmp_path / "other").exists()
