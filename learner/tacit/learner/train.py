"""A night's training: samples in, the candidate's LoRA matrices changed. Touches the policy's tensors only.

Reads from top to bottom: references, batches, steps, the way back into the budget. One epoch by default; AdamW, short
warm-up, linear decay, gradient norm 1. What the base and the serving policy say at each scored position is kept as hidden
states (no adapter touches the output layer), so their full-vocabulary KL costs one forward pass a night.

KL(serving‖new) per sequence has a budget: of n logged draws e^(-2KL)·n are left to judge the new policy by. One nat leaves 13 %,
and the gate asks for 10. While training is over it, β grows; at the end the step from the parent's matrices is shortened until
the budget is met, as in a trust region. A sequence counts with at most ln 10 nats: importance weights are clipped at 10, what is
rarer costs no more.

With the same seed on the same machine a run takes the same steps. A killed one is gone on with (`checkpoint`): the references
are computed again, the steps that were taken are not, and the end is the same bit for bit. Several processes (`crew`) share
each batch and take the same steps, rounded otherwise.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import log
from threading import Event

import torch
from torch import Tensor

from tacit.learner.base import free_bytes
from tacit.learner.checkpoint import Checkpoints, Place, moments, restore
from tacit.learner.crew import ALONE, Crew
from tacit.learner.influence import capped
from tacit.learner.loss import Coefficients, LossInputs, token_kl
from tacit.learner.objective import OBJECTIVES, READS_WRITTEN, useful
from tacit.learner.policy import CANDIDATE, Policy, Tree, pack
from tacit.learner.samples import Sample
from tacit.protocol.completion import BASE_POLICY

MAX_SHOW_WEIGHT = 10.0
WARM_UP_STEPS = 4
RUNAWAY = 7.0
"""Times the budget at which training stops: shortened to the budget, nothing of such a step would be left."""
KL_SEQUENCES = 24
"""How many draws the budget is measured on."""
KL_CAP = log(10)
KL_TRIALS = 8
ROOM = 0.6
"""Share of the free memory that activations may take before they are computed twice instead."""


class Stopped(Exception):
    """The run was asked to end."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    learning_rate: float = 3e-4
    batch: int = 8
    """Samples per step."""
    epochs: int = 1
    warm_up: float = 0.1
    """Share of the steps."""
    grad_norm: float = 1.0
    kl_budget: float = 1.0
    """Nats per sequence, KL(serving‖new) on the states of the logged draws."""
    pack_tokens: int = 0
    """Tokens of one forward pass; 0: by device."""
    recompute: bool | None = None
    """Compute activations twice rather than keep them; None: where they would not fit."""
    seed: int = 0
    coefficients: Coefficients = field(default_factory=Coefficients)


@dataclass(frozen=True, slots=True)
class TrainResult:
    steps: int
    samples: int
    tokens: int
    """Read forward and backward, all epochs."""
    stopped_early: bool
    """It had run away far beyond the KL budget before the samples were used up."""
    share: float
    """How much of the step from the parent's matrices was kept to stay within the budget; 1: all of it."""
    kl_serving: float
    """Nats per sequence, each counted with at most ln 10, of the candidate as it is now."""
    curve: tuple[dict[str, float], ...]
    """Metrics of each step, per sample."""
    continued_at: int = 0
    """Steps that a run before this one had taken when it was interrupted."""


@dataclass(frozen=True, slots=True)
class _Item:
    sample: Sample
    advantage: float
    exposure: float
    """e: what showing it to few counts for, as far as `influence` lets it."""
    tree: Tree
    base: Tensor
    serving: Tensor


