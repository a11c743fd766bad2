"""The language server's life: from `initialize` to `exit`, and which method of the session answers what.

An editor waits for the answer to `initialize`, and importing lsprotocol takes most of the time there is for it: the session,
with all that it needs, is loaded when that answer is on its way.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from tacit.lsp import completion_source
from tacit.lsp.extensions import APPLY_BLOCK, CHAT, COUNTERS, DIAGNOSTICS, DID_PARTIALLY_ACCEPT, DID_REJECT, DID_SHOW, RATE
from tacit.lsp.rpc import Server

if TYPE_CHECKING:
    from tacit.lsp.session import Session

PARENT_CHECK_S: Final = 20.0
CODE_ACTION_KINDS: Final = [types.CodeActionKind.QuickFix, "tacit.explain"]
LONG: Final = frozenset(("tacit.fix", "tacit.explain"))
"""Commands that take a while: the editor may want their progress."""


async def serve(source: int, sink: int) -> int:
    """Serve the editor at these descriptors until it leaves. Returns the exit status."""
    return await TacitServer().run(source, sink)


class TacitServer(Server):
    """One editor's language server."""

    def __init__(self) -> None:
        super().__init__("tacit", _version())
        self._params: types.InitializeParams | None = None
        self._watch: asyncio.Task[None] | None = None
        self._begun = False
        """`initialized` has come: a second one would start everything twice."""
        self._status = 1
        features: dict[str, Callable[..., Any]] = {
            types.INITIALIZE: lambda params: self._initialize(params),
            types.INITIALIZED: lambda params: self._initialized(),
            types.SHUTDOWN: lambda params: self._shut_down(),
            types.EXIT: lambda params: self.stop(),
            types.TEXT_DOCUMENT_DID_OPEN: lambda params: self._session.did_open(params),
            types.TEXT_DOCUMENT_DID_CHANGE: lambda params: self._session.did_change(params),
            types.TEXT_DOCUMENT_DID_SAVE: lambda params: self._session.did_save(params),
            types.TEXT_DOCUMENT_DID_CLOSE: lambda params: self._session.did_close(params),
            # Not offered by `initialize`; pygls keeps a copy of each notebook if nobody else takes it.
            types.NOTEBOOK_DOCUMENT_DID_OPEN: lambda params: self._session.notebook_opened(),
            types.NOTEBOOK_DOCUMENT_DID_CHANGE: lambda params: None,
            types.NOTEBOOK_DOCUMENT_DID_CLOSE: lambda params: None,
            types.TEXT_DOCUMENT_INLINE_COMPLETION: lambda params: self._session.inline_completion(params),
            types.WORKSPACE_DID_CHANGE_CONFIGURATION: lambda params: self._session.did_change_configuration(params),
            types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: lambda params: self._session.did_change_folders(params),
            types.TEXT_DOCUMENT_CODE_ACTION: lambda params: self._session.debugging.actions(params),
            types.CODE_ACTION_RESOLVE: lambda action: self._session.debugging.resolve(action),
            types.WORKSPACE_EXECUTE_COMMAND: lambda params: self._execute(params),
            types.WINDOW_WORK_DONE_PROGRESS_CANCEL: lambda params: self._session.debugging.works.cancel(params.token),
            CHAT: lambda params: self._session.chat.ask(params),
            APPLY_BLOCK: lambda params: self._session.debugging.applying.apply(params),
            DID_SHOW: lambda params: self._session.did_show(params),
            DID_PARTIALLY_ACCEPT: lambda params: self._session.did_partially_accept(params),
            DID_REJECT: lambda params: self._session.did_reject(params),
            RATE: lambda params: self._session.rate(params),
            DIAGNOSTICS: lambda params: self._session.diagnostics(params),
            COUNTERS: lambda params: asdict(self._session.counters()),
        }
        options = {
            types.TEXT_DOCUMENT_DID_SAVE: types.SaveOptions(include_text=False),
            types.TEXT_DOCUMENT_INLINE_COMPLETION: types.InlineCompletionOptions(),
            types.TEXT_DOCUMENT_CODE_ACTION: types.CodeActionOptions(code_action_kinds=CODE_ACTION_KINDS, resolve_provider=True),
        }
        commands: dict[str, Callable[..., Any]] = {
            "tacit.accepted": lambda *arguments: self._session.accepted(*arguments),
            "tacit.rate": lambda *arguments: self._session.rate_by_command(*arguments),
            "tacit.reportBad": lambda *arguments: self._session.report_bad(*arguments),
            "tacit.applyBlock": lambda params=None, *_: self._session.apply_by_command(params),
            "tacit.pause": lambda *arguments: self._session.pause(),
            "tacit.resume": lambda *arguments: self._session.resume(),
            "tacit.fix": lambda question=None, *_, token=None: self._session.fix_by_command(question, token),
            "tacit.explain": lambda question=None, *_, token=None: self._session.explain_by_command(question, token),
        }
        for method, handler in features.items():
            self.feature(method, options.get(method))(handler)
        for name, handler in commands.items():
            self.command(name)(handler)

    @cached_property
    def _session(self) -> "Session":
        from tacit.lsp.session import Session
        from tacit.protocol.home import Home

        assert self._params is not None
        return Session(self, Home.from_environment(), self._params)

    async def run(self, source: int, sink: int) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with contextlib.suppress(ValueError, NotImplementedError):
                loop.add_signal_handler(number, self.stop)
        loop.set_exception_handler(_went_wrong)
        await self.serve(source, sink)
        if self._watch is not None:
            self._watch.cancel()
        if self._params is not None:
            await self._session.close()
        return self._status

    def _execute(self, params: types.ExecuteCommandParams) -> Any:
        """pygls' own would not let a command be cancelled, and never answers one that was."""
        command = self.protocol.fm.commands.get(params.command)
        if command is None:
            raise JsonRpcInvalidParams(f"There is no command {params.command!r:.80}.")
        if params.command in LONG:
            return command(*(params.arguments or ()), token=params.work_done_token)
        return command(*(params.arguments or ()))

    def undecodable(self, method: str, params: Any) -> None:
        if method == types.TEXT_DOCUMENT_DID_CHANGE:
            # Whatever it says, the text is not the editor's any more.
            with contextlib.suppress(TypeError, KeyError):
                self._session.missed_change(params["textDocument"]["uri"])

    def _initialize(self, params: types.InitializeParams) -> None:
        """pygls makes the answer."""
        self._params = params
        if completion_source.wanted(params.initialization_options):
            self.feature(types.TEXT_DOCUMENT_COMPLETION)(lambda params: self._session.completion(params))
        # Not at once: the thread that writes the answer needs the interpreter too.
        asyncio.get_running_loop().call_later(0.02, lambda: self._session)

    def _initialized(self) -> None:
        if self._begun:
            return
        self._begun = True
        self._session.initialized()
        if (pid := self.process_id) is not None and pid > 1:
            self._watch = asyncio.create_task(self._watch_parent(pid))

    async def _shut_down(self) -> None:
        await self._session.end()
        self._status = 0

    async def _watch_parent(self, pid: int) -> None:
        """An editor that is killed may leave our pipes open in another process of its own."""
        while True:
            await asyncio.sleep(PARENT_CHECK_S)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                self.stop()
                return
            except PermissionError:
                continue


def _went_wrong(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """anyio tells a call that its socket is ready even if the call was cancelled in the same turn: no news."""
    if not isinstance(context.get("exception"), asyncio.InvalidStateError):
        loop.default_exception_handler(context)


def _version() -> str:
    try:
        return version("tacit")
    except PackageNotFoundError:
        return ""
