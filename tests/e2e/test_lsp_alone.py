"""The language server by itself: quick to start, right in its answers, quiet and on time without a server or with a hung one."""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import converters, types

from tacit.learner.simulate.editor import Editor, LspError
from tacit.protocol.folders import folder_of
from tacit.protocol.home import Home
from tacit.protocol.project import project_of

ALONE = {"startServer": False, "learning": "off"}


def _shown_messages(editor: Editor) -> list[str]:
    return [params["message"] for method, params in editor.notifications if method == "window/showMessage"]


def test_starting_imports_nothing_heavy() -> None:
    """Importing pygls takes most of the time that an editor gives us to answer `initialize`: everything else comes after it."""
    late = {"pydantic", "httpx", "torch", "typer", "rich", "numpy", "tacit.protocol.events"}
    for module, never in (("tacit.lsp.server", late | {"tacit.lsp.session", "pathspec"}), ("tacit.lsp.session", late)):
        code = f"import sys, tacit.lsp.main, {module}; print(*sys.modules)"
        loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
        assert "pygls" in loaded
        assert not loaded & never


def test_command_line() -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "tacit.lsp", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    assert "--log-level" in run("--help").stdout
    assert run("--log-level", "loud").returncode == 2
    ended = run("--stdio")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", ""), "the input ended without a shutdown"


async def test_initialize_answers_what_lsp_asks_for(tmp_path: Path) -> None:
    async with Editor(tmp_path, options=ALONE) as editor:
        await editor.stop()
        result = await editor.start()
        parsed = converters.get_converter().structure(result, types.InitializeResult)
        assert parsed.capabilities.inline_completion_provider is not None
        assert parsed.capabilities.position_encoding == "utf-16"
        sync = parsed.capabilities.text_document_sync
        assert isinstance(sync, types.TextDocumentSyncOptions)
        assert (sync.change, sync.open_close) == (types.TextDocumentSyncKind.Incremental, True)
        assert parsed.capabilities.execute_command_provider is not None
        assert "tacit.rate" in parsed.capabilities.execute_command_provider.commands
        assert await editor.stop() == 0


async def test_without_a_server_there_is_no_popup_and_an_answer_at_once(tmp_path: Path) -> None:
    async with Editor(tmp_path, options=ALONE) as editor:
        document = editor.open(tmp_path / "a.py", "x = \n")
        for _ in range(20):
            assert await editor.complete(document, 4, timeout=5) == []
        said = await editor.wait_for("tacit/status", lambda status: status["state"] == "unavailable")
        assert "tacit up" in said["message"]
        assert _shown_messages(editor) == []
        assert await editor.stop() == 0


async def test_a_hung_server_costs_no_more_than_the_deadline(tmp_path: Path, home: Home) -> None:
    """The fake accepts and never answers, which the real one does not do on demand."""
    silent: list[asyncio.StreamWriter] = []
    hung = await asyncio.start_unix_server(lambda reader, writer: silent.append(writer), home.run_dir / home.socket.name)
    try:
        async with Editor(tmp_path, options={**ALONE, "deadlineMs": 300}) as editor:
            document = editor.open(tmp_path / "a.py", "x = \n")
            pending = [editor.ask(document, 4) for _ in range(5)]
            # Each new request takes the place of the one before; the last one has its deadline.
            for one in pending:
                assert await editor.items(document, 4, one, timeout=5) == []
            late = await editor.wait_for("tacit/status", lambda status: status["state"] == "late")
            assert "300 ms" in late["message"]
            assert _shown_messages(editor) == []
    finally:
        hung.close()
        for writer in silent:
            writer.close()


async def test_requests_that_cannot_be_meant_are_answered(tmp_path: Path) -> None:
    async with Editor(tmp_path, options=ALONE) as editor:
        document = editor.open(tmp_path / "a.py", "x = \n")
        place: dict[str, Any] = {"textDocument": {"uri": document.uri}, "position": {"line": 0, "character": 4}}
        # Older clients count triggers from 0; positions beyond the end count as the end.
        for context in ({"triggerKind": 0}, {"triggerKind": 1}, {"triggerKind": 2}, {"triggerKind": 77}, {}, None):
            assert await editor.request("textDocument/inlineCompletion", {**place, "context": context}) is None
        far = {**place, "position": {"line": 10**9, "character": 10**9}}
        assert await editor.request("textDocument/inlineCompletion", far) is None
        wrong: list[Any] = [None, [], {}, {"textDocument": 3}, {**place, "position": {"line": -1}}, {**place, "position": "x"}]
        wrong += [{**place, "textDocument": {"uri": "file:///not-open.py"}}]
        for params in wrong:
            with pytest.raises(LspError):
                await editor.request("textDocument/inlineCompletion", params)
        with pytest.raises(LspError):
            await editor.request("workspace/executeCommand", {"command": "rm"})
        with pytest.raises(LspError):
            await editor.request("initialize", {})
        with pytest.raises(LspError):
            await editor.request("textDocument/hover", place)
        for method in (
            "textDocument/didOpen",
            "textDocument/didSave",
            "textDocument/didShowCompletion",
            "tacit/rate",
            "tacit/nothing",
        ):
            editor.notify(method, {"x": 1})
        assert (await editor.request("tacit/counters", None))["requests"] == 7


