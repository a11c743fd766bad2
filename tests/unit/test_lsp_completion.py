"""Completion: what the model says and is not shown, and what is recorded of it. The server is an httpx transport of ours."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from completion_bench import Bench, completion_bench
from lsprotocol.types import Position, Range


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with completion_bench(tmp_path) as one:
        yield one


async def test_an_item_inserts_at_the_cursor_and_carries_its_id(bench: Bench) -> None:
    [item] = (await bench.ask()).items
    assert item.insert_text == "foo(1)"
    assert item.range == Range(Position(0, 4), Position(0, 4))
    assert [event["kind"] for event in bench.events()] == ["session_started", "suggested", "shown"]
    assert item.command.arguments == [bench.events()[1]["suggestion_id"]]
    asked = bench.server.asked[0]
    assert (asked["context"]["prefix"], asked["context"]["suffix"]) == ("x = ", "\n"), "the suffix ends with a line"
    assert asked["project"] == "dir-0123456789abcdef"
    assert 0 < asked["deadline_ms"] < 2000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ('"<redacted:assigned>"', "redaction_mark"),
        ("a\u202eb", "hidden_characters"),
        ("a\u200bb", "hidden_characters"),
    ],
)
async def test_what_is_not_fit_to_show_is_recorded_as_withheld(bench: Bench, text: str, reason: str) -> None:
    bench.server.text = text
    assert await bench.ask() is None
    [suggested] = [event for event in bench.events() if event["kind"] == "suggested"]
    assert (suggested["shown"], suggested["withheld_reason"], suggested["text"]) == (False, reason, text)
    assert bench.said == ["nothing"]
    assert [event["kind"] for event in bench.events()] == ["session_started", "suggested"]


async def test_a_secret_that_the_model_makes_up_is_not_recorded(bench: Bench) -> None:
    bench.server.text = 'password = "hunter2hunter2"'
    assert await bench.ask() is not None
    bench.edit(4, "z")
    assert bench.events() == []


async def test_an_answer_for_an_old_text_is_never_shown(bench: Bench) -> None:
    """Neither where it was asked for nor, since it does not go on what was typed, anywhere else."""
    bench.server.gate.clear()
    task = await bench.begin()
    bench.edit(4, "z")
    assert await task is None, "answered at once"
    newer = asyncio.create_task(bench.ask(5))
    await asyncio.sleep(0)
    assert len(bench.server.asked) == 1
    bench.server.gate.set()
    bench.server.text = "oo"
    [item] = (await newer).items
    assert item.insert_text == "oo"
    assert [asked["context"]["prefix"] for asked in bench.server.asked] == ["x = ", "x = z"]
    told = [(e["context"]["prefix"], e["shown"], e["withheld_reason"]) for e in bench.events() if e["kind"] == "suggested"]
    assert told == [("x = ", False, "stale"), ("x = z", True, "")]


async def test_by_hand_where_it_is_shown_asks_for_another_one(bench: Bench) -> None:
    [first] = (await bench.ask()).items
    [same] = (await bench.ask()).items
    assert same.command == first.command
    bench.server.text = "bar"
    [other] = (await bench.ask(invoked=True)).items
    assert other.insert_text == "bar"
    assert bench.events()[-1]["reason"] == "superseded"
    bench.edit(4, "b")
    [rest] = (await bench.ask(5, invoked=True)).items
    assert (rest.insert_text, rest.command) == ("ar", other.command)
    counters = bench.completion.counters
    assert (counters.requests, counters.reused) == (4, 2)


@pytest.mark.parametrize(
    ("code", "status", "heard", "said"),
    [
        ("engine_unavailable", 503, ["engine_down"], "starting"),
        ("storage_full", 507, [], "failed"),
        ("server_unavailable", 503, ["lost"], "unavailable"),
    ],
)
async def test_an_error_is_a_word_in_the_status_and_no_answer(
    bench: Bench, code: str, status: int, heard: list[str], said: str
) -> None:
    bench.server.body, bench.server.status_code = {"code": code, "message": "No.", "mend": ""}, status
    assert await bench.ask() is None
    assert (bench.link.heard, bench.said) == (heard, [said])


async def test_a_partial_acceptance_is_confirmed_in_utf16_units(bench: Bench) -> None:
    bench.server.text = "'😀' + b"
    [item] = (await bench.ask()).items
    bench.edit(4, "'😀' ")
    bench.feedback.confirmed(item.command.arguments[0], item.insert_text, 5)
    accepted = [event for event in bench.events() if event["kind"] == "accepted"]
    assert [(event["accepted_chars"], event["inferred"]) for event in accepted] == [(4, True), (4, False)]
