"""One base model and several LoRA adapters: hidden states and logits of chosen positions. Touches tensors, adapter folders.

Sequences are packed as trees: a prompt and the texts that continue it (the draw, the written text) share the prompt's
computation, several such trees share one forward pass, and a mask keeps them apart. Nothing is padded. Only positions that
are scored go through the output layer: the vocabulary has 151 thousand entries.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tacit.protocol.completion import BASE_POLICY

CANDIDATE: Final = "candidate"
"""policy_version of the adapter in training, until it gets its name."""

LORA_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Every linear layer; never the output layer or the embeddings."""

_TRAINED = "default"


@dataclass(frozen=True, slots=True)
class Tree:
    """A prompt and the texts that continue it, each for itself."""

    prompt: Sequence[int]
    branches: Sequence[Sequence[int]]

    @property
    def length(self) -> int:
        return len(self.prompt) + sum(len(b) for b in self.branches)


@dataclass(frozen=True, slots=True)
class Packed:
    """Trees laid out in one sequence of length L. P is the number of branch tokens of all trees, in order."""

    ids: Tensor
    """[L] int64."""
    positions: Tensor
    """[L] int64: distance from the root of the tree."""
    mask: Tensor
    """[L, L] bool: True where row may look at column."""
    rows: Tensor
    """[P] int64: whose hidden state predicts each branch token."""
    targets: Tensor
    """[P] int64: the branch tokens."""


def pack(trees: Sequence[Tree]) -> Packed:
    ids: list[int] = []
    positions: list[int] = []
    rows: list[int] = []
    targets: list[int] = []
    mask = torch.zeros((total := sum(t.length for t in trees)), total, dtype=torch.bool)
    for tree in trees:
        root, width = len(ids), len(tree.prompt)
        ids += tree.prompt
        positions += range(width)
        mask[root : root + width, root : root + width] = True
        for branch in tree.branches:
            start, size = len(ids), len(branch)
            ids += branch
            positions += range(width, width + size)
            mask[start : start + size, root : root + width] = True
            mask[start : start + size, start : start + size] = True
            if size:
                rows += [root + width - 1, *range(start, start + size - 1)]
                targets += branch
    return Packed(
        torch.tensor(ids),
        torch.tensor(positions),
        mask.tril_(),
        torch.tensor(rows, dtype=torch.long),
        torch.tensor(targets, dtype=torch.long),
    )


class Policy:
    """The candidate, the base and any published adapter, chosen by policy_version."""

    def __init__(self, base: Any, *, parent: Path | None, rank: int = 16, alpha: int = 32, seed: int = 0) -> None:
        """base: a transformers causal model. parent: folder of the adapter whose weights the candidate starts from."""
        torch.manual_seed(seed)
        if parent is None:
            config = LoraConfig(
                r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=list(LORA_LAYERS), task_type="CAUSAL_LM"
            )
            self._model: Any = get_peft_model(base, config, adapter_name=_TRAINED)
        else:
            self._model = PeftModel.from_pretrained(base, str(parent), adapter_name=_TRAINED, is_trainable=True)
        self._names: dict[str, str] = {CANDIDATE: _TRAINED}
        self.device: torch.device = next(base.parameters()).device
        self.size: int = sum(p.numel() for p in base.parameters())
        """Parameters, adapters included."""

    def add(self, version: str, folder: Path) -> None:
        """Make a published adapter usable beside the candidate."""
        if version in (BASE_POLICY, *self._names):
            return
        name = f"version{len(self._names)}"
        self._model.load_adapter(str(folder), adapter_name=name, is_trainable=False)
        self._names[version] = name
        self._model.set_adapter(_TRAINED)

    def knows(self, version: str) -> bool:
        return version == BASE_POLICY or version in self._names

    @contextmanager
    def acting(self, version: str) -> Iterator[None]:
        """Within: the model computes as this policy_version. Only the candidate has gradients."""
        if version == BASE_POLICY:
            with self._model.disable_adapter():
                yield
        elif version == CANDIDATE:
            yield
        else:
            self._model.set_adapter(self._names[version], inference_mode=True)
            try:
                yield
            finally:
                self._model.set_adapter(_TRAINED)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Within: computes in fp32, four bytes a weight. The weights are rounded to bf16 before and after: nothing is lost."""
        frozen = [p for p in self._model.parameters() if p.dtype is torch.bfloat16]
        for parameter in frozen:
            parameter.data = parameter.data.float()
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.data = parameter.data.bfloat16()

    @contextmanager
    def recomputing(self, wanted: bool) -> Iterator[None]:
        """Within, if wanted: a layer keeps its input only, and computes the rest again on the way back. Half as slow again, the
        same gradients."""
        if not wanted:
            yield
            return
        layers = self._model.base_model.model.model.layers
        for layer in layers:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        try:
            yield
        finally:
            for layer in layers:
                del layer.forward

    def activation_bytes(self, tokens: int) -> int:
        """What a forward pass of so many tokens keeps for the way back, about: counted, for a Llama-like model in bf16."""
        config = self._model.base_model.model.config
        rank = self._model.peft_config[_TRAINED].r
        each = 30 * config.hidden_size + 9 * config.intermediate_size + 64 * rank
        return int(tokens * config.num_hidden_layers * each)

    def hidden(self, packed: Packed) -> Tensor:
        """Hidden states [P, H] that predict the branch tokens, under the acting policy."""
        model = self._model.base_model.model.model
        bf16 = next(model.parameters()).dtype is torch.bfloat16
        # Without autocast every LoRA layer would carry the whole sequence to fp32 and back.
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            states = model(
                input_ids=packed.ids[None].to(self.device),
                position_ids=packed.positions[None].to(self.device),
                attention_mask=packed.mask[None, None].to(self.device),
                use_cache=False,
            ).last_hidden_state[0]
        rows: Tensor = states[packed.rows.to(self.device)]
        return rows

    def logits(self, hidden: Tensor) -> Tensor:
        """[P, H] → [P, V], fp32. No adapter touches the output layer: it is the same for every version."""
        head = self._model.base_model.model.lm_head
        scores: Tensor = head(hidden.to(head.weight.dtype)).float()
        return scores

    def trainable(self) -> list[torch.nn.Parameter]:
        """The candidate's matrices, in a fixed order."""
        return [p for name, p in sorted(self._model.named_parameters()) if f".{_TRAINED}." in name]

    def generator(self) -> Any:
        """The transformers model, for `generate`."""
        return self._model

    def read(self, folder: Path) -> None:
        """The candidate's matrices become those that were saved there."""
        set_peft_model_state_dict(self._model, load_file(folder / "adapter_model.safetensors"), adapter_name=_TRAINED)

    def save(self, folder: Path, base_digest: str) -> None:
        """Write the candidate as PEFT does: adapter_config.json and adapter_model.safetensors, fp32."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = get_peft_model_state_dict(self._model, adapter_name=_TRAINED)
        tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in sorted(state.items())}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = self._model.peft_config[_TRAINED].to_dict()
        config["target_modules"] = sorted(config["target_modules"])
        config["inference_mode"] = True
        # The file's digest, not a path of this machine.
        config["base_model_name_or_path"] = f"sha256:{base_digest}"
        text = json.dumps(config, indent=2, sort_keys=True, default=_plain)
        (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(getattr(value, "value", value))
