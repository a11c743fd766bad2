"""The index of a folder: what it finds, what it must never read, and what it notices of changes."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.lsp.context import Budget, suffix_end, window_start
from tacit.lsp.gathering.candidate import Candidate
from tacit.lsp.gathering.gather import Gathered, OpenText, Snapshot, gather
from tacit.lsp.gathering.index import FolderIndex
from tacit.lsp.gathering.recent_edits import Changed
from tacit.lsp.gathering.viewed import Seen
from tacit.lsp.workspace import Folder

LEDGER = (
    'def close_account(account, *, by):\n    """Close it for good."""\n'
    "    account.open = False\n    note(by)\n    save(account)\n"
)
TOKEN = "ghp_" + "a1B2" * 9
WINDOW = Budget(400, 64)


def built(root: Path) -> FolderIndex:
    index = FolderIndex(Folder.at(root))
    index.rescan()
    while index.step():
        pass
    return index


def asked(index: FolderIndex | None, text: str, path: str = "main.py", **known: object) -> Gathered:
    """What is gathered at `|` in the text."""
    offset = text.index("|")
    text = text.replace("|", "", 1)
    snapshot = Snapshot(
        "file:///main", path, "python", text, offset,
        start=window_start(text, offset, WINDOW.prefix),
        end=suffix_end(text, offset, WINDOW.suffix),
        documents={"file:///main": OpenText(path, "python", text), **known.pop("documents", {})},  # type: ignore[dict-item]
        **known,  # type: ignore[arg-type]
    )  # fmt: skip
    return gather(snapshot, index)


def of(gathered: Gathered, path: str) -> list[Candidate]:
    return [one for one in gathered.candidates if one.path == path]


@pytest.fixture(params=["git", "plain"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    if request.param == "git":
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def test_a_definition_in_another_file_is_found_with_its_signature(root: Path) -> None:
    (root / "ledger.py").write_text(LEDGER)
    (root / "other.py").write_text("def close_account(): ...\n")
    gathered = asked(built(root), "from ledger import close_account\n\ndef run(account):\n    close_account(|")
    [found] = [one for one in gathered.candidates if one.kind == "definition"]
    assert (found.path, found.text) == ("ledger.py", "\n".join(LEDGER.split("\n")[:2]))
    assert "imported" in found.reason and found.score == 1.0
    assert gathered.scope == "run"


def test_a_definition_of_the_same_file_out_of_sight_is_found(root: Path) -> None:
    filler = "".join(f"value_{number} = {number}\n" for number in range(60))
    gathered = asked(None, f"{LEDGER}{filler}close_account(|")
    assert [(one.kind, one.first) for one in of(gathered, "main.py")] == [("definition", 0)]
    assert asked(None, f"{LEDGER}close_account(|").candidates == ()


def test_code_that_reads_like_this_is_found(root: Path) -> None:
    for number in range(30):
        (root / f"f{number}.py").write_text(f"alpha{number} = beta{number}\n")
    (root / "like.py").write_text("for invoice in overdue_invoices:\n    remind_customer(invoice.customer)\n")
    gathered = asked(built(root), "for invoice in overdue_invoices:\n    remind|")
    assert [one.path for one in gathered.candidates if one.kind == "retrieved"][:1] == ["like.py"]


HIDDEN = [".env", "secret/keys.py", "ignored.py", "private.py", "id_rsa.py", "nested/own.py"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(st.sampled_from([*HIDDEN, "open.py", "sub/open.py"]), unique=True))
def test_what_is_ignored_is_never_shown(root: Path, names: list[str]) -> None:
    (root / ".gitignore").write_text("ignored.py\n")
    (root / ".tacitignore").write_text("private.py\nsecret/\n")
    (root / "nested").mkdir(exist_ok=True)
    (root / "nested/.tacitignore").write_text("own.py\n")
    for path in [path for path in root.rglob("*.py") if path.is_file()]:
        path.unlink()
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(LEDGER)
    gathered = asked(built(root), "from keys import close_account\nclose_account(account, by|")
    assert {one.path for one in gathered.candidates} <= {"open.py", "sub/open.py"} & set(names)
    assert bool(gathered.candidates) == bool({"open.py", "sub/open.py"} & set(names))


def test_links_out_of_the_folder_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(LEDGER)
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    (root / "sub").symlink_to(tmp_path, target_is_directory=True)
    assert asked(built(root), "close_account(|").candidates == ()


def test_secrets_are_replaced_and_files_with_private_keys_give_nothing(root: Path) -> None:
    (root / "ledger.py").write_text(f'def close_account(token="{TOKEN}"):\n    return token\n')
    (root / "keyed.py").write_text(f'{LEDGER}KEY = """-----BEGIN PRIVATE KEY-----\nMIIE\n"""\n')
    (root / "bad.py").write_bytes(b"def close_account(): \0\n")
    edits = [Changed("file:///e", 0, "", f'key = "{TOKEN}"', 0.0)]
    documents = {
        "file:///e": OpenText("e.py", "python", f'key = "{TOKEN}"\n'),
        "file:///k": OpenText("k.py", "python", "a\n-----BEGIN PRIVATE KEY-----\nMIIE\n"),
    }
    seen = [Seen("file:///e", 0, 0.0), Seen("file:///k", 2, 0.0)]
    gathered = asked(built(root), "close_account(|", documents=documents, edits=edits, seen=seen)
    assert {one.path for one in gathered.candidates} == {"ledger.py", "e.py"}
    assert all(TOKEN not in one.text for one in gathered.candidates)
    assert any("<redacted:" in one.text for one in gathered.candidates)


def change(path: Path, text: str) -> None:
    """With a time of its own: a file system's clock may not have moved on."""
    path.write_text(text)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


