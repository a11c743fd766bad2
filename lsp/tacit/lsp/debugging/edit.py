"""From the server's proposal to an edit of the open document, or to the sentence why there is none. Pure.

The server has checked it; here is what only the editor's side can know, and what no server is trusted with: that it changes the
document that was asked about and nothing else, is about the text as it is now, and neither touches nor brings what is hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsprotocol import types

from tacit.lsp.context import hidden_characters
from tacit.lsp.documents import Document, well_formed
from tacit.lsp.matching import unified

if TYPE_CHECKING:
    from tacit.protocol.debugging import ProposedEdit, Span


@dataclass(frozen=True, slots=True)
class Change:
    """An edit of one document, and the whole lines that it changes."""

    edits: tuple[tuple[int, int, str], ...]
    """In order, without overlap: `[start, end)` and what takes its place, with the document's line ends."""
    left: int
    right: int
    original: str
    """`[left, right)` before."""
    text: str
    """And after."""

    def workspace_edit(self, document: Document, *, versions: bool) -> types.WorkspaceEdit:
        """versions: the editor can be told which version of the document it is an edit of."""
        edits = [
            types.TextEdit(types.Range(document.position_at(start), document.position_at(end)), text)
            for start, end, text in self.edits
        ]
        if not versions:
            return types.WorkspaceEdit(changes={document.uri: edits})
        name = types.OptionalVersionedTextDocumentIdentifier(uri=document.uri, version=document.version)
        return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(text_document=name, edits=edits)])


def change_of(document: Document, path: str, proposed: "Sequence[ProposedEdit]", masked: "Sequence[Span]") -> Change | str:
    """The change, or why it is refused. path: of the document, as the server was told it. masked: spans that it did not see."""
    text, at = document.text, 0
    edits: list[tuple[int, int, str]] = []
    for one in proposed:
        if one.path != path:
            return "The fix would have changed another file; it was dropped."
        if not at <= one.start <= one.end <= len(text):
            return "The fix does not fit the file; it was dropped."
        at = one.end
        new = unified(well_formed(one.text))
        if any(one.start < span.end and span.start < one.end for span in masked) or "<redacted:" in new:
            return "The fix would have changed a secret, which the model has not seen; it was dropped."
        if hidden_characters(new) and not hidden_characters(text[one.start : one.end]):
            return "The fix would have brought invisible characters into the file; it was dropped."
        if new != unified(text[one.start : one.end]):
            edits.append((one.start, one.end, new.replace("\n", "\r\n") if document.newline == "\r\n" else new))
    if not edits:
        return "The model would change nothing here."
    left, right = edits[0][0], edits[-1][1]
    left = text.rfind("\n", 0, left) + 1
    right = len(text) if (end := text.find("\n", right)) < 0 else end
    if right > edits[-1][1] and text[right - 1] == "\r" and text[right : right + 1] == "\n":
        right -= 1
    after = applied(text, edits, left, right)
    if not after.strip() and left > 0:
        # Lines that only go away leave nothing to follow: the line before them is followed too.
        left = text.rfind("\n", 0, left - 1) + 1
        after = applied(text, edits, left, right)
    return Change(tuple(edits), left, right, text[left:right], after)


def applied(text: str, edits: Sequence[tuple[int, int, str]], left: int, right: int) -> str:
    """What `[left, right)` becomes."""
    pieces, at = [], left
    for start, end, new in edits:
        pieces += [text[at:start], new]
        at = end
    # An edit may end inside a CRLF, or take the line end with it.
    return "".join([*pieces, text[at : max(at, right)]])
