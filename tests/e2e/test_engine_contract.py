"""What every engine has to do, whichever it is: the same tests against llama.cpp and against real vLLM (its CPU build).

The vLLM part wants an environment that has vLLM, minutes and GB of it: `make test-vllm` installs it and runs these. Its
engine is started once for all of them. The tiny model serves: only the machinery is looked at.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
from drawing import PROMPT, draw, greedy, same
from random_adapter import write_random_adapter
from short_folder import short_folder

from tacit.protocol.errors import BadRequest, EngineUnavailable, NotFound, Refused, SettingError
from tacit.protocol.fim import QWEN
from tacit.protocol.home import Home
from tacit.server.engine.embedded import EmbeddedEngine
from tacit.server.engine.interface import Drawn, Sampling
from tacit.server.engine.vllm import VllmEngine
from tacit.server.models.cache import digest
from tacit.server.settings import Settings

# Read before each test's environment is cleaned.
VLLM_PYTHON = os.environ.get("TACIT_VLLM_PYTHON", "")
SETTINGS = Settings(threads=2, streams=4, context_tokens=2048, vllm_python=VLLM_PYTHON)
FIRST, SECOND = "demo@000001", "demo@000002"

Running = EmbeddedEngine | VllmEngine

# One loop for the engine and for all who ask it.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]


def _no_vllm() -> str:
    if not VLLM_PYTHON:
        return "vLLM is not installed for the tests: `make test-vllm` installs it and runs these"
    return ""


VLLM = pytest.param("vllm", marks=pytest.mark.skipif(bool(_no_vllm()), reason=_no_vllm()))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["embedded", VLLM])
async def engine(request: pytest.FixtureRequest, tiny_model: Path) -> AsyncIterator[Running]:
    """Started; whatever a test loads is dropped again. Behind the last test no process of it is left."""
    home = Home(short_folder())
    kind: Callable[..., Running] = VllmEngine if request.param == "vllm" else EmbeddedEngine
    running = kind(tiny_model, digest(tiny_model), home, SETTINGS)
    try:
        await running.start()
        family = _family(running)
        yield running
        family |= _family(running)
        await running.stop()
        assert not running.ready and not [process for process in family if _alive(process)]
        assert not list(home.run_dir.glob("*.sock"))
    finally:
        await running.stop()
        shutil.rmtree(home.root, ignore_errors=True)


@pytest.fixture
def adapters(tiny_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes one: (name, seed, …) → its folder."""
    return lambda name, seed, **how: write_random_adapter(tmp_path / name, tiny_model, seed, **how)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def clean(engine: Running) -> AsyncIterator[None]:
    yield
    for name in engine.loaded():
        await engine.drop(name)


async def test_a_draw_is_tokens_texts_and_what_it_cost(engine: Running) -> None:
    """Text by text what the tokens spell, however many of them the engine tells at once; the same seed draws the same."""
    drawn, stats = await draw(engine, PROMPT, Sampling(24, 0.8, 5))
    assert len(drawn) == stats.generated == 24 and stats.prompt_tokens == 200 and not stats.ended
    assert all(re.fullmatch(" ?[a-z]{2,}", item.text) for item in drawn)
    assert [[item.token] for item in drawn] == [await engine.tokenize(item.text) for item in drawn]
    assert same(*[[(item.token, item.logprob) for item in (await draw(engine, PROMPT, Sampling(24, 0.8, 5)))[0]] for _ in "12"])
    others = [(await draw(engine, PROMPT, Sampling(6, 2.0, seed)))[0][0].token for seed in range(8)]
    assert len(set(others)) > 1


async def test_an_end_token_is_drawn_with_its_log_probability_and_ends(engine: Running) -> None:
    """The tiny model never says an end token, so one that it says is made one."""
    words = await greedy(engine, count=4)
    usual = engine.fim
    engine.fim = replace(usual, stops=usual.stops | {words[2][0]})
    try:
        drawn, stats = await draw(engine, PROMPT, Sampling(24, 0.0, 1))
    finally:
        engine.fim = usual
    assert same([(item.token, item.logprob) for item in drawn], words[:3])
    assert stats.ended and stats.generated == 3 and drawn[1].text and drawn[2].text == ""


