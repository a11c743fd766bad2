"""Fix, Explain and the chat over real stdio, with a real server and a real (tiny) model: an edit or a sentence, the stream, the
cancel, and the record in SQLite.

The tiny model writes words without sense, so that hardly any fix passes its checks: all of this is about the machinery. Where one
has to pass, the engine is a stand-in that writes what the test wants.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import scripted_engine
from fixing_editor import FixingEditor

from tacit.learner.debug_record import evidence_of
from tacit.learner.simulate.editor import Document, LspError
from tacit.learner.simulate.positions import offset_at
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.events import Rated, SuggestionRecord
from tacit.protocol.home import Home
from tacit.protocol.project import project_of

SOURCE = 'password = "hunter2hunter2"\n\n\ndef add(a, b):\n    return a + c\n'
LINE = {"start": {"line": 4, "character": 15}, "end": {"line": 4, "character": 16}}
REPORTED = {
    "range": LINE,
    "message": "Name `c` used when not defined",
    "severity": 1,
    "source": "ty",
    "code": "unresolved-reference",
}
# What is said beside an answer that is as long as it may be.
CUT = "\n\n*It ends here because it is as long as an answer may be. Ask for the rest.*\n"
RECORDING = {"learning": "on", "debugDeadlineMs": 240_000, "startServer": False}


class DebugEditor(FixingEditor):
    """Of a recording workspace."""

    def __init__(self, root: Path, server: ServerProcess) -> None:
        super().__init__(root, options=RECORDING, environment=server.environment)

    async def actions(self, document: Document) -> list[Any]:
        params = {"textDocument": {"uri": document.uri}, "range": LINE, "context": {"diagnostics": [REPORTED]}}
        found: list[Any] = await self.request("textDocument/codeAction", params)
        return found

    def apply(self, document: Document, edit: Any) -> None:
        [change] = edit["documentChanges"]
        assert change["textDocument"] == {"uri": document.uri, "version": document.version}
        for one in reversed(change["edits"]):
            start, end = offset_at(document.text, one["range"]["start"]), offset_at(document.text, one["range"]["end"])
            self.change(document, start, end, one["newText"])

    def messages(self) -> list[str]:
        return [params["message"] for method, params in self.notifications if method == "window/showMessage"]


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(home, {"model": str(tiny_model), "threads": "1"}) as one:
        yield one


async def records(server: ServerProcess, root: Path, enough: Callable[[list[SuggestionRecord]], bool]) -> list[SuggestionRecord]:
    """What is stored of this workspace's debugging answers, once it is enough."""
    async with asyncio.timeout(120):
        while True:
            found = [record async for record in server.client.export(project_of(root), "debug")]
            if enough(found):
                return found
            # The store tells nobody when something has come in.
            await asyncio.sleep(0.05)


async def test_a_fix_is_an_edit_or_a_sentence_and_every_draw_is_recorded(server: ServerProcess, tmp_path: Path) -> None:
    async with DebugEditor(tmp_path, server) as editor:
        document = editor.open(tmp_path / "a.py", SOURCE)
        fix, explain = await editor.actions(document)
        assert (fix["kind"], fix["tags"], explain["tags"]) == ("quickfix", [1], [1])
        resolved = await editor.request("codeAction/resolve", fix, timeout=300)
        [said] = editor.messages()
        if resolved.get("edit") is not None:
            editor.apply(document, resolved["edit"])
            assert said.startswith("Fix: ")
        else:
            assert said.startswith("No fix is shown."), said
        editor.close(document)
        [record] = await records(
            server, tmp_path, lambda found: bool(found) and any(e.kind == "settled" for e in found[0].events)
        )
    suggestion = record.suggestion
    assert suggestion.task == "debug" and suggestion.debug is not None
    assert suggestion.shown == (resolved.get("edit") is not None)
    assert suggestion.debug.diagnostics[0].code == "unresolved-reference"
    draws = suggestion.debug.draws
    assert draws and all(len(one.generation.tokens) == len(one.generation.logprobs) > 0 for one in draws)
    assert "hunter2" not in record.model_dump_json()
    assert "progress" in {method.removeprefix("$/") for method, _ in editor.notifications}


