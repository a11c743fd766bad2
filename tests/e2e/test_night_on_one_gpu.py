"""A whole server through nights on one GPU: vLLM (its HTTP without a model) sleeps while a learner has its room, a real embedded
engine answers, and after a crash of the learner, a kill of the server in between or a developer who waits, serving is back."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import fake_vllm
import psutil
import pytest

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import RunRequest
from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context
from tacit.protocol.events import new_id
from tacit.protocol.home import Home


async def complete(server: ServerProcess) -> CompleteResponse:
    context = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")
    return await server.client.complete(
        CompleteRequest(request_id=new_id(), session_id=new_id(), context=context, max_tokens=4, seed=3, deadline_ms=60_000)
    )


async def until(condition: object) -> None:
    async with asyncio.timeout(600):
        while not await condition():  # type: ignore[operator]
            await asyncio.sleep(0.1)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_serving_is_back_after_every_end_of_a_night(
    home: Home, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = fake_vllm.programs(tmp_path, 10_700)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VLLM", str(tmp_path))
    settings = {"model": str(tiny_model), "engine": "vllm", "vllm_python": str(programs / "vllm-python"), "streams": "1"}
    server = ServerProcess(home, {**settings, "while_learning": "sleep"})
    learners: list[asyncio.subprocess.Process] = []

    async def at_night() -> None:
        learners.append(await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)"))
        run = await server.client.start_run(RunRequest(project="a", pid=learners[-1].pid, trigger="nightly"))
        await server.client.make_room(run.id)

    async def by_day() -> bool:
        status = await server.client.status()
        return status.resting is None and status.engine_ready

    def draws() -> int:
        return fake_vllm.happened(tmp_path).count("draw")

    try:
        # The folder of weights is made first, which takes longer on a busy machine than a test's server waits.
        await server.start(engine=False)
        await until(by_day)
        before = draws()
        await complete(server)
        assert draws() == before + 1 and "vLLM sleeps" in (await server.client.status()).while_learning

        # A vLLM that does not tell its counts keeps nobody waiting for the status, which says so.
        (tmp_path / "hung").touch()
        load = (await server.client.status()).load
        assert load is not None and (load.prefix_cache_hits, load.prefix_cache_at is not None) == (0.4, True)
        (tmp_path / "hung").unlink()

        await at_night()
        before = draws()
        status = await server.client.status()
        assert status.resting is not None and (status.resting.mode, status.resting.stand_in) == ("sleep", True)
        answer = await complete(server)
        # The real model answered on the processor, with what it says of itself.
        assert status.engine_ready and answer.generation.policy_version == "base" and draws() == before
        assert answer.generation.tokens and fake_vllm.happened(tmp_path)[-1] == "sleep"

        # The learner crashes.
        learners[-1].kill()
        await learners[-1].wait()
        await until(by_day)
        assert "wake" in fake_vllm.happened(tmp_path) and (await server.client.runs())[0].state == "interrupted"
        before = draws()
        await complete(server)
        assert draws() == before + 1

        # The server is killed while vLLM sleeps: no vLLM is left, and the next server serves.
        await at_night()
        pids = [int(line.split()[1]) for line in (tmp_path / "events").read_text().splitlines() if line.startswith("start")]
        await server.kill()
        async with asyncio.timeout(30):
            while not gone(pids[-1]):
                await asyncio.sleep(0.1)
        learners[-1].kill()
        await learners[-1].wait()
        await server.start()
        before = draws()
        await complete(server)
        assert draws() == before + 1 and await by_day()
    finally:
        await server.stop()
        for one in learners:
            if one.returncode is None:
                one.kill()
                await one.wait()
        shutil.rmtree(programs, ignore_errors=True)