async def test_only_what_is_new_is_read(engine: Running) -> None:
    prompt = list(range(3000, 3300))
    _, cold = await draw(engine, prompt, Sampling(2, 0.3, 1))
    _, warm = await draw(engine, [*prompt, 7, 8], Sampling(2, 0.3, 1))
    # vLLM counts in blocks of up to 128 tokens.
    assert cold.prompt_evaluated == 300 and warm.prompt_tokens == 302 and warm.prompt_evaluated <= 130


async def test_log_probabilities_are_those_of_the_distribution_drawn_from(engine: Running) -> None:
    """For any two tokens, log μ(a) - log μ(b) at temperature T is that at temperature 1, divided by T."""
    seen: dict[float, dict[int, float]] = {}
    for temperature in (1.0, 2.0):
        seen[temperature] = {}
        for seed in range(40):
            (drawn,), _ = await draw(engine, PROMPT, Sampling(1, temperature, seed))
            seen[temperature][drawn.token] = drawn.logprob
    close = 0.05 if isinstance(engine, VllmEngine) else 0.02
    both = sorted(seen[1.0].keys() & seen[2.0].keys())
    assert len(both) >= 2
    for token in both[1:]:
        at_one = seen[1.0][token] - seen[1.0][both[0]]
        at_two = seen[2.0][token] - seen[2.0][both[0]]
        assert at_two == pytest.approx(at_one / 2, abs=close)
    # Greedy draws report temperature 1.
    ((token, logprob),) = await greedy(engine, count=1)
    assert logprob == pytest.approx(max(seen[1.0].values()), abs=close) and token in seen[1.0]


async def test_log_probabilities_are_the_learners(
    engine: Running, adapters: Callable[..., Path], home: Home, tiny_model: Path
) -> None:
    """With and without an adapter: what PEFT computes on the folder that a night trains on."""
    import torch
    from peft import PeftModel

    from tacit.learner.base import load, prepare

    folder = adapters("a", 1)
    await engine.load(FIRST, folder)
    base = await asyncio.to_thread(lambda: load(prepare(tiny_model, digest(tiny_model), home), torch.device("cpu")).float())
    model: Any = PeftModel.from_pretrained(base, str(folder))
    for adapter in (None, FIRST):
        drawn, _ = await draw(engine, PROMPT, Sampling(16, 1.0, 3), adapter)
        tokens = torch.tensor([[*PROMPT, *(item.token for item in drawn)]])
        with torch.no_grad(), contextlib.nullcontext() if adapter else model.disable_adapter():
            logprobs = torch.log_softmax(model(tokens).logits[0, len(PROMPT) - 1 : -1], -1)
        differences = [abs(float(row[item.token]) - item.logprob) for row, item in zip(logprobs, drawn, strict=True)]
        assert sum(differences) / len(differences) < 0.05 and max(differences) < 0.25


async def test_special_tokens_in_code_are_text(engine: Running) -> None:
    tokens = await engine.tokenize("<|fim_middle|><|endoftext|>")
    assert len(tokens) > 2 and not QWEN.stops & set(tokens)


async def test_adapters_answer_beside_the_base_and_never_from_each_others_cache(
    engine: Running, adapters: Callable[..., Path]
) -> None:
    base = await greedy(engine)
    for seed, name in enumerate((FIRST, SECOND)):
        await engine.load(name, adapters(name, seed))
    assert engine.loaded() == {FIRST, SECOND}
    once = {name: await greedy(engine, name) for name in (FIRST, SECOND)}
    assert not same(base, once[FIRST]) and not same(once[FIRST], once[SECOND])
    # In turn and at once, with the same prompt: any shared cache would show.
    for _ in range(3):
        for name in (None, FIRST, SECOND):
            assert same(await greedy(engine, name), once[name] if name else base)
    answers = await asyncio.gather(*(greedy(engine, name) for name in (None, FIRST, SECOND)))
    assert all(map(same, answers, (base, once[FIRST], once[SECOND])))


