"""Code blocks of an answer as edits: where one belongs, what it may touch, what becomes of it."""

from pathlib import Path
from typing import Any

import pytest
from debugging_bench import TEXT, Bench, debugging_bench
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from tacit.learner.debug_record import evidence_of
from tacit.lsp.debugging.actions import Client
from tacit.lsp.debugging.blocks import Block, blocks_of, edits_between, placed
from tacit.lsp.extensions import ApplyBlockParams, ChatParams
from tacit.protocol.events import EVENT, Suggested, SuggestionRecord

PYTHON = '''"""Money."""

import os


class Cart:
    def __init__(self, values):
        self.values = values

    @property
    def total(self):
        result = 0
        for value in self.values:
            result += vlaue
        return result

    def size(self):
        return len(self.values)


def total(values):
    return sum(values)


def main():
    cart = Cart([1, 2])
    print(cart.total)
'''
GO = "package a\n\nfunc total(values []int) int {\n\tsum := 0\n\treturn sum\n}\n\nfunc main() {\n\tprintln(total(nil))\n}\n"


def fenced(code: str, tag: str = "python") -> str:
    return f"Do this:\n\n```{tag}\n{code}```\n\nThat is all.\n"


def put(text: str, code: str, at: str = "", language: str = "python", tag: str = "python") -> str:
    """The text with the block applied. at: what is selected; empty: the cursor at the beginning."""
    [block] = blocks_of(fenced(code, tag))
    start = text.index(at) if at else 0
    found = placed(text, block, language, start, start + len(at))
    if isinstance(found, str):
        return found
    for edit in reversed(found):
        text = edit.apply(text)
    return text


def test_blocks_are_read_with_their_places() -> None:
    answer = "One:\n```python\na = 1\n```\n1. two\n   ~~~~ Diff\n   -b\n   ```\n   ~~~~\n```\nnot closed\n"
    assert blocks_of(answer) == [Block("python", "a = 1\n", 1, 3), Block("diff", "-b\n```\n", 5, 8)]
    assert blocks_of("") == [] and blocks_of(answer.replace("\n", "\r\n")) == blocks_of(answer)


def test_a_definition_takes_the_place_of_the_one_of_its_name() -> None:
    code = "def main():\n    print(Cart([1]).total)\n"
    assert put(PYTHON, code) == PYTHON.replace("    cart = Cart([1, 2])\n    print(cart.total)\n", "    print(Cart([1]).total)\n")
    assert put(GO, "func main() {\n\tprintln(1)\n}\n", language="go", tag="go") == GO.replace("println(total(nil))", "println(1)")


def test_a_method_is_indented_as_it_stands_and_keeps_what_is_above_it() -> None:
    code = "def total(self):\n    return sum(self.values)\n"
    wanted = PYTHON.replace(
        PYTHON[PYTHON.index("        result = 0") : PYTHON.index("    def size")], "        return sum(self.values)\n\n"
    )
    assert put(PYTHON, code, at="vlaue") == wanted
    # Of two of the name the nearest; without a selection that is the first here.
    assert put(PYTHON, code) == wanted


def test_a_class_of_which_only_a_part_is_told_keeps_the_rest() -> None:
    code = "class Cart:\n    def size(self):\n        return 2\n"
    assert put(PYTHON, code) == PYTHON.replace("return len(self.values)", "return 2")


def test_imports_go_to_the_imports() -> None:
    found = put(PYTHON, "import os\nimport math\n\ndef main():\n    print(math.pi)\n")
    assert "import os\nimport math\n\n\nclass" in found and found.endswith("def main():\n    print(math.pi)\n")
    assert put("#!/usr/bin/env python\nx = 1\n", "import os\nx = 2\n", at="x = 1").startswith(
        "#!/usr/bin/env python\nimport os\nx = 2"
    )


def test_what_is_selected_is_what_is_meant() -> None:
    assert put(
        PYTHON, "result = sum(self.values)\n", at="        for value in self.values:\n            result += vlaue\n"
    ) == PYTHON.replace("        for value in self.values:\n            result += vlaue\n", "        result = sum(self.values)\n")


def test_lines_go_where_most_of_them_stand() -> None:
    code = "for value in self.values:\n    result += value\nreturn result\n"
    assert put(PYTHON, code) == PYTHON.replace("vlaue", "value")
    assert put(PYTHON, "result += value\n") == PYTHON.replace("vlaue", "value")
    # What is new before and after comes with them.
    code = "cart = Cart([3])\nprint(cart.total)\nprint(cart.size())\n"
    assert put(PYTHON, code) == PYTHON.replace(
        "    cart = Cart([1, 2])\n    print(cart.total)\n",
        "    cart = Cart([3])\n    print(cart.total)\n    print(cart.size())\n",
    )


def test_a_diff_goes_where_its_old_lines_stand() -> None:
    code = "--- a/x.py\n+++ b/x.py\n@@ -90,3 +90,3 @@\n         for value in self.values:\n-            result += vlaue\n"
    code += "+            result += value\n"
    assert put(PYTHON, code, tag="diff") == PYTHON.replace("vlaue", "value")
    assert "cannot be told" in put(PYTHON, code.replace("for value", "for thing"), tag="diff")


