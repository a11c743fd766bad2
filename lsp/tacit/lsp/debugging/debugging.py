"""Fix and Explain as the session sees them: offered at an error, asked of the server, given to the editor, followed afterwards.

Wires the parts. A fix is an edit of the document that was asked about, or a sentence that says why there is none: never nothing,
and never another file.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from tacit.lsp import outcomes
from tacit.lsp.clock import SessionClock
from tacit.lsp.connection import ServerConnection
from tacit.lsp.debugging.actions import Client, Question, offered, relevant
from tacit.lsp.debugging.answer import Answer, ask, record
from tacit.lsp.debugging.applying import Applying
from tacit.lsp.debugging.edit import Change, change_of
from tacit.lsp.debugging.problems import Asked, LineOf, Problems, Spot, key_of, lines_of, spot_of
from tacit.lsp.debugging.request import masked_spans, window, wired
from tacit.lsp.debugging.reruns import Reruns
from tacit.lsp.debugging.surroundings import Said, Surroundings
from tacit.lsp.debugging.traced import SUBJECT, Traced, is_trace
from tacit.lsp.debugging.work import Say, Works
from tacit.lsp.documents import Document, Step
from tacit.lsp.extensions import ApplyBlockParams
from tacit.lsp.feedback import Feedback
from tacit.lsp.rpc import Server
from tacit.lsp.settings import Settings
from tacit.lsp.workspace import Place
from tacit.protocol.plain_text import unlinked
from tacit.protocol.redaction import mask

if TYPE_CHECKING:
    from tacit.protocol.debugging import DebugKind, DebugRequest, Turn

log = logging.getLogger(__name__)

CHANGED: Final = "The file has changed since it was asked; ask again."
MARGIN_S: Final = 1.0
"""Of the deadline, for the way back."""


class Refusal(Exception):
    """Its words are for the developer."""


class Debugging:
    def __init__(
        self,
        lsp: Server,
        client: Client,
        documents: dict[str, Document],
        feedback: Feedback,
        connection: ServerConnection,
        clock: SessionClock,
        session_id: str,
        *,
        settings: Callable[[], Settings],
        place: Callable[[str], Place],
        refusal: Callable[[str], tuple[Place, str]],
        may_record: Callable[[str], bool],
        applying: Applying,
        surroundings: Surroundings,
    ) -> None:
        """refusal, may_record: as completion has them."""
        self.works = Works(lsp, client.progress)
        self._lsp = lsp
        self._client = client
        self._documents = documents
        self._feedback = feedback
        self._connection = connection
        self._clock = clock
        self._session_id = session_id
        self._settings = settings
        self._place = place
        self._refusal = refusal
        self._may_record = may_record
        self.applying = applying
        self._surroundings = surroundings
        self.traced = Traced(lsp, client, documents, surroundings, refusal)
        self.reruns = Reruns(feedback, clock, session_id, surroundings)
        self._problems = Problems()
        self._mine: set[str] = set()
        """Suggestions of the `debug` task: completion's pace is not theirs."""

    # What the session tells

    def told(self, uri: str, diagnostics: Sequence[types.Diagnostic]) -> None:
        self._problems.told(uri, diagnostics, self._clock.now())

    def changed(self, uri: str, steps: Sequence[Step]) -> None:
        self._problems.changed(uri, steps)

    def closed(self, uri: str) -> None:
        self._problems.closed(uri)

    async def end(self) -> None:
        """The session ends."""
        self.works.stop()
        await self.reruns.end()

    def knows(self, suggestion_id: str) -> bool:
        return suggestion_id in self._mine

    def heard(self, uri: str, outcome: outcomes.Outcome) -> None:
        """What became of a fix. When its text is read again, so is what the tools say, and what its program last said."""
        now = self._clock.now()
        if isinstance(outcome, outcomes.Accepted | outcomes.TypedThrough):
            self._problems.applied(outcome.suggestion_id, now)
            self.reruns.applied(outcome.suggestion_id)
        elif isinstance(outcome, outcomes.Undone):
            self.reruns.undone(outcome.suggestion_id)
        elif isinstance(outcome, outcomes.Settled):
            if outcome.horizon == "save":
                self.reruns.saved(outcome.suggestion_id)
            self.reruns.look(outcome.suggestion_id)
        if (
            isinstance(outcome, outcomes.Settled)
            and (found := self._problems.checked(outcome.suggestion_id, now, self._line_of(uri))) is not None
        ):
            from tacit.protocol.events import DiagnosticChecked

            elapsed, gone, new = found
            event = DiagnosticChecked(
                at=self._clock.at(now),
                session_id=self._session_id,
                suggestion_id=outcome.suggestion_id,
                horizon=outcome.horizon,
                elapsed_ms=elapsed,
                gone=gone,
                new_errors=new,
            )
            self._feedback.note(outcome.suggestion_id, event)

    # What the editor asks

    def actions(self, params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
        uri = params.text_document.uri
        document = self._documents.get(uri)
        if document is None:
            raise JsonRpcInvalidParams("This document is not open.")
        if self._refusal(uri)[1]:
            return []
        question = Question(uri, params.range, document.version)
        question.diagnostics = self.reported(uri, params.range, params.context.diagnostics)
        whole = SUBJECT if not question.diagnostics and is_trace(document) else ""
        return offered(question, params.context.only, self._client, self._lsp.plain, whole)

    async def resolve(self, action: types.CodeAction) -> types.CodeAction:
        """The action with its edit; as it was, and a message, if there is none."""
        found = await self._fix(self._lsp.read(action.data, Question))
        if found is not None:
            document, change, _ = found
            action.edit = change.workspace_edit(document, versions=self._client.versions)
        return action

    async def fix(self, question: Question, token: types.ProgressToken | None = None) -> None:
        """By command: we ask the editor to apply the edit."""
        found = await self._fix(question, token)
        if found is None:
            return
        document, change, suggestion_id = found
        edit = change.workspace_edit(document, versions=self._client.versions)
        try:
            params = types.ApplyWorkspaceEditParams(edit=edit, label="Fix with Tacit")
            answer = await self._lsp.workspace_apply_edit_async(params)
        except JsonRpcException as error:
            log.info("workspace/applyEdit: %s", error)
            self._feedback.not_applied(suggestion_id)
            self._tell(types.MessageType.Warning, "The editor cannot apply the fix: it refused `workspace/applyEdit`.")
            return
        if answer.applied:
            self._feedback.confirmed(suggestion_id)
        else:
            self._feedback.not_applied(suggestion_id)
            self._tell(types.MessageType.Warning, f"The editor did not apply the fix: {answer.failure_reason or CHANGED}")

    async def explain(self, question: Question, token: types.ProgressToken | None = None) -> dict[str, Any] | None:
        """By command: the text as a message, and as the command's answer."""
        try:
            question, document, place = await self._open(question)
            about = self.reported(question.uri, question.range, question.diagnostics)
            spot, at = spot_of(document, about), document.offset_at(question.range.start)
            trace = question.trace or ""
            request, masked = await self.request("explain", document, place, question.range, about, trace=trace)
            before = await self._said(request, place)
            answer = await self.works.run("Tacit explains", lambda say: self.asked(request, say), token)
        except Refusal as refused:
            self._tell(types.MessageType.Warning, str(refused))
            return None
        if answer is None:
            return None
        self.answered(document.uri, request, answer, masked=masked, about=about, spot=spot, at=at)
        self.reruns.watch(answer.suggestion_id, before, trace, lines=_rows(question) if about else None)
        if question.show:
            self._tell(types.MessageType.Info, answer.told.strip() or "The model had nothing to say.")
        blocks = self.applying.answered(answer.suggestion_id, answer.words, document.uri, question.range, about)
        told = {"suggestionId": answer.suggestion_id, "text": answer.told, "policyVersion": answer.policy_version}
        return {**told, "blocks": blocks}

    async def apply(self, params: ApplyBlockParams) -> None:
        """A code block, by command: what became of it as a message."""
        told = await self.applying.apply(params)
        kind = types.MessageType.Info if told["applied"] else types.MessageType.Warning
        self._tell(kind, told["message"])

    # What the chat needs too

    async def asked(self, request: "DebugRequest", say: Say, on_text: Callable[[str], None] = lambda text: None) -> Answer:
        """Refusal: why there is no answer."""
        from tacit.protocol.errors import TacitError

        try:
            return await ask(self._connection, request, self._settings().debug_deadline_ms / 1000, say, on_text)
        except TacitError as error:
            raise Refusal(str(error)) from error

    def answered(
        self,
        uri: str,
        request: "DebugRequest",
        answer: Answer,
        *,
        masked: str = "",
        about: Sequence[types.Diagnostic] = (),
        spot: Spot | None = None,
        at: int = 0,
        conversation: str = "",
    ) -> None:
        """Text was shown: record it, so that it can be rated. masked, at: the document and the place as they were when it was
        asked. spot: of the first diagnostic then."""
        suggested = None
        if request.record and self._may_record(uri):
            now = self._clock.at(self._clock.now())
            suggested = record(request, answer, at=now, full_text=masked, hole=(at, at), conversation=conversation)
        self._mine.add(answer.suggestion_id)
        self._feedback.answered(uri, answer.suggestion_id, suggested, chars=len(answer.words))
        self._again(request.kind, uri, about, spot, answer.suggestion_id)

    async def request(
        self,
        kind: "DebugKind",
        document: Document | None,
        place: Place | None,
        where: types.Range | None,
        diagnostics: Sequence[types.Diagnostic],
        *,
        trace: str = "",
        turns: "tuple[Turn, ...]" = (),
    ) -> "tuple[DebugRequest, str]":
        """The request, and the document's whole text, masked."""
        from tacit.protocol.debugging import DebugRequest, Span
        from tacit.protocol.events import new_id

        if self.works.full:
            raise Refusal("Tacit is at work on several questions already; wait for one of them, or cancel it.")
        deadline = self._settings().debug_deadline_ms
        told: dict[str, Any] = {
            "kind": kind,
            "request_id": new_id(),
            "session_id": self._session_id,
            "trace": trace,
            "turns": turns,
            "deadline_ms": max(1000, deadline - int(1000 * MARGIN_S)),
        }
        masked = ""
        if document is not None and place is not None:
            text = document.text
            at = document.offset_at(where.start) if where is not None else 0
            about = wired(document, diagnostics, self._place)
            end = document.offset_at(where.end) if where is not None else at
            version = document.version
            told_in = trace or (turns[-1].text if turns else "")
            # Beside the loop: somebody types.
            masking, gathering = asyncio.to_thread(mask, text), self._surroundings.of(document, place, at, about, told_in)
            masked, snippets = await asyncio.gather(masking, gathering)
            start, stop = window(text, at)
            spans = await asyncio.to_thread(masked_spans, text, masked)
            folder = place.folder
            told |= {
                "project": folder.project if folder is not None else None,
                "workspace": str(folder.root)[:4096] if folder is not None else "",
                "language": document.language[:64],
                "path": place.path[-4096:],
                "text": masked[start:stop],
                "text_start": start,
                "text_line": document.position_at(start).line if document.version == version else text.count("\n", 0, start),
                "whole": (start, stop) == (0, len(text)),
                "masked": spans,
                "selection": Span(start=min(at, end), end=max(at, end)) if where is not None and at != end else None,
                "diagnostics": about,
                "snippets": snippets,
                "run_tests": kind == "fix" and self._settings().debug_run_tests,
                "record": self._may_record(document.uri) and folder is not None and folder.project is not None,
            }
        elif trace or turns:
            told["snippets"] = await self._surroundings.of_trace(trace or turns[-1].text)
        try:
            return DebugRequest(**told), masked
        except ValueError:
            raise Refusal("There is nothing to ask about here: choose a diagnostic, or select the code in question.") from None

    def reported(self, uri: str, where: types.Range, given: Sequence[types.Diagnostic] | None) -> list[types.Diagnostic]:
        """What is reported there: as the editor says it now, else as a plugin passed it on."""
        return relevant(given or self._problems.known(uri), where)

    def watch(self, suggestion_id: str, uri: str, about: types.Diagnostic, span: tuple[int, int], document: Document) -> None:
        """Whether it is gone once these lines have been changed."""
        self._problems.watch(suggestion_id, uri, about, span, lines_of(document))

    # A fix

    async def _fix(self, question: Question, token: types.ProgressToken | None = None) -> tuple[Document, Change, str] | None:
        """The document, its change and the suggestion's id. None: there is none, and the developer was told why."""
        began = time.perf_counter()
        try:
            question, document, place = await self._open(question)
            version = document.version
            about = self.reported(question.uri, question.range, question.diagnostics)
            spot = spot_of(document, about)
            trace = question.trace or ""
            request, masked = await self.request("fix", document, place, question.range, about, trace=trace)
            before = await self._said(request, place)
            answer = await self.works.run("Tacit fixes", lambda say: self.asked(request, say), token)
            if answer is None:
                return None
            answer.began = began
            self._mine.add(answer.suggestion_id)
            self._again("fix", document.uri, about, spot, answer.suggestion_id)
            if self._documents.get(document.uri) is not document or document.version != version:
                raise Refusal(CHANGED)
            # Once more: a folder may have been closed, a link turned round meanwhile.
            where, refusal = self._refusal(document.uri)
            if refusal or where.path != place.path:
                raise Refusal(refusal or CHANGED)
        except Refusal as refused:
            self._tell(types.MessageType.Warning, str(refused))
            return None
        found = self._change(document, request, answer)
        self._keep(document, question, request, answer, found, masked)
        if isinstance(found, str):
            self._tell(types.MessageType.Info, found)
            return None
        if about:
            span = (found.left, found.right)
            self._problems.watch(answer.suggestion_id, document.uri, about[0], span, lines_of(document))
        self.reruns.watch(answer.suggestion_id, before, trace, lines=_rows(question) if about else None)
        self._tell(types.MessageType.Info, _proposed(answer))
        return document, found, answer.suggestion_id

    async def _said(self, request: "DebugRequest", place: Place) -> Said | None:
        """What its program said last, where what becomes of the answer is recorded."""
        return await self._surroundings.said(place) if request.record else None

    def _change(self, document: Document, request: "DebugRequest", answer: Answer) -> Change | str:
        if answer.proposal is not None:
            return change_of(document, request.path, answer.proposal.edits, request.masked)
        if answer.withheld is not None:
            return f"No fix is shown. {answer.withheld.reason}"
        return "The model found nothing to fix here."

    def _keep(
        self, document: Document, question: Question, request: "DebugRequest", answer: Answer, found: Change | str, masked: str
    ) -> None:
        """Record it, and follow the place from here on."""
        change = found if isinstance(found, Change) else None
        if change is not None:
            left, right = change.left, change.right
        else:
            left = document.offset_at(types.Position(question.range.start.line, 0))
            right = document.offset_at(types.Position(question.range.end.line, 2**31 - 1))
        suggested = None
        if request.record and self._may_record(document.uri):
            now = self._clock.at(self._clock.now())
            suggested = record(request, answer, at=now, full_text=masked, change=change, hole=(left, right))
        if change is not None:
            self._feedback.proposed(document.uri, answer.suggestion_id, change.text, left, right, suggested)
        elif suggested is not None:
            self._feedback.withheld(document.uri, suggested, document.text, left, right)

    async def _open(self, question: Question) -> tuple[Question, Document, Place]:
        """The question, of a stack trace that about the code which it leads to. Refusal: nothing may be asked about it."""
        # What a tool reports in a text of traces is about that text.
        if question.trace is not None or not self.reported(question.uri, question.range, question.diagnostics):
            found = await self.traced.question(question)
            if isinstance(found, str):
                raise Refusal(found)
            question = found
        document = self._documents.get(question.uri)
        if document is None:
            raise Refusal("This document is not open.")
        place, refusal = self._refusal(question.uri)
        if refusal:
            raise Refusal(refusal)
        if question.version is not None and question.version != document.version:
            raise Refusal(CHANGED)
        return question, document, place

    def _again(
        self,
        kind: Literal["fix", "explain", "chat"],
        uri: str,
        about: Sequence[types.Diagnostic],
        spot: Spot | None,
        suggestion_id: str,
    ) -> None:
        if kind == "chat" or not about:
            return
        now = self._clock.now()
        document = self._documents.get(uri)
        span = spot.now(document.text) if spot is not None and document is not None else None
        asked = Asked(kind, uri, key_of(about[0]), suggestion_id, now, span)
        if (before := self._problems.asked(asked, self._line_of(uri))) is not None:
            from tacit.protocol.events import AskedAgain

            name, after = before
            event = AskedAgain(at=self._clock.at(now), session_id=self._session_id, suggestion_id=name, after_ms=after)
            self._feedback.note(name, event)

    def _line_of(self, uri: str) -> LineOf | None:
        document = self._documents.get(uri)
        return None if document is None else lines_of(document)

    def _tell(self, kind: types.MessageType, message: str) -> None:
        """Whatever is told here may hold words of a model, a tool, the server or the editor."""
        self._lsp.window_show_message(types.ShowMessageParams(kind, unlinked(message)))


def _rows(question: Question) -> range:
    return range(question.range.start.line, question.range.end.line + 1)


def _proposed(answer: Answer) -> str:
    """What the developer is told of a fix."""
    proposal = answer.proposal
    assert proposal is not None
    unchecked = [check.note for check in proposal.checks if check.result == "unchecked"]
    words = [f"Fix: {' '.join(proposal.reason.split())} (confidence {proposal.confidence:.0%})."]
    words += [check.note for check in proposal.checks if check.name == "tests" and check.result == "passed"]
    if unchecked:
        words.append("Not checked: " + " ".join(unchecked))
    return " ".join(words)
