"""What a tool says of a text with and without a change, compared: what is new, what is gone, and the checks made of it. Pure."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from tacit.protocol.debugging import Check, Diagnostic
from tacit.protocol.redaction import redact

MOST_NAMED: Final = 3
"""Complaints that a note repeats."""
_UNRESOLVED: Final = re.compile(
    r"unresolved|undefined|not-found|missing-(?:attribute|module|import)|invalid-module|cannot find (?:symbol|name)"
    r"|not (?:declared|defined|found)"
    r"|has no (?:member|attribute)"
)
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_QUOTED = re.compile("[`'\"\u2018]([^`'\"\u2019]+)[`'\"\u2019]")
_SAID_EVERYWHERE: Final = frozenset(
    "name module type object is not defined used when has no attribute cannot find the of a in".split()
)


_CONSTANTS: Final = re.compile(
    r"""\bLiteral\[(?:"(?:[^"\\]|\\.)*(?:"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)|[^]"'])*(?:]|\Z)|"(?:[^"\\\n]|\\.)*(?:"|$)""",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Said:
    """One complaint."""

    rule: str
    message: str
    line: int
    """Counts from 0."""
    error: bool = True
    """False: a warning, or less."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is about, wherever it stands."""
        return self.rule, self.message

    @property
    def unresolved(self) -> bool:
        """It is about a name, import or attribute that nothing defines."""
        return _UNRESOLVED.search(f"{self.rule} {self.message}") is not None


@dataclass(frozen=True, slots=True)
class Compared:
    tool: str
    before: tuple[Said, ...]
    after: tuple[Said, ...]
    unjudged: str = ""
    """What of names the tool cannot tell, as sentences; empty: all is told."""
    good: str = ""
    """What is said where nothing new is unresolved; empty: the usual."""

    @property
    def new(self) -> tuple[Said, ...]:
        """Of `after`, what was not said before, or not as often."""
        return _less(self.after, self.before)

    @property
    def gone(self) -> tuple[Said, ...]:
        return _less(self.before, self.after)


def names_check(compared: Compared) -> Check:
    """No new unresolved name, import or attribute."""
    new = tuple(said for said in compared.new if said.unresolved)
    if new:
        return Check(name="names", result="failed", note=f"{compared.tool} finds what nothing defines: {_words(new)}.")
    if compared.unjudged:
        return Check(name="names", result="unchecked", note=compared.unjudged)
    good = compared.good or f"{compared.tool} finds no new unresolved name, import or attribute."
    return Check(name="names", result="passed", note=good)


def diagnostic_check(compared: Compared, diagnostic: Diagnostic | None, first: int, last: int, marked: str = "") -> Check:
    """Whether what is asked about is gone, and nothing came instead.

    first, last: its lines in the old text, from 0. marked: the code that it marks.
    """
    new = tuple(said for said in compared.new if said.error and not said.unresolved)
    if new:
        return Check(name="diagnostic", result="failed", note=f"{compared.tool} has something new to say: {_words(new)}.")
    if diagnostic is None:
        note = f"{compared.tool} finds nothing new; the program was not run again, so whether the error is gone is not known."
        return Check(name="diagnostic", result="unchecked", note=note)
    same = tuple(said for said in compared.before if first <= said.line <= last and _about(said, diagnostic, marked))
    if not same:
        source = diagnostic.source or "the tool that reported it"
        note = f"{compared.tool} does not report this problem itself, so only {source} can tell whether it is gone."
        return Check(name="diagnostic", result="unchecked", note=note)
    gone = {said.key for said in compared.gone}
    still = tuple(said for said in same if said.key not in gone)
    if still:
        return Check(name="diagnostic", result="failed", note=f"{compared.tool} still says: {_words(still)}.")
    return Check(name="diagnostic", result="passed", note=f"{compared.tool} does not report it any more, and nothing new.")


def _about(said: Said, diagnostic: Diagnostic, marked: str) -> bool:
    """Whether two tools, or the same one, speak of the same."""
    if diagnostic.code and diagnostic.code == said.rule:
        return True
    if marked.isidentifier() and marked in _WORD.findall(said.message):
        return True
    words = set(_WORD.findall(diagnostic.message)) - _SAID_EVERYWHERE
    return diagnostic.message.strip() == said.message or bool(words & _quoted(said.message))


def _quoted(message: str) -> set[str]:
    return {word for part in _QUOTED.findall(message) for word in _WORD.findall(part)}


def _less(these: tuple[Said, ...], those: tuple[Said, ...]) -> tuple[Said, ...]:
    left = Counter(said.key for said in those)
    found = []
    for said in these:
        if left[said.key] > 0:
            left[said.key] -= 1
        else:
            found.append(said)
    return tuple(found)


def without_constants(message: str) -> str:
    """A tool's words without what constants hold: it may have read them in a file that nobody is to be shown."""
    return redact(_CONSTANTS.sub(lambda found: "Literal[…]" if found[0].startswith("L") else '"…"', message))


def _words(said: tuple[Said, ...]) -> str:
    shown = "; ".join(f"line {one.line + 1}: {without_constants(one.message).rstrip('.')}" for one in said[:MOST_NAMED])
    return shown + (f"; and {len(said) - MOST_NAMED} more" if len(said) > MOST_NAMED else "")
