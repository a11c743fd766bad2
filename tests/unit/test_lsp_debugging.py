"""Fix, Explain and the chat in the language server: what is offered, what may become of an answer, what is learnt from it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from debugging_bench import FIX, TEXT, WRONG, Bench, debugging_bench, edit
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from tacit.lsp.debugging.actions import Client, Question, offered
from tacit.lsp.extensions import ChatParams

RIGHT = TEXT.replace("retrun", "return")
PLACE = types.Range(types.Position(4, 4), types.Position(4, 10))


def complaint(line: int, message: str, severity: int = 1) -> types.Diagnostic:
    where = types.Range(types.Position(line, 0), types.Position(line, 3))
    return types.Diagnostic(where, message, severity=types.DiagnosticSeverity(severity), data={"theirs": 1})


def titles(bench: Bench, place: types.Range, *told: types.Diagnostic, only: list[str] | None = None) -> list[str]:
    context = types.CodeActionContext(diagnostics=list(told), only=only)
    params = types.CodeActionParams(types.TextDocumentIdentifier(bench.document.uri), place, context)
    return [one.title for one in bench.debugging.actions(params)]


# What is offered


async def test_an_error_is_offered_a_fix_and_an_explanation_marked_as_a_models(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        context = types.CodeActionContext(diagnostics=[complaint(4, "bad\nname")])
        actions = bench.debugging.actions(
            types.CodeActionParams(types.TextDocumentIdentifier(bench.document.uri), PLACE, context)
        )
        fix, explain = actions
        assert isinstance(fix, types.CodeAction) and isinstance(explain, types.CodeAction)
        assert [fix.title, explain.title] == ["Fix with Tacit: bad name", "Explain with Tacit: bad name"]
        assert fix.tags == explain.tags == [types.CodeActionTag.LlmGenerated]
        assert (fix.kind, fix.command, fix.edit) == ("quickfix", None, None)
        assert explain.command is not None and explain.command.command == "tacit.explain"
        assert bench.model.asked == []


async def test_errors_come_first_and_at_most_three(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        told = [complaint(4, "hint", 4), complaint(4, "one"), complaint(4, "two"), complaint(4, "three"), complaint(0, "far")]
        fixes = [title for title in titles(bench, PLACE, *told) if title.startswith("Fix")]
        assert fixes == ["Fix with Tacit: one", "Fix with Tacit: two", "Fix with Tacit: three"]


async def test_what_is_asked_for_is_what_is_offered(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        empty = types.Range(PLACE.start, PLACE.start)
        assert titles(bench, empty) == []
        assert titles(bench, PLACE) == ["Fix with Tacit: the selection", "Explain with Tacit: the selection"]
        bench.complain("passed on")
        assert titles(bench, empty) == ["Fix with Tacit: passed on", "Explain with Tacit: passed on"]
        assert titles(bench, PLACE, only=["quickfix"]) == ["Fix with Tacit: passed on"]
        assert titles(bench, PLACE, only=["tacit"]) == ["Explain with Tacit: passed on"]
        assert titles(bench, PLACE, only=["source.organizeImports"]) == []
        bench.refusal = "Tacit is turned off."
        assert titles(bench, PLACE) == []


def test_an_editor_that_cannot_resolve_gets_commands() -> None:
    question = Question("file:///a.py", PLACE, 1, [complaint(4, "bad")])
    lazy = Client(literals=True, resolves=False, applies=True)
    fix, _ = offered(question, None, lazy, lambda one: one)
    assert isinstance(fix, types.CodeAction) and fix.command is not None and fix.command.command == "tacit.fix"
    assert all(isinstance(one, types.Command) for one in offered(question, None, replace(lazy, literals=False), lambda one: one))
    # Nothing that could not be applied is offered.
    [only] = offered(question, None, replace(lazy, applies=False), lambda one: one)
    assert only.title.startswith("Explain")


# A fix


async def test_a_fix_is_an_edit_of_that_version_of_the_document_with_a_reason(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        made = await bench.fixed()
        assert made is not None and made.changes is None
        bench.apply(made)
        assert bench.document.text == RIGHT
        [asked] = bench.model.asked
        assert (asked["kind"], asked["path"], asked["text"], asked["workspace"]) == ("fix", "a.py", TEXT, str(tmp_path.resolve()))
        [told] = asked["diagnostics"]
        assert (told["start"], told["end"], told["message"], told["source"], told["code"]) == (
            WRONG, WRONG + 6, "unexpected `a`", "ty", "syntax",
        )  # fmt: skip
        assert bench.messages() == ["Fix: A typing mistake. (confidence 75%). Not checked: There are no tests."]


async def test_an_editor_without_versions_gets_plain_changes(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path, Client(literals=True, resolves=True)) as bench:
        made = await bench.fixed()
        assert made is not None and made.document_changes is None and made.changes is not None
        assert [one.new_text for one in made.changes[bench.document.uri]] == ["return"]


@pytest.mark.parametrize(
    ("proposal", "words"),
    [
        (edit(0, 0, "x", "../b.py"), "another file"),
        (edit(0, 0, "x", "b.py"), "another file"),
        (edit(0, 10_000, "x"), "does not fit"),
        (edit(WRONG, WRONG + 6, "retrun"), "would change nothing"),
        (edit(WRONG, WRONG + 6, "ret\u202eurn"), "invisible"),
        (edit(WRONG, WRONG + 6, "return '<redacted:assigned>'"), "secret"),
        ({"kind": "withheld", "reason": "None of 3 candidates parses."}, "None of 3 candidates parses."),
    ],
)
async def test_what_may_not_be_applied_is_a_sentence(tmp_path: Path, proposal: dict[str, Any], words: str) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.chunks = [proposal]
        assert await bench.fixed() is None
        assert len(bench.messages()) == 1 and words in bench.messages()[0]


async def test_no_answer_at_all_is_a_sentence_too(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.chunks = []
        assert await bench.fixed() is None
        bench.model.chunks = [{"kind": "failed", "code": "engine_unavailable", "message": "It is loading.", "mend": "Wait."}]
        assert await bench.fixed() is None
        assert bench.messages() == ["The model found nothing to fix here.", "It is loading. Wait."]


async def test_secrets_are_not_sent_and_not_touched(tmp_path: Path) -> None:
    text = 'password = "hunter2hunter2"\n' + TEXT
    async with debugging_bench(tmp_path, text=text) as bench:
        bench.model.chunks = [edit(0, 28, 'password = "x"\n')]
        assert await bench.fixed(bench.question(WRONG + 28, WRONG + 34)) is None
        assert "secret" in bench.messages()[0]
        [asked] = bench.model.asked
        assert "hunter2" not in json.dumps(asked) and len(asked["text"]) == len(text)
        assert asked["masked"] == [{"start": 12, "end": 26}]


async def test_a_file_that_changed_is_not_edited(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        question = bench.question()
        bench.type(0, 0, "# new\n")
        assert await bench.fixed(question) is None
        assert bench.model.asked == []
        bench.model.gate.clear()
        task = asyncio.create_task(bench.fixed())
        await bench.model.said.wait()
        bench.type(0, 0, "# newer\n")
        bench.model.gate.set()
        assert await task is None
        assert bench.messages() == ["The file has changed since it was asked; ask again."] * 2


async def test_a_link_that_is_turned_out_of_the_root_meanwhile_gets_no_edit(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "b.py"
    root.mkdir()
    outside.write_text(TEXT)
    async with debugging_bench(root) as bench:
        bench.model.gate.clear()
        task = asyncio.create_task(bench.fixed())
        await bench.model.said.wait()
        (root / "a.py").unlink()
        (root / "a.py").symlink_to(outside)
        bench.model.gate.set()
        assert await task is None
        assert bench.messages() == ["it is outside the open folders"]


async def test_lines_end_as_the_files_do(tmp_path: Path) -> None:
    text = TEXT.replace("\n", "\r\n")
    at = text.index("retrun")
    async with debugging_bench(tmp_path, text=text) as bench:
        bench.model.chunks = [edit(at, at + 6, "# 😀\n    return")]
        made = await bench.fixed(bench.question(at, at + 6))
        assert made is not None
        bench.apply(made)
        assert bench.document.text == text.replace("retrun", "# 😀\r\n    return")
        assert "accepted" in bench.kinds()


async def test_by_command_the_editor_is_asked_to_apply_it(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        for applied in (True, False):
            task = asyncio.create_task(bench.debugging.fix(bench.question()))
            async with asyncio.timeout(10):
                while not (asked := [one for one in bench.sink.messages if one.get("method") == "workspace/applyEdit"]):
                    await asyncio.sleep(0)
            bench.sink.messages.remove(asked[0])
            assert asked[0]["params"]["edit"]["documentChanges"][0]["textDocument"]["version"] == bench.document.version
            bench.lsp.protocol.receive({"jsonrpc": "2.0", "id": asked[0]["id"], "result": {"applied": applied}})
            await task
        assert bench.messages()[-1].startswith("The editor did not apply the fix")
        assert [one["reason"] for one in bench.events() if one["kind"] == "rejected"] == ["superseded", "dismissed"]


# Progress and cancelling


def created(bench: Bench) -> str:
    [asked] = [one for one in bench.sink.messages if one.get("method") == "window/workDoneProgress/create"]
    bench.lsp.protocol.receive({"jsonrpc": "2.0", "id": asked["id"], "result": None})
    token: str = asked["params"]["token"]
    return token


async def test_progress_says_what_is_being_done_and_its_button_reaches_the_server(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.gate.clear()
        task = asyncio.create_task(bench.fixed())
        await bench.model.said.wait()
        token = created(bench)
        assert bench.progress()[0] == {
            "kind": "begin", "title": "Tacit fixes", "cancellable": True, "message": "Reading the error",
        }  # fmt: skip
        bench.debugging.works.cancel(token)
        assert await task is None
        await asyncio.wait_for(bench.model.closed.wait(), 10)
        assert bench.progress()[-1]["kind"] == "end"
        assert bench.messages() == []


async def test_a_cancelled_request_reaches_the_server(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.gate.clear()
        task = asyncio.create_task(bench.fixed())
        await bench.model.said.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(bench.model.closed.wait(), 10)
        assert bench.events() == []


async def test_a_server_that_hangs_costs_no_more_than_the_deadline(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.settings = replace(bench.settings, debug_deadline_ms=100)
        bench.model.gate.clear()
        assert await bench.fixed() is None
        assert "no answer within" in bench.messages()[0]
        await asyncio.wait_for(bench.model.closed.wait(), 10)


async def test_more_than_a_few_at_once_are_refused(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.gate.clear()
        tasks = [asyncio.create_task(bench.fixed()) for _ in range(4)]
        async with asyncio.timeout(10):
            while len(bench.model.asked) < 4:
                await asyncio.sleep(0)
        assert await bench.fixed() is None
        assert "several questions already" in bench.messages()[0]
        bench.debugging.works.stop()
        assert await asyncio.gather(*tasks) == [None] * 4


# What is learnt from


async def test_a_fix_from_the_draw_to_the_last_horizon(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.complain("unexpected `a`", "another")
        made = await bench.fixed()
        assert made is not None
        bench.apply(made)
        bench.complain("another", "new")
        bench.clock.scale = 100_000
        async with asyncio.timeout(30):
            while "settled:10m" not in bench.kinds():
                await asyncio.sleep(0.005)
        suggested = next(one for one in bench.events() if one["kind"] == "suggested")
        assert (suggested["task"], suggested["text"], suggested["shown"]) == ("debug", "    return a + b", True)
        debug = suggested["debug"]
        assert (debug["kind"], debug["original"], debug["confidence"]) == ("fix", "    retrun a + b", 0.75)
        assert debug["draws"][0]["generation"] == suggested["generation"] and suggested["generation"]["tokens"] == [1, 2]
        assert suggested["context"]["prefix"].endswith("def add(a, b):\n") and suggested["context"]["suffix"].startswith(
            "\n\n\nprint"
        )
        assert bench.kinds()[1:4] == ["suggested", "shown", "accepted"]
        settled = [one for one in bench.events() if one["kind"] == "settled"]
        assert {one["span_text"] for one in settled} == {"    return a + b"}
        checked = {
            one["horizon"]: (one["gone"], one["new_errors"]) for one in bench.events() if one["kind"] == "diagnostic_checked"
        }
        assert checked == dict.fromkeys(("10s", "2m", "10m"), (True, 1))


async def test_a_diagnostic_that_comes_back_is_told_and_one_that_nobody_spoke_of_is_not(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.complain("unexpected `a`")
        made = await bench.fixed()
        assert made is not None
        bench.apply(made)
        bench.feedback.saved(bench.document.uri)
        assert "diagnostic_checked:save" not in bench.kinds()
        bench.complain("unexpected `a`")
        bench.feedback.closed(bench.document.uri)
        assert [one["gone"] for one in bench.events() if one["kind"] == "diagnostic_checked"] == [False]


async def test_a_fix_that_is_taken_out_again_is_undone(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        made = await bench.fixed()
        assert made is not None
        bench.apply(made)
        bench.type(WRONG, WRONG + 6, "retrun")
        assert bench.kinds()[-2:] == ["accepted", "undone"]


async def test_a_fix_that_is_not_applied_is_rejected_and_what_was_written_there_is_read(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        assert await bench.fixed() is not None
        bench.type(WRONG, WRONG + 6, "yield")
        bench.feedback.closed(bench.document.uri)
        events = bench.events()
        assert [one["reason"] for one in events if one["kind"] == "rejected"] == ["focus_lost"]
        assert [(one["span_text"], one["settled_text"]) for one in events if one["kind"] == "settled"] == [
            (None, "    yield a + b")
        ]


async def test_a_fix_that_was_withheld_is_recorded_with_what_was_written_instead(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.chunks = [{"kind": "withheld", "reason": "No candidate parses."}]
        assert await bench.fixed() is None
        bench.type(WRONG, WRONG + 6, "return")
        bench.feedback.closed(bench.document.uri)
        [suggested] = [one for one in bench.events() if one["kind"] == "suggested"]
        assert (suggested["shown"], suggested["withheld_reason"], suggested["text"]) == (False, "checks", "")
        assert [one["settled_text"] for one in bench.events() if one["kind"] == "settled"] == ["    return a + b"]


async def test_the_same_question_again_and_a_rating(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        await bench.fixed()
        assert bench.feedback.rate(None, -1, "hallucination", "return a + b") == "Thank you: the rating is recorded."
        await bench.fixed()
        await bench.fixed(bench.question(message="another"))
        events = bench.events()
        names = [one["suggestion_id"] for one in events if one["kind"] == "suggested"]
        assert [one["suggestion_id"] for one in events if one["kind"] == "asked_again"] == names[:1]
        [rated] = [one for one in events if one["kind"] == "rated"]
        assert (rated["suggestion_id"], rated["flag"], rated["correction"]) == (names[0], "hallucination", "return a + b")


# Explanations and the chat


async def test_an_explanation_is_shown_recorded_and_made_visible(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.chunks = [{"kind": "text", "text": "`retrun` is "}, {"kind": "text", "text": "no\u202e word."}]
        answer = await bench.debugging.explain(bench.question())
        assert answer is not None and answer["text"] == "`retrun` is no\\u{202e} word."
        assert bench.messages() == [answer["text"]]
        assert bench.feedback.rate(answer["suggestionId"], 1, None, None).startswith("Thank you")
        assert bench.kinds()[1:] == ["suggested", "shown", "rated"]


async def test_a_chat_streams_and_knows_what_was_said(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.chunks = [{"kind": "text", "text": "It is a "}, {"kind": "text", "text": "typing mistake."}]
        about = types.TextDocumentIdentifier(bench.document.uri)
        first = await bench.chat.ask(ChatParams(text_document=about, range=PLACE, partial_result_token="t"))
        assert [one["params"] for one in bench.sink.messages if one["method"] == "$/progress"] == [
            {"token": "t", "value": {"text": "It is a "}},
            {"token": "t", "value": {"text": "typing mistake."}},
        ]
        bench.model.chunks = [{"kind": "text", "text": "Yes."}]
        second = await bench.chat.ask(ChatParams("Is it mine?", first["conversationId"], stack_trace="Traceback …"))
        assert (second["conversationId"], second["text"]) == (first["conversationId"], "Yes.")
        one, two = bench.model.asked
        assert (one["route"], one["kind"], two["route"], two["kind"]) == ("/v1/debug", "explain", "/v1/chat", "chat")
        assert [turn["text"] for turn in two["turns"]] == ["Explain this.", "It is a typing mistake.", "Is it mine?"]
        assert (two["path"], two["trace"]) == ("a.py", "Traceback …")
        conversations = [event["debug"]["conversation"] for event in bench.events() if event["kind"] == "suggested"]
        assert conversations == [first["conversationId"]] * 2


async def test_why_an_answer_is_not_whole_is_shown_and_is_none_of_its_words(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        bench.model.chunks, bench.model.cut = [{"kind": "text", "text": "It is"}], "Its time was over."
        told = "It is\n\n*Its time was over.*\n"
        explained = await bench.debugging.explain(bench.question())
        assert explained is not None and explained["text"] == told and bench.messages() == [told.strip()]
        about = types.TextDocumentIdentifier(bench.document.uri)
        answer = await bench.chat.ask(ChatParams(text_document=about, range=PLACE, partial_result_token="t"))
        assert answer["text"] == told
        streamed = [one["params"]["value"]["text"] for one in bench.sink.messages if one["method"] == "$/progress"]
        assert "".join(streamed).endswith(told)
        assert {event["text"] for event in bench.events() if event["kind"] == "suggested"} == {"It is"}


async def test_a_chat_without_a_question_or_about_a_hidden_file_is_refused_in_words(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path) as bench:
        with pytest.raises(JsonRpcException, match="nothing to ask about"):
            await bench.chat.ask(ChatParams())
        with pytest.raises(JsonRpcInvalidParams):
            await bench.chat.ask(ChatParams("why?", text_document=types.TextDocumentIdentifier("file:///not-open.py")))
        bench.refusal = "Nothing of .env is sent."
        with pytest.raises(JsonRpcException, match=r"Nothing of \.env is sent"):
            await bench.chat.ask(ChatParams("why?", text_document=types.TextDocumentIdentifier(bench.document.uri)))
        assert bench.model.asked == []
        bench.model.chunks = [FIX]
        answer = await bench.chat.ask(ChatParams("What is a monad?"))
        assert answer["text"] == "" and bench.model.asked[0]["path"] == ""
