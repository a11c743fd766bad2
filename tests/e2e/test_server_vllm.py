"""The whole server with vLLM behind it, and the tiny model: swaps under load, rollback, kill -9. `make test-vllm` runs it."""

import asyncio
import os
from pathlib import Path

import psutil
import pytest
from published_adapter import PROJECT, publish_adapter

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context
from tacit.protocol.errors import Refused
from tacit.protocol.events import new_id
from tacit.protocol.home import Home

# Read before each test's environment is cleaned.
VLLM_PYTHON = os.environ.get("TACIT_VLLM_PYTHON", "")

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not VLLM_PYTHON, reason="vLLM is not installed for the tests: `make test-vllm` installs it and runs these"
    ),
]


def request(project: str | None = PROJECT) -> CompleteRequest:
    context = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")
    return CompleteRequest(
        request_id=new_id(), session_id=new_id(), project=project, context=context, max_tokens=12, temperature=0.05, seed=3,
        deadline_ms=60_000,
    )  # fmt: skip


async def ready(server: ServerProcess) -> None:
    """vLLM takes longer to start than a test's server waits."""
    await server.start(engine=False)
    while not await server.client.healthy():
        await asyncio.sleep(0.2)


def engine_processes(home: Home) -> list[psutil.Process]:
    """Those that were started for this home: vLLM's first process has its socket on the command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home.run_dir / "vllm.sock") in process.cmdline():
                found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return found


async def test_swaps_under_load_rollback_and_a_killed_server(home: Home, tiny_model: Path) -> None:
    server = ServerProcess(home, {"model": str(tiny_model), "engine": "vllm", "vllm_python": VLLM_PYTHON})
    try:
        await ready(server)
        status = await server.client.status()
        assert status.engine == "vllm" and status.engine_ready
        base = await server.client.complete(request())
        assert base.generation.tokens and base.text and base.generation.policy_version == "base"
        names = [publish_adapter(home, number, tiny_model, status.model_sha256, scale=0.5) for number in (1, 2)]
        stop, expected = asyncio.Event(), {"base": base.generation.tokens[:3]}

        async def ask() -> list[CompleteResponse]:
            answers = []
            while not stop.is_set():
                answers.append(await server.client.complete(request()))
            return answers

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        for name in names:
            assert (await server.client.publish(name)).state == "live"
            expected[name] = (await server.client.complete(request())).generation.tokens[:3]
        assert len(set(expected.values())) == 3
        assert await server.client.rollback(PROJECT) == names[0]
        stop.set()
        answers = [answer.generation for answers in await asyncio.gather(*asking) for answer in answers]
        assert {answer.policy_version for answer in answers} >= {"base", names[0]}
        # Greedy enough: the first tokens tell which policy really answered.
        assert all(answer.tokens[:3] == expected[answer.policy_version] for answer in answers)
        # Another project is not served by it, and another base's adapter by nobody.
        assert (await server.client.complete(request(None))).generation.policy_version == "base"
        with pytest.raises(Refused, match="base model"):
            await server.client.publish(publish_adapter(home, 3, tiny_model, "0" * 64))

        # Killed, it can end nothing itself: no process of vLLM may hold a GPU for nobody.
        family = engine_processes(home)
        assert len(family) >= 2
        await server.kill()
        await asyncio.to_thread(psutil.wait_procs, family, 60)
        assert not engine_processes(home)
    finally:
        await server.stop()
