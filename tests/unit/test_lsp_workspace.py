"""Workspace: what lies where, what is hidden, who may record."""

import os
from pathlib import Path
from typing import Any

import pytest
from lsprotocol.types import MessageActionItem, MessageType, ShowMessageRequestParams

from tacit.lsp.consent import NEVER, NOT_NOW, TURN_ON, Consent
from tacit.lsp.settings import Settings
from tacit.lsp.workspace import FILE, Choices, Folder, Workspace, path_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / ".git").mkdir()
    return folder


def _open(*roots: Path) -> Workspace:
    workspace = Workspace()
    workspace.add([root.as_uri() for root in roots])
    return workspace


def test_paths_are_relative_to_the_innermost_folder(root: Path) -> None:
    inner = root / "packages" / "a b"
    inner.mkdir(parents=True)
    workspace = _open(root, inner)
    place = workspace.place((inner / "x.py").as_uri())
    assert (place.path, place.folder and place.folder.root, place.refused) == ("x.py", inner, "")
    assert workspace.place((root / "src" / "y.py").as_uri()).path == "src/y.py"


@pytest.mark.parametrize(
    "path",
    [
        "../outside.py",
        "link-out/secret.py",
        "src/../../outside.py",
        "../project-other/a.py",
        "file-link.py",
        "link-out/../outside.py",
    ],
)
def test_nothing_outside_is_served_however_it_is_named(root: Path, path: str) -> None:
    outside = root.parent / "elsewhere"
    outside.mkdir()
    (outside / "secret.py").write_text("x")
    (root / "src").mkdir()
    (root / "link-out").symlink_to(outside)
    (root / "file-link.py").symlink_to(outside / "secret.py")
    place = _open(root).place(f"file://{root}/{path}")
    assert place.folder is None
    assert place.refused


@pytest.mark.parametrize(
    "uri",
    [
        "file://server/share/a.py",
        "http://x/a.py",
        "file:///a%00b.py",
        "untitled:Untitled-1",
        "",
        "file:",
        "file://[",
        "\\\\host\\x",
    ],
)
def test_other_uris_name_no_file(uri: str) -> None:
    assert path_of(uri) is None


def test_what_is_no_file_is_served_and_never_recorded(root: Path) -> None:
    place = _open(root).place("untitled:Untitled-1")
    assert (place.path, place.folder, place.refused) == ("Untitled-1", None, "")


@pytest.mark.parametrize(
    "uri", ["untitled:.env", "vscode-remote://host/home/x/.env", "file://server/share/a.py", "file:///a%00b.py"]
)
def test_hidden_names_and_paths_that_cannot_be_judged_are_refused(root: Path, uri: str) -> None:
    place = _open(root).place(uri)
    assert place.folder is None
    assert place.refused


def test_a_single_file_is_served_and_never_recorded(tmp_path: Path) -> None:
    place = Workspace().place((tmp_path / "a.py").as_uri())
    assert (place.path, place.folder, place.refused) == ("a.py", None, "")
    assert Workspace().place((tmp_path / ".env").as_uri()).refused


@pytest.mark.parametrize(
    "name",
    [
        ".env", ".env.local", "prod.env", "server.pem", "tls/Private.KEY", "id_rsa", "id_rsa.old", "a.p12", "credentials",
        "credentials.json", ".netrc", ".ssh/config", ".aws/credentials", "deep/er/.pypirc", ".git/config", "terraform.tfstate",
    ],
)  # fmt: skip
def test_files_that_hold_secrets_by_their_name_are_hidden(root: Path, name: str) -> None:
    (root / ".gitignore").write_text("!" + name + "\n")
    assert _open(root).place((root / name).as_uri()).refused == "it is ignored"


def test_a_link_does_not_unhide_its_target_nor_itself(root: Path) -> None:
    (root / ".env").write_text("A=1")
    (root / "plain.txt").write_text("x")
    (root / "harmless.py").symlink_to(root / ".env")
    (root / "secrets.yaml").symlink_to(root / "plain.txt")
    workspace = _open(root)
    assert workspace.place((root / "harmless.py").as_uri()).refused
    assert workspace.place((root / "secrets.yaml").as_uri()).refused


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("a.log", True), ("keep.log", False), ("build/x.py", True), ("build/keep.log", True), ("src/a.log", True),
        ("src/special.log", False), ("private/a.py", True), ("src/a.py", False), ("src/gen/a.py", True),
        ("src/private2/a.py", True),
    ],
)  # fmt: skip
def test_ignore_files_count_as_in_git(root: Path, path: str, hidden: bool) -> None:
    (root / "src").mkdir()
    (root / ".gitignore").write_text("*.log\n!keep.log\nbuild/\n")
    (root / ".tacitignore").write_text("private/\n")
    (root / "src" / ".gitignore").write_text("!special.log\n/gen/\n")
    (root / "src" / ".tacitignore").write_text("private2\n")
    place = _open(root).place((root / path).as_uri())
    assert bool(place.refused) is hidden


