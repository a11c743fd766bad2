"""What the model sees besides the file when it is asked about an error: frames, history, versions, output; nothing hidden."""

import os
import subprocess
import threading
from pathlib import Path

import pytest
from debugging_bench import Bench, debugging_bench
from lsprotocol import types

from tacit.lsp.debugging.surroundings import Question, chosen, collected
from tacit.lsp.documents import Document
from tacit.lsp.extensions import ChatParams
from tacit.lsp.gathering.dependencies import versions
from tacit.lsp.gathering.history import history
from tacit.lsp.gathering.reading import Reading
from tacit.lsp.workspace import Folder
from tacit.protocol.debugging import DebugSnippet
from tacit.protocol.project import project_of

KEY = "ghp_" + "a1B2" * 9
CART = "".join(f"line{number} = {number}\n" for number in range(40)) + "def total(values):\n    return sum(vlaues)\n"
TRACE = """Traceback (most recent call last):
  File "{root}/app.py", line 3, in <module>
    print(total([1]))
  File "{root}/shop/cart.py", line 42, in total
    return sum(vlaues)
NameError: name 'vlaues' is not defined
"""


def git(root: Path, *command: str) -> None:
    name = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *name, *command], check=True, capture_output=True)


def commit(root: Path, words: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", words)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "work"
    (root / "shop").mkdir(parents=True)
    (root / "shop" / "cart.py").write_text(CART)
    (root / "app.py").write_text("from shop.cart import total\n\nprint(total([1]))\n")
    git(root, "init", "-q")
    return root


def reading(root: Path, **opened: str) -> Reading:
    return Reading(Folder.at(root), None, {(root / name).as_uri(): text for name, text in opened.items()})


# Frames and output


async def test_a_trace_brings_the_code_of_its_frames_as_it_is_in_the_editor(shop: Path) -> None:
    typed = CART.replace("vlaues", "typed_now")
    found = await collected(
        Question(Reading(Folder.at(shop), None, {(shop / "shop/cart.py").as_uri(): typed}), told=TRACE.format(root=shop))
    )
    cart, app = [one for one in found if one.kind == "frame"]
    assert (cart.path, cart.first_line, cart.note) == ("shop/cart.py", 35, "line 42 is in the trace")
    assert cart.text.endswith("    return sum(typed_now)") and "line34" not in cart.text
    assert app.path == "app.py" and "print(total([1]))" in app.text


async def test_frames_of_hidden_files_stay_hidden_and_secrets_are_replaced(shop: Path) -> None:
    (shop / ".gitignore").write_text("app.py\n")
    (shop / "shop" / "cart.py").write_text(CART.replace("line38 = 38", f'token = "{KEY}"'))
    [frame] = await collected(Question(reading(shop), told=TRACE.format(root=shop)))
    assert frame.path == "shop/cart.py" and KEY not in frame.text and "<redacted" in frame.text
    (shop / "shop" / "cart.py").write_text("-----BEGIN PRIVATE KEY-----\n" + CART)
    assert await collected(Question(reading(shop), told=TRACE.format(root=shop))) == ()


async def test_saved_output_of_a_test_is_shown_where_it_goes_through_the_file(shop: Path) -> None:
    (shop / "pytest.log").write_text(f"{TRACE.format(root=shop)}export API_TOKEN={KEY}\n")
    found = await collected(Question(reading(shop), "shop/cart.py", "python", CART, 41))
    output = next(one for one in found if one.kind == "test_output")
    assert output.path == "pytest.log" and "NameError" in output.text and KEY not in output.text
    assert [one.path for one in found if one.kind == "frame"] == ["app.py"]
    assert not [
        one for one in await collected(Question(reading(shop), "other.py", "python", "x", 0)) if one.kind == "test_output"
    ]
    os.utime(shop / "pytest.log", (1, 1))
    assert not [
        one for one in await collected(Question(reading(shop), "shop/cart.py", "python", CART, 41)) if one.kind == "test_output"
    ]


# History


def test_what_stood_there_before_is_told_of_what_is_not_committed_and_of_commits(shop: Path) -> None:
    commit(shop, "start")
    cart = shop / "shop" / "cart.py"
    cart.write_text(CART.replace("sum(vlaues)", "sum(values, 1)"))
    commit(shop, f"Start at one, password='{KEY}'")
    now = "# above\n" + cart.read_text().replace("sum(values, 1)", "sum(vlaues, 1)")
    for root, name in ((shop, "shop/cart.py"), (shop / "shop", "cart.py")):
        pending, committed = history(root, name, now, 42, 20)
        assert pending.text.split("\n")[-2:] == ["-    return sum(values, 1)", "+    return sum(vlaues, 1)"]
        assert "-    return sum(vlaues)\n+    return sum(values, 1)" in committed.text
        assert "Start at one" in committed.note and KEY not in committed.note
    # Of a place that nobody changed since it was written there is nothing to tell.
    assert history(shop, "shop/cart.py", cart.read_text(), 5, 20) == []


def test_secrets_and_keys_of_the_past_stay_there(shop: Path) -> None:
    cart = shop / "shop" / "cart.py"
    cart.write_text(CART.replace("sum(vlaues)", "1") + f"API_TOKEN={KEY}\n")
    commit(shop, "one")
    cart.write_text(CART + "API_TOKEN=none\n")
    commit(shop, "two")
    [told] = history(shop, "shop/cart.py", cart.read_text(), 41, 20)
    assert KEY not in told.text and "-API_TOKEN=<redacted:" in told.text
    cart.write_text("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n" + CART)
    commit(shop, "three")
    cart.write_text(CART)
    commit(shop, "four")
    assert all("MIIB" not in one.text for one in history(shop, "shop/cart.py", CART, 0, 20))


def test_a_hostile_repository_starts_nothing(shop: Path) -> None:
    """Each program that a repository's own configuration may name leaves a mark; none is left, and the answer is the same."""
    commit(shop, "start")
    cart = shop / "shop" / "cart.py"
    cart.write_text(CART.replace("sum(vlaues)", "sum(values)"))
    commit(shop, "two")
    mark = shop.parent / "ran"
    evil = shop.parent / "evil.sh"
    evil.write_text(f'#!/bin/sh\necho "$0 $@" >> {mark}\ncat 2>/dev/null\n')
    evil.chmod(0o755)
    (shop / ".gitattributes").write_text("*.py diff=evil filter=evil\n")
    hooks = shop.parent / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "post-checkout", "reference-transaction"):
        (hooks / name).symlink_to(evil)
    for key, value in {
        "core.fsmonitor": evil, "core.hooksPath": hooks, "core.pager": evil, "pager.log": "true", "diff.external": evil,
        "diff.evil.textconv": evil, "diff.evil.command": evil, "filter.evil.clean": evil, "filter.evil.smudge": evil,
        "log.showSignature": "true", "gpg.program": evil, "core.sshCommand": evil, "core.gitProxy": evil, "core.askPass": evil,
        "credential.helper": f"!{evil}", "core.editor": evil, "alias.log": f"!{evil}", "alias.cat-file": f"!{evil}",
        "core.repositoryformatversion": "1", "extensions.partialClone": "origin", "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{evil}", "protocol.ext.allow": "always", "protocol.allow": "always",
    }.items():  # fmt: skip
        git(shop, "config", key, str(value))
    mark.unlink(missing_ok=True)
    text = CART.replace("sum(vlaues)", "sum(values, 2)")
    found = history(shop, "shop/cart.py", text, 41, 20)
    assert ["not committed" in one.note for one in found] == [True, False]
    assert len(project_of(shop)) == 40
    # What a partial clone lacks it would fetch.
    for held in (shop / ".git" / "objects").glob("??/*"):
        held.unlink()
    history(shop, "shop/cart.py", text, 41, 20)
    project_of(shop)
    assert not mark.exists(), mark.read_text()


