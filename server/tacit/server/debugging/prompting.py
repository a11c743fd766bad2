"""What the model is told: from a request to the messages of a prompt that fits. Pure but for counting tokens, which is given.

What has least to say goes first when there is no room: the last snippets, lines far from the place, the middle of a trace, the
oldest turns. The system message and the code that is to be rewritten always stay.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice
from typing import Final

from tacit.protocol.debugging import DebugRequest, DebugSnippet, Diagnostic, Message
from tacit.protocol.fix_prompt import SYSTEM, asked, block, said
from tacit.protocol.traces.reading import read
from tacit.server.debugging.region import Region, spoken_of

SNIPPETS_SHARE: Final = 0.35
"""Of the room, at most, for what is shown besides the file, however much there is."""
MOST_LINES: Final = 40
"""Of the file, above and below the place, where nothing is rewritten; half as many around what is."""
MOST_TRACE: Final = 3000
"""Characters of a trace: half from its beginning, half from its end."""
MOST_DIAGNOSTICS: Final = 4
MOST_MESSAGE: Final = 1000
"""Characters of a diagnostic's message."""
MOST_RELATED: Final = 4
MOST_LINE: Final = 300
"""Characters of one line that is quoted."""

_KINDS: Final = {
    "frame": "Code of the stack trace",
    "definition": "Definition",
    "edit": "Changed a moment ago",
    "history": "How these lines were changed",
    "test_output": "Output of a failing test",
    "dependency": "Versions of dependencies",
    "diagnostic": "Code that is complained of",
    "viewed": "Looked at a moment ago",
    "retrieved": "Similar code",
}

Count = Callable[[Sequence[Message]], Awaitable[int]]
"""Tokens of the prompt that messages make."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of everything is shown."""

    snippets: int
    lines: int
    trace: int
    turns: int


@dataclass(frozen=True, slots=True)
class Prompt:
    messages: tuple[Message, ...]
    tokens: int
    snippets: int
    """So many of the request's, from the first on."""


async def fitted(request: DebugRequest, region: Region | None, room: int, count: Count) -> Prompt:
    """The largest prompt within `room` tokens; the smallest there is where even that is larger. region: what a fix rewrites."""
    extent = Extent(0, MOST_LINES, MOST_TRACE, len(request.turns))
    while True:
        found = tuple(messages(request, region, extent))
        tokens = await count(found)
        smaller = _smaller(extent, request)
        if tokens <= room or smaller is None:
            break
        extent = smaller
    best, most = Prompt(found, tokens, 0), min(room, tokens + int(SNIPPETS_SHARE * room))
    # Whole pieces, as many as there is room for.
    low, high = 0, len(request.snippets)
    while low < high:
        middle = (low + high + 1) // 2
        found = tuple(messages(request, region, replace(extent, snippets=middle)))
        tokens = await count(found)
        if tokens <= most:
            low, best = middle, Prompt(found, tokens, middle)
        else:
            high = middle - 1
    return best


