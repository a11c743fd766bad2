"""Fix and Explain from a stack trace: saved, pasted into a new buffer, or told; of the file that it leads to."""

import asyncio
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from debugging_bench import TEXT, WRONG, Bench, debugging_bench
from lsprotocol import types

from tacit.lsp.debugging import traced
from tacit.lsp.debugging.actions import Client, Question
from tacit.lsp.debugging.applying import Applying
from tacit.lsp.debugging.traced import is_trace
from tacit.lsp.documents import Document
from tacit.lsp.extensions import ApplyBlockParams, ChatParams

EDITOR = Client(literals=True, resolves=True, versions=True, applies=True, progress=True, shows=True)
HERE = types.Range(types.Position(0, 0), types.Position(0, 0))


def trace(root: Path, *frames: str) -> str:
    told = "".join(f'  File "{root.resolve()}/{one}, in add\n    code\n' for one in frames or ('a.py", line 5',))
    return f"Traceback (most recent call last):\n{told}NameError: name 'retrun' is not defined; password = 'hunter2hunter2'\n"


def opened(bench: Bench, uri: str, text: str, language: str = "log") -> Question:
    bench.debugging._documents[uri] = Document(uri, language, 1, text)
    return Question(uri, HERE, 1)


async def fixed(bench: Bench, question: Question) -> types.WorkspaceEdit | None:
    return await bench.fixed(question)


@pytest.mark.parametrize("uri", ["saved", "untitled:Untitled-1"])
async def test_a_trace_that_was_saved_or_pasted_is_offered_a_fix_of_the_code_it_leads_to(tmp_path: Path, uri: str) -> None:
    async with debugging_bench(tmp_path, EDITOR) as bench:
        uri = (tmp_path.resolve() / "run.log").as_uri() if uri == "saved" else uri
        question = opened(bench, uri, trace(tmp_path), "log" if uri.endswith("log") else "plaintext")
        params = types.CodeActionParams(types.TextDocumentIdentifier(uri), HERE, types.CodeActionContext([]))
        offered = bench.debugging.actions(params)
        assert [one.title for one in offered] == ["Fix with Tacit: the stack trace", "Explain with Tacit: the stack trace"]
        assert isinstance(offered[0], types.CodeAction) and offered[0].data["uri"] == uri
        made = await fixed(bench, question)
        assert made is not None and made.document_changes is not None
        [change] = made.document_changes
        assert isinstance(change, types.TextDocumentEdit) and change.text_document.uri == bench.document.uri
        [asked] = bench.model.asked
        assert (asked["kind"], asked["path"], asked["text"], asked["text_line"]) == ("fix", "a.py", TEXT, 0)
        assert asked["trace"].startswith("Traceback") and "hunter2hunter2" not in asked["trace"]
        assert asked["selection"] == {"start": WRONG - 4, "end": WRONG + len("retrun a + b")}
        explained = await bench.debugging.explain(question)
        assert (
            explained is not None and bench.model.asked[1]["path"] == "a.py" and bench.model.asked[1]["trace"] == asked["trace"]
        )


async def test_a_trace_may_be_told_by_whoever_has_it(tmp_path: Path) -> None:
    """A plugin that reads a terminal or the clipboard; what it is told of another document does not matter then."""
    async with debugging_bench(tmp_path, EDITOR) as bench:
        assert await fixed(bench, Question("", HERE, trace=trace(tmp_path))) is not None
        assert bench.model.asked[0]["path"] == "a.py"


async def test_an_ordinary_text_is_what_it_is(tmp_path: Path) -> None:
    assert not is_trace(Document("file:///a.py", "python", 1, trace(tmp_path)))
    assert not is_trace(Document("file:///a.txt", "plaintext", 1, "What the Traceback was about, at last: see a.py.\n"))
    for begins in (
        'Exception in thread "main" java.lang.Error\n\tat shop.Cart.total(Cart.java:3)\n',
        "thread 'main' panicked at src/main.rs:2:5:\n",
        "goroutine 1 [running]:\n",
        "==1==ERROR: AddressSanitizer: heap-use-after-free\n",
        "TypeError: no\n    at total (/x/cart.js:3:5)\n",
        "src/a.cpp:3:4: error: expected ';'\n",
        "E       assert 1 == 0\n",
    ):
        assert is_trace(Document("untitled:1", "plaintext", 1, begins)), begins


async def test_a_text_of_nothing_but_empty_lines_is_looked_through_at_once() -> None:
    """The language server answers nobody meanwhile."""
    looked = multiprocessing.get_context("spawn").Process(target=traced._BEGINS.search, args=("\n" * 400_000,))
    looked.start()
    await asyncio.to_thread(looked.join, 60)
    looked.kill()
    assert looked.exitcode == 0


async def test_what_a_tool_reports_in_a_text_of_traces_is_about_that_text(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path, EDITOR) as bench:
        uri = (tmp_path.resolve() / "notes.txt").as_uri()
        question = opened(bench, uri, trace(tmp_path), "plaintext")
        question.diagnostics = [types.Diagnostic(HERE, "Unknown word.", types.DiagnosticSeverity.Error)]
        await fixed(bench, question)
        about = types.TextDocumentIdentifier(uri)
        await bench.chat.ask(ChatParams("Why?", text_document=about, range=HERE, diagnostics=question.diagnostics))
        assert [(one["path"], one["trace"]) for one in bench.model.asked] == [("notes.txt", "")] * 2


