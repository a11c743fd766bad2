"""From a stack trace to what a Fix or Explain of it is about: the file of the workspace that it leads to, open in the editor.

Asks the editor to open it. A trace is a text of its own: pasted into a new buffer, saved output that was opened, or told by a
caller. It is never edited itself.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from tacit.lsp.debugging.actions import Client, Question
from tacit.lsp.debugging.surroundings import Surroundings
from tacit.lsp.documents import Document, well_formed
from tacit.lsp.gathering.frames import OUTPUT_ENDINGS
from tacit.lsp.rpc import Server
from tacit.lsp.workspace import Place
from tacit.protocol.redaction import redact

MOST: Final = 200_000
"""Characters of a trace; of a longer one the end."""
LOOKED_AT: Final = 50_000
"""Characters in which its beginning is looked for whenever the editor asks what can be done."""
OPENING_S: Final = 5.0
"""An editor that has opened a document says so in a message of its own."""
OPENING_STEPS: Final = 200
SUBJECT: Final = "the stack trace"
NO_TRACE: Final = "This is no stack trace that leads into the open folders."
_PLAIN: Final = frozenset(("", "plaintext", "text", "log", "output"))
"""Language ids of what is no program."""
_BEGINS: Final = re.compile(
    r"^Traceback \(most recent|^[^\S\n]+at \S.*[:(]|panicked at |^goroutine \d+ |ERROR: \w+Sanitizer|^#\d+ .* (?:at|in) "
    r"|^E {3,}\w|^\S+?:\d+:(?:\d+:)? (?:fatal )?(?:error|panic)\b|^\S+\(\d+,\d+\): error|^error(?:\[E\d+\])?: "
    r"|^[^\S\n]*--> \S+:\d+:\d+",
    re.MULTILINE,
)
"""Nothing that begins a line goes on into the next one: over empty ones it would take a time that grows with their square."""
_TEST: Final = re.compile(
    r"(?:^|/)(?:tests?|__tests__|test_[^/]*|conftest\.py)(?:/|$)|[._-](?:test|spec)\.\w+$|[a-z]Tests?\.java$"
)


def is_trace(document: Document) -> bool:
    """Looks at its kind and for how traces begin; whether it is one, and leads anywhere, takes reading it."""
    plain = document.language.lower() in _PLAIN or document.uri.lower().endswith(OUTPUT_ENDINGS)
    return plain and _BEGINS.search(document.text[-LOOKED_AT:]) is not None


class Traced:
    def __init__(
        self,
        lsp: Server,
        client: Client,
        documents: Mapping[str, Document],
        surroundings: Surroundings,
        refusal: Callable[[str], tuple[Place, str]],
    ) -> None:
        self._lsp = lsp
        self._client = client
        self._documents = documents
        self._surroundings = surroundings
        self._refusal = refusal

    async def question(self, question: Question) -> Question | str:
        """What is asked about then; of anything but a trace the question itself. A sentence: why nothing can be asked."""
        text = question.trace
        document = self._documents.get(question.uri)
        if text is None:
            if document is None or not is_trace(document):
                return question
            if refusal := self._refusal(question.uri)[1]:
                return refusal
            text = document.text
        return await self.about(text, opening=True, show=question.show)

    async def about(self, told: str, *, opening: bool, show: bool = True) -> Question | str:
        """opening: the editor is asked to open the file."""
        trace = (await asyncio.to_thread(redact, well_formed(told)))[-MOST:]
        found = await self._surroundings.led_to(trace)
        if not found:
            return NO_TRACE
        code = [one for one in found if not _TEST.search(one[1])]
        if not code:
            _, name, line = found[0]
            return f"The trace goes through tests only ({name}, line {line + 1}); ask at the code that they call."
        root, name, line = code[0]
        uri = (root / name).as_uri()
        if refusal := self._refusal(uri)[1]:
            return refusal
        document = self._open(uri)
        if document is None and opening and self._client.shows:
            document = await self._opened(uri, line)
        if document is None:
            return f"The trace leads to line {line + 1} of {name}: open that file, and ask again."
        here = types.Range(types.Position(line, 0), types.Position(line, 0))
        end = document.position_at(document.offset_at(types.Position(line, 2**31 - 1)))
        if end.line != line:
            return f"The trace leads to line {line + 1} of {name}, which is shorter now: it is of an older text."
        return Question(document.uri, attrs.evolve(here, end=end), document.version, show=show, trace=trace)

    def _open(self, uri: str) -> Document | None:
        """By the file: editors write one file's address in different ways."""
        wanted = self._refusal(uri)[0]
        for known, document in self._documents.items():
            place = self._refusal(known)[0]
            if place.path == wanted.path and place.folder is wanted.folder and place.folder is not None:
                return document
        return None

    async def _opened(self, uri: str, line: int) -> Document | None:
        here = types.Range(types.Position(line, 0), types.Position(line, 0))
        try:
            shown = await self._lsp.window_show_document_async(types.ShowDocumentParams(uri, take_focus=True, selection=here))
        except JsonRpcException:
            return None
        for _ in range(OPENING_STEPS if shown.success else 0):
            if (document := self._open(uri)) is not None:
                return document
            await asyncio.sleep(OPENING_S / OPENING_STEPS)
        return None
