"""`tacit explain` and `tacit chat`: debugging in a terminal. Reads the workspace, asks the server, prints.

What is read goes by the same rules as in an editor: ignored files and files with private keys are not shown to the model, and
secrets are replaced. What the model says is shown, never acted on by the terminal. Nothing is recorded.
"""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.cli.steps import say
from tacit.protocol.debugging import DebugKind, DebugRequest, DebugSnippet, Diagnostic, Span, Turn
from tacit.protocol.errors import BadRequest, NotFound, Refused
from tacit.protocol.events import new_id
from tacit.protocol.home import Home
from tacit.protocol.plain_text import visible
from tacit.protocol.redaction import redact

if TYPE_CHECKING:
    from tacit.lsp.workspace import Folder

MOST_INPUT = 200_000
"""Characters of what is piped in, once secrets are out of it; of more, the end: that is where an error stands."""
MOST_TURNS = 200
MOST_TURN = 100_000
"""Turns of a conversation, and characters of one: as in the contract. The oldest are forgotten."""
DEADLINE: float = DebugRequest.model_fields["deadline_ms"].default / 1000
"""Seconds that an answer may take, for whoever says nothing else."""

Deadline = Annotated[float, typer.Option("--deadline", metavar="SECONDS", min=1, max=1800, help="How long an answer may take.")]


@dataclass(slots=True)
class Subject:
    """What is asked about."""

    root: Path
    project: str | None = None
    path: str = ""
    language: str = "plaintext"
    text: str = ""
    selection: Span | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    trace: str = ""
    snippets: tuple[DebugSnippet, ...] = ()
    notes: list[str] = field(default_factory=list)
    """What a person should know: a file that may not be shown."""

    def request(self, kind: DebugKind, session: str, turns: Sequence[Turn] = (), deadline: float = DEADLINE) -> DebugRequest:
        """deadline: seconds."""
        return DebugRequest(
            kind=kind,
            request_id=new_id(),
            session_id=session,
            project=self.project,
            workspace=str(self.root),
            language=self.language,
            path=self.path,
            text=self.text,
            selection=self.selection,
            diagnostics=self.diagnostics,
            trace=self.trace,
            snippets=self.snippets,
            # The first and the last are the developer's.
            turns=tuple(turns[1 - MOST_TURNS :]),
            deadline_ms=int(1000 * deadline),
        )


def explain(
    where: Annotated[str, typer.Argument(metavar="[FILE:LINE]", help="What to explain; without it, what is piped in.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The answer and the trace, for scripts.")] = False,
    deadline: Deadline = DEADLINE,
) -> None:
    """What an error means and how to mend it: `some-command 2>&1 | tacit explain`, or a line of a file."""
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    if not where and not piped.strip():
        raise BadRequest(
            "There is nothing to explain.", mend="Pipe an error in (some-command 2>&1 | tacit explain), or name FILE:LINE."
        )
    subject = _subject(where, piped)
    if subject.trace.strip() and not where and _plain_trace(subject.trace) is None:
        subject.notes.append("No stack trace or compiler's error is recognised in this; the model is asked what it means.")
    _say_notes(subject)
    if not as_json and not _watched():
        say(f"Asking the model; its answer may take up to {deadline:g} s (`--deadline`).")
    request = subject.request("explain", new_id(), deadline=deadline)
    answer, cut = asyncio.run(_answered(request, aloud=not as_json))
    if as_json:
        typer.echo(json.dumps({"answer": answer, "cut": cut, "path": subject.path, "trace": _plain_trace(subject.trace)}))


def chat(
    where: Annotated[str, typer.Argument(metavar="[FILE[:LINE]]", help="What the conversation is about.")] = "",
    trace: Annotated[Path | None, typer.Option(help="A file with a stack trace or a tool's output.")] = None,
    deadline: Deadline = DEADLINE,
) -> None:
    """A conversation about a file, a line of it, or a stack trace; an empty line or Ctrl-D ends it."""
    if trace is not None and not trace.is_file():
        raise NotFound(f"There is no file {trace}.")
    said = trace.read_text(encoding="utf-8", errors="replace") if trace is not None else ""
    subject = _subject(where, said)
    _say_notes(subject)
    session, turns = new_id(), list[Turn]()
    while question := _question():
        turns.append(Turn(role="user", text=redact(question)[:MOST_TURN]))
        answer, _ = asyncio.run(_answered(subject.request("chat", session, turns, deadline), aloud=True))
        turns.append(Turn(role="assistant", text=redact(answer)[:MOST_TURN] or "(nothing)"))


def _question() -> str:
    """One line, or several that end with a backslash; empty: the end."""
    lines: list[str] = []
    while True:
        try:
            line = input(("... " if lines else "you> ") if sys.stdin.isatty() else "")
        except EOFError:
            line = ""
        lines.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            return "\n".join(lines).strip()


