"""The learner against a real server and a real engine, with a tiny model: claims, checks, trains, publishes, refuses, stops.

The tiny model knows nothing, so one night on one repeated line improves it beyond doubt; quality on the real model is the loop's
test. Draws come from the engine itself: their log-probabilities are real.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from tiny_night import COUNT, OPTIONS, PROJECT, TRAIN, draw, fill

from tacit.learner.policy import Policy
from tacit.learner.run import Outcome, learn
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import MANIFEST
from tacit.protocol.events import Suggested
from tacit.protocol.home import Home

NIGHT = 2 * COUNT
"""Twelve sessions, two of which are held out: what six texts are like after training hangs on how the processor rounds."""
LONG = dataclasses.replace(TRAIN, epochs=12, kl_budget=60.0)
"""Until the repeated line is what is written greedily. After less training other noise is, which is no nearer to it."""


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(home, {"model": str(tiny_model), "temperature": "0.8", "canary_share": "0"}) as running:
        yield running


async def policy_version(server: ServerProcess) -> str:
    infos = {info.project: info for info in await server.client.projects()}
    return infos[PROJECT].policy_version


async def run(server: ServerProcess, **changes: object) -> Outcome:
    return await learn(server.client, server.home, dataclasses.replace(OPTIONS, **changes))


async def test_too_few_samples_change_nothing(server: ServerProcess) -> None:
    await fill(server, 3)
    outcome = await run(server)
    assert outcome.state == "skipped"
    assert "3 labelled" in outcome.message and "20 are needed" in outcome.message
    assert "3 labelled suggestions" in outcome.report["show_policy"]["message"]
    assert outcome.report_path is not None and "The show policy stays" in outcome.report_path.read_text()
    assert await policy_version(server) == "base"
    assert not list(server.home.adapters.glob("*")) if server.home.adapters.exists() else True
    assert (await server.client.runs())[0].state == "skipped"


@pytest.mark.soak
@pytest.mark.timeout(2400)
async def test_a_night(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(server, NIGHT)

    # A dry run claims nothing.
    assert "dry run" in (await run(server, dry_run=True)).message
    assert await server.client.runs() == []

    # What the logs say must be what the trainer computes: with another prompt nothing is trained.
    with monkeypatch.context() as patched:
        patched.setattr("tacit.learner.samples.prompt_tokens", lambda fim, context, tokenize: [*tokenize(context.prefix)])
        wrong_prompt = await run(server)
    assert wrong_prompt.state == "refused" and "Nothing was trained" in wrong_prompt.message
    # Nor under weights that did not draw them.
    with monkeypatch.context() as patched:
        patched.setattr(Policy, "exact", _noisy(Policy.exact))
        wrong_weights = await run(server)
    assert wrong_weights.state == "refused" and "Nothing was trained" in wrong_weights.message
    assert await policy_version(server) == "base"

    # A candidate that learned the opposite does not pass the gate.
    backwards = dataclasses.replace(TRAIN, epochs=1, coefficients=dataclasses.replace(TRAIN.coefficients, hindsight=-0.5))
    harmful = await run(server, train=backwards)
    assert harmful.state == "refused", harmful.message
    assert harmful.report["not_reached"], "it was tried further after a refusal"
    assert await policy_version(server) == "base" and not (server.home.adapters / harmful.adapter).exists()

    # The real one does, and serves.
    outcome = await run(server, train=LONG)
    assert outcome.state == "published", outcome.message
    # Six dozen suggestions say nothing about the value of another policy: that is said.
    assert len(outcome.report["gate_seconds"]) == 5
    verdicts = {check["name"]: check["verdict"] for check in outcome.report["checks"]}
    assert verdicts["off-policy value"] == "inconclusive" and verdicts["forgetting"] == "passed"
    # What it was told again and again is what it writes first.
    similarity = next(check for check in outcome.report["checks"] if check["name"] == "held-out similarity")
    assert similarity["passed"] and similarity["figures"]["exact_prefix_after"] > similarity["figures"]["exact_prefix_before"]
    folder = server.home.adapters / outcome.adapter
    assert (folder / MANIFEST).exists()
    assert await policy_version(server) == outcome.adapter
    detail = await server.client.adapter(outcome.adapter)
    assert detail.info.state == "live" and 0 < detail.samples < NIGHT
    assert outcome.report["training"]["kl_serving"] <= LONG.kl_budget
    assert outcome.report_path is not None and outcome.report_path.read_text().startswith(f"# Run {outcome.run_id}: published")
    lineage = {json.loads(line)["suggestion_id"] for line in (folder / "lineage.jsonl").read_text().splitlines()}
    assert f"suggestion-{NIGHT - 1:04d}" not in lineage, "held out, and yet in the lineage"
    assert not list((server.home.runs / outcome.run_id).glob("adapter"))

    # It does not learn from the same suggestions again.
    again = await run(server, min_samples=20)
    assert again.state == "skipped" and "learned from before" in again.message

    # The next draws are the new policy's: the next night trains from it, and its logs agree with its weights.
    for number in range(NIGHT, NIGHT + COUNT):
        events = await draw(server.client, number)
        assert isinstance(events[0], Suggested) and events[0].generation.policy_version == outcome.adapter
        await server.client.send_events(events)
    second = await run(server)
    checks = {check["name"]: check for check in second.report["checks"]}
    assert checks["logged draws"]["passed"], checks["logged draws"]["message"]
    assert second.report["parent"] == outcome.adapter and second.report["training"]["steps"] > 0
    # What the first one learned from is gone over again, and only that.
    assert outcome.report["counts"]["rehearsed"] == 0 < second.report["counts"]["rehearsed"] <= len(lineage)


@pytest.mark.soak
@pytest.mark.timeout(2400)
async def test_ending_the_learner_leaves_nothing_half(server: ServerProcess) -> None:
    """The process that the schedule starts is told to end while it trains."""
    await fill(server, 12)
    command = (sys.executable, "-m", "tacit.learner", "--project", PROJECT, "--min-samples", "10", "--socket", server.home.socket)
    process = await asyncio.create_subprocess_exec(
        *map(str, command), env={**os.environ, **server.environment}, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(120):
            while True:
                status = await server.client.status()
                if status.running is not None and status.running.stage not in ("", "starting", "exporting"):
                    break
                assert process.returncode is None
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    last = (await server.client.runs())[0]
    assert last.state == "interrupted"
    assert await policy_version(server) == "base"
    assert not list(server.home.adapters.glob("*")) if server.home.adapters.exists() else True


def _noisy(exact: object) -> object:
    """Policy.exact, with every frozen matrix disturbed while it lasts."""

    @contextlib.contextmanager
    def disturbed(policy: Policy) -> object:
        with exact(policy):  # type: ignore[operator]
            frozen = [p for p in policy.generator().parameters() if p.ndim == 2 and not p.requires_grad]
            torch.manual_seed(0)
            noise = [torch.randn_like(p) * p.std() * 0.3 for p in frozen]
            for parameter, disturbance in zip(frozen, noise, strict=True):
                parameter.data += disturbance
            yield
            for parameter, disturbance in zip(frozen, noise, strict=True):
                parameter.data -= disturbance

    return disturbed
