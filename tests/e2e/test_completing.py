"""The completion service on real engines: the record of a draw, deadlines, cancelling, long files, and twelve real holes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fim_cases import CASES, judge
from hypothesis import given
from hypothesis import strategies as st
from random_adapter import write_random_adapter

from tacit.protocol.completion import PROMPT_FORMAT, CompleteRequest, Context, Snippet
from tacit.protocol.errors import NotFound
from tacit.protocol.home import Home
from tacit.server.completing import WINDOW_STEP, CompletionService, fitting, window
from tacit.server.engine.embedded import EmbeddedEngine
from tacit.server.settings import Settings

SHA = "0" * 64
TINY = Settings(threads=2, streams=2, context_tokens=2048, max_tokens=24, temperature=0.8)


@contextlib.asynccontextmanager
async def _service(model: Path, home: Home, settings: Settings) -> AsyncIterator[tuple[CompletionService, EmbeddedEngine]]:
    engine = EmbeddedEngine(model, SHA, home, settings)
    await engine.start()
    try:
        yield CompletionService(engine, settings), engine
    finally:
        await engine.stop()


def _request(prefix: str, suffix: str = "", **options: object) -> CompleteRequest:
    context = Context(path="a.py", language="python", prefix=prefix, suffix=suffix)
    return CompleteRequest.model_validate({"request_id": "r", "session_id": "s", "context": context, **options})


async def test_eight_of_twelve_holes_are_filled_with_code_that_runs(small_model: Path, home: Home) -> None:
    async with _service(small_model, home, Settings()) as (service, engine):
        passed, cut_away = [], 0
        for case in CASES:
            context = Context(path=case.path, language="python", prefix=case.prefix, suffix=case.suffix)
            request = CompleteRequest(request_id="r", session_id="s", context=context, seed=3, deadline_ms=120_000)
            answer = await service.complete(request, "base", SHA)
            record = answer.generation
            # Every token that was sampled is recorded with its probability, those that the rules cut away as well.
            assert len(record.tokens) == len(record.logprobs) == answer.timings.generated > 0
            assert all(logprob <= 0 for logprob in record.logprobs)
            cut_away += len(record.tokens) - len(await engine.tokenize(answer.text))
            passed.append(judge(case, answer.text))
        assert sum(passed) >= 8, [case.name for case, good in zip(CASES, passed, strict=True) if not good]
        assert cut_away > 0


async def test_an_answer_names_its_policy(tiny_model: Path, home: Home, tmp_path: Path) -> None:
    async with _service(tiny_model, home, TINY) as (service, engine):
        await engine.load("demo@000001", write_random_adapter(tmp_path / "a", tiny_model, 1))
        texts = {}
        for policy in ("base", "demo@000001"):
            answer = await service.complete(_request("def f(x):\n    return ", seed=1), policy, SHA)
            assert (answer.generation.policy_version, answer.generation.model) == (policy, SHA)
            assert answer.generation.prompt_format == PROMPT_FORMAT
            texts[policy] = answer.generation.tokens
        assert texts["base"] != texts["demo@000001"]
        with pytest.raises(NotFound):
            await service.complete(_request("x"), "demo@000002", SHA)


async def test_sampling_is_the_requests_or_the_settings(tiny_model: Path, home: Home) -> None:
    async with _service(tiny_model, home, TINY) as (service, _):
        default = [await service.complete(_request("x = "), "base", SHA) for _ in range(2)]
        assert default[0].generation.seed != default[1].generation.seed
        assert default[0].generation.temperature == TINY.temperature
        own = await service.complete(_request("x = ", seed=9, temperature=0.4, max_tokens=3), "base", SHA)
        assert (own.generation.seed, own.generation.temperature, len(own.generation.tokens)) == (9, 0.4, 3)


async def test_at_the_deadline_what_there_is_is_the_answer(tiny_model: Path, home: Home) -> None:
    async with _service(tiny_model, home, TINY) as (service, engine):
        await service.complete(_request("x = "), "base", SHA)
        answer = await service.complete(_request("x = ", max_tokens=512, deadline_ms=400), "base", SHA)
        assert answer.generation.finish_reason == "deadline"
        assert 0 < len(answer.generation.tokens) < 512 and answer.text
        assert answer.timings.generated == len(answer.generation.tokens)
        # While the prompt is being read there is nothing yet; that is an answer too.
        blocked = [asyncio.ensure_future(_drain(engine)) for _ in range(TINY.streams)]
        await asyncio.sleep(0)
        empty = await service.complete(_request("y = ", deadline_ms=50), "base", SHA)
        assert (empty.text, empty.generation.tokens, empty.generation.finish_reason) == ("", (), "deadline")
        for task in blocked:
            task.cancel()
        await asyncio.gather(*blocked, return_exceptions=True)


async def _drain(engine: EmbeddedEngine) -> None:
    from tacit.server.engine.interface import Sampling

    async with contextlib.aclosing(engine.generate([1000], Sampling(1000, 1.0, 1), None)) as items:
        async for _ in items:
            pass


async def test_a_cancelled_request_leaves_its_stream_to_others(tiny_model: Path, home: Home) -> None:
    """More cancelled requests than streams, each of which would take far longer than the deadline of the last."""
    async with _service(tiny_model, home, TINY) as (service, _):
        for number in range(2 * TINY.streams):
            task = asyncio.ensure_future(service.complete(_request(f"x{number} = ", max_tokens=512), "base", SHA))
            done, _ = await asyncio.wait([task], timeout=0.1)
            assert not done
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        answer = await service.complete(_request("y = ", max_tokens=4), "base", SHA)
        assert len(answer.generation.tokens) == 4


async def test_a_file_beyond_the_context_is_cut_where_the_cache_survives(tiny_model: Path, home: Home) -> None:
    async with _service(tiny_model, home, TINY) as (service, _):
        lines = [f"value_{number} = {number}" for number in range(400)]
        text, suffix = "\n".join(lines), "\nprint(value_1)\n"
        first = await service.complete(_request(text, suffix), "base", SHA)
        assert first.timings.prompt_tokens + TINY.max_tokens <= TINY.context_tokens
        grown = await service.complete(_request(f"{text}\nother = ", suffix), "base", SHA)
        assert grown.timings.prompt_tokens + TINY.max_tokens <= TINY.context_tokens
        assert grown.timings.prompt_evaluated <= 32


def test_the_window_moves_in_steps() -> None:
    suffix = list(range(100))
    starts = {window(list(range(length)), suffix, 1500)[0][0] for length in range(2000, 2200)}
    assert len(starts) <= 2 and all(start % 375 == 0 for start in starts)
    for length in range(0, 6000, 37):
        left, right = window(list(range(length)), list(range(length // 2)), 3000)
        assert len(left) + len(right) <= 3000
        assert list(left) == list(range(length - len(left), length))
        assert length > 3000 or len(left) == length or len(left) >= 3000 * 0.75 - WINDOW_STEP


async def test_with_places_of_the_workspace_a_keystroke_still_reads_a_few_tokens(tiny_model: Path, home: Home) -> None:
    """What is asked next shares everything up to the prefix's last line with what was asked before."""
    async with _service(tiny_model, home, TINY) as (service, _):
        shown = tuple(Snippet(path=f"{n}.py", text=f"def f{n}(a, b): ...", kind="definition") for n in range(6))
        text = "\n".join(f"value_{number} = {number}" for number in range(40)) + "\nx"
        evaluated = []
        for typed in ("", " ", " =", " = v", " = va"):
            request = _request(text + typed, "\n")
            context = request.context.model_copy(update={"snippets": shown})
            answer = await service.complete(request.model_copy(update={"context": context}), "base", SHA)
            assert answer.snippets == len(shown)
            evaluated.append(answer.timings.prompt_evaluated)
        size = await service.size(context)
        assert (size.kept, size.total) == (len(shown), answer.timings.prompt_tokens)
        assert evaluated[0] == pytest.approx(size.total, abs=20) and max(evaluated[1:]) <= 32


