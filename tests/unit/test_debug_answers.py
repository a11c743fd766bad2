"""From what a model wrote to the smallest edit of the file: whatever it wrote around it, and however it indented it."""

from difflib import SequenceMatcher
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.server.debugging import edits
from tacit.server.debugging.answer import UnusableAnswer, complete, new_text, read
from tacit.server.debugging.edits import Edit, apply, minimal_edits
from tacit.server.debugging.region import Region, around, spoken_of

PYTHON = '''"""Accounts."""

import os


class Account:
    limit = 3

    @property
    def left(self):
        return self.limit - self.usd

    def other(self):
        return 2


print(Account().left)
'''


def region_at(text: str, place: str, language: str = "python") -> Region:
    start = text.index(place)
    return around(text, start, start + len(place), language)


def shown(text: str, region: Region) -> str:
    return text[region.start : region.end]


lines = st.lists(st.sampled_from(["a\n", "b\n", "  c\n", "\n", "d\r\n", "ä€\n", "end"]), max_size=12).map("".join)


@given(lines, lines)
def test_edits_make_the_new_text_of_the_old(old: str, new: str) -> None:
    edits = minimal_edits(old, new)
    assert apply(old, edits) == new
    assert all(first.end <= second.start for first, second in pairwise(edits))
    assert (edits == ()) == (old == new)


def test_a_reason_that_begins_with_code_is_told_as_it_stands() -> None:
    assert read("> `c` is not defined; it is `b`.\n\n```python\nb\n```\n").reason == "`c` is not defined; it is `b`."


def test_an_edit_is_as_small_as_the_change() -> None:
    old = "def f(values):\n    return sum(vlaues)\n"
    assert minimal_edits(old, old.replace("vlaues", "values")) == (Edit(31, 33, "al"),)
    # Two changes far apart are two edits, and what is between them is not touched.
    text = "".join(f"line {number}\n" for number in range(20))
    changed = text.replace("line 2\n", "line two\n").replace("line 15\n", "line fifteen\n")
    assert [edit.text for edit in minimal_edits(text, changed)] == ["two", "fifteen"]
    assert minimal_edits("a\r\nb\r\n", "a\r\nx\r\nb\r\n") == (Edit(3, 3, "x\r\n"),)


