"""Each source of what the model is shown besides the file: edits, places seen, diagnostics, names, definitions, likeness."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol.types import Position, Range, TextDocumentContentChangePartial

from tacit.lsp.documents import Document, Step
from tacit.lsp.edits import Edit
from tacit.lsp.gathering.bm25 import Chunks, cut
from tacit.lsp.gathering.diagnostics import Complaint, Diagnostics
from tacit.lsp.gathering.names import imported, near, words
from tacit.lsp.gathering.recent_edits import RecentEdits
from tacit.lsp.gathering.syntax import definitions, scope_at
from tacit.lsp.gathering.viewed import Viewed

SOURCE = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"


def step(text: str, start: int, end: int, new: str) -> Step:
    edit = Edit(start, end, new)
    return Step(edit, text, edit.apply(text))


def test_changes_next_to_one_another_are_one_and_the_newest_comes_first() -> None:
    edits = RecentEdits()
    document = Document("a", "python", 0, SOURCE)
    for version, (line, at, word) in enumerate([(1, 3, "!"), (2, 5, "?"), (5, 3, "#")]):
        place = Range(Position(line, at), Position(line, at))
        edits.changed("a", document.change(version, [TextDocumentContentChangePartial(range=place, text=word)]), float(version))
    newest, older = edits.latest({"a": document.text})
    assert (newest.before, newest.now, newest.first, newest.at) == ("six", "six#", 5, 2.0)
    assert (older.before, older.now, older.first) == ("two\nthree", "two!\nthree?", 1)
    edits.closed("a", document.text)
    assert [one.now for one in edits.latest({})] == ["six#", "two!\nthree?"]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.text("ab\n", max_size=6)), max_size=12))
def test_undoing_every_hunk_gives_the_text_from_before(changes: list[tuple[float, float, str]]) -> None:
    edits, text = RecentEdits(), SOURCE
    for at, (one, other, new) in enumerate(changes):
        start, end = sorted((int(one * len(text)), int(other * len(text))))
        done = step(text, start, end, new)
        edits.changed("a", [done], float(at))
        text = done.after
    lines = text.split("\n")
    for hunk in sorted(edits.latest({"a": text}), key=lambda one: -one.first):
        height = hunk.now.count("\n") + 1
        assert lines[hunk.first : hunk.first + height] == hunk.now.split("\n")
        lines[hunk.first : hunk.first + height] = hunk.before.split("\n")
    assert "\n".join(lines) == SOURCE


def test_what_is_changed_back_is_no_change() -> None:
    edits = RecentEdits()
    there = step(SOURCE, 0, 3, "1")
    edits.changed("a", [there, step(there.after, 0, 1, "one")], 0.0)
    assert edits.latest({"a": SOURCE}) == []


def test_places_seen_are_remembered_once_newest_first() -> None:
    viewed = Viewed()
    for at, (uri, line) in enumerate([("a", 3), ("b", 90), ("a", 5), ("a", 70)]):
        viewed.looked(uri, line, float(at))
    assert [(seen.uri, seen.line) for seen in viewed.latest()] == [("a", 70), ("a", 5), ("b", 90)]
    viewed.closed("a")
    assert [seen.uri for seen in viewed.latest()] == ["b"]


def test_only_complaints_at_the_cursor_count() -> None:
    told = Diagnostics()
    told.told("a", [Complaint(9, "far"), Complaint(1, "near\n  by"), Complaint(2, "here")])
    assert [one.message for one in told.near("a", 2)] == ["here", "near by"]
    told.told("a", [])
    assert told.near("a", 2) == []


def test_names_near_the_cursor_weigh_more() -> None:
    found = near('open_account(user)\n# comment_word\nx = "string_word"\ntotal = close_acc', ")\nlater_name\n")
    assert found["close_acc"] == 1.0
    assert 0 < found["open_account"] < found["total"] and found["later_name"] < 0.7
    assert not {"comment_word", "string_word", "return"} & found.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from shop.money import (\n    Amount,\n    rounded,\n)\nx = other\n", {"shop", "money", "Amount", "rounded"}),
        ('import { openAccount } from "./accounts";\n', {"openAccount", "accounts"}),
        ("import org.shop.Money;\n", {"org", "shop", "Money"}),
        ("use crate::money::Amount;\n", {"crate", "money", "Amount"}),
        ('#include "money.hpp"\n', {"include", "money", "hpp"}),
    ],
)
def test_imports_name_modules_and_what_is_taken_from_them(text: str, expected: set[str]) -> None:
    assert expected <= imported(text) | {"include"}
    assert "other" not in imported(text)


LANGUAGES = {
    "python": (
        "class Account:\n    def close(self) -> int:\n        x = 1\n        y = 2\n        z = 3\n        return x\n",
        "def close(self) -> int:",
    ),
    "java": (
        "class Account {\n  int a;\n  int close(int b) {\n    int x = 1;\n    int y = 2;\n    return x;\n  }\n}\n",
        "int close(int b) {",
    ),
    "cpp": (
        "struct Account {\n  int a;\n  int close(int b) {\n    int x = 1;\n    int y = 2;\n    return x;\n  }\n};\n",
        "int close(int b) {",
    ),
    "javascript": (
        "class Account {\n  close(b) {\n    const x = 1;\n    const y = 2;\n    const z = 2;\n    return x;\n  }\n}\n",
        "close(b) {",
    ),
    "typescript": (
        "class Account {\n  close(b: int): int {\n    const x = 1;\n    const y = 2;\n    const z = 2;\n    return x;\n  }\n}\n",
        "close(b: int): int {",
    ),
    "go": (
        "package a\ntype Account struct {\n\ta int\n\tb int\n\tc int\n}\n"
        "func (a Account) close(b int) int {\n\tx := 1\n\ty := 2\n\tz := 3\n\treturn x\n}\n",
        "func (a Account) close(b int) int {",
    ),
    "rust": (
        "struct Account {\n    a: u8,\n    b: u8,\n    c: u8,\n}\nimpl Account {\n"
        "    fn close(&self, b: u8) -> u8 {\n        let x = 1;\n        let y = 2;\n        let z = 2;\n        x\n    }\n}\n",
        "fn close(&self, b: u8) -> u8 {",
    ),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_definitions_in_every_language_show_their_signature(language: str) -> None:
    text, signature = LANGUAGES[language]
    lines = text.split("\n")
    found = {one.name: one for one in definitions(text, language)}
    assert found.keys() == {"Account", "close"}
    assert [lines[line].strip() for line in found["close"].shown] == [signature]
    shown = [lines[line] for line in found["Account"].shown]
    assert "Account" in shown[0] and len(shown) > 1
    inside = next(number for number, line in enumerate(lines) if signature in line) + 1
    assert scope_at(definitions(text, language), inside).endswith("close")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", ["\n", "from x import (\n"])
def test_odd_files_hold_nobody_up(line: str) -> None:
    """A regular expression lets nothing else run: what takes the square of these lines takes minutes."""
    assert "zebra" in imported(line * (100_000 if line == "\n" else 5000) + "import zebra\n")


def test_half_written_code_still_defines() -> None:
    text = 'def whole(a):\n    """What it does."""\n    b = a\n    c = b\n    return c\n\n\ndef half(a, b\n    x = whole('
    found = {one.name: one for one in definitions(text, "python")}
    assert found["whole"].shown == (0, 1)
    assert definitions(text, "cobol") == []


def test_code_that_reads_alike_is_found_and_what_is_gone_is_not() -> None:
    chunks = Chunks()
    draw = random.Random(1)
    for number in range(300):
        filler = [f"word{draw.randrange(500)}" for _ in range(20)]
        chunks.put(f"{number}.py", [(0, 9, [*filler, *(["close_account", "balance"] if number == 7 else [])])])
    [(best, share), *_] = chunks.best(words("close_account(balance)"), 3)
    assert best.file == "7.py" and share > 0.3
    # Those of replaced and of dropped files are never found, before and after the index is made anew.
    for round_ in range(10):
        for number in range(0, 300, 2):
            chunks.put(f"{number}.py", [(round_, 9, ["balance", f"other{round_}"])])
    chunks.drop("7.py")
    assert len(chunks) == 299
    assert all(chunk.file != "7.py" for chunk, _ in chunks.best(["close_account", "balance"], 50))
    assert {chunk.first for chunk, _ in chunks.best(["other9"], 50)} <= {9}
    assert chunks.best(["other3"], 50) == []


@given(st.lists(st.sampled_from(["", "def f():", "    x = 1", "}"]), max_size=80))
def test_chunks_cover_every_line_once(lines: list[str]) -> None:
    found = cut(lines)
    covered = [line for first, last in found for line in range(first, last + 1)]
    assert len(covered) == len(set(covered)) and covered == sorted(covered)
    assert {at for at, line in enumerate(lines) if line.strip()} <= set(covered)
