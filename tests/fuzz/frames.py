"""Fuzzed input of a language server, as bytes: the same seed and round make the same frames. Pure.

A frame is whole (framing and JSON are right: whatever else is wrong with it, its id has exactly one answer) or broken (then it
may not cost the frames around it their answers).
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

REQUESTS = (
    "textDocument/inlineCompletion", "textDocument/completion", "textDocument/codeAction", "codeAction/resolve", "tacit/rate",
    "tacit/counters", "workspace/executeCommand", "tacit/chat", "tacit/applyBlock", "completionItem/resolve", "initialize",
    "no/such", "$/no", "window/logMessage",
)  # fmt: skip
NOTIFICATIONS = (
    "textDocument/didOpen", "textDocument/didSave", "textDocument/didClose", "textDocument/didShowCompletion",
    "textDocument/didPartiallyAcceptCompletion", "tacit/didRejectCompletion", "tacit/rate", "workspace/didChangeConfiguration",
    "workspace/didChangeWorkspaceFolders", "initialized", "$/cancelRequest", "$/setTrace", "window/workDoneProgress/cancel",
    "tacit/diagnostics", "notebookDocument/didOpen", "notebookDocument/didChange", "notebookDocument/didClose", "$/progress",
    "no/such",
)  # fmt: skip
ODD = (None, True, False, 0, -1, 1, 2, 3, 2**31, 2**80, 1.5, "", "x", "\ud83d", "é\u2028😀\r\n", "\x00", "\u202e", [], {})
WORDS = ("uri", "text", "range", "start", "line", "item", "command", "arguments", "version", "settings", "event", "added", "id")
TEXTS = (
    "x = 😀\r\ny\x0cz\n",
    "",
    "a" * 3000,
    "def f(a):\n    return a\n",
    "\u2028\x85\r\r\n",
    "\U0001d4b3" * 9 + "\n",
    "\x00\x01",
    "\ud800",
)
TYPED = ("", "a", "\n", "😀", "\udc00", "é", "(", "\r\n", "x" * 400)


@dataclass(frozen=True, slots=True)
class Frame:
    data: bytes
    id: str | None = None
    """The id that has to be answered, as JSON; None: there is none."""
    nulls: int = 0
    """How many answers without an id it has; -1: it is broken, and anything goes."""


def header(length: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % length


class Round:
    """`size` frames, and the same ones each time."""

    def __init__(self, seed: int, number: int, size: int, root: str, commands: Sequence[str]) -> None:
        """root: the workspace folder's URI. commands: what `workspace/executeCommand` knows."""
        self._draw = random.Random(f"{seed}/{number}")
        self._number = number
        self._size = size
        names = ("a.py", "b/../c.py", ".env", "%C3%A9%20%F0%9F%98%80.ts", "n.ipynb", "..%2F..%2Fetc%2Fpasswd", "x%00y.py")
        self._uris = [f"{root}/{name}" for name in names]
        self._uris += ["untitled:Untitled-1", "file://[", "", "vscode-notebook-cell:/n.ipynb#W0", "file:///etc/hosts", "file:"]
        self._commands = [*commands, *("tacit.resume",) * 8, "rm -rf", "", None]
        self._asked: list[Any] = []
        self._versions: dict[str, int] = {}

    def frames(self) -> list[Frame]:
        kinds = (
            (self._typing, 34),
            (self._request, 24),
            (self._notification, 14),
            (self._cancel, 8),
            (self._odd, 8),
            (self._debugging, 4),
        )
        broken = ((self._broken, 6), (self._unusual, 6))
        choices = [kind for kind, weight in (*kinds, *broken) for _ in range(weight)]
        return [self._draw.choice(choices)() for _ in range(self._size)]

    # Whole frames

    def _whole(self, message: dict[str, Any], *, null: bool = False) -> Frame:
        body = json.dumps(message, ensure_ascii=self._draw.random() < 0.5).encode("utf-8", "surrogatepass")
        name = json.dumps(message["id"]) if "id" in message and not null else None
        return Frame(header(len(body)) + body, name, int(null))

    def _new_id(self) -> Any:
        serial = f"{self._number}.{len(self._asked)}"
        kinds: tuple[Any, ...] = (self._number * 1_000_000 + len(self._asked), serial, f"{serial} 😀\ud800", f'{serial}"\\\n')
        name = self._draw.choice(kinds)
        self._asked.append(name)
        return name

    def _request(self, method: str | None = None, params: Any = None) -> Frame:
        method = method or self._draw.choice(REQUESTS if self._draw.random() < 0.9 else NOTIFICATIONS)
        message = {"jsonrpc": "2.0", "id": self._new_id(), "method": method}
        return self._whole({**message, "params": self._params() if params is None else params})

    def _notification(self) -> Frame:
        method = self._draw.choice(NOTIFICATIONS if self._draw.random() < 0.9 else REQUESTS)
        return self._whole({"jsonrpc": "2.0", "method": method, "params": self._params()})

    def _cancel(self) -> Frame:
        """Of what runs, has ended, was never asked, or is asked next."""
        draw = self._draw
        recent = self._asked[-3:] + self._asked[-40:-39]
        name = draw.choice([*recent, self._number * 1_000_000 + len(self._asked), draw.choice(ODD)])
        return self._whole({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": name}})

    def _typing(self) -> Frame:
        """What an editor does: opens, types, asks, each time right."""
        draw = self._draw
        uri = draw.choice(self._uris[:2] + self._uris[7:8])
        version = self._versions[uri] = self._versions.get(uri, 0) + 1
        if version == 1 or draw.random() < 0.02:
            opened = {"uri": uri, "languageId": "python", "version": version, "text": draw.choice(TEXTS[:5])}
            return self._whole({"method": "textDocument/didOpen", "params": {"textDocument": opened}})
        if draw.random() < 0.55:
            place = {"line": draw.randrange(4), "character": draw.randrange(12)}
            change = {"range": {"start": place, "end": place}, "text": draw.choice(TYPED)}
            params = {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]}
            return self._whole({"method": "textDocument/didChange", "params": params})
        where = {"line": draw.randrange(4), "character": draw.randrange(12)}
        context = {"triggerKind": draw.choice((0, 1, 2))}
        return self._request(
            "textDocument/inlineCompletion", {"textDocument": {"uri": uri}, "position": where, "context": context}
        )

    def _debugging(self) -> Frame:
        """What an editor does at an error, each time right."""
        draw = self._draw
        uri = draw.choice(self._uris[:2])
        span = {"start": {"line": 0, "character": 0}, "end": {"line": draw.randrange(2), "character": draw.randrange(1, 4)}}
        reported = {"range": span, "message": draw.choice(("bad", "é\n😀")), "severity": 1}
        question = {"uri": uri, "range": span, "diagnostics": [reported]}
        document = {"uri": uri}
        chat = {"textDocument": document, "range": span, "message": draw.choice((None, "why?")), "conversationId": "c"}
        method, params = draw.choice(
            (
                ("textDocument/codeAction", {"textDocument": document, "range": span, "context": {"diagnostics": [reported]}}),
                ("codeAction/resolve", {"title": "Fix", "data": question}),
                ("workspace/executeCommand", {"command": draw.choice(("tacit.fix", "tacit.explain")), "arguments": [question]}),
                ("tacit/applyBlock", {"block": draw.choice((0, 1, -1)), "textDocument": document, "range": span}),
                (
                    "tacit/chat",
                    {**chat, "partialResultToken": draw.choice(("p", None)), "workDoneToken": draw.choice(("w", None))},
                ),
            )
        )
        return self._request(method, params)

    def _odd(self) -> Frame:
        """Right JSON that is no proper message."""
        draw = self._draw
        name = self._new_id()
        return draw.choice(
            (
                lambda: self._whole({"id": name}),
                lambda: self._whole({"id": name, "method": draw.choice((None, 3, [], {}))}),
                lambda: self._whole({"id": draw.choice((None, True, False, [], {"a": 1})), "method": "no/such"}, null=True),
                # An answer to something that was never asked.
                lambda: Frame(self._whole({"id": name, "result": draw.choice(ODD)}).data),
                lambda: Frame(self._whole({"id": name, "error": draw.choice(({}, {"code": 1, "message": "x"}))}).data),
                lambda: self._text(draw.choice(("[]", "[1,2]", "3", '"x"', "null", "true", "1e999", '[{"id":1}]')), nulls=1),
                lambda: self._text(f'{{"id":{json.dumps(name)},"method":"no/such","params":{"[" * 90}{"]" * 90}}}', name),
                lambda: self._text(f'{{"id":0,"id":{json.dumps(name)},"method":"a","method":"no/such"}}', name),
                lambda: self._text('{"id":1e999,"method":"no/such"}', nulls=1),
                lambda: self._text("{}", nulls=0),
            )
        )()

    def _text(self, text: str, name: Any = None, nulls: int = 0) -> Frame:
        body = text.encode("utf-8", "surrogatepass")
        return Frame(header(len(body)) + body, None if name is None else json.dumps(name), nulls)

    def _unusual(self) -> Frame:
        """Another way to write the same frame."""
        frame = self._request()
        _, _, body = frame.data.partition(b"\r\n\r\n")
        size = len(body)
        written = self._draw.choice(
            (
                b"content-length: %d\r\n\r\n",
                b"CONTENT-LENGTH:%d\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n",
                b"Content-Type: x\r\nX-Odd\r\nContent-Length:   %d  \r\n\r\n",
                b"Content-Length: %d\n\n",
                b"\r\n\r\nContent-Length: %d\r\n\r\n",
                b"Content-Length: 0%d\r\n\r\n",
            )
        )
        return Frame(written % size + body, frame.id)

    # Broken frames

    def _broken(self) -> Frame:
        draw = self._draw
        body = json.dumps({"method": "no/such", "params": self._params()}).encode()
        junk = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 90)))
        data = draw.choice(
            (
                lambda: header(len(body) + draw.randrange(1, 3000)) + body,
                lambda: header(draw.randrange(len(body))) + body,
                lambda: header(draw.choice((10**7, 6 * 10**7, 10**9, 10**12))) + body,
                lambda: header(len(body)),
                lambda: b"Content-Length: -5\r\n\r\n" + body,
                lambda: b"Content-Length: x\r\n\r\n" + body,
                lambda: b"Content-Length: \r\n\r\n",
                lambda: b"X: y\r\n\r\n" + body,
                lambda: b"Content-Length\r\n\r\n",
                lambda: b"Content-Le",
                lambda: body,
                lambda: junk,
                lambda: header(len(junk)) + junk,
                lambda: header(0),
                lambda: header(len(body) // 2) + body[: len(body) // 2],
                lambda: header(3000) + b"[" * 3000,
                lambda: header(8) + b'{"id":NaN'[:8],
                lambda: header(7) + b'"\xed\xa0\x80\xff"',
                lambda: header(2 * len(body)) + body.decode().encode("utf-16-le"),
            )
        )()
        return Frame(data, nulls=-1)

    # Params

    def _value(self, depth: int = 0) -> Any:
        draw = self._draw
        if depth > 3 or draw.random() < 0.6:
            return draw.choice(ODD)
        if draw.random() < 0.5:
            return [self._value(depth + 1) for _ in range(draw.randrange(4))]
        return {draw.choice(WORDS): self._value(depth + 1) for _ in range(draw.randrange(4))}

    def _position(self) -> Any:
        draw = self._draw
        return {"line": draw.choice((0, 1, 5, 10**9, -1, "0")), "character": draw.choice((0, 1, 2, 3, 10**9, None))}

    def _params(self) -> Any:
        """Half of them nearly right."""
        draw = self._draw
        if draw.random() < 0.3:
            return self._value()
        uri = draw.choice(self._uris)
        document = {"uri": uri, "languageId": "python", "version": draw.choice((1, 2, 3, None, "4")), "text": draw.choice(TEXTS)}
        change = {"text": draw.choice((*TYPED, 3)), "range": {"start": self._position(), "end": self._position()}}
        span = (
            change["range"]
            if draw.random() < 0.5
            else {name: {"line": 0, "character": at} for name, at in (("start", 0), ("end", 2))}
        )
        reported = {
            "range": span,
            "message": draw.choice(("bad", "é\n😀", "\ud800", 3)),
            "severity": draw.choice((1, 4, None, 9)),
        }
        question = {"uri": draw.choice(self._uris[:2]), "range": span, "diagnostics": draw.choice(([reported], [], None))}
        settings = {"timeScale": draw.choice((1, -1, "x")), "startServer": False, "deadlineMs": draw.choice((100, 300, "y"))}
        params = {
            "textDocument": document,
            "notebookDocument": {"uri": uri, "notebookType": "jupyter-notebook", "version": 1, "cells": []},
            "cellTextDocuments": [document] * draw.randrange(2),
            "position": self._position(),
            "context": {"triggerKind": draw.choice((0, 1, 2, 3, None)), "diagnostics": [reported] * draw.randrange(2)},
            "uri": uri,
            "diagnostics": [reported] * draw.randrange(3),
            "title": "Fix",
            "data": draw.choice((question, question, None, "x")),
            "token": draw.choice(("t", 1, self._asked[-1] if self._asked else 0)),
            "message": draw.choice(("why?", "\ud800", "", None, 3)),
            "conversationId": draw.choice(("c", "", None, 7)),
            "stackTrace": draw.choice(("Traceback", None)),
            "partialResultToken": draw.choice(("p", 2, None)),
            "workDoneToken": draw.choice(("w", 3, None)),
            "range": span,
            "contentChanges": [change] * draw.randrange(3),
            "item": {"insertText": "abc", "command": {"arguments": [draw.choice(("0" * 32, None, 3))]}},
            "acceptedLength": draw.choice((0, 2, -1, 10**9, "2")),
            "command": draw.choice(self._commands),
            "arguments": draw.choice(([], [None, 1], [{"value": -1, "flag": "wrong"}], [question], [3], None)),
            "value": draw.choice((1, -1, 0, None, "off")),
            "settings": {"tacit": settings},
            "event": {"added": [], "removed": []},
            "id": draw.choice([*self._asked[-3:], 0]),
        }
        for name in draw.sample(sorted(params), draw.choice((0, 0, 0, 1, 3))):
            params[name] = self._value()
        return params