def test_tacitignore_hides_what_gitignore_takes_back(root: Path) -> None:
    (root / ".gitignore").write_text("!a.py\n")
    (root / ".tacitignore").write_text("a.py\n")
    assert _open(root).place((root / "a.py").as_uri()).refused


def test_a_repositorys_ignore_files_count_in_a_folder_of_it(root: Path) -> None:
    (root / ".gitignore").write_text("/pkg/generated/\n")
    (root / "pkg").mkdir()
    assert _open(root / "pkg").place((root / "pkg" / "generated" / "a.py").as_uri()).refused


def test_ignore_files_are_read_again_when_they_change(root: Path) -> None:
    workspace = _open(root)
    uri = (root / "a.py").as_uri()
    assert not workspace.place(uri).refused
    (root / ".tacitignore").write_text("a.py\n")
    assert workspace.place(uri).refused
    (root / ".tacitignore").unlink()
    assert not workspace.place(uri).refused


@pytest.mark.parametrize(
    ("toml", "learning", "problem"),
    [
        ("learning = true\n", True, False),
        ("learning = false\nenabled = true\n", False, False),
        ("", None, False),
        ("learning = 'yes'\n", None, True),
        ("learnign = true\n", None, True),
        ("learning = \n", None, True),
        ("[learning]\nx = 1\n", None, True),
    ],
)
def test_choices_of_a_workspace(root: Path, toml: str, learning: bool | None, problem: bool) -> None:
    (root / FILE).write_text(toml)
    choices = Folder.at(root).choices()
    assert choices.learning is learning
    assert bool(choices.problem) is problem


@pytest.mark.parametrize("old", [None, "", "enabled = true\n", "# a comment\n[later]\n", "# no end"])
def test_an_answer_is_written_so_that_it_is_read_back(root: Path, old: str | None) -> None:
    if old is not None:
        (root / FILE).write_text(old)
    folder = Folder.at(root)
    if old == "# a comment\n[later]\n":
        folder.choose(True)
        assert (root / FILE).read_text() == "# a comment\nlearning = true\n[later]\n"
        return
    folder.choose(False)
    assert folder.choices() == Choices(False, True if old == "enabled = true\n" else None)
    assert sorted(path.name for path in root.iterdir()) == [".git", FILE]


class _Editor:
    def __init__(self, title: str | None) -> None:
        self.title = title
        self.asked: list[ShowMessageRequestParams] = []
        self.told: list[str] = []

    async def ask(self, params: ShowMessageRequestParams) -> MessageActionItem | None:
        self.asked.append(params)
        return None if self.title is None else MessageActionItem(self.title)

    def tell(self, kind: MessageType, message: str) -> None:
        self.told.append(message)


@pytest.mark.parametrize(
    ("title", "recorded", "written"),
    [(TURN_ON, True, "learning = true"), (NEVER, False, "learning = false"), (NOT_NOW, False, None), (None, False, None)],
)
async def test_the_question_is_put_once_and_its_answer_kept(
    root: Path, title: str | None, recorded: bool, written: str | None
) -> None:
    editor = _Editor(title)
    consent = Consent(editor.ask, editor.tell, Settings)
    folder = Folder.at(root)
    assert not consent.recorded(folder), "off until somebody says otherwise"
    assert consent.open_question(folder)
    assert not consent.open_question(folder), "once"
    await consent.put_question(folder)
    assert consent.recorded(folder) is recorded
    assert (written in (root / FILE).read_text()) if written else not (root / FILE).exists()
    assert [params.actions for params in editor.asked] == [[MessageActionItem(t) for t in (TURN_ON, NOT_NOW, NEVER)]]
    assert Consent(editor.ask, editor.tell, Settings).open_question(Folder.at(root)) is (written is None)


async def test_an_answer_that_cannot_be_written_counts_for_the_session(root: Path) -> None:
    editor = _Editor(TURN_ON)
    consent = Consent(editor.ask, editor.tell, Settings)
    folder = Folder.at(root)
    (root / f"{FILE}.{os.getpid()}.new").mkdir()
    await consent.put_question(folder)
    assert consent.recorded(folder)
    assert len(editor.told) == 1


@pytest.mark.parametrize(
    ("toml", "learning", "recorded"),
    [
        (None, "on", True),
        (None, "off", False),
        ("learning = false", "on", False),
        ("learning = true", "off", True),
        ("learning = 1", "on", False),
    ],
)
def test_the_workspace_has_the_last_word(root: Path, toml: str | None, learning: Any, recorded: bool) -> None:
    if toml is not None:
        (root / FILE).write_text(toml)
    editor = _Editor(None)
    consent = Consent(editor.ask, editor.tell, lambda: Settings(learning=learning))
    folder = Folder.at(root)
    assert consent.recorded(folder) is recorded
    assert not consent.open_question(folder)
    consent.recorded(folder)
    assert len(editor.told) == (1 if toml == "learning = 1" else 0), "a bad file is told once"
