"""Publishing: complete or not there, never a name twice."""

import json
import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from tacit.learner.publish import publish
from tacit.protocol.adapters import ADAPTER_FILES, MANIFEST, Manifest, RunInfo
from tacit.protocol.errors import Conflict
from tacit.protocol.home import Home

RUN = RunInfo(
    id="run-00001",
    project="p",
    task="completion",
    objective="topr",
    trigger="manual",
    state="running",
    pid=1,
    adapter="p-c@000001",
    parent="base",
    started_at=datetime(2026, 11, 20, tzinfo=UTC),
)


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    folder = tmp_path / "candidate"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def put(home: Home, candidate: Path) -> Path:
    return publish(home, RUN, candidate, {"summary": "better"}, ["b", "a", "a"], "1" * 64, "2" * 64)


def test_a_published_folder_is_what_its_manifest_says(home: Home, candidate: Path) -> None:
    folder = put(home, candidate)
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_text())
    assert (manifest.name, manifest.parent, manifest.base_sha256, manifest.tokenizer_sha256) == (
        "p-c@000001",
        "base",
        "1" * 64,
        "2" * 64,
    )
    assert set(manifest.files) == set(ADAPTER_FILES) == {f.name for f in folder.iterdir()} - {MANIFEST}
    for name, digest in manifest.files.items():
        content = (folder / name).read_bytes()
        assert (digest.sha256, digest.size) == (sha256(content).hexdigest(), len(content))
    assert [json.loads(line)["suggestion_id"] for line in (folder / "lineage.jsonl").read_text().splitlines()] == ["a", "b"]


def test_a_name_is_never_used_twice(home: Home, candidate: Path) -> None:
    folder = put(home, candidate)
    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(Conflict):
        put(home, candidate)
    assert (folder / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("fails_at", range(8))
def test_an_error_at_any_sync_leaves_nothing_half(
    home: Home, candidate: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Whatever sync fails: either no folder of that name, or a complete one; and nothing else lies about."""
    real, calls = os.fsync, []

    def failing(handle: int) -> None:
        calls.append(handle)
        if len(calls) == fails_at + 1:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", failing)
    try:
        put(home, candidate)
    except OSError:
        pass
    else:
        assert fails_at >= len(calls)
    left = {f.name for f in home.adapters.iterdir()}
    assert left <= {RUN.adapter}
    if left:
        assert {f.name for f in (home.adapters / RUN.adapter).iterdir()} == {*ADAPTER_FILES, MANIFEST}


def test_the_manifest_is_written_after_everything_else_is_synced(
    home: Home, candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = os.fsync, []

    def watching(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        folder = path if path.is_dir() else path.parent
        seen.append((path.name, (folder / MANIFEST).exists()))
        real(handle)

    if not Path("/proc/self/fd").exists():
        pytest.skip("the names of open files are read from /proc")
    monkeypatch.setattr(os, "fsync", watching)
    put(home, candidate)
    names = [name for name, _ in seen]
    assert set(names[:4]) == set(ADAPTER_FILES) and not any(there for _, there in seen[:4])
    assert names[4] == MANIFEST
