"""Inputs of objectives, small enough to reason about: places with a draw and a written text, over a handful of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from tacit.learner.loss import Coefficients, LossInputs, Objective

VOCABULARY = 5
NO_ANCHORS = Coefficients(kl_base=0, kl_serving=0)


@dataclass(frozen=True)
class Place:
    """One sample. Tokens at a position are drawn from logits of that position; `logged` is log μ of each drawn token."""

    draw: tuple[int, ...] = (1, 2)
    written: tuple[int, ...] = ()
    advantage: float = 1.0
    reward: float = 0.5
    label_weight: float = 1.0
    hindsight: float = 0.0
    rehearsed: bool = False
    show_weight: float = 1.0
    temperature: float = 1.0
    logged: tuple[float, ...] | None = None
    """None: what the policy itself says."""
    kept: tuple[float, ...] | None = None
    blame: tuple[float, ...] | None = None


def inputs(
    places: Sequence[Place], logits: Tensor, *, base: Tensor | None = None, serving: Tensor | None = None, drift: float = 0.0
) -> LossInputs:
    """logits: [P, V], positions of each place's draw, then of its written text. Default reference: the policy itself."""
    tokens: list[int] = []
    sample: list[int] = []
    drawn: list[bool] = []
    kept: list[float] = []
    blame: list[float] = []
    logged: list[Tensor] = []
    for number, place in enumerate(places):
        size, more = len(place.draw), len(place.written)
        start = len(tokens)
        tokens += [*place.draw, *place.written]
        sample += [number] * (size + more)
        drawn += [True] * size + [False] * more
        kept += [*(place.kept or (1.0,) * size), *(0.0,) * more]
        blame += [*(place.blame or (1.0,) * size), *(0.0,) * more]
        own = (logits.detach()[start : start + size] / place.temperature).log_softmax(-1)
        said = own[range(size), list(place.draw)] if size else torch.zeros(0)
        logged += [said if place.logged is None else torch.tensor(place.logged), torch.zeros(more)]
    reference = logits.detach().clone() if base is None else base
    return LossInputs(
        logits=logits,
        base=reference,
        serving=reference if serving is None else serving,
        tokens=torch.tensor(tokens, dtype=torch.long),
        sample=torch.tensor(sample, dtype=torch.long),
        drawn=torch.tensor(drawn, dtype=torch.bool),
        logged=torch.cat(logged) if logged else torch.zeros(0),
        kept=torch.tensor(kept),
        blame=torch.tensor(blame),
        reward=torch.tensor([p.reward for p in places]),
        label_weight=torch.tensor([p.label_weight for p in places]),
        advantage=torch.tensor([p.advantage for p in places]),
        show_weight=torch.tensor([p.show_weight for p in places]),
        temperature=torch.tensor([p.temperature for p in places]),
        hindsight=torch.tensor([p.hindsight for p in places]),
        rehearsed=torch.tensor([p.rehearsed for p in places]),
        drift=torch.tensor(drift),
    )


def size(places: Sequence[Place]) -> int:
    """Scored positions."""
    return sum(len(p.draw) + len(p.written) for p in places)


def flat(places: Sequence[Place]) -> Tensor:
    """Logits of a policy that knows nothing: [P, V]."""
    return torch.zeros(size(places), VOCABULARY, requires_grad=True)


def gradient(objective: Objective, made: LossInputs, coefficients: Coefficients = NO_ANCHORS) -> Tensor:
    """Of the loss, by the logits: [P, V]. Descent goes the other way."""
    made.logits.grad = None
    objective(made, coefficients).loss.backward()  # type: ignore[no-untyped-call]
    assert made.logits.grad is not None
    return made.logits.grad.clone()


def take(made: LossInputs, samples: Sequence[int]) -> LossInputs:
    """These samples alone, in this order."""
    rows = torch.cat([torch.nonzero(made.sample == number)[:, 0] for number in samples])
    numbers = {old: new for new, old in enumerate(samples)}
    changed: dict[str, Tensor] = {}
    for entry in fields(made):
        value: Tensor = getattr(made, entry.name)
        if value.ndim and entry.name in (
            "reward",
            "label_weight",
            "advantage",
            "show_weight",
            "temperature",
            "hindsight",
            "rehearsed",
        ):
            changed[entry.name] = value[list(samples)]
        elif value.ndim:
            changed[entry.name] = value[rows]
    changed["sample"] = torch.tensor([numbers[int(old)] for old in made.sample[rows]])
    if made.serving is made.base:
        changed["serving"] = changed["base"]
    return replace(made, **changed)
