"""A request without secrets, whatever the client has done already. Pure."""

from typing import TypeVar

from tacit.protocol.completion import Wire
from tacit.protocol.debugging import DebugRequest, Span
from tacit.protocol.redaction import mask, redact

Words = TypeVar("Words", bound=Wire)


def clean(request: DebugRequest) -> DebugRequest:
    """The file keeps its length, the rest need not."""
    masked = mask(request.text)
    changes: dict[str, object] = {
        "trace": redact(request.trace),
        "turns": tuple(turn.model_copy(update={"text": redact(turn.text)}) for turn in request.turns),
        "snippets": tuple(_redacted(one, "text", "path", "note") for one in request.snippets),
        "diagnostics": tuple(
            _redacted(one, "message", "code", "source").model_copy(
                update={"related": tuple(_redacted(two, "message", "path") for two in one.related)}
            )
            for one in request.diagnostics
        ),
    }
    spans = tuple(
        Span(start=max(0, one.start - request.text_start), end=max(0, one.end - request.text_start)) for one in request.masked
    )
    if masked != request.text:
        spans += tuple(Span(start=at, end=at + 1) for at, (a, b) in enumerate(zip(request.text, masked, strict=True)) if a != b)
    return request.model_copy(update={**changes, "text": masked, "masked": spans})


def _redacted(said: Words, *names: str) -> Words:
    return said.model_copy(update={name: redact(getattr(said, name)) for name in names})