# Versions


@pytest.mark.parametrize(
    ("name", "text", "language", "files", "expected"),
    [
        (
            "src/a.py",
            "import yaml, os\nfrom requests.auth import X\n",
            "python",
            {
                "requirements.txt": "requests[socks]>=2 ; python_version>'3'\nPyYAML==5.4\nflask==1.0\n",
                "src/uv.lock": '[[package]]\nname = "requests"\nversion = "2.31.0"\nsource = { }\n',
            },
            ("requirements.txt, src/uv.lock", "pyyaml 5.4\nrequests 2.31.0"),
        ),
        (
            "a.py",
            "import numpy\n",
            "python",
            {"pyproject.toml": '[project]\ndependencies = [\n  "numpy>=2,<3",\n  "scipy>=1"]\n'},
            ("pyproject.toml", "numpy >=2,<3"),
        ),
        (
            "a.ts",
            "import x from '@scope/pkg/deep'\nconst y = require('left-pad');\nimport './own'\nimport fs from 'node:fs'\n",
            "typescript",
            {
                "package-lock.json": '{"packages": {"": {}, "node_modules/@scope/pkg": {"version": "1.2.3"},'
                ' "node_modules/a/node_modules/left-pad": {"version": "9"}}}',
                "package.json": '{"dependencies": {"left-pad": "^1.0.0", "unused": "1"}}',
            },
            ("package-lock.json, package.json", "@scope/pkg 1.2.3\nleft-pad ^1.0.0"),
        ),
        (
            "A.java",
            "import com.google.gson.Gson;\nimport java.util.List;\n",
            "java",
            {
                "pom.xml": "<properties><g.v>2.10</g.v></properties><dependency><groupId>com.google.gson</groupId>"
                "<artifactId>gson</artifactId><version>${g.v}</version></dependency>"
            },
            ("pom.xml", "com.google.gson 2.10"),
        ),
        (
            "a.go",
            'import (\n\t"fmt"\n\tx "github.com/a/b/c"\n)\n',
            "go",
            {"go.mod": "module m\n\nrequire (\n\tgithub.com/a/b v1.4.0\n\tgithub.com/z/z v2.0.0 // indirect\n)\n"},
            ("go.mod", "github.com/a/b v1.4.0"),
        ),
        (
            "a.rs",
            "use serde_json::Value;\nuse std::io;\n",
            "rust",
            {"Cargo.lock": '[[package]]\nname = "serde-json"\nversion = "1.0.1"\n\n[[package]]\nname = "rand"\nversion = "1"\n'},
            ("Cargo.lock", "serde_json 1.0.1"),
        ),
    ],
)
def test_versions_of_what_the_file_imports(
    tmp_path: Path, name: str, text: str, language: str, files: dict[str, str], expected: tuple[str, str]
) -> None:
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    assert versions(reading(tmp_path.resolve()), name, text, language) == expected