class ScriptedServer(ServerProcess):
    """A real server, but for what its engine writes: one text, whatever it is asked."""

    def __init__(self, home: Home, model: Path, answer: str) -> None:
        super().__init__(home, {"model": str(model), "context_tokens": "40000"})
        file = home.root / "answer.md"
        file.write_text(answer, encoding="utf-8")
        self.command = (sys.executable, str(Path(scripted_engine.__file__)), str(file))


MENDED = "Nothing defines `c`.\n\n```python\ndef add(a, b):\n    return a + b\n```\n"
PROGRAM = "def add(a, b):\n    return a + c\n\n\nprint(add(1, 2))\n"


@pytest.mark.parametrize("mends", [True, False])
async def test_what_the_program_says_after_a_fix_is_told_and_rewarded(
    home: Home, tiny_model: Path, tmp_path: Path, mends: bool
) -> None:
    """The program is run before and after, its output saved in the workspace: by whom does not matter."""
    workspace = tmp_path / "work"
    workspace.mkdir()
    program = workspace / "a.py"
    program.write_text(PROGRAM)

    def run() -> None:
        with (workspace / "run.log").open("wb") as log:
            subprocess.run([sys.executable, "a.py"], cwd=workspace, stdout=log, stderr=log, check=False)

    run()
    assert "NameError" in (workspace / "run.log").read_text()
    server = ScriptedServer(home, tiny_model, MENDED if mends else MENDED.replace("a + b", "a + [b]"))
    async with server, DebugEditor(workspace, server) as editor:
        document = editor.open(program, PROGRAM)
        where = {"start": {"line": 1, "character": 15}, "end": {"line": 1, "character": 16}}
        context = {"diagnostics": [{**REPORTED, "range": where}]}
        params = {"textDocument": {"uri": document.uri}, "range": where, "context": context}
        fix, _ = await editor.request("textDocument/codeAction", params)
        resolved = await editor.request("codeAction/resolve", fix, timeout=300)
        editor.apply(document, resolved["edit"])
        editor.save(document)
        run()
        # It is looked at when the fix's text is, for the last time here.
        editor.close(document)
        [record] = await records(server, workspace, lambda found: bool(found) and any(e.kind == "reran" for e in found[0].events))
    evidence = evidence_of(record)
    assert evidence.exception_gone is True and evidence.applied is True
    assert evidence.raises == (None if mends else "TypeError")


async def test_a_trace_that_was_saved_is_fixed_in_the_file_that_it_leads_to(home: Home, tiny_model: Path, tmp_path: Path) -> None:
    """The output was opened, and the action chosen there; the program then runs."""
    workspace = tmp_path / "work"
    workspace.mkdir()
    program, log = workspace / "a.py", workspace / "run.log"
    program.write_text(PROGRAM)
    with log.open("wb") as file:
        subprocess.run([sys.executable, "a.py"], cwd=workspace, stdout=file, stderr=file, check=False)
    server = ScriptedServer(home, tiny_model, MENDED)
    async with server, DebugEditor(workspace, server) as editor:
        document = editor.open(program, PROGRAM)
        output = editor.open(log, log.read_text(), language="log")
        start = {"line": 0, "character": 0}
        params = {"textDocument": {"uri": output.uri}, "range": {"start": start, "end": start}, "context": {"diagnostics": []}}
        fix, explain = await editor.request("textDocument/codeAction", params)
        assert (fix["title"], explain["tags"]) == ("Fix with Tacit: the stack trace", [1])
        resolved = await editor.request("codeAction/resolve", fix, timeout=300)
        editor.apply(document, resolved["edit"])
        assert document.text == PROGRAM.replace("a + c", "a + b") and output.text == log.read_text()
        editor.save(document)
        editor.close(document)
        [record] = await records(
            server, workspace, lambda found: bool(found) and any(e.kind == "settled" for e in found[0].events)
        )
    assert record.suggestion.debug is not None and "NameError" in record.suggestion.debug.trace
    assert record.suggestion.context.path == "a.py" and evidence_of(record).applied is True


