"""Which adapter serves whom: promotion, canary, rollback, what is loaded at start, what is removed. Touches the store, the
engine, the adapters' folders.

Who serves is a map in memory that follows the history in the store. Invariants: an adapter enters the map only after it was
verified, loaded and probed; the map changes only after the history did; a request reads it once (`using`), and what a request
uses is not dropped before it ends.
"""

import asyncio
import logging
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime

from sqlmodel import Session

from tacit.protocol.adapters import (
    SHARED,
    UNDER_WAY,
    AdapterDetail,
    AdapterInfo,
    CanaryEnd,
    CanaryInfo,
    CanaryJudgement,
    Manifest,
    ProbeRequest,
    ProbeResponse,
)
from tacit.protocol.completion import Task
from tacit.protocol.errors import Conflict, EngineUnavailable, NotFound, Refused, TacitError
from tacit.protocol.home import Home
from tacit.server import canary, history, inventory, routing, sharing, verifying
from tacit.server.engine.interface import Engine
from tacit.server.history import Key
from tacit.server.routing import Routes
from tacit.server.settings import Settings
from tacit.server.store.store import Store

log = logging.getLogger(__name__)


class Adapters:
    def __init__(self, home: Home, settings: Settings, store: Store) -> None:
        self._home = home
        self._settings = settings
        self._store = store
        self._engine: Engine | None = None
        self._base_sha256 = ""
        # A team's server has projects of many people.
        self._routes = Routes(sharing=settings.share_between_projects and not settings.listen)
        self._failures: Counter[str] = Counter()
        """Of a canary, in a row."""
        self._in_use: Counter[str] = Counter()
        self._unwanted: set[str] = set()
        """Loaded, and to be dropped when the last request that uses them has ended."""
        self.loading = asyncio.Lock()
        """Held through a promotion: one new adapter at a time."""
        self._moving = asyncio.Lock()
        """Held while an alias moves."""
        self._dropping: set[asyncio.Task[None]] = set()
        self.notices: dict[Key, str] = {}
        """Projects that are not served by what was promoted last, and why."""

    # What serves.

    def policy(self, project: str | None, task: Task) -> str:
        """The policy_version that serves: the project's own, else the shared one, else the base."""
        return self._routes.policy(project, task)

    def routes(self) -> Routes:
        """As they are now."""
        return self._routes.copy()

    def routed(self, project: str | None, task: Task, session_id: str) -> str:
        """As `Routes.routed`."""
        return self._routes.routed(project, task, session_id)

    @contextmanager
    def using(self, project: str | None, task: Task, session_id: str = "") -> Iterator[str]:
        """The policy_version for one request, which stays usable until the request ends. Without a session: what serves."""
        policy = self.routed(project, task, session_id) if session_id else self.policy(project, task)
        with self._held(policy):
            yield policy

    @contextmanager
    def _held(self, policy: str) -> Iterator[None]:
        self._in_use[policy] += 1
        try:
            yield
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
        self._routes.clear()
        self.notices.clear()
        stacks, self._routes.apart = await self._store.read(lambda session: (history.stacks(session), sharing.apart(session)))
        # The shared ones first: they are what a project is left with whose own adapter fails.
        for key in sorted(stacks, key=lambda key: key[0] != SHARED):
            await self._load_first_good(engine, key, stacks[key])
        for found in await self._store.read(canary.all_kept):
            if found.state in UNDER_WAY:
                await self._load_canary(engine, found)

    async def _load_canary(self, engine: Engine, found: CanaryInfo) -> None:
        """What is wrong with the adapter itself ends the canary; after any other failure the next `attach` tries again."""
        key = (found.project, found.task)
        try:
            await self._verified(found.adapter)
            await engine.load(found.adapter, self._home.adapters / found.adapter)
        except (Refused, NotFound) as error:
            await self._end_canary(found, "rolled_back", f"It could not be loaded: {error}")
            return
        except TacitError as error:
            log.warning("project %s (%s): the canary %s is not loaded: %s", *key, found.adapter, error)
            return
        async with self._moving:
            # It may have been withdrawn while it was loaded.
            now = await self._store.read(lambda session: canary.under_way(session, key))
            if now is not None and now.adapter == found.adapter:
                self._routes.canaries[key] = now

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
            self._routes.serving[key] = good[0]
        if failures and (not good or good[0] != stack[-1]):
            self.notices[key] = f"Project {key[0]} ({key[1]}) is served by {self._routes.policy(*key)}: {failures[0]}"

    async def detach(self) -> None:
        """No engine: nothing can be promoted, and nobody is served by an adapter."""
        self._engine = None
        self._routes.clear()

    def _attached(self) -> Engine:
        if self._engine is None:
            raise EngineUnavailable("The engine is not ready.", mend="Wait until `tacit status` says that it is.")
        return self._engine

    # Promotion and rollback.

    async def promote(self, name: str, reason: str = "") -> AdapterInfo:
        """Verify, load beside the old one, probe, move the alias. Whatever fails, the old one keeps serving.

        A canary of that project has ended then: promoted if it is this one, else replaced. reason: why a canary is to serve all;
        Conflict if it is none any more.
        """
        async with self.loading:
            manifest = await self._verified(name)
            key = (manifest.project, manifest.task)
            if self._routes.serving.get(key) != name:
                async with self._brought_in(manifest), self._moving:
                    # Again: while it was loaded, a project may have been set apart.
                    sharing.check(manifest, self._routes.apart)
                    again = self._routes.begun_again({key: name})

                    def move(session: Session) -> None:
                        history.record(session, key, "promote", [name])
                        canary.keep(session, *again)
                        running = canary.under_way(session, key)
                        if reason and (running is None or running.adapter != name):
                            raise Conflict(f"`{name}` is not being tried any more.")
                        if running is not None:
                            canary.keep(session, canary.after_promotion(running, name, reason))

                    await self._store.write(move)
                    self._routes.serving[key] = name
                    self._routes.canaries.pop(key, None)
                    self._routes.restart(again)
                    self.notices.pop(key, None)
                log.info("project %s (%s) is served by %s", *key, name)
                await self._clean_up(key)
        return next(info for info in await self.infos() if info.name == name)

    async def try_out(self, name: str) -> CanaryInfo:
        """Let it be a shadow, then answer `canary_share` of its project's sessions. Verified, loaded, probed as for a promotion.

        Conflict: it serves already. Another one that is tried is replaced.
        """
        async with self.loading:
            manifest = await self._verified(name)
            key = (manifest.project, manifest.task)
            self._routes.check_not_serving(key, name)
            places = canary.places_of_a_shadow(self._settings, manifest.task)
            async with self._brought_in(manifest), self._moving:
                # Again: while it was loaded, a rollback may have changed what serves, a project may have been set apart.
                self._routes.check_not_serving(key, name)
                sharing.check(manifest, self._routes.apart)
                found = CanaryInfo(
                    project=manifest.project,
                    task=manifest.task,
                    adapter=name,
                    live=self.policy(manifest.project, manifest.task),
                    share=self._settings.canary_share,
                    state="shadow" if places else "running",
                    started_at=datetime.now(UTC),
                    wanted_places=places,
                )

                def begin(session: Session) -> None:
                    if (other := canary.under_way(session, key)) is not None and other.adapter != name:
                        canary.keep(session, canary.after_promotion(other, name))
                    canary.keep(session, found)

                await self._store.write(begin)
                self._routes.canaries[key] = found
                self._failures.clear()
            what = f"is drawn with at {places} places" if places else f"answers {100 * found.share:.0f} % of its sessions"
            log.info("project %s (%s): %s %s", *key, name, what)
            await self._clean_up(key)
        return found

    @asynccontextmanager
    async def _brought_in(self, manifest: Manifest) -> AsyncIterator[None]:
        """Registered, loaded and probed; if what is done inside fails, it is out of the engine again."""
        engine, name = self._attached(), manifest.name
        folder = self._home.adapters / name
        report = await asyncio.to_thread(verifying.read_report, folder)
        was_loaded = name in engine.loaded()
        try:
            # Before anything is loaded: a name that was another adapter's is refused here.
            await self._store.write(lambda session: history.register(session, manifest, report, folder))
            await engine.load(name, folder)
            self._unwanted.discard(name)
            await verifying.check_in_engine(engine, name, verifying.recorded_probes(report))
            yield
        except BaseException:
            if not was_loaded and name not in self._routes.serving.values():
                with suppress(TacitError):
                    await engine.drop(name)
            raise

    # The canary.

    async def canaries(self) -> list[CanaryInfo]:
        """All there have been, newest first."""
        return await self._store.read(canary.all_kept)

    def tried_now(self) -> tuple[CanaryInfo, ...]:
        return tuple(self._routes.canaries.values())

    async def judge(self, judgement: CanaryJudgement) -> CanaryInfo:
        """Act on what feedback says of a canary. Conflict: that one does not run any more."""
        key = (judgement.project, judgement.task)

        def note(session: Session) -> CanaryInfo:
            found = canary.judged(canary.under_way(session, key), judgement)
            canary.keep(session, found)
            return found

        # Held, or what is begun meanwhile would be overwritten in memory by what was judged.
        async with self._moving:
            found = await self._store.write(note)
            if key in self._routes.canaries:
                self._routes.canaries[key] = found
        if judgement.verdict == "promote":
            await self.promote(found.adapter, judgement.message)
        elif judgement.verdict == "rollback":
            await self._end_canary(found, "rolled_back", judgement.message)
        else:
            return found
        return next(c for c in await self.canaries() if c.adapter == found.adapter)

    @contextmanager
    def shadowing(self, project: str, task: Task, adapter: str) -> Iterator[str]:
        """Within, the shadow and what it is drawn beside stay usable. Yields the latter's version. Conflict: it is none."""
        found = self._routes.tried(adapter)
        if found is None or found.state != "shadow" or (found.project, found.task) != (project, task):
            raise Conflict(f"`{adapter}` is no shadow (any more).", mend="`tacit adapters status` shows what is tried.")
        with self._held(found.live), self._held(adapter):
            yield found.live

    async def answered(self, policy: str, failure: TacitError | None) -> None:
        """What became of a request to a ready engine. A canary on which it fails again and again is rolled back."""
        if (found := self._routes.tried(policy)) is None:
            return
        if failure is None:
            self._failures.pop(policy, None)
            return
        self._failures[policy] += 1
        if self._failures[policy] >= canary.MOST_FAILURES or isinstance(failure, NotFound):
            await self._end_canary(found, "rolled_back", f"The engine failed on it: {failure}")

    async def _end_canary(self, found: CanaryInfo, state: CanaryEnd, reason: str) -> None:
        async with self._moving:
            await self._end_held(found, state, reason)

    async def _end_held(self, found: CanaryInfo, state: CanaryEnd, reason: str) -> None:
        """`_moving` is held."""
        key = (found.project, found.task)

        def end(session: Session) -> bool:
            now = canary.under_way(session, key)
            if now is None or now.adapter != found.adapter:
                return False
            canary.keep(session, canary.ended(now, state, reason))
            return True

        # Out of the way first: were the disk full, a bad canary would go on.
        self._routes.canaries.pop(key, None)
        if not await self._store.write(end):
            return
        if self._engine is not None and found.adapter in self._engine.loaded():
            self._unwanted.add(found.adapter)
            self._drop_unwanted()
        log.info("project %s (%s): the canary %s has ended, %s: %s", *key, found.adapter, state, reason)

    async def rollback(self, project: str, task: Task) -> str:
        """Withdraw the canary if there is one; else serve what served before. Returns the policy_version that serves now.

        Conflict: it is the base already.
        """
        key = (project, task)
        async with self._moving:
            stack = (await self._store.read(history.stacks)).get(key, [])
            # The store's: one that runs need not be loaded.
            if (found := await self._store.read(lambda session: canary.under_way(session, key))) is not None:
                await self._end_held(found, "withdrawn", "Withdrawn by hand.")
                return await self._would_serve(project, task)
            if not stack:
                raise routing.nothing_to_go_back_from(project, task, await self._would_serve(project, task))
            # What serves is the top of the history, or below it where the top could not be loaded.
            top = len(stack) if self._engine is None else history.height(stack, self._routes.serving.get(key))
            left = await self._usable(stack[: max(0, top - 1)])
            again = self._routes.begun_again({key: stack[left - 1] if left else None})

            def go_back(session: Session) -> None:
                history.record(session, key, "rollback", reversed(stack[left:]))
                canary.keep(session, *again)

            await self._store.write(go_back)
            if left == 0:
                self._routes.serving.pop(key, None)
            elif self._engine is not None:
                self._routes.serving[key] = stack[left - 1]
            self._routes.restart(again)
            self.notices.pop(key, None)
        target = await self._would_serve(project, task)
        log.info("project %s (%s) was rolled back to %s", project, task, target)
        return target

    async def set_apart(self, project: str, apart: bool) -> None:
        """Whether the shared adapters leave a project alone, on the disk and from now on. `sharing.share` does the rest."""
        self._attached()
        async with self._moving:
            await self._store.write(lambda session: sharing.set_apart(session, project, apart))
            again = self._routes.set_apart(await self._store.read(sharing.apart))
            await self._store.write(lambda session: canary.keep(session, *again))

    async def _would_serve(self, project: str, task: Task) -> str:
        """What serves; without an engine, what will by the history."""
        if self._engine is not None:
            return self.policy(project, task)
        stacks, apart = await self._store.read(lambda session: (history.stacks(session), sharing.apart(session)))
        return routing.from_history(stacks, apart, self._routes.sharing).policy(project, task)

    async def _usable(self, stack: Sequence[str]) -> int:
        """How much of this history is left if those on top go that the engine neither has nor takes."""
        if (engine := self._engine) is None:
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
        async with self.loading:
            engine = self._attached()
            await engine.load(name, self._home.runs / run_id / "adapter")
            try:
                candidate = await verifying.probe_all(engine, request, name)
                base = await verifying.probe_all(engine, request, None)
            finally:
                await engine.drop(name)
        return ProbeResponse(candidate=candidate, base=base)

    async def infos(self) -> list[AdapterInfo]:
        """Newest first."""
        return await inventory.infos(self._store, self._routes)

    async def detail(self, name: str) -> AdapterDetail:
        """NotFound, Refused (its files cannot be read)."""
        return await inventory.detail(self._store, self._routes, self._home.adapters, name)

    async def _verified(self, name: str) -> Manifest:
        manifest = await asyncio.to_thread(verifying.verify, self._home.adapters, name, self._base_sha256)
        sharing.check(manifest, self._routes.apart)
        return manifest

    async def remove(self, name: str) -> None:
        """Its folder, and what the engine made of it, when the last request that uses it has ended. It serves nobody."""
        while self._in_use[name]:  # noqa: ASYNC110 (rare, and nobody waits for it)
            await asyncio.sleep(0.05)
        if self._engine is not None:
            await self._engine.drop(name)
        await asyncio.to_thread(shutil.rmtree, self._home.adapters / name, ignore_errors=True)
        await self._store.write(lambda session: history.mark_deleted(session, name))
        log.info("the adapter %s was removed", name)

    async def _clean_up(self, key: Key) -> None:
        """Keep the live one, the one before it and the canary loaded, and `keep_adapters` on disk."""
        stack = (await self._store.read(history.stacks)).get(key, [])
        wanted = set(stack[-2:]) | {found.adapter for found in self.tried_now() if (found.project, found.task) == key}
        engine = self._attached()
        rows = await self._store.read(lambda session: history.versions(session, key))
        self._unwanted |= {name for name in rows if name in engine.loaded() and name not in wanted}
        self._drop_unwanted()
        for name in [name for name in rows if name not in wanted][max(0, self._settings.keep_adapters - len(wanted)) :]:
            if not self._in_use[name]:
                await self.remove(name)

    def _drop_unwanted(self) -> None:
        for name in [name for name in self._unwanted if not self._in_use[name]]:
            self._unwanted.discard(name)
            if self._engine is not None:
                task = asyncio.create_task(self._engine.drop(name))
                self._dropping.add(task)
                task.add_done_callback(self._dropping.discard)
