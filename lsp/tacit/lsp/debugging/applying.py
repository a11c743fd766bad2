"""`tacit/applyBlock`: a code block of an answer becomes an edit of an open document, when the developer asks for it.

What holds for a fix holds here: one document that is open and may be seen, as it is now, no masked span touched; else a sentence.
What becomes of the edit is told of the answer that it is from. Touches the editor.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from tacit.lsp.clock import SessionClock
from tacit.lsp.debugging.actions import Client
from tacit.lsp.debugging.blocks import Block, blocks_of, placed
from tacit.lsp.debugging.edit import Change, change_of
from tacit.lsp.debugging.request import masked_spans
from tacit.lsp.documents import Document
from tacit.lsp.extensions import ApplyBlockParams
from tacit.lsp.feedback import Feedback
from tacit.lsp.matching import unified
from tacit.lsp.rpc import Server
from tacit.lsp.workspace import Place
from tacit.protocol.plain_text import unlinked
from tacit.protocol.redaction import mask, redact

if TYPE_CHECKING:
    from tacit.protocol.debugging import ProposedEdit

MOST_ANSWERS: Final = 200
"""Whose blocks can still be applied."""
LONGEST: Final = 1_000_000
"""Characters of a document; a longer one is nobody's to compare line by line."""
GONE: Final = "This answer is not known any more; ask again."
CHANGED: Final = "The file has changed meanwhile; apply it again."


@dataclass(frozen=True, slots=True)
class _Answer:
    uri: str
    """Of the document that was asked about; empty: none."""
    range: types.Range | None
    """What was selected then."""
    blocks: tuple[Block, ...]
    diagnostics: tuple[types.Diagnostic, ...]


