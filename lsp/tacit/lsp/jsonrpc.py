"""JSON-RPC over two descriptors: framing, dispatch, exactly one answer for each request. Touches those two; knows no LSP.

Own code rather than pygls: answering `initialize` with a bare pygls server takes 305 to 356 ms of the 400 we have, an unusual
header puts it out of step for good, a request it cannot decode is never answered, and it logs what is in the files.

One thread reads and one writes, so that neither side ever waits for the other: an editor that is busy writing to us may not
be reading, and must not be kept from writing. Handlers run on the event loop. A request's handler returns a coroutine; what it
does before returning it sees the documents exactly as they were when the editor asked.
"""

import asyncio
import json
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from tacit.lsp.params import BadParams

log = logging.getLogger(__name__)

Json = Any
RequestHandler = Callable[[Json], Coroutine[Json, Json, Json]]
NotificationHandler = Callable[[Json], None]
Id = int | float | str

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
NOT_INITIALIZED: Final = -32002
CANCELLED: Final = -32800

LONGEST_BODY: Final = 64 * 1024 * 1024
LONGEST_HEADER: Final = 16 * 1024

_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,10})[ \t]*(?=\r?\n)", re.IGNORECASE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_EMBEDDED = re.compile(rb"content-length:[ \t]*\d{1,10}[ \t]*\r?\n", re.IGNORECASE)


class RpcError(Exception):
    """What a request is answered with instead of a result. The message reaches the editor."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Malformed:
    """A body that is no JSON."""


class Frames:
    """Bytes to messages. Out of step, it looks for the next `Content-Length`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None

    def feed(self, data: bytes) -> "Iterator[Json | Malformed]":
        self._buffer += data
        while True:
            if self._length is None:
                end = _HEADER_END.search(self._buffer)
                if end is None:
                    if len(self._buffer) > LONGEST_HEADER:
                        del self._buffer[:-LONGEST_HEADER]
                    return
                found = _LENGTH.findall(bytes(self._buffer[max(0, end.start() - LONGEST_HEADER) : end.end()]))
                del self._buffer[: end.end()]
                if found and int(found[-1]) <= LONGEST_BODY:
                    self._length = int(found[-1])
                continue
            if len(self._buffer) < self._length:
                return
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
            self._length = None
            try:
                yield json.loads(body)
            except (ValueError, RecursionError):
                # The length was a lie: the next message's header may be inside.
                if inside := _EMBEDDED.search(body):
                    self._buffer[:0] = body[inside.start() :]
                yield Malformed()


