"""The embedded engine: real llama.cpp processes. The tiny model serves where only the machinery is looked at."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest
from drawing import PROMPT, draw, greedy, same
from random_adapter import write_random_adapter

from tacit.protocol.errors import ModelUnavailable, NotFound, Refused
from tacit.protocol.fim import QWEN, assemble
from tacit.protocol.home import Home
from tacit.server.engine.child_client import SLICE_TOKENS
from tacit.server.engine.embedded import EmbeddedEngine
from tacit.server.engine.interface import Drawn, DrawStats, Sampling
from tacit.server.settings import Settings

SETTINGS = Settings(threads=2, streams=4, context_tokens=2048)
FIRST, SECOND = "demo@000001", "demo@000002"


@contextlib.asynccontextmanager
async def _running(model: Path, home: Home) -> AsyncIterator[EmbeddedEngine]:
    engine = EmbeddedEngine(model, "0" * 64, home, SETTINGS)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def test_the_end_token_is_drawn_with_its_log_probability(small_model: Path, home: Home) -> None:
    async with _running(small_model, home) as engine:
        parts = ["sums.py\n", "def add(a, b):\n    return ", "\n\n\ndef subtract(a, b):\n    return a - b\n"]
        prompt = assemble(QWEN, *[await engine.tokenize(part) for part in parts])
        drawn, stats = await draw(engine, prompt, Sampling(60, 0.2, 7))
        assert stats.ended and stats.generated == len(drawn) < 60
        assert drawn[-1].token in QWEN.stops and drawn[-1].text == "" and -5 < drawn[-1].logprob <= 0


async def test_characters_of_several_tokens_are_whole_and_recorded_token_by_token(small_model: Path, home: Home) -> None:
    """llama.cpp keeps back a token that ends within a character. The real model, since only it has something to say in emoji."""
    async with _running(small_model, home) as engine:
        prompt = await engine.tokenize('x = ["🦙🧬🦄", "🦙🧬🦄", "🦙🧬🦄", "🦙🧬🦄", "🦙')
        for temperature in (0.0, 0.2):
            drawn, stats = await draw(engine, prompt, Sampling(8, temperature, 1))
            text = "".join(item.text for item in drawn)
            assert text.startswith('🧬🦄", "🦙🧬') and stats.generated == len(drawn) == 8
            assert [item.token for item in drawn] == await engine.tokenize(text)
            # Nearly certain each time, the kept back first half of 🧬 as well.
            assert drawn[0].text == "" and drawn[1].text == "🧬"
            assert all(-0.5 < item.logprob < 1e-6 for item in drawn)


async def test_only_what_changed_is_read_again(tiny_model: Path, home: Home) -> None:
    async with _running(tiny_model, home) as engine:
        _, cold = await draw(engine, PROMPT, Sampling(4, 0.3, 1))
        _, warm = await draw(engine, [*PROMPT[:190], 7, 8, *PROMPT[190:]], Sampling(4, 0.3, 1))
        assert cold.prompt_evaluated == 200
        assert warm.prompt_tokens == 202 and 12 <= warm.prompt_evaluated <= 13


async def test_an_adapter_changes_the_real_model(small_model: Path, home: Home, tmp_path: Path) -> None:
    """Real shapes: grouped heads, quantised weights, 24 layers."""
    async with _running(small_model, home) as engine:
        base = await greedy(engine, count=4)
        await engine.load(FIRST, write_random_adapter(tmp_path / "a", small_model, 1, rank=8, scale=0.02))
        assert not same(await greedy(engine, FIRST, count=4), base)
        assert same(await greedy(engine, count=4), base)


async def test_streams_go_on_while_an_adapter_is_loaded(tiny_model: Path, home: Home, tmp_path: Path) -> None:
    async with _running(tiny_model, home) as engine:
        (old,) = engine.pids
        started = asyncio.Event()

        async def stream(seed: int) -> tuple[int, int]:
            """(tokens drawn, tokens that were left when the adapter was ready)"""
            count = before = 0
            async with contextlib.aclosing(engine.generate(PROMPT, Sampling(120, 1.0, seed), None)) as items:
                async for item in items:
                    if isinstance(item, Drawn):
                        count += 1
                        started.set()
                        before += FIRST not in engine.loaded()
            return count, count - before

        tasks = [asyncio.create_task(stream(seed)) for seed in range(4)]
        await started.wait()
        await engine.load(FIRST, write_random_adapter(tmp_path / "a", tiny_model, 1))
        assert len(engine.pids) == 2
        assert not same(await greedy(engine, FIRST), await greedy(engine))
        results = await asyncio.gather(*tasks)
        assert [count for count, _ in results] == [120] * 4
        assert any(after for _, after in results)
        await _until_only(engine)
        assert old not in engine.pids and not psutil.pid_exists(old)


async def test_a_dropped_adapter_is_gone_and_so_is_what_was_made_from_it(tiny_model: Path, home: Home, tmp_path: Path) -> None:
    async with _running(tiny_model, home) as engine:
        await engine.load(FIRST, write_random_adapter(tmp_path / "a", tiny_model, 1))
        assert list(home.cache.rglob("*.gguf"))
        await engine.drop(FIRST)
        assert not list(home.cache.rglob("*.gguf")) and engine.loaded() == frozenset()
        with pytest.raises(NotFound):
            await greedy(engine, FIRST)
        assert await greedy(engine)


async def test_an_adapter_for_another_base_is_refused_and_changes_nothing(
    tiny_model: Path, small_model: Path, home: Home, tmp_path: Path
) -> None:
    async with _running(tiny_model, home) as engine:
        await engine.load(FIRST, write_random_adapter(tmp_path / "a", tiny_model, 1))
        before = await greedy(engine, FIRST)
        await _until_only(engine)
        pids = engine.pids
        with pytest.raises(Refused, match="another base"):
            await engine.load(SECOND, write_random_adapter(tmp_path / "b", small_model, 1))
        assert engine.pids == pids and engine.loaded() == {FIRST}
        assert same(await greedy(engine, FIRST), before)


async def test_a_closed_stream_frees_the_engine(tiny_model: Path, home: Home) -> None:
    async with _running(tiny_model, home) as engine:
        # Drawing, and reading the prompt.
        for prompt, wanted in ((PROMPT, Drawn), (list(range(1000, 2900)), None)):
            stream = engine.generate(prompt, Sampling(1500 if wanted else 100, 1.0, 1), None)
            if wanted:
                async for item in stream:
                    if isinstance(item, wanted):
                        break
            else:
                first = asyncio.ensure_future(anext(stream))
                while not any(slot["is_processing"] for slot in await _slots(home)):
                    await asyncio.sleep(0)
                first.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await first
            await stream.aclose()
            while any(slot["is_processing"] for slot in await _slots(home)):
                await asyncio.sleep(0)
            drawn = max(slot["next_token"][0]["n_decoded"] for slot in await _slots(home) if "next_token" in slot)
            assert drawn < 1000


async def test_short_answers_come_between_the_slices_of_a_long_one(tiny_model: Path, home: Home, tmp_path: Path) -> None:
    """Of another adapter: llama.cpp computes one at a time. The long answer is the same as without them."""
    async with _running(tiny_model, home) as engine:
        await engine.load(FIRST, write_random_adapter(tmp_path / "a", tiny_model, 1))
        await engine.load(SECOND, write_random_adapter(tmp_path / "b", tiny_model, 2))
        long = Sampling(400, 0.8, 11)
        alone, _ = await draw(engine, PROMPT, long, FIRST)
        begun, so_far = asyncio.Event(), list[Drawn]()

        async def long_answer() -> DrawStats:
            async with contextlib.aclosing(engine.generate(PROMPT, long, FIRST)) as items:
                async for item in items:
                    if isinstance(item, Drawn):
                        so_far.append(item)
                        begun.set()
            assert isinstance(item, DrawStats)
            return item

        answering = asyncio.create_task(long_answer())
        await begun.wait()
        places = []
        for adapter in (None, SECOND, None, SECOND):
            short, _ = await draw(engine, PROMPT[::-1], Sampling(8, 0.3, 3), adapter)
            assert len(short) == 8
            places.append(len(so_far))
        stats = await answering
        # Each was answered while the long one was under way, a slice or two farther on.
        assert places[-1] < 400 and all(b - a <= 3 * SLICE_TOKENS for a, b in pairwise(places))
        assert same([(one.token, one.logprob) for one in so_far], [(one.token, one.logprob) for one in alone])
        assert stats.generated == 400 and stats.prompt_tokens == 200


async def test_stop_leaves_no_process(tiny_model: Path, home: Home) -> None:
    async with _running(tiny_model, home) as engine:
        pids = engine.pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not engine.ready
    assert not list(home.run_dir.glob("*.sock"))


async def test_the_child_ends_with_a_killed_server(tiny_model: Path, home: Home) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom tacit.protocol.home import Home\n"
        "from tacit.server.engine.embedded import EmbeddedEngine\nfrom tacit.server.settings import Settings\n"
        "async def main():\n"
        "    engine = EmbeddedEngine(Path(sys.argv[1]), '0' * 64, Home(Path(sys.argv[2])), Settings(streams=1))\n"
        "    await engine.start()\n    print(*engine.pids, flush=True)\n    await asyncio.sleep(600)\nasyncio.run(main())\n"
    )
    command = (sys.executable, "-c", program, str(tiny_model), str(home.root))
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    pid = int(await server.stdout.readline())
    assert psutil.pid_exists(pid)
    server.kill()
    await server.wait()
    await _until_gone(pid)


async def test_a_corrupt_model_is_named(tiny_model: Path, home: Home, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model.read_bytes()[:1_000_000])
    engine = EmbeddedEngine(broken, "0" * 64, home, SETTINGS)
    with pytest.raises(ModelUnavailable, match=r"broken\.gguf: llama\.cpp cannot load it"):
        await engine.start()
    assert not engine.ready and "broken.gguf" in engine.message and not engine.pids
    await engine.stop()


async def _slots(home: Home) -> list[dict[str, object]]:
    (socket,) = home.run_dir.glob("engine-*.sock")
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine", headers={"connection": "close"}) as client:
        return list((await client.get("/slots")).json())


async def _until_only(engine: EmbeddedEngine) -> None:
    while len(engine.pids) > 1:
        await asyncio.sleep(0)


async def _until_gone(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(psutil.Process(pid).wait, 60)
