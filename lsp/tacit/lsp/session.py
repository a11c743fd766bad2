"""One editor's session once LSP is up: its documents, settings and folders, and which part answers what. Wires the parts.

Loaded after `initialize` has been answered, and itself without pydantic and httpx (200 ms): a thread loads those.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from tacit.lsp import completion_source
from tacit.lsp.asking import Counters
from tacit.lsp.clock import SessionClock
from tacit.lsp.completion import Completion
from tacit.lsp.connection import ServerConnection
from tacit.lsp.consent import Consent
from tacit.lsp.debugging.actions import Client, Question
from tacit.lsp.debugging.applying import Applying
from tacit.lsp.debugging.chat import Chat
from tacit.lsp.debugging.debugging import Debugging
from tacit.lsp.debugging.surroundings import Surroundings
from tacit.lsp.delivery import Delivery
from tacit.lsp.documents import Document, unusable, well_formed
from tacit.lsp.extensions import ApplyBlockParams, Flag, PartiallyAcceptedParams, RateParams, SuggestionParams
from tacit.lsp.feedback import Feedback
from tacit.lsp.gathering.diagnostics import Complaint
from tacit.lsp.gathering.gatherer import Gatherer
from tacit.lsp.journal import Closing, Journal
from tacit.lsp.outbox import Outbox
from tacit.lsp.outcomes import Outcome
from tacit.lsp.recorder import Recorder
from tacit.lsp.rpc import Server
from tacit.lsp.settings import Settings, read
from tacit.lsp.show_policy import ShowPolicy
from tacit.lsp.status import Status
from tacit.lsp.workspace import Folder, Place, Workspace
from tacit.protocol.folders import identified
from tacit.protocol.home import Home
from tacit.protocol.remote import outbox_of

log = logging.getLogger(__name__)

COMPLAINTS: Final[dict[str, Flag]] = {
    "It is wrong": "wrong",
    "It uses what does not exist": "hallucination",
    "It is insecure": "insecure",
    "It is hard to follow": "unclear",
}
LAST_DELIVERY_S: Final = 1.5
"""How long an ending session tries to deliver. What is left is on disk and is delivered by the next one."""


class Session:
    """Its methods are named after the messages that they answer."""

    def __init__(self, lsp: Server, home: Home, params: types.InitializeParams) -> None:
        session_id = uuid.uuid4().hex
        self._lsp = lsp
        self._home = home
        self._clock = SessionClock()
        self._settings = Settings()
        self._documents: dict[str, Document] = {}
        self._workspace = Workspace()
        self._paused = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()
        self._ending: asyncio.Task[None] | None = None
        self._status = Status(lsp.protocol.notify)
        self._server = ServerConnection(home, self._status, complain=self._warn, may_start=lambda: self._settings.start_server)
        self._consent = Consent(lsp.window_show_message_request_async, self._tell, lambda: self._settings)
        self._loop = asyncio.get_running_loop()
        outbox = outbox_of(home, self._server.remote)
        self._outbox = Outbox(outbox, session_id, on_trouble=self._warn_from_thread)
        self._delivery = Delivery(self._outbox, self._server, outbox)
        self._recorder = Recorder(self._outbox, session_id, self._clock, on_new=self._delivery.wake)
        self._feedback = Feedback(self._recorder, self._clock, self._recorded, heard=self._heard)
        self._journal = Journal(self._recorder.record, self._clock, session_id, self._text_recorded)
        self._gatherer = Gatherer(self._documents, self._workspace.place, self._snippet_tokens, lambda: self._completion.budget())
        self._completion = Completion(
            self._documents,
            self._feedback,
            self._server,
            self._status,
            self._clock,
            session_id,
            policy=ShowPolicy(home.show_policy),
            settings=lambda: self._settings,
            refusal=self._refusal,
            may_record=self._recorded,
            gathered=self._gatherer.snippets,
        )
        client = Client.of(params.capabilities)
        self.debugging = Debugging(
            lsp,
            client,
            self._documents,
            self._feedback,
            self._server,
            self._clock,
            session_id,
            settings=lambda: self._settings,
            place=self._workspace.place,
            refusal=self._refusal,
            may_record=self._recorded,
            applying=Applying(
                lsp,
                client,
                self._documents,
                self._feedback,
                self._clock,
                session_id,
                refusal=self._refusal,
                watch=lambda *about: self.debugging.watch(*about),
            ),
            surroundings=Surroundings(
                self._documents, self._workspace, lambda: self._settings.snippet_tokens != 0, self._gatherer.about
            ),
        )
        self.chat = Chat(lsp, self.debugging, self._documents, self._refusal)
        if (editor := params.client_info) is not None:
            self._recorder.editor = well_formed(" ".join(name for name in (editor.name, editor.version) if name))
        workspace = params.capabilities.workspace
        self._can_configure = workspace is not None and workspace.configuration is True
        uris = [folder.uri for folder in params.workspace_folders or ()]
        if not uris and (root := params.root_uri or (params.root_path and f"file://{params.root_path}")):
            uris = [root]
        self._workspace.add(uris)
        self._apply(params.initialization_options)

    def initialized(self) -> None:
        self._delivery.start()
        self._server.seek()
        self._background(self._find_projects(self._workspace.folders))
        if self._can_configure:
            self._background(self._pull_configuration())

    async def end(self) -> None:
        """Settle what is open and put it on disk; once, and to its end even if nobody waits for it any more."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._settle())
        await asyncio.shield(self._ending)

    async def close(self) -> None:
        await self.end()
        await self._server.aclose()
        for task in list(self._tasks):
            task.cancel()

    async def _settle(self) -> None:
        self._completion.interrupt()
        self._gatherer.end()
        self._feedback.end()
        await self.debugging.end()
        await self._journal.end()
        await self._delivery.finish(LAST_DELIVERY_S)
        if not await asyncio.to_thread(self._outbox.close, 5.0):
            log.error("the last feedback could not be written")

    # Settings and folders

    def did_change_configuration(self, params: types.DidChangeConfigurationParams) -> None:
        settings = params.settings
        if settings is None and self._can_configure:
            self._background(self._pull_configuration())
        elif not isinstance(settings, dict) or "tacit" in settings or not _of_others(settings):
            self._apply(settings)

    async def _pull_configuration(self) -> None:
        section = types.ConfigurationItem(section="tacit")
        try:
            answer = await self._lsp.workspace_configuration_async(types.ConfigurationParams(items=[section]))
        except JsonRpcException as error:
            log.info("workspace/configuration: %s", error)
            return
        if answer and isinstance(answer[0], dict):
            self._apply(answer[0])

    def _apply(self, options: object) -> None:
        self._journal.review()
        self._settings, problems = read(options, self._settings)
        if self._clock.scale != self._settings.time_scale:
            self._clock.scale = self._settings.time_scale
        self._journal.review()
        for problem in problems:
            # The same options come more than once: with `initialize`, when asked for, when they change.
            if problem not in self._told:
                self._told.add(problem)
                self._warn(problem)

    def did_change_folders(self, params: types.DidChangeWorkspaceFoldersParams) -> None:
        before = list(self._workspace.folders)
        self._workspace.remove([folder.uri for folder in params.event.removed])
        self._workspace.add([folder.uri for folder in params.event.added])
        self._background(self._find_projects([folder for folder in self._workspace.folders if folder not in before]))

    async def _find_projects(self, folders: Sequence[Folder]) -> None:
        for folder in folders:
            folder.project = await asyncio.to_thread(identified, self._home, folder.root, recorded=self._consent.recorded(folder))
        self._journal.review()

    def _refusal(self, uri: str) -> tuple[Place, str]:
        """Where a document is, and why nothing is suggested in it."""
        place = self._workspace.place(uri)
        if place.refused:
            return place, f"Nothing of {place.path} is sent: {place.refused}."
        if (document := self._documents.get(uri)) is not None and document.refused:
            return replace(place, refused=document.refused), f"Nothing is suggested in {place.path}: {document.refused}."
        if self._paused:
            return place, "Tacit is paused in this editor."
        if self._turned_off(place):
            return place, "Tacit is turned off."
        return place, ""

    def _turned_off(self, place: Place) -> bool:
        return not self._settings.enabled or (place.folder is not None and place.folder.choices().enabled is False)

    def _recorded(self, uri: str) -> bool:
        place = self._workspace.place(uri)
        return not place.refused and place.folder is not None and self._consent.recorded(place.folder)

    def _text_recorded(self, uri: str) -> tuple[str, str] | None:
        """Project and path of a document whose text may be recorded now."""
        place = self._workspace.place(uri)
        if place.folder is None or place.folder.project is None or not self._recorded(uri):
            return None
        if self._paused or self._turned_off(place):
            return None
        return place.folder.project, place.path

    # Documents

    def did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        opened = params.text_document
        text = well_formed(opened.text)
        encoding = self._lsp.server_capabilities.position_encoding or types.PositionEncodingKind.Utf16
        self._completion.changed(opened.uri)
        document = Document(opened.uri, well_formed(opened.language_id), opened.version, text, encoding)
        self._documents[opened.uri] = document
        self._feedback.opened(opened.uri, text)
        self._gatherer.opened(opened.uri)
        self._check_text(document)
        if not document.refused:
            self._journal.opened(opened.uri, text)
        place = self._workspace.place(opened.uri)
        if place.folder is not None and not place.refused and self._consent.open_question(place.folder):
            self._background(self._ask_to_learn(place.folder))

    async def _ask_to_learn(self, folder: Folder) -> None:
        await self._consent.put_question(folder)
        self._journal.review()

    def did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        uri = params.text_document.uri
        document = self._documents.get(uri)
        if document is None or document.refused:
            return
        steps = document.change(params.text_document.version, params.content_changes)
        self._completion.changed(uri, steps)
        if steps:
            self.debugging.changed(uri, steps)
            self._feedback.changed(uri, steps)
            self._gatherer.changed(uri, steps)
            self._journal.changed(uri, steps)
            self._check_text(document)

    def _check_text(self, document: Document) -> None:
        if reason := unusable(document.text):
            document.give_up(reason)
            self._journal.closed(document.uri, "unusable")
            self._feedback.closed(document.uri)

    def notebook_opened(self) -> None:
        self._status.say("hidden", "Tacit suggests nothing in notebooks yet.")

    def missed_change(self, uri: str) -> None:
        """A change could not be read: the text here is not the editor's any more."""
        if uri in self._documents:
            self._forget(uri, "unusable")
            problem = "The editor sent a change that cannot be understood; reopen the file to get suggestions in it."
            self._status.say("failed", problem)
            if problem not in self._told:
                self._told.add(problem)
                self._warn(problem)

    def did_save(self, params: types.DidSaveTextDocumentParams) -> None:
        self._feedback.saved(params.text_document.uri)
        self._gatherer.saved(params.text_document.uri)
        self._journal.saved(params.text_document.uri)

    def did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        self._forget(params.text_document.uri)

    def _forget(self, uri: str, why: Closing = "closed") -> None:
        self._completion.changed(uri)
        if (document := self._documents.pop(uri, None)) is not None:
            self._gatherer.closed(uri, document.text)
        self._journal.closed(uri, why)
        self._feedback.closed(uri)
        self.debugging.closed(uri)

    def diagnostics(self, params: types.PublishDiagnosticsParams) -> None:
        """Other servers' diagnostics, from a plugin that passes them on."""
        if params.uri in self._documents:
            self.debugging.told(params.uri, params.diagnostics)
            self._gatherer.told(params.uri, [complaint(one) for one in params.diagnostics])

    def _snippet_tokens(self) -> int:
        wanted, server = self._settings.snippet_tokens, self._server.server
        return wanted if wanted >= 0 else server.snippet_tokens if server is not None else 0

    # Suggestions

    def inline_completion(self, params: types.InlineCompletionParams) -> Coroutine[Any, Any, types.InlineCompletionList | None]:
        document = self._documents.get(params.text_document.uri)
        if document is None:
            raise JsonRpcInvalidParams("This document is not open.")
        invoked = params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked
        return self._completion.request(document, document.offset_at(params.position), invoked=invoked)

    def completion(self, params: types.CompletionParams) -> Coroutine[Any, Any, types.CompletionList | None]:
        document = self._documents.get(params.text_document.uri)
        if document is None:
            raise JsonRpcInvalidParams("This document is not open.")
        offset = document.offset_at(params.position)
        return completion_source.menu(document, offset, self._completion.request(document, offset, invoked=False))

    def counters(self) -> Counters:
        return self._completion.counters

    def did_show(self, params: SuggestionParams) -> None:
        self._feedback.shown(params.name)

    def did_partially_accept(self, params: PartiallyAcceptedParams) -> None:
        inserted = params.item.insert_text if params.item else None
        if isinstance(inserted, types.StringValue):
            inserted = inserted.value
        if inserted is not None:
            self._feedback.confirmed(params.name, inserted, max(0, params.accepted_length))

    def did_reject(self, params: SuggestionParams) -> None:
        self._feedback.dismissed(params.name)

    def rate(self, params: RateParams) -> str:
        correction = None if params.correction is None else well_formed(params.correction)
        return self._feedback.rate(params.suggestion_id, params.value, params.flag, correction)

    # Commands

    def accepted(self, suggestion_id: object = None, *_: object) -> None:
        if isinstance(suggestion_id, str):
            self._feedback.confirmed(suggestion_id)

    def rate_by_command(self, *arguments: object) -> None:
        """One object as in `tacit/rate`, or suggestion id or null, value, flag, correction in this order."""
        named = arguments[0] if arguments and isinstance(arguments[0], dict) else None
        keys = ("suggestionId", "value", "flag", "correction")
        params = self._lsp.read(named or dict(zip(keys, arguments, strict=False)), RateParams)
        self._tell(types.MessageType.Info, self.rate(params))

    def report_bad(self, suggestion_id: object = None, flag: object = None, *_: object) -> None:
        """Arguments: suggestion id or null (the last one that was shown), and what is wrong with it, or null: then we ask."""
        name = suggestion_id if isinstance(suggestion_id, str) else self._feedback.last_shown()
        if flag is None:
            self._background(self._ask_what_is_wrong(name))
        else:
            params = self._lsp.read({"suggestionId": name, "value": -1, "flag": flag}, RateParams)
            self._tell(types.MessageType.Info, self.rate(params))

    async def _ask_what_is_wrong(self, name: str | None) -> None:
        if name is None:
            self._tell(types.MessageType.Info, "There is no suggestion to rate.")
            return
        actions = [types.MessageActionItem(title=title) for title in COMPLAINTS]
        question = types.ShowMessageRequestParams(types.MessageType.Info, "What is wrong with this suggestion?", actions)
        try:
            answer = await self._lsp.window_show_message_request_async(question)
        except JsonRpcException as error:
            log.info("window/showMessageRequest: %s", error)
            return
        if answer is not None and (flag := COMPLAINTS.get(answer.title)) is not None:
            self._tell(types.MessageType.Info, self.rate(RateParams(-1, name, flag)))

    def fix_by_command(self, question: object, token: types.ProgressToken | None) -> Coroutine[Any, Any, None]:
        return self.debugging.fix(self._lsp.read(question, Question), token)

    def explain_by_command(
        self, question: object, token: types.ProgressToken | None
    ) -> Coroutine[Any, Any, dict[str, Any] | None]:
        return self.debugging.explain(self._lsp.read(question, Question), token)

    def apply_by_command(self, params: object) -> Coroutine[Any, Any, None]:
        return self.debugging.apply(self._lsp.read(params or {}, ApplyBlockParams))

    def pause(self) -> None:
        # What was written before it is recorded.
        self._journal.review()
        self._paused = True
        self._journal.review()
        self._completion.interrupt()
        self._status.say("disabled", "Tacit is paused in this editor.")

    def resume(self) -> None:
        self._paused = False
        self._journal.review()
        self._status.say("ready", "Tacit is on.")

    # What the parts share

    def _heard(self, uri: str, outcome: Outcome) -> None:
        if self.debugging.knows(outcome.suggestion_id):
            self.debugging.heard(uri, outcome)
        else:
            self._completion.heard(uri, outcome)

    def _tell(self, kind: types.MessageType, message: str) -> None:
        self._lsp.window_show_message(types.ShowMessageParams(kind, message))

    def _warn(self, message: str) -> None:
        self._tell(types.MessageType.Warning, message)

    def _warn_from_thread(self, message: str) -> None:
        # The loop may have ended: then there is no editor either.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._warn, message)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)


def complaint(diagnostic: types.Diagnostic) -> Complaint:
    message = diagnostic.message
    return Complaint(diagnostic.range.start.line, well_formed(message), well_formed(diagnostic.source or ""))


def _of_others(settings: dict[str, Any]) -> bool:
    """Some editors send the sections of every extension; none of our own options is an object."""
    return any(isinstance(value, dict) for value in settings.values())
