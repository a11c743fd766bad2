"""`textDocument/codeAction`: which actions there are at a place. Pure; the model is asked when one of them is chosen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import attrs
from lsprotocol import types

from tacit.lsp.documents import well_formed
from tacit.protocol.plain_text import visible

FIX_COMMAND: Final = "tacit.fix"
EXPLAIN_COMMAND: Final = "tacit.explain"
FIX_KIND: Final = types.CodeActionKind.QuickFix
EXPLAIN_KIND: Final = "tacit.explain"
KINDS: Final = (FIX_KIND, EXPLAIN_KIND)
MOST_PROBLEMS: Final = 3
"""At one place; of more the menu would hold nothing else."""
TITLE_CHARS: Final = 60


@attrs.define
class Question:
    """What a Fix or Explain is about: carried by the action, or the argument of the command."""

    uri: str
    range: types.Range
    version: int | None = None
    """Of the document that `range` was seen in; None: as it is when the question arrives."""
    diagnostics: list[types.Diagnostic] | None = None
    """The first is the one that it is about; None: those that are known at `range`."""
    show: bool = True
    """Of an explanation: show the text as a message. False: the caller shows the answer that it gets."""
    trace: str | None = None
    """A stack trace that it is about: the file is the one that this leads to. None: none, or the document is one."""


@dataclass(frozen=True, slots=True)
class Client:
    """What the editor can do, as far as it matters here."""

    literals: bool = False
    """It takes code actions, not commands only."""
    resolves: bool = False
    """It asks for an action's edit when it is chosen."""
    versions: bool = False
    """It takes edits of a document's version."""
    applies: bool = False
    """It applies an edit when it is asked to."""
    progress: bool = False
    """It shows progress that it did not ask for."""
    shows: bool = False
    """It opens a document when it is asked to."""

    @classmethod
    def of(cls, capabilities: types.ClientCapabilities) -> Self:
        document, workspace, window = capabilities.text_document, capabilities.workspace, capabilities.window
        actions = document.code_action if document is not None else None
        resolved = actions.resolve_support.properties if actions is not None and actions.resolve_support is not None else ()
        edits = workspace.workspace_edit if workspace is not None else None
        return cls(
            literals=actions is not None and actions.code_action_literal_support is not None,
            resolves="edit" in resolved and actions is not None and actions.data_support is True,
            versions=edits is not None and edits.document_changes is True,
            applies=workspace is not None and workspace.apply_edit is True,
            progress=window is not None and window.work_done_progress is True,
            shows=window is not None and window.show_document is not None and window.show_document.support is True,
        )


def offered(
    question: Question, only: Sequence[str] | None, client: Client, plain: Callable[[Question], Any], whole: str = ""
) -> list[types.CodeAction | types.Command]:
    """The actions for these diagnostics, or for the selection. only: the kinds that are wanted. plain: a question as JSON.

    whole: what the document is, where it is asked about as a whole.
    """
    problems = question.diagnostics or []
    subjects: list[tuple[str, list[types.Diagnostic]]] = [(_short(one.message), [one]) for one in problems[:MOST_PROBLEMS]]
    if whole:
        subjects = [(whole, [])]
    elif not subjects and question.range.start != question.range.end:
        subjects = [("the selection", [])]
    found: list[types.CodeAction | types.Command] = []
    for kind, verb, command in ((FIX_KIND, "Fix", FIX_COMMAND), (EXPLAIN_KIND, "Explain", EXPLAIN_COMMAND)):
        if not _wanted(kind, only) or (kind == FIX_KIND and not (client.resolves or client.applies)):
            continue
        for subject, mine in subjects:
            # What else is reported there is told too: it may be the same mistake.
            others = [one for one in problems if one not in mine] if mine else []
            data = plain(Question(question.uri, question.range, question.version, [*mine, *others]))
            title = f"{verb} with Tacit: {subject}"
            run = types.Command(title=title, command=command, arguments=[data])
            if not client.literals:
                found.append(run)
                continue
            lazy = kind == FIX_KIND and client.resolves
            found.append(
                types.CodeAction(
                    title=title,
                    kind=kind,
                    diagnostics=mine or None,
                    command=None if lazy else run,
                    data=data if lazy else None,
                    tags=[types.CodeActionTag.LlmGenerated],
                )
            )
    return found


def relevant(diagnostics: Sequence[types.Diagnostic], place: types.Range) -> list[types.Diagnostic]:
    """Those on the lines of a range: errors first, then the nearest. Without what only their own server understands."""
    here = [one for one in diagnostics if one.range.start.line <= place.end.line and one.range.end.line >= place.start.line]

    def order(one: types.Diagnostic) -> tuple[int, int, int]:
        start = one.range.start
        return (one.severity or 1, abs(start.line - place.start.line), abs(start.character - place.start.character))

    return [attrs.evolve(one, data=None, code_description=None) for one in sorted(here, key=order)]


def _wanted(kind: str, only: Sequence[str] | None) -> bool:
    """A kind is also asked for by the beginning of its name."""
    return only is None or any(one in ("", kind) or kind.startswith(f"{one}.") for one in only)


def _short(message: str) -> str:
    line = visible(" ".join(well_formed(message).split()))
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