def test_no_lock_file_breaks_anything_and_ignored_ones_are_not_read(tmp_path: Path) -> None:
    for broken in ("[" * 100_000, '{"packages": [1], "dependencies": {"a": 1}}', "null", "\0\xff"):
        (tmp_path / "package-lock.json").write_text(broken)
        assert versions(reading(tmp_path.resolve()), "a.ts", "import x from 'a'\n", "typescript") is None
    (tmp_path / "requirements.txt").write_text("requests==1\n")
    (tmp_path / ".tacitignore").write_text("requirements.txt\n")
    assert versions(reading(tmp_path.resolve()), "a.py", "import requests\n", "python") is None


# Together


def test_the_most_useful_comes_first_and_each_place_once() -> None:
    def one(kind: str, first: int | None = None, path: str = "a.py") -> DebugSnippet:
        return DebugSnippet.model_validate({"path": path, "text": f"{kind}\n{first}", "kind": kind, "first_line": first})

    found = chosen(
        [one("dependency", None, "uv.lock"), one("edit", 4), one("definition", 30), one("history", 4), one("frame", 31)]
    )
    # The change that is not committed is the session's; the frame shows the definition.
    assert [snippet.kind for snippet in found] == ["frame", "history", "dependency"]
    assert len(chosen([one("frame", 10 * number) for number in range(20)])) == 4


async def test_a_fix_is_asked_with_all_of_it_and_the_chat_with_frames_of_what_was_pasted(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "b.py").write_text("import a\n\na.add(1, None)\n")
    (root / "requirements.txt").write_text("requests==2.31.0\n")
    git(root, "init", "-q")
    async with debugging_bench(tmp_path, text="import requests\n\n\ndef add(a, b):\n    retrun a + b\n") as bench:
        commit(root, "start")
        bench.type(0, 0, "")
        where = bench.document.text.index("retrun")
        await bench.fixed(bench.question(where, where + 6))
        trace = f'Traceback (most recent call last):\n  File "{root}/b.py", line 3, in <module>\nTypeError: no\n'
        await bench.chat.ask(ChatParams(message=f"Why?\n{trace}"))
        fix, chat = bench.model.asked
        assert [(one["kind"], one["text"]) for one in fix["snippets"]] == [("dependency", "requests 2.31.0")]
        assert [(one["kind"], one["path"]) for one in chat["snippets"]] == [("frame", "b.py")]


async def test_who_wants_no_other_places_shown_gets_none(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("os==1\n")
    async with debugging_bench(tmp_path) as bench:
        await bench.fixed()
        bench.settings = type(bench.settings)(snippet_tokens=0)
        await bench.fixed()
        assert [len(one["snippets"]) for one in bench.model.asked] == [1, 0]


async def test_related_information_brings_the_code_that_it_refers_to(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("class Base:\n    def add(self): ...\n")
    async with debugging_bench(tmp_path) as bench:
        question = bench.question()
        assert question.diagnostics is not None
        place = types.Location((tmp_path.resolve() / "base.py").as_uri(), types.Range(types.Position(1, 4), types.Position(1, 7)))
        question.diagnostics[0].related_information = [types.DiagnosticRelatedInformation(place, "overridden here")]
        await bench.fixed(question)
        [snippet] = bench.model.asked[0]["snippets"]
        assert (snippet["path"], snippet["kind"], snippet["note"]) == ("base.py", "diagnostic", "line 2: overridden here")


async def test_nothing_of_it_is_done_in_the_sessions_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with debugging_bench(tmp_path) as bench:
        seen: list[bool] = []

        def masking(text: str) -> str:
            seen.append(threading.current_thread() is threading.main_thread())
            return text

        monkeypatch.setattr("tacit.lsp.debugging.debugging.mask", masking)
        monkeypatch.setattr("tacit.lsp.gathering.reading.clean_lines", lambda text: seen.append(_main()) or text.split("\n"))
        monkeypatch.setattr("tacit.lsp.gathering.history.clean_lines", lambda text: seen.append(_main()) or text.split("\n"))
        await _explained(bench)
        assert seen and not any(seen)


def _main() -> bool:
    return threading.current_thread() is threading.main_thread()


async def _explained(bench: Bench) -> None:
    bench.model.chunks = [{"kind": "text", "text": "Because."}]
    await bench.debugging.explain(bench.question())


def test_a_document_that_is_not_on_the_disk_can_be_asked_about(tmp_path: Path) -> None:
    assert history(tmp_path, "new.py", Document("file:///new.py", "python", 1, "x").text, 0, 20) == []
