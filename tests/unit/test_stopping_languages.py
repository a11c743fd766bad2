"""What grammars add to cutting: a line or a block, faults, indentation. The generated texts are a 0.5B model's own, shortened."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.server.hole import Hole
from tacit.server.stopping import End, cut
from tacit.server.syntax import GRAMMARS

# name, language, file with ⟨⟩ at the cursor, generated text, how it ended, what is shown
Row = tuple[str, str, str, str, End, str]

ROWS: list[Row] = [
    # A whole block where it is empty.
    (
        "body of an empty function",
        "python",
        'def unique(l):\n    """Sorted unique elements."""\n    ⟨⟩\n\n\ndef f():\n    pass\n',
        "distinct = set(l)\n    return sorted(distinct)\n\n# Check function",
        "open",
        "distinct = set(l)\n    return sorted(distinct)",
    ),
    (
        "body of a loop in braces",
        "go",
        "func F(s string) int {\n\tn := 0\n\tfor _, r := range s {\n\t\t⟨⟩\n\t}\n\treturn n\n}\n",
        "if r%2 == 0 {\n\t\t\tn++\n\t\t} else {\n\t\t\tn--\n\t\t}\n\t}\n\treturn n",
        "open",
        "if r%2 == 0 {\n\t\t\tn++\n\t\t} else {\n\t\t\tn--\n\t\t}",
    ),
    (
        "jump ends the block at its line",
        "java",
        "class A {\n    int f(int n) {\n        ⟨⟩\n    }\n}\n",
        "n += 1;\n        return n;\n",
        "open",
        "n += 1;\n        return n;",
    ),
    # One statement between others.
    (
        "one statement between others",
        "javascript",
        "function f(s) {\n  let n = 0\n  ⟨⟩\n  return n\n}\n",
        "for (const c of s) {\n    n++\n  }\n  const m = 1\n",
        "open",
        "for (const c of s) {\n    n++\n  }",
    ),
    (
        "its other branch belongs to it",
        "rust",
        "fn f(x: i32) -> i32 {\n    let mut n = 0;\n    ⟨⟩\n    n\n}\n",
        "if x > 0 {\n        n = 1;\n    }\n    else {\n        n = 2;\n    }\n    let m = 3;\n",
        "open",
        "if x > 0 {\n        n = 1;\n    }\n    else {\n        n = 2;\n    }",
    ),
    # The body stands below already.
    (
        "head of a loop",
        "rust",
        "fn f(out: Vec<i32>) {\n    for i in ⟨⟩\n        for j in 1..2 {\n            g(i, j);\n        }\n    }\n}\n",
        "1..out.len() {\n        if out[i] == out[i - 1] {\n            h(i);\n        }\n    }\n",
        "open",
        "1..out.len() {",
    ),
    (
        "heads of two blocks",
        "python",
        "def f(s):\n    out = ''\n⟨⟩\n            out += c\n    return out\n",
        "    for c in s:\n        if c in d:\n            print(c)\n",
        "open",
        "    for c in s:\n        if c in d:",
    ),
    (
        "what the next line goes on with",
        "javascript",
        "const f = (s) => {\n  return s.filter(x => !['a', ⟨⟩\n    .includes(x.toLowerCase()))\n}\n",
        "'b'].includes(x.toLowerCase()))\n",
        "open",
        "'b']",
    ),
    # Faults.
    (
        "code that would not be reached",
        "python",
        "def f(xs, k):\n    if k == 0:\n        return []\n⟨⟩\n    ans = xs[-k:]\n    return ans\n",
        "    xs.sort()\n    return xs\n\n# Test cases",
        "open",
        "    xs.sort()",
    ),
    (
        "a jump before the rest of the block",
        "cpp",
        "int f(int x) {\n    int y = x;\n    ⟨⟩\n    y += 1;\n    return y;\n}\n",
        "return y;\n",
        "open",
        "",
    ),
    (
        "a jump that is a branch",
        "cpp",
        "int f(int x) {\n    if (x)\n        ⟨⟩\n    return x;\n}\n",
        "return 1;\n",
        "open",
        "return 1;",
    ),
    (
        "second else",
        "java",
        "class A { int f(int x) {\n    if (x > 0) {\n        ⟨⟩\n    } else {\n        x = 2;\n    }\n    return x;\n} }\n",
        "x = 1;\n    } else {\n        x = 3;\n    } else {\n        x = 4;\n    }\n",
        "eos",
        "x = 1;",
    ),
    ("prose", "python", "def f(a, b):\n    c = a\n    ⟨⟩\n    return c\n", "multiply(148, 412) should return 16.\n", "eos", ""),
    (
        "half a line at the limit is judged by nobody",
        "typescript",
        "function f(x: number): number {\n  return ⟨⟩\n}\n",
        "Math.max(x, (",
        "cut_off",
        "Math.max(x, (",
    ),
    (
        "a block that the limit cut off",
        "go",
        "func F() int {\n\t⟨⟩\n\treturn len(m)\n}\n",
        "var m = map[rune]bool{\n\t\t'2': true,\n\t\t'3': tr",
        "cut_off",
        "",
    ),
    # Indentation.
    ("body at its head's indentation", "python", "def f(xs):\n    if xs:\n⟨⟩\n    return 1\n", "    xs.sort()\n", "open", ""),
    (
        "body of a function at the left edge",
        "python",
        'def f(xs):\n    """Sum."""\n\n⟨⟩\n',
        "def main():\n    f([])\n",
        "open",
        "",
    ),
    ("two lines below, something new", "python", 'def f(xs):\n    """Sum."""\n\n\n⟨⟩\n', "x = 1\n", "eos", "x = 1"),
    (
        "further in for no reason",
        "python",
        "def f(x):\n    a = 1\n    ⟨⟩\n    return a\n",
        "b = 2\n        c = 3\n    d = 4",
        "eos",
        "b = 2",
    ),
    (
        "tabs",
        "python",
        "def f(xs):\n\tfor x in xs:\n\t\t⟨⟩\n\treturn 1\n",
        "if x:\n\t\t\tprint(x)\n\treturn 2\n",
        "open",
        "if x:\n\t\t\tprint(x)",
    ),
    # Repetition.
    (
        "second docstring",
        "python",
        'class A:\n    def pop(self):\n        """Remove the top item."""\n        ⟨⟩\n\n    def peek(self):\n        pass\n',
        '"""Return the number of items."""\n        return len(self._items)\n',
        "open",
        "",
    ),
    (
        "the head above once more",
        "javascript",
        "const f = () => {\n  var xor = function (i, j) {\n    ⟨⟩\n  }\n}\n",
        "var xor = function (i, j) {\n      return i\n    }\n",
        "open",
        "",
    ),
]


def _hole(file: str, language: str) -> Hole:
    prefix, suffix = file.split("⟨⟩")
    return Hole(prefix, suffix, language)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[1]}: {row[0]}")
def test_what_is_shown(row: Row) -> None:
    _, language, file, text, end, shown = row
    assert cut(_hole(file, language), text, end).text == shown


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[1]}: {row[0]}")
def test_stopping_early_shows_the_same(row: Row) -> None:
    """Watched character by character: what is shown at the first stop is what is shown of the whole."""
    _, language, file, text, _, shown = row
    hole = _hole(file, language)
    stops = (result for length in range(1, len(text) + 1) if (result := cut(hole, text[:length])).reason is not None)
    first = next(stops, None)
    assert first is None or first.text == shown


def test_the_engine_is_stopped_before_the_next_line() -> None:
    """A jump, and the head of a body that is there, need no further token."""
    hole = _hole("def f(x):\n    if x:\n        ⟨⟩\n    return 2\n", "python")
    assert cut(hole, "return 1\n").reason == "block"
    hole = _hole("def f(xs):\n    ⟨⟩\n        print(x)\n", "python")
    assert cut(hole, "for x in xs:\n").reason == "suffix"


def test_a_language_without_a_grammar_keeps_the_rules_of_lines() -> None:
    hole = _hole("begin\n  ⟨⟩\nend\n", "pascal")
    assert hole.syntax is None
    assert cut(hole, "x := ((;\n  y := 2;\nend\n").text == "x := ((;\n  y := 2;"


anything = st.text(st.characters(codec=None), max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))
languages = st.sampled_from([*GRAMMARS, "plaintext", ""])


@settings(max_examples=200, deadline=None)
@given(anything, anything, anything, languages, st.sampled_from(["open", "eos", "cut_off"]))
def test_anything_at_all_is_cut_to_a_beginning(prefix: str, suffix: str, text: str, language: str, end: End) -> None:
    assert text.startswith(cut(Hole(prefix, suffix, language), text, end).text)


pieces = st.lists(
    st.sampled_from(
        [
            "    ",
            "\n",
            "return x",
            ";",
            "x = 1",
            "if (x) {",
            "if x:",
            "}",
            "else",
            "(",
            ")",
            '"',
            "fn f()",
            "func",
            "\t",
            "//",
            "#",
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(pieces, pieces, pieces, st.sampled_from(sorted(GRAMMARS)))
def test_a_text_brings_no_fault_that_a_shorter_one_avoids(prefix: str, suffix: str, text: str, language: str) -> None:
    hole = Hole(prefix, suffix, language)
    shown = cut(hole, text, "eos").text
    if hole.syntax is None or not shown.strip():
        return
    faults = hole.syntax.faults(shown)
    ends = [index for index, char in enumerate(shown) if char == "\n" and shown[:index].strip()]
    assert all(hole.syntax.faults(shown[:end].rstrip()) >= faults for end in ends)
    assert faults <= hole.syntax.faults("")
