"""When the language server speaks, through a real process and the real protocol: the server answers when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fuzz.adversary import TEXT, Adversary, Mood

from tacit.learner.simulate.editor import Document, Editor, Json
from tacit.protocol.home import Home

OPTIONS = {"learning": "on", "startServer": False, "deadlineMs": 20_000}
CODE = "def f(value):\n    return "
AT = len(CODE)


class Server(Adversary):
    """Answers all but completions at once; those when they are let through."""

    def __init__(self, socket: Path) -> None:
        self.held = False
        super().__init__(socket, self._mood)

    def _mood(self, path: str) -> Mood:
        return "hang" if self.held and path == "/v1/complete" else "answer"

    def let_through(self) -> None:
        self.held = False
        self.release()

    def recorded(self, kind: str) -> list[Any]:
        return [event for event in self.events.values() if event["kind"] == kind]


@asynccontextmanager
async def typing(
    home: Home, root: Path, options: dict[str, Any] = OPTIONS, press: int = 0
) -> AsyncIterator[tuple[Server, Editor, Document]]:
    def answer(message: str, titles: Sequence[str]) -> str | None:
        return titles[press]

    environment = {"TACIT_HOME": str(home.root)}
    async with (
        Server(home.socket) as server,
        Editor(root, options=options, environment=environment, answer_message=answer) as editor,
    ):
        await editor.wait_for("tacit/status", lambda status: status["state"] == "ready")
        yield server, editor, editor.open(root / "a.py", CODE + "\n")


async def counters(editor: Editor) -> dict[str, int]:
    found: dict[str, int] = await editor.request("tacit/counters", None)
    return found


async def reached(server: Server, editor: Editor, calls: int) -> None:
    """So many calls are with the server."""
    async with asyncio.timeout(30):
        while (await counters(editor))["model_calls"] < calls:
            await asyncio.sleep(0.005)


async def test_keys_that_fit_are_one_call_and_one_record(home: Home, tmp_path: Path) -> None:
    async with typing(home, tmp_path) as (server, editor, document):
        server.held = True
        asking = [editor.ask(document, AT)]
        await reached(server, editor, 1)
        for number, key in enumerate(TEXT[:2]):
            editor.change(document, AT + number, AT + number, key)
            # As VS Code does: the older one is cancelled, and a newer one comes.
            if number:
                editor.cancel(asking[-1])
            asking.append(editor.ask(document, AT + number + 1))
        assert await editor.items(document, AT, asking[0]) == [], "answered while the model is at work"
        server.let_through()
        [item] = await editor.items(document, AT + 2, asking[-1])
        assert (item.text, item.start) == (TEXT[2:], AT + 2)
        found = await counters(editor)
        assert (found["model_calls"], found["recycled"], found["cancelled"]) == (1, 2, 0)
        editor.accept(document, item)
    [record] = server.recorded("suggested")
    assert (record["text"], record["typed_before"], record["context"]["prefix"]) == (TEXT, 2, CODE)
    assert [event["accepted_chars"] for event in server.recorded("accepted")] == [len(TEXT)]


async def test_what_does_not_fit_is_not_shown_and_is_asked_anew(home: Home, tmp_path: Path) -> None:
    async with typing(home, tmp_path) as (server, editor, document):
        server.held = True
        editor.ask(document, AT)
        await reached(server, editor, 1)
        editor.change(document, AT, AT, "n")
        later = editor.ask(document, AT + 1)
        assert (await counters(editor))["recycled"] == 1
        server.let_through()
        [item] = await editor.items(document, AT + 1, later)
        assert (item.text, item.start) == (TEXT, AT + 1)
        assert [context["prefix"] for context in server.contexts] == [CODE, CODE + "n"]
    assert sorted((e["context"]["prefix"], e["withheld_reason"]) for e in server.recorded("suggested")) == [
        (CODE, "stale"),
        (CODE + "n", ""),
    ]


async def test_what_follows_is_there_before_it_is_asked_for(home: Home, tmp_path: Path) -> None:
    async with typing(home, tmp_path, {**OPTIONS, "eagerness": "eager"}) as (server, editor, document):
        [item] = await editor.complete(document, AT)
        async with asyncio.timeout(30):
            while len(server.contexts) < 2:
                await asyncio.sleep(0.005)
        assert server.contexts[1]["prefix"] == CODE + TEXT
        server.held = True
        end = editor.accept(document, item)
        [next_item] = await editor.complete(document, end)
        assert (next_item.text, next_item.start) == (TEXT, end)
        found = await counters(editor)
        assert (found["prefetched"], found["cached"] + found["recycled"]) == (1, 1)


async def test_a_report_has_its_reason_from_the_developer(home: Home, tmp_path: Path) -> None:
    async with typing(home, tmp_path, press=1) as (server, editor, document):
        [item] = await editor.complete(document, AT)
        await editor.request("workspace/executeCommand", {"command": "tacit.reportBad", "arguments": []})
        await editor.wait_for("window/showMessage", lambda params: "recorded" in params["message"])
        arguments: list[Json] = [item.suggestion_id, "insecure"]
        await editor.request("workspace/executeCommand", {"command": "tacit.reportBad", "arguments": arguments})
    assert [(event["value"], event["flag"]) for event in server.recorded("rated")] == [(-1, "hallucination"), (-1, "insecure")]


async def test_the_status_has_a_reason_for_each_silence(home: Home, tmp_path: Path) -> None:
    async with typing(home, tmp_path) as (server, editor, document):
        assert await editor.complete(document, 3) == []
        await editor.wait_for("tacit/status", lambda status: status["state"] == "mid_line")
        server.held = True
        waiting = editor.ask(document, AT)
        await editor.wait_for("tacit/status", lambda status: status["state"] == "waiting")
        await editor.request("workspace/executeCommand", {"command": "tacit.pause"})
        assert await editor.items(document, AT, waiting) == []
        await editor.wait_for("tacit/status", lambda status: status["state"] == "disabled" and "paused" in status["message"])
        assert await editor.complete(document, AT) == []
        server.let_through()
        await editor.request("workspace/executeCommand", {"command": "tacit.resume"})
        [item] = await editor.complete(document, AT)
        editor.reject(item)
        assert await editor.complete(document, AT) == []
        await editor.wait_for("tacit/status", lambda status: status["state"] == "quiet")
