"""Names of files that lead out of the workspace, or of the adapters' folder, however they are written: nothing outside is read.

Asked at the places where a name becomes a file: a document's URI, a name in a trace or an import, an adapter's name.
"""

import itertools
import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from tacit.lsp.gathering.reading import Reading
from tacit.lsp.workspace import Workspace
from tacit.protocol.errors import NotFound, Refused
from tacit.server.verifying import folder_of

CANARY = "canary-8842"
INNER = ("", "./", "src/", "src/../", "src/deep/../../", "link/", "link/../", "src//")
CLIMB = (
    "../", "..//", ".././", "%2e%2e/", "%2E%2e%2F", "..%2f", "..\\", "..%5c", "....//", "%252e%252e/", "..;/", "..%c0%af",
    "../../x/",
)  # fmt: skip
TARGET = ("outside/secret.py", "outside/../outside/./secret.py")
OTHER = (
    "@OUT@/secret.py",
    "/@OUT@/secret.py",
    "file://@OUT@/secret.py",
    "file://localhost@OUT@/secret.py",
    "@ROOT@/../outside/secret.py",
    "link/secret.py",
    "link/.//secret.py",
    "file.py",
    "src/file.py",
    "chain.py",
    "loop/secret.py",
    "src/up/outside/secret.py",
    "\\\\localhost\\c$@OUT@/secret.py",
    "//localhost@OUT@/secret.py",
    "\\\\?\\@OUT@/secret.py",
    "file.py\0.txt",
    "src/a.py\0/../../../outside/secret.py",
    "file.py%00.txt",
    "/proc/self/root@OUT@/secret.py",
    "/proc/self/cwd/../outside/secret.py",
    "~/../outside/secret.py",
    "$PWD/../outside/secret.py",
    "src/../../project-other/secret.py",
    "../project-other/secret.py",
)
NAMES = [
    *("".join(parts) for parts in itertools.product(INNER, CLIMB, TARGET)),
    *OTHER,
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace, and what lies beside it. Links of it lead out, one of them through another."""
    root, outside = tmp_path / "project", tmp_path / "outside"
    for folder in (root / "src" / "deep", outside, tmp_path / "project-other", tmp_path / "x"):
        folder.mkdir(parents=True)
    for folder in (outside, tmp_path / "project-other"):
        (folder / "secret.py").write_text(f"{CANARY} = 1\n")
    (root / "src" / "a.py").write_text("a = 1\n")
    for name, target in {
        "link": outside, "file.py": outside / "secret.py", "src/file.py": outside / "secret.py", "chain.py": root / "file.py",
        "loop": root / "loop", "src/up": tmp_path,
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    return root


def names(root: Path) -> list[str]:
    return [name.replace("@ROOT@", str(root)).replace("@OUT@", str(root.parent / "outside")) for name in NAMES]


def plainly(root: Path, name: str) -> str:
    """What somebody reads who asks nothing."""
    for spelled in {name, unquote(name), name.replace("\\", "/")}:
        try:
            return (root / spelled.removeprefix("file://")).read_text()
        except (OSError, ValueError):
            continue
    return ""


def leaves(root: Path, name: str) -> bool:
    """A link that leads to itself leads nowhere."""
    return not Path(os.path.realpath(root / name)).is_relative_to(root)


def test_there_are_two_hundred_and_many_would_lead_out(root: Path) -> None:
    assert len(set(NAMES)) >= 200
    assert sum(CANARY in plainly(root, name) for name in names(root)) >= 60


def test_none_names_a_document_or_a_file_outside(root: Path) -> None:
    workspace = Workspace()
    workspace.add([root.as_uri()])
    (folder,) = workspace.folders
    reading = Reading(folder, workspace.place)
    wrong = []
    for name in names(root):
        said = reading.raw(name)
        if said is not None and CANARY in said:
            wrong.append(("read", name))
        for uri in (name, f"file://{root}/{name}", f"file://localhost{root}/{name}", f"FILE:///{root}/{name}"):
            place = workspace.place(uri)
            if place.folder is not None and not place.refused and leaves(root, place.path):
                wrong.append(("served", uri))
    assert wrong == []
    assert "a = 1" in (reading.raw("src/a.py") or ""), "what lies inside is read"


def test_none_names_an_adapter(root: Path) -> None:
    adapters = root / "adapters"
    (adapters / "test-c@000001").mkdir(parents=True)
    (adapters / "test-c@000002").symlink_to(root.parent / "outside")
    for name in [*names(root), "test-c@000001/..", "test-c@000001/../../src", "test-c@000002"]:
        with pytest.raises((NotFound, Refused)):
            folder_of(adapters, name)
    assert folder_of(adapters, "test-c@000001").is_dir()
