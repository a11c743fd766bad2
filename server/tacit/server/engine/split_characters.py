"""Tokens that end within a character: which they were, and how likely. Pure.

llama.cpp keeps such a token back until the character is whole and then tells only the last one's id and probability. The bytes
tell the ids of the others; their probabilities are asked for afterwards, from the distribution at their place.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

ENOUGH = 1000
"""Most likely tokens that decide the sum over all of them, up to temperature 1."""


@dataclass(frozen=True)
class Vocabulary:
    texts: Sequence[bytes]
    """The bytes that each token id stands for; empty for special tokens."""

    @cached_property
    def ids(self) -> dict[bytes, int]:
        return {data: token for token, data in enumerate(self.texts) if data}


def spellings(data: bytes, count: int, ids: Mapping[bytes, int]) -> Iterator[tuple[int, ...]]:
    """Every way to write `data` with `count` tokens."""
    if count == 1:
        if data in ids:
            yield (ids[data],)
        return
    for length in range(1, len(data) - count + 2):
        if data[:length] in ids:
            for rest in spellings(data[length:], count - 1, ids):
                yield (ids[data[:length]], *rest)


def at_temperature(logprobs: Mapping[int, float], token: int, temperature: float) -> float:
    """log μ of `token` at a temperature, from log-probabilities at temperature 1. Temperature 0 stands for 1, as in Sampling."""
    scale = temperature or 1.0
    highest = max(logprobs.values())
    total = math.fsum(math.exp((value - highest) / scale) for value in logprobs.values())
    return (logprobs[token] - highest) / scale - math.log(total)
