"""The editor's two pipes: bytes to JSON and back. Touches two descriptors; knows neither JSON-RPC nor LSP.

Own code rather than pygls' reader and writer: one unusual header puts that reader out of step for good, and its writer waits for
the editor. Here one thread reads and one writes, so that neither side ever waits for the other: an editor that is busy writing
to us may not be reading, and must not be kept from writing.
"""

import asyncio
import json
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

log = logging.getLogger(__name__)

LONGEST_BODY: Final = 64 * 1024 * 1024
LONGEST_HEADER: Final = 16 * 1024
LAST_WRITE_S: Final = 2.0
"""An editor that no longer reads must not keep us alive."""

_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,10})[ \t]*(?=\r?\n)", re.IGNORECASE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_EMBEDDED = re.compile(rb"content-length:[ \t]*\d{1,10}[ \t]*\r?\n", re.IGNORECASE)
_LONGEST_LINE: Final = 64
"""Of a header that says the length."""


class Frames:
    """Bytes to messages. Out of step, it looks for the next `Content-Length`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None
        self._searched = 0
        """So much of an unfinished body holds no header."""

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that these bytes complete: JSON values; None for a body that is no JSON."""
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
                if self._header_inside():
                    self._length = None
                    yield None
                    continue
                return
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
            self._length = None
            self._searched = 0
            try:
                yield json.loads(body, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                # The length may have been a lie, and the next message's header, or its first letters, in here.
                self._buffer[:0] = body
                yield None

    def _header_inside(self) -> bool:
        """Whether another message begins before this one is complete: JSON has no raw line end in or around such words."""
        # The line end first: a long body has none, and that is seen at once.
        if self._buffer.find(b"\n", self._searched) >= 0 and _EMBEDDED.search(self._buffer, self._searched) is not None:
            self._searched = 0
            return True
        # A header may lie across what has come and what comes.
        self._searched = max(0, len(self._buffer) - _LONGEST_LINE)
        return False


def _no_constant(name: str) -> None:
    """Python takes NaN and Infinity, which are no JSON and must not come back in an answer."""
    raise ValueError(f"{name} is no JSON")


class Stdio:
    """pygls' writer, and the reader beside it."""

    def __init__(self, source: int, sink: int, receive: Callable[[Any], None]) -> None:
        """Descriptors to read from and to write to. receive: called on the event loop with each message, in order."""
        self._source = source
        self._sink = sink
        self._receive = receive
        self._frames = Frames()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._closed = asyncio.Event()
        self._writer = threading.Thread(target=self._write, name="tacit-stdout", daemon=True)

    async def serve(self) -> None:
        """Until the input ends or `close` is called. What is written after that still goes out with `flush`."""
        self._writer.start()
        threading.Thread(target=self._read, args=(asyncio.get_running_loop(),), name="tacit-stdin", daemon=True).start()
        await self._closed.wait()

    def write(self, body: bytes) -> None:
        """One message, as JSON. Never waits."""
        self._outgoing.put(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def close(self) -> None:
        self._closed.set()

    async def flush(self) -> None:
        """The last thing: nothing is written after it."""
        self._outgoing.put(None)
        await asyncio.to_thread(self._writer.join, LAST_WRITE_S)

    def _feed(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            try:
                self._receive(message)
            except Exception:
                # The messages behind it are not to blame.
                log.exception("a message could not be handled")

    # The two threads

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while data := os.read(self._source, 1 << 16):
                loop.call_soon_threadsafe(self._feed, data)
        except OSError as error:
            log.info("the editor's pipe: %s", error)
        except RuntimeError:
            # The loop has ended before the input did.
            return
        try:
            loop.call_soon_threadsafe(self.close)
        except RuntimeError:
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
