"""Fix, Explain and the chat with a server that is an httpx transport of ours and an editor that is a list of messages."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from completion_bench import Link
from lsprotocol import types

from tacit.lsp.clock import SessionClock
from tacit.lsp.debugging.actions import Client, Question
from tacit.lsp.debugging.applying import Applying
from tacit.lsp.debugging.chat import Chat
from tacit.lsp.debugging.debugging import Debugging
from tacit.lsp.debugging.surroundings import Surroundings
from tacit.lsp.documents import Document
from tacit.lsp.feedback import Feedback
from tacit.lsp.outbox import Outbox
from tacit.lsp.recorder import Recorder
from tacit.lsp.rpc import Server as Lsp
from tacit.lsp.settings import Settings
from tacit.lsp.workspace import Place, Workspace
from tacit.protocol.client import TacitClient

TEXT = "import os\n\n\ndef add(a, b):\n    retrun a + b\n\n\nprint(add(1, 2))\n"
WRONG = TEXT.index("retrun")
GENERATION = {
    "tokens": [1, 2], "logprobs": [-0.1, -0.2], "temperature": 0.3, "seed": 1, "policy_version": "base", "model": "0" * 64,
    "finish_reason": "eos",
}  # fmt: skip
TIMINGS = {"total_ms": 1.0, "prompt_tokens": 1, "prompt_evaluated": 1, "prompt_ms": 1.0, "generated": 2, "generate_ms": 1.0}


def edit(start: int, end: int, text: str, path: str = "a.py") -> dict[str, Any]:
    """A proposal of one edit."""
    one = {"start": start, "end": end, "text": text, "path": path}
    checks = [{"name": "tests", "result": "unchecked", "note": "There are no tests."}]
    return {"kind": "edit", "edits": [one], "reason": "A typing mistake.", "confidence": 0.75, "checks": checks}


FIX = edit(WRONG, WRONG + 6, "return")


class Answers(httpx.AsyncByteStream):
    def __init__(self, server: "Model", chunks: list[dict[str, Any]]) -> None:
        self._server = server
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield json.dumps(chunk).encode() + b"\n"
            self._server.said.set()
            await self._server.gate.wait()

    async def aclose(self) -> None:
        self._server.closed.set()


@dataclass
class Model:
    """Says `chunks` to each question, and `done`; after the first it waits for `gate`."""

    chunks: list[dict[str, Any]] = field(default_factory=lambda: [{"kind": "progress", "text": "Reading the error"}, FIX])
    cut: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    said: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        self.asked.append({**asked, "route": request.url.path})
        draw = {"messages": [{"role": "user", "text": "?"}], "text": "!", "generation": GENERATION, "shown": True}
        draws = [draw] if asked["record"] else []
        done = {
            "kind": "done", "request_id": asked["request_id"], "policy_version": "base", "draws": draws, "timings": TIMINGS,
            "cut": self.cut,
        }  # fmt: skip
        return httpx.Response(200, stream=Answers(self, [*self.chunks, done]))


class Sink:
    """What the language server writes."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        self.messages.append(json.loads(data))

    def close(self) -> None:
        pass


