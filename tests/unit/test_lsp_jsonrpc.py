"""JSON-RPC: every request that can be read has exactly one answer, whatever comes before, between and after it."""

import asyncio
import json
import os
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.lsp.jsonrpc import CANCELLED, Connection, Frames, Malformed, RpcError
from tacit.lsp.params import BadParams


def _frame(message: Any) -> bytes:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Peer:
    """A connection with its other end."""

    def __init__(self) -> None:
        source, self.write_end = os.pipe()
        self.read_end, sink = os.pipe()
        self._ends = (source, sink)
        self.connection = Connection(source, sink)
        self.started: list[Any] = []
        self.noted: list[Any] = []
        self.connection.handle("echo", self._echo)
        self.connection.handle("wait", self._wait)
        self.connection.handle("fail", self._fail)
        self.connection.handle("refuse", self._refuse)
        self.connection.handle("badly", self._badly)
        self.connection.notified("note", self.noted.append)
        self.output = bytearray()
        self.reader = threading.Thread(target=self._drain, daemon=True)
        self.reader.start()
        self.task = asyncio.create_task(self.connection.run())

    def _drain(self) -> None:
        while piece := os.read(self.read_end, 1 << 20):
            self.output += piece

    async def _echo(self, params: Any) -> Any:
        return params

    async def _wait(self, params: Any) -> Any:
        self.started.append(params)
        await asyncio.Event().wait()

    async def _fail(self, params: Any) -> Any:
        raise RuntimeError("the contents of a file")

    async def _refuse(self, params: Any) -> Any:
        raise RpcError(-32002, "not yet")

    def _badly(self, params: Any) -> Any:
        raise BadParams("x must be a string")

    def send(self, data: bytes) -> None:
        os.write(self.write_end, data)

    async def end(self) -> list[Any]:
        """Close the input; everything that was answered."""
        os.close(self.write_end)
        await self.task
        source, sink = self._ends
        os.close(sink)
        await asyncio.to_thread(self.reader.join, 10)
        os.close(self.read_end)
        os.close(source)
        return list(Frames().feed(bytes(self.output)))


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    one = Peer()
    yield one
    one.connection.stop()
    await one.task


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_answers_errors_and_unknown_methods(peer: Peer) -> None:
    for number, method in enumerate(["echo", "fail", "refuse", "badly", "unknown"]):
        peer.send(_frame({"jsonrpc": "2.0", "id": number, "method": method, "params": {"a": "é"}}))
    answers = {answer["id"]: answer for answer in await peer.end()}
    assert answers[0]["result"] == {"a": "é"}
    assert [answers[n]["error"]["code"] for n in range(1, 5)] == [-32603, -32002, -32602, -32601]
    assert "contents of a file" not in json.dumps(answers), "traces stay in the log"


async def test_a_cancelled_request_is_answered_once_and_an_unknown_cancel_is_no_matter(peer: Peer) -> None:
    peer.send(_frame({"id": "a", "method": "wait"}))
    await _until(lambda: peer.started)
    peer.send(_frame({"method": "$/cancelRequest", "params": {"id": "b"}}))
    peer.send(_frame({"method": "$/cancelRequest", "params": None}))
    peer.send(_frame({"method": "$/cancelRequest", "params": {"id": "a"}}))
    # In one write: the request is cancelled before it has begun.
    peer.send(_frame({"id": 2, "method": "wait"}) + _frame({"method": "$/cancelRequest", "params": {"id": 2}}))
    answers = await peer.end()
    assert sorted((str(a["id"]), a["error"]["code"]) for a in answers) == [("2", CANCELLED), ("a", CANCELLED)]


async def test_the_end_of_the_input_answers_what_is_under_way(peer: Peer) -> None:
    peer.send(_frame({"id": 1, "method": "wait"}))
    await _until(lambda: peer.started)
    assert [answer["error"]["code"] for answer in await peer.end()] == [CANCELLED]


async def test_an_id_that_is_under_way_is_refused_and_the_first_still_answered(peer: Peer) -> None:
    peer.send(_frame({"id": 1, "method": "wait"}) + _frame({"id": 1, "method": "echo"}) + _frame({"id": "1", "method": "echo"}))
    answers = await peer.end()
    assert Counter((repr(a["id"]), "result" in a) for a in answers) == {("1", False): 2, ("'1'", True): 1}


