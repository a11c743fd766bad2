"""Forgetting, from the first row to the last byte: the store, backups, working folders of runs, adapters that learned from it.

Touches the store, the adapters and the files of TACIT_HOME that hold what was recorded or was made of it. Rows go first, in one
transaction with a note of what is left to do; whoever is killed in between goes on at the next start.
"""

import asyncio
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Response
from sqlmodel import Session, col, select

from tacit.protocol.adapters import ADAPTER_NAME, SHARED, UNDER_WAY, Manifest
from tacit.protocol.errors import BadRequest, TacitError
from tacit.protocol.forgetting import ForgetRequest, Forgotten
from tacit.protocol.home import Home
from tacit.server import history, verifying
from tacit.server.adapters import Adapters
from tacit.server.runs import check_none_runs
from tacit.server.schedule import CANARY_LOG, LEARNER_LOG
from tacit.server.store.erasing import FOREVER, LEFT_TO_DO, Bounds, Erased, erase, erased_ids
from tacit.server.store.store import Store, milliseconds, set_value, value
from tacit.server.store.tables import AdapterRow, RunRow

log = logging.getLogger(__name__)

LEFTOVERS = ".publishing-"
"""Of a learner that was killed while it published."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Where what was erased may have gone."""

    projects: frozenset[str] | None
    """Whose it was; None: anybody's; empty: nobody's, nothing was there."""
    earliest_ms: int | None
    """Nothing that was made before it can know of it. None: nothing was erased now."""
    everything: bool
    """Nothing at all is to be left."""

    def to_json(self) -> str:
        projects = None if self.projects is None else sorted(self.projects)
        return json.dumps({"projects": projects, "earliest_ms": self.earliest_ms, "everything": self.everything})

    @classmethod
    def from_json(cls, text: str) -> "Trace":
        found = json.loads(text)
        projects = None if found["projects"] is None else frozenset(found["projects"])
        return cls(projects, found["earliest_ms"], bool(found["everything"]))

    def may_be_in(self, manifest: Manifest) -> bool:
        """An adapter that has learned from these projects since has held out, drawn with or been judged by what it did not
        train on: its report may quote it."""
        if self.earliest_ms is None or milliseconds(manifest.created_at) < self.earliest_ms:
            return False
        return self.projects is None or not self.projects.isdisjoint(manifest.projects or (manifest.project,))


async def half_done(store: Store, under_way: asyncio.Lock) -> tuple[str, ...]:
    """A sentence, if something is forgotten by halves, and nobody is at it."""
    if under_way.locked() or not await store.get(LEFT_TO_DO):
        return ()
    return ("What was forgotten is not erased from every file yet: say `tacit forget` again, or restart Tacit.",)


def add_routes(app: FastAPI, home: Home, store: Store, adapters: Adapters, one: asyncio.Lock) -> None:
    """one: held while something is forgotten."""

    @app.post("/v1/forget", response_model=Forgotten)
    async def erased(body: ForgetRequest) -> Response:
        """Erase what is recorded within these bounds and what was made of it; answered when no file holds it any more."""
        async with one:
            answer = await forget(home, store, adapters, body)
        return Response(answer.model_dump_json(), media_type="application/json")


async def forget(home: Home, store: Store, adapters: Adapters, asked: ForgetRequest) -> Forgotten:
    """Returns when nothing of it is left but what its answer says. Conflict: a run is learning from it just now."""
    now = milliseconds()
    bounds = Bounds(
        project=asked.project,
        owner=asked.user,
        since_ms=milliseconds(asked.since) if asked.since else 0,
        until_ms=milliseconds(asked.until) if asked.until else FOREVER,
    )
    if bounds.since_ms > bounds.until_ms:
        raise BadRequest("That time is empty: it ends before it begins.")

    def delete(session: Session) -> tuple[Erased, Trace]:
        check_none_runs(session)
        erased = erase(session, bounds, now)
        trace = _trace(bounds, erased)
        if not (unfinished := value(session, LEFT_TO_DO)):
            set_value(session, LEFT_TO_DO, trace.to_json())
        else:
            trace = _both(trace, Trace.from_json(unfinished))
            set_value(session, LEFT_TO_DO, trace.to_json())
        for row in session.exec(select(RunRow).where(col(RunRow.message) != "")):
            if _of_run(trace, row.project):
                row.message = "What it said was erased with what it had learned from."
        return erased, trace

    erased, trace = await store.write(delete)
    withdrawn, removed = await _take_out(home, store, adapters, trace, serving=True)
    quarantined = await _erase_traces(home, store, trace, removed)
    log.info("%d suggestions, %d events and %d adapters were forgotten", erased.suggestions, erased.events, len(removed))
    return Forgotten(
        suggestions=erased.suggestions,
        events=erased.events,
        texts=erased.texts,
        withdrawn=withdrawn,
        removed=removed,
        quarantined=quarantined,
        backups=store.makes_backups,
    )


async def finish(home: Home, store: Store, adapters: Adapters) -> None:
    """What a server that was killed has left to do. At the start, before anything serves. Where files cannot be erased now, for
    want of room for instance, the note stays, and completions are answered all the same."""
    if not (left := await store.get(LEFT_TO_DO)):
        return
    trace = Trace.from_json(left)
    _, names = await _take_out(home, store, adapters, trace, serving=False)
    try:
        await _erase_traces(home, store, trace, names)
    except (TacitError, OSError) as error:
        log.error("what was forgotten is not erased from every file: %s", error)


