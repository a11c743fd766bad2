"""Anything at all at the language server's door: it stays, answers every request once, and does not grow."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from tacit.learner.simulate.editor import Editor

SEED = 20
FRAMES = 6000
GROWTH_BYTES = 50 * 1024 * 1024

METHODS = (
    "textDocument/inlineCompletion", "textDocument/didOpen", "textDocument/didChange", "textDocument/didSave",
    "textDocument/didClose", "textDocument/didShowCompletion", "textDocument/didPartiallyAcceptCompletion",
    "tacit/didRejectCompletion", "tacit/rate", "tacit/counters", "workspace/executeCommand", "workspace/didChangeConfiguration",
    "workspace/didChangeWorkspaceFolders", "initialized", "initialize", "$/cancelRequest", "$/setTrace", "no/such",
)  # fmt: skip


class Nonsense:
    """Random params, half of them nearly right. The same seed makes the same frames."""

    def __init__(self, root: Path) -> None:
        self.draw = random.Random(SEED)
        self.uris = [(root / name).as_uri() for name in ("a.py", "b/../c.py", ".env", "é 😀.py")] + ["untitled:1", "file://[", ""]

    def value(self, depth: int = 0) -> Any:
        draw = self.draw
        plain = (None, True, 0, -1, 1, 2, 2**31, 2**80, 1.5, "", "x", "\ud83d", "é\u2028😀\r\n", "\x00")
        if depth > 3 or draw.random() < 0.6:
            return draw.choice(plain)
        if draw.random() < 0.5:
            return [self.value(depth + 1) for _ in range(draw.randrange(4))]
        names = ("uri", "text", "range", "start", "line", "item", "command", "arguments", "version", "settings", "event", "added")
        return {draw.choice(names): self.value(depth + 1) for _ in range(draw.randrange(4))}

    def position(self) -> Any:
        return {"line": self.draw.choice((0, 1, 5, 10**9, -1, "0")), "character": self.draw.choice((0, 1, 2, 3, 10**9, None))}

    def params(self) -> Any:
        draw = self.draw
        if draw.random() < 0.3:
            return self.value()
        document = {"uri": draw.choice(self.uris), "languageId": "python", "version": draw.choice((1, 2, 3, None, "4"))}
        document["text"] = draw.choice(("x = 😀\r\ny\x0cz\n", "", "a" * 5000, None))
        change = {
            "text": draw.choice(("", "a", "\n", "😀", "\udc00", 3)),
            "range": {"start": self.position(), "end": self.position()},
        }
        return {
            "textDocument": document,
            "position": self.position(),
            "context": {"triggerKind": draw.choice((0, 1, 2, 3, None))},
            "contentChanges": [change] * draw.randrange(3),
            "item": {"insertText": "abc", "command": {"arguments": [draw.choice(("0" * 32, None, 3))]}},
            "acceptedLength": draw.choice((0, 2, -1, 10**9, "2")),
            "command": draw.choice(("tacit.rate", "tacit.accepted", "tacit.pause", "tacit.resume", "rm -rf", None)),
            "arguments": draw.choice(([], [None, 1], [{"value": -1, "flag": "wrong"}], [3], None)),
            "value": draw.choice((1, -1, 0, None)),
            "settings": {"tacit": {"timeScale": draw.choice((1, -1, "x")), "startServer": False}},
            "event": {"added": [], "removed": []},
            "id": draw.randrange(FRAMES),
        }


async def test_fuzzed_messages(tmp_path: Path) -> None:
    nonsense = Nonsense(tmp_path)
    draw = nonsense.draw
    async with Editor(tmp_path, options={"startServer": False, "learning": "off", "deadlineMs": 200}) as editor:
        before = psutil.Process(editor.pid).memory_info().rss
        pending = []
        for number in range(FRAMES):
            method = draw.choice(METHODS)
            if draw.random() < 0.6 and method != "$/cancelRequest":
                pending.append(editor.send(method, nonsense.params()))
            else:
                editor.notify(method, nonsense.params())
            if draw.random() < 0.1 and pending:
                editor.cancel(draw.choice(pending))
            if number % 100 == 0:
                # Let both sides read.
                await asyncio.wait({one.answer for one in pending[-5:]}, timeout=30)
        # Wait for the last one and whatever is before it.
        await asyncio.wait({one.answer for one in pending}, timeout=60)
        answered = Counter(one.answer.done() for one in pending)
        assert answered == {True: len(pending)}
        assert psutil.Process(editor.pid).memory_info().rss - before < GROWTH_BYTES
        assert json.dumps(await editor.request("tacit/counters", None))
        traces = [line for line in editor.stderr if "Traceback" in line or "failed" in line]
        assert traces == [], "\n".join(editor.stderr)
        assert await editor.stop() == 0
