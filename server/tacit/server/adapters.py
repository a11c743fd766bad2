"""Which adapter serves whom: promotion, rollback, what is loaded at start, what is removed. Touches the store, the engine, the
adapters' folders.

Who serves is a map in memory that follows the history in the store. Invariants: an adapter enters the map only after it was
verified, loaded and probed; the map changes only after the history did; a request reads it once (`using`), and what a request
uses is not dropped before it ends.
"""

import asyncio
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import get_args

from sqlmodel import Session, col, select

from tacit.protocol.adapters import (
    MANIFEST,
    AdapterDetail,
    AdapterInfo,
    Manifest,
    Probe,
    ProbeRequest,
    ProbeResponse,
)
from tacit.protocol.completion import BASE_POLICY, Task
from tacit.protocol.errors import Conflict, EngineUnavailable, NotFound, Refused, TacitError
from tacit.protocol.home import Home
from tacit.server import verifying
from tacit.server.engine.interface import Engine
from tacit.server.settings import Settings
from tacit.server.store.store import Store, milliseconds, moment
from tacit.server.store.tables import AdapterRow, AliasChangeRow

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(project, task)"""

SUMMARY_CHARS = 200


class Adapters:
    def __init__(self, home: Home, settings: Settings, store: Store) -> None:
        self._home = home
        self._settings = settings
        self._store = store
        self._engine: Engine | None = None
        self._base_sha256 = ""
        self._serving: dict[Key, str] = {}
        self._in_use: Counter[str] = Counter()
        self._unwanted: set[str] = set()
        """Loaded, and to be dropped when the last request that uses them has ended."""
        self._loading = asyncio.Lock()
        """Held through a promotion: one new adapter at a time."""
        self._moving = asyncio.Lock()
        """Held while an alias moves."""
        self._dropping: set[asyncio.Task[None]] = set()
        self.notices: dict[Key, str] = {}
        """Projects that are not served by what was promoted last, and why."""

    # What serves.

    def policy(self, project: str | None, task: Task) -> str:
        return self._serving.get((project or "", task), BASE_POLICY)

    def policies(self) -> dict[Key, str]:
        return dict(self._serving)

    @contextmanager
    def using(self, project: str | None, task: Task) -> Iterator[str]:
        """The policy_version for one request, which stays usable until the request ends."""
        policy = self.policy(project, task)
        self._in_use[policy] += 1
        try:
            yield policy
        finally:
            self._in_use[policy] -= 1
            if not self._in_use[policy]:
                del self._in_use[policy]
                self._drop_unwanted()

    # The engine comes and goes.

    async def attach(self, engine: Engine, base_sha256: str) -> None:
        """Load into an engine what the history says serves, and what a rollback would go back to.

        An adapter that fails leaves its project with the one before it, or the base, and a notice; the history stays as it is.
        """
        self._engine, self._base_sha256 = engine, base_sha256
        self._serving.clear()
        self.notices.clear()
        for key, stack in (await self._stacks()).items():
            await self._load_first_good(engine, key, stack)

    async def _load_first_good(self, engine: Engine, key: Key, stack: Sequence[str]) -> None:
        good: list[str] = []
        failures: list[str] = []
        for name in reversed(stack):
            try:
                await self._verified(name)
                await engine.load(name, self._home.adapters / name)
            except TacitError as error:
                failures.append(str(error))
                log.error("the adapter %s cannot serve project %s: %s", name, key[0], error)
                continue
            good.append(name)
            if len(good) == 2:
                break
        if good:
            self._serving[key] = good[0]
        if failures and (not good or good[0] != stack[-1]):
            self.notices[key] = f"Project {key[0]} ({key[1]}) is served by {good[0] if good else BASE_POLICY}: {failures[0]}"

    async def detach(self) -> None:
        """No engine: nothing can be promoted, and nobody is served by an adapter."""
        self._engine = None
        self._serving.clear()

    def _attached(self) -> Engine:
        if self._engine is None:
            raise EngineUnavailable("The engine is not ready.", mend="Wait until `tacit status` says that it is.")
        return self._engine

    # Promotion and rollback.

    async def promote(self, name: str) -> AdapterInfo:
        """Verify, load beside the old one, probe, move the alias. Whatever fails, the old one keeps serving."""
        async with self._loading:
            engine = self._attached()
            manifest = await self._verified(name)
            key = (manifest.project, manifest.task)
            report = await asyncio.to_thread(verifying.read_report, self._home.adapters / name)
            if self._serving.get(key) != name:
                was_loaded = name in engine.loaded()
                try:
                    # Before anything is loaded: a name that was another adapter's is refused here.
                    await self._store.write(lambda session: self._register(session, manifest, report))
                    await engine.load(name, self._home.adapters / name)
                    self._unwanted.discard(name)
                    await verifying.check_in_engine(engine, name, verifying.recorded_probes(report))
                    async with self._moving:
                        await self._record(key, "promote", name)
                        self._serving[key] = name
                        self.notices.pop(key, None)
                except BaseException:
                    if not was_loaded:
                        with suppress(TacitError):
                            await engine.drop(name)
                    raise
                log.info("project %s (%s) is served by %s", *key, name)
                await self._clean_up(key)
        return await self._info(name)

    async def rollback(self, project: str, task: Task) -> str:
        """Serve what served before. Conflict: it is the base already. Returns the policy_version that serves now."""
        key = (project, task)
        async with self._moving:
            stack = (await self._stacks()).get(key, [])
            if not stack:
                raise Conflict(f"Project {project} ({task}) is served by the base: there is nothing to go back from.")
            # What serves is the top of the history, or below it where the top could not be loaded.
            top = len(stack) if self._engine is None else _height(stack, self._serving.get(key))
            left = await self._usable(stack[: max(0, top - 1)])
            await self._record(key, "rollback", *reversed(stack[left:]))
            if left == 0:
                self._serving.pop(key, None)
            elif self._engine is not None:
                self._serving[key] = stack[left - 1]
            self.notices.pop(key, None)
        target = stack[left - 1] if left else BASE_POLICY
        log.info("project %s (%s) was rolled back to %s", project, task, target)
        return target

    async def _usable(self, stack: Sequence[str]) -> int:
        """How much of this history is left if those on top go that the engine neither has nor takes."""
        engine = self._engine
        if engine is None:
            return len(stack)
        for left in range(len(stack), 0, -1):
            name = stack[left - 1]
            try:
                if name not in engine.loaded():
                    await self._verified(name)
                    await engine.load(name, self._home.adapters / name)
                self._unwanted.discard(name)
                return left
            except (Refused, NotFound) as error:
                log.error("rollback passes over %s: %s", name, error)
        return 0

    async def probe_run(self, run_id: str, request: ProbeRequest) -> ProbeResponse:
        """Greedy continuations by the run's candidate, loaded for this only, and by the base. run_id: of a run that exists."""
        name = f"candidate-{run_id}"
        async with self._loading:
            engine = self._attached()
            await engine.load(name, self._home.runs / run_id / "adapter")
            try:
                candidate = await _probe_all(engine, request, name)
                base = await _probe_all(engine, request, None)
            finally:
                await engine.drop(name)
        return ProbeResponse(candidate=candidate, base=base)

    # What there is.

    async def infos(self) -> list[AdapterInfo]:
        """Newest first."""
        rows, served = await self._store.read(
            lambda session: (
                session.exec(
                    select(AdapterRow)
                    .where(col(AdapterRow.deleted_ms).is_(None))
                    .order_by(col(AdapterRow.created_ms).desc(), col(AdapterRow.name).desc())
                ).all(),
                set(session.exec(select(AliasChangeRow.adapter))),
            )
        )
        live = set(self._serving.values())
        return [_as_info(row, row.name in live, row.name in served) for row in rows]

    async def detail(self, name: str) -> AdapterDetail:
        """NotFound, Refused (its files cannot be read)."""
        folder = verifying.folder_of(self._home.adapters, name)
        manifest = await asyncio.to_thread(verifying.read_manifest, folder)
        report = await asyncio.to_thread(verifying.read_report, folder)
        samples = await asyncio.to_thread(verifying.count_lines, folder / "lineage.jsonl")
        known = {info.name: info for info in await self.infos()}
        info = known.get(name) or _as_info(_row(manifest, report, ""), live=False, served=False)
        return AdapterDetail(info=info, manifest=manifest, report=report, samples=samples)

    async def _info(self, name: str) -> AdapterInfo:
        return next(info for info in await self.infos() if info.name == name)

    # Steps.

    async def _verified(self, name: str) -> Manifest:
        return await asyncio.to_thread(verifying.verify, self._home.adapters, name, self._base_sha256)

    def _register(self, session: Session, manifest: Manifest, report: dict[str, object]) -> None:
        """Refused: the name was given to other bytes before. Caches key by name, so a name means one thing for ever."""
        row = _row(manifest, report, _manifest_digest(self._home.adapters / manifest.name))
        known = session.get(AdapterRow, manifest.name)
        if known is None:
            session.add(row)
        elif known.manifest_sha256 != row.manifest_sha256:
            raise Refused(f"There was another adapter called `{manifest.name}`; names are never used again.", mend="Learn anew.")
        else:
            known.deleted_ms = None

    async def _record(self, key: Key, action: str, *names: str) -> None:
        def add(session: Session) -> None:
            for name in names:
                row = AliasChangeRow(project=key[0], task=key[1], action=action, adapter=name, at_ms=milliseconds())
                session.add(row)
                # One by one: the history is read in the order of its rows.
                session.flush()

        await self._store.write(add)

    async def _stacks(self) -> dict[Key, list[str]]:
        """For each key: what serves (last) and what served before it."""
        return await self._store.read(_stacks)

    async def _clean_up(self, key: Key) -> None:
        """Keep the live one and the one before it loaded, and `keep_adapters` on disk."""
        stack = (await self._stacks()).get(key, [])
        wanted = set(stack[-2:])
        engine = self._attached()
        rows = await self._store.read(lambda session: _versions(session, key))
        self._unwanted |= {name for name in rows if name in engine.loaded() and name not in wanted}
        self._drop_unwanted()
        for name in [name for name in rows if name not in wanted][max(0, self._settings.keep_adapters - len(wanted)) :]:
            if self._in_use[name]:
                continue
            await asyncio.to_thread(shutil.rmtree, self._home.adapters / name, ignore_errors=True)
            await self._store.write(lambda session, gone=name: _mark_deleted(session, gone))  # type: ignore[misc]
            log.info("the adapter %s was removed; the newest %d are kept", name, self._settings.keep_adapters)

    def _drop_unwanted(self) -> None:
        for name in [name for name in self._unwanted if not self._in_use[name]]:
            self._unwanted.discard(name)
            if self._engine is not None:
                task = asyncio.create_task(self._engine.drop(name))
                self._dropping.add(task)
                task.add_done_callback(self._dropping.discard)


