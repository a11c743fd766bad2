"""The tests that cover a Rust file with crates that were fetched before, from a registry and from Git, or that lie beside it."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tacit.protocol.debugging import Check, DebugRequest
from tacit.server.debugging.running import CoveringTests
from tacit.server.debugging.toolchains import TOOLCHAINS, Tool, vendored

LIB = "pub fn total(values: &[i32]) -> i32 {\n    values.iter().sum::<i32>() / USED::tenth() + 1\n}\n"
TEST = """#[test]
fn of_nothing() {
    assert_eq!(shop::total(&[]), 0);
}

#[test]
fn of_some() {
    assert!(shop::total(&[10]) > 0);
}
"""
MANIFEST = '[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2021"\n'
TENTH = "pub fn tenth() -> i32 {\n    10\n}\n"
BESIDE = """[source.crates-io]
replace-with = "beside"
[source.beside]
directory = "vendor"
[build]
rustc-wrapper = "not-here"
"""
OURS = """[source.crates-io]
replace-with = "ours"
[source.ours]
registry = "sparse+PLACE"
[registry]
token = "secret"
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace, and a home of cargo's own beside it."""
    root = tmp_path.resolve() / "work"
    if isinstance(tool := TOOLCHAINS["rust"].find(root), str):
        pytest.skip(f"{tool} is not installed")
    monkeypatch.setenv("CARGO_HOME", str(root.parent / "cargo"))
    for folder in (root / "src", root / "tests", root.parent / "cargo"):
        folder.mkdir(parents=True)
    (root / "tests" / "total.rs").write_text(TEST)
    return root


def crate(folder: Path, name: str) -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "Cargo.toml").write_text(MANIFEST.format(name=name))
    (folder / "src" / "lib.rs").write_text(TENTH)
    return folder


def uses(root: Path, name: str, where: str) -> str:
    (root / "Cargo.toml").write_text(
        f'[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n{name} = {{ {where} }}\n'
    )
    text = LIB.replace("USED", name)
    (root / "src" / "lib.rs").write_text(text)
    return text


async def checked(root: Path, text: str) -> Check:
    told = {"kind": "fix", "request_id": "r", "session_id": "s", "workspace": str(root), "language": "rust", "run_tests": True,
            "path": "src/lib.rs", "text": text, "turns": [{"role": "user", "text": "?"}]}  # fmt: skip
    return await CoveringTests(DebugRequest.model_validate(told), text).check(text.replace(" + 1", ""), 900.0)


def fetched(root: Path) -> None:
    tool = TOOLCHAINS["rust"].find(root)
    assert isinstance(tool, Tool)
    rustc = str(Path(tool.program).with_name("rustc"))
    ran = subprocess.run(
        [tool.program, "fetch"], cwd=root, env={**os.environ, "RUSTC": rustc}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


MENDED = "1 test that failed pass now. 2 tests that cover it pass."


@pytest.mark.usefixtures("boxed")
async def test_crates_that_lie_beside_it_are_there_whole(shop: Path) -> None:
    """cargo compares each of their files with what it was: also those that are hidden elsewhere."""
    text = uses(shop, "tenth", 'version = "1"')
    folder = crate(shop / "vendor" / "tenth", "tenth")
    (folder / "key.pem").write_text("here")
    files = {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.rglob("*") if one.is_file()
    }
    (folder / ".cargo-checksum.json").write_text(json.dumps({"files": files, "package": None}))
    (shop / ".cargo").mkdir()
    (shop / ".cargo" / "config.toml").write_text(BESIDE)
    assert (check := await checked(shop, text)).note == MENDED, check.note


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *words: object) -> None:
        pass


@pytest.mark.usefixtures("boxed")
async def test_crates_of_a_registry_that_were_fetched_are_used_and_others_are_said(shop: Path) -> None:
    """A registry that the user's own settings put in the place of the usual one, as companies do; it is gone by then."""
    text = uses(shop, "tenth", 'version = "1"')
    site = shop.parent / "site"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(crate(shop.parent / "tenth", "tenth"), "tenth-1.0.0")
    (site / "te" / "nt").mkdir(parents=True)
    (site / "tenth.crate").write_bytes(packed.getvalue())
    line = {"name": "tenth", "vers": "1.0.0", "deps": [], "features": {}, "yanked": False}
    (site / "te" / "nt" / "tenth").write_text(json.dumps({**line, "cksum": hashlib.sha256(packed.getvalue()).hexdigest()}) + "\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        place = f"http://127.0.0.1:{server.server_port}/"
        (site / "config.json").write_text(json.dumps({"dl": f"{place}{{crate}}.crate"}))
        (shop.parent / "cargo" / "config.toml").write_text(OURS.replace("PLACE", place))
        threading.Thread(target=server.serve_forever).start()
        try:
            before = await checked(shop, text)
            fetched(shop)
        finally:
            server.shutdown()
    assert before.result == "unchecked" and "cargo has not fetched all crates" in before.note, before.note
    assert (check := await checked(shop, text)).note == MENDED, check.note
    tool = TOOLCHAINS["rust"].find(shop)
    assert isinstance(tool, Tool) and "ours" in tool.told["sources"] and "secret" not in tool.told["sources"]


@pytest.mark.usefixtures("boxed")
async def test_crates_of_git_that_were_fetched_are_used(shop: Path) -> None:
    folder = crate(shop.parent / "tenth", "tenth")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "it"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    text = uses(shop, "tenth", f'git = "file://{folder}"')
    fetched(shop)
    assert (check := await checked(shop, text)).note == MENDED, check.note


def test_what_is_only_called_so_is_no_vendored_folder(tmp_path: Path) -> None:
    (tmp_path / "vendor" / "own").mkdir(parents=True)
    assert vendored(tmp_path) == []
    (tmp_path / "vendor" / "own" / ".cargo-checksum.json").write_text("{}")
    assert vendored(tmp_path) == [str(tmp_path / "vendor")]
    (tmp_path / "vendor").rename(tmp_path / "elsewhere")
    (tmp_path / "vendor").symlink_to(tmp_path / "elsewhere")
    assert vendored(tmp_path) == []