async def test_the_base_stays_itself_beside_as_many_adapters_as_the_engine_has_places(
    engine: Running, adapters: Callable[..., Path]
) -> None:
    """vLLM's CPU build computes the base with what is in the last of its places, where adapters run in the same step."""
    base = await greedy(engine, count=24)
    names = [f"demo@{number:06d}" for number in range(1, _places(engine) + 1)]
    for seed, name in enumerate(names):
        await engine.load(name, adapters(name, seed, scale=0.5))
    once = {name: await greedy(engine, name) for name in names}
    assert not any(_alike(base, said) for said in once.values())
    # As many at once as there are streams; those that came last, those that they may have replaced, and these again.
    for chosen in (names[-3:], names[:3], names[-3:]):
        beside = (greedy(engine, name, count=24) for name in chosen)
        said, *others = await asyncio.gather(greedy(engine, count=24), *beside)
        assert _alike(said, base), (said, base)
        assert all(_alike(other, once[name]) for other, name in zip(others, chosen, strict=True))


def _alike(first: list[tuple[int, float]], second: list[tuple[int, float]]) -> bool:
    """The same weights said both, one of them in another batch: the same up to where the likeliest two nearly tie."""
    for (token, one), (another, other) in zip(first, second, strict=False):
        if abs(one - other) >= 0.05:
            return False
        if token != another:
            break
    return True


def _places(engine: Running) -> int:
    """As many adapters as one step of it can have, and then one more, if vLLM keeps a place."""
    for process in _family(engine) if isinstance(engine, VllmEngine) else ():
        command = process.cmdline()
        if "--max-loras" in command:
            return int(command[command.index("--max-loras") + 1])
    return SETTINGS.streams


async def test_a_dropped_adapter_is_gone_and_its_name_stands_for_another(engine: Running, adapters: Callable[..., Path]) -> None:
    """A candidate's name may come again with other weights; nothing that was computed with the first may answer for it."""
    await engine.load(FIRST, adapters("a", 1))
    first = await greedy(engine, FIRST)
    await engine.drop(FIRST)
    assert engine.loaded() == frozenset()
    with pytest.raises(NotFound):
        await greedy(engine, FIRST)
    await engine.load(FIRST, adapters("b", 2))
    assert not same(await greedy(engine, FIRST), first)


async def test_streams_go_on_while_adapters_come_and_go(engine: Running, adapters: Callable[..., Path]) -> None:
    await engine.load(FIRST, adapters("a", 1))
    started = asyncio.Event()

    async def stream(adapter: str | None) -> int:
        count = 0
        async with contextlib.aclosing(engine.generate(PROMPT, Sampling(120, 1.0, 1), adapter)) as items:
            async for item in items:
                count += isinstance(item, Drawn)
                started.set()
        return count

    tasks = [asyncio.create_task(stream(adapter)) for adapter in (FIRST, None, FIRST)]
    await started.wait()
    await engine.drop(FIRST)
    await engine.load(SECOND, adapters("b", 2))
    assert len(await greedy(engine, SECOND)) == 6
    assert await asyncio.gather(*tasks) == [120] * 3


async def test_what_does_not_fit_is_refused_and_changes_nothing(
    engine: Running, adapters: Callable[..., Path], small_model: Path, tmp_path: Path
) -> None:
    await engine.load(FIRST, adapters("a", 1))
    before, pids = await greedy(engine, FIRST), engine.pids
    half = adapters("half", 2)
    (half / "adapter_model.safetensors").write_bytes((half / "adapter_model.safetensors").read_bytes()[:5000])
    for bad, match in (
        (write_random_adapter(tmp_path / "other", small_model, 1), "another base"),
        (half, "damaged"),
        (tmp_path / "none", "cannot be read"),
        # Each value is finite; what the model computes with them is not.
        (adapters("overflow", 3, scale=1e35), ""),
    ):
        with pytest.raises(Refused, match=match or None):
            await engine.load(SECOND, bad)
    assert engine.loaded() == {FIRST} and engine.pids <= pids and engine.ready
    assert same(await greedy(engine, FIRST), before)


async def test_a_prompt_beyond_the_context_is_refused(engine: Running) -> None:
    with pytest.raises(BadRequest):
        await draw(engine, [1000] * (SETTINGS.context_tokens + 1), Sampling(4, 1.0, 1))
    assert await greedy(engine)


async def test_a_closed_stream_frees_the_engine(engine: Running) -> None:
    stream = engine.generate(PROMPT, Sampling(1800, 1.0, 1), None)
    drawn = 0
    async for item in stream:
        drawn += isinstance(item, Drawn)
        if drawn >= 2:
            break
    assert await _under_way(engine) == 1
    before = await _generated(engine)
    await stream.aclose()
    while await _under_way(engine):
        await asyncio.sleep(0.01)
    assert await _generated(engine) - before < 1500


