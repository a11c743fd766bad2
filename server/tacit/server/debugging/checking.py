"""All checks of one candidate, the cheap ones first; nothing is checked any more once one has failed. Starts checking tools."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tacit.protocol.debugging import Check, DebugRequest
from tacit.server.debugging import checks, compilers, python_names
from tacit.server.debugging.complaints import Compared, Said, diagnostic_check, names_check
from tacit.server.debugging.edits import Edit
from tacit.server.debugging.region import Region

TESTS_NOT_RUN = "The tests were not run."


@dataclass(slots=True)
class Checker:
    """Checks the candidates of one request; what a tool says of the old text is asked once."""

    request: DebugRequest
    text: str
    """As it was sent, and as the model saw it."""
    region: Region
    _before: tuple[Said, ...] | None = None

    async def check(self, changed: str, edits: Sequence[Edit]) -> tuple[Check, ...]:
        """In the order in which they were made; the last is the one that failed, if one did."""
        found = [checks.scope(self.text, changed, self.region, edits, self.request.masked, self._unresolved())]
        if not checks.passed(found):
            return tuple(found)
        request = self.request
        found.append(await asyncio.to_thread(checks.parses, self.text, changed, request.language, whole=request.whole))
        if not checks.passed(found):
            return tuple(found)
        compared = await self._compared(changed)
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
            found.append(checks.unchecked("tests", TESTS_NOT_RUN))
        return tuple(found)

    async def _compared(self, changed: str) -> Compared | str:
        """What the language's tool says of both texts; or why it cannot tell."""
        request = self.request
        language = request.language
        if language != "python" and language not in compilers.TOOLS:
            new = checks.new_names(self.text, changed, [snippet.text for snippet in request.snippets])
            what = f"new in the file: {', '.join(f'`{name}`' for name in new)}" if new else "it brings none that the file has not"
            return f"No tool here checks names in {language}; {what}."
        if not request.whole:
            return "Only a part of the file was sent, so names could not be checked."
        texts = [changed] if self._before is not None else [self.text, changed]
        if language == "python":
            tool, said = "ty", await python_names.said_of(texts, request.path, request.workspace)
        else:
            tool = Path(compilers.tool(language) or "").name
            said = await compilers.said_of(texts, request.path, request.workspace, language)
        if isinstance(said, str):
            return said
        if self._before is None:
            self._before = said[0]
        return Compared(tool, self._before, said[-1])

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