async def test_requests_to_the_editor_get_their_answers(peer: Peer) -> None:
    asked = asyncio.create_task(peer.connection.request("ask", {"q": 1}))
    refused = asyncio.create_task(peer.connection.request("ask", {}))
    await asyncio.sleep(0)
    peer.send(
        _frame({"id": "tacit-1", "result": 42}) + _frame({"id": "tacit-9", "result": 1}) + _frame({"id": "tacit-1", "result": 43})
    )
    peer.send(_frame({"id": "tacit-2", "error": {"code": 1, "message": "no"}}))
    assert await asked == 42
    with pytest.raises(RpcError, match="no"):
        await refused
    await peer.end()


@pytest.mark.parametrize(
    "header",
    [
        b"content-length: %d\r\n\r\n",
        b"Content-Length:%d\n\n",
        b"Content-Type: x; charset=utf-8\r\nContent-Length: %d\r\n\r\n",
        b"Content-Length: %d\r\nX-Odd: \xff\xfe\r\n\r\n",
        b"\x00garbage}Content-Length: %d\r\n\r\n",
        b"Content-Length: nonsense\r\n\r\nContent-Length: %d\r\n\r\n",
        b"Content-Length: 99999999999999\r\n\r\nContent-Length: %d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nContent-Length: %d\r\n\r\n",
    ],
)
@given(cuts=st.lists(st.integers(0, 200), max_size=4))
def test_unusual_headers_and_any_cuts_keep_step(header: bytes, cuts: list[int]) -> None:
    body = json.dumps({"id": 1, "method": "echo"}).encode()
    data = header % len(body) + body + _frame({"id": 2})
    frames, found, last = Frames(), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        found += list(frames.feed(data[last:cut]))
        last = cut
    assert [message["id"] for message in found] == [1, 2]


def test_a_length_that_is_too_long_costs_one_message_at_most() -> None:
    body = b'{"id": 1}'
    data = b"Content-Length: %d\r\n\r\n%b" % (len(body) + 30, body) + _frame({"id": 2}) + _frame({"id": 3})
    found = list(Frames().feed(data))
    assert isinstance(found[0], Malformed)
    assert [message["id"] for message in found[1:]] == [2, 3]


def test_deep_json_is_malformed_and_no_crash() -> None:
    found = list(Frames().feed(_frame(b"[" * 200_000) + _frame({"id": 1})))
    assert isinstance(found[0], Malformed)
    assert found[1] == {"id": 1}


def _anything(draw: random.Random) -> Any:
    return draw.choice((None, True, 0, -1, 2**70, 1.5, "", "x", "\ud800", [], {}, [1], {"a": None}, {"id": 3}))


async def test_fuzzed_frames_one_answer_for_each_parsable_id(peer: Peer) -> None:
    """Replayable: the seed is here."""
    draw = random.Random(4)
    expected: Counter[str] = Counter()
    seen = 0
    for number in range(3000):
        message: Any
        kind = draw.randrange(8)
        if kind == 0:
            message = _anything(draw)
            expected["3"] += message == {"id": 3}
        elif kind == 1:
            message = {"jsonrpc": "2.0", "method": draw.choice(("note", "nothing", "$/cancelRequest")), "params": _anything(draw)}
        elif kind == 2:
            message = {"method": "$/cancelRequest", "params": {"id": draw.choice((f"r{number - 1}", number - 1))}}
        elif kind == 3:
            message = {"id": "elsewhere", "result": _anything(draw)}
        else:
            name = draw.choice((number, f"r{number}"))
            message = {"jsonrpc": draw.choice(("2.0", None, 3)), "id": name, "params": _anything(draw)}
            message["method"] = draw.choice(("echo", "wait", "fail", "refuse", "badly", "unknown", 3, None))
            if message["method"] is None:
                message["method"] = {}
            expected[repr(name)] += 1
        data = _frame(json.dumps(message).encode())
        if draw.random() < 0.05:
            data = draw.choice((b"\r\n\r\n", b"junk\r\n\r\n", b"Content-Length: 3\r\n\r\n{{{", b"X: 1\r\n\r\n")) + data
        seen += len(data)
        peer.send(data)
        if number % 50 == 0:
            await asyncio.sleep(0)
    answers = await peer.end()
    got = Counter(
        repr(answer["id"]) for answer in answers if answer["id"] is not None and ("result" in answer or "error" in answer)
    )
    assert got == expected
    assert seen > 100_000
