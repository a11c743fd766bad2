"""How much a fault matters, from what tools said of it before anything was answered. Pure; never reads a word that a model wrote.

LEARNING.md, "Reward of a debugging answer". The tier is of the problem, not of the answer: nothing that an answer says or does
can raise it. Of several findings the gravest counts. What no table knows is taken for less rather than for more.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Tier = Literal[0, 1, 2, 3, 4]
"""4: security, data loss, crash. 3: logic, failing test. 2: performance, type, resource. 1: syntax, import. 0: style, typo."""

GRAVITY: Final[Mapping[Tier, float]] = MappingProxyType({4: 2.0, 3: 1.5, 2: 1.0, 1: 0.75, 0: 0.5})
"""g: what the advantage of an answer to such a problem is multiplied by."""

Level = Literal["error", "warning", "information", "hint"]
Threat = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a language server, linter, compiler or scanner says of one place."""

    code: str
    """As the tool names it."""
    level: Level = "error"
    threat: Threat = "none"
    """Of a security scanner's finding, by the scanner."""
    tool: str = ""
    place: str = ""
    """Tells two findings of one code apart; lines move, so better the words than the number."""


@dataclass(frozen=True, slots=True)
class Problem:
    """All that was known of a fault when help was asked for."""

    exceptions: tuple[str, ...] = ()
    """Types as the trace has them, signals and a sanitizer's findings included."""
    findings: tuple[Finding, ...] = ()
    """The first is the one that it is about."""
    failing_tests: int = 0


_CRASHES: Final = frozenset(
    {
        "sigsegv", "sigabrt", "sigbus", "sigill", "sigfpe", "segv", "segmentation fault", "fatal error", "memoryerror",
        "systemerror", "recursionerror", "outofmemoryerror", "stackoverflowerror", "internalerror", "data race",
        "stack-overflow", "heap-use-after-free", "heap-buffer-overflow", "stack-buffer-overflow", "stack-use-after-return",
        "stack-use-after-scope", "global-buffer-overflow", "container-overflow", "double-free", "alloc-dealloc-mismatch",
    }
)  # fmt: skip
_NAMES: Final = frozenset(
    {
        "syntaxerror", "indentationerror", "taberror", "importerror", "modulenotfounderror", "nameerror", "unboundlocalerror",
        "referenceerror", "classnotfoundexception", "noclassdeffounderror", "unsatisfiedlinkerror", "nosuchmethoderror",
    }
)  # fmt: skip
_TYPES: Final = frozenset(
    {
        "typeerror", "attributeerror", "classcastexception", "timeouterror", "timeoutexception", "sockettimeoutexception",
        "resourcewarning", "memory leak", "leaksanitizer", "oserror", "ioexception", "toomanyopenfiles",
    }
)  # fmt: skip

_SYNTAX_CODE: Final = re.compile(
    r"syntax|^E9\d\d$|unresolved[-_]?(?:import|reference|name)|undefined[-_]?(?:variable|name)|import[-_]?(?:error|not[-_]?found)"
    r"|reportMissing(?:Import|ModuleSource)|reportUndefinedVariable|^F82\d$|^(?:TS)?(?:1\d{3}|2304|2307|2552)$|^E04(?:25|32|33|12)$"
    r"|UndeclaredName|UndeclaredImportedName|BrokenImport|cannot[-_]?find[-_]?symbol|^no[-_]undef$",
    re.IGNORECASE,
)
_STYLE_CODE: Final = re.compile(
    r"^(?:E[1-7]\d\d|W\d+|[CDNIQ]\d+|UP\d+|COM\d+|F401|F841)$|unused|style|format|naming|spell|typo|whitespace|line[-_]too[-_]long"
    r"|indent[-_]?style|quotes|semi$|prettier|convention|deprecat",
    re.IGNORECASE,
)
_SECURITY_CODE: Final = re.compile(
    r"^(?:S\d{3}|B\d{3}|G\d{3})$|security|injection|xss|hardcoded[-_]?(?:secret|password)", re.IGNORECASE
)


def tier_of(problem: Problem) -> Tier:
    """The gravest of all that is known; 0 if nothing is."""
    found: list[Tier] = [0]
    found += [_of_exception(name) for name in problem.exceptions]
    found += [_of_finding(finding) for finding in problem.findings]
    if problem.failing_tests > 0:
        found.append(3)
    return max(found)


def _of_exception(name: str) -> Tier:
    bare = re.split(r"[.:$]+", name.strip())[-1].lower() if not name.islower() else name.strip()
    if bare in _CRASHES:
        return 4
    if bare in _NAMES:
        return 1
    if bare in _TYPES:
        return 2
    return 0 if bare.endswith("warning") or not bare else 3


def _of_finding(finding: Finding) -> Tier:
    if finding.threat in ("medium", "high"):
        return 4
    if finding.threat == "low" or _SECURITY_CODE.search(finding.code):
        return 2
    if finding.level in ("information", "hint") or _STYLE_CODE.search(finding.code):
        return 0
    if _SYNTAX_CODE.search(finding.code):
        return 1
    return 2 if finding.level == "error" else 0