async def test_the_model_sees_how_the_lines_were_changed_what_they_use_and_which_versions_there_are(
    server: ServerProcess, tmp_path: Path
) -> None:
    """Over stdio and through the server into the prompt; with learning on the prompt is in the record."""
    (tmp_path / "a.py").write_text("import requests\nfrom money import rounded\n\n\ndef add(a, b):\n    return rounded(a + b)\n")
    (tmp_path / "money.py").write_text("def rounded(amount):\n    return round(amount, 2)\n")
    (tmp_path / "requirements.txt").write_text("requests==2.31.0\nunused==1.0\n")
    name = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "start")):
        subprocess.run(["git", "-C", str(tmp_path), *name, *words], check=True, capture_output=True)
    async with DebugEditor(tmp_path, server) as editor:
        text = (tmp_path / "a.py").read_text().replace("(a + b)", "(a + c)")
        document = editor.open(tmp_path / "a.py", text)
        where = {"start": {"line": 5, "character": 23}, "end": {"line": 5, "character": 24}}
        context = {"diagnostics": [{**REPORTED, "range": where}]}
        params = {"textDocument": {"uri": document.uri}, "range": where, "context": context}
        fix, _ = await editor.request("textDocument/codeAction", params)
        await editor.request("codeAction/resolve", fix, timeout=300)
        editor.close(document)
        [record] = await records(server, tmp_path, bool)
    assert record.suggestion.debug is not None
    prompt = "".join(message.text for message in record.suggestion.debug.draws[0].messages)
    assert "-    return rounded(a + b)\n+    return rounded(a + c)" in prompt and "not committed yet" in prompt
    assert "Definition `money.py`" in prompt and "def rounded(amount):" in prompt
    assert "requests 2.31.0" in prompt and "unused" not in prompt


async def test_a_cancelled_fix_stops_and_leaves_nothing(server: ServerProcess, tmp_path: Path) -> None:
    async with DebugEditor(tmp_path, server) as editor:
        document = editor.open(tmp_path / "a.py", SOURCE)
        fix, _ = await editor.actions(document)
        # In one write: the model cannot have answered before the call is stopped.
        pending = editor.send("codeAction/resolve", fix)
        editor.cancel(pending)
        with pytest.raises(LspError) as refused:
            await editor.answer(pending, timeout=120)
        assert refused.value.code == -32800
        # The button in the editor's progress list.
        pending = editor.send("codeAction/resolve", fix)
        begun = await editor.wait_for("$/progress", lambda params: params["value"].get("kind") == "begin", timeout=120)
        editor.notify("window/workDoneProgress/cancel", {"token": begun["token"]})
        resolved = await editor.answer(pending, timeout=300)
        assert resolved.get("edit") is None
        # What was stopped counts as no answer; the next question is the only one.
        await editor.request("tacit/chat", {"textDocument": {"uri": document.uri}, "range": LINE}, timeout=300)
        [record] = await records(server, tmp_path, bool)
        assert record.suggestion.debug is not None and record.suggestion.debug.kind == "explain"


async def test_an_explanation_streams_is_talked_about_and_rated(server: ServerProcess, tmp_path: Path) -> None:
    async with DebugEditor(tmp_path, server) as editor:
        document = editor.open(tmp_path / "a.py", SOURCE)
        about = {"textDocument": {"uri": document.uri}, "range": LINE, "diagnostics": [REPORTED], "partialResultToken": "stream"}
        first = await editor.request("tacit/chat", about, timeout=300)
        pieces = [
            params["value"]["text"]
            for method, params in editor.notifications
            if method == "$/progress" and params["token"] == "stream"
        ]
        assert first["text"] and "".join(pieces) == first["text"]
        second = await editor.request("tacit/chat", {"message": "Why?", "conversationId": first["conversationId"]}, timeout=300)
        assert second["suggestionId"] != first["suggestionId"]
        rating = {"suggestionId": first["suggestionId"], "value": -1, "flag": "hallucination"}
        assert (await editor.request("tacit/rate", rating)).startswith("Thank you")
        found = await records(
            server, tmp_path, lambda all_: len(all_) == 2 and any(isinstance(e, Rated) for one in all_ for e in one.events)
        )
    by_id = {record.suggestion.suggestion_id: record for record in found}
    explained = by_id[first["suggestionId"]]
    # What is kept is what the model said; that an answer is as long as it may be is said to its reader only.
    assert explained.suggestion.text
    assert first["text"].removeprefix(explained.suggestion.text) in ("", CUT)
    assert [event.flag for event in explained.events if isinstance(event, Rated)] == ["hallucination"]
    assert {record.suggestion.debug.conversation for record in found if record.suggestion.debug} == {first["conversationId"]}