async def test_places_of_the_workspace_give_way_to_the_file(tiny_model: Path, home: Home) -> None:
    async with _service(tiny_model, home, TINY) as (service, _):
        shown = tuple(Snippet(path=f"{n}.py", text="word " * 200, kind="viewed") for n in range(12))
        long = _request("\n".join(f"value_{number} = {number}" for number in range(400)))
        context = long.context.model_copy(update={"snippets": shown})
        answer = await service.complete(long.model_copy(update={"context": context}), "base", SHA)
        assert 0 < answer.snippets < len(shown)
        assert answer.timings.prompt_tokens + TINY.max_tokens <= TINY.context_tokens
        assert (await service.size(context)).kept == answer.snippets


@given(st.lists(st.integers(1, 400), max_size=12), st.integers(0, 4000), st.integers(0, 1000), st.integers(0, 4000))
def test_places_are_dropped_whole_and_from_the_last_on(sizes: list[int], prefix: int, suffix: int, room: int) -> None:
    kept = fitting(sizes, 3, prefix, suffix, room)
    cost = sum(sizes[:kept]) + 3 if kept else 0
    left, right = window(range(prefix), range(suffix), room - cost)
    assert cost + len(left) + len(right) <= max(room, 0)
    if kept:
        # Half of the room is the prefix's own, but for the step in which its window moves.
        assert len(left) >= min(prefix, room // 2) - max(1, room // 4)
    else:
        assert (left, right) == window(range(prefix), range(suffix), room)
