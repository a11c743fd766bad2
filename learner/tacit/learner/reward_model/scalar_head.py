"""The base with LoRA and one output: what a suggestion is worth, read from the code before it and its own text. Touches tensors.

Regresses the reward R of labelled suggestions (LEARNING.md, "Reward model"). Only the first layers of the base are used: what
tells a welcome line from another is known long before the next token is. The lowest are read once, as they are, and what they
say is kept; LoRA trains those above them. So a CPU can do in minutes what would take it a night.

By default the head learns what boosted trees on the cheap features leave over: a hidden state does not have to say again what
the logged probabilities say better. Alone it learns R itself. Its predictions are always for sessions that it has not seen:
`predictions` trains once for each fold. They are the soft targets from which the show policy's trees are distilled.
"""

import random
import time
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from tacit.learner.base import Tokenizer, load
from tacit.learner.policy import LORA_LAYERS
from tacit.learner.reward_model.judging import session_folds
from tacit.learner.reward_model.labelled import Labelled, counted
from tacit.learner.samples import END

PACK_TOKENS: Final = 640
"""Of one forward pass: attention is computed for all of them together."""
WARM_UP: Final = 0.1
TREES: Final = {"n_estimators": 80, "max_depth": 2, "learning_rate": 0.05, "subsample": 0.7}