def _height(stack: Sequence[str], name: str | None) -> int:
    """How much of the history lies at or below `name`; 0: it is not in it."""
    return next((at for at in range(len(stack), 0, -1) if stack[at - 1] == name), 0)


async def _probe_all(engine: Engine, request: ProbeRequest, adapter: str | None) -> tuple[Probe, ...]:
    return tuple([await verifying.probe(engine, prompt, request.max_tokens, adapter) for prompt in request.prompts])


def _stacks(session: Session) -> dict[Key, list[str]]:
    stacks: dict[Key, list[str]] = {}
    for change in session.exec(select(AliasChangeRow).order_by(col(AliasChangeRow.seq))):
        stack = stacks.setdefault((change.project, change.task), [])
        if change.action == "promote":
            stack.append(change.adapter)
        elif stack and stack[-1] == change.adapter:
            stack.pop()
    return {key: stack for key, stack in stacks.items() if stack}


def _versions(session: Session, key: Key) -> list[str]:
    """A key's adapters that are on disk, newest first."""
    query = (
        select(AdapterRow.name)
        .where(AdapterRow.project == key[0], AdapterRow.task == key[1], col(AdapterRow.deleted_ms).is_(None))
        .order_by(col(AdapterRow.created_ms).desc(), col(AdapterRow.name).desc())
    )
    return list(session.exec(query))


def _mark_deleted(session: Session, name: str) -> None:
    row = session.get(AdapterRow, name)
    if row is not None:
        row.deleted_ms = milliseconds()


def _manifest_digest(folder: Path) -> str:
    return sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _row(manifest: Manifest, report: dict[str, object], manifest_sha256: str) -> AdapterRow:
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


def _as_info(row: AdapterRow, live: bool, served: bool) -> AdapterInfo:
    return AdapterInfo(
        name=row.name,
        project=row.project,
        task=_task(row.task),
        state="live" if live else "retired" if served else "published",
        created_at=moment(row.created_ms),
        run_id=row.run_id,
        parent=row.parent,
        base_sha256=row.base_sha256,
        summary=row.summary,
    )


def _task(name: str) -> Task:
    return next(task for task in get_args(Task) if task == name)
