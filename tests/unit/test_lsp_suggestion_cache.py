"""The cache of suggestions: found wherever its neighbourhood stands and some of it is typed, and nowhere else."""

from hypothesis import given
from hypothesis import strategies as st

from tacit.lsp.suggestion_cache import LONGEST_MS, SuggestionCache

BEFORE = "# A comment.\ndef f(a):\n    b = a\n    c = b\n    return "
AFTER = "\n\n\ndef g():\n    pass\n\n\nend\n"
AT = len(BEFORE)


def cached(text: str = "a + g(b)", before: str = BEFORE, after: str = AFTER) -> SuggestionCache[str]:
    cache: SuggestionCache[str] = SuggestionCache()
    cache.put("u", before + after, len(before), text, "it", 0)
    return cache


def test_typing_on_finds_the_rest_and_a_full_text_nothing() -> None:
    cache = cached()
    hit = cache.find("u", BEFORE + "a + " + AFTER, AT + 4, 1)
    assert hit is not None
    assert (hit.left, hit.right, hit.taken, hit.closers) == (AT, AT + 4, 4, 0)
    assert cache.find("u", BEFORE + "a + g(b)" + AFTER, AT + 8, 1) is None
    assert cache.find("u", BEFORE + "a - " + AFTER, AT + 4, 1) is None
    assert cache.find("v", BEFORE + AFTER, AT, 1) is None


def test_closers_that_the_editor_put_there_belong_to_it() -> None:
    hit = cached().find("u", BEFORE + "a + g()" + AFTER, AT + 6, 1)
    assert hit is not None
    assert (hit.taken, hit.closers, hit.right) == (6, 1, AT + 7)
    assert cached().find("u", BEFORE + "a + g(]" + AFTER, AT + 6, 1) is None


def test_edits_elsewhere_leave_it_and_edits_nearby_do_not() -> None:
    for before, after, found in (
        ("import os\n\n" + BEFORE, AFTER, True),
        (BEFORE, AFTER + "more\n", True),
        (BEFORE.replace("c = b", "c = 1"), AFTER, False),
        (BEFORE, "\nx" + AFTER, False),
    ):
        assert (cached().find("u", before + after, len(before), 1) is not None) == found


def test_deleting_some_of_it_throws_it_away() -> None:
    cache = cached()
    assert cache.deleted("u", BEFORE + AFTER, AT) == []
    assert cache.deleted("u", BEFORE + "a + x" + AFTER, AT + 5) == [], "a slip of a finger is no part of it"
    assert cache.deleted("u", BEFORE + "a +" + AFTER, AT + 3) == ["it"]
    assert cache.find("u", BEFORE + AFTER, AT, 1) is None


def test_the_newest_comes_first_and_old_ones_go() -> None:
    cache = cached()
    cache.put("u", BEFORE + AFTER, AT, "zoo", "newer", 10)
    hit = cache.find("u", BEFORE + AFTER, AT, 11)
    assert hit is not None and hit.value == "newer"
    hit = cache.find("u", BEFORE + AFTER, AT, 11, lambda value: value == "it")
    assert hit is not None and hit.value == "it"
    assert cache.find("u", BEFORE + AFTER, AT, LONGEST_MS + 10) is None


def test_an_empty_answer_is_known_at_its_very_place() -> None:
    cache = cached("")
    assert cache.find("u", BEFORE + AFTER, AT, 1) is not None
    assert cache.find("u", BEFORE + "a" + AFTER, AT + 1, 1) is None


TEXTS = st.text("ab(\n \r", max_size=30)


@given(before=TEXTS, after=TEXTS, text=st.text("ab()\n ", min_size=1, max_size=12), crlf=st.booleans(), data=st.data())
def test_what_is_found_completes_the_text_to_what_was_meant(
    before: str, after: str, text: str, crlf: bool, data: st.DataObject
) -> None:
    """Whatever the text around: putting the rest in makes the document that was meant when the model was asked."""
    newline = "\r\n" if crlf else "\n"
    before, after = (part.replace("\r", "").replace("\n", newline) for part in (before, after))
    raw = text.replace("\n", newline)
    cache = cached(text, before, after)
    typed = data.draw(st.integers(0, len(text) - 1))
    so_far = text[:typed].replace("\n", newline)
    hit = cache.find("u", before + so_far + after, len(before + so_far), 1)
    assert hit is not None
    rest = text[hit.taken :].replace("\n", newline)
    document = before + so_far + after
    cursor = len(before + so_far)
    assert document[:cursor] + rest + document[hit.right :] in (
        before + raw + after,
        document[: hit.left] + raw + document[hit.right :],
    )
    assert document[hit.left : cursor].replace("\r\n", "\n") == text[: hit.taken]
