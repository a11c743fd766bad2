"""What the tools report of each document, as far as the editor passes it on, and what that says of a fix later. Pure.

A problem is recognised by its words and its tool: lines move. It is gone when the file has fewer of it. Where a question or a
fix was about equal problems, its place tells them apart: offsets, carried along by every change of the document.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lsprotocol import types

from tacit.lsp.documents import Document, Step
from tacit.lsp.edits import Edit, carried_left, carried_right, difference

AGAIN_MS: Final = 30 * 60_000
"""Whoever asks later than this has a new problem as likely as an answer that was no use: the code has become another."""
NEAR_LINES: Final = 3
"""Around a fix: a fault in it is often reported at the next statement. Farther away, errors are of what is being typed there."""
MOST_FILES: Final = 50
MOST_OF_A_FILE: Final = 500
MOST_QUESTIONS: Final = 500

Key = tuple[str, str]
"""Tool and words."""
Span = tuple[int, int]
LineOf = Callable[[int], int]
"""Line of an offset of a document as it is now."""


def key_of(one: types.Diagnostic) -> Key:
    return (one.source or "", " ".join(one.message.split())[:500])


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a text that may become another text."""

    text: str
    left: int
    right: int

    def now(self, text: str) -> Span:
        return _carried((self.left, self.right), difference(self.text, text))


def spot_of(document: Document, about: Sequence[types.Diagnostic]) -> Spot | None:
    """Of what a question is about: the first."""
    if not about:
        return None
    start, end = document.offset_at(about[0].range.start), document.offset_at(about[0].range.end)
    return Spot(document.text, min(start, end), max(start, end))


def lines_of(document: Document) -> LineOf:
    return lambda offset: document.position_at(min(offset, len(document.text))).line


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, and the question that it was given to."""

    kind: str
    uri: str
    about: Key
    suggestion_id: str
    at: float
    span: Span | None
    """None: where it is now is not known."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A fix, and what was reported when it was asked for."""

    uri: str
    about: Key
    before: Counter[Key]
    near: Counter[Key]
    """Of these, the errors around the fix."""
    known: bool
    """The editor had passed on the file's diagnostics then: what is new can be told."""
    span: Span | None
    """Of the lines that it changes, and of what they became; None: the document was closed."""
    applied_at: float | None = None


@dataclass(slots=True)
class Problems:
    _told: OrderedDict[str, tuple[types.Diagnostic, ...]] = field(default_factory=OrderedDict)
    _told_at: dict[str, float] = field(default_factory=dict)
    _fixes: dict[str, Watched] = field(default_factory=dict)
    _asked: list[Asked] = field(default_factory=list)
    """The oldest first."""

    def told(self, uri: str, diagnostics: Iterable[types.Diagnostic], now: float) -> None:
        """All that are known of this document now."""
        self._told.pop(uri, None)
        self._told[uri] = tuple(diagnostics)[:MOST_OF_A_FILE]
        self._told_at[uri] = now
        while len(self._told) > MOST_FILES:
            oldest, _ = self._told.popitem(last=False)
            self._told_at.pop(oldest, None)

    def changed(self, uri: str, steps: Sequence[Step]) -> None:
        for edit in (step.edit for step in steps):
            self._asked = [
                replace(one, span=_carried(one.span, edit)) if one.uri == uri and one.span is not None else one
                for one in self._asked
            ]
            for name, fix in self._fixes.items():
                if fix.uri == uri and fix.span is not None:
                    self._fixes[name] = replace(fix, span=_carried(fix.span, edit))

    def closed(self, uri: str) -> None:
        self._told.pop(uri, None)
        self._told_at.pop(uri, None)
        self._asked = [replace(one, span=None) if one.uri == uri else one for one in self._asked]
        for name, fix in self._fixes.items():
            if fix.uri == uri:
                self._fixes[name] = replace(fix, span=None)

    def known(self, uri: str) -> Sequence[types.Diagnostic]:
        return self._told.get(uri, ())

    def asked(self, asked: Asked, line: LineOf | None) -> tuple[str, float] | None:
        """This answer is given. Returns the last one to the same question, if that has not settled it, and how long ago that was,
        ms. line: of the document; None: it is not open."""
        self._asked = [one for one in self._asked if asked.at - one.at <= AGAIN_MS][1 - MOST_QUESTIONS :]
        question = (asked.kind, asked.uri, asked.about)
        same = [one for one in self._asked if (one.kind, one.uri, one.about) == question and _same_lines(one, asked, line)]
        self._asked = [*(one for one in self._asked if one not in same), asked]
        if not same:
            return None
        before = self.checked(same[-1].suggestion_id, asked.at, None)
        return None if before is not None and before[1] else (same[-1].suggestion_id, asked.at - same[-1].at)

    def watch(self, suggestion_id: str, uri: str, about: types.Diagnostic, span: Span, line: LineOf) -> None:
        """A fix for this, of these lines, is given to the editor."""
        before = Counter(key_of(one) for one in self.known(uri))
        key = key_of(about)
        before[key] = max(1, before[key])
        self._fixes[suggestion_id] = Watched(uri, key, before, self._errors(uri, span, line), uri in self._told, span)
        while len(self._fixes) > MOST_QUESTIONS:
            del self._fixes[next(iter(self._fixes))]

    def applied(self, suggestion_id: str, now: float) -> None:
        fix = self._fixes.get(suggestion_id)
        if fix is not None and fix.applied_at is None:
            self._fixes[suggestion_id] = replace(fix, applied_at=now)

    def checked(self, suggestion_id: str, now: float, line: LineOf | None) -> tuple[float, bool, int] | None:
        """Of a fix: ms since it was applied, whether its problem is gone, and how many errors around it are new. None: nobody has
        said anything of the file since. line: of the document; None: nothing is known of the errors."""
        fix = self._fixes.get(suggestion_id)
        if fix is None or fix.applied_at is None or self._told_at.get(fix.uri, -1.0) <= fix.applied_at:
            return None
        found = Counter(key_of(one) for one in self.known(fix.uri))
        new = 0
        if fix.known and fix.span is not None and line is not None:
            # Not those that only came nearer, when lines between them went away.
            new = ((self._errors(fix.uri, fix.span, line) - fix.near) & (found - fix.before)).total()
        return now - fix.applied_at, found[fix.about] < fix.before[fix.about], new

    def _errors(self, uri: str, span: Span, line: LineOf) -> Counter[Key]:
        first, last = line(span[0]) - NEAR_LINES, line(span[1]) + NEAR_LINES
        return Counter(
            key_of(one)
            for one in self.known(uri)
            if one.severity in (None, types.DiagnosticSeverity.Error)
            and one.range.start.line <= last
            and one.range.end.line >= first
        )


def _carried(span: Span, edit: Edit) -> Span:
    return carried_left(span[0], edit), carried_right(span[1], edit)


def _same_lines(one: Asked, other: Asked, line: LineOf | None) -> bool:
    """Also where that is not known."""
    if one.span is None or other.span is None or line is None:
        return True
    return line(one.span[0]) <= line(other.span[1]) and line(other.span[0]) <= line(one.span[1])