@pytest.mark.parametrize(
    ("code", "tag", "words"),
    [
        ("print('quite another thing')\nlaunch(rockets)\n", "python", "cannot be told"),
        ("pip install money\n", "bash", "bash"),
        ("def main():\n    # ... existing code ...\n    print(2)\n", "python", "leaves out"),
        ("def total(values):\n    return sum(values)\n", "python", "already"),
        ("\n\n", "python", "empty"),
        ("x = 1\n" * 3000, "python", "too long"),
    ],
)
def test_what_cannot_be_placed_for_sure_is_a_sentence(code: str, tag: str, words: str) -> None:
    at = "    return sum(values)" if words == "already" else ""
    assert words in put(PYTHON, code, at=at, tag=tag)


def test_an_empty_file_and_an_empty_line_take_anything() -> None:
    assert put("", "x = 1\n") == "x = 1\n"
    [block] = blocks_of(fenced("launch(rockets)\n"))
    [edit] = placed("a = 1\n\nb = 2\n", block, "python", 6, 6)
    assert not isinstance(edit, str) and edit.apply("a = 1\n\nb = 2\n") == "a = 1\nlaunch(rockets)\nb = 2\n"


def test_a_form_feed_is_no_line_end() -> None:
    """Where it counted as one, every line below it would be another."""
    text = "a = 1\n\x0c\ndef one():\n    return 1\n\n\ndef two():\n    return 3\n"
    assert put(text, "def two():\n    return 2\n") == text.replace("3", "2")
    [block] = blocks_of(fenced("    return 4\n"))
    [edit] = placed(text, block, "python", text.index("    return 3"), len(text))
    assert not isinstance(edit, str) and edit.apply(text) == text.replace("3", "4")


def test_a_file_with_lone_carriage_returns_is_left_alone() -> None:
    """Rows are counted by LF here, and by editors by CR as well."""
    [block] = blocks_of(fenced("b = 3\n"))
    told = placed("a = 1\rb = 2\rc = 3\r", block, "python", 6, 11)
    assert isinstance(told, str) and "line ends" in told


@pytest.mark.timeout(60)
def test_a_file_of_empty_lines_holds_nobody_up() -> None:
    """A regular expression lets nothing else run: what takes the square of these lines takes minutes."""
    empty = "\n" * 200_000
    assert put(f"a = 1\n{empty}", "b = 2\n", at="a = 1\n") == f"b = 2\n{empty}"


def test_changes_far_apart_in_a_long_file_are_found() -> None:
    text = "import os\n" + "".join(f"def f{at}(x):\n    if x:\n        return {at}\n\n\n" for at in range(1000))
    new = put(text, "import sys\n\ndef f998(x):\n    if x:\n        return -1\n")
    assert new == text.replace("import os\n", "import os\nimport sys\n", 1).replace("return 998\n", "return -1\n")


@given(
    st.lists(st.sampled_from(["a\n", "b\n", "  a\n", "\n", "c"]), max_size=12),
    st.lists(st.sampled_from(["a\n", "x\n", "b\n", "c"]), max_size=12),
)
def test_edits_make_the_one_text_of_the_other(old: list[str], new: list[str]) -> None:
    text = before = "".join(old)
    for edit in reversed(edits_between(before, "".join(new))):
        text = edit.apply(text)
    assert text == "".join(new)


@given(st.text(alphabet="ab\n `~#@:()def", max_size=120), st.text(alphabet="ab\n `~#@:()def", max_size=80), st.integers(0, 120))
def test_odd_texts_never_raise(text: str, code: str, at: int) -> None:
    for block in [*blocks_of(code), Block("", code, 0, 1), Block("diff", code, 0, 1)]:
        placed(text, block, "python", min(at, len(text)), len(text))


# In the language server

ANSWER = "It is spelt wrong.\n\n```python\ndef add(a, b):\n    return a + b\n```\n"