def train(
    policy: Policy,
    samples: Sequence[Sample],
    advantages: Sequence[float],
    serving: str,
    settings: TrainSettings,
    objective: str = "topr",
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    stop: Event | None = None,
    checkpoints: Checkpoints | None = None,
    crew: Crew = ALONE,
    told: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
) -> TrainResult:
    """Train the candidate. serving: policy_version that serves now. Stopped if `stop` is set meanwhile: the steps that were taken
    are kept then.

    advantages: one per sample (baseline.advantages). checkpoints: where an interrupted run is found and this one is kept. crew:
    who trains with this process, given the same. told: the metrics of each step that has been taken, before an interruption too.
    """
    halt = stop or Event()
    torch.manual_seed(settings.seed)
    budget = settings.pack_tokens or (640 if policy.device.type == "cpu" else 8192)
    exposures = exposure(samples)
    chosen = [(s, a, e) for s, a, e in zip(samples, advantages, exposures, strict=True) if useful(s, a, objective)]

    # What the fixed policies say at the scored positions, as hidden states.
    reads = objective in READS_WRITTEN
    trees = [
        Tree(s.prompt, [s.tokens, s.written_tokens if s.rehearsed or (reads and s.hindsight > 0) else ()]) for s, _, _ in chosen
    ]
    states: dict[int, tuple[Tensor, Tensor]] = {}
    mine = crew.mine(range(len(trees)))
    for count, number in enumerate(mine):
        _check(halt)
        progress("references", count, len(mine))
        packed = pack([trees[number]])
        with torch.inference_mode():
            with policy.acting(BASE_POLICY):
                base = policy.hidden(packed)
            live = base
            if serving != BASE_POLICY:
                with policy.acting(serving):
                    live = policy.hidden(packed)
        states[number] = base, live
    if crew.size > 1:
        states = _everyones(states, crew, policy.device)
    items = [_Item(*chosen[number], trees[number], *states[number]) for number in range(len(trees))]

    order = random.Random(settings.seed)
    batches: list[list[_Item]] = []
    for _ in range(settings.epochs):
        order.shuffle(items)
        batches += [items[i : i + settings.batch] for i in range(0, len(items), settings.batch)]

    parameters = policy.trainable()
    start = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0, betas=(0.9, 0.99))
    # Adam's first steps are of full size whatever the gradient: a short night needs a few small ones too.
    warm_up = max(1, round(settings.warm_up * len(batches)), min(WARM_UP_STEPS, len(batches) // 2))
    coefficients = settings.coefficients
    running_kl, tokens, stopped_early = 0.0, 0, False
    curve: list[dict[str, float]] = []
    if (place := crew.gather(checkpoints.load() if checkpoints and crew.first else None)[0]) is not None:
        restore(optimizer, parameters, place)
        coefficients = replace(coefficients, kl_serving=place.beta)
        running_kl, tokens, stopped_early = place.running_kl, place.tokens, place.stopped_early
        curve = list(place.curve)
    continued_at = len(curve)
    for step, metrics in enumerate(curve):
        told(step, metrics)

    longest = max((sum(map(_length, part)) for batch in batches for part in _parts(batch, budget)), default=0)
    room = free_bytes(policy.device)
    tight = room is not None and policy.activation_bytes(longest) > ROOM * room
    recompute = tight if settings.recompute is None else settings.recompute
    kept = continued_at

    def here() -> Place:
        """After the last step that was taken whole."""
        first, second = moments(optimizer, parameters)
        beta = coefficients.kl_serving
        return Place(len(curve), tokens, running_kl, beta, stopped_early, tuple(curve), tuple(parameters), first, second)

    with policy.acting(CANDIDATE), policy.recomputing(recompute):
        try:
            for step, batch in enumerate(batches):
                if step < continued_at or stopped_early:
                    continue
                progress("training", step, len(batches))
                rate = settings.learning_rate * min(
                    (step + 1) / warm_up, (len(batches) - step) / max(1, len(batches) - warm_up + 1)
                )
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.zero_grad(set_to_none=True)
                sums: dict[str, float] = {}
                read = 0
                for part in _parts(crew.mine(sorted(batch, key=_length)), budget):
                    _check(halt)
                    packed = pack([item.tree for item in part])
                    logits = policy.logits(policy.hidden(packed))  # [P, V]
                    out = OBJECTIVES[objective](_inputs(policy, part, logits, running_kl), coefficients)
                    (out.loss / len(batch)).backward()  # type: ignore[no-untyped-call]
                    read += len(packed.ids)
                    for name, value in {**out.metrics, "loss": float(out.loss.detach())}.items():
                        sums[name] = sums.get(name, 0.0) + value
                everyones = crew.gather((sums, read))
                sums = {name: sum(one.get(name, 0.0) for one, _ in everyones) for name in everyones[0][0]}
                tokens += sum(count for _, count in everyones)
                crew.add_gradients(parameters)
                norm = torch.nn.utils.clip_grad_norm_(parameters, settings.grad_norm)
                optimizer.step()

                draws = sums.pop("draws")
                sequence_kl = sums["kl_serving"] / draws if draws else 0.0
                # The first steps see the parent itself: a mean that forgets in about five steps is what the policy is now.
                running_kl = sequence_kl if step == 0 else 0.8 * running_kl + 0.2 * sequence_kl
                metrics = {name: value / len(batch) for name, value in sums.items() if name != "ratio"}
                metrics |= {
                    "ratio": sums["ratio"] / draws if draws else 1.0,
                    "sequence_kl": sequence_kl,
                    "grad_norm": float(norm),
                    "learning_rate": rate,
                    "beta": coefficients.kl_serving,
                }
                curve.append(metrics)
                told(step, metrics)
                coefficients = next_coefficients(coefficients, settings.coefficients, running_kl, settings.kl_budget)
                stopped_early = running_kl > RUNAWAY * settings.kl_budget
                last = stopped_early or step == len(batches) - 1
                if checkpoints and crew.first and (last or checkpoints.due()):
                    checkpoints.save(here())
                    kept = step + 1
        except Stopped:
            if checkpoints and crew.first and len(curve) > kept:
                checkpoints.save(here())
            raise
        progress("training", len(curve), len(batches))
        share, kl = _shorten(policy, items, start, settings.kl_budget, budget, progress, halt, crew) if curve else (1.0, 0.0)
    return TrainResult(len(curve), len(items), tokens, stopped_early, share, kl, tuple(curve), continued_at)


def _shorten(
    policy: Policy,
    items: Sequence[_Item],
    start: Sequence[Tensor],
    kl_budget: float,
    pack_budget: int,
    progress: Callable[[str, int, int], None],
    halt: Event,
    crew: Crew,
) -> tuple[float, float]:
    """Go back towards `start` until KL(serving‖new) is within the budget. Returns (share of the step that is left, KL)."""
    parameters = policy.trainable()
    end = [p.detach().clone() for p in parameters]
    ordered = sorted(items, key=lambda item: item.sample.at)
    # After a change of the base no draw is of this one: what was written is what the budget can be measured on.
    measured = [item for item in ordered if item.sample.tokens] or [item for item in ordered if item.tree.branches[1]]
    measured = measured[:: max(1, len(measured) // KL_SEQUENCES)][:KL_SEQUENCES]
    if not measured:
        return 1.0, 0.0
    best, best_kl = 0.0, 0.0
    share, too_far = 1.0, float("inf")
    for trial in range(KL_TRIALS):
        progress("measuring the step", trial, KL_TRIALS)
        _move(parameters, start, end, share)
        kl = sum(crew.gather(_sequence_kl(policy, crew.mine(measured), pack_budget, halt))) / len(measured)
        if kl <= kl_budget:
            best, best_kl = share, kl
            if share == 1.0 or kl >= 0.7 * kl_budget:
                break
        else:
            too_far = share
        # KL grows about with the square of the step, but far out it is capped: half at least, or the trials could end before the
        # budget is met, and a night's work would be lost. Between what was too far and what was not, the middle.
        share = (best + too_far) / 2 if best else share * max(0.2, min(0.5, (0.85 * kl_budget / kl) ** 0.5))
    _move(parameters, start, end, best)
    return best, best_kl


def _move(parameters: Sequence[Tensor], start: Sequence[Tensor], end: Sequence[Tensor], share: float) -> None:
    with torch.no_grad():
        for parameter, first, last in zip(parameters, start, end, strict=True):
            parameter.copy_(torch.lerp(first, last, share))


def _sequence_kl(policy: Policy, items: Sequence[_Item], pack_budget: int, halt: Event) -> float:
    """Sum of KL(serving‖candidate) over each draw's tokens, each draw at most KL_CAP; without one: the written text's."""
    total = 0.0
    with torch.inference_mode():
        for part in _parts(items, pack_budget):
            _check(halt)
            texts = [item.sample.tokens or item.tree.branches[1] for item in part]
            trees = [Tree(item.sample.prompt, [text]) for item, text in zip(part, texts, strict=True)]
            found = policy.logits(policy.hidden(pack(trees))).log_softmax(-1)  # [P, V]
            # The first branch of each tree that is not empty: the first rows of its reference.
            rows = torch.cat([item.serving[: len(text)] for item, text in zip(part, texts, strict=True)])
            each = token_kl(policy.logits(rows), found)
            for sequence in torch.split(each, [len(text) for text in texts]):
                total += min(float(sequence.sum()), KL_CAP)
    return total


def _everyones(states: dict[int, tuple[Tensor, Tensor]], crew: Crew, device: torch.device) -> dict[int, tuple[Tensor, Tensor]]:
    """References of all, by the sample's number. Where a sample's two are one tensor, they stay that."""
    sent = {number: (base.cpu(), None if live is base else live.cpu()) for number, (base, live) in states.items()}
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for theirs in crew.gather(sent):
        for number, (base, live) in theirs.items():
            here = base.to(device)
            found[number] = here, here if live is None else live.to(device)
    return found


def exposure(samples: Sequence[Sample]) -> list[float]:
    """e of each sample: min(1/P(show), 10), less where its label would weigh too much; with its label's weight, nothing outweighs
    four usual ones."""
    shown = [min(1 / s.p_show, MAX_SHOW_WEIGHT) for s in samples]
    weights = [e * s.reward.weight if s.reward.labelled else 0.0 for s, e in zip(samples, shown, strict=True)]
    bounded = capped(weights, [s.session for s in samples])
    return [e * may / was if was > 0 else e for e, may, was in zip(shown, bounded, weights, strict=True)]


def next_coefficients(now: Coefficients, initial: Coefficients, kl: float, budget: float) -> Coefficients:
    """β for the serving policy: half as much again while KL is over the budget, back towards its start when well under."""
    if kl > budget:
        return replace(now, kl_serving=now.kl_serving * 1.5)
    if kl < budget / 2:
        return replace(now, kl_serving=max(initial.kl_serving, now.kl_serving / 1.5))
    return now


def _parts(batch: Sequence[_Item], budget: int) -> list[list[_Item]]:
    """Split a batch into forward passes of at most `budget` tokens (one sample at least)."""
    parts: list[list[_Item]] = []
    size = 0
    for item in sorted(batch, key=_length):
        if not parts or size + item.tree.length > budget:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += item.tree.length
    return parts


def _length(item: _Item) -> int:
    return item.tree.length


def _inputs(policy: Policy, items: Sequence[_Item], logits: Tensor, drift: float) -> LossInputs:
    tokens: list[int] = []
    sample: list[int] = []
    drawn: list[bool] = []
    logged: list[float] = []
    kept: list[float] = []
    blame: list[float] = []
    for number, item in enumerate(items):
        draw, written = item.tree.branches
        tokens += [*draw, *written]
        sample += [number] * (len(draw) + len(written))
        drawn += [True] * len(draw) + [False] * len(written)
        logged += [*item.sample.logprobs, *[0.0] * len(written)]
        kept += [*item.sample.kept, *[0.0] * len(written)]
        blame += [*item.sample.blame, *[0.0] * len(written)]

    def floats(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=policy.device)

    with torch.no_grad():
        base = policy.logits(torch.cat([item.base for item in items]))
        same = all(item.serving is item.base for item in items)
        serving = base if same else policy.logits(torch.cat([item.serving for item in items]))
    return LossInputs(
        logits=logits,
        base=base,
        serving=serving,
        tokens=torch.tensor(tokens, device=policy.device),
        sample=torch.tensor(sample, device=policy.device),
        drawn=torch.tensor(drawn, dtype=torch.bool, device=policy.device),
        logged=floats(logged),
        kept=floats(kept),
        blame=floats(blame),
        reward=floats([item.sample.reward.value if item.sample.reward.labelled else 0.0 for item in items]),
        label_weight=floats([item.sample.reward.weight if item.sample.reward.labelled else 0.0 for item in items]),
        advantage=floats([item.advantage for item in items]),
        show_weight=floats([item.exposure for item in items]),
        temperature=floats([item.sample.temperature for item in items]),
        hindsight=floats([item.sample.hindsight for item in items]),
        rehearsed=torch.tensor([item.sample.rehearsed for item in items], dtype=torch.bool, device=policy.device),
        drift=torch.tensor(drift, dtype=torch.float32, device=policy.device),
    )


def _check(stop: Event) -> None:
    if stop.is_set():
        raise Stopped
