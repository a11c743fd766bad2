"""All checks of one candidate, the cheap ones first; nothing is checked any more once one has failed. Starts checking tools."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tacit.protocol.debugging import Check, DebugRequest
from tacit.server.debugging import checks
from tacit.server.debugging.complaints import Said, diagnostic_check, names_check
from tacit.server.debugging.edits import Edit
from tacit.server.debugging.naming import Naming
from tacit.server.debugging.region import Region
from tacit.server.debugging.running import SECONDS, CoveringTests


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
            diagnostic = request.diagnostics[0] if request.diagnostics else None
            first, last = (self._line(diagnostic.start), self._line(diagnostic.end)) if diagnostic else (0, 0)
            found.append(diagnostic_check(compared, diagnostic, first, last, self._marked()))
        if checks.passed(found):
            found.append(await self._tests.check(changed, left - (time.monotonic() - began)))
        return tuple(found)

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


def _not_told(request: DebugRequest) -> str:
    what = request.diagnostics[0].source if request.diagnostics else ""
    return f"Only {what} can tell whether the problem is gone." if what else "Whether the problem is gone could not be checked."
