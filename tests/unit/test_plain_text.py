"""Text that is not ours, shown to a person: nothing in it acts."""

import pytest

from tacit.protocol.plain_text import unlinked, visible


@pytest.mark.parametrize(
    "mark", ["\x1b", "\x07", "\x08", "\r", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041"]
)
def test_what_a_terminal_acts_on_or_nobody_sees_becomes_words(mark: str) -> None:
    assert visible(f"a{mark}b") == f"a\\u{{{ord(mark):x}}}b"


def test_what_can_be_read_stays() -> None:
    assert visible("näh\t😀\n漢字 [a](b)") == "näh\t😀\n漢字 [a](b)"
    assert visible("one\r\ntwo\n") == "one\ntwo\n"


def test_no_link_is_left_however_it_is_hidden() -> None:
    for text in ("[a](command:b)", "[a]\u200b(command:b)", "[a]\r\n(command:b)", "[[a](x)](command:b)"):
        assert "](" not in unlinked(text)
