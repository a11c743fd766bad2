"""A night over a log with everything wrong in it at once: it learns from what is sound, and says what was not."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tiny_night import COUNT, OPTIONS, PROJECT, draw

from tacit.learner.run import learn
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.events import Event, Rated, Suggested
from tacit.protocol.home import Home

OTHER = "b" * 64


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(home, {"model": str(tiny_model), "temperature": "0.8", "canary_share": "0"}) as running:
        yield running


def copied(events: list[Event]) -> list[Event]:
    """The same again under other names, as from a restored backup."""
    return [
        event.model_copy(update={"id": event.id[::-1], "suggestion_id": f"copy-of-{event.suggestion_id}"})  # type: ignore[union-attr]
        for event in events
    ]


@pytest.mark.soak
@pytest.mark.timeout(2400)
async def test_a_night_over_a_bad_log(server: ServerProcess) -> None:
    """The base has changed under all of it; a session is of 2038; every draw came twice; 5 % of ratings are hostile; a file has a
    U+2028 in it."""
    empty = await learn(server.client, server.home, dataclasses.replace(OPTIONS, min_samples=1))
    assert empty.state == "skipped" and "There is no new suggestion" in empty.message

    for number in range(COUNT):
        events = await draw(server.client, number)
        suggested = events[0]
        assert isinstance(suggested, Suggested)
        context = suggested.context
        if number == 3:
            context = context.model_copy(update={"suffix": context.suffix + "# a\u2028b\x85c\n"})
        changes = {
            "generation": suggested.generation.model_copy(update={"model": OTHER, "policy_version": f"{PROJECT[:12]}-c@000001"}),
            "context": context,
            "context_sha256": context.digest(),
        }
        events[0] = suggested.model_copy(update=changes)
        if number // 6 == 1:
            events = [event.model_copy(update={"at": event.at.replace(year=2038)}) for event in events]
        if number in (8, 20):
            source = {"session_id": suggested.session_id, "suggestion_id": suggested.suggestion_id}
            events.append(Rated(**source, at=datetime.now(UTC), value=1))
        await server.client.send_events([*events, *copied(events)])

    outcome = await learn(server.client, server.home, OPTIONS)
    assert outcome.state == "published", outcome.message
    assert f"{COUNT} of {2 * COUNT} suggestions were in the log more than once" in outcome.message
    assert f"6 of {COUNT} suggestions carry a time that cannot be" in outcome.message
    assert f"The base model has changed: {COUNT} of {COUNT}" in outcome.message and "bbbbbbbbbbbb…" in outcome.message
    verdicts = {check["name"]: check["verdict"] for check in outcome.report["checks"]}
    assert verdicts["logged draws"] == "not run" and verdicts["held-out perplexity"] == "passed"
    assert outcome.report["training"]["kl_serving"] <= OPTIONS.train.kl_budget
    assert outcome.report_path is not None and "What was odd in the log" in outcome.report_path.read_text()

    # Whoever learned from a draw has learned from its copies.
    again = await learn(server.client, server.home, OPTIONS)
    assert again.state == "skipped" and "learned from before" in again.message, again.message