@dataclass
class Bench:
    model: Model
    debugging: Debugging
    chat: Chat
    lsp: Lsp
    sink: Sink
    document: Document
    workspace: Workspace
    feedback: Feedback
    outbox: Outbox
    clock: SessionClock
    root: Path
    settings: Settings = field(default_factory=Settings)
    refusal: str = ""

    def question(self, start: int = WRONG, end: int = WRONG + 6, *, message: str = "unexpected `a`") -> Question:
        where = types.Range(self.document.position_at(start), self.document.position_at(end))
        told = [types.Diagnostic(where, message, source="ty", code="syntax")] if message else None
        return Question(self.document.uri, where, self.document.version, told)

    async def fixed(self, question: Question | None = None) -> types.WorkspaceEdit | None:
        """As an editor does that resolves actions."""
        data = self.lsp.plain(question or self.question())
        action = await self.debugging.resolve(types.CodeAction("Fix", data=json.loads(json.dumps(data))))
        return action.edit

    def type(self, start: int, end: int, text: str) -> None:
        span = types.Range(self.document.position_at(start), self.document.position_at(end))
        steps = self.document.change(self.document.version + 1, [types.TextDocumentContentChangePartial(span, text)])
        self.debugging.changed(self.document.uri, steps)
        self.feedback.changed(self.document.uri, steps)

    def apply(self, edit: types.WorkspaceEdit) -> None:
        """All edits of the document, as one change."""
        [change] = edit.document_changes or ()
        assert isinstance(change, types.TextDocumentEdit)
        assert change.text_document.version == self.document.version
        told = [types.TextDocumentContentChangePartial(one.range, one.new_text) for one in reversed(change.edits)]  # type: ignore[union-attr]
        steps = self.document.change(self.document.version + 1, told)
        self.debugging.changed(self.document.uri, steps)
        self.feedback.changed(self.document.uri, steps)

    def complain(self, *messages: str, lines: Sequence[int] = ()) -> None:
        """The tools' word on the file, as a plugin passes it on. lines: of each; else where the fault is."""
        told = [
            types.Diagnostic(types.Range(types.Position(line, 4), types.Position(line, 10)), message, source="ty")
            for message, line in zip(messages, lines or [4] * len(messages), strict=True)
        ]
        self.debugging.told(self.document.uri, told)

    def messages(self) -> list[str]:
        return [one["params"]["message"] for one in self.sink.messages if one.get("method") == "window/showMessage"]

    def progress(self) -> list[Any]:
        return [one["params"]["value"] for one in self.sink.messages if one.get("method") == "$/progress"]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(entry.line) for entry in self.outbox.waiting(1000)]

    def kinds(self) -> list[str]:
        return [one["kind"] + (f":{one['horizon']}" if "horizon" in one else "") for one in self.events()]


@asynccontextmanager
async def debugging_bench(root: Path, client: Client | None = None, text: str = TEXT) -> AsyncIterator[Bench]:
    model = Model()
    model.gate.set()
    root = root.resolve()
    workspace = Workspace()
    workspace.add([root.as_uri()])
    workspace.folders[0].project = "dir-0123456789abcdef"
    path = root / "a.py"
    path.write_text(text, encoding="utf-8")
    uri = path.as_uri()
    clock = SessionClock()
    outbox = Outbox(root / "outbox", "session-0001")
    lsp, sink = Lsp("test", "1"), Sink()
    lsp.protocol.set_writer(sink, include_headers=False)  # type: ignore[arg-type]
    async with TacitClient(root / "s.sock", transport=httpx.MockTransport(model)) as http:
        feedback = Feedback(
            Recorder(outbox, "session-0001", clock, on_new=lambda: None),
            clock,
            lambda uri: True,
            heard=lambda uri, outcome: debugging.heard(uri, outcome),
        )
        documents = {uri: Document(uri, "python", 7, text)}
        feedback.opened(uri, text)

        def refusal(of: str) -> tuple[Place, str]:
            place = workspace.place(of)
            return place, bench.refusal or place.refused

        client = client or Client(literals=True, resolves=True, versions=True, applies=True, progress=True)
        debugging = Debugging(
            lsp,
            client,
            documents,
            feedback,
            Link(http),  # type: ignore[arg-type]
            clock,
            "session-0001",
            settings=lambda: bench.settings,
            place=workspace.place,
            refusal=refusal,
            may_record=lambda of: True,
            applying=Applying(
                lsp,
                client,
                documents,
                feedback,
                clock,
                "session-0001",
                refusal=refusal,
                watch=lambda *about: debugging.watch(*about),
            ),
            surroundings=Surroundings(documents, workspace, lambda: bench.settings.snippet_tokens != 0),
        )
        chat = Chat(lsp, debugging, documents, refusal)
        bench = Bench(model, debugging, chat, lsp, sink, documents[uri], workspace, feedback, outbox, clock, root)
        yield bench
        debugging.works.stop()
        feedback.end()
        outbox.close(10)
