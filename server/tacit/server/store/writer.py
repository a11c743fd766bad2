"""The one writer: a thread that runs jobs in transactions, many jobs to one commit. Touches the one writing connection.

Invariant: a job's future has a result only after the commit that holds its work is on the disk (synchronous=FULL, in PostgreSQL
synchronous_commit). Whatever waits in the queue while a commit is syncing shares the next one, so the cost of a sync is divided
by the load.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
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
    future: Future[Any]


@dataclass(frozen=True, slots=True)
class _Alone:
    work: Callable[[Engine], Any]
    future: Future[Any]


_Done = tuple[Future[Any], Any, Exception | None]
"""Whose it is, the result, and why there is none."""


class _Nothing:
    """Nothing is queued now."""


class Writer:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | _Alone | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        """Run `work` in a transaction. The future raises what `work` raised, or StorageFull, or StorageCorrupt."""
        return self.submit_shared(lambda session, _: [work(session)], None)

    def submit_shared(self, work: Callable[[Session, list[Item]], Sequence[T]], item: Item) -> Future[T]:
        """The same for work that does much at once for little more than one: it is called with the items of all who wait with
        the same work, and returns a result for each. If it raises, but for a broken disk or file, it is called again with each
        item alone, so that nobody fails for another's; it must bear that."""
        future: Future[T] = Future()
        self._jobs.put(_Job(work, item, future))
        return future

    def submit_alone(self, work: Callable[[Engine], T]) -> Future[T]:
        """Run `work` when what is queued before it is committed, outside any transaction, with the writing connection free."""
        future: Future[T] = Future()
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
                self._commit([job for job in group if job.future.set_running_or_notify_cancel()])
            if isinstance(item, _Alone) and item.future.set_running_or_notify_cancel():
                self._run_alone(item)
            if item is None:
                return

    def _next(self) -> _Job | _Alone | _Nothing | None:
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            return _Nothing()

    def _run_alone(self, job: _Alone) -> None:
        try:
            result = job.work(self._engine)
        except BaseException as broken:
            job.future.set_exception(translated(broken))
        else:
            job.future.set_result(result)

    def _commit(self, group: list[_Job]) -> None:
        """Calls in savepoints, so that one that fails takes nobody along; all of them in one transaction."""
        done: list[_Done] = []
        try:
            with Session(self._engine) as session:
                for _, jobs in groupby(group, key=lambda job: job.work):
                    done += _called(session, list(jobs))
                session.commit()
        except BaseException as broken:
            # The disk or the file: the transaction is gone as a whole, nobody's work was kept.
            known = translated(broken)
            for job in group:
                job.future.set_exception(known)
            return
        for future, result, failure in done:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)


def _called(session: Session, jobs: list[_Job]) -> list[_Done]:
    """What became of jobs that have the same work."""
    try:
        with session.begin_nested():
            results = jobs[0].work(session, [job.item for job in jobs])
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError):
            raise
        if len(jobs) > 1:
            return [done for job in jobs for done in _called(session, [job])]
        return [(jobs[0].future, None, error)]
    # Only now: what the work left to be flushed may have failed at the savepoint's end.
    return [(job.future, result, None) for job, result in zip(jobs, results, strict=True)]
