"""What the tools report of each document, as far as the editor passes it on, and what that says of a fix later. Pure.

A problem is recognised by its words and its tool, not by its place: lines move. It is gone when the file has fewer of it.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lsprotocol import types

MOST_FILES: Final = 50
MOST_OF_A_FILE: Final = 500
MOST_QUESTIONS: Final = 500

Key = tuple[str, str]
"""Tool and words."""


def key_of(one: types.Diagnostic) -> Key:
    return (one.source or "", " ".join(one.message.split())[:500])


@dataclass(frozen=True, slots=True)
class Watched:
    """A fix, and what was reported when it was asked for."""

    uri: str
    about: Key
    before: Counter[Key]
    known: bool
    """The editor had passed on the file's diagnostics then: what is new can be told."""
    applied_at: float | None = None


@dataclass(slots=True)
class Problems:
    _told: OrderedDict[str, tuple[types.Diagnostic, ...]] = field(default_factory=OrderedDict)
    _told_at: dict[str, float] = field(default_factory=dict)
    _fixes: dict[str, Watched] = field(default_factory=dict)
    _asked: OrderedDict[tuple[str, str, Key], tuple[str, float]] = field(default_factory=OrderedDict)

    def told(self, uri: str, diagnostics: Iterable[types.Diagnostic], now: float) -> None:
        """All that are known of this document now."""
        self._told.pop(uri, None)
        self._told[uri] = tuple(diagnostics)[:MOST_OF_A_FILE]
        self._told_at[uri] = now
        while len(self._told) > MOST_FILES:
            oldest, _ = self._told.popitem(last=False)
            self._told_at.pop(oldest, None)

    def closed(self, uri: str) -> None:
        self._told.pop(uri, None)
        self._told_at.pop(uri, None)

    def known(self, uri: str) -> Sequence[types.Diagnostic]:
        return self._told.get(uri, ())

    def asked(self, kind: str, uri: str, about: Key, suggestion_id: str, now: float) -> tuple[str, float] | None:
        """This answer is about this. Returns the last answer to the same question and how long ago that was, ms."""
        question = (kind, uri, about)
        before = self._asked.pop(question, None)
        self._asked[question] = (suggestion_id, now)
        while len(self._asked) > MOST_QUESTIONS:
            self._asked.popitem(last=False)
        return None if before is None else (before[0], now - before[1])

    def watch(self, suggestion_id: str, uri: str, about: types.Diagnostic) -> None:
        """A fix for this is given to the editor."""
        before = Counter(key_of(one) for one in self.known(uri))
        key = key_of(about)
        before[key] = max(1, before[key])
        self._fixes[suggestion_id] = Watched(uri, key, before, uri in self._told)
        while len(self._fixes) > MOST_QUESTIONS:
            del self._fixes[next(iter(self._fixes))]

    def applied(self, suggestion_id: str, now: float) -> None:
        fix = self._fixes.get(suggestion_id)
        if fix is not None and fix.applied_at is None:
            self._fixes[suggestion_id] = Watched(fix.uri, fix.about, fix.before, fix.known, now)

    def checked(self, suggestion_id: str, now: float) -> tuple[float, bool, int] | None:
        """Of a fix: ms since it was applied, whether its problem is gone, and how many errors are new. None: nobody has said
        anything of the file since."""
        fix = self._fixes.get(suggestion_id)
        if fix is None or fix.applied_at is None or self._told_at.get(fix.uri, -1.0) <= fix.applied_at:
            return None
        found = self.known(fix.uri)
        gone = sum(key_of(one) == fix.about for one in found) < fix.before[fix.about]
        errors = Counter(key_of(one) for one in found if one.severity in (None, types.DiagnosticSeverity.Error))
        return now - fix.applied_at, gone, (errors - fix.before).total() if fix.known else 0