class Editor:
    """Applies what it is asked to apply, or does not."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, applies: bool = True) -> None:
        async def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            if applies:
                bench.apply(params.edit)
            return types.ApplyWorkspaceEditResult(applies)

        monkeypatch.setattr(bench.lsp, "workspace_apply_edit_async", apply)


async def asked(bench: Bench, answer: str = ANSWER) -> dict[str, Any]:
    bench.model.chunks = [{"kind": "text", "text": answer}]
    question = bench.question()
    about = types.TextDocumentIdentifier(bench.document.uri)
    return await bench.chat.ask(ChatParams("Why?", text_document=about, range=question.range, diagnostics=question.diagnostics))


async def test_a_block_is_applied_recorded_and_followed_like_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with debugging_bench(tmp_path) as bench:
        Editor(bench, monkeypatch)
        said = await asked(bench)
        assert said["blocks"] == [{"firstLine": 2, "lastLine": 5, "language": "python"}]
        told = await bench.debugging.applying.apply(ApplyBlockParams(0, said["suggestionId"]))
        assert told["applied"] and "line 5 of a.py" in told["message"]
        assert bench.document.text == TEXT.replace("retrun", "return")
        bench.complain()
        bench.feedback.saved(bench.document.uri)
        at = bench.document.text.index("return a + b")
        bench.type(at + 7, at + 8, "b")
        bench.feedback.rate(said["suggestionId"], -1, "unclear", None)
        bench.feedback.closed(bench.document.uri)
        events = bench.events()
        [proposed] = [one for one in events if one["kind"] == "block_proposed"]
        assert (proposed["block"], proposed["original"], proposed["text"]) == (0, "    retrun a + b", "    return a + b")
        assert {one["suggestion_id"] for one in events if "suggestion_id" in one} == {said["suggestionId"]}
        assert {"accepted", "settled:save", "diagnostic_checked:save", "settled:close", "rated"} <= set(bench.kinds())
        suggestion, *rest = [EVENT.validate_python(one) for one in events if one.get("suggestion_id") == said["suggestionId"]]
        assert isinstance(suggestion, Suggested)
        evidence = evidence_of(SuggestionRecord(suggestion=suggestion, events=tuple(rest)))
        assert (evidence.kind, evidence.applied, evidence.diagnostic_gone, evidence.flag) == ("chat", True, True, "unclear")
        assert evidence.kept == 1.0


async def test_an_applied_block_that_is_undone_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with debugging_bench(tmp_path) as bench:
        Editor(bench, monkeypatch)
        await asked(bench)
        assert (await bench.debugging.applying.apply(ApplyBlockParams()))["applied"]
        at = bench.document.text.index("return a + b")
        bench.type(at, at + 6, "retrun")
        assert bench.kinds()[-1] == "undone"


async def test_a_block_never_touches_a_secret_and_leaves_one_beside_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = 'def login():\n    password = "hunter2hunter2"\n    retrun password\n'
    async with debugging_bench(tmp_path, text=TEXT + secret) as bench:
        Editor(bench, monkeypatch)
        [_, masked, _] = [line for line in str(await _masked(bench)).splitlines() if "login" in line or "password" in line]
        await asked(bench, f"```python\ndef login():\n{masked}\n    return password\n```\n")
        assert (await bench.debugging.applying.apply(ApplyBlockParams()))["applied"]
        assert bench.document.text == TEXT + secret.replace("retrun", "return")
        await asked(bench, '```python\ndef login():\n    password = "open sesame"\n    return password\n```\n')
        told = await bench.debugging.applying.apply(ApplyBlockParams())
        assert not told["applied"] and "secret" in told["message"] and "hunter2" in bench.document.text


async def _masked(bench: Bench) -> str:
    """The document as the model sees it."""
    await asked(bench)
    return str(bench.model.asked[-1]["text"])


async def test_what_may_not_be_changed_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with debugging_bench(tmp_path) as bench:
        Editor(bench, monkeypatch)
        applying = bench.debugging.applying

        async def words(params: ApplyBlockParams) -> str:
            told = await applying.apply(params)
            assert not told["applied"] and bench.document.text == TEXT
            return str(told["message"])

        assert "no answer yet" in await words(ApplyBlockParams())
        await asked(bench, "No code here.")
        assert "no code block" in await words(ApplyBlockParams())
        said = await asked(bench)
        assert "not known" in await words(ApplyBlockParams(0, "another"))
        assert "1 code block" in await words(ApplyBlockParams(3, said["suggestionId"]))
        elsewhere = types.TextDocumentIdentifier((tmp_path.parent / "outside.py").as_uri())
        assert "not open" in await words(ApplyBlockParams(0, None, elsewhere))
        bench.refusal = "Nothing of a.py is sent."
        assert await words(ApplyBlockParams()) == "Nothing of a.py is sent."
        await bench.debugging.apply(ApplyBlockParams())
        assert bench.messages()[-1] == "Nothing of a.py is sent."


async def test_an_editor_that_does_not_apply_it_is_told_so_and_the_record_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debugging_bench(tmp_path) as bench:
        Editor(bench, monkeypatch, applies=False)
        await asked(bench)
        told = await bench.debugging.applying.apply(ApplyBlockParams())
        assert not told["applied"] and "did not apply" in told["message"]
        assert bench.kinds()[-2:] == ["block_proposed", "rejected"]


async def test_an_editor_that_cannot_be_asked_gets_the_edit(tmp_path: Path) -> None:
    async with debugging_bench(tmp_path, Client(literals=True, resolves=True)) as bench:
        await asked(bench)
        told = await bench.debugging.applying.apply(ApplyBlockParams())
        [change] = told["edit"]["changes"][bench.document.uri]
        assert (
            not told["applied"]
            and "retrun".startswith("re")
            and change["newText"] in ("return", "ur")
            and "line 5" in told["message"]
        )


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_line_ends_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newline: str) -> None:
    text = TEXT.replace("\n", newline)
    async with debugging_bench(tmp_path, text=text) as bench:
        Editor(bench, monkeypatch)
        await asked(bench, ANSWER.replace("    return a + b", "    total = a + b\n    return total"))
        assert (await bench.debugging.applying.apply(ApplyBlockParams()))["applied"]
        assert bench.document.text == text.replace("    retrun a + b", f"    total = a + b{newline}    return total")
