"""Messages beyond LSP, typed as lsprotocol types its own: what Copilot's server made common, and `tacit/*`. Pure."""

from typing import Any, Final, Generic, Literal, TypeVar

import attrs
from lsprotocol import types

DID_SHOW: Final = "textDocument/didShowCompletion"
DID_PARTIALLY_ACCEPT: Final = "textDocument/didPartiallyAcceptCompletion"
DID_REJECT: Final = "tacit/didRejectCompletion"
RATE: Final = "tacit/rate"
COUNTERS: Final = "tacit/counters"
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


MESSAGES: Final[dict[str, Any]] = {
    DID_SHOW: Notification[SuggestionParams],
    DID_PARTIALLY_ACCEPT: Notification[PartiallyAcceptedParams],
    DID_REJECT: Notification[SuggestionParams],
    RATE: Notification[RateParams],
    DIAGNOSTICS: Notification[types.PublishDiagnosticsParams],
}

REQUESTS: Final[dict[str, Any]] = {RATE: Request[RateParams]}
"""What may be asked as well as told: the answer is a sentence for the user."""
