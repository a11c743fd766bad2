"""A vLLM that starts, sleeps and wakes: real start and watch, with a program that speaks vLLM's HTTP on its socket."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import fake_vllm
import gguf
import numpy as np
import psutil
import pytest
from random_adapter import write_random_adapter
from tokenizers import Tokenizer, models, pre_tokenizers

from tacit.protocol.errors import EngineUnavailable
from tacit.protocol.home import Home
from tacit.server.engine.base_folder import byte_letters
from tacit.server.engine.interface import Drawn, Sampling
from tacit.server.engine.vllm import VllmEngine, alike
from tacit.server.settings import Settings

SLEEPS, BESIDE = 10_700, 80_000
"""MB of a GPU where a tiny model and the learner do not fit beside each other, and where they do."""

MakeEngine = Callable[..., VllmEngine]
"""MB of each GPU, and settings."""


def write_model(path: Path) -> Path:
    """A GGUF model of one layer, without a vocabulary: the fake vLLM computes nothing."""
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    shapes = {"attn_q": (8, 8), "attn_k": (4, 8), "attn_v": (4, 8), "attn_output": (8, 8)}
    shapes |= {"ffn_gate": (16, 8), "ffn_up": (16, 8), "ffn_down": (8, 16)}
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_tokenizer(folder: Path) -> None:
    """A byte is a token."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(byte_letters())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture
async def make(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeEngine]:
    model = write_model(tmp_path / "model.gguf")
    digest = sha256(model.read_bytes()).hexdigest()
    write_tokenizer(home.base_folder(digest))
    monkeypatch.setenv("FAKE_VLLM", str(tmp_path))
    made: list[VllmEngine] = []

    def engine(*megabytes: int, **changes: Any) -> VllmEngine:
        programs = fake_vllm.programs(tmp_path, *megabytes)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        settings = Settings(engine="vllm", vllm_python=str(programs / "vllm-python"), streams=1, context_tokens=512, **changes)
        made.append(VllmEngine(model, digest, home, settings))
        return made[-1]

    yield engine
    for one in made:
        await one.stop()


async def text(engine: VllmEngine, adapter: str | None = None) -> str:
    drawn = [item async for item in engine.generate([1, 2], Sampling(6, 0.3, 0), adapter) if isinstance(item, Drawn)]
    return "".join(item.text for item in drawn)


async def started(make: MakeEngine, tmp_path: Path) -> VllmEngine:
    engine = make(SLEEPS)
    write_random_adapter(tmp_path / "one", engine._model, 1)
    write_random_adapter(tmp_path / "two", engine._model, 2)
    await engine.start()
    await engine.load("a@1", tmp_path / "one")
    return engine


async def test_after_its_sleep_it_serves_as_before_and_what_came_meanwhile(make: MakeEngine, tmp_path: Path) -> None:
    engine = await started(make, tmp_path)
    assert engine.plan(None).mode == "sleep"
    before = await text(engine, "a@1")
    await engine.sleep()
    assert not engine.ready
    with pytest.raises(EngineUnavailable):
        await text(engine)
    await engine.load("a@2", tmp_path / "two")
    await engine.drop("a@1")
    await engine.load("a@1", tmp_path / "one")
    (pid,) = [int(line.split()[1]) for line in (tmp_path / "events").read_text().splitlines() if line.startswith("start")]
    assert fake_vllm.happened(tmp_path)[-1] == "sleep" and psutil.pid_exists(pid)
    await engine.wake()
    assert engine.ready and await text(engine, "a@1") == before == await text(engine, "a@2")
    done = fake_vllm.happened(tmp_path)
    assert done.count("start") == 1
    # Asked before it is given up and again before it serves: the base, and the adapter that it had.
    assert done[done.index("sleep") - 2 : done.index("sleep")] == ["draw", "draw"]
    assert done[done.index("wake") + 1 :][:3] == ["draw", "draw", "load"]


