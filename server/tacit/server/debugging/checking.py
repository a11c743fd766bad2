"""All checks of one candidate, the cheap ones first; nothing is checked any more once one has failed. Starts checking tools."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from tacit.protocol.debugging import Check, DebugRequest
from tacit.server.debugging import checks
from tacit.server.debugging.complaints import Compared, Said, diagnostic_check, names_check
from tacit.server.debugging.edits import Edit
from tacit.server.debugging.naming import Naming
from tacit.server.debugging.region import Region
from tacit.server.debugging.running import SECONDS, CoveringTests

PROOF_SECONDS: Final = 20.0
"""Tests that take longer prove nothing in a search: in the time that somebody waits, they could be run a few times only."""

Proof = Literal["tests", "diagnostic", ""]
"""What would prove a fix: covering tests that fail now pass, or a checker does not report any more what it reports now. Empty:
nothing here would."""


@dataclass(slots=True)
class Checker:
    """Checks the candidates of one request."""

    request: DebugRequest
    text: str
    """As it was sent, and as the model saw it."""
    region: Region
    guest: bool = False
    """As `Naming` has it."""
    _naming: Naming = field(init=False)
    _tests: CoveringTests = field(init=False)
    _proof: Proof | None = None

    def __post_init__(self) -> None:
        self._naming = Naming(self.request, self.text, self.guest)
        self._tests = CoveringTests(self.request, self.text)

    async def check(self, changed: str, edits: Sequence[Edit], left: float = SECONDS) -> tuple[Check, ...]:
        """In the order in which they were made; the last is the one that failed, if one did. left: seconds that there are."""
        began = time.monotonic()
        if edits and not self.request.diagnostics and checks.only_blanks(self.text, changed):
            # A linter may complain of blanks; nothing else does.
            return (Check(name="scope", result="failed", note="It changes nothing but blanks."),)
        found = [checks.scope(self.text, changed, self.region, edits, self.request.masked, self._unresolved())]
        if not checks.passed(found):
            return tuple(found)
        request = self.request
        found.append(await asyncio.to_thread(checks.parses, self.text, changed, request.language, whole=request.whole))
        if not checks.passed(found):
            return tuple(found)
        compared = await self._naming.compared(changed)
        if isinstance(compared, str):
            found += [checks.unchecked("names", compared), checks.unchecked("diagnostic", _not_told(request))]
        else:
            names = names_check(compared)
            found.append(names)
            if names.result == "failed":
                return tuple(found)
            found.append(self._diagnostic(compared))
        if checks.passed(found):
            tests = await self._tests.check(changed, left - (time.monotonic() - began))
            if mends(tests) and checks.ends(self.text, changed):
                tests = checks.unchecked("tests", "It ends the program, so that tests pass with it says nothing.")
            found.append(tests)
        return tuple(found)

    async def proof(self, left: float) -> Proof:
        """Asked once. left: seconds that there are; what is not known by then proves nothing."""
        if self._proof is None:
            self._proof = ""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, left)):
                    self._proof = await self._proving(asyncio.get_running_loop().time() + left)
        return self._proof

    async def _proving(self, until: float) -> Proof:
        compared = await self._naming.compared(self.text) if self.request.diagnostics else ""
        if not isinstance(compared, str) and self._diagnostic(compared).result == "failed":
            return "diagnostic"
        left = until - asyncio.get_running_loop().time()
        return "tests" if await self._tests.failing(left, PROOF_SECONDS) else ""

    def _diagnostic(self, compared: Compared) -> Check:
        diagnostic = self.request.diagnostics[0] if self.request.diagnostics else None
        first, last = (self._line(diagnostic.start), self._line(diagnostic.end)) if diagnostic else (0, 0)
        return diagnostic_check(compared, diagnostic, first, last, self._marked())

    def _unresolved(self) -> tuple[str, ...]:
        """The name that the diagnostic is about, if it is one that nothing defines."""
        diagnostic = self.request.diagnostics[0] if self.request.diagnostics else None
        if diagnostic is None or not Said(diagnostic.code, diagnostic.message, 0).unresolved:
            return ()
        name = self._marked()
        return (name,) if name.isidentifier() else ()

    def _marked(self) -> str:
        """The code that the diagnostic marks."""
        if not self.request.diagnostics:
            return ""
        span, begin = self.request.diagnostics[0], self.request.text_start
        return self.text[max(0, span.start - begin) : max(0, span.end - begin)]

    def _line(self, offset: int) -> int:
        """offset: of the file. Only asked where the whole file was sent."""
        return self.text.count("\n", 0, offset)


def proven(found: Sequence[Check], by: Proof) -> bool:
    """Nothing failed, and what would prove a fix has."""
    if not checks.passed(found):
        return False
    if by == "diagnostic":
        return any(check.name == "diagnostic" and check.result == "passed" for check in found)
    return by == "tests" and any(mends(check) for check in found)


def mends(check: Check) -> bool:
    """Tests that failed pass with it."""
    return check.runs is not None and not frozenset(check.runs.after_passed) <= frozenset(check.runs.before_passed)


def _not_told(request: DebugRequest) -> str:
    what = request.diagnostics[0].source if request.diagnostics else ""
    return f"Only {what} can tell whether the problem is gone." if what else "Whether the problem is gone could not be checked."
