"""The language server: LSP's life cycle, its documents, and which part answers what. Wires the parts together.

Nothing that takes time is imported before `initialize` has been answered: pydantic and httpx (200 ms) are loaded by a thread.
"""

import asyncio
import contextlib
import logging
import os
import signal
import uuid
from collections.abc import Coroutine
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from tacit.lsp import params as read
from tacit.lsp.clock import SessionClock
from tacit.lsp.completion import ACCEPTED_COMMAND, Completion
from tacit.lsp.connection import ServerConnection
from tacit.lsp.consent import Consent
from tacit.lsp.delivery import Delivery
from tacit.lsp.documents import Document, Encoding, negotiate, well_formed
from tacit.lsp.feedback import Feedback
from tacit.lsp.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, NOT_INITIALIZED, Connection, Json, RpcError
from tacit.lsp.outbox import Outbox
from tacit.lsp.params import BadParams
from tacit.lsp.recorder import Recorder
from tacit.lsp.settings import Settings
from tacit.lsp.settings import read as read_settings
from tacit.lsp.status import Status
from tacit.lsp.workspace import Folder, Place, Workspace
from tacit.protocol.home import Home

log = logging.getLogger(__name__)

COMMANDS: Final = (ACCEPTED_COMMAND, "tacit.rate", "tacit.pause", "tacit.resume")
ERROR: Final = 1
WARNING: Final = 2
INFO: Final = 3
LAST_DELIVERY_S: Final = 1.5
"""How long an ending session tries to deliver. What is left is on disk and is delivered by the next one."""
PARENT_CHECK_S: Final = 20.0
FLAGS: Final = frozenset(("hallucination", "wrong", "insecure", "unclear"))


async def serve(source: int, sink: int) -> int:
    """Serve the editor at these descriptors until it leaves. Returns the exit status."""
    server = LanguageServer(Connection(source, sink), Home.from_environment())
    return await server.run()


