"""`tacit bench swap`: adapters are promoted and rolled back under running completions; no answer may fail or mix policies.

A real `tacit serve` with either engine; adapters of random matrices, named by real learning runs and published by the
server's own route. Works in a folder of its own; leaves no process behind.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tacit.bench.engines import engine_settings, ready
from tacit.bench.random_adapter import write_random_adapter
from tacit.bench.report import Goal, Report, percentile, spread
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import RunRequest, RunUpdate
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import BASE_POLICY, CompleteRequest, Context
from tacit.protocol.errors import TacitError
from tacit.protocol.events import new_id
from tacit.protocol.home import Home
from tacit.server.engine.gguf_header import read_base

PROJECT = "bench-swap"
MAX_TOKENS = 12

Progress = Callable[[str, int, int], None]
Ended = asyncio.Queue[None]
"""One entry for each request that has been answered or has failed."""


@dataclass(frozen=True, slots=True)
class _Answer:
    asked: float
    answered: float
    policy_version: str


@dataclass(slots=True)
class Measured:
    promotions: list[float] = field(default_factory=list)
    """ms, from asking for the swap to its answer."""
    rollbacks: list[float] = field(default_factory=list)
    swaps: list[tuple[float, float]] = field(default_factory=list)
    """(from, until)"""
    answers: list[_Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    served: list[tuple[float, float, str]] = field(default_factory=list)
    """(from, until, policy_version): when each could have been resolved; neighbours overlap by the time of the swap."""

    def times(self, *, swapping: bool) -> list[float]:
        """ms of the answers during whose time something was swapped, or of the others."""
        return [
            (answer.answered - answer.asked) * 1000
            for answer in self.answers
            if any(began <= answer.answered and answer.asked <= ended for began, ended in self.swaps) == swapping
        ]

    def strangers(self) -> int:
        """Answers whose policy was not serving at any moment of the request."""
        return sum(
            not any(
                version == answer.policy_version and begin <= answer.answered and answer.asked <= end
                for begin, end, version in self.served
            )
            for answer in self.answers
        )


def run(swaps: int, streams: int, seed: int, model: str, engine: str, progress: Progress) -> Report:
    """swaps: how many moves of the alias; every fifth is a rollback. model: catalogue name, path or `auto`. engine: by name."""
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as folder:
        home = Home(Path(folder).resolve() / "home")
        return asyncio.run(_run(home, swaps, streams, seed, model, engine, progress))


async def _run(home: Home, swaps: int, streams: int, seed: int, model: str, engine: str, progress: Progress) -> Report:
    settings = {
        **engine_settings(engine, home),
        "model": model,
        "streams": str(streams),
        "nightly": "off",
        "max_tokens": str(MAX_TOKENS),
        "context_tokens": "1024",
    }
    server = ServerProcess(home, settings)
    try:
        await server.start(engine=False)
        await ready(server)
        status = await server.client.status()
        progress("adapters", 0, 2)
        names = [await publish_random(server, status.model_path, status.model_sha256, seed + index) for index in range(2)]
        measured, ended = Measured(), Ended()
        stop = asyncio.Event()
        talking = [asyncio.create_task(_talk(server.client, index, stop, measured, ended)) for index in range(streams)]
        try:
            await _swap(server.client, names, swaps, measured, ended, progress)
        finally:
            stop.set()
            await asyncio.gather(*talking)
    finally:
        await server.stop()
    return _report(measured, f"{status.model}, {engine}", swaps, streams)


async def publish_random(server: ServerProcess, model_path: str, model_sha256: str, seed: int, project: str = PROJECT) -> str:
    """Reserve a name by a run, write the adapter, let the server verify and serve it. Returns the name."""
    run = await server.client.start_run(RunRequest(project=project, pid=os.getpid()))
    base = await asyncio.to_thread(read_base, Path(model_path))
    folder = server.home.adapters / run.adapter
    await asyncio.to_thread(write_random_adapter, folder, run, base, model_sha256, "0" * 64, seed)
    await server.client.publish(run.adapter)
    await server.client.update_run(run.id, RunUpdate(state="published", message="random matrices"))
    return run.adapter


async def _swap(
    client: TacitClient, names: list[str], swaps: int, measured: Measured, ended_requests: Ended, progress: Progress
) -> None:
    serving, before = names[-1], names[0]
    since = 0.0
    for done in range(swaps):
        progress("swaps", done, swaps)
        # A few answers between two swaps, so that each policy is really used.
        while not ended_requests.empty():
            ended_requests.get_nowait()
        for _ in range(4):
            await ended_requests.get()
        began = time.perf_counter()
        if done % 5 == 4:
            now = await client.rollback(PROJECT)
            measured.rollbacks.append((time.perf_counter() - began) * 1000)
        else:
            now = (await client.publish(before)).name
            measured.promotions.append((time.perf_counter() - began) * 1000)
        ended = time.perf_counter()
        measured.swaps.append((began, ended))
        measured.served.append((since, ended, serving))
        since, before, serving = began, serving, now
    measured.served.append((since, float("inf"), serving))


async def _talk(client: TacitClient, stream: int, stop: asyncio.Event, measured: Measured, ended: Ended) -> None:
    count = 0
    while not stop.is_set():
        count += 1
        request = CompleteRequest(
            request_id=new_id(),
            session_id=f"bench-stream-{stream}",
            project=PROJECT,
            context=Context(
                path=f"stream{stream}.py",
                language="python",
                prefix=f"def total_{stream}_{count}(items):\n    result = 0\n    for item in items:\n        ",
                suffix="\n    return result\n",
            ),
            deadline_ms=120_000,
            seed=count,
        )
        asked = time.perf_counter()
        try:
            answer = await client.complete(request)
        except TacitError as error:
            measured.failures.append(str(error))
        else:
            measured.answers.append(_Answer(asked, time.perf_counter(), answer.generation.policy_version))
        ended.put_nowait(None)


def _added(beside: list[float], quiet: list[float]) -> str:
    high, low = percentile(beside, 95), percentile(quiet, 95)
    if high is None or low is None:
        return "What a swap adds was not measured: there were no answers with it, or none without it."
    return f"A swap adds {high - low:.0f} ms to the 95th percentile of the answers."


def _report(measured: Measured, model: str, swaps: int, streams: int) -> Report:
    per_version = {
        version: sum(answer.policy_version == version for answer in measured.answers)
        for version in sorted({answer.policy_version for answer in measured.answers})
    }
    beside, quiet = measured.times(swapping=True), measured.times(swapping=False)
    rows = [
        spread("promotion: verify, load beside, probe, move the alias", measured.promotions, "ms"),
        spread("rollback", measured.rollbacks, "ms"),
        spread(f"answers during a swap, {streams} streams", beside, "ms"),
        spread(f"answers between swaps, {streams} streams", quiet, "ms"),
    ]
    made = len(measured.promotions) + len(measured.rollbacks)
    goals = [
        Goal("swaps that did not happen", float(swaps - made), 0),
        Goal("failed requests", float(len(measured.failures)), 0),
        Goal("answers by a policy that was not serving", float(measured.strangers()), 0),
        Goal("rollback, max, ms", max(measured.rollbacks, default=None), 1000),
    ]
    remarks = [
        _added(beside, quiet),
        f"{len(measured.answers)} answers under {made} swaps, by policy_version: "
        + ", ".join(f"{version} {count}" for version, count in per_version.items())
        + "."
        + (f" `{BASE_POLICY}` answered none, as it should." if BASE_POLICY not in per_version else ""),
        *(f"A request failed: {failure}" for failure in measured.failures[:3]),
    ]
    return Report("swap", model, rows, goals, remarks)