class Applying:
    def __init__(
        self,
        lsp: Server,
        client: Client,
        documents: dict[str, Document],
        feedback: Feedback,
        clock: SessionClock,
        session_id: str,
        *,
        refusal: Callable[[str], tuple[Place, str]],
        watch: Callable[[str, str, types.Diagnostic, tuple[int, int], Document], None],
    ) -> None:
        """refusal: as completion has it. watch: is told of a suggestion, its document, what it is about, and its lines."""
        self._lsp = lsp
        self._client = client
        self._documents = documents
        self._feedback = feedback
        self._clock = clock
        self._session_id = session_id
        self._refusal = refusal
        self._watch = watch
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    def answered(
        self, suggestion_id: str, text: str, uri: str, where: types.Range | None, diagnostics: Sequence[types.Diagnostic]
    ) -> list[dict[str, Any]]:
        """Its blocks, for whoever shows the answer: where they stand in it and what they say they are."""
        blocks = tuple(blocks_of(text))
        self._answers[suggestion_id] = _Answer(uri, where, blocks, tuple(diagnostics))
        while len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)
        return [{"firstLine": one.first, "lastLine": one.last, "language": one.tag} for one in blocks]

    async def apply(self, params: ApplyBlockParams) -> dict[str, Any]:
        """Whether it was applied, and a sentence for the developer. `edit` for an editor that only takes edits as answers."""
        found = await self._change(params)
        if isinstance(found, str):
            return {"applied": False, "message": unlinked(found)}
        document, place, change, name, block = found
        self._propose(document, place, change, name, block)
        edit = change.workspace_edit(document, versions=self._client.versions)
        where = f"line {document.position_at(change.left).line + 1} of {place.path}"
        if not self._client.applies:
            return {"applied": False, "message": unlinked(f"The code belongs at {where}."), "edit": self._lsp.plain(edit)}
        try:
            answer = await self._lsp.workspace_apply_edit_async(
                types.ApplyWorkspaceEditParams(edit=edit, label="Apply Tacit's code")
            )
        except JsonRpcException as error:
            self._feedback.not_applied(name)
            return {"applied": False, "message": unlinked(f"The editor cannot apply it: {error}")}
        if not answer.applied:
            self._feedback.not_applied(name)
            return {"applied": False, "message": unlinked(f"The editor did not apply it: {answer.failure_reason or CHANGED}")}
        self._feedback.confirmed(name)
        return {"applied": True, "message": unlinked(f"Applied at {where}.")}

    async def _change(self, params: ApplyBlockParams) -> tuple[Document, Place, Change, str, int] | str:
        """The document, the change, the answer's suggestion and the block's number; or why there is none."""
        name = params.suggestion_id or next(reversed(self._answers), "")
        answer = self._answers.get(name)
        if answer is None:
            return GONE if params.suggestion_id else "There is no answer yet."
        if not 0 <= params.block < len(answer.blocks):
            return "The answer has no code block." if not answer.blocks else f"The answer has {len(answer.blocks)} code blocks."
        uri = params.text_document.uri if params.text_document is not None else answer.uri
        if not uri:
            return "The answer is about no file: apply it from the file that it belongs into."
        document = self._documents.get(uri)
        if document is None:
            return "The file that the answer is about is not open."
        place, refusal = self._refusal(uri)
        if refusal:
            return refusal
        text, version = document.text, document.version
        if len(text) > LONGEST:
            return "The file is too long."
        where = params.range or (answer.range if uri == answer.uri else None) or _beginning()
        start, end = document.offset_at(where.start), document.offset_at(where.end)
        block = answer.blocks[params.block]
        # Beside the loop: comparing takes a while in a long file, and somebody types.
        masked = await asyncio.to_thread(mask, text)
        edits = await asyncio.to_thread(_edits, masked, block, document.language, start, end, place.path)
        if isinstance(edits, str):
            return edits
        spans = await asyncio.to_thread(masked_spans, text, masked)
        # Once more: it may have been closed, changed, or hidden meanwhile.
        again, refusal = self._refusal(uri)
        if refusal or again.path != place.path or self._documents.get(uri) is not document or document.version != version:
            return refusal or CHANGED
        change = change_of(document, place.path, edits, spans)
        return change if isinstance(change, str) else (document, place, change, name, params.block)

    def _propose(self, document: Document, place: Place, change: Change, name: str, block: int) -> None:
        """Record it, and follow the place from here on."""
        from tacit.protocol.events import BlockProposed

        event = BlockProposed(
            at=self._clock.at(self._clock.now()),
            session_id=self._session_id,
            suggestion_id=name,
            block=block,
            path=place.path[-4096:],
            original=redact(unified(change.original))[:100_000],
            text=redact(unified(change.text))[:100_000],
        )
        self._feedback.proposed_again(document.uri, name, change.text, change.left, change.right, event)
        answer = self._answers[name]
        if answer.diagnostics and answer.uri == document.uri:
            self._watch(name, document.uri, answer.diagnostics[0], (change.left, change.right), document)


def _edits(masked: str, block: Block, language: str, start: int, end: int, path: str) -> "tuple[ProposedEdit, ...] | str":
    """Offsets of the text as it is, whose line ends may be CRLF."""
    from tacit.protocol.debugging import ProposedEdit

    text = unified(masked)
    found = placed(text, block, language, _shifted(masked, start), _shifted(masked, end))
    if isinstance(found, str):
        return found
    if len(text) == len(masked):
        return tuple(ProposedEdit(path=path, start=one.start, end=one.end, text=one.text) for one in found)
    back = _raw_offsets(masked, [at for one in found for at in (one.start, one.end)])
    return tuple(ProposedEdit(path=path, start=back[one.start], end=back[one.end], text=one.text) for one in found)


def _shifted(raw: str, offset: int) -> int:
    """The offset in the text with unified line ends."""
    return offset - raw.count("\r\n", 0, offset)


def _raw_offsets(raw: str, offsets: Sequence[int]) -> dict[int, int]:
    """Offsets of the text with unified line ends as those of the text."""
    found, at, seen = {}, 0, 0
    for offset in sorted(set(offsets)):
        while seen < offset:
            step = raw.find("\r\n", at)
            if step < 0 or step - at >= offset - seen:
                at, seen = at + offset - seen, offset
            else:
                seen, at = seen + step - at + 1, step + 2
        found[offset] = at
    return found


def _beginning() -> types.Range:
    return types.Range(types.Position(0, 0), types.Position(0, 0))
