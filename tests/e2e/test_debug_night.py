"""A night of answers about errors with a real server and engine: from ratings and corrections in the store to a `debug` adapter
that answers, while completions stay what they were. The tiny model knows nothing, so what it is told again and again it learns.
"""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tiny_night import OPTIONS, PROJECT, TRAIN

from tacit.learner.run import learn
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.debugging import DebugRequest, Done
from tacit.protocol.events import DebugRecord, Event, Rated, Suggested, new_id
from tacit.protocol.home import Home

pytestmark = [pytest.mark.timeout(2400), pytest.mark.soak]

COUNT = 48
TRACE = (
    'Traceback (most recent call last):\n  File "shop.py", line {line}, in pay\n    total / count\n'
    "ZeroDivisionError: division by zero\n"
)
CORRECTION = "The ledger has no entry"
START = datetime(2026, 11, 20, 9, tzinfo=UTC)
LEARN = dataclasses.replace(OPTIONS, task="debug", train=TRAIN)


async def explained(server: ServerProcess, number: int) -> Done:
    request = DebugRequest(
        kind="explain", request_id=new_id(), session_id=f"session-{number // 8:04d}", project=PROJECT,
        trace=TRACE.format(line=number), record=True, max_tokens=8, seed=number, deadline_ms=300_000,
    )  # fmt: skip
    (*_, done) = [chunk async for chunk in server.client.debug(request)]
    assert isinstance(done, Done)
    return done


async def answer(server: ServerProcess, number: int) -> list[Event]:
    """One explanation by the engine: every third was praised, the others were put right."""
    done = await explained(server, number)
    (draw,) = done.draws
    context = Context(path="shop.py", language="python", prefix="", suffix="")
    source = {"session_id": f"session-{number // 8:04d}", "suggestion_id": f"suggestion-{number:04d}"}
    at = START + number * timedelta(minutes=1)
    record = DebugRecord(kind="explain", trace=TRACE.format(line=number), draws=done.draws)
    good = number % 3 == 0
    return [
        Suggested(
            **source, at=at, project=PROJECT, task="debug", context=context, context_sha256=f"{number:064d}", text=draw.text,
            generation=draw.generation, trigger="invoked", p_show=1, shown=True, latency_ms=10, engine_ms=9, debug=record,
        ),
        Rated(**source, at=at, value=1 if good else -1, correction=None if good else f"{CORRECTION} {number}."),
    ]  # fmt: skip


async def test_a_night_of_answers(home: Home, tiny_model: Path) -> None:
    async with ServerProcess(home, {"model": str(tiny_model), "temperature": "0.8", "canary_share": "0"}) as server:
        for number in range(COUNT):
            await server.client.send_events(await answer(server, number))

        completions = await learn(server.client, home, dataclasses.replace(LEARN, task="completion"))
        assert completions.state == "skipped" and "no new suggestion" in completions.message

        outcome = await learn(server.client, home, LEARN)
        assert outcome.state == "published", outcome.message
        assert "-d@" in outcome.adapter and "show_policy" not in outcome.report
        verdicts = {check["name"]: check["verdict"] for check in outcome.report["checks"]}
        assert verdicts["logged draws"] == verdicts["held-out perplexity"] == "passed"
        assert verdicts["off-policy value"] == "inconclusive"
        detail = await server.client.adapter(outcome.adapter)
        assert (detail.info.task, detail.info.state) == ("debug", "live")
        lineage = (home.adapters / outcome.adapter / "lineage.jsonl").read_text().splitlines()
        assert 0 < len(lineage) < COUNT and json.loads(lineage[0])["suggestion_id"].startswith("suggestion-")

        # It answers about errors, and about nothing else.
        assert (await explained(server, COUNT)).policy_version == outcome.adapter
        context = Context(path="a.py", language="python", prefix="def pay(total):\n    ", suffix="\n")
        request = CompleteRequest(
            request_id=new_id(), session_id="session-0001", project=PROJECT, context=context, max_tokens=4, deadline_ms=60_000
        )
        assert (await server.client.complete(request)).generation.policy_version == "base"

        # Nothing is learned twice; the next night begins where this one ended.
        again = await learn(server.client, home, LEARN)
        assert again.state == "skipped" and "learned from before" in again.message
