"""An editor without a screen: a real LSP client that starts `python -m tacit.lsp` and talks to it over stdio.

For tests, the demo and the benches. May touch: one child process. Must not: import the language server, or know anything
that an editor would not know. Offsets here are code points; positions on the wire are UTF-16, as LSP has them.
"""

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tacit.learner.simulate.positions import offset_at, position_at
from tacit.protocol.errors import TacitError

Json = Any
AnswerMessage = Callable[[str, Sequence[str]], str | None]
"""Asked by `window/showMessageRequest`: message and titles of the buttons; returns the title pressed, None to close it."""

MAX_FRAME = 64 * 1024 * 1024


class LspError(Exception):
    """The language server answered a request with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


class EditorClosed(TacitError):
    """The language server ended while an answer was awaited, or did not start. The message holds the end of its stderr."""


@dataclass(slots=True)
class Document:
    """An open document as the editor holds it."""

    path: Path
    uri: str
    language: str
    text: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class Item:
    """One inline completion item."""

    text: str
    start: int
    end: int
    """Offsets of what it replaces, in the text it was asked for."""
    raw: Json

    @property
    def suggestion_id(self) -> str:
        """The id that the item carries in `command.arguments`; empty if there is none."""
        for argument in (self.raw.get("command") or {}).get("arguments") or ():
            if isinstance(argument, str):
                return argument
            if isinstance(argument, dict) and "suggestionId" in argument:
                return str(argument["suggestionId"])
        return ""


@dataclass(slots=True)
class Pending:
    """A request under way."""

    id: int
    method: str
    answer: "asyncio.Future[Json]"
    sent_at: float
    """perf_counter seconds."""
    answered_at: float = 0.0
    """Or given up."""

    @property
    def elapsed_ms(self) -> float:
        return (self.answered_at - self.sent_at) * 1000


@dataclass(slots=True)
class _Watch:
    method: str
    accepts: Callable[[Json], bool]
    seen: "asyncio.Future[Json]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Editor:
    """One editor window with one workspace folder. Use as an async context manager, or call `start` and `stop`."""

    def __init__(
        self,
        root: Path,
        *,
        options: Mapping[str, Json] | None = None,
        environment: Mapping[str, str] | None = None,
        answer_message: AnswerMessage = lambda message, titles: None,
        command: Sequence[str] = (sys.executable, "-P", "-m", "tacit.lsp"),
        name: str = "tacit-simulated-editor",
    ) -> None:
        """options: initializationOptions, also what `workspace/configuration` is answered with.
        environment: added to this process's own."""
        self.root = root
        self.options = dict(options or {})
        self.notifications: list[tuple[str, Json]] = []
        """Everything the server said without being asked, in order."""
        self.capabilities: Json = {}
        self.stderr: deque[str] = deque(maxlen=200)
        self._name = name
        self._command = tuple(command)
        self._environment = {**os.environ, **(environment or {})}
        self._answer_message = answer_message
        self._pending: dict[int, Pending] = {}
        self._watches: list[_Watch] = []
        self._documents: dict[str, Document] = {}
        self._next_id = 0
        self._process: asyncio.subprocess.Process | None = None
        self._ended = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    # The connection

    async def start(self, *, timeout: float = 60) -> Json:
        """Start the language server and initialize it; returns its InitializeResult. EditorClosed: it does not answer."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=MAX_FRAME,
        )
        self._ended = False
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._read_stderr())]
        try:
            result = await self.request("initialize", self._initialize_params(), timeout=timeout)
        except TimeoutError as error:
            await self.kill()
            said = "\n".join(self.stderr)
            raise EditorClosed(f"The language server did not answer within {timeout:.0f} s. {said}".strip()) from error
        except BaseException:
            await self.kill()
            raise
        self.capabilities = result["capabilities"]
        self.notify("initialized", {})
        return result

    async def stop(self, *, timeout: float = 15) -> int | None:
        """shutdown and exit; killed if that takes longer than `timeout` seconds. Returns the exit status."""
        process = self._process
        if process is None:
            return None
        try:
            if process.returncode is None:
                async with asyncio.timeout(timeout):
                    await self.request("shutdown", None, timeout=timeout)
                    self.notify("exit", None)
                    await process.wait()
        except (TimeoutError, LspError, EditorClosed, ConnectionError):
            pass
        await self.kill()
        return process.returncode

    async def kill(self) -> None:
        """End the language server at once, as a crash of the editor would."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()
        # The pipes are at their end now; the readers finish by themselves.
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if process.stdin is not None:
            process.stdin.close()

    @property
    def pid(self) -> int:
        """Of the language server."""
        if self._process is None:
            raise EditorClosed("The language server is not running.")
        return self._process.pid

    async def request(self, method: str, params: Json, *, timeout: float = 60) -> Json:
        """The result; LspError if the server answers with an error, TimeoutError, EditorClosed."""
        return await self.answer(self.send(method, params), timeout=timeout)

    def send(self, method: str, params: Json) -> Pending:
        """Send a request without waiting for its answer."""
        self._next_id += 1
        pending = Pending(self._next_id, method, asyncio.get_running_loop().create_future(), time.perf_counter())
        self._pending[pending.id] = pending
        try:
            self._write({"jsonrpc": "2.0", "id": pending.id, "method": method, "params": params})
        except BaseException:
            del self._pending[pending.id]
            raise
        return pending

    async def answer(self, pending: Pending, *, timeout: float = 60) -> Json:
        try:
            async with asyncio.timeout(timeout):
                return await pending.answer
        finally:
            pending.answered_at = pending.answered_at or time.perf_counter()
            self._pending.pop(pending.id, None)

    def cancel(self, pending: Pending) -> None:
        """The server still answers, usually with an error (code -32800) or nothing."""
        self.notify("$/cancelRequest", {"id": pending.id})

    def notify(self, method: str, params: Json) -> None:
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    async def wait_for(self, method: str, accepts: Callable[[Json], bool] = lambda params: True, *, timeout: float = 30) -> Json:
        """The first notification of this method, past or to come, that `accepts` takes."""
        for seen, params in self.notifications:
            if seen == method and accepts(params):
                return params
        watch = _Watch(method, accepts)
        self._watches.append(watch)
        try:
            async with asyncio.timeout(timeout):
                return await watch.seen
        finally:
            self._watches.remove(watch)

    # Documents

    def open(self, path: Path, text: str, *, language: str = "python") -> Document:
        document = Document(path, path.as_uri(), language, text)
        self._documents[document.uri] = document
        self.notify(
            "textDocument/didOpen",
            {"textDocument": {"uri": document.uri, "languageId": language, "version": document.version, "text": text}},
        )
        return document

    def change(self, document: Document, start: int, end: int, text: str) -> None:
        """Replace [start, end) by `text`, told as one incremental change."""
        change = {
            "range": {"start": position_at(document.text, start), "end": position_at(document.text, end)},
            "text": text,
        }
        document.text = document.text[:start] + text + document.text[end:]
        document.version += 1
        self.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": document.uri, "version": document.version}, "contentChanges": [change]},
        )

    def save(self, document: Document) -> None:
        """Write the file and say so."""
        document.path.parent.mkdir(parents=True, exist_ok=True)
        document.path.write_text(document.text, encoding="utf-8")
        self.notify("textDocument/didSave", {"textDocument": {"uri": document.uri}})

    def close(self, document: Document) -> None:
        del self._documents[document.uri]
        self.notify("textDocument/didClose", {"textDocument": {"uri": document.uri}})

    # Completions

    def ask(self, document: Document, offset: int, *, invoked: bool = False) -> Pending:
        """Ask for inline completions at `offset` without waiting; finish with `items`."""
        params = {
            "textDocument": {"uri": document.uri},
            "position": position_at(document.text, offset),
            "context": {"triggerKind": 1 if invoked else 2},
        }
        return self.send("textDocument/inlineCompletion", params)

    async def items(self, document: Document, offset: int, pending: Pending, *, timeout: float = 60) -> list[Item]:
        """The items of an `ask`, whose document and offset these are."""
        result = await self.answer(pending, timeout=timeout)
        raw_items = result["items"] if isinstance(result, dict) else result or []
        return [_item(document.text, offset, raw) for raw in raw_items]

    async def complete(self, document: Document, offset: int, *, invoked: bool = False, timeout: float = 60) -> list[Item]:
        """Ask and wait. LspError if the request failed."""
        return await self.items(document, offset, self.ask(document, offset, invoked=invoked), timeout=timeout)

    def accept(self, document: Document, item: Item, *, length: int | None = None) -> int:
        """Put the item, or its first `length` characters, into the document; returns the offset after it."""
        taken = item.text if length is None else item.text[:length]
        self.change(document, item.start, item.end, taken)
        return item.start + len(taken)

    async def run_command(self, item: Item) -> None:
        """What an editor does after a full acceptance, if it supports `item.command`."""
        command = item.raw.get("command")
        if command:
            await self.request("workspace/executeCommand", {"command": command["command"], "arguments": command["arguments"]})

    def shown(self, item: Item) -> None:
        self.notify("textDocument/didShowCompletion", {"item": item.raw})

    def reject(self, item: Item) -> None:
        """Esc."""
        self.notify("tacit/didRejectCompletion", {"item": item.raw})

    # What comes from the server

    async def _read(self) -> None:
        stdout = self._child().stdout
        assert stdout is not None
        try:
            while (length := await _content_length(stdout)) is not None:
                self._dispatch(json.loads(await stdout.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._ended = True
            closed = EditorClosed("The language server ended. " + "\n".join(self.stderr))
            for waiting in [pending.answer for pending in self._pending.values()] + [watch.seen for watch in self._watches]:
                if not waiting.done():
                    waiting.set_exception(closed)
                    # Whoever awaits it gets it; if nobody does any more, that is no news.
                    waiting.exception()

    async def _read_stderr(self) -> None:
        stderr = self._child().stderr
        assert stderr is not None
        while line := await stderr.readline():
            self.stderr.append(line.decode("utf-8", "replace").rstrip())

    def _dispatch(self, message: Json) -> None:
        method = message.get("method")
        if method is None:
            self._resolve(message)
        elif "id" in message:
            self._serve(message["id"], method, message.get("params"))
        else:
            params = message.get("params")
            self.notifications.append((method, params))
            for watch in self._watches:
                if watch.method == method and not watch.seen.done() and watch.accepts(params):
                    watch.seen.set_result(params)

    def _resolve(self, message: Json) -> None:
        pending = self._pending.get(message.get("id"))
        if pending is None or pending.answer.done():
            return
        pending.answered_at = time.perf_counter()
        if error := message.get("error"):
            pending.answer.set_exception(LspError(error["code"], error["message"]))
            pending.answer.exception()
        else:
            pending.answer.set_result(message.get("result"))

    def _serve(self, id_: Json, method: str, params: Json) -> None:
        answer: dict[str, Json] = {"jsonrpc": "2.0", "id": id_}
        if method == "window/showMessageRequest":
            titles = [action["title"] for action in params.get("actions") or ()]
            chosen = self._answer_message(params["message"], titles)
            answer["result"] = {"title": chosen} if chosen is not None else None
            self.notifications.append((method, params))
        elif method == "workspace/configuration":
            answer["result"] = [self.options for _ in params["items"]]
        elif method == "workspace/workspaceFolders":
            answer["result"] = [self._folder()]
        elif method in {"window/workDoneProgress/create", "client/registerCapability", "client/unregisterCapability"}:
            answer["result"] = None
        else:
            answer["error"] = {"code": -32601, "message": f"This editor has no {method}."}
        self._write(answer)

    def _write(self, message: Json) -> None:
        stdin = self._child().stdin
        if stdin is None or stdin.is_closing() or self._ended:
            raise EditorClosed("The language server has closed its input. " + "\n".join(self.stderr))
        body = json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")
        stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def _child(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise EditorClosed("The language server is not running.")
        return self._process

    def _folder(self) -> dict[str, str]:
        return {"uri": self.root.as_uri(), "name": self.root.name}

    def _initialize_params(self) -> dict[str, Json]:
        return {
            "processId": os.getpid(),
            "clientInfo": {"name": self._name, "version": "1"},
            "rootUri": self.root.as_uri(),
            "workspaceFolders": [self._folder()],
            "initializationOptions": self.options,
            "capabilities": {
                "general": {"positionEncodings": ["utf-16"]},
                "workspace": {"configuration": True, "workspaceFolders": True},
                "window": {"workDoneProgress": True, "showMessage": {}},
                "textDocument": {
                    "synchronization": {"didSave": True, "dynamicRegistration": False},
                    "inlineCompletion": {"dynamicRegistration": False},
                },
            },
        }


async def _content_length(stream: asyncio.StreamReader) -> int | None:
    """Read one header block; None at the end of the stream."""
    length = None
    while (line := await stream.readline()) not in (b"\r\n", b"\n", b""):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    return length


def _item(text: str, offset: int, raw: Json) -> Item:
    inserted = raw["insertText"]
    where = raw.get("range")
    start = offset_at(text, where["start"]) if where else offset
    end = offset_at(text, where["end"]) if where else offset
    return Item(inserted if isinstance(inserted, str) else inserted["value"], start, end, raw)