def test_in_a_long_file_only_what_may_differ_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports at the top and a function far below: with `}` in every other line, comparing all takes minutes."""
    compared: list[int] = []

    class Counting(SequenceMatcher[str]):
        def __init__(self, junk: None, old: list[str], new: list[str], autojunk: bool) -> None:
            # What it may compare, each with each.
            compared.append(0 if autojunk else len(old) * len(new))
            super().__init__(junk, old, new, autojunk=autojunk)

    monkeypatch.setattr(edits, "SequenceMatcher", Counting)
    text = "import a;\n" + "int f() {\n}\n" * 4000 + "x = vlaue;\ny = vlaue;\n" + "int f() {\n}\n" * 4000
    changed = text.replace("vlaue", "value").replace("import a;\n", "import a;\nimport b;\nimport c;\n")
    found = minimal_edits(text, changed)
    assert apply(text, found) == changed
    assert [(edit.end - edit.start, edit.text) for edit in found] == [(0, "import b;\nimport c;\n"), (2, "al"), (2, "al")]
    # Where nothing is alike for long, too.
    other = text.replace("}", "};", 900)[:-2]
    assert apply(text, minimal_edits(text, other)) == other
    assert max(compared) <= edits.MOST_COMPARED**2


def test_a_region_is_the_function_with_what_belongs_to_it() -> None:
    assert shown(PYTHON, region_at(PYTHON, "usd")) == "    @property\n    def left(self):\n        return self.limit - self.usd\n"
    assert region_at(PYTHON, "usd").name == "left"
    outside = region_at(PYTHON, "print(Account().left)")
    assert not outside.is_function and "print(Account().left)" in shown(PYTHON, outside)


@pytest.mark.parametrize(
    ("language", "text", "place", "name"),
    [
        ("java", "class A {\n  int f(int x) {\n    return y;\n  }\n  int g() { return 1; }\n}\n", "y;", "f"),
        ("cpp", "int g() { return 1; }\nint f(int x) {\n  int a = 1;\n  return y;\n}\n", "y;", "f"),
        ("javascript", "const a = 1;\nexport const f = (x) => {\n  const b = 1;\n  return y;\n};\n", "y;", "f"),
        ("typescript", "class A {\n  f(x: number): number {\n    const b = 1;\n    return y;\n  }\n}\n", "y;", "f"),
        ("go", "package a\n\nfunc (s *S) f(x int) int {\n\tb := 1\n\treturn y\n}\n", "y\n", "f"),
        ("rust", "impl A {\n    fn f(x: i32) -> i32 {\n        let b = 1;\n        y\n    }\n}\n", "y\n", "f"),
    ],
)
def test_a_region_in_every_language(language: str, text: str, place: str, name: str) -> None:
    region = region_at(text, place, language)
    assert (region.is_function, region.name) == (True, name)
    assert place.strip() in shown(text, region) and "class A" not in shown(text, region) and "g()" not in shown(text, region)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "import a\n\n\ndef helper(x):\n    return x\n\n\ndef wanted(x):\n    return helper(x)\n"),
        ("java", "class A {\n  int helper(int x) { return x; }\n\n  int wanted(int x) { return helper(x); }\n}\n"),
        ("javascript", "const helper = (x) => x;\n\nconst wanted = (x) => {\n  return helper(x);\n};\n"),
        ("cpp", "#include <a>\nint helper(int x) { return x; }\n\nint wanted(int x) { return helper(x); }\n"),
        ("rust", "fn helper(x: i32) -> i32 { x }\n\nfn wanted(x: i32) -> i32 { helper(x) }\n"),
    ],
)
def test_where_only_the_test_is_in_the_trace_the_function_that_it_calls_is_meant(language: str, text: str) -> None:
    said = ["test_a: line 3\n  check(wanted(3)) == wanted(2) helper", "helper helper helper"]

    def names(*said: str) -> list[str]:
        return [around(text, at, at, language).name for at in spoken_of(text, language, said)]

    # Both are in question, the one that it names most often first.
    assert names(*said) == ["wanted", "helper"]
    # What is said first and names nothing is passed over; what names nothing at all tells nothing.
    assert names("line 3", "helper(1)") == ["helper"]
    assert names("helpers", "line 3") == []
    alone = text[: text.index("\n\n", 20)] + "\n}\n" * (language == "java")
    assert spoken_of(alone, language, ["line 3"]) == spoken_of(text, language, ["helper"])


def test_of_a_long_function_the_lines_around_the_place_are_taken() -> None:
    text = "def f():\n" + "".join(f"    x{number} = {number}\n" for number in range(500)) + "\n\ndef g():\n    pass\n"
    region = region_at(text, "x250 ")
    assert not region.is_function and "x250 " in shown(text, region) and shown(text, region).count("\n") < 80


WHOLE = "Fix: `self.usd` should be `self.used`. More.\n\n```python\n{}\n```\nThat is all.\n"


@pytest.mark.parametrize(
    "code",
    [
        "    @property\n    def left(self):\n        return self.limit - self.used",
        "@property\ndef left(self):\n    return self.limit - self.used",
        # The whole class, or the whole file, instead of the method.
        "class Account:\n    limit = 3\n\n    @property\n    def left(self):\n        return self.limit - self.used",
        PYTHON.replace("usd", "used"),
    ],
    ids=["as it was", "not indented", "class", "file"],
)
def test_an_answer_goes_where_the_function_was(code: str) -> None:
    written = read(WHOLE.format(code))
    assert written.reason == "`self.usd` should be `self.used`."
    assert new_text(PYTHON, region_at(PYTHON, "usd"), written.code, "python") == PYTHON.replace("usd", "used")


@pytest.mark.parametrize(
    ("language", "text", "place", "code", "expected"),
    [
        (
            "python",
            '"""Text."""\nimport os\n\n\ndef f(t):\n    return json.loads(t)\n',
            "json",
            "import json\n\ndef f(t):\n    return json.loads(t)",
            '"""Text."""\nimport os\nimport json\n\n\ndef f(t):\n    return json.loads(t)\n',
        ),
        (
            "python",
            "# -*- coding: utf-8 -*-\ndef f(t):\n    return json.loads(t)\n",
            "json",
            "from json import loads\ndef f(t):\n    return loads(t)",
            "# -*- coding: utf-8 -*-\nfrom json import loads\ndef f(t):\n    return loads(t)\n",
        ),
        (
            "java",
            "package a;\n\nclass A {\n  int f() {\n    List<Integer> x;\n    return 1;\n  }\n}\n",
            "List",
            "import java.util.List;\n\nint f() {\n    List<Integer> x;\n    return 1;\n}",
            "package a;\nimport java.util.List;\n\nclass A {\n  int f() {\n      List<Integer> x;\n      return 1;\n  }\n}\n",
        ),
    ],
)
def test_a_new_import_goes_to_the_others(language: str, text: str, place: str, code: str, expected: str) -> None:
    assert new_text(text, region_at(text, place, language), code, language) == expected


def test_line_ends_stay_what_they_are() -> None:
    text = PYTHON.replace("\n", "\r\n")
    code = "@property\ndef left(self):\n    return self.limit - self.used\n"
    assert new_text(text, region_at(text, "usd"), code, "python") == PYTHON.replace("usd", "used").replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("I do not know.", "no code block"),
        ("```python\ndef f(", "does not end"),
        ("```\n\n```", "is empty"),
        ("```python\ndef another():\n    pass\n```", "does not hold `left`"),
        ('```python\ndef another():\n    """Not left."""\n```', "does not hold `left`"),
        ("```python\nimport sys\n```", "only imports"),
    ],
)
def test_what_cannot_be_placed_is_said(answer: str, why: str) -> None:
    with pytest.raises(UnusableAnswer, match=why):
        new_text(PYTHON, region_at(PYTHON, "usd"), read(answer).code, "python")


@given(st.text(alphabet="`~ab\n #de", max_size=60))
def test_any_answer_is_read_or_refused(answer: str) -> None:
    try:
        code = read(answer).code
        new_text(PYTHON, region_at(PYTHON, "usd"), code, "python")
    except UnusableAnswer as error:
        assert str(error)


def test_nothing_is_read_after_the_first_code_block() -> None:
    text = "Reason.\n```python\nx = 1\n```\nAnd so on"
    ends = [end for end in range(len(text) + 1) if complete(text[:end])]
    assert ends[0] == text.index("And")


def test_where_the_code_comes_first_the_sentence_below_it_is_read_as_well() -> None:
    text = "Here it is:\n```python\nx = 1\n```\n\nThe value was wrong.\nAnd so on"
    ends = [end for end in range(len(text) + 1) if complete(text[:end])]
    assert ends[0] == text.index("And")
    assert read(text[: ends[0]]).reason == "The value was wrong."
    # Not for ever.
    assert complete("```python\nx = 1\n```\n" + "\n" * 1000)
