"""The hole of a running call: kept through typing, given up at everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol.types import Range, TextDocumentContentChangePartial, TextDocumentContentChangeWholeDocument

from tacit.lsp.documents import Document
from tacit.lsp.edits import difference
from tacit.lsp.recycling import Span

BEFORE, AFTER = "a = f\nx = ", "\nb = g\n"
AT = len(BEFORE)


def follow(span: Span, text: str, after: str, *, whole: bool = False) -> bool:
    """The change from one text to the other, told as an edit or as the whole document."""
    document = Document("u", "python", 1, text)
    if whole:
        return span.follow(document.change(2, [TextDocumentContentChangeWholeDocument(after)]))
    edit = difference(text, after)
    where = Range(document.position_at(edit.start), document.position_at(edit.end))
    return span.follow(document.change(2, [TextDocumentContentChangePartial(where, edit.text)]))


@given(keys=st.lists(st.sampled_from(["a", "=", "\n", "\n    ", "()", "x = "]), max_size=4), whole=st.booleans())
def test_typing_keeps_it_and_it_asks_for_the_cursor(keys: list[str], whole: bool) -> None:
    """However the editor tells it: as an insertion, or as a new document, where the same text can have come in elsewhere."""
    span, typed = Span(AT, AT), ""
    for key in keys:
        assert follow(span, BEFORE + typed + AFTER, BEFORE + typed + key + AFTER, whole=whole)
        typed += key
    assert (span.left, span.right) == (AT, AT + len(typed))
    assert span.asks(BEFORE + typed + AFTER, AT + len(typed))
    assert not span.asks(BEFORE + typed + AFTER, AT - 1)
    assert not span.asks(BEFORE + typed + AFTER, AT + len(typed) + 1)


@pytest.mark.parametrize(
    "after", [BEFORE[:-1] + AFTER, "import os\n" + BEFORE + AFTER, BEFORE + AFTER + "c = h\n", BEFORE + AFTER.replace("g", "gg")]
)
def test_everything_else_ends_it(after: str) -> None:
    assert not follow(Span(AT, AT), BEFORE + AFTER, after)


def test_a_deletion_of_what_was_typed_ends_it() -> None:
    span = Span(AT, AT)
    assert follow(span, BEFORE + AFTER, BEFORE + "ab" + AFTER)
    assert not follow(span, BEFORE + "ab" + AFTER, BEFORE + "a" + AFTER)


def test_nobody_waits_for_an_answer_to_a_long_gone_question() -> None:
    span = Span(AT, AT)
    assert follow(span, BEFORE + AFTER, BEFORE + "x" * 24 + AFTER)
    assert not follow(span, BEFORE + "x" * 24 + AFTER, BEFORE + "x" * 25 + AFTER)


def test_inside_brackets_that_the_editor_closed() -> None:
    span = Span(AT, AT)
    assert follow(span, BEFORE + AFTER, BEFORE + "g()" + AFTER)
    assert span.asks(BEFORE + "g()" + AFTER, AT + 2)
    assert not span.asks(BEFORE + "g()" + AFTER, AT + 1)


def test_asked_ahead_it_waits_for_the_suggestion_to_be_taken() -> None:
    for closer, accepted in ((")", ["g(1))"]), ("", ["g", "g(", "g(1)"]), ("", ["g()", "g(1)"]), ("", ["g(1)", "g(1)\n"])):
        now = BEFORE + closer + AFTER
        span = Span(AT, AT + len(closer), "g(1)" + closer)
        assert not span.asks(now, AT), "nothing of it has been taken"
        for hole in accepted:
            after = BEFORE + hole + AFTER
            assert follow(span, now, after)
            now = after
        assert span.asks(now, AT + len(accepted[-1]))
    assert not follow(Span(AT, AT, "g(1)"), BEFORE + AFTER, BEFORE + "h" + AFTER)
