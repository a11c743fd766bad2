"""`tacit/chat`: a conversation that knows the file, the error and the trace that it is about. Streams; remembers its turns.

The text comes piece by piece as `$/progress` under the request's partial-result token, and whole in the answer. It is text:
nothing in it is run, opened or applied here.
"""

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from tacit.lsp.debugging.actions import Question
from tacit.lsp.debugging.debugging import Debugging, Refusal
from tacit.lsp.debugging.problems import spot_of
from tacit.lsp.debugging.traced import is_trace
from tacit.lsp.documents import Document, well_formed
from tacit.lsp.extensions import ChatParams
from tacit.lsp.rpc import Server
from tacit.lsp.workspace import Place
from tacit.protocol.plain_text import unlinked
from tacit.protocol.redaction import redact

if TYPE_CHECKING:
    from tacit.protocol.debugging import Turn

MOST_CONVERSATIONS: Final = 20
MOST_TURNS: Final = 40
MOST_TURN: Final = 100_000
MOST_TRACE: Final = 200_000
REQUEST_FAILED: Final = -32803
"""LSP's code for what was right and did not work."""
EXPLAIN: Final = "Explain this."


@dataclass(slots=True)
class _Conversation:
    uri: str = ""
    range: types.Range | None = None
    diagnostics: list[types.Diagnostic] = field(default_factory=list)
    trace: str = ""
    turns: "list[Turn]" = field(default_factory=list)


class Chat:
    def __init__(
        self, lsp: Server, debugging: Debugging, documents: dict[str, Document], refusal: Callable[[str], tuple[Place, str]]
    ) -> None:
        self._lsp = lsp
        self._debugging = debugging
        self._documents = documents
        self._refusal = refusal
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()

    async def ask(self, params: ChatParams) -> dict[str, Any]:
        """The whole answer, with the ids of the suggestion and of the conversation."""
        from tacit.protocol.debugging import Turn

        message = redact(well_formed(params.message or "").strip())[:MOST_TURN]
        name = params.conversation_id or uuid.uuid4().hex
        talk = self._conversations.get(name) or _Conversation()
        self._tell_of(talk, params)
        if (trace := self._trace(talk, params)) is not None:
            # As long as somebody's whole build: beside the loop.
            talk.trace = (await asyncio.to_thread(redact, well_formed(trace)))[:MOST_TRACE]
            await self._debugging.reruns.given(talk.trace)
            if not talk.uri and isinstance(found := await self._debugging.traced.about(talk.trace, opening=False), Question):
                # Its code can then be applied there.
                talk.uri, talk.range = found.uri, found.range
        turns = [*talk.turns[-MOST_TURNS:], Turn(role="user", text=message or EXPLAIN)]
        try:
            document, place = self._document(talk)
            # The first question about an error is for an explanation; with words of their own, or later, it is a chat.
            explain = not message and not talk.turns
            spot = spot_of(document, talk.diagnostics) if document is not None else None
            at = document.offset_at(talk.range.start) if document is not None and talk.range is not None else 0
            request, masked = await self._debugging.request(
                "explain" if explain else "chat",
                document,
                place,
                talk.range,
                talk.diagnostics,
                trace=talk.trace,
                turns=() if explain else tuple(turns),
            )
            token = params.partial_result_token

            def on_text(piece: str) -> None:
                if token is not None:
                    self._lsp.protocol.notify(types.PROGRESS, types.ProgressParams(token=token, value={"text": piece}))

            answer = await self._debugging.works.run(
                "Tacit answers", lambda say: self._debugging.asked(request, say, on_text), params.work_done_token
            )
        except Refusal as refused:
            raise JsonRpcException(unlinked(str(refused)), REQUEST_FAILED) from None
        if answer is None:
            raise JsonRpcException("Stopped.", REQUEST_FAILED)
        if answer.words.strip():
            talk.turns = [*turns, Turn(role="assistant", text=redact(answer.words)[:MOST_TURN])]
        self._conversations[name] = talk
        self._conversations.move_to_end(name)
        while len(self._conversations) > MOST_CONVERSATIONS:
            self._conversations.popitem(last=False)
        about = talk.diagnostics
        self._debugging.answered(talk.uri, request, answer, masked=masked, about=about, spot=spot, at=at, conversation=name[:64])
        self._debugging.reruns.watch(answer.suggestion_id, None, talk.trace)
        return {
            "conversationId": name,
            "suggestionId": answer.suggestion_id,
            "text": answer.told,
            "blocks": self._debugging.applying.answered(
                answer.suggestion_id, answer.words, talk.uri, talk.range, talk.diagnostics
            ),
            "policyVersion": answer.policy_version,
        }

    def _tell_of(self, talk: _Conversation, params: ChatParams) -> None:
        """What it is about now; what is not said again stays."""
        if params.text_document is not None:
            if params.text_document.uri != talk.uri:
                talk.range, talk.diagnostics = None, []
            talk.uri = params.text_document.uri
        if params.range is not None:
            talk.range = params.range
            talk.diagnostics = self._debugging.reported(talk.uri, params.range, params.diagnostics)
        elif params.diagnostics:
            talk.range = params.diagnostics[0].range
            talk.diagnostics = self._debugging.reported(talk.uri, talk.range, params.diagnostics)

    def _trace(self, talk: _Conversation, params: ChatParams) -> str | None:
        """The trace that is told; a document that is one is no file that the conversation is about, but for what a tool reports
        in it."""
        document = self._documents.get(talk.uri) if params.text_document is not None and not talk.diagnostics else None
        if params.stack_trace is not None or document is None or not is_trace(document) or self._refusal(talk.uri)[1]:
            return params.stack_trace
        talk.uri, talk.range, talk.diagnostics = "", None, []
        return document.text

    def _document(self, talk: _Conversation) -> tuple[Document | None, Place | None]:
        """Refusal: the file that it is about may not be sent."""
        if not talk.uri:
            return None, None
        document = self._documents.get(talk.uri)
        if document is None:
            if not talk.turns:
                raise JsonRpcInvalidParams("This document is not open.")
            return None, None
        place, refusal = self._refusal(talk.uri)
        if refusal:
            raise Refusal(refusal)
        return document, place
