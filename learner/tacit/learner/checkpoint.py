"""How far a training run has come, kept so that the next run goes on where a killed one was. Touches `runs/*/` only.

One file, written beside and renamed: it is the old place or the new one, never half of one. It names what it belongs to (base,
parent, objective, settings, samples); a run that differs in any of these starts from the beginning. Only the newest is kept.
It holds what was learned from suggestions: it goes when its run has ended by itself, and with its run's folder.
"""

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tacit.protocol.durable import sync

NAME: Final = "checkpoint.safetensors"
SECONDS: Final = 30.0
"""At least so long between two writes: a hundred megabytes each for a small model."""


@dataclass(frozen=True, slots=True)
class Place:
    """Everything that the next step depends on, apart from what the run's inputs say."""

    step: int
    """Steps taken."""
    tokens: int
    running_kl: float
    beta: float
    """The coefficient of KL to the serving policy, as it was adapted."""
    stopped_early: bool
    curve: tuple[dict[str, float], ...]
    parameters: tuple[Tensor, ...]
    first: tuple[Tensor, ...]
    """Adam's first moment of each parameter."""
    second: tuple[Tensor, ...]


class Checkpoints:
    """Those of one run. `every`: seconds between two writes."""

    def __init__(self, folder: Path, key: str, every: float = SECONDS) -> None:
        """folder: this run's own; those of other runs are beside it. key: `key_of` all that the training depends on."""
        self._folder = folder
        self._key = key
        self._every = every
        self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= self._every

    def load(self) -> Place | None:
        """The newest whole place that belongs to the same training, of whichever run; None: start from the beginning."""
        for path in sorted(self._folder.parent.glob(f"*/{NAME}"), key=lambda p: p.stat().st_mtime, reverse=True):
            if (place := _read(path, self._key)) is not None:
                return place
        return None

    def save(self, place: Place) -> None:
        """Replace what was kept before, this run's and any other's. Synced before it has its name."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        tensors = {
            f"{kind}.{number:05d}": tensor.detach().cpu().contiguous()
            for kind, several in (("parameter", place.parameters), ("first", place.first), ("second", place.second))
            for number, tensor in enumerate(several)
        }
        state = {
            "step": place.step, "tokens": place.tokens, "running_kl": place.running_kl, "beta": place.beta,
            "stopped_early": place.stopped_early, "curve": place.curve,
        }  # fmt: skip
        path, part = self._folder / NAME, self._folder / f"{NAME}.part"
        # JSON keeps every bit of a float.
        save_file(tensors, part, {"key": self._key, "state": json.dumps(state), "sha256": _digest(tensors)})
        part.chmod(0o600)
        sync(part)
        part.rename(path)
        sync(self._folder)
        for other in self._folder.parent.glob(f"*/{NAME}"):
            if other != path:
                other.unlink(missing_ok=True)
        self._last = time.monotonic()


def discard(folder: Path) -> None:
    """The run of this folder has ended: nothing is to be continued."""
    for path in (folder / NAME, folder / f"{NAME}.part"):
        path.unlink(missing_ok=True)


def key_of(*parts: object) -> str:
    """sha256, hex, of the values' representations, and of the torch that computes with them."""
    seen = sha256(torch.__version__.encode())
    for part in parts:
        seen.update(f"\0{part!r}".encode())
    return seen.hexdigest()


def _read(path: Path, key: str) -> Place | None:
    with contextlib.suppress(OSError, SafetensorError, ValueError, KeyError), safe_open(path, framework="pt") as opened:
        about: dict[str, str] = opened.metadata() or {}
        if about.get("key") != key:
            return None
        tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in sorted(opened.keys())}
        if about["sha256"] != _digest(tensors):
            return None
        state: dict[str, Any] = json.loads(about["state"])

        def several(kind: str) -> tuple[Tensor, ...]:
            return tuple(tensor for name, tensor in tensors.items() if name.startswith(f"{kind}."))

        return Place(
            **{**state, "curve": tuple(state["curve"])},
            parameters=several("parameter"),
            first=several("first"),
            second=several("second"),
        )
    return None


def _digest(tensors: dict[str, Tensor]) -> str:
    seen = sha256()
    for name in sorted(tensors):
        seen.update(name.encode())
        seen.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return seen.hexdigest()


def moments(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Adam's (first, second) moments, in the order of the parameters."""
    states = [optimizer.state[p] for p in parameters]
    return tuple(s["exp_avg"] for s in states), tuple(s["exp_avg_sq"] for s in states)


def restore(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], place: Place) -> None:
    """Parameters and Adam as they were after `place.step` steps."""
    with torch.no_grad():
        for parameter, value, first, second in zip(parameters, place.parameters, place.first, place.second, strict=True):
            parameter.copy_(value)
            optimizer.state[parameter] = {
                "step": torch.tensor(float(place.step)),
                "exp_avg": first.to(parameter.device),
                "exp_avg_sq": second.to(parameter.device),
            }