class Connection:
    """One editor. `handle` and `notified` name the methods; `run` serves until the input ends or `stop` is called."""

    def __init__(self, source: int, sink: int) -> None:
        """Descriptors to read from and to write to."""
        self._source = source
        self._sink = sink
        self._requests: dict[str, RequestHandler] = {}
        self._notifications: dict[str, NotificationHandler] = {}
        self._running: dict[tuple[type, Id], asyncio.Task[None]] = {}
        self._asked: dict[str, asyncio.Future[Json]] = {}
        self._next_id = 0
        self._frames = Frames()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stopped = asyncio.Event()
        self.gate: Callable[[str, bool], RpcError | None] = lambda method, is_request: None
        """Asked before each message with a method: an error refuses it."""

    def handle(self, method: str, handler: RequestHandler) -> None:
        self._requests[method] = handler

    def notified(self, method: str, handler: NotificationHandler) -> None:
        self._notifications[method] = handler

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        writer = threading.Thread(target=self._write, name="tacit-stdout", daemon=True)
        writer.start()
        threading.Thread(target=self._read, args=(loop,), name="tacit-stdin", daemon=True).start()
        await self._stopped.wait()
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._outgoing.put(None)
        # An editor that no longer reads must not keep us alive.
        await asyncio.to_thread(writer.join, 2.0)

    def stop(self) -> None:
        self._stopped.set()

    def notify(self, method: str, params: Json) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def request(self, method: str, params: Json) -> Json:
        """Ask the editor. RpcError if it says no; CancelledError if it goes away."""
        self._next_id += 1
        name = f"tacit-{self._next_id}"
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._asked[name] = answer
        self._send({"jsonrpc": "2.0", "id": name, "method": method, "params": params})
        try:
            return await answer
        finally:
            del self._asked[name]

    def receive(self, data: bytes) -> None:
        """Bytes from the editor; each whole message in them is dispatched, in order."""
        for message in self._frames.feed(data):
            if isinstance(message, Malformed):
                self._answer_error(None, RpcError(PARSE_ERROR, "This message is not JSON."))
            elif not isinstance(message, dict):
                self._answer_error(None, RpcError(INVALID_REQUEST, "A message must be an object."))
            else:
                self._dispatch(message)

    def _dispatch(self, message: dict[str, Json]) -> None:
        method, name = message.get("method"), message.get("id")
        if method is None and ("result" in message or "error" in message):
            self._resolve(message)
        elif "id" in message:
            if isinstance(name, bool) or not isinstance(name, int | float | str):
                self._answer_error(None, RpcError(INVALID_REQUEST, "A request's id must be a number or a string."))
            elif not isinstance(method, str):
                self._answer_error(name, RpcError(INVALID_REQUEST, "A request needs a method."))
            else:
                self._start(name, method, message.get("params"))
        elif isinstance(method, str):
            self._note(method, message.get("params"))

    def _start(self, name: Id, method: str, params: Json) -> None:
        key = (type(name), name)
        refusal = self.gate(method, True)
        handler = self._requests.get(method)
        if refusal is None and handler is None:
            refusal = RpcError(METHOD_NOT_FOUND, f"Tacit has no {method[:200]}.")
        if refusal is None and key in self._running:
            refusal = RpcError(INVALID_REQUEST, "A request with this id is under way.")
        if refusal is not None or handler is None:
            self._answer_error(name, refusal or RpcError(INTERNAL_ERROR, ""))
            return
        try:
            work = handler(params)
        except Exception as error:
            self._answer_error(name, self._as_rpc(error, method))
            return
        task = asyncio.get_running_loop().create_task(self._answer(name, method, work))
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))
        task.add_done_callback(lambda _: work.close())
        # Here and not in the task: one that is cancelled before its first step never runs.
        task.add_done_callback(lambda done: self._answer_error(name, _cancelled()) if done.cancelled() else None)

    async def _answer(self, name: Id, method: str, work: Coroutine[Json, Json, Json]) -> None:
        try:
            result = await work
        except Exception as error:
            self._answer_error(name, self._as_rpc(error, method))
        else:
            self._send({"jsonrpc": "2.0", "id": name, "result": result})

    def _note(self, method: str, params: Json) -> None:
        if method == "$/cancelRequest":
            name = params.get("id") if isinstance(params, dict) else None
            if isinstance(name, int | float | str) and (task := self._running.get((type(name), name))):
                task.cancel()
            return
        handler = self._notifications.get(method)
        if handler is None or self.gate(method, False) is not None:
            return
        try:
            handler(params)
        except Exception as error:
            self._as_rpc(error, method)

    def _as_rpc(self, error: Exception, method: str) -> RpcError:
        """What the editor is told; the trace stays in our log."""
        if isinstance(error, RpcError):
            log.info("%s: %s", method, error)
            return error
        if isinstance(error, BadParams):
            log.info("%s: %s", method, error)
            return RpcError(INVALID_PARAMS, str(error))
        log.error("%s failed", method, exc_info=error)
        return RpcError(INTERNAL_ERROR, f"Tacit failed on {method}; its log says why.")

    def _resolve(self, message: dict[str, Json]) -> None:
        name = message.get("id")
        answer = self._asked.get(name) if isinstance(name, str) else None
        if answer is None or answer.done():
            return
        error = message.get("error")
        if isinstance(error, dict):
            answer.set_exception(RpcError(INTERNAL_ERROR, str(error.get("message", ""))[:500]))
        else:
            answer.set_result(message.get("result"))

    def _answer_error(self, name: Id | None, error: RpcError) -> None:
        self._send({"jsonrpc": "2.0", "id": name, "error": {"code": error.code, "message": str(error)}})

    def _send(self, message: dict[str, Json]) -> None:
        body = json.dumps(message, separators=(",", ":")).encode()
        self._outgoing.put(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    # The two threads

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while data := os.read(self._source, 1 << 16):
                loop.call_soon_threadsafe(self.receive, data)
        except OSError as error:
            log.info("the editor's pipe: %s", error)
        try:
            loop.call_soon_threadsafe(self.stop)
        except RuntimeError:
            # The loop has ended before the input did.
            return

    def _write(self) -> None:
        while (data := self._outgoing.get()) is not None:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._sink, view) :]
            except OSError as error:
                log.info("the editor's pipe: %s", error)
                return


def _cancelled() -> RpcError:
    return RpcError(CANCELLED, "Cancelled.")