async def test_a_change_that_cannot_be_understood_closes_the_document_for_us(tmp_path: Path) -> None:
    async with Editor(tmp_path, options=ALONE) as editor:
        document = editor.open(tmp_path / "a.py", "x = \n")
        text = {"uri": document.uri, "version": 2}
        editor.notify("textDocument/didChange", {"textDocument": text, "contentChanges": [{"range": 1, "text": "x"}]})
        with pytest.raises(LspError, match="not open"):
            await editor.complete(document, 0)
        assert len(_shown_messages(editor)) == 1
        document = editor.open(tmp_path / "a.py", "x = \n")
        assert await editor.complete(document, 4) == []


async def test_nothing_before_initialize_and_nothing_after_shutdown(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tacit.lsp", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    messages = [
        {"id": 1, "method": "textDocument/inlineCompletion", "params": {}},
        {"id": 2, "method": "initialize", "params": {"capabilities": {}, "initializationOptions": ALONE}},
        {"id": 3, "method": "shutdown"},
    ]
    later = [{"id": 4, "method": "tacit/counters"}, {"method": "exit"}]
    assert process.stdin is not None
    assert process.stdout is not None
    answers: dict[int, Any] = {}
    for group in (messages, later):
        for message in group:
            body = json.dumps({"jsonrpc": "2.0", **message}).encode()
            process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        for _ in range(sum("id" in message for message in group)):
            length = int((await process.stdout.readline()).split(b":")[1])
            await process.stdout.readline()
            answer = json.loads(await process.stdout.readexactly(length))
            answers[answer["id"]] = answer
    assert answers[1]["error"]["code"] == -32002
    assert "capabilities" in answers[2]["result"]
    assert answers[3]["result"] is None
    assert answers[4]["error"]["code"] == -32600
    assert await process.wait() == 0


async def test_bad_options_are_told_and_the_rest_counts(tmp_path: Path) -> None:
    (tmp_path / ".tacit.toml").write_text("learning = maybe\n")
    async with Editor(tmp_path, options={**ALONE, "deadlineMs": "soon"}) as editor:
        told = await editor.wait_for("window/showMessage", lambda params: "deadlineMs" in params["message"])
        assert "8000" in told["message"]
        editor.notify("workspace/didChangeConfiguration", {"settings": {"tacit": {"enabled": False}}})
        document = editor.open(tmp_path / "a.py", "x = \n")
        assert await editor.complete(document, 4) == []
        await editor.wait_for("tacit/status", lambda status: status["state"] == "disabled")


@pytest.mark.parametrize("how", ["paused", "turned off"])
async def test_no_text_is_recorded_during_a_pause(home: Home, tmp_path: Path, how: str) -> None:
    def recorded() -> str:
        return "".join(path.read_text() for path in home.outbox.glob("*.jsonl"))

    async def stop(off: bool) -> None:
        if how == "paused":
            await editor.request("workspace/executeCommand", {"command": "tacit.pause" if off else "tacit.resume"})
        else:
            editor.notify("workspace/didChangeConfiguration", {"settings": {"tacit": {"enabled": not off}}})

    options = {**ALONE, "learning": "on"}
    async with Editor(tmp_path, options=options, environment={"TACIT_HOME": str(home.root)}) as editor:
        document = editor.open(tmp_path / "a.py", "opened\n")
        async with asyncio.timeout(60):
            # The record begins when the language server knows the project, which takes a git process.
            while "opened" not in recorded():
                await asyncio.sleep(0.05)
        assert folder_of(home, project_of(tmp_path)) == str(tmp_path.resolve())
        editor.change(document, 0, 0, "earlier ")
        await stop(True)
        editor.change(document, 0, 0, "meanwhile ")
        editor.save(document)
        editor.change(document, 0, len("meanwhile "), "")
        await stop(False)
        editor.change(document, 0, 0, "later ")
        editor.close(document)
    assert "earlier" in recorded() and "later" in recorded()
    assert "meanwhile" not in recorded()


async def test_hidden_files_are_told_apart(tmp_path: Path) -> None:
    async with Editor(tmp_path, options=ALONE) as editor:
        document = editor.open(tmp_path / ".env", "TOKEN=\n")
        assert await editor.complete(document, 6) == []
        said = await editor.wait_for("tacit/status", lambda status: status["state"] == "hidden")
        assert ".env" in said["message"]


@pytest.mark.parametrize(("title", "written"), [("Turn on", "learning = true"), ("Never", "learning = false"), ("Not now", "")])
async def test_learning_is_asked_for_once_per_workspace(tmp_path: Path, title: str, written: str) -> None:
    asked: list[str] = []
    put = asyncio.Event()

    def answer(message: str, titles: Any) -> str:
        asked.append(message)
        put.set()
        return title

    options = {"startServer": False}
    async with Editor(tmp_path, options=options, answer_message=answer) as editor:
        for name in ("a.py", "b.py"):
            editor.open(tmp_path / name, "x = \n")
        await asyncio.wait_for(put.wait(), 30)
        await editor.request("tacit/counters", None)
        file = tmp_path / ".tacit.toml"
        async with asyncio.timeout(10):
            while written and not (file.exists() and written in file.read_text()):
                await asyncio.sleep(0.01)
        assert file.exists() is bool(written)
    assert len(asked) == 1


async def test_an_editor_that_dies_ends_us(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tacit.lsp", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    body = json.dumps({"id": 1, "method": "initialize", "params": {"capabilities": {}, "initializationOptions": ALONE}}).encode()
    process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    with contextlib.suppress(ConnectionError):
        await process.stdin.drain()
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 30) == 1
