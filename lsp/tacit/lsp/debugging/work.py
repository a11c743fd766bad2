"""Work that takes a while: its words in the editor's progress list, and its end by the button that is there. Touches the editor.

A progress of our own begins when the editor has agreed to it, which it may never do: nobody waits for that.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from lsprotocol import types

from tacit.lsp.rpc import Server
from tacit.protocol.plain_text import unlinked

Result = TypeVar("Result")
Say = Callable[[str], None]

MOST_AT_ONCE: Final = 4
WORDS: Final = 200


class _Progress:
    def __init__(self, lsp: Server, token: types.ProgressToken, title: str) -> None:
        self._lsp = lsp
        self._token = token
        self._title = title
        self._words = ""
        self._begun = False
        self._ended = False

    def create(self) -> None:
        params = types.WorkDoneProgressCreateParams(token=self._token)
        agreed = self._lsp.protocol.send_request(types.WINDOW_WORK_DONE_PROGRESS_CREATE, params)
        agreed.add_done_callback(lambda done: None if done.cancelled() or done.exception() is not None else self.begin())

    def begin(self) -> None:
        if not self._ended:
            self._begun = True
            self._tell(types.WorkDoneProgressBegin(title=self._title, cancellable=True, message=self._words or None))

    def say(self, words: str) -> None:
        self._words = unlinked(" ".join(words.split()))[:WORDS]
        if self._begun and not self._ended:
            self._tell(types.WorkDoneProgressReport(cancellable=True, message=self._words))

    def end(self) -> None:
        self._ended = True
        if self._begun:
            self._tell(types.WorkDoneProgressEnd())

    def _tell(self, value: object) -> None:
        self._lsp.protocol.notify(types.PROGRESS, types.ProgressParams(token=self._token, value=value))


class Works:
    """What is under way. The button, a cancelled request and the session's end each stop it."""

    def __init__(self, lsp: Server, progress: bool) -> None:
        """progress: the editor shows progress that it did not ask for."""
        self._lsp = lsp
        self._progress = progress
        self._tasks: dict[types.ProgressToken, asyncio.Task[Any]] = {}

    @property
    def full(self) -> bool:
        return len(self._tasks) >= MOST_AT_ONCE

    async def run(
        self, title: str, work: Callable[[Say], Coroutine[Any, Any, Result]], token: types.ProgressToken | None = None
    ) -> Result | None:
        """None: the developer stopped it. token: of the progress that the editor wants; None: ours, if it shows any."""
        # Not every editor's token is one: lsprotocol lets anything through.
        wanted = token if isinstance(token, str | int) and token not in self._tasks else None
        name = uuid.uuid4().hex if wanted is None else wanted
        progress = _Progress(self._lsp, name, title)
        task = asyncio.ensure_future(work(progress.say))
        self._tasks[name] = task
        if wanted is not None:
            progress.begin()
        elif self._progress:
            progress.create()
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return None
        finally:
            del self._tasks[name]
            progress.end()

    def cancel(self, token: types.ProgressToken) -> None:
        """The editor's button."""
        if isinstance(token, str | int) and (task := self._tasks.get(token)) is not None:
            task.cancel()

    def stop(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
