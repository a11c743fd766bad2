"""Messages beyond LSP, typed as lsprotocol types its own: what Copilot's server made common, and `tacit/*`. Pure."""

from typing import Any, Final, Generic, Literal, TypeVar

import attrs
from lsprotocol import types

DID_SHOW: Final = "textDocument/didShowCompletion"
DID_PARTIALLY_ACCEPT: Final = "textDocument/didPartiallyAcceptCompletion"
DID_REJECT: Final = "tacit/didRejectCompletion"
RATE: Final = "tacit/rate"
COUNTERS: Final = "tacit/counters"
CHAT: Final = "tacit/chat"
APPLY_BLOCK: Final = "tacit/applyBlock"
DIAGNOSTICS: Final = "tacit/diagnostics"
"""`textDocument/publishDiagnostics`, the other way round: a plugin passes on what other servers say."""

Flag = Literal["hallucination", "wrong", "insecure", "unclear"]

Params = TypeVar("Params")


@attrs.define
class Notification(Generic[Params]):
    params: Params
    method: str
    jsonrpc: str = "2.0"


@attrs.define
class Request(Generic[Params]):
    id: Any
    params: Params
    method: str
    jsonrpc: str = "2.0"


@attrs.define
class SuggestionParams:
    """Names a suggestion by the item that was shown, or by its id."""

    item: types.InlineCompletionItem | None = None
    suggestion_id: str | None = None

    @property
    def name(self) -> str:
        """The suggestion's id, which an item carries in its command's arguments; empty if there is none."""
        arguments = self.item.command.arguments if self.item and self.item.command else None
        first = arguments[0] if arguments else self.suggestion_id
        return first if isinstance(first, str) else ""


@attrs.define(kw_only=True)
class PartiallyAcceptedParams(SuggestionParams):
    accepted_length: int
    """UTF-16 units of the inserted text, from its start."""


@attrs.define
class RateParams:
    value: Literal[1, -1]
    suggestion_id: str | None = None
    """None: what was shown last."""
    flag: Flag | None = None
    correction: str | None = None
    """What it should have been."""


@attrs.define
class ChatParams:
    """A question in a conversation. What it is about is said once; what is not said again stays."""

    message: str | None = None
    """None: explain what it is about."""
    conversation_id: str | None = None
    """None: a new one. The answer has its id."""
    text_document: types.TextDocumentIdentifier | None = None
    range: types.Range | None = None
    """The selection, or the cursor."""
    diagnostics: list[types.Diagnostic] | None = None
    """None: those that are known at `range`."""
    stack_trace: str | None = None
    partial_result_token: types.ProgressToken | None = None
    """Pieces of the text come as `$/progress` with it, each `{"text": …}`."""
    work_done_token: types.ProgressToken | None = None


@attrs.define
class ApplyBlockParams:
    """A code block of an answer is to be put into the document, where it belongs."""

    block: int = 0
    """Which of the answer's, from 0."""
    suggestion_id: str | None = None
    """Of the answer; None: the last one."""
    text_document: types.TextDocumentIdentifier | None = None
    """None: what was asked about."""
    range: types.Range | None = None
    """The selection or the cursor there; None: as it was when it was asked."""


MESSAGES: Final[dict[str, Any]] = {
    DID_SHOW: Notification[SuggestionParams],
    DID_PARTIALLY_ACCEPT: Notification[PartiallyAcceptedParams],
    DID_REJECT: Notification[SuggestionParams],
    RATE: Notification[RateParams],
    DIAGNOSTICS: Notification[types.PublishDiagnosticsParams],
    CHAT: Request[ChatParams],
    APPLY_BLOCK: Request[ApplyBlockParams],
}

REQUESTS: Final[dict[str, Any]] = {
    RATE: Request[RateParams],
    CHAT: Request[ChatParams],
    APPLY_BLOCK: Request[ApplyBlockParams],
}
"""What is asked. A rating may be told as well; asked, the answer is a sentence for the user."""