class LanguageServer:
    """One editor's session."""

    def __init__(self, connection: Connection, home: Home) -> None:
        self._rpc = connection
        self._session_id = uuid.uuid4().hex
        self._clock = SessionClock()
        self._settings = Settings()
        self._documents: dict[str, Document] = {}
        self._workspace = Workspace()
        self._encoding: Encoding = "utf-16"
        self._initialized = self._shut_down = self._paused = self._ended = False
        self._zero_based_triggers = False
        self._can_configure = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()
        self._parent: int | None = None
        self._status = Status(connection.notify)
        self._server = ServerConnection(
            home,
            self._status,
            complain=lambda message: self._tell(WARNING, message),
            may_start=lambda: self._settings.start_server,
        )
        self._consent = Consent(connection.request, self._tell, lambda: self._settings)
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(home.outbox, self._session_id, on_trouble=self._tell_from_thread)
        self._delivery = Delivery(self._outbox, self._server, home.outbox)
        self._recorder = Recorder(self._outbox, self._session_id, self._clock, on_new=self._delivery.wake)
        self._feedback = Feedback(self._recorder, self._clock, self._recorded)
        self._completion = Completion(
            self._documents,
            self._feedback,
            self._server,
            self._status,
            self._clock,
            self._session_id,
            settings=lambda: self._settings,
            refusal=self._refusal,
            may_record=self._recorded,
        )
        connection.gate = self._gate
        for method, handler in {
            "initialize": self._initialize,
            "shutdown": self._shutdown,
            "textDocument/inlineCompletion": self._inline_completion,
            "workspace/executeCommand": self._execute_command,
            "tacit/counters": self._counters,
        }.items():
            connection.handle(method, handler)
        for method, listener in {
            "initialized": self._on_initialized,
            "exit": lambda params: connection.stop(),
            "textDocument/didOpen": self._did_open,
            "textDocument/didChange": self._did_change,
            "textDocument/didSave": self._did_save,
            "textDocument/didClose": self._did_close,
            "textDocument/didShowCompletion": self._did_show,
            "textDocument/didPartiallyAcceptCompletion": self._did_partially_accept,
            "tacit/didRejectCompletion": self._did_reject,
            "tacit/rate": self._did_rate,
            "workspace/didChangeConfiguration": self._did_change_configuration,
            "workspace/didChangeWorkspaceFolders": self._did_change_folders,
        }.items():
            connection.notified(method, listener)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with contextlib.suppress(ValueError, NotImplementedError):
                loop.add_signal_handler(number, self._rpc.stop)
        await self._rpc.run()
        await self._end()
        await self._server.aclose()
        for task in list(self._tasks):
            task.cancel()
        return 0 if self._shut_down else 1

    # Life cycle

    def _gate(self, method: str, is_request: bool) -> RpcError | None:
        if self._shut_down and method != "exit":
            return RpcError(INVALID_REQUEST, "The server has been shut down.")
        if not self._initialized and method not in {"initialize", "exit"}:
            return RpcError(NOT_INITIALIZED, "The first request must be `initialize`.")
        if self._initialized and method == "initialize":
            return RpcError(INVALID_REQUEST, "`initialize` may be sent only once.")
        return None

    def _initialize(self, params: Json) -> Coroutine[Any, Any, Json]:
        if not isinstance(params, dict):
            raise BadParams("initialize needs params")
        self._initialized = True
        self._encoding = negotiate(read.optional(params, "capabilities", "general", "positionEncodings"))
        self._can_configure = read.optional(params, "capabilities", "workspace", "configuration") is True
        names = (read.optional(params, "clientInfo", "name"), read.optional(params, "clientInfo", "version"))
        self._recorder.editor = well_formed(" ".join(str(name) for name in names if name))
        parent = params.get("processId")
        self._parent = parent if isinstance(parent, int) and not isinstance(parent, bool) and parent > 1 else None
        folders = params.get("workspaceFolders")
        uris = [folder["uri"] for folder in folders or () if isinstance(folder, dict) and isinstance(folder.get("uri"), str)]
        root, root_path = params.get("rootUri"), params.get("rootPath")
        if not uris and isinstance(root, str):
            uris = [root]
        elif not uris and isinstance(root_path, str) and root_path:
            uris = [f"file://{root_path}"]
        self._workspace.add(uris)
        self._apply(params.get("initializationOptions"))
        return self._capabilities()

    async def _capabilities(self) -> Json:
        return {
            "capabilities": {
                "positionEncoding": self._encoding,
                "textDocumentSync": {"openClose": True, "change": 2, "save": {"includeText": False}},
                "inlineCompletionProvider": {},
                "executeCommandProvider": {"commands": list(COMMANDS)},
                "workspace": {"workspaceFolders": {"supported": True, "changeNotifications": True}},
            },
            "serverInfo": {"name": "tacit", "version": _version()},
        }

    def _on_initialized(self, params: Json) -> None:
        self._delivery.start()
        self._server.seek()
        self._background(self._find_projects(self._workspace.folders))
        if self._parent is not None:
            self._background(self._watch_parent(self._parent))
        if self._can_configure:
            self._background(self._pull_configuration())

    async def _shutdown(self, params: Json) -> Json:
        await self._end()
        self._shut_down = True
        return None

    async def _end(self) -> None:
        """Settle what is open and put it on disk; once."""
        if self._ended:
            return
        self._ended = True
        self._completion.interrupt()
        self._feedback.end()
        await self._delivery.finish(LAST_DELIVERY_S)
        if not await asyncio.to_thread(self._outbox.close, 5.0):
            log.error("the last feedback could not be written")

    async def _watch_parent(self, pid: int) -> None:
        """An editor that is killed may leave our pipes open in another process of its own."""
        while True:
            await asyncio.sleep(PARENT_CHECK_S)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                self._rpc.stop()
                return
            except PermissionError:
                continue

    # Settings and folders

    def _did_change_configuration(self, params: Json) -> None:
        settings = read.optional(params, "settings")
        if settings is None and self._can_configure:
            self._background(self._pull_configuration())
        elif not isinstance(settings, dict) or "tacit" in settings or not _of_others(settings):
            self._apply(settings)

    async def _pull_configuration(self) -> None:
        try:
            answer = await self._rpc.request("workspace/configuration", {"items": [{"section": "tacit"}]})
        except RpcError as error:
            log.info("workspace/configuration: %s", error)
            return
        if isinstance(answer, list) and answer and isinstance(answer[0], dict):
            self._apply(answer[0])

    def _apply(self, options: object) -> None:
        self._settings, problems = read_settings(options, self._settings)
        if self._clock.scale != self._settings.time_scale:
            self._clock.scale = self._settings.time_scale
        for problem in problems:
            # The same options come more than once: with `initialize`, when asked for, when they change.
            if problem not in self._told:
                self._told.add(problem)
                self._tell(WARNING, problem)

    def _did_change_folders(self, params: Json) -> None:
        before = list(self._workspace.folders)
        uris = {
            kind: [read.text(folder, "uri") for folder in read.optional(params, "event", kind) or ()]
            for kind in ("added", "removed")
        }
        self._workspace.remove(uris["removed"])
        self._workspace.add(uris["added"])
        self._background(self._find_projects([folder for folder in self._workspace.folders if folder not in before]))

    async def _find_projects(self, folders: list[Folder]) -> None:
        from tacit.protocol.project import project_of

        for folder in folders:
            folder.project = await asyncio.to_thread(project_of, folder.root)

    def _refusal(self, uri: str) -> tuple[Place, str]:
        """Where a document is, and why nothing is suggested in it."""
        place = self._workspace.place(uri)
        if place.refused:
            return place, f"Nothing of {place.path} is sent: {place.refused}."
        if self._paused:
            return place, "Tacit is paused in this editor."
        if not self._settings.enabled or (place.folder is not None and place.folder.choices().enabled is False):
            return place, "Tacit is turned off."
        return place, ""

    def _recorded(self, uri: str) -> bool:
        place = self._workspace.place(uri)
        return not place.refused and place.folder is not None and self._consent.recorded(place.folder)

    # Documents

    def _did_open(self, params: Json) -> None:
        uri = read.text(params, "textDocument", "uri")
        text = well_formed(read.text(params, "textDocument", "text"))
        number = read.whole(params, "textDocument", "version")
        language = well_formed(str(read.optional(params, "textDocument", "languageId") or ""))
        self._completion.changed(uri)
        self._documents[uri] = Document(uri, language, number, text, self._encoding)
        self._feedback.opened(uri, text)
        place = self._workspace.place(uri)
        if place.folder is not None and not place.refused and self._consent.open_question(place.folder):
            self._background(self._consent.put_question(place.folder))

    def _did_change(self, params: Json) -> None:
        uri = read.text(params, "textDocument", "uri")
        document = self._documents.get(uri)
        if document is None:
            return
        number = read.optional(params, "textDocument", "version")
        self._completion.changed(uri)
        before = document.text
        try:
            steps = document.change(
                number if isinstance(number, int) else document.version + 1, read.items(params, "contentChanges")
            )
        except BadParams:
            # Whatever was applied of it, the text is not the editor's any more.
            self._forget(uri)
            self._tell(WARNING, "The editor sent a change that cannot be understood; reopen the file to get suggestions in it.")
            raise
        if document.text != before or steps:
            self._feedback.changed(uri, steps)

    def _did_save(self, params: Json) -> None:
        self._feedback.saved(read.text(params, "textDocument", "uri"))

    def _did_close(self, params: Json) -> None:
        self._forget(read.text(params, "textDocument", "uri"))

    def _forget(self, uri: str) -> None:
        self._completion.changed(uri)
        self._documents.pop(uri, None)
        self._feedback.closed(uri)

    # Suggestions

    def _inline_completion(self, params: Json) -> Coroutine[Any, Any, Json]:
        document = self._documents.get(read.text(params, "textDocument", "uri"))
        position = read.optional(params, "position")
        if document is None:
            raise RpcError(INVALID_PARAMS, "This document is not open.")
        kind = read.optional(params, "context", "triggerKind")
        # 1 is by hand and 2 is automatic; older clients say 0 and 1 for the same.
        self._zero_based_triggers = self._zero_based_triggers or (kind == 0 and kind is not False)
        invoked = kind == (0 if self._zero_based_triggers else 1)
        return self._completion.request(document, document.offset_at(position), invoked=invoked)

    def _did_show(self, params: Json) -> None:
        if name := _suggestion_of(params):
            self._feedback.shown(name)

    def _did_partially_accept(self, params: Json) -> None:
        inserted = read.optional(params, "item", "insertText")
        if isinstance(inserted, dict):
            inserted = inserted.get("value")
        length = read.whole(params, "acceptedLength")
        if (name := _suggestion_of(params)) and isinstance(inserted, str):
            self._feedback.confirmed(name, inserted, max(0, length))

    def _did_reject(self, params: Json) -> None:
        if name := _suggestion_of(params):
            self._feedback.dismissed(name)

    def _did_rate(self, params: Json) -> None:
        self._rate(params)

    def _rate(self, params: Json) -> str:
        value, flag = read.optional(params, "value"), read.optional(params, "flag")
        name, correction = read.optional(params, "suggestionId"), read.optional(params, "correction")
        if value not in (1, -1) or isinstance(value, bool):
            raise BadParams("value must be 1 or -1")
        if flag is not None and flag not in FLAGS:
            raise BadParams(f"flag must be one of {', '.join(sorted(FLAGS))}")
        if not isinstance(name, str | None) or not isinstance(correction, str | None):
            raise BadParams("suggestionId and correction must be strings")
        return self._feedback.rate(name, int(value), flag, None if correction is None else well_formed(correction))

    async def _execute_command(self, params: Json) -> Json:
        command = read.text(params, "command")
        arguments = read.optional(params, "arguments") or []
        if not isinstance(arguments, list):
            raise BadParams("arguments must be a list")
        match command:
            case "tacit.accepted":
                if arguments and isinstance(arguments[0], str):
                    self._feedback.confirmed(arguments[0])
            case "tacit.rate":
                # One object, or [suggestion id or null, value, flag, correction] in this order.
                named = arguments[0] if arguments and isinstance(arguments[0], dict) else None
                keys = ("suggestionId", "value", "flag", "correction")
                self._tell(INFO, self._rate(named if named is not None else dict(zip(keys, arguments, strict=False))))
            case "tacit.pause":
                self._paused = True
                self._completion.interrupt()
                self._status.say("disabled", "Tacit is paused in this editor.")
            case "tacit.resume":
                self._paused = False
                self._status.say("ready", "Tacit is on.")
            case _:
                raise BadParams(f"there is no command {command[:100]}; there are: {', '.join(COMMANDS)}")
        return None

    async def _counters(self, params: Json) -> Json:
        return asdict(self._completion.counters)

    # What the parts share

    def _tell(self, kind: int, message: str) -> None:
        self._rpc.notify("window/showMessage", {"type": kind, "message": message})

    def _tell_from_thread(self, message: str) -> None:
        # The loop may have ended: then there is no editor either.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, WARNING, message)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)


def _suggestion_of(params: Json) -> str:
    """The suggestion's id, which an item carries in its command's arguments."""
    named = read.optional(params, "suggestionId")
    arguments = read.optional(params, "item", "command", "arguments")
    first = arguments[0] if isinstance(arguments, list) and arguments else named
    return first if isinstance(first, str) else ""


def _of_others(settings: dict[str, Any]) -> bool:
    """Some editors send the sections of every extension; none of our own options is an object."""
    return any(isinstance(value, dict) for value in settings.values())


def _version() -> str:
    try:
        return version("tacit")
    except PackageNotFoundError:
        return ""
