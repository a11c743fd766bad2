"""What grammars say about holes: faults and places in seven languages, whatever the text, within bounded work."""

import random

import pytest

from tacit.server.syntax import AFTER, BEFORE, GRAMMARS, MOST_FAULTS, TEXT, Place, Surroundings


def around(file: str, language: str) -> Surroundings:
    prefix, suffix = file.split("⟨⟩")
    surroundings = Surroundings.around(prefix, suffix, language)
    assert surroundings is not None
    return surroundings


# language, file, texts without a fault, texts with one
FAULTS: list[tuple[str, str, list[str], list[str]]] = [
    (
        "python",
        "def f(x):\n    if x:\n        return 1\n    ⟨⟩\n    return 2\n",
        ["", "y = 1", "elif x:\n        return 4", "for a in x:\n        return 1", "if x: return 3", "# note"],
        ["y = (1", "return 3", "if x:", "elif x:", "y = 1\n        z = 1", "y = 1\n  z = 1", "return 3\n    y = 1"],
    ),
    (
        "java",
        "class A {\n  int f(int x) {\n    ⟨⟩\n    return x;\n  }\n}\n",
        ["", "x = 2;", "if (x > 1) { return 1; }", "// note"],
        ["x = (1;", "return x;", "if (x > 1) {", "}"],
    ),
    (
        "cpp",
        "int f(int x) {\n  ⟨⟩\n  return x;\n}\n",
        ["", "x++;", "if (x) return 1;", "for (int i = 0; i < x; i++) x--;"],
        ["x++", "return 1;", "{", "throw x;"],
    ),
    (
        "javascript",
        "const f = (x) => {\n  ⟨⟩\n  return x;\n}\n",
        ["", "x += 1", "if (x) { return 1 }", "const g = () => 1;"],
        ["x += (", "return 1;", "throw x;", "} else {"],
    ),
    (
        "typescript",
        "function f(x: number): number {\n  ⟨⟩\n  return x;\n}\n",
        ["", "const y: number = x;", "type A = string;"],
        ["const y: = x;", "return 1;", "{"],
    ),
    (
        "go",
        "func f(x int) int {\n\t⟨⟩\n\treturn x\n}\n",
        ["", "x++", "if x > 1 {\n\t\treturn 1\n\t}"],
        ["return x", "if x > 1 {", "x = = 1"],
    ),
    (
        "rust",
        "fn f(mut x: i32) -> i32 {\n    ⟨⟩\n    x\n}\n",
        ["", "x += 1;", "if x > 1 { return 1; }"],
        ["return x;", "let y = ;", "if x > 1 {"],
    ),
]


@pytest.mark.parametrize(("language", "file", "good", "bad"), FAULTS, ids=[row[0] for row in FAULTS])
def test_faults(language: str, file: str, good: list[str], bad: list[str]) -> None:
    surroundings = around(file, language)
    assert {text: surroundings.faults(text) for text in good} == dict.fromkeys(good, 0)
    assert [text for text in bad if surroundings.faults(text) == 0] == []


PLACES = [
    ("python", 'def f():\n    """Doc."""\n    ⟨⟩\n', Place(False, False, False, True)),
    ("python", "def f():\n    x = 1\n    ⟨⟩\n    return x\n", Place(True, True, False)),
    ("python", "import os\n⟨⟩\n", Place(True, False, True)),
    ("java", "class A {\n  int f() {\n    ⟨⟩\n  }\n}\n", Place(False, False, False)),
    ("cpp", "int f() {\n  int x = 1;\n  ⟨⟩\n}\n", Place(True, False, False)),
    ("javascript", "const f = () => {\n  ⟨⟩\n  return 1\n}\n", Place(False, True, False)),
    ("typescript", "function f() {\n  g();\n  ⟨⟩\n}\n", Place(True, False, False)),
    ("go", "func f() {\n\tx := 1\n\t⟨⟩\n\tg(x)\n}\n", Place(True, True, False)),
    ("rust", "fn f() {\n    ⟨⟩\n}\n", Place(False, False, False)),
]


@pytest.mark.parametrize(("language", "file", "place"), PLACES)
def test_places(language: str, file: str, place: Place) -> None:
    assert around(file, language).place() == place


def test_a_place_depends_on_where_the_line_begins() -> None:
    surroundings = around("def f():\n    x = 1\n⟨⟩\n", "python")
    assert surroundings.place("    ") == Place(True, False, False)
    assert surroundings.place("") == Place(True, False, True)


def test_each_grammar_is_there_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a grammar is fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for language in GRAMMARS:
        assert around("⟨⟩", language).faults("") == 0


@pytest.mark.parametrize("language", sorted(set(GRAMMARS)))
def test_work_is_bounded_by_the_windows(language: str) -> None:
    """A file of megabytes is parsed no further than the windows reach, junk not at all."""
    surroundings = around("  \n" * 2_000_000 + "⟨⟩" + "\n  " * 2_000_000, language)
    root = surroundings._with(("z" * 1_000_000)[:TEXT].encode()).root_node
    assert root.end_byte <= BEFORE + AFTER + TEXT
    surroundings.faults("z" * 1_000_000)
    draw = random.Random(1)
    junk = "".join(chr(draw.choice((draw.randrange(1, 0x250), 10, 40, 123, 34))) for _ in range(BEFORE))
    unusable = Surroundings.around(junk, junk, language)
    assert unusable is None or unusable.faults("") <= MOST_FAULTS + 1
    deep = Surroundings.around("(" * BEFORE, ")" * AFTER, language)
    assert deep is None or deep.faults("(" * TEXT) >= 0
