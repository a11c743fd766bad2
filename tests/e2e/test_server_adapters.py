"""Adapters through a real server with the tiny model: promotion, rollback, restart, probes, swaps under load."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from published_adapter import PROJECT, publish_adapter
from random_adapter import write_random_adapter

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import ProbeRequest, RunRequest, RunUpdate
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.errors import Refused
from tacit.protocol.events import new_id
from tacit.protocol.home import Home

pytestmark = pytest.mark.timeout(180)
PROMPTS = tuple(tuple(range(start, start + 20)) for start in (1000, 2000, 3000))


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(home, {"model": str(tiny_model)}) as running:
        yield running


def request(project: str | None = PROJECT) -> CompleteRequest:
    context = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")
    # On a busy machine the usual deadline leaves an answer without its first tokens.
    return CompleteRequest(
        request_id=new_id(), session_id=new_id(), project=project, context=context, max_tokens=12, temperature=0.05, seed=3,
        deadline_ms=60_000,
    )  # fmt: skip


async def policy(server: ServerProcess, project: str | None = PROJECT) -> str:
    return (await server.client.complete(request(project))).generation.policy_version


async def test_promote_serve_roll_back_and_restart(server: ServerProcess, home: Home, tiny_model: Path) -> None:
    base = (await server.client.status()).model_sha256
    before = await server.client.complete(request())
    names = [publish_adapter(home, number, tiny_model, base, scale=0.5) for number in (1, 2)]
    for name in names:
        assert (await server.client.publish(name)).state == "live"
        answer = await server.client.complete(request())
        assert answer.generation.policy_version == name
        assert answer.generation.tokens != before.generation.tokens
    assert await policy(server, None) == "base"
    assert [(i.name, i.state) for i in await server.client.adapters()] == [(names[1], "live"), (names[0], "retired")]
    assert (await server.client.adapter(names[1])).samples == 2

    began = time.perf_counter()
    assert await server.client.rollback(PROJECT) == names[0] == await policy(server)
    assert time.perf_counter() - began < 60  # that it answered at all; `tacit bench swap` measures
    await server.stop()
    async with server:
        assert await policy(server) == names[0]
        assert await server.client.rollback(PROJECT) == "base" == await policy(server)
        assert (await server.client.complete(request())).generation.tokens == before.generation.tokens


async def test_swaps_under_load_fail_no_request_and_mix_no_policies(server: ServerProcess, home: Home, tiny_model: Path) -> None:
    base = (await server.client.status()).model_sha256
    names = [publish_adapter(home, number, tiny_model, base, scale=0.5) for number in range(1, 4)]
    expected: dict[str, tuple[int, ...]] = {}
    stop = asyncio.Event()

    async def ask() -> list[tuple[str, tuple[int, ...]]]:
        seen = []
        while not stop.is_set():
            generation = (await server.client.complete(request())).generation
            seen.append((generation.policy_version, generation.tokens[:3]))
        return seen

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    for name in names:
        await server.client.publish(name)
        expected[name] = (await server.client.complete(request())).generation.tokens[:3]
    assert await server.client.rollback(PROJECT) == names[-2]
    stop.set()
    seen = [pair for answers in await asyncio.gather(*asking) for pair in answers]
    assert {version for version, _ in seen} >= set(names[:-1])
    # Greedy enough: the first tokens tell which policy really answered.
    assert all(tokens == expected[version] for version, tokens in seen if version in expected)
    assert len(set(expected.values())) == len(names)


async def test_a_candidate_is_probed_and_its_probes_decide_its_promotion(
    server: ServerProcess, home: Home, tiny_model: Path
) -> None:
    base = (await server.client.status()).model_sha256
    run = await server.client.start_run(RunRequest(project=PROJECT, pid=os.getpid()))
    write_random_adapter(home.runs / run.id / "adapter", tiny_model, 1, scale=0.5)
    answer = await server.client.probe_run(run.id, ProbeRequest(prompts=PROMPTS, max_tokens=3))
    assert [probe.prompt for probe in answer.candidate] == [probe.prompt for probe in answer.base] == list(PROMPTS)
    assert [probe.tokens for probe in answer.candidate] != [probe.tokens for probe in answer.base]
    await server.client.update_run(run.id, RunUpdate(state="published"))
    assert (await server.client.runs())[0].state == "published"

    # The same weights under their name agree with what was probed; other weights do not.
    good = publish_adapter(home, 1, tiny_model, base, scale=0.5, probes=answer.candidate)
    bad = publish_adapter(home, 2, tiny_model, base, scale=0.5, probes=answer.candidate)
    await server.client.publish(good)
    with pytest.raises(Refused, match="does not compute"):
        await server.client.publish(bad)
    assert await policy(server) == good


async def test_what_the_engine_cannot_take_is_refused(server: ServerProcess, home: Home, small_model: Path) -> None:
    base = (await server.client.status()).model_sha256
    name = publish_adapter(home, 1, small_model, base)
    with pytest.raises(Refused, match="another base"):
        await server.client.publish(name)
    assert await policy(server) == "base"


async def test_an_adapter_that_was_damaged_overnight_is_not_served(server: ServerProcess, home: Home, tiny_model: Path) -> None:
    base = (await server.client.status()).model_sha256
    names = [publish_adapter(home, number, tiny_model, base) for number in (1, 2)]
    for name in names:
        await server.client.publish(name)
    await server.stop()
    weights = home.adapters / names[1] / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    async with server:
        assert await policy(server) == names[0]
        (notice,) = (await server.client.status()).notices
        assert names[1] in notice and "sha256" in notice
