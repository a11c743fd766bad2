"""Which tool judges the names of a language's files, and what is left when there is none: the workspace's symbols. Starts tools.

A checker of the language's own comes first. Where it is not here, or cannot judge this file, names and imports are looked for in
the file, the workspace and the lists of the language; attributes are then not judged, which is said.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from tacit.protocol.debugging import DebugRequest
from tacit.server.debugging import checks, compilers, go_names, python_names, rust_names, typescript
from tacit.server.debugging.complaints import Compared, Said
from tacit.server.debugging.symbols.looking import LANGUAGES, Looked, look

MOST_NAMED = 5
SYMBOLS = "Tacit's own look at the workspace's symbols"
READS_NO_OTHERS: Final = {"python": (".py", ".pyi"), "java": (".java",)}
"""Languages, and endings of their files, whose checkers read only what they find by its name in their own folders. A C file can
include any file of this machine, a Rust one can show it in a complaint, and a configuration says where the rest is.
"""


@dataclass(slots=True)
class Naming:
    """For the candidates of one request. What a tool says of the old text is asked once."""

    request: DebugRequest
    text: str
    """As it was sent, and as the model saw it."""
    guest: bool = False
    """It was sent by somebody who may not read this machine's other files."""
    _before: tuple[Said, ...] | None = None
    _blind: str = ""
    """Why the language's checker cannot judge this file; empty: it can, or has not been asked yet."""

    async def compared(self, changed: str) -> Compared | str:
        """What is said of both texts; or why nobody can tell."""
        request = self.request
        if not request.whole:
            return "Only a part of the file was sent, so names could not be checked."
        if self.guest and not request.path.endswith(READS_NO_OTHERS.get(request.language, ())):
            self._blind = "On a team's server no checker is started that the file could have read the server's other files."
            if request.language in ("python", *compilers.TOOLS):
                return self._blind
        if request.language == "python":
            return await self._told("ty", changed)
        if request.language in compilers.TOOLS:
            return await self._told(Path(compilers.tool(request.language) or "").name, changed)
        if request.language not in LANGUAGES:
            new = checks.new_names(self.text, changed, [snippet.text for snippet in request.snippets])
            what = f"new in the file: {', '.join(f'`{name}`' for name in new)}" if new else "it brings none that the file has not"
            return f"No tool here checks names in {request.language}; {what}."
        if not self._blind:
            name = {"go": "go", "rust": "rustc"}.get(request.language, "tsc")
            found = await self._told(name, changed)
            if not isinstance(found, str):
                return found
            self._blind = found
        parts = PurePosixPath(request.path).parts
        if PurePosixPath(request.path).is_absolute() or ".." in parts:
            return "The file is not in the workspace. Names could not be checked."
        looked = await asyncio.to_thread(look, [self.text, changed], request.path, request.workspace, request.language)
        return Compared(SYMBOLS, looked.said[0], looked.said[1], *_unjudged(looked, self._blind))

    async def _told(self, tool: str, changed: str) -> Compared | str:
        texts = [changed] if self._before is not None else [self.text, changed]
        said = await self._said(texts)
        if isinstance(said, str):
            return said
        before = self._before if self._before is not None else said[0]
        after = said[-1]
        if self.request.language == "go" and go_names.not_compiled(before):
            return "`go` does not find all that the file imports."
        self._before = before
        if self.request.language == "rust":
            after = rust_names.comparable(before, after, self.text, changed)
        compared = Compared(tool, before, after)
        absent = [said for said in compared.new if said.rule == python_names.DECLARED]
        if absent:
            why = f"{tool} cannot tell what is in a package that is not installed here: {absent[0].message.rstrip('.')}."
            return replace(compared, unjudged=why)
        return compared

    async def _said(self, texts: Sequence[str]) -> list[tuple[Said, ...]] | str:
        request = self.request
        path, workspace, language = request.path, request.workspace, request.language
        if language == "python":
            return await python_names.said_of(texts, path, workspace)
        if language == "go":
            return await go_names.said_of(texts, path, workspace)
        if language == "rust":
            return await rust_names.said_of(texts, path, workspace)
        if language in typescript.LANGUAGES:
            return await typescript.said_of(texts, path, workspace, language)
        return await compilers.said_of(texts, path, workspace, language)


def _unjudged(looked: Looked, why: str) -> tuple[str, str]:
    """(what nobody has judged, as sentences; what is said where that is nothing)."""
    before, after = looked.attributes[0], looked.attributes[-1]
    new = sorted(after - before)[:MOST_NAMED]
    open_questions = list(looked.unknown[:MOST_NAMED])
    if new:
        open_questions.append(f"whether what has them knows the new attributes {', '.join(f'`{name}`' for name in new)}")
    good = "Each new name and import is defined in the file, the workspace or the language"
    if not open_questions:
        return "", f"{why} {good}, and no attribute is new."
    return f"{why} {good}, as far as symbols tell; not checked: {'; '.join(open_questions)}.", ""
