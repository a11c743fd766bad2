"""The one writer: a thread that runs jobs in transactions, many jobs to one commit. Touches the one writing connection.

Invariant: a job's future has a result only after the commit that holds its work is on the disk (synchronous=FULL, in PostgreSQL
synchronous_commit). Whatever waits in the queue while a commit is syncing shares the next one, so the cost of a sync is divided
by the load.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlmodel import Session

from tacit.server.store.opening import translated

T = TypeVar("T")
Job = tuple[Callable[[Session], Any], Future[Any]]

GROUP = 256
"""Jobs per commit, at most."""


@dataclass(frozen=True, slots=True)
class _Alone:
    work: Callable[[Engine], Any]
    future: Future[Any]


class _Nothing:
    """Nothing is queued now."""


class Writer:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[Job | _Alone | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        """Run `work` in a transaction. The future raises what `work` raised, or StorageFull, or StorageCorrupt."""
        future: Future[T] = Future()
        self._jobs.put((work, future))
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
            item: Job | _Alone | _Nothing | None = self._jobs.get()
            group: list[Job] = []
            while isinstance(item, tuple):
                group.append(item)
                item = self._next() if len(group) < GROUP else _Nothing()
            if group:
                self._commit([job for job in group if job[1].set_running_or_notify_cancel()])
            if isinstance(item, _Alone) and item.future.set_running_or_notify_cancel():
                self._run_alone(item)
            if item is None:
                return

    def _next(self) -> Job | _Alone | _Nothing | None:
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

    def _commit(self, group: list[Job]) -> None:
        """Each job in a savepoint, so that one that fails takes nobody along; all of them in one transaction."""
        results: list[tuple[Future[Any], Any]] = []
        failures: list[tuple[Future[Any], BaseException]] = []
        try:
            with Session(self._engine) as session:
                for work, future in group:
                    try:
                        with session.begin_nested():
                            result = work(session)
                    except DBAPIError as error:
                        if not isinstance(error, IntegrityError | DataError):
                            raise
                        failures.append((future, error))
                    except Exception as error:
                        failures.append((future, error))
                    else:
                        # Only now: what `work` left to be flushed may have failed at the savepoint's end.
                        results.append((future, result))
                session.commit()
        except BaseException as broken:
            # The disk or the file: the transaction is gone as a whole, nobody's work was kept.
            known = translated(broken)
            for _, future in group:
                future.set_exception(known)
            return
        for future, result in results:
            future.set_result(result)
        for future, failure in failures:
            future.set_exception(failure)
