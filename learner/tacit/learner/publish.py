"""Turns a candidate that passed into `adapters/NAME`: every file synced, the manifest last, then one rename. Touches that folder.

A folder with a manifest is complete; a folder that a killed learner leaves behind has a name that no server reads.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tacit.protocol.adapters import ADAPTER_FILES, MANIFEST, FileDigest, Manifest, RunInfo
from tacit.protocol.durable import sync
from tacit.protocol.errors import Conflict
from tacit.protocol.home import Home


def publish(
    home: Home,
    run: RunInfo,
    candidate: Path,
    report: Mapping[str, Any],
    lineage: Iterable[str],
    base: str,
    tokenizer: str,
    projects: Iterable[str] = (),
) -> Path:
    """Write `adapters/NAME` from the candidate's PEFT files. Conflict if the name exists: names are never reused.

    lineage: ids of the suggestions it was trained on. base, tokenizer: sha256 of the GGUF file and of the vocabulary. projects:
    whose suggestions they are; empty: the run's own.
    """
    folder = home.adapters / run.adapter
    if folder.exists():
        raise Conflict(f"{folder} exists already.", mend="Run the learner again: it will get another name.")
    home.adapters.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Path(tempfile.mkdtemp(prefix=".publishing-", dir=home.adapters))
    try:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(candidate / name, made / name)
        (made / "report.json").write_text(json.dumps(report, indent=2, sort_keys=True), encoding="utf-8")
        lines = [json.dumps({"suggestion_id": name}) + "\n" for name in sorted(set(lineage))]
        (made / "lineage.jsonl").write_text("".join(lines), encoding="utf-8")
        manifest = Manifest(
            name=run.adapter,
            project=run.project,
            task=run.task,
            run_id=run.id,
            parent=run.parent,
            projects=tuple(sorted({*projects} or {run.project})),
            base_sha256=base,
            tokenizer_sha256=tokenizer,
            created_at=datetime.now(UTC),
            files={name: _digest(made / name) for name in ADAPTER_FILES},
        )
        for name in ADAPTER_FILES:
            sync(made / name)
        (made / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        sync(made / MANIFEST)
        sync(made)
        made.rename(folder)
        sync(home.adapters)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _digest(path: Path) -> FileDigest:
    content = path.read_bytes()
    return FileDigest(sha256=sha256(content).hexdigest(), size=len(content))