async def test_a_killed_engine_comes_back_with_its_adapters(engine: Running, adapters: Callable[..., Path]) -> None:
    await engine.load(FIRST, adapters("a", 1))
    before = await greedy(engine, FIRST)
    family = _family(engine)
    pids = engine.pids
    with pytest.raises(EngineUnavailable):
        async for _ in engine.generate(PROMPT, Sampling(1800, 1.0, 1), FIRST):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    while engine.ready and engine.pids & pids:
        await asyncio.sleep(0)
    if not engine.ready:
        assert "restarted" in engine.message
        with pytest.raises(EngineUnavailable):
            await greedy(engine)
    while not engine.ready:
        await asyncio.sleep(0.01)
    assert engine.message == "" and not engine.pids & pids
    assert same(await greedy(engine, FIRST), before)
    assert not [process for process in family if _alive(process)]


async def test_a_vllm_that_somebody_else_runs_serves_as_well(
    engine: Running, adapters: Callable[..., Path], tiny_model: Path, home: Home
) -> None:
    """The same vLLM, through a TCP port. When it has lost an adapter, as one that was started anew has, it gets it back."""
    if not isinstance(engine, VllmEngine):
        pytest.skip("llama.cpp is always a child of the server")
    async with _listening(next(engine._home.run_dir.glob("vllm.sock"))) as port:
        settings = SETTINGS.model_copy(update={"vllm_url": f"http://127.0.0.1:{port}", "vllm_python": ""})
        other = VllmEngine(tiny_model, digest(tiny_model), engine._home, settings)
        await other.load(FIRST, adapters("a", 1))
        await other.start()
        try:
            base, adapted = await greedy(other), await greedy(other, FIRST)
            assert same(base, await greedy(engine)) and not same(base, adapted) and not other.pids
            ((_, known),) = other._adapters.items()
            server = other._server
            assert server is not None
            await server.client.unload(known.name)
            while other._server is server:
                await asyncio.sleep(0.01)
            assert "restarted" in other.message or other.ready
            while not other.ready:
                await asyncio.sleep(0.01)
            assert same(await greedy(other, FIRST), adapted)
            await other.drop(FIRST)
        finally:
            await other.stop()
        # It goes on, for whom it belongs to.
        assert same(await greedy(engine), base)
        small = settings.model_copy(update={"context_tokens": 4096})
        with pytest.raises(SettingError, match="context_tokens"):
            await VllmEngine(tiny_model, digest(tiny_model), engine._home, small).start()


@contextlib.asynccontextmanager
async def _listening(socket: Path) -> AsyncIterator[int]:
    """A port that passes everything on to a Unix socket and back."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(socket))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _family(engine: Running) -> set[psutil.Process]:
    """Every process of the engine. One that a load has replaced may end meanwhile."""
    family = set()
    for pid in engine.pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            family |= {process, *process.children(recursive=True)}
    return family


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def _asked(engine: Running, route: str) -> httpx.Response:
    """The engine's own word, on its own socket."""
    (socket,) = [path for path in engine._home.run_dir.glob("*.sock") if not path.name.startswith("tacit")]
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine", headers={"connection": "close"}) as client:
        return await client.get(route)


async def _under_way(engine: Running) -> int:
    """Requests that it works on."""
    if isinstance(engine, EmbeddedEngine):
        return sum(bool(slot["is_processing"]) for slot in (await _asked(engine, "/slots")).json())
    return int(_metric((await _asked(engine, "/metrics")).text, "vllm:num_requests_running"))


async def _generated(engine: Running) -> int:
    """Tokens that it has drawn so far, of the stream that was closed last or of all."""
    if isinstance(engine, EmbeddedEngine):
        slots = (await _asked(engine, "/slots")).json()
        return max(int(slot["next_token"][0]["n_decoded"]) for slot in slots if "next_token" in slot)
    return int(_metric((await _asked(engine, "/metrics")).text, "vllm:generation_tokens_total"))


def _metric(text: str, name: str) -> float:
    (value,) = re.findall(rf"^{name}{{[^}}]*}} (\S+)$", text, re.MULTILINE)
    return float(value)
