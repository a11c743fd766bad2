"""One draw from the engine, token by token, until it ends, is enough, or the time is up. Touches the engine."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from tacit.protocol.completion import BASE_POLICY
from tacit.server.debugging.drawings import Drawing, Work
from tacit.server.engine.interface import DrawStats, Engine


async def drawn(
    engine: Engine,
    work: Work,
    drawing: Drawing,
    left: Callable[[], float],
    enough: Callable[[str], bool] | None = None,
) -> AsyncGenerator[str, None]:
    """The text's pieces; `drawing` has them in the end. left: seconds. enough: of what was said so far, asked at line ends."""
    adapter = None if work.policy == BASE_POLICY else work.policy
    async with contextlib.aclosing(engine.generate(drawing.prompt, drawing.sampling, adapter)) as items:
        while True:
            try:
                async with asyncio.timeout(max(0.0, left())):
                    item = await anext(items)
            except StopAsyncIteration:
                break
            except TimeoutError:
                drawing.finish = "deadline"
                return
            if isinstance(item, DrawStats):
                drawing.stats = item
                if item.ended:
                    drawing.finish = "eos"
                continue
            work.begun()
            drawing.tokens.append(item.token)
            drawing.logprobs.append(item.logprob)
            drawing.text += item.text
            drawing.ends.append(len(drawing.text))
            yield item.text
            if enough is not None and "\n" in item.text and enough(drawing.text):
                drawing.finish = "stop_rule"
                return
