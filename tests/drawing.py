"""Drawing from an engine, whichever it is."""

import contextlib
from collections.abc import Sequence

from tacit.server.engine.interface import Drawn, DrawStats, Engine, Sampling

PROMPT = list(range(1000, 1200))


async def draw(
    engine: Engine, prompt: Sequence[int], sampling: Sampling, adapter: str | None = None
) -> tuple[list[Drawn], DrawStats]:
    """All of one stream, and what it cost."""
    drawn = []
    async with contextlib.aclosing(engine.generate(prompt, sampling, adapter)) as items:
        async for item in items:
            if isinstance(item, Drawn):
                drawn.append(item)
            else:
                stats = item
    return drawn, stats


async def greedy(engine: Engine, adapter: str | None = None, count: int = 6) -> list[tuple[int, float]]:
    """(token, log-probability) of the likeliest tokens after PROMPT."""
    drawn, _ = await draw(engine, PROMPT, Sampling(count, 0.0, 1), adapter)
    return [(item.token, item.logprob) for item in drawn]


def same(first: list[tuple[int, float]], second: list[tuple[int, float]]) -> bool:
    """The same tokens at the same log-probabilities, but for the order of additions."""
    return [token for token, _ in first] == [token for token, _ in second] and all(
        abs(one - other) < 0.05 for (_, one), (_, other) in zip(first, second, strict=True)
    )