@pytest.mark.parametrize("what", ["differs", "dies"])
async def test_one_that_is_not_what_it_was_is_started_anew_with_its_adapters(
    make: MakeEngine, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await started(make, tmp_path)
    (tmp_path / "differs").touch()
    old = engine.pids
    await engine.sleep()
    if what == "dies":
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.5)
        # Not yet: the memory is the learner's.
        assert fake_vllm.happened(tmp_path).count("start") == 1 and not engine.ready
    await engine.wake()
    assert engine.ready and engine.pids and not engine.pids & old and await text(engine, "a@1")
    assert fake_vllm.happened(tmp_path).count("start") == 2 and "started again" in caplog.text
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in old)
    assert ("a@1" in caplog.text or "tacit-base" in caplog.text) is (what == "differs")


async def test_one_that_does_not_sleep_says_so_and_can_be_started_again(make: MakeEngine, tmp_path: Path) -> None:
    engine = await started(make, tmp_path)
    (tmp_path / "deaf").touch()
    with pytest.raises(EngineUnavailable):
        await engine.sleep()
    assert not engine.ready
    await engine.stop()
    await engine.start()
    assert await text(engine, "a@1")


async def test_one_that_is_ended_in_its_sleep_leaves_no_process(make: MakeEngine, tmp_path: Path) -> None:
    engine = await started(make, tmp_path)
    (pid,) = engine.pids
    await engine.sleep()
    await engine.stop()
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_where_both_fit_vllm_leaves_the_learner_its_share_and_cannot_sleep(make: MakeEngine, tmp_path: Path) -> None:
    engine = make(BESIDE)
    await engine.start()
    assert engine.plan(None).mode == "beside"
    (line,) = [line for line in (tmp_path / "events").read_text().splitlines() if line.startswith("start")]
    assert 0.5 < float(line.split()[2]) < 0.9
    with pytest.raises(EngineUnavailable):
        await engine.sleep()


async def test_on_a_processor_the_last_place_is_kept_for_the_base_whenever_vllm_starts(make: MakeEngine, tmp_path: Path) -> None:
    """Before any adapter can come to stand there: those that are live are loaded behind it, and the others after them."""
    engine = make()
    write_random_adapter(tmp_path / "one", engine._model, 1)
    await engine.load("a@1", tmp_path / "one")
    await engine.start()
    assert fake_vllm.happened(tmp_path) == ["start", "pin", "load"] and await text(engine, "a@1")
    for pid in engine.pids:
        os.kill(pid, signal.SIGKILL)
    while fake_vllm.happened(tmp_path).count("start") < 2 or not engine.ready:
        await asyncio.sleep(0.01)
    done = fake_vllm.happened(tmp_path)
    assert done[-3:] == ["start", "pin", "load"] and done.count("pin") == 2


async def test_on_a_gpu_no_place_is_kept(make: MakeEngine, tmp_path: Path) -> None:
    await make(BESIDE).start()
    assert fake_vllm.happened(tmp_path) == ["start"]


def test_the_same_is_the_same_tokens_about_as_likely() -> None:
    said = [Drawn(1, "a", -0.5), Drawn(2, "b", -1.0)]
    assert alike(said, [Drawn(1, "a", -0.52), Drawn(2, "b", -0.97)])
    assert not alike(said, [Drawn(1, "a", -0.5), Drawn(2, "b", -1.2)])
    assert not alike(said, [Drawn(1, "a", -0.5), Drawn(3, "b", -1.0)]) and not alike(said, said[:1])


@pytest.mark.parametrize(
    ("gpus", "count", "seen", "learning"),
    [((BESIDE,), 1, "None", ()), ((SLEEPS, SLEEPS), 1, "0", (1,)), ((SLEEPS, 4_000, BESIDE), 2, "0,2", (0, 2))],
)
async def test_of_several_gpus_it_sees_its_own(
    make: MakeEngine, tmp_path: Path, gpus: tuple[int, ...], count: int, seen: str, learning: tuple[int, ...]
) -> None:
    engine = make(*gpus, vllm_gpus=count)
    await engine.start()
    assert (tmp_path / "events").read_text().splitlines()[0].split()[3] == seen
    plan = engine.plan(None)
    assert plan.learning == learning and (plan.mode == "beside") == (len(learning) < 2)
