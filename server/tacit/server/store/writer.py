"""The one writer: a thread that runs jobs in transactions, many jobs to one commit. Touches the one writing connection, and the
event loop of whoever waits.

Invariant: a job's future has a result only after the commit that holds its work is on the disk (synchronous=FULL, in PostgreSQL
synchronous_commit). Whatever waits in the queue while a commit is syncing shares the next one, so the cost of a sync is divided
by the load.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlmodel import Session

from tacit.server.store.opening import translated

T = TypeVar("T")
Item = TypeVar("Item")

GROUP = 256
"""Jobs per commit, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    work: Callable[[Session, list[Any]], Sequence[Any]]
    """From items to as many results. Jobs of the same work, one after another, are one call."""
    item: Any
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Alone:
    work: Callable[[Engine], Any]
    future: asyncio.Future[Any]


_Done = tuple[asyncio.Future[Any], Any, BaseException | None]
"""Whose it is, the result, and why there is none."""


class _Nothing:
    """Nothing is queued now."""


class Writer:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | _Alone | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    # To be called in an event loop, and the futures are that loop's. One that is cancelled before its turn is not run.

    def submit(self, work: Callable[[Session], T]) -> asyncio.Future[T]:
        """Run `work` in a transaction. The future raises what `work` raised, or StorageFull, or StorageCorrupt."""
        return self.submit_shared(lambda session, _: [work(session)], None)

    def submit_shared(self, work: Callable[[Session, list[Item]], Sequence[T]], item: Item) -> asyncio.Future[T]:
        """The same for work that does much at once for little more than one: it is called with the items of all who wait with
        the same work, and returns a result for each. If it raises, but for a broken disk or file, it is called again with each
        item alone, so that nobody fails for another's; it must bear that."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, item, future))
        return future

    def submit_alone(self, work: Callable[[Engine], T]) -> asyncio.Future[T]:
        """Run `work` when what is queued before it is committed, outside any transaction, with the writing connection free."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Alone(work, future))
        return future

    def close(self) -> None:
        """Finish what is queued, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            item: _Job | _Alone | _Nothing | None = self._jobs.get()
            group: list[_Job] = []
            while isinstance(item, _Job):
                group.append(item)
                item = self._next() if len(group) < GROUP else _Nothing()
            if group:
                _tell(self._committed([job for job in group if not job.future.cancelled()]))
            if isinstance(item, _Alone) and not item.future.cancelled():
                _tell([self._run_alone(item)])
            if item is None:
                return

    def _next(self) -> _Job | _Alone | _Nothing | None:
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            return _Nothing()

    def _run_alone(self, job: _Alone) -> _Done:
        try:
            return job.future, job.work(self._engine), None
        except BaseException as broken:
            return job.future, None, translated(broken)

    def _committed(self, group: list[_Job]) -> list[_Done]:
        """Of jobs, in one transaction. Several calls are made in savepoints, so that one that fails takes nobody along."""
        try:
            with Session(self._engine) as session:
                calls = [list(jobs) for _, jobs in groupby(group, key=lambda job: job.work)]
                done = _alone_called(session, calls[0]) if len(calls) == 1 else None
                if done is None:
                    done = [one for jobs in calls for one in _called(session, jobs)]
                session.commit()
        except BaseException as broken:
            # The disk or the file: the transaction is gone as a whole, nobody's work was kept.
            known = translated(broken)
            return [(job.future, None, known) for job in group]
        return done


def _tell(done: Sequence[_Done]) -> None:
    """Each loop once: to wake it for every future lets it take the interpreter's lock from the writer in between, for
    milliseconds each."""
    for loop, ones in groupby(done, key=lambda one: one[0].get_loop()):
        # A loop that is closed has nobody who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, list(ones))


def _settle(done: Sequence[_Done]) -> None:
    for future, result, failure in done:
        if future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)


def _alone_called(session: Session, jobs: list[_Job]) -> list[_Done] | None:
    """The same as `_called` of jobs that have a transaction to themselves: without the two turns to the database that a savepoint
    costs. None: it failed for one of several, and the transaction is begun anew."""
    try:
        results = jobs[0].work(session, [job.item for job in jobs])
        session.flush()
    except Exception as error:
        if _is_broken(error):
            raise
        session.rollback()
        return None if len(jobs) > 1 else [(jobs[0].future, None, error)]
    return [(job.future, result, None) for job, result in zip(jobs, results, strict=True)]


def _called(session: Session, jobs: list[_Job]) -> list[_Done]:
    """What became of jobs that have the same work."""
    try:
        with session.begin_nested():
            results = jobs[0].work(session, [job.item for job in jobs])
    except Exception as error:
        if _is_broken(error):
            raise
        if len(jobs) > 1:
            return [done for job in jobs for done in _called(session, [job])]
        return [(jobs[0].future, None, error)]
    # Only now: what the work left to be flushed may have failed at the savepoint's end.
    return [(job.future, result, None) for job, result in zip(jobs, results, strict=True)]


def _is_broken(error: Exception) -> bool:
    """The disk, the file or the connection; not what one job asked for."""
    return isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError)
