"""`tacit bench serve`: the same vLLM asked straight and through Tacit, in turns, by as many streams; one adapter beside several.

The straight requests go to the very vLLM that the server has started, by its socket, with the tokens and seeds of Tacit's: they
draw the same and are ended at the same token. Salts keep the two from using each other's prefix cache. Works in a folder of its
own.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tacit.bench.engines import engine_settings, ready, vllm_socket
from tacit.bench.report import Goal, Report, percentile, spread
from tacit.bench.swap import publish_random
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.errors import TacitError
from tacit.protocol.events import new_id
from tacit.protocol.fim import QWEN, REPOSITORY, header, prompt_tokens, snippet_text
from tacit.protocol.home import Home
from tacit.server.engine.base_folder import FolderTokenizer
from tacit.server.engine.interface import Drawn, Sampling
from tacit.server.engine.vllm import BASE
from tacit.server.engine.vllm_client import VllmClient

MAX_TOKENS = 24
TEMPERATURE = 0.3
PROJECTS = ("bench-one", "bench-two")

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Load:
    """What one way has been asked, and how it answered."""

    ms: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    """ms of each answer in which vLLM was not waited for: neither to its first token nor from there to its last."""
    tokens: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        """Tokens a second."""
        return self.tokens / self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True)
class _Asked:
    context: Context
    seed: int
    drawn: int
    """Tokens."""


def run(rounds: int, streams: int, each: int, seed: int, model: str, progress: Progress) -> Report:
    """rounds: of both ways each. each: requests of one stream in a round."""
    with tempfile.TemporaryDirectory(prefix="tacit-", dir="/tmp") as folder:
        home = Home(Path(folder).resolve() / "home")
        return asyncio.run(_run(home, rounds, streams, each, seed, model, progress))


async def _run(home: Home, rounds: int, streams: int, each: int, seed: int, model: str, progress: Progress) -> Report:
    settings = {
        **engine_settings("vllm", home),
        "model": model,
        "streams": str(streams),
        "max_tokens": str(MAX_TOKENS),
        "context_tokens": "1024",
    }
    server = ServerProcess(home, settings)
    ways = {name: Load() for name in ("straight", "tacit", "one", "mixed")}
    failures: list[str] = []
    try:
        await server.start(engine=False)
        await ready(server)
        status = await server.client.status()
        tokenizer = FolderTokenizer(home.base_folder(status.model_sha256))
        for number, project in enumerate(PROJECTS):
            progress("adapters", number, len(PROJECTS))
            await publish_random(server, status.model_path, status.model_sha256, seed + number, project)
        straight = VllmClient("http://vllm", vllm_socket(home), ranks=True)
        asking = _Asking(server, straight, tokenizer, streams, each, failures)
        try:
            # What is compiled or read at the first request is nobody's.
            await asking.through_tacit(Load(), -1, (None,))
            for number in range(rounds):
                progress("rounds", number, rounds)
                asked = await asking.through_tacit(ways["tacit"], number, (None,))
                await asking.straight(ways["straight"], asked)
                await asking.through_tacit(ways["one"], number, PROJECTS[:1])
                await asking.through_tacit(ways["mixed"], number, PROJECTS)
        finally:
            await straight.close()
    finally:
        await server.stop()
    return _report(ways, failures, status.model, rounds, streams)


class _Asking:
    def __init__(
        self,
        server: ServerProcess,
        straight: VllmClient,
        tokenizer: FolderTokenizer,
        streams: int,
        each: int,
        failures: list[str],
    ) -> None:
        self._server = server
        self._straight = straight
        self._tokenizer = tokenizer
        self._texts = tokenizer.texts()
        self._streams = streams
        self._each = each
        self._failures = failures

    async def through_tacit(self, load: Load, number: int, projects: Sequence[str | None]) -> list[list[_Asked]]:
        """A round; returns what each stream asked."""

        async def talk(stream: int) -> list[_Asked]:
            asked = []
            for count in range(self._each):
                context, seed = _context(number, stream, count), 1 + count
                request = CompleteRequest(
                    request_id=new_id(), session_id=f"bench-{stream}", project=projects[stream % len(projects)], context=context,
                    deadline_ms=120_000, seed=seed, max_tokens=MAX_TOKENS, temperature=TEMPERATURE,
                )  # fmt: skip
                began = time.perf_counter()
                try:
                    answer = await self._server.client.complete(request)
                except TacitError as error:
                    self._failures.append(str(error))
                    continue
                load.ms.append((time.perf_counter() - began) * 1000)
                load.added.append(load.ms[-1] - answer.timings.prompt_ms - answer.timings.generate_ms)
                load.tokens += len(answer.generation.tokens)
                asked.append(_Asked(context, seed, len(answer.generation.tokens)))
            return asked

        began = time.perf_counter()
        found = await asyncio.gather(*(talk(stream) for stream in range(self._streams)))
        load.seconds += time.perf_counter() - began
        return list(found)

    async def straight(self, load: Load, asked: Sequence[Sequence[_Asked]]) -> None:
        """The same round without Tacit."""

        async def talk(stream: int, questions: Sequence[_Asked]) -> None:
            for one in questions:
                began = time.perf_counter()
                try:
                    count = await self._draw(one, f"straight-{stream}")
                except TacitError as error:
                    self._failures.append(f"straight: {error}")
                    continue
                load.ms.append((time.perf_counter() - began) * 1000)
                load.tokens += count

        began = time.perf_counter()
        await asyncio.gather(*(talk(stream, questions) for stream, questions in enumerate(asked)))
        load.seconds += time.perf_counter() - began

    async def _draw(self, one: _Asked, salt: str) -> int:
        texts = [
            header(one.context),
            one.context.prefix,
            one.context.suffix,
            REPOSITORY,
            *map(snippet_text, one.context.snippets),
        ]
        tokens_of = {text: self._tokenizer.encode(text) for text in texts}
        prompt = prompt_tokens(QWEN, one.context, tokens_of.__getitem__)
        sampling = Sampling(MAX_TOKENS, TEMPERATURE, one.seed, salt=salt)
        count = 0
        async with contextlib.aclosing(self._straight.draw(BASE, prompt, sampling, QWEN.stops, self._texts)) as items:
            async for item in items:
                count += isinstance(item, Drawn)
                if count == one.drawn:
                    break
        return count


def _context(number: int, stream: int, count: int) -> Context:
    return Context(
        path=f"stream{stream}.py",
        language="python",
        prefix=f"def total_{number + 1}_{stream}_{count}(items):\n    result = 0\n    for item in items:\n        ",
        suffix="\n    return result\n",
    )


def _report(ways: dict[str, Load], failures: list[str], model: str, rounds: int, streams: int) -> Report:
    names = {
        "straight": "vLLM asked straight",
        "tacit": "through Tacit, the base",
        "one": "through Tacit, one adapter",
        "mixed": "through Tacit, two adapters in one batch",
    }
    rows = [
        {**spread(f"{names[name]}, {streams} streams", load.ms, "ms"), "tokens a second": load.rate and round(load.rate, 1)}
        for name, load in ways.items()
    ]
    rows.append(spread("added by Tacit: what of an answer was no waiting for vLLM", ways["tacit"].added, "ms"))
    rates = {name: load.rate for name, load in ways.items()}
    p95 = {name: percentile(load.ms, 95) for name, load in ways.items()}
    lost = 1 - rates["tacit"] / rates["straight"] if rates["tacit"] and rates["straight"] else None
    apart = f"{p95['tacit'] - p95['straight']:+.0f}" if p95["tacit"] is not None and p95["straight"] is not None else "?"
    goals = [
        Goal("share of vLLM's tokens a second that Tacit costs", lost, 0.03),
        Goal("added by Tacit, p95, ms", percentile(ways["tacit"].added, 95), 10),
        Goal("requests failed", float(len(failures)), 0),
    ]
    mixed = f"{rates['mixed'] / rates['one']:.2f}" if rates["mixed"] and rates["one"] else "not measured"
    remarks = [
        f"{rounds} rounds, in turns; the straight requests draw the same tokens and end where Tacit's did.",
        f"The 95th percentiles of the two ways are {apart} ms apart, which holds how far the same computation varies; the goal "
        "goes by what was added to each answer, and what Tacit takes from vLLM's own speed shows in the tokens a second.",
        f"Two adapters in one batch against one adapter, tokens a second: {mixed}.",
        *(f"A request failed: {failure}" for failure in failures[:3]),
    ]
    return Report("serve", model, rows, goals, remarks)