@pytest.mark.parametrize("notice", [lambda index: index.rescan(), lambda index: index.look_again("ledger.py")])
def test_a_changed_file_is_shown_as_it_is_now_or_not_at_all(root: Path, notice: Callable[[FolderIndex], None]) -> None:
    (root / "ledger.py").write_text(LEDGER)
    index = built(root)
    change(root / "ledger.py", f"import os\n\n\n{LEDGER.replace('by', 'why')}")
    assert asked(index, "close_account(|").candidates == ()
    notice(index)
    while index.step():
        pass
    [found] = [one for one in asked(index, "close_account(|").candidates if one.kind == "definition"]
    assert "why" in found.text and found.first == 3
    (root / "ledger.py").unlink()
    assert asked(index, "close_account(|").candidates == ()


def test_a_file_that_comes_to_be_ignored_is_not_shown_any_more(root: Path) -> None:
    (root / "ledger.py").write_text(LEDGER)
    index = built(root)
    assert of(asked(index, "close_account(|"), "ledger.py")
    (root / ".tacitignore").write_text("ledger.py\n")
    assert asked(index, "close_account(|").candidates == ()


def test_edits_and_places_seen_elsewhere_are_offered_and_those_in_sight_are_not(root: Path) -> None:
    documents = {"file:///o": OpenText("o.py", "python", "x = 1\ny = 3\n")}
    edits = [Changed("file:///o", 1, "y = 2", "y = 3", 0.0), Changed("file:///main", 0, "", "close", 0.0)]
    gathered = asked(None, "close|", documents=documents, edits=edits, seen=[Seen("file:///main", 0, 0.0)])
    [edit] = gathered.candidates
    assert (edit.path, edit.kind, edit.text.split("\n")) == ("o.py", "edit", ["-y = 2", "+y = 3"])


def test_listing_files_starts_no_program_that_the_repository_names(tmp_path: Path) -> None:
    root, trace = tmp_path / "unpacked", tmp_path / "ran"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / "a.py").write_text(LEDGER)
    program = tmp_path / "monitor.sh"
    program.write_text(f"#!/bin/sh\ntouch {trace}\n")
    program.chmod(0o755)
    subprocess.run(["git", "-C", str(root), "config", "core.fsmonitor", str(program)], check=True)
    assert [place.file for place in built(root).defined("close_account", "python")] == ["a.py"]
    assert not trace.exists()


def test_a_changed_line_of_a_key_is_no_edit_to_show() -> None:
    line = "MIIEpAIBAAKCAQEAq1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6j7k8l9z0x1c2v3b4"
    begin, end = (f"-----{word} RSA PRIVATE KEY-----" for word in ("BEGIN", "END"))
    changed = Changed("file:///k", 2, line[::-1] + "\n", line + "\n", 0.0)
    whole = OpenText("k.py", "python", f'KEY = """\n{begin}\n{line}\n{end}\n"""\n')
    plain = OpenText("k.py", "python", f"one\ntwo\n{line}\n")
    for document, shown in ((plain, True), (whole, False)):
        found = asked(None, "x = |\n", documents={"file:///k": document}, edits=[changed])
        assert bool(of(found, "k.py")) is shown
