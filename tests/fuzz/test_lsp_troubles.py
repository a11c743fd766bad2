"""A server that is dead, hung, slow or mad: every request has an answer, nobody is bothered, no event is lost, and when the
server is itself again so are the suggestions, in the same language server.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fuzz.adversary import MOODS, TEXT, Adversary, Mood
from fuzz.driving import Lsp

from tacit.protocol.home import Home

OPTIONS = {"learning": "on", "deadlineMs": 150}


class Typist:
    """Opens a file of its own each time: what was suggested elsewhere does not help."""

    def __init__(self, lsp: Lsp, root: Path) -> None:
        self.lsp = lsp
        self._root = root
        self._files = 0

    async def asks(self, *, invoked: bool) -> list[str]:
        """Types a line and asks at its end; the ids of what is suggested."""
        self._files += 1
        uri = (self._root / f"t{self._files}.py").as_uri()
        line = f"x{self._files} = "
        self._note("didOpen", {"uri": uri, "languageId": "python", "version": 1, "text": "y = 2\n\nz = 3\n"})
        place = {"line": 1, "character": 0}
        change = {"range": {"start": place, "end": place}, "text": line}
        self._note("didChange", {"uri": uri, "version": 2}, contentChanges=[change])
        answer = await self.lsp.request(
            "textDocument/inlineCompletion",
            {
                "textDocument": {"uri": uri},
                "position": {"line": 1, "character": len(line)},
                "context": {"triggerKind": 1 if invoked else 2},
            },
        )
        self._note("didClose", {"uri": uri})
        assert "error" not in answer, answer
        items = (answer["result"] or {"items": []})["items"]
        assert {item["insertText"] for item in items} <= {TEXT}
        return [item["command"]["arguments"][0] for item in items]

    def _note(self, method: str, document: dict[str, Any], **more: Any) -> None:
        self.lsp.send({"method": f"textDocument/{method}", "params": {"textDocument": document, **more}})


async def test_troubles_of_the_server(tmp_path: Path, home: Home) -> None:
    await _troubles(tmp_path, home, 60)


@pytest.mark.soak
async def test_two_hundred_troubles_of_the_server(tmp_path: Path, home: Home) -> None:
    await _troubles(tmp_path, home, 200)


async def _troubles(root: Path, home: Home, times: int) -> None:
    draw = random.Random(7)
    shown: set[str] = set()
    async with Adversary(home.socket) as adversary:
        lsp = Lsp(root, OPTIONS)
        await lsp.start()
        typist = Typist(lsp, root)
        try:
            for _ in range(times):
                trouble: Mood | str = draw.choice((*(mood for mood in MOODS if mood != "answer"), "dead", "dead"))
                if trouble == "dead":
                    await adversary.down()
                else:
                    # Now and then only the model is in trouble, or only one in three answers.
                    adversary.mood = _in_trouble(trouble, draw)  # type: ignore[arg-type]
                for _ in range(3):
                    shown.update(await typist.asks(invoked=draw.random() < 0.5))
                if trouble == "dead":
                    await adversary.up()
                adversary.mood = lambda path: "answer"
                adversary.release()
                while not (again := await typist.asks(invoked=True)):
                    # Each time it has waited up to the deadline for a server.
                    pass
                shown.update(again)
            assert lsp.said["window/showMessage"] + lsp.said["window/showMessageRequest"] == 0
        finally:
            status = await lsp.stop()
        assert status == 0
        assert len(shown) >= times
        # Two events at the least for each that was shown: what it was, and that it was shown.
        kinds = Counter((event["kind"], event.get("suggestion_id")) for event in adversary.events.values())
        assert {name for kind, name in kinds if kind == "suggested"} >= shown
        assert {name for kind, name in kinds if kind == "shown"} >= shown
        assert not [line for line in lsp.stderr if "Traceback" in line], "\n".join(lsp.stderr)
    left = [path for path in home.outbox.iterdir() if path.stat().st_size] if home.outbox.exists() else []
    assert left == []


def _in_trouble(trouble: Mood, draw: random.Random) -> Any:
    if draw.random() < 0.4:
        return lambda path: trouble if path == "/v1/complete" else "answer"
    if draw.random() < 0.3:
        return lambda path: draw.choice((trouble, "answer", "answer"))
    return lambda path: trouble


async def test_events_are_delivered_once_however_often_an_editor_says_that_it_is_initialized(tmp_path: Path, home: Home) -> None:
    batches: list[str] = []

    def told(path: str) -> Mood:
        batches.append(path)
        return "slow"

    async with Adversary(home.socket, told) as adversary:
        lsp = Lsp(tmp_path, OPTIONS)
        await lsp.start()
        try:
            for _ in range(20):
                lsp.send({"method": "initialized", "params": {}})
            typist = Typist(lsp, tmp_path)
            while not (shown := await typist.asks(invoked=True)):
                pass
        finally:
            assert await lsp.stop() == 0
        assert {event.get("suggestion_id") for event in adversary.events.values()} >= set(shown)
    # Twenty deliveries would each have sent them.
    assert batches.count("/v1/events") <= len(adversary.events)