async def _answered(request: DebugRequest, *, aloud: bool) -> tuple[str, str]:
    """The answer's text, and why it is not whole. aloud: printed as it comes, with what is being done on a terminal's last
    line."""
    from tacit.protocol.client import TacitClient

    showing = aloud and _watched()
    said, cut = "", ""
    async with TacitClient.of(Home.from_environment()) as client:
        stream = client.chat(request) if request.kind == "chat" else client.debug(request)
        try:
            async for chunk in stream:
                if chunk.kind == "progress" and showing and not said:
                    _status(" ".join(visible(chunk.text).split()))
                elif chunk.kind == "text":
                    if showing and not said:
                        _status("")
                    said += chunk.text
                    if aloud:
                        sys.stdout.write(visible(chunk.text))
                        sys.stdout.flush()
                elif chunk.kind == "done":
                    cut = chunk.cut
        finally:
            # Ctrl-C comes here as a cancellation: closing the connection stops the engine.
            await stream.aclose()
            if showing and not said:
                _status("")
    if aloud:
        sys.stdout.write("\n" if said.endswith("\n") else "\n\n" if showing else "\n")
        sys.stdout.flush()
        if cut:
            print(cut, file=sys.stderr)
    return said, cut


def _watched() -> bool:
    """What is being done can be shown on a line that is written over again."""
    return sys.stderr.isatty() and sys.stdout.isatty()


def _status(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()


def _say_notes(subject: Subject) -> None:
    for note in subject.notes:
        print(visible(note), file=sys.stderr)


def _subject(where: str, piped: str) -> Subject:
    """The file that is named, or the one of the trace's innermost frame in the workspace; and what surrounds it, as in an editor.

    What is piped in is redacted before it is cut: nobody recognises a private key whose first line is cut off.
    """
    from tacit.lsp.debugging.surroundings import Question, collected
    from tacit.lsp.gathering.files import listed
    from tacit.lsp.gathering.frames import places
    from tacit.lsp.gathering.reading import Reading
    from tacit.lsp.workspace import Folder
    from tacit.protocol.project import project_of

    path, line = _parsed(where)
    root = _root(path)
    folder = Folder.at(root)
    root = folder.root
    subject = Subject(root, project_of(root), trace=redact(piped)[-MOST_INPUT:])
    reading = Reading(folder)
    found = places(subject.trace, str(root), listed(folder)) if subject.trace else []
    if path is not None:
        if not path.is_relative_to(root):
            raise Refused(f"{path} leads outside of {root}; nothing of it is sent.")
        name = path.relative_to(root).as_posix()
        if not _take(subject, folder, name, line):
            raise Refused(subject.notes[-1])
        _add_complaints(subject, line)
    else:
        while found and not subject.path:
            name, line = found[0][0], found.pop(0)[1] + 1
            _take(subject, folder, name, line)
    text = (reading.raw(subject.path) or "") if subject.path else ""
    question = Question(reading, subject.path, subject.language, text, max(0, line - 1), subject.trace)
    subject.snippets = asyncio.run(collected(question))
    return subject


def _parsed(where: str) -> tuple[Path | None, int]:
    """(file, line from 1; 0: none)."""
    if not where:
        return None, 0
    found = re.fullmatch(r"(.+?)(?::(\d{1,8}))?(?::\d{1,8})?", where)
    path = Path(found[1] if found is not None else where)
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", mend="Name FILE or FILE:LINE.")
    return path.resolve(), int(found[2] or 0) if found is not None else 0


def _root(path: Path | None) -> Path:
    """The repository around the file or the working directory; else the working directory, if it holds the file."""
    here = Path.cwd().resolve()
    inside = path.parent if path is not None else here
    repository = next((folder for folder in (inside, *inside.parents) if (folder / ".git").exists()), None)
    return repository or (here if inside.is_relative_to(here) else inside)


def _text(folder: "Folder", name: str) -> str | None:
    """A file's text, masked; None: it may not be shown, or is none."""
    from tacit.lsp.gathering.files import allowed, text_of
    from tacit.protocol.redaction import mask

    file = allowed(folder, name)
    text = text_of(file) if file is not None else None
    return None if text is None or "PRIVATE KEY" in text else mask(text)


def _take(subject: Subject, folder: "Folder", name: str, line: int) -> bool:
    """Make it the file that is asked about. False: it may not be shown, which is noted."""
    from tacit.lsp.gathering.languages import language_of

    text = _text(folder, name)
    if text is None:
        subject.notes.append(f"Nothing of {name} is sent: it is ignored, too large, no text, or holds a private key.")
        return False
    lines = text.splitlines(keepends=True)
    if line > max(1, len(lines)):
        raise BadRequest(f"{name} has {len(lines)} lines.")
    subject.path, subject.text, subject.language = name, text, language_of(name) or "plaintext"
    if line:
        start = sum(map(len, lines[: line - 1]))
        subject.selection = Span(start=start, end=start + len(lines[line - 1].rstrip("\r\n")) if lines else start)
    return True


def _add_complaints(subject: Subject, line: int) -> None:
    """What `ty` says of the line, where it can be asked."""
    if subject.language != "python" or subject.selection is None or subject.trace:
        return
    from tacit.server.debugging.python_names import said_of

    said = asyncio.run(said_of([subject.text], subject.path, str(subject.root)))
    if not isinstance(said, str):
        span = subject.selection
        subject.diagnostics = tuple(
            Diagnostic(start=span.start, end=span.end, message=one.message, code=one.rule, source="ty")
            for one in said[0]
            if one.line == line - 1
        )[:8]


def _plain_trace(text: str) -> dict[str, Any] | None:
    from dataclasses import asdict

    from tacit.protocol.traces.reading import read

    trace = read(text) if text else None
    return asdict(trace) if trace is not None else None