def _trace(bounds: Bounds, erased: Erased) -> Trace:
    from_the_start = bounds.since_ms == 0
    anybodys = not bounds.project and bounds.owner is None and from_the_start
    projects = None if anybodys else erased.projects | ({bounds.project} - {""})
    # Without a beginning also what retention has deleted since is meant.
    earliest = 0 if from_the_start and (projects is None or projects) else erased.earliest_ms
    return Trace(projects, earliest, anybodys and bounds.until_ms == FOREVER)


def _both(one: Trace, other: Trace) -> Trace:
    earliest = [found for found in (one.earliest_ms, other.earliest_ms) if found is not None]
    projects = None if one.projects is None or other.projects is None else one.projects | other.projects
    return Trace(projects, min(earliest, default=None), one.everything or other.everything)


def _of_run(trace: Trace, project: str) -> bool:
    if trace.projects is None:
        return True
    return bool(trace.projects) and (project == SHARED or project in trace.projects)


async def _take_out(
    home: Home, store: Store, adapters: Adapters, trace: Trace, *, serving: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the adapters that were withdrawn, and removed."""
    ids = await store.read(erased_ids)
    async with adapters.loading:
        # None is begun to be served meanwhile.
        names = await asyncio.to_thread(tainted, home.adapters, trace, ids)
        withdrawn = await _withdraw(store, adapters, names, serving)
        for name in names:
            await adapters.remove(name)
    await store.write(lambda session: _forget_summaries(session, names))
    return tuple(withdrawn), tuple(names)


async def _erase_traces(home: Home, store: Store, trace: Trace, names: Sequence[str]) -> int:
    """names: adapters that were removed. Returns how many damaged databases went. Says when it is done."""
    await asyncio.to_thread(_remove_leftovers, home, trace, names, await store.read(_projects_of_runs))
    quarantined = await asyncio.to_thread(_empty, home.root / "quarantine")
    await store.erase_traces()
    await store.put(LEFT_TO_DO, "")
    return quarantined


def tainted(adapters: Path, trace: Trace, erased: frozenset[str]) -> list[str]:
    """Adapters that have learned from something that was erased, or that cannot say. A lineage holds that of the ancestors."""
    found = []
    for folder in sorted(adapters.iterdir()) if adapters.is_dir() else ():
        if not ADAPTER_NAME.fullmatch(folder.name):
            continue
        try:
            manifest = verifying.read_manifest(folder)
            learned = lineage(folder / "lineage.jsonl")
        except (TacitError, OSError, ValueError, KeyError, TypeError):
            found.append(folder.name)
            continue
        if trace.may_be_in(manifest) or not learned.isdisjoint(erased):
            found.append(folder.name)
    return found


def lineage(path: Path) -> frozenset[str]:
    """Ids of the suggestions. OSError, ValueError, KeyError, TypeError: it cannot be read."""
    with path.open(encoding="utf-8") as file:
        return frozenset(str(json.loads(line)["suggestion_id"]) for line in file if line.strip())


async def _withdraw(store: Store, adapters: Adapters, names: list[str], serving: bool) -> list[str]:
    """Go back until none of them serves or is tried; by the history alone where nothing serves yet."""
    gone: list[str] = []
    while True:
        # What is tried comes first: a rollback withdraws that.
        tried = [found for found in await adapters.canaries() if found.state in UNDER_WAY]
        used = [(found.adapter, found.project, found.task) for found in tried]
        used += [(info.name, info.project, info.task) for info in await adapters.infos() if info.state == "live"]
        if not serving:
            tops = await store.read(history.stacks)
            used += [(stack[-1], project, history.task_of(task)) for (project, task), stack in tops.items()]
        found = next((one for one in used if one[0] in names), None)
        if found is None:
            return gone
        name, project, task = found
        await adapters.rollback(project, task)
        gone.append(name)


def _forget_summaries(session: Session, names: list[str]) -> None:
    for row in session.exec(select(AdapterRow).where(col(AdapterRow.name).in_(names))):
        row.summary = ""


def _projects_of_runs(session: Session) -> dict[str, str]:
    return dict(session.exec(select(RunRow.id, RunRow.project)).all())


def _remove_leftovers(home: Home, trace: Trace, names: Sequence[str], projects: dict[str, str]) -> None:
    """Reports, samples and checkpoints of runs that may have read it; what killed learners left; what is made of adapters."""
    for folder in home.runs.iterdir() if home.runs.is_dir() else ():
        if folder.name not in projects or _of_run(trace, projects[folder.name]):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in home.adapters.glob(f"{LEFTOVERS}*"):
        shutil.rmtree(folder, ignore_errors=True)
    if trace.projects is None or trace.projects:
        # What runs said at their end, and what they quoted where they broke off.
        for name in (LEARNER_LOG, CANARY_LOG):
            (home.logs / name).unlink(missing_ok=True)
    # Of a run whose server was killed while it tried the candidate.
    for path in (home.cache / "lora").glob("candidate-*"):
        path.unlink(missing_ok=True)
    for name in names:
        # The engine removes what it made of those that it has; others it may have had before.
        for path in home.cache.rglob(f"{name}-*"):
            path.unlink(missing_ok=True)
    if trace.everything:
        # It holds no text, but nothing is to be left.
        home.show_policy.unlink(missing_ok=True)


def _empty(folder: Path) -> int:
    """Remove all that is in it; returns how much that was."""
    found = list(folder.iterdir()) if folder.is_dir() else []
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return len(found)
