"""Learning runs: who holds the one learning slot, how far it is, how it ended. Touches the store; asks about processes.

Invariant: at most one run is `running`. A run whose process is gone becomes `interrupted` the next time anyone asks, and has
ended when it was heard of last: that may be days before, where the machine was off.
"""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import Session, col, select

from tacit.protocol.adapters import RunInfo, RunRequest, RunUpdate
from tacit.protocol.completion import Task
from tacit.protocol.errors import BadRequest, Conflict, NotFound
from tacit.protocol.events import new_id
from tacit.protocol.home import Home
from tacit.server.processes import process_start
from tacit.server.store.erasing import LEFT_TO_DO
from tacit.server.store.store import Store, milliseconds, moment, set_value, value
from tacit.server.store.tables import RunRow

LISTED = 100
DAY_MS = 24 * 3_600_000
HEARD = "runs/heard"
"""When the run that has the slot last said anything; milliseconds."""


class Runs:
    def __init__(self, home: Home, store: Store) -> None:
        self._home = home
        self._store = store

    async def start(self, request: RunRequest, parent: str) -> RunInfo:
        """Claim the slot. parent: the policy_version that serves the project now. Conflict names the run that has it, or
        says that something is being forgotten."""
        began = process_start(request.pid)
        if not began:
            raise BadRequest(f"There is no process {request.pid}.", mend="Give the pid of the learner.")
        highest = _highest_on_disk(self._home.adapters, adapter_stem(request.project, request.task))

        def claim(session: Session) -> RunInfo:
            if value(session, LEFT_TO_DO):
                # Its parent may be about to go, and its folder would.
                raise Conflict(
                    "What was forgotten is not erased from every file yet.",
                    mend="Wait for it; where that failed, restart Tacit or say `tacit forget` again.",
                )
            if (other := _living(session)) is not None:
                raise Conflict(
                    f"Run {other.id} ({other.trigger}, project {other.project}) is under way in process {other.pid}"
                    f"{f', stage {other.stage}' if other.stage else ''}.",
                    mend="Wait for it, or end that process.",
                )
            row = RunRow(
                id=new_id(),
                project=request.project,
                task=request.task,
                objective=request.objective,
                trigger=request.trigger,
                state="running",
                pid=request.pid,
                pid_started=began,
                adapter=_reserve(session, adapter_stem(request.project, request.task), highest),
                parent=parent,
                started_ms=milliseconds(),
            )
            session.add(row)
            session.flush()
            set_value(session, HEARD, str(row.started_ms))
            return info(row)

        return await self._store.write(claim)

    async def update(self, run_id: str, update: RunUpdate) -> RunInfo:
        """NotFound; Conflict if the run has ended."""

        def change(session: Session) -> RunInfo:
            row = _find(session, run_id)
            if row.state != "running":
                raise Conflict(f"Run {run_id} has ended: {row.state}.", mend="Start another run.")
            row.stage, row.done, row.total = update.stage, update.done, update.total
            row.state, row.message = update.state, update.message
            set_value(session, HEARD, str(milliseconds()))
            if update.state != "running":
                row.finished_ms = milliseconds()
            return info(row)

        return await self._store.write(change)

    async def get(self, run_id: str) -> RunInfo:
        return await self._store.read(lambda session: info(_find(session, run_id)))

    async def list(self) -> list[RunInfo]:
        """Newest first."""
        await self.running()
        return await self._store.read(
            lambda session: [info(row) for row in session.exec(select(RunRow).order_by(col(RunRow.seq).desc()).limit(LISTED))]
        )

    async def running(self) -> RunInfo | None:
        """The run that holds the slot, if its process lives; if not, it is marked interrupted."""
        row = await self._store.read(_running)
        if row is None or _alive(row):
            return info(row) if row else None
        return await self._store.write(lambda session: info(other) if (other := _living(session)) else None)

    async def training_share(self, now: datetime | None = None) -> float:
        """Of the 24 hours before now, in which a run was under way."""
        await self.running()
        end = milliseconds(now or datetime.now(UTC))
        query = select(RunRow.started_ms, RunRow.finished_ms).where(
            col(RunRow.finished_ms).is_(None) | (col(RunRow.finished_ms) > end - DAY_MS)
        )
        spans = await self._store.read(lambda session: list(session.exec(query)))
        return share_of_day(((began, ended or end) for began, ended in spans), end)

    async def last(self) -> RunInfo | None:
        """The newest run that has ended."""
        ended = select(RunRow).where(RunRow.state != "running").order_by(col(RunRow.seq).desc()).limit(1)
        row = await self._store.read(lambda session: session.exec(ended).first())
        return info(row) if row else None


def share_of_day(spans: Iterable[tuple[int, int]], end: int) -> float:
    """Of the 24 hours up to `end`, what these spans take; no two overlap. All in milliseconds."""
    return sum(max(0, min(ended, end) - max(began, end - DAY_MS)) for began, ended in spans) / DAY_MS


def check_none_runs(session: Session) -> None:
    """Conflict: a run is under way, which has read what is recorded."""
    if (row := _living(session)) is not None:
        raise Conflict(
            f"Run {row.id} is learning from what is recorded, in process {row.pid}.", mend="Wait for it, or end that process."
        )


def info(row: RunRow) -> RunInfo:
    return RunInfo.model_validate(
        {
            **row.model_dump(exclude={"seq", "pid_started", "started_ms", "finished_ms"}),
            "started_at": moment(row.started_ms),
            "finished_at": moment(row.finished_ms) if row.finished_ms is not None else None,
        }
    )


def adapter_stem(project: str, task: Task) -> str:
    """What comes before the `@` in the names of a project's adapters."""
    words = re.sub(r"[^a-z0-9]+", "-", project.lower())[:12].strip("-") or "project"
    return f"{words}-{task[0]}"


def _reserve(session: Session, stem: str, highest: int) -> str:
    """The next name, for ever: neither a restored backup nor a removed folder brings an old one back."""
    key = f"adapters/{stem}"
    number = max(int(value(session, key) or 0), highest) + 1
    set_value(session, key, str(number))
    return f"{stem}@{number:06d}"


def _highest_on_disk(folder: Path, stem: str) -> int:
    numbers = [path.name.rpartition("@")[2] for path in folder.glob(f"{stem}@*")]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def _find(session: Session, run_id: str) -> RunRow:
    row = session.exec(select(RunRow).where(RunRow.id == run_id)).first()
    if row is None:
        raise NotFound(f"There is no run {json.dumps(run_id)}.", mend="`tacit status` shows the last one.")
    return row


def _running(session: Session) -> RunRow | None:
    return session.exec(select(RunRow).where(RunRow.state == "running")).first()


def _living(session: Session) -> RunRow | None:
    """The running run; one whose process is gone is marked on the way."""
    row = _running(session)
    if row is None or _alive(row):
        return row
    row.state, row.finished_ms = "interrupted", max(row.started_ms, int(value(session, HEARD) or 0))
    row.message = row.message or "Its process ended without saying why."
    session.flush()
    return None


def _alive(row: RunRow) -> bool:
    return process_start(row.pid) == row.pid_started
