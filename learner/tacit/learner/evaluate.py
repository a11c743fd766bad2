"""What a policy says about given texts, and what it writes itself. Touches the policy's tensors, changes nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from tacit.learner.objective import token_kl
from tacit.learner.policy import CANDIDATE, Policy, Tree, pack
from tacit.protocol.fim import QWEN, FimTokens

EXACT_PARAMETERS = 2_000_000_000
"""Up to this size the checks compute in fp32; beyond it the memory is not there, and bf16 is within the bound as well."""


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt and what follows it."""

    prompt: Sequence[int]
    tokens: Sequence[int]
    temperature: float = 1.0


@contextmanager
def exactly(policy: Policy) -> Iterator[None]:
    """Within: fp32, where there is memory for it."""
    if policy.size > EXACT_PARAMETERS:
        yield
        return
    with policy.exact():
        yield


def log_probabilities(
    policy: Policy, version: str, texts: Sequence[Text], tick: Callable[[int], None] = lambda done: None
) -> list[list[float]]:
    """log π of each token of each text, nats, at that text's temperature. Texts of one prompt, side by side, share its cost."""
    result: list[list[float]] = []
    with torch.inference_mode(), policy.acting(version):
        for prompt, group in groupby(texts, key=lambda text: tuple(text.prompt)):
            tick(len(result))
            branches = list(group)
            packed = pack([Tree(prompt, [text.tokens for text in branches])])
            sizes = [len(text.tokens) for text in branches]
            temperatures = torch.tensor([text.temperature for text in branches]).repeat_interleave(torch.tensor(sizes))
            logits = policy.logits(policy.hidden(packed))
            logits = logits / temperatures[:, None].to(logits)
            chosen = logits.log_softmax(-1).gather(1, packed.targets[:, None].to(logits.device))[:, 0]
            result += [part.tolist() for part in torch.split(chosen, sizes)]
    return result


def drift(
    policy: Policy, reference: str, version: str, texts: Sequence[Text], tick: Callable[[int], None] = lambda done: None
) -> list[tuple[float, ...]]:
    """KL(reference‖version) at each token of each text, nats, over the full vocabulary at temperature 1."""
    result: list[tuple[float, ...]] = []
    with torch.inference_mode():
        for count, text in enumerate(texts):
            tick(count)
            packed = pack([Tree(text.prompt, [text.tokens])])
            with policy.acting(reference):
                fixed = policy.logits(policy.hidden(packed))
            with policy.acting(version):
                moved = policy.logits(policy.hidden(packed)).log_softmax(-1)
            result.append(tuple(token_kl(fixed, moved).tolist()))
    return result


def greedy(
    policy: Policy,
    version: str,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    decode: Callable[[Sequence[int]], str],
    batch: int = 8,
    tick: Callable[[int], None] = lambda done: None,
    fim: FimTokens = QWEN,
) -> list[str]:
    """The most likely continuation of each prompt, up to an end token."""
    # Prompts of like length share a batch: padding is computed too.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    texts = [""] * len(prompts)
    with torch.inference_mode(), policy.acting(version), _packed_head(policy.generator()):
        for start in range(0, len(order), batch):
            tick(start)
            chosen = order[start : start + batch]
            drawn = _generate(
                policy, [prompts[i] for i in chosen], max_tokens, fim, do_sample=False, temperature=None, top_p=None
            )
            for i, tokens in zip(chosen, drawn, strict=True):
                texts[i] = decode([token for token in tokens if token not in fim.stops])
    return texts


def sampled(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    max_tokens: Sequence[int],
    count: int,
    temperature: float,
    seed: int,
    tick: Callable[[int], None] = lambda done: None,
    batch: int = 2,
    fim: FimTokens = QWEN,
) -> list[list[list[int]]]:
    """`count` draws of the candidate for each prompt, as token ids, the end token included where one was drawn, from the whole
    distribution.

    max_tokens: of each prompt's draws. batch: prompts at a time.
    """
    result: list[list[list[int]]] = []
    torch.manual_seed(seed)
    with torch.inference_mode(), policy.acting(CANDIDATE), _packed_head(policy.generator()):
        for start in range(0, len(prompts), batch):
            tick(start)
            some, limits = prompts[start : start + batch], max_tokens[start : start + batch]
            drawn = _generate(
                policy, some, max(limits), fim, do_sample=True, temperature=temperature, top_p=1.0, num_return_sequences=count
            )
            result += [[tokens[:limit] for tokens in drawn[row * count : (row + 1) * count]] for row, limit in enumerate(limits)]
    return result


def _generate(policy: Policy, prompts: Sequence[Sequence[int]], max_tokens: int, fim: FimTokens, **how: Any) -> list[list[int]]:
    """What the acting policy writes after each prompt, up to an end token and with it. how: `generate`'s, how to choose."""
    stops = sorted(fim.stops)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), stops[0])
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, width - len(prompt) :] = 1
    drawn = (
        policy.generator()
        .generate(
            input_ids=ids.to(policy.device),
            attention_mask=mask.to(policy.device),
            max_new_tokens=max_tokens,
            top_k=0 if how["do_sample"] else None,
            repetition_penalty=1.0,
            eos_token_id=stops,
            pad_token_id=stops[0],
            **how,
        )[:, width:]
        .tolist()
    )
    return [row[: next((k + 1 for k, token in enumerate(row) if token in fim.stops), max_tokens)] for row in drawn]


@contextmanager
def _packed_head(model: Any) -> Iterator[None]:
    """Within: the output layer gets its input packed. Of a whole prompt's states `generate` takes the last ones as a view, and
    for a view torch copies the output layer once a row (its matmul becomes bmm): 20 s of one core for eight prompts of the
    0.5B."""

    def packed(_: torch.nn.Module, states: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (states[0].contiguous(), *states[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(packed)
    try:
        yield
    finally:
        hook.remove()
