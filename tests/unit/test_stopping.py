"""Stop rules: what is shown of a generated text, and that watching it token by token changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.server.hole import Hole
from tacit.server.stopping import End, Reason, cut

# name, file with ⟨⟩ at the cursor, generated text, how it ended, what is shown, why it stopped
Row = tuple[str, str, str, End, str, Reason | None]

ROWS: list[Row] = [
    # Repeating what follows.
    (
        "next line of the suffix",
        "def f(xs):\n    t = 0\n    ⟨⟩\n    return t\n",
        "for x in xs:\n        t += x\n    return t\n",
        "open",
        "for x in xs:\n        t += x",
        "suffix",
    ),
    (
        "long next line, still without its end",
        "def f(xs):\n    ⟨⟩\n    return sorted(total)\n",
        "total = xs\n    return sorted(total)",
        "open",
        "total = xs",
        "suffix",
    ),
    (
        "short next line waits for its end",
        "def f(x):\n    ⟨⟩\n    x = 1\n",
        "x = 0\n    x = 1",
        "open",
        "x = 0\n    x = 1",
        None,
    ),
    ("the whole answer is what follows", "a = 1\n⟨⟩\nb = compute(a)\n", "b = compute(a)\n", "open", "", "suffix"),
    ("what follows, at another indentation", "def f():\n    ⟨⟩\n    return 1\n", "    return 1", "eos", "", None),
    (
        "head of a block whose body follows anyway",
        'def f(x):\n    if x:\n        return 1\n    ⟨⟩\n    raise ValueError("no such x")\n',
        'elif x is None:\n        return 2\n    else:\n        raise ValueError("no such x")',
        "open",
        "elif x is None:\n        return 2",
        "suffix",
    ),
    (
        "second line of the suffix",
        "int f(int x) {\n    {\n    ⟨⟩\n    }\n    return compute(x);\n}\n",
        "y = 1;\n    return compute(x);\n",
        "open",
        "y = 1;",
        "suffix",
    ),
    # Within a line.
    ("one line only", "f(⟨⟩)\n", "a,\nb", "open", "a,", "line"),
    ("rest of the line", "total = ⟨⟩ + offset\n", "base + offset", "open", "base ", "suffix"),
    ("duplicate closer", "print(len(⟨⟩))\n", "xs))", "open", "xs", "closers"),
    ("closer of its own", "print(⟨⟩)\n", "len(xs)", "open", "len(xs)", None),
    ("closer of its own, then a duplicate", "print(⟨⟩)\n", "len(xs))", "open", "len(xs)", "closers"),
    ("closer that is owed", "print(len(⟨⟩)\n", "xs)", "open", "xs)", None),
    ("closer within a string", "print(⟨⟩)\n", '":)"', "open", '":)"', None),
    ("closer within a string that is still open", "print(⟨⟩)\n", '"a) b', "open", '"a) b', None),
    ("inside a string", 'print("hello ⟨⟩")\n', 'world")', "open", "world", "suffix"),
    ("bracket inside a string", 'print("(hello ⟨⟩)", x)\n', "world", "eos", "world", None),
    ("closing quote alone", "x = '⟨⟩'\n", "abc'", "eos", "abc", "suffix"),
    ("comma that follows", "f(⟨⟩, b)\n", "a,", "eos", "a", "suffix"),
    ("blank before a word", "x = ⟨⟩b\n", "a + ", "eos", "a + ", None),
    # The rest of a line.
    ("rest of a statement", "x = ⟨⟩\nprint(x)\n", "1 + 2\ny = 3", "open", "1 + 2", "line"),
    ("statement that opens a block", "if ⟨⟩\n", "x:\n    y = 1\nz = 2", "open", "x:\n    y = 1", "block"),
    ("body below the cursor's line", "def f():⟨⟩\n", "\n    return 1\n\ndef g", "open", "\n    return 1", "block"),
    ("call over several lines", "x = ⟨⟩\n", "f(\n    1,\n)\ny = 2", "open", "f(\n    1,\n)", "block"),
    ("line below a comment", "def f(xs):\n    # sort them⟨⟩\n", "\n    xs.sort()\nf(1)", "open", "\n    xs.sort()", "block"),
    # Blocks.
    ("outdent", "def f():\n    ⟨⟩\n", "return 1\nf()", "open", "return 1", "block"),
    ("outdent after a blank line", "def f():\n    ⟨⟩\n", "return 1\n\n\ndef g():", "open", "return 1", "block"),
    ("outdent as soon as it shows", "def f():\n    ⟨⟩\n", "return 1\nd", "open", "return 1", "block"),
    ("paragraph in a body", "def f():\n    ⟨⟩\n", "a = 1\n\n    b = 2", "eos", "a = 1\n\n    b = 2", None),
    (
        "next method",
        "class A:\n    ⟨⟩\n",
        "def f(self):\n        pass\n\n    def g",
        "open",
        "def f(self):\n        pass",
        "block",
    ),
    ("decorated function", "⟨⟩\n", "@cache\ndef f():\n    return 1", "eos", "@cache\ndef f():\n    return 1", None),
    ("paragraph at the outermost level", "import os\n\n⟨⟩\n", "x = 1\n\ny = 2", "open", "x = 1", "block"),
    ("cursor at the left edge of a body", "def f():\n⟨⟩\n", "    return 1\nf()", "open", "    return 1", "block"),
    ("closing brace that nothing else closes", "int f() {\n    ⟨⟩", "return 1;\n}\nint g", "open", "return 1;\n}", "block"),
    ("closing brace that the suffix has", "int f() {\n    ⟨⟩\n}\n", "return 1;\n}\n", "open", "return 1;", "block"),
    ("closing brace that the suffix has, below a call", "int f() {\n    ⟨⟩\n}\n", "g(1);\n}\n", "open", "g(1);", "suffix"),
    ("half a line at the limit", "def f():\n    ⟨⟩\n", "a = 1\n    b = comp", "cut_off", "a = 1", None),
    ("half a line is all there is", "def f():\n    ⟨⟩\n", "a = comp", "cut_off", "a = comp", None),
    # Repeating itself.
    (
        "same line again",
        "def f():\n    ⟨⟩\n",
        "values.append(1)\n    values.append(1)\n",
        "open",
        "values.append(1)",
        "repetition",
    ),
    (
        "same two lines again",
        "def f():\n    ⟨⟩\n",
        "a = read_one()\n    b = read_two()\n    a = read_one()\n    b = read_two()\n",
        "open",
        "a = read_one()\n    b = read_two()",
        "repetition",
    ),
    ("the line above again", "def f():\n    values.append(1)\n    ⟨⟩\n", "values.append(1)\n", "open", "", "repetition"),
    ("stutter", "x = ⟨⟩\n", "[item, item, item, item, item", "open", "[item, item", "repetition"),
    ("nothing", "x = 1\n⟨⟩\n", "  \n", "eos", "", None),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_shown(row: Row) -> None:
    _, file, text, end, shown, reason = row
    result = cut(_hole(file), text, end)
    assert (result.text, result.reason) == (shown, reason)


def test_comments_are_those_of_the_language() -> None:
    prefix, suffix = "x = f(a // (b), ", ")\n"
    assert cut(Hole(prefix, suffix, "python"), "c)").text == "c"
    assert cut(Hole("x = f( // (\n", suffix, "javascript"), "c)").text == "c"


def _hole(file: str) -> Hole:
    prefix, suffix = file.split("⟨⟩")
    return Hole(prefix, suffix, "cpp" if "{" in file or "}" in file else "python")


pieces = st.lists(
    st.sampled_from(
        ["    ", "  ", "\n", "return x", "x = 1", "if x:", "foo(", ")", "]", "}", "{", '"', "'", ", ", "def f():", "#", "\t"]
    ),
    max_size=14,
).map("".join)


@given(pieces, pieces, pieces, st.sampled_from(["open", "eos", "cut_off"]))
def test_the_result_is_a_beginning_of_the_text(prefix: str, suffix: str, text: str, end: End) -> None:
    assert text.startswith(cut(Hole(prefix, suffix), text, end).text)


@given(pieces, pieces, pieces)
def test_nothing_blank_is_shown(prefix: str, suffix: str, text: str) -> None:
    shown = cut(Hole(prefix, suffix), text, "eos").text
    assert shown == "" or shown.strip()


@given(pieces, pieces, pieces)
def test_a_shown_line_is_never_the_next_one(prefix: str, suffix: str, text: str) -> None:
    """Whole lines below the cursor's: the last of them is not the first line that follows, closers aside."""
    hole = Hole(prefix, suffix)
    lines = cut(hole, text, "eos").text.split("\n")
    if hole.following and not hole.after and len(lines) > 1:
        assert lines[-1].rstrip() != hole.following[0] or lines[-1].strip()[0] in ")]}"


@given(pieces, pieces, pieces)
def test_a_text_that_was_stopped_stays_as_it_is(prefix: str, suffix: str, text: str) -> None:
    """Reading on after a stop never shows more than at the stop."""
    hole = Hole(prefix, suffix)
    for length in range(len(text) + 1):
        stopped = cut(hole, text[:length])
        if stopped.reason is not None:
            assert len(cut(hole, text, "eos").text.rstrip()) <= len(text[:length])
            return
