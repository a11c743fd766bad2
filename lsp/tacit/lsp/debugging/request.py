"""From an open document and what is reported there to a DebugRequest: masked, cut to what may be sent. Pure.

Masking keeps the text's length, so that the places in the answer are places in the editor's text.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from lsprotocol import types

from tacit.lsp.documents import Document, well_formed
from tacit.lsp.workspace import Place
from tacit.protocol.redaction import MASK, redact

if TYPE_CHECKING:
    from tacit.protocol.debugging import Diagnostic, Related, Span

MOST_TEXT: Final = 400_000
"""As in the contract, which is not imported for it: it takes pydantic."""
MOST_DIAGNOSTICS: Final = 32
MOST_TRACE: Final = 200_000

_SEVERITY: Final = {1: "error", 2: "warning", 3: "information", 4: "hint"}


def masked_spans(text: str, masked: str) -> "tuple[Span, ...]":
    """Where a text and its masked form differ."""
    from tacit.protocol.debugging import Span

    spans: list[Span] = []
    at = 0
    while (start := _first_difference(text, masked, at)) < len(text):
        at = start
        while at < len(text) and (text[at] != masked[at] or (masked[at] == MASK and masked[at] == text[at])):
            at += 1
        spans.append(Span(start=start, end=at))
    # Of more than can be said, the last goes to the end.
    return (*spans[:999], *([Span(start=spans[999].start, end=spans[-1].end)] if len(spans) > 999 else ()))


def window(text: str, offset: int) -> tuple[int, int]:
    """What of a long text is sent: whole lines around an offset."""
    if len(text) <= MOST_TEXT:
        return 0, len(text)
    start = max(0, min(offset - MOST_TEXT // 2, len(text) - MOST_TEXT))
    end = start + MOST_TEXT
    if start > 0:
        line = text.find("\n", start, offset) + 1
        start = line or start
    last = text.rfind("\n", offset, end) + 1
    return start, last if last and end < len(text) else end


def wired(document: Document, diagnostics: Sequence[types.Diagnostic], place: Callable[[str], Place]) -> "tuple[Diagnostic, ...]":
    """Diagnostics as the contract has them; what they say of files that may not be sent is left out."""
    from tacit.protocol.debugging import Diagnostic

    found = []
    for one in diagnostics[:MOST_DIAGNOSTICS]:
        start, end = document.offset_at(one.range.start), document.offset_at(one.range.end)
        told: dict[str, Any] = {
            "start": min(start, end),
            "end": max(start, end),
            "message": redact(well_formed(one.message))[:8000],
            "code": "" if one.code is None else redact(well_formed(str(one.code)))[:200],
            "source": redact(well_formed(one.source or ""))[:200],
            "severity": _SEVERITY.get(int(one.severity or 1), "error"),
            "related": _related(one, place),
        }
        found.append(Diagnostic(**told))
    return tuple(found)


def _related(one: types.Diagnostic, place: Callable[[str], Place]) -> "tuple[Related, ...]":
    from tacit.protocol.debugging import Related

    told = []
    for other in (one.related_information or ())[:MOST_DIAGNOSTICS]:
        where = place(other.location.uri)
        if not where.refused:
            line = other.location.range.start.line
            told.append(Related(path=where.path[-4096:], line=line, message=redact(well_formed(other.message))[:4000]))
    return tuple(told)


def _first_difference(one: str, other: str, start: int) -> int:
    step = 4096
    while start < len(one) and one[start : start + step] == other[start : start + step]:
        start += step
    while start < len(one) and one[start] == other[start]:
        start += 1
    return min(start, len(one))