class OutOfTime(ValueError):
    """The folds would take longer than was allowed."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    frozen: int = 5
    """Layers of the base, from its first, that are read as they are."""
    trained: int = 1
    """Layers above them, with LoRA; those above are not used."""
    prompt_tokens: int = 24
    """Before the suggestion, the nearest ones."""
    text_tokens: int = 16
    """Of the suggestion, from its beginning."""
    alone: bool = False
    """Learn R itself, rather than what trees on the cheap features leave over."""
    folds: int = 3
    epochs: int = 1
    batch: int = 16
    rank: int = 8
    learning_rate: float = 3e-4
    head_rate: float = 3e-3
    most: int = 2000
    """Suggestions, the latest ones; older ones are not read."""
    seconds: float = 1e9
    """For all folds together; OutOfTime beyond."""
    seed: int = 0


class ScalarHead:
    """One base in memory. Not to be used from two threads at once."""

    def __init__(self, base: Any, encode: Callable[[str], Sequence[int]], settings: HeadSettings) -> None:
        """base: a transformers causal model, of which two or more layers are left here. encode: text to token ids."""
        self._encode = encode
        self._settings = settings
        self._width: int = base.config.hidden_size
        self._model: Any = base.model
        self._device: torch.device = next(base.parameters()).device
        layers = list(base.model.layers)
        frozen = max(0, min(settings.frozen, len(layers) - settings.trained))
        self._lower = torch.nn.ModuleList(layers[:frozen])
        self._norm = base.model.norm
        base.model.layers = torch.nn.ModuleList(layers[frozen : frozen + settings.trained])
        torch.manual_seed(settings.seed)
        lora = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, bias="none", target_modules=list(LORA_LAYERS))
        get_peft_model(base, lora)
        self._upper = base.model.layers
        self._lora = [p for p in self._upper.parameters() if p.requires_grad]
        self._fresh = [parameter.detach().clone() for parameter in self._lora]

    def predictions(
        self, examples: Sequence[Labelled], progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    ) -> list[float]:
        """R of each example, near [-1, 1], by a head that has seen none of its session.

        ValueError: all is one session. OutOfTime.
        """
        settings = self._settings
        folds = session_folds([one.session for one in examples], settings.folds, settings.seed)
        if len(set(folds)) < 2:
            raise ValueError("All of this is one session: nothing can be held out.")
        values = np.array([one.value for one in examples])
        weights = np.array(counted(examples))
        rows = np.array([one.row for one in examples])
        found = np.zeros(len(examples))
        clock = _Clock(settings.seconds, progress, len(examples) * (2 + settings.epochs * max(folds)))
        states = self._read([self._ids(one) for one in examples], clock)
        for fold in sorted(set(folds)):
            training = [i for i, its in enumerate(folds) if its != fold]
            held_out = [i for i, its in enumerate(folds) if its == fold]
            base = self._base(rows, values, weights, training)
            head = self._train(states, values - base, weights, training, clock)
            with torch.inference_mode():
                for part in _packs(held_out, states):
                    clock.tick(len(part))
                    found[part] = base[part] + head(self._last([states[i] for i in part]))[:, 0].numpy(force=True)
        return [float(value) for value in found]

    def _base(self, rows: Any, values: Any, weights: Any, training: Sequence[int]) -> Any:
        """What the head need not say: the mean, or what trees make of the cheap features. Of all examples: [N]."""
        from sklearn.ensemble import GradientBoostingRegressor

        if self._settings.alone:
            return np.full(len(values), np.average(values[training], weights=weights[training]))
        leaf = max(1, min(20, len(training) // 10))
        trees = GradientBoostingRegressor(min_samples_leaf=leaf, random_state=self._settings.seed, **TREES)
        trees.fit(rows[training], values[training], sample_weight=weights[training])
        return trees.predict(rows)

    def _read(self, texts: Sequence[list[int]], clock: "_Clock") -> list[Tensor]:
        """What the lower layers say of each text: [T, H]."""
        upper, norm = self._model.layers, self._norm
        self._model.layers, self._model.norm = self._lower, torch.nn.Identity()
        found: list[Tensor] = []
        embed = self._model.get_input_embeddings()
        try:
            with torch.inference_mode():
                for part in _packs(range(len(texts)), texts):
                    clock.tick(len(part))
                    embedded = [embed(torch.tensor(texts[i], device=self._device)) for i in part]
                    found += self._through(embedded) if len(self._lower) else embedded
        finally:
            self._model.layers, self._model.norm = upper, norm
        # Out of inference mode, or the layers above could not be trained on them.
        return [one.clone() for one in found]

    def _through(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Each text [T, H] through the layers that are in place, all in one sequence in which none sees another."""
        sizes = [len(text) for text in texts]
        bf16 = texts[0].dtype is torch.bfloat16
        owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        mask = (owner[:, None] == owner[None]).tril_()
        positions = torch.cat([torch.arange(size) for size in sizes])
        # Without autocast every LoRA layer would carry the whole sequence to fp32 and back.
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bf16):
            states = self._model(
                inputs_embeds=torch.cat(list(texts))[None],
                position_ids=positions[None].to(self._device),
                attention_mask=mask[None, None].to(self._device),
                use_cache=False,
            ).last_hidden_state[0]
        return list(torch.split(states, sizes))

    def _train(self, states: Sequence[Tensor], target: Any, weights: Any, training: list[int], clock: "_Clock") -> Any:
        """A head on freshly reset LoRA matrices: weighted squared error, AdamW, linear warm-up and decay."""
        settings, lora = self._settings, self._lora
        with torch.no_grad():
            for parameter, fresh in zip(lora, self._fresh, strict=True):
                parameter.copy_(fresh)
        torch.manual_seed(settings.seed)
        head = torch.nn.Linear(self._width, 1).to(self._device)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        groups = [{"params": lora, "lr": settings.learning_rate}, {"params": head.parameters(), "lr": settings.head_rate}]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
        total = settings.epochs * -(-len(training) // settings.batch)
        warm = max(1.0, WARM_UP * total)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: min((at + 1) / warm, (total - at) / total))
        mean = float(weights[training].mean())
        draw = random.Random(settings.seed)
        for _ in range(settings.epochs):
            order = draw.sample(training, len(training))
            for start in range(0, len(order), settings.batch):
                batch = order[start : start + settings.batch]
                optimiser.zero_grad()
                for part in _packs(batch, states):
                    clock.tick(len(part))
                    wanted = torch.tensor(target[part], dtype=torch.float32, device=self._device)
                    counts = torch.tensor(weights[part] / mean, dtype=torch.float32, device=self._device)
                    error = head(self._last([states[i] for i in part]))[:, 0] - wanted
                    ((counts * error**2).sum() / len(batch)).backward()
                torch.nn.utils.clip_grad_norm_([*lora, *head.parameters()], 1.0)
                optimiser.step()
                schedule.step()
        return head

    def _last(self, texts: Sequence[Tensor]) -> Tensor:
        """[N, H] fp32: what stands at the last token of each, scaled to length √H."""
        last = torch.stack([text[-1] for text in self._through(texts)]).float()
        return torch.nn.functional.rms_norm(last, (self._width,))

    def _ids(self, one: Labelled) -> list[int]:
        settings = self._settings
        # Eight characters a token are more than code has.
        before = list(self._encode(one.prefix[-8 * settings.prompt_tokens :]))[-settings.prompt_tokens :]
        text = list(self._encode(one.text[: 8 * settings.text_tokens]))[: settings.text_tokens]
        return [*before, *text] or [END]


def from_folder(folder: Path, device: torch.device, settings: HeadSettings) -> ScalarHead:
    """folder: what `base.prepare` made, or any model that transformers reads there (SmolLM2-135M)."""
    return ScalarHead(load(folder, device), Tokenizer(folder).encode, settings)


class _Clock:
    """Says how far it is, and ends what takes too long."""

    def __init__(self, seconds: float, progress: Callable[[str, int, int], None], total: int) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self._progress = progress
        self._done = 0
        self._total = total

    def tick(self, count: int) -> None:
        if time.monotonic() - self._began > self._seconds:
            raise OutOfTime(f"The reward model's head was not done within {self._seconds:.0f} s.")
        self._progress("the reward model's head", self._done, self._total)
        self._done += count


def _packs(chosen: Sequence[int], texts: Sequence[Sized]) -> list[list[int]]:
    """The examples in groups of one forward pass each."""
    packs: list[list[int]] = []
    size = PACK_TOKENS
    for number in chosen:
        length = len(texts[number])
        if size + length > PACK_TOKENS:
            packs.append([])
            size = 0
        packs[-1].append(number)
        size += length
    return packs
