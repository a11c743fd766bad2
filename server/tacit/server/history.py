"""The history of adapters as rows: which exist, what served when. Reads and writes within the session it is given."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import get_args

from sqlmodel import Session, col, select

from tacit.protocol.adapters import MANIFEST, AdapterInfo, AdapterState, Manifest
from tacit.protocol.completion import Task
from tacit.protocol.errors import Refused
from tacit.server.store.store import milliseconds, moment
from tacit.server.store.tables import AdapterRow, AliasChangeRow

Key = tuple[str, str]
"""(project, task)"""

SUMMARY_CHARS = 200


def stacks(session: Session) -> dict[Key, list[str]]:
    """For each key: what serves (last) and what served before it."""
    found: dict[Key, list[str]] = {}
    for change in session.exec(select(AliasChangeRow).order_by(col(AliasChangeRow.seq))):
        stack = found.setdefault((change.project, change.task), [])
        if change.action == "promote":
            stack.append(change.adapter)
        elif stack and stack[-1] == change.adapter:
            stack.pop()
    return {key: stack for key, stack in found.items() if stack}


def height(stack: Sequence[str], name: str | None) -> int:
    """How much of the history lies at or below `name`; 0: it is not in it."""
    return next((at for at in range(len(stack), 0, -1) if stack[at - 1] == name), 0)


def versions(session: Session, key: Key) -> list[str]:
    """A key's adapters that are on disk, newest first."""
    query = (
        select(AdapterRow.name)
        .where(AdapterRow.project == key[0], AdapterRow.task == key[1], col(AdapterRow.deleted_ms).is_(None))
        .order_by(col(AdapterRow.created_ms).desc(), col(AdapterRow.name).desc())
    )
    return list(session.exec(query))


def mark_deleted(session: Session, name: str) -> None:
    row = session.get(AdapterRow, name)
    if row is not None:
        row.deleted_ms = milliseconds()


def manifest_digest(folder: Path) -> str:
    return sha256((folder / MANIFEST).read_bytes()).hexdigest()


def row_of(manifest: Manifest, report: dict[str, object], manifest_sha256: str) -> AdapterRow:
    return AdapterRow(
        name=manifest.name,
        manifest_sha256=manifest_sha256,
        project=manifest.project,
        task=manifest.task,
        run_id=manifest.run_id,
        parent=manifest.parent,
        base_sha256=manifest.base_sha256,
        created_ms=milliseconds(manifest.created_at),
        summary=str(report.get("summary", ""))[:SUMMARY_CHARS],
    )


def register(session: Session, manifest: Manifest, report: dict[str, object], folder: Path) -> None:
    """Refused: the name was given to other bytes before. Caches key by name, so a name means one thing for ever."""
    row = row_of(manifest, report, manifest_digest(folder))
    known = session.get(AdapterRow, manifest.name)
    if known is None:
        session.add(row)
    elif known.manifest_sha256 != row.manifest_sha256:
        raise Refused(f"There was another adapter called `{manifest.name}`; names are never used again.", mend="Learn anew.")
    else:
        known.deleted_ms = None
    session.flush()


def record(session: Session, key: Key, action: str, names: Iterable[str]) -> None:
    """Add to the history, one by one: it is read in the order of its rows."""
    for name in names:
        session.add(AliasChangeRow(project=key[0], task=key[1], action=action, adapter=name, at_ms=milliseconds()))
        session.flush()


def info_of(row: AdapterRow, state: AdapterState) -> AdapterInfo:
    return AdapterInfo(
        name=row.name,
        project=row.project,
        task=task_of(row.task),
        state=state,
        created_at=moment(row.created_ms),
        run_id=row.run_id,
        parent=row.parent,
        base_sha256=row.base_sha256,
        summary=row.summary,
    )


def task_of(name: str) -> Task:
    """As the store has it."""
    return next(task for task in get_args(Task) if task == name)