async def test_a_trace_of_an_older_longer_text_is_said_to_be_one(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path, EDITOR) as bench:
        assert await fixed(bench, Question("", HERE, trace=trace(tmp_path, 'a.py", line 500'))) is None
        assert "line 500 of a.py, which is shorter" in bench.messages()[-1] and bench.model.asked == []


async def test_the_editor_is_asked_to_open_what_is_not_open(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path, EDITOR) as bench:
        (tmp_path / "b.py").write_text(TEXT)
        told = trace(tmp_path, 'a.py", line 8', 'b.py", line 5')
        task = asyncio.create_task(fixed(bench, Question("", HERE, trace=told)))
        async with asyncio.timeout(10):
            while not (asked := [one for one in bench.sink.messages if one.get("method") == "window/showDocument"]):
                await asyncio.sleep(0)
        uri = (tmp_path.resolve() / "b.py").as_uri()
        assert asked[0]["params"]["uri"] == uri and asked[0]["params"]["selection"]["start"]["line"] == 4
        bench.lsp.protocol.receive({"jsonrpc": "2.0", "id": asked[0]["id"], "result": {"success": True}})
        await asyncio.sleep(0.05)
        bench.debugging._documents[uri] = Document(uri, "python", 1, TEXT)
        await task
        # What the model proposes is of another file than the one that was asked about.
        assert [one["path"] for one in bench.model.asked] == ["b.py"] and "another file" in bench.messages()[-1]


async def test_an_editor_that_opens_nothing_says_what_to_open(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path, replace(EDITOR, shows=False)) as bench:
        (tmp_path / "b.py").write_text(TEXT)
        assert await fixed(bench, Question("", HERE, trace=trace(tmp_path, 'b.py", line 5'))) is None
        assert bench.messages() == ["The trace leads to line 5 of b.py: open that file, and ask again."]
        assert bench.model.asked == []


async def test_a_trace_is_answered_in_words_where_there_is_nothing_to_fix(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path, EDITOR) as bench:
        root = tmp_path.resolve()
        (root / "test_a.py").write_text(TEXT)
        (root / "hidden.py").write_text(TEXT)
        (root / ".gitignore").write_text("hidden.py\nsecret.log\n")
        outside = trace(tmp_path.parent / "elsewhere")
        for told in ("Traceback (most recent call last):\n", outside.replace("a.py", "zz.py"), "nothing"):
            assert await fixed(bench, Question("", HERE, trace=told)) is None
        assert set(bench.messages()) == {"This is no stack trace that leads into the open folders."}
        assert await fixed(bench, Question("", HERE, trace=trace(tmp_path, 'test_a.py", line 5'))) is None
        assert "tests only (test_a.py, line 5)" in bench.messages()[-1]
        assert await fixed(bench, Question("", HERE, trace=trace(tmp_path, 'hidden.py", line 5'))) is None
        assert await fixed(bench, opened(bench, (root / "secret.log").as_uri(), trace(tmp_path))) is None
        assert "ignored" in bench.messages()[-1] and bench.model.asked == []
        # Of a failing test the code that it calls is meant, not the test.
        assert await fixed(bench, Question("", HERE, trace=trace(tmp_path, 'a.py", line 5', 'test_a.py", line 5'))) is not None
        assert bench.model.asked[-1]["path"] == "a.py"


async def test_a_chat_about_a_trace_alone_is_tied_to_the_open_file_that_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debugging_bench(tmp_path, EDITOR) as bench:
        bench.model.chunks = [{"kind": "text", "text": "So:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"}]

        async def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            bench.apply(params.edit)
            return types.ApplyWorkspaceEditResult(applied=True)

        monkeypatch.setattr(bench.lsp, "workspace_apply_edit_async", apply)
        answer = await bench.chat.ask(ChatParams(stack_trace=trace(tmp_path)))
        applying: Applying = bench.debugging.applying
        assert (await applying.apply(ApplyBlockParams(0, answer["suggestionId"])))["applied"]
        assert bench.document.text == TEXT.replace("retrun", "return")
        # A buffer that it was pasted into is the trace, not the file that is asked about.
        pasted = opened(bench, "untitled:Untitled-1", trace(tmp_path), "plaintext")
        await bench.chat.ask(ChatParams("Why?", text_document=types.TextDocumentIdentifier(pasted.uri), range=HERE))
        asked = bench.model.asked.pop()
        assert (asked["path"], asked["trace"]) == ("a.py", bench.model.asked[0]["trace"])
        # Where nothing is open that it leads to, it is about the trace, and nothing is opened for it.
        await bench.chat.ask(ChatParams(stack_trace=trace(tmp_path, 'c.py", line 5')))
        assert [one["path"] for one in bench.model.asked] == ["a.py", ""]
        assert not [one for one in bench.sink.messages if one.get("method") == "window/showDocument"]
