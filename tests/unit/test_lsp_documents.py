"""Documents: positions in every encoding, line ends as LSP has them, contentChanges in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol.types import (
    Position,
    PositionEncodingKind,
    Range,
    TextDocumentContentChangePartial,
    TextDocumentContentChangeWholeDocument,
)

from tacit.lsp.documents import LARGEST, Document, unusable, well_formed

CODEC = {
    PositionEncodingKind.Utf8: ("utf-8", 1),
    PositionEncodingKind.Utf16: ("utf-16-le", 2),
    PositionEncodingKind.Utf32: ("utf-32-le", 4),
}
ALPHABET = "aé漢😀\n\r\x0c\u2028"


def _document(text: str, encoding: PositionEncodingKind = PositionEncodingKind.Utf16) -> Document:
    return Document("file:///a.py", "python", 1, text, encoding)


@given(st.text(alphabet=ALPHABET, max_size=30), st.sampled_from(list(CODEC)), st.data())
def test_positions_go_there_and_back_in_every_encoding(text: str, encoding: PositionEncodingKind, data: st.DataObject) -> None:
    document = _document(text, encoding)
    offset = data.draw(st.integers(0, len(text)))
    if 0 < offset < len(text) and text[offset - 1 : offset + 1] == "\r\n":
        offset -= 1
    position = document.position_at(offset)
    assert document.offset_at(position) == offset
    codec, unit = CODEC[encoding]
    line = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[position.line]
    before = line.encode(codec)[: position.character * unit].decode(codec)
    assert line.startswith(before)
    assert text[:offset].endswith(before)


@pytest.mark.parametrize(
    ("text", "line", "character", "offset"),
    [
        ("a\x0cb\nc", 1, 0, 4),
        ("a\u2028b\nc", 1, 1, 5),
        ("a\r\nb", 1, 0, 3),
        ("a\rb", 1, 0, 2),
        ("ab\r\nc", 0, 99, 2),
        ("ab", 7, 3, 2),
        ("😀x", 0, 2, 1),
        ("😀x", 0, 1, 0),
        ("", 0, 0, 0),
    ],
)
def test_lines_end_only_where_lsp_ends_them(text: str, line: int, character: int, offset: int) -> None:
    assert _document(text).offset_at(Position(line, character)) == offset


def test_changes_apply_in_order_each_to_the_text_before_it() -> None:
    document = _document("a😀b\r\nc\r\n")
    steps = document.change(
        2,
        [
            TextDocumentContentChangePartial(Range(Position(0, 1), Position(0, 3)), "xy"),
            TextDocumentContentChangePartial(Range(Position(1, 1), Position(1, 1)), "!"),
            TextDocumentContentChangeWholeDocument("all new"),
        ],
    )
    assert [step.after for step in steps] == ["axyb\r\nc\r\n", "axyb\r\nc!\r\n", "all new"]
    assert steps[1].edit.start == 7
    assert (document.text, document.version) == ("all new", 2)


def test_half_characters_become_replacement_characters() -> None:
    text = well_formed("a\ud83db")
    assert text == "a\ufffdb"
    text.encode()


@given(
    st.text(alphabet="a\r\n", max_size=20),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4), st.text(alphabet="b\r\n", max_size=4)), max_size=6),
)
def test_lines_are_where_they_would_be_in_a_text_opened_anew(text: str, edits: list[tuple[int, int, str]]) -> None:
    """Each change moves the known line starts; halves of a CRLF come and go."""
    document = _document(text)
    for start, length, inserted in edits:
        before = document.text
        first, last = min(start, len(before)), min(start + length, len(before))
        # Positions name no place between CR and LF.
        first, last = (at - (before[at - 1 : at + 1] == "\r\n" and at > 0) for at in (first, last))
        where = Range(document.position_at(first), document.position_at(last))
        document.change(document.version + 1, [TextDocumentContentChangePartial(where, inserted)])
        assert document.text == before[:first] + inserted + before[last:]
        anew = _document(document.text)
        for offset in range(len(document.text) + 1):
            assert document.position_at(offset) == anew.position_at(offset)


def test_a_text_that_is_binary_or_too_large_is_not_kept() -> None:
    assert unusable("x" * LARGEST) == ""
    assert "binary" in unusable("\x00ELF")
    document = _document("x" * (LARGEST + 1))
    document.give_up(unusable(document.text))
    assert "4 million" in document.refused
    assert (document.text, document.offset_at(Position(3, 3))) == ("", 0)


def test_what_is_taken_out_and_put_back_is_no_change() -> None:
    document = _document("total = x")
    word = Range(Position(0, 8), Position(0, 9))
    start = Range(Position(0, 8), Position(0, 8))
    [step] = document.change(2, [TextDocumentContentChangePartial(word, ""), TextDocumentContentChangePartial(start, "x + y")])
    assert (step.edit.start, step.edit.end, step.edit.text) == (9, 9, " + y")
    assert (step.before, step.after) == ("total = x", document.text)


@given(
    st.text(alphabet="ab", max_size=6),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.text(alphabet="ab", max_size=2))),
)
def test_joined_steps_still_lead_from_the_old_text_to_the_new(text: str, edits: list[tuple[int, int, str]]) -> None:
    document = _document(text)
    at = text
    changes = [
        TextDocumentContentChangePartial(Range(Position(0, min(one, other)), Position(0, max(one, other))), inserted)
        for one, other, inserted in edits
    ]
    for step in document.change(2, changes):
        assert step.before == at and step.edit.apply(step.before) == step.after
        at = step.after
    assert at == document.text
