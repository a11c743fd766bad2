"""Completion with a server that is an httpx transport of ours: what it answers, and when, is up to the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from lsprotocol.types import Range, TextDocumentContentChangePartial

from tacit.lsp.clock import SessionClock
from tacit.lsp.completion import Completion
from tacit.lsp.documents import Document
from tacit.lsp.feedback import Feedback
from tacit.lsp.outbox import Outbox
from tacit.lsp.recorder import Recorder
from tacit.lsp.settings import Settings
from tacit.lsp.show_policy import ShowPolicy
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
    says: Callable[[dict[str, Any]], str] | None = None
    """In the place of `text`: the answer to each request."""
    delay: Callable[[], float] = lambda: 0.0
    """Seconds that an answer takes."""
    body: dict[str, Any] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        self.asked.append(asked)
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
        await asyncio.sleep(self.delay())
        text = self.text if self.says is None else self.says(asked)
        answer = {"request_id": asked["request_id"], "text": text, "generation": generation, "timings": timings}
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
    settings: Settings
    chance: float = 0.5

    async def ask(self, offset: int = 4, *, invoked: bool = False) -> Any:
        return await self.completion.request(self.document, offset, invoked=invoked)

    def edit(self, start: int, text: str, end: int | None = None) -> None:
        span = Range(self.document.position_at(start), self.document.position_at(start if end is None else end))
        steps = self.document.change(self.document.version + 1, [TextDocumentContentChangePartial(span, text)])
        self.completion.changed(URI, steps)
        self.feedback.changed(URI, steps)

    async def begin(self, offset: int = 4) -> "asyncio.Task[Any]":
        """A request whose call is with the model."""
        self.server.arrived.clear()
        task = asyncio.create_task(self.ask(offset))
        await self.server.arrived.wait()
        return task

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(entry.line) for entry in self.outbox.waiting(1000)]


@asynccontextmanager
async def completion_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    server = Server()
    server.gate.set()
    folder = Folder.at(tmp_path)
    folder.project = "dir-0123456789abcdef"
    # Nobody waits for a pause in the typing.
    clock = SessionClock(1000)
    outbox = Outbox(tmp_path / "outbox", "session-0001")
    said: list[str] = []
    async with TacitClient(tmp_path / "s.sock", transport=httpx.MockTransport(server)) as client:
        link = Link(client)
        feedback = Feedback(
            Recorder(outbox, "session-0001", clock, on_new=lambda: None),
            clock,
            lambda uri: True,
            heard=lambda uri, outcome: completion.heard(uri, outcome),
        )
        documents = {URI: Document(URI, "python", 1, TEXT)}
        feedback.opened(URI, TEXT)
        completion = Completion(
            documents,
            feedback,
            link,  # type: ignore[arg-type]
            # What it waits for is not what came of it.
            Status(lambda method, params: said.append(params["state"]) if params["state"] != "waiting" else None),
            clock,
            "session-0001",
            policy=ShowPolicy(tmp_path / "show_policy.json", lambda: bench.chance),
            settings=lambda: bench.settings,
            refusal=lambda uri: (Place("a.py", folder), ""),
            may_record=lambda uri: True,
        )
        settings = Settings(deadline_ms=2000, max_suffix_chars=5, prefetch=False)
        bench = Bench(server, completion, link, documents[URI], feedback, outbox, said, settings)
        yield bench
        completion.interrupt()
        feedback.end()
        outbox.close(10)
