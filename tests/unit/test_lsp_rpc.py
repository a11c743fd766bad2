"""JSON-RPC: every request that can be read has exactly one answer, whatever comes before, between and after it."""

import asyncio
import json
import logging
import os
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcServerNotInitialized

from tacit.lsp.extensions import RATE, RateParams
from tacit.lsp.rpc import Server
from tacit.lsp.stdio import Frames

CANCELLED = -32800
INITIALIZE = {"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {"capabilities": {}}}


def _frame(message: Any) -> bytes:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Peer:
    """A server with its other end, initialized."""

    def __init__(self, initialize: dict[str, Any] | None = INITIALIZE) -> None:
        source, self.write_end = os.pipe()
        self.read_end, sink = os.pipe()
        self._ends = (source, sink)
        self.server = Server("test", "1")
        self.started: list[Any] = []
        self.noted: list[Any] = []
        self.asked: list[types.InlineCompletionTriggerKind] = []
        self.dropped: list[str] = []
        self.server.undecodable = lambda method, params: self.dropped.append(method)  # type: ignore[method-assign]
        for method, handler in {
            "echo": lambda params: params,
            "wait": lambda params: self._wait(params),
            "fail": lambda params: self._fail(),
            "refuse": lambda params: self._refuse(),
            "note": self.noted.append,
            RATE: lambda params: self._rate(params),
            types.INITIALIZE: lambda params: self.noted.append(params),
            types.TEXT_DOCUMENT_DID_OPEN: lambda params: self.noted.append(params),
            types.TEXT_DOCUMENT_INLINE_COMPLETION: lambda params: self.asked.append(params.context.trigger_kind),
        }.items():
            self.server.feature(method)(lambda params, handler=handler: handler(params))
        self.output = bytearray()
        self.reader = threading.Thread(target=self._drain, daemon=True)
        self.reader.start()
        self.task = asyncio.create_task(self.server.serve(source, sink))
        if initialize is not None:
            self.send(_frame(initialize))

    def _drain(self) -> None:
        while piece := os.read(self.read_end, 1 << 20):
            self.output += piece

    async def _wait(self, params: Any) -> Any:
        self.started.append(params)
        await asyncio.Event().wait()

    def _rate(self, params: RateParams) -> str:
        self.noted.append(params)
        return "Thank you."

    async def _fail(self) -> Any:
        raise RuntimeError("the contents of a file")

    def _refuse(self) -> Any:
        raise JsonRpcServerNotInitialized("not yet")

    def send(self, data: bytes) -> None:
        os.write(self.write_end, data)

    async def end(self) -> list[Any]:
        """Close the input; everything that was answered after `initialize`."""
        os.close(self.write_end)
        await self.task
        source, sink = self._ends
        os.close(sink)
        await asyncio.to_thread(self.reader.join, 10)
        os.close(self.read_end)
        os.close(source)
        return [message for message in Frames().feed(bytes(self.output)) if message.get("id") != "init"]


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    one = Peer()
    yield one
    one.server.stop()
    await one.task


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_answers_errors_and_unknown_methods(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    bad = {"textDocument": {"uri": "file:///a"}, "position": {"line": "the contents of a file", "character": 0}}
    methods = ["echo", "fail", "refuse", types.TEXT_DOCUMENT_INLINE_COMPLETION, "unknown", types.TEXT_DOCUMENT_DID_OPEN]
    for number, method in enumerate(methods):
        params: Any = bad if number == 3 else {"a": "é"}
        # What belongs to a response does not make one of a request.
        peer.send(_frame({"jsonrpc": "2.0", "id": number, "method": method, "params": params, "error": None, "result": 1}))
    with caplog.at_level(logging.DEBUG):
        answers = {answer["id"]: answer for answer in await peer.end()}
    assert answers[0]["result"] == {"a": "é"}
    assert [answers[n]["error"]["code"] for n in range(1, 6)] == [-32603, -32002, -32602, -32601, -32600]
    assert "position.line" in answers[3]["error"]["message"]
    assert "contents of a file" not in json.dumps(answers), "traces stay in the log"
    assert not [record for record in caplog.records if record.name.startswith("pygls")], "it logs whole messages"


async def test_nothing_is_shown_to_the_user_when_a_notification_cannot_be_read(peer: Peer) -> None:
    """cattrs alone would make texts of numbers and nulls."""
    opened: dict[str, Any] = {"uri": "file:///a", "languageId": "python", "version": 1, "text": None}
    peer.send(_frame({"method": types.TEXT_DOCUMENT_DID_OPEN, "params": {"textDocument": opened}}))
    peer.send(_frame({"method": types.TEXT_DOCUMENT_DID_OPEN, "params": {"textDocument": {**opened, "text": ""}}}))
    peer.send(_frame({"method": RATE, "params": {"value": 2}}))
    peer.send(_frame({"method": RATE, "params": {"value": -1, "suggestionId": "x"}}))
    assert await peer.end() == []
    assert peer.dropped == [types.TEXT_DOCUMENT_DID_OPEN, RATE]
    assert peer.noted[-1] == RateParams(-1, "x")
    assert len(peer.noted) == 3


async def test_a_rating_may_be_asked_and_is_answered_in_words(peer: Peer) -> None:
    peer.send(_frame({"id": 5, "method": RATE, "params": {"value": 1}}))
    peer.send(_frame({"id": 6, "method": RATE, "params": {"value": 2}}))
    peer.send(_frame({"id": 7, "method": RATE}))
    answers = {answer["id"]: answer for answer in await peer.end()}
    assert answers[5]["result"] == "Thank you." and peer.noted[-1] == RateParams(1)
    assert answers[6]["error"]["code"] == answers[7]["error"]["code"] == -32602


async def test_before_initialize_and_after_shutdown_requests_are_refused() -> None:
    peer = Peer(initialize=None)
    peer.send(_frame({"id": 1, "method": "echo"}) + _frame({"method": "note"}) + _frame({**INITIALIZE, "id": 2}))
    peer.send(_frame({**INITIALIZE, "id": 3}))
    await _until(lambda: peer.server.process_id is None and peer.noted)
    peer.send(_frame({"id": 4, "method": "echo", "params": 1}))
    peer.server.feature(types.SHUTDOWN)(lambda params: None)
    peer.send(_frame({"id": 5, "method": "shutdown"}) + _frame({"id": 6, "method": "echo"}) + _frame({"method": "note"}))
    answers = await peer.end()
    assert [(a["id"], a["error"]["code"] if "error" in a else 0) for a in answers] == [
        (1, -32002), (2, 0), (3, -32600), (4, 0), (5, 0), (6, -32600),
    ]  # fmt: skip
    assert len(peer.noted) == 1, "only initialize came through"


async def test_initialize_is_answered_whatever_else_an_editor_says_of_itself() -> None:
    """Values that lsprotocol does not know, and kinds that it does not expect."""
    capabilities = {
        "general": {"positionEncodings": ["utf-99", "utf-32"], "regularExpressions": 1},
        "textDocument": {"completion": {"insertTextModeSupport": {"valueSet": [77]}}},
        "workspace": {"configuration": True, "symbol": "yes"},
    }
    params = {"capabilities": capabilities, "trace": "loud", "workspaceFolders": [{"uri": "file:///a", "name": "a"}]}
    peer = Peer({"id": 1, "method": "initialize", "params": params})
    result = (await peer.end())[0]["result"]
    assert result["capabilities"]["positionEncoding"] == "utf-32"
    understood = peer.noted[0]
    assert [folder.uri for folder in understood.workspace_folders] == ["file:///a"]
    assert understood.capabilities.workspace.configuration is True


@pytest.mark.parametrize(("said", "meant"), [([1, 2, None, 9], [1, 2, 2, 2]), ([0, 1, 2], [1, 2, 2]), ([False], [2])])
async def test_older_clients_count_triggers_from_zero(peer: Peer, said: list[Any], meant: list[int]) -> None:
    for number, kind in enumerate(said):
        params = {"textDocument": {"uri": "a"}, "position": {"line": 0, "character": 0}, "context": {"triggerKind": kind}}
        peer.send(_frame({"id": number, "method": types.TEXT_DOCUMENT_INLINE_COMPLETION, "params": params}))
    await peer.end()
    assert [kind.value for kind in peer.asked] == meant


async def test_a_request_sees_what_holds_when_it_arrives(peer: Peer) -> None:
    """In one write: a change that comes right behind a request is none of its business."""
    state = ["old"]
    seen: list[str] = []

    async def nothing() -> None:
        return None

    def look(params: Any) -> Any:
        seen.append(state[0])
        return nothing()

    peer.server.feature("look")(lambda params: look(params))
    peer.server.feature("change")(lambda params: state.insert(0, "new"))
    peer.send(_frame({"id": 1, "method": "look"}) + _frame({"method": "change"}))
    await peer.end()
    assert (seen, state[0]) == (["old"], "new")


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
    ask = peer.server.protocol.send_request_async
    actions = types.ShowMessageRequestParams(types.MessageType.Info, "?")
    futures = [ask(types.WINDOW_SHOW_MESSAGE_REQUEST, actions, msg_id=name) for name in ("a", "b", "c", "d")]
    futures[3].cancel()
    await asyncio.sleep(0)
    peer.send(
        _frame({"id": "a", "result": {"title": "yes"}}) + _frame({"id": "z", "result": 1}) + _frame({"id": "a", "result": 43})
    )
    peer.send(_frame({"id": "b", "error": {"code": 1, "message": "no"}}) + _frame({"id": "c", "result": 3}))
    peer.send(_frame({"id": "d", "result": None}) + _frame({"id": ["a"], "result": None}))
    assert await futures[0] == types.MessageActionItem("yes")
    with pytest.raises(JsonRpcException, match="no"):
        await futures[1]
    with pytest.raises(JsonRpcException):
        await futures[2]
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
    assert found[0] is None
    assert [message["id"] for message in found[1:]] == [2, 3]


@pytest.mark.parametrize("more", [1, 5, 17, 300, 60_000_000])
def test_a_length_that_reaches_into_the_next_message_does_not_cost_that_one(more: int) -> None:
    """Into its header, its body, or far beyond everything that comes; one byte at a time, and all at once."""
    body = b'{"id": 1}'
    data = b"Content-Length: %d\r\n\r\n%b" % (len(body) + more, body) + _frame({"id": 2}) + _frame({"id": 3})
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        frames = Frames()
        found = [message for piece in pieces for message in frames.feed(piece)]
        assert [message["id"] for message in found if message is not None] == [2, 3]


def test_a_large_body_in_pieces_is_one_message() -> None:
    text = "Content-Length: 5\r\n\r\n{} " * 20_000
    data = _frame({"id": 1, "text": text})
    frames = Frames()
    found = [message for at in range(0, len(data), 65_536) for message in frames.feed(data[at : at + 65_536])]
    assert found == [{"id": 1, "text": text}]


@pytest.mark.parametrize("body", [b'{"id": NaN}', b'{"id": -Infinity}', b'{"x": Infinity}'])
def test_what_is_no_json_is_not_taken_for_it(body: bytes) -> None:
    assert list(Frames().feed(_frame(body))) == [None]


def test_deep_json_is_malformed_and_no_crash() -> None:
    found = list(Frames().feed(_frame(b"[" * 200_000) + _frame({"id": 1})))
    assert found[0] is None
    assert found[1] == {"id": 1}


METHODS = ("echo", "wait", "fail", "refuse", "unknown", 3, None, "initialize", "$/cancelRequest", "exit", RATE,
           types.TEXT_DOCUMENT_INLINE_COMPLETION, types.TEXT_DOCUMENT_DID_OPEN, types.WORKSPACE_EXECUTE_COMMAND)  # fmt: skip


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
            message["method"] = draw.choice(METHODS)
            if draw.random() < 0.1:
                message[draw.choice(("result", "error"))] = _anything(draw)
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
