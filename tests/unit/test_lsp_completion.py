"""Completion: what the model says and is not shown, and what is recorded of it. The server is an httpx transport of ours."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from lsprotocol.types import Position, Range, TextDocumentContentChangePartial

from tacit.lsp.clock import SessionClock
from tacit.lsp.completion import Completion
from tacit.lsp.documents import Document
from tacit.lsp.feedback import Feedback
from tacit.lsp.outbox import Outbox
from tacit.lsp.recorder import Recorder
from tacit.lsp.settings import Settings
from tacit.lsp.status import Status
from tacit.lsp.workspace import Folder, Place
from tacit.protocol.client import TacitClient

URI = "file:///w/a.py"
TEXT = "x = \ny = 2\n"


@dataclass
class Server:
    """Answers with `text`; holds answers back until `gate` is set."""

    text: str = "foo(1)"
    status_code: int = 200
    body: dict[str, Any] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content))
        self.arrived.set()
        await self.gate.wait()
        if self.body is not None:
            return httpx.Response(self.status_code, json=self.body)
        generation = {
            "tokens": [1, 2], "logprobs": [-0.1, -0.2], "temperature": 0.3, "seed": 1, "policy_version": "base",
            "model": "0" * 64, "finish_reason": "eos",
        }  # fmt: skip
        timings = {
            "total_ms": 1.0, "prompt_tokens": 1, "prompt_evaluated": 1, "prompt_ms": 1.0, "generated": 2, "generate_ms": 1.0,
        }  # fmt: skip
        answer = {"request_id": self.asked[-1]["request_id"], "text": self.text, "generation": generation, "timings": timings}
        return httpx.Response(200, json=answer)


class Link:
    """In the place of ServerConnection: a client that is there."""

    def __init__(self, client: TacitClient) -> None:
        self.client = client
        self.server = None
        self.heard: list[str] = []

    def lost(self) -> None:
        self.heard.append("lost")

    def engine_down(self) -> None:
        self.heard.append("engine_down")


@dataclass
class Bench:
    server: Server
    completion: Completion
    link: Link
    document: Document
    feedback: Feedback
    outbox: Outbox
    said: list[str]

    async def ask(self, offset: int = 4, *, invoked: bool = False) -> Any:
        return await self.completion.request(self.document, offset, invoked=invoked)

    def edit(self, start: int, text: str) -> None:
        position = self.document.position_at(start)
        self.completion.changed(URI)
        steps = self.document.change(
            self.document.version + 1, [TextDocumentContentChangePartial(Range(position, position), text)]
        )
        self.feedback.changed(URI, steps)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(entry.line) for entry in self.outbox.waiting(1000)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    server = Server()
    server.gate.set()
    folder = Folder.at(tmp_path)
    folder.project = "dir-0123456789abcdef"
    clock = SessionClock()
    outbox = Outbox(tmp_path / "outbox", "session-0001")
    said: list[str] = []
    async with TacitClient(tmp_path / "s.sock", transport=httpx.MockTransport(server)) as client:
        link = Link(client)
        feedback = Feedback(Recorder(outbox, "session-0001", clock, on_new=lambda: None), clock, lambda uri: True)
        documents = {URI: Document(URI, "python", 1, TEXT)}
        feedback.opened(URI, TEXT)
        completion = Completion(
            documents,
            feedback,
            link,  # type: ignore[arg-type]
            Status(lambda method, params: said.append(params["state"])),
            clock,
            "session-0001",
            settings=lambda: Settings(deadline_ms=2000, max_suffix_chars=5),
            refusal=lambda uri: (Place("a.py", folder), ""),
            may_record=lambda uri: True,
        )
        yield Bench(server, completion, link, documents[URI], feedback, outbox, said)
        feedback.end()
        outbox.close(10)


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
    bench.server.gate.clear()
    task = asyncio.create_task(bench.ask())
    await bench.server.arrived.wait()
    bench.edit(4, "z")
    bench.server.gate.set()
    assert await task is None
    assert bench.completion.counters.cancelled == 1
    assert bench.events() == []


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
    assert (counters.requests, counters.reused, counters.model_calls) == (4, 2, 2)


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
