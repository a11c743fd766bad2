"""One suggestion as an entry of a completion menu: what it replaces, what filters it, and when there is none."""

import asyncio

import pytest
from lsprotocol import types

from tacit.lsp.completion_source import entry, menu, wanted
from tacit.lsp.documents import Document


def document(text: str) -> Document:
    return Document("file:///a.py", "python", 1, text)


def item(text: str, line: int, start: int, end: int) -> types.InlineCompletionItem:
    span = types.Range(types.Position(line, start), types.Position(line, end))
    return types.InlineCompletionItem(text, range=span, command=types.Command(title="t", command="c", arguments=["id"]))


def applied(text: str, edit: object) -> str:
    assert isinstance(edit, types.TextEdit)
    holder = document(text)
    start, end = holder.offset_at(edit.range.start), holder.offset_at(edit.range.end)
    return text[:start] + edit.new_text + text[end:]


@pytest.mark.parametrize(
    ("text", "cursor", "suggestion", "replaces", "label"),
    [
        ("x = pri", 7, "nt(a)", 0, "print(a)"),
        ("x = f()", 6, "a, b)", 1, "a, b)"),
        ("'😀' + al", 8, "pha", 0, "alpha"),
        ("if a:", 5, "\n    go()\n    stop()", 0, "go()"),
    ],
)
def test_the_entry_says_and_does_what_the_ghost_text_would(
    text: str, cursor: int, suggestion: str, replaces: int, label: str
) -> None:
    holder = document(text)
    at = holder.position_at(cursor)
    end = holder.position_at(cursor + replaces)
    made = entry(holder, cursor, item(suggestion, at.line, at.character, end.character))
    assert applied(text, made.text_edit) == text[:cursor] + suggestion + text[cursor + replaces :]
    # Nothing before the cursor is touched.
    assert isinstance(made.text_edit, types.TextEdit) and made.text_edit.range.start == at
    assert (made.label, made.detail) == (label, "Tacit")
    assert made.command is not None and made.command.arguments == ["id"]


def test_the_word_before_the_cursor_filters_it_and_it_sorts_last() -> None:
    holder = document("    ret")
    made = entry(holder, 7, item("urn value", 0, 7, 7))
    assert made.filter_text == "return value"
    assert made.sort_text is not None and made.sort_text > "zzzz"


async def test_an_answer_for_another_text_is_not_shown() -> None:
    holder = document("x = ")
    answer: asyncio.Future[types.InlineCompletionList] = asyncio.get_running_loop().create_future()
    asking = asyncio.ensure_future(menu(holder, 4, answer))
    await asyncio.sleep(0)
    holder.change(2, [types.TextDocumentContentChangeWholeDocument("other")])
    answer.set_result(types.InlineCompletionList([item("1", 0, 4, 4)]))
    assert await asking is None


async def test_the_menu_is_asked_for_again_with_each_key() -> None:
    async def found() -> types.InlineCompletionList:
        return types.InlineCompletionList([item("1", 0, 4, 4)])

    made = await menu(document("x = "), 4, found())
    assert made is not None and made.is_incomplete and len(made.items) == 1


@pytest.mark.parametrize(
    ("options", "on"),
    [({"completionSource": True}, True), ({"tacit": {"completionSource": True}}, True), (None, False), ({}, False)],
)
def test_it_is_off_unless_the_options_turn_it_on(options: object, on: bool) -> None:
    assert wanted(options) is on