def _smaller(extent: Extent, request: DebugRequest) -> Extent | None:
    """The next step down; None: there is none."""
    least_turns = 1 if request.kind == "chat" else 0
    if extent.turns > least_turns:
        return replace(extent, turns=max(least_turns, extent.turns // 2))
    if extent.lines > 2:
        return replace(extent, lines=extent.lines // 2)
    if extent.trace > 200:
        return replace(extent, trace=extent.trace // 2)
    return None


def messages(request: DebugRequest, region: Region | None, extent: Extent) -> list[Message]:
    """The prompt for one request. region: offsets in `request.text`; None: nothing is rewritten."""
    parts = [_snippet(snippet) for snippet in request.snippets[: extent.snippets]]
    if request.text:
        parts.append(_file(request, region, extent.lines))
    parts += [_diagnostic(request, diagnostic) for diagnostic in request.diagnostics[:MOST_DIAGNOSTICS]]
    if request.trace:
        parts.append(said(cut_middle(request.trace.strip(), extent.trace)))
    if request.selection is not None and request.text and region is None:
        chosen = _of_file(request, request.selection.start, request.selection.end)
        if chosen.strip():
            parts.append(f"The developer has selected:\n{block(request.language, cut_middle(chosen, MOST_TRACE))}")
    turns = list(request.turns[len(request.turns) - extent.turns :] if extent.turns else ())
    while turns and turns[0].role == "assistant":
        turns.pop(0)
    question = _asked(request, region)
    talk: list[Message] = []
    if request.kind == "chat":
        talk = [Message(role=turn.role, text=turn.text) for turn in turns]
    elif turns:
        parts.append("What was said before:\n" + "\n".join(f"{turn.role}: {cut_middle(turn.text, 1000)}" for turn in turns))
    if question:
        parts.append(question)
    context = "\n\n".join(part for part in parts if part)
    if talk and context:
        talk[0] = Message(role="user", text=f"{context}\n\n{talk[0].text}")
    elif context:
        talk = [Message(role="user", text=context), *talk]
    return [Message(role="system", text=SYSTEM), *talk]


def _asked(request: DebugRequest, region: Region | None) -> str:
    if request.kind == "explain":
        return (
            "Explain in a few short sentences what this means here, what causes it, and how to mend it. "
            "Name the line. Show code only if it helps."
        )
    if region is None:
        return ""
    function = region.name if region.is_function else ""
    return asked(request.language, request.text[region.start : region.end], function)


def retry(finding: str) -> Message:
    """What the model is told of an answer that did not pass."""
    return Message(
        role="user",
        text=f"That does not work. {finding} Look again, and answer in the same form: the code block, then one short sentence.",
    )


def _file(request: DebugRequest, region: Region | None, lines: int) -> str:
    """The code around the place. What a fix rewrites is shown by itself, later."""
    text = request.text
    if region is not None:
        above = text[: region.start].splitlines(keepends=True)
        below = text[region.end :].splitlines(keepends=True)
        head = "".join(above[-lines // 2 :] if lines else ())
        imports = "".join(line for line in above[: max(0, len(above) - lines // 2)] if _imports(line))
        tail = "".join(below[: lines // 2])
        shown = (
            [f"The file `{request.path}`, above the code in question:\n{block(request.language, imports + head)}"]
            if head.strip()
            else []
        )
        if tail.strip():
            shown.append(f"Below it:\n{block(request.language, tail)}")
        return "\n\n".join(shown) or f"The file is `{request.path}`."
    start, end = place(request)
    # At LF and nowhere else, as rows are counted: `splitlines` breaks at form feeds, too.
    all_lines = list(StringIO(text))
    first, last = text.count("\n", 0, start), text.count("\n", 0, end)
    begin, stop = max(0, first - lines), min(len(all_lines), last + lines + 1)
    shown_lines = "".join(
        f"{number + request.text_line + 1:>4} {line}" for number, line in enumerate(all_lines[begin:stop], begin)
    )
    return f"The file `{request.path}` with line numbers:\n{block(request.language, shown_lines)}"


def _imports(line: str) -> bool:
    return line.startswith(("import ", "from ", "#include", "use ", "package ", "const ")) and len(line) < MOST_LINE


def place(request: DebugRequest) -> tuple[int, int]:
    """The likeliest of `places`."""
    return places(request)[0]


def places(request: DebugRequest) -> list[tuple[int, int]]:
    """Offsets in `request.text` that the request may be about, likeliest first: of the diagnostic, the selection or the trace;
    else its beginning. Several only where a test that failed names several functions."""
    span = request.diagnostics[0] if request.diagnostics else request.selection
    if span is None:
        return _traced(request)
    start = min(max(0, span.start - request.text_start), len(request.text))
    return [(start, min(max(start, span.end - request.text_start), len(request.text)))]


def rows(request: DebugRequest) -> list[int]:
    """Lines of `request.text`, from 0, that the diagnostic marks, or that the trace's frames stand in, the innermost first."""
    text, begin = request.text, request.text_start
    for span in request.diagnostics[:1]:
        first, last = (text.count("\n", 0, max(0, at - begin)) for at in (span.start, span.end))
        return list(range(first, last + 1))
    trace = read(request.trace) if request.trace and request.path else None
    found = []
    for frame in trace.frames if trace else ():
        same = f"/{frame.path}".endswith(f"/{request.path}") or f"/{request.path}".endswith(f"/{frame.path}")
        row = frame.line - 1 - request.text_line
        if same and frame.line and 0 <= row <= text.count("\n"):
            found.append(row)
    return found


def _traced(request: DebugRequest) -> list[tuple[int, int]]:
    """The line of the trace's innermost frame that is in the file; else of the functions that what is said speaks of."""
    for row in rows(request):
        start = sum(len(line) for line in islice(StringIO(request.text), row))
        return [(start, start + len(request.text[start:].partition("\n")[0]))]
    # A test that fails stands in another file; what it calls is here.
    said = [request.trace, *(snippet.text for snippet in request.snippets if snippet.kind in ("frame", "test_output"))]
    said += [turn.text for turn in reversed(request.turns)]
    return [(start, start) for start in spoken_of(request.text, request.language, said)] or [(0, 0)]


def _diagnostic(request: DebugRequest, diagnostic: Diagnostic) -> str:
    start = diagnostic.start - request.text_start
    who = diagnostic.source or "A tool"
    code = f" ({diagnostic.code})" if diagnostic.code else ""
    if request.text and 0 <= start <= len(request.text):
        begin = request.text.rfind("\n", 0, start) + 1
        line = request.text[begin:].partition("\n")[0].strip()[:MOST_LINE]
        where = f" in line {request.text.count(chr(10), 0, start) + request.text_line + 1}, `{line}`" if line else ""
    else:
        where = ""
    words = [f"{who} reports{where}: {cut_middle(diagnostic.message.strip(), MOST_MESSAGE)}{code}"]
    words += [
        f"  related: {one.path}:{one.line + 1}: {one.message.strip()[:MOST_LINE]}" for one in diagnostic.related[:MOST_RELATED]
    ]
    return "\n".join(words)


def _snippet(snippet: DebugSnippet) -> str:
    place = f" `{snippet.path}`" if snippet.path else ""
    if snippet.first_line is not None:
        place += f" from line {snippet.first_line + 1} on"
    note = f" ({snippet.note})" if snippet.note else ""
    return f"{_KINDS[snippet.kind]}{place}{note}:\n{block('', snippet.text)}"


def _of_file(request: DebugRequest, start: int, end: int) -> str:
    return request.text[max(0, start - request.text_start) : max(0, end - request.text_start)]


def cut_middle(text: str, most: int) -> str:
    """At most `most` characters: its beginning and its end."""
    if len(text) <= most:
        return text
    half = max(1, most // 2)
    return f"{text[:half]}\n[…]\n{text[-half:]}"
