"""kill -9 of the learner at 100 random points of its runs: no half adapter is ever seen, the slot is free, the old one serves."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
from tiny_night import LINE, PROJECT, fill

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import ADAPTER_NAME, MANIFEST, Manifest
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.events import new_id
from tacit.protocol.home import Home

pytestmark = [pytest.mark.soak, pytest.mark.timeout(14_400)]

KILLS = 100
LINE_SECONDS = 600
"""For a whole run, on a machine that does other things as well."""
CONTEXT = Context(path="handlers/next.py", language="python", prefix=f"def f(ctx):\n    {LINE}\n    ", suffix="\n")


class Zygote:
    """A process that has imported everything and forks a learner on demand."""

    async def start(self, environment: dict[str, str]) -> None:
        tests = str(Path(__file__).parents[1])
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("learner_zygote.py"))),
            env={**os.environ, **environment, "PYTHONPATH": tests},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await self._line() == "ready"

    async def _line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(LINE_SECONDS):
            return (await self._process.stdout.readline()).decode().strip()

    async def learn(self, kill_after: float | None) -> None:
        """One run, killed after so many seconds if it has not ended by then."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"learn\n")
        pid = int(await self._line())
        ended = asyncio.create_task(self._line())
        if kill_after is not None:
            await asyncio.wait({ended}, timeout=kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await ended

    async def stop(self) -> None:
        self._process.kill()
        await self._process.wait()


def whole_adapters(home: Home) -> set[str]:
    """Names of the published folders; each must be whole, whatever killed its maker."""
    names = set()
    for folder in home.adapters.iterdir() if home.adapters.exists() else ():
        if not ADAPTER_NAME.fullmatch(folder.name):
            assert folder.name.startswith(".publishing-")
            continue
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        for name, digest in manifest.files.items():
            assert sha256((folder / name).read_bytes()).hexdigest() == digest.sha256
        names.add(folder.name)
    return names


async def served(server: ServerProcess) -> str:
    """policy_version of a real answer."""
    request = CompleteRequest(
        request_id=new_id(), session_id=new_id(), project=PROJECT, context=CONTEXT, max_tokens=2, deadline_ms=60_000
    )
    return (await server.client.complete(request)).generation.policy_version


async def test_no_half_adapter_is_ever_served(home: Home, tiny_model: Path) -> None:
    draw = random.Random(7)
    zygote = Zygote()
    settings = {"model": str(tiny_model), "temperature": "0.8", "keep_adapters": "100", "canary_share": "0"}
    async with ServerProcess(home, settings) as server:
        await fill(server, 24)
        await zygote.start(server.environment)
        try:
            # The first also prepares the base model for those after it; the second tells how long a run is.
            await zygote.learn(None)
            assert ADAPTER_NAME.fullmatch(await server.client.rollback(PROJECT)) is None
            began = time.monotonic()
            await zygote.learn(None)
            whole = time.monotonic() - began
            states = []
            for _ in range(KILLS):
                if await served(server) != "base":
                    # A run that learned all there is has nothing left to be killed in.
                    await server.client.rollback(PROJECT)
                await zygote.learn(draw.uniform(0, whole))
                complete = whole_adapters(home)
                policy = await served(server)
                assert policy == "base" or policy in complete
                assert (await server.client.status()).running is None
                states.append((await server.client.runs())[0].state)
            assert states.count("interrupted") > KILLS / 2, states

            if await served(server) != "base":
                await server.client.rollback(PROJECT)
            await zygote.learn(None)
            assert (await server.client.runs())[0].state == "published"
            assert await served(server) in whole_adapters(home)
        finally:
            await zygote.stop()
