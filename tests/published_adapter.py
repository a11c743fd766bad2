"""A complete adapter folder as the learner publishes it, with random weights: PEFT files, report, lineage, manifest last."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from random_adapter import write_random_adapter

from tacit.protocol.adapters import ADAPTER_FILES, MANIFEST, FileDigest, Manifest, Probe
from tacit.protocol.home import Home

PROJECT = "dir-0123456789abcdef"


def publish_adapter(
    home: Home,
    number: int,
    base: Path,
    base_sha256: str,
    *,
    project: str = PROJECT,
    scale: float = 0.05,
    probes: Sequence[Probe] = (),
) -> str:
    """Returns its name. number: also the seed of its weights and its place in time."""
    name = f"test-c@{number:06d}"
    folder = write_random_adapter(home.adapters / name, base, number, scale=scale)
    report = {"summary": f"version {number}", "probes": [probe.model_dump() for probe in probes]}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "lineage.jsonl").write_text('{"suggestion_id": "one"}\n{"suggestion_id": "two"}\n')
    seal(folder, name, base_sha256, project=project, created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number))
    return name


def seal(folder: Path, name: str, base_sha256: str, *, project: str = PROJECT, created_at: datetime | None = None) -> None:
    """Write the manifest for what is in the folder now."""
    files = {}
    for file in ADAPTER_FILES:
        content = (folder / file).read_bytes()
        files[file] = FileDigest(sha256=sha256(content).hexdigest(), size=len(content))
    manifest = Manifest(
        name=name,
        project=project,
        task="completion",
        run_id="run-of-" + name,
        parent="base",
        base_sha256=base_sha256,
        tokenizer_sha256="0" * 64,
        created_at=created_at or datetime.now(UTC),
        files=files,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
