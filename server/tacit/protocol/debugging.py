"""Wire types of `POST /v1/debug` and `POST /v1/chat`: what is asked about an error, and the streamed answer. Pure data.

The answer is a stream of JSON lines (`application/x-ndjson`), each one a DebugChunk: any number of `progress` and `text`; for a
fix one `edit` or one `withheld`; last `done`. An error after the stream has begun is the last line, `failed`; the client raises
it as the TacitError that it is. Closing the connection stops the work.

Offsets are code points from the beginning of the file, `[start, end)`; lines and columns count from 0. The text is *masked*, not
redacted (`redaction.mask` keeps its length), so that offsets are those of the editor's text. Nothing is stored by these routes:
what is to be learnt from is sent as events by the client, which gets the whole draw in `done`.
"""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, field_validator, model_validator

from tacit.protocol.completion import Generation, Timings, Wire

DebugKind = Literal["fix", "explain", "chat"]
"""fix: an edit that was checked, or a sentence why there is none. explain: text about the diagnostic or the trace. chat: text
that answers the last turn."""

MOST_TEXT: Final = 400_000
"""Characters of the file; of a longer one a window is sent."""


class Span(Wire):
    start: int = Field(ge=0)
    end: int = Field(ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> "Span":
        if self.end < self.start:
            raise ValueError("it ends before it starts")
        return self


class Related(Wire):
    """A place that a diagnostic refers to."""

    path: str = Field(max_length=4096)
    line: int = Field(ge=0)
    message: str = Field(max_length=4000)


class Diagnostic(Span):
    """What a language server, linter or compiler says of `[start, end)`."""

    message: str = Field(max_length=8000)
    code: str = Field(default="", max_length=200)
    """As the tool names it, such as `unresolved-reference` or `E0425`."""
    source: str = Field(default="", max_length=200)
    """The tool, such as `ty`, `Pyright`, `rustc`."""
    severity: Literal["error", "warning", "information", "hint"] = "error"
    related: tuple[Related, ...] = Field(default=(), max_length=32)


DebugSnippetKind = Literal[
    "frame", "definition", "edit", "history", "test_output", "dependency", "diagnostic", "viewed", "retrieved"
]
"""Why it is shown. frame: code around a frame of the trace. edit: changed a moment ago. history: these lines in an earlier
commit. test_output: of a failing test. dependency: versions from a lock file. The others as in `completion.SnippetKind`."""


class DebugSnippet(Wire):
    """Something of the workspace that the model is shown besides the file: already redacted."""

    path: str = Field(max_length=4096)
    """Relative to the workspace root, with forward slashes; empty where it is no file's."""
    text: str = Field(max_length=20_000)
    kind: DebugSnippetKind
    first_line: int | None = Field(default=None, ge=0)
    """Of `text` in the file, where that means anything."""
    note: str = Field(default="", max_length=400)
    """What a reader should know of it, such as "commit 1a2b3c4, two days ago"."""


class Turn(Wire):
    """One side's words in a conversation: already redacted."""

    role: Literal["user", "assistant"]
    text: str = Field(min_length=1, max_length=100_000)


class DebugRequest(Wire):
    """Body of `POST /v1/debug` (fix, explain) and `POST /v1/chat` (chat)."""

    kind: DebugKind
    request_id: str = Field(min_length=1, max_length=64)
    session_id: str = Field(min_length=1, max_length=64)
    project: str | None = Field(default=None, max_length=64)
    """As in CompleteRequest; decides which `debug` adapter answers."""
    workspace: str = Field(default="", max_length=4096)
    """Absolute path of the folder that `path` is relative to, on the server's machine. Only tools that check a candidate read it,
    never the prompt. Empty: checks that need the other files are not made, and that is said."""
    language: str = Field(default="plaintext", max_length=64)
    """LSP language id."""
    path: str = Field(default="", max_length=4096)
    """Relative to the workspace, with forward slashes; empty: no file is asked about (a trace alone, a free question)."""
    text: str = Field(default="", max_length=MOST_TEXT)
    """The file as it is in the editor, masked; or the part of it that begins at `text_start`."""
    text_start: int = Field(default=0, ge=0)
    text_line: int = Field(default=0, ge=0)
    """Line of the file in which `text` begins, which it does at the line's beginning."""
    whole: bool = True
    """`text` is the whole file. A part can be fixed as well, but tools cannot check it."""
    masked: tuple[Span, ...] = Field(default=(), max_length=1000)
    """What the client masked: no edit touches it."""
    selection: Span | None = None
    diagnostics: tuple[Diagnostic, ...] = Field(default=(), max_length=32)
    """The first is the one that the request is about."""
    trace: str = Field(default="", max_length=200_000)
    """Stack trace or a tool's output, redacted. `tacit.protocol.traces.reading.read(text)` reads it (None: it is no trace)."""
    turns: tuple[Turn, ...] = Field(default=(), max_length=200)
    """Oldest first. For `chat` the last is the developer's question; for the others what was said before."""
    snippets: tuple[DebugSnippet, ...] = Field(default=(), max_length=64)
    """The most useful first: the last are dropped first."""
    run_tests: bool = False
    """A fix is checked by the covering tests, too, in a sandbox: the workspace's own code is run there."""
    record: bool = False
    """Recording is on: `done` brings each draw whole. Off: it brings none."""
    candidates: int = Field(default=3, ge=1, le=8)
    """Of a fix: how many answers are drawn at most until one passes."""
    deadline_ms: int = Field(default=120_000, ge=1000, le=1_800_000)
    """When it passes, what has been said so far is the answer; a fix that has not passed by then is withheld."""
    max_tokens: int | None = Field(default=None, ge=1, le=4096)
    """Of one draw; None: what the engine's context and the size of the code allow."""
    temperature: float | None = Field(default=None, ge=0.05, le=2.0)
    """None: the server's setting."""
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)

    @field_validator("workspace", "path")
    @classmethod
    def _can_be_a_path(cls, value: str) -> str:
        if "\0" in value:
            raise ValueError("a path has no NUL in it")
        return value

    @field_validator("workspace")
    @classmethod
    def _is_absolute(cls, value: str) -> str:
        # Else it would be one below the folder that the server was started in.
        if value and not (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
            raise ValueError("the workspace's path is absolute")
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> "DebugRequest":
        if self.kind == "chat" and (not self.turns or self.turns[-1].role != "user"):
            raise ValueError("the last turn of a chat is the developer's")
        if self.kind == "fix" and not (self.text and self.path):
            raise ValueError("a fix needs a file: path and text")
        if self.kind != "chat" and not (self.diagnostics or self.trace or self.selection or self.turns):
            raise ValueError("nothing is asked about: give a diagnostic, a trace, a selection or a turn")
        return self


class Progress(Wire):
    """What is being done, for a person."""

    kind: Literal["progress"] = "progress"
    text: str


class TextDelta(Wire):
    """The next piece of the answer's text (Markdown)."""

    kind: Literal["text"] = "text"
    text: str


class CoveringRuns(Wire):
    """The covering tests with the file as it was, and with a candidate: names as the runner has them, the file first."""

    before_passed: tuple[str, ...] = ()
    before_failed: tuple[str, ...] = ()
    """Files that could not be read are among them."""
    after_passed: tuple[str, ...] = ()
    after_failed: tuple[str, ...] = ()
    before_seconds: float = Field(default=0.0, ge=0)
    after_seconds: float = Field(default=0.0, ge=0)


class Check(Wire):
    """One thing that was looked at before a fix is shown."""

    name: Literal["format", "parses", "names", "diagnostic", "scope", "tests", "time"]
    """format: the answer could be read as a change. parses: tree-sitter finds no new fault. names: no new unresolved name, import
    or attribute. diagnostic: what the request is about is gone, and nothing new came. scope: it changes little, hides nothing
    and touches no secret. tests: the covering tests pass. time: it was up before the answer was written, or checked: nothing is
    known of it."""
    result: Literal["passed", "failed", "unchecked"]
    note: str
    """A sentence: what was found, by which tool, or why it could not be checked."""
    runs: CoveringRuns | None = None
    """Of `tests`; None: they were not run."""


class ProposedEdit(Span):
    """`[start, end)` of the file is replaced by `text`."""

    path: str
    """Relative to the workspace, with forward slashes."""
    text: str


class Proposal(Wire):
    """The fix: every check passed or is `unchecked`."""

    kind: Literal["edit"] = "edit"
    edits: tuple[ProposedEdit, ...] = Field(min_length=1)
    """In order, without overlap, all of the text as it was sent."""
    reason: str
    """One line, in the model's words; of a change that was searched for, in the server's."""
    confidence: float = Field(ge=0, le=1)
    """How sure the model was of the tokens it changed, less for what could not be checked. Not calibrated."""
    checks: tuple[Check, ...]


class Withheld(Wire):
    """No candidate passed: nothing is shown."""

    kind: Literal["withheld"] = "withheld"
    reason: str
    """A sentence for a person: how many were tried, and why the last was dropped."""
    checks: tuple[Check, ...] = ()
    """Of the candidate that came furthest."""


class Message(Wire):
    """One message of a chat prompt."""

    role: Literal["system", "user", "assistant"]
    text: str


DrawOrigin = Literal["drawn", "searched"]
"""How an answer came to be. drawn: every token was sampled by the policy. searched: the old code with a line that was written
into a blank, in the form of an answer, which a check has proven: no sample of the policy, hence without tokens and
log-probabilities. Changes that were tried and not proven are not recorded."""


class Draw(Wire):
    """One answer as it came to be: enough to learn from, by itself. Candidates that were dropped are draws, too."""

    messages: tuple[Message, ...]
    """The whole prompt: `chat_prompt.prompt_tokens` makes the tokens of it."""
    text: str
    """What was drawn, as text."""
    generation: Generation
    """Of one that was searched: the temperature and seed of the line."""
    checks: tuple[Check, ...] = ()
    """Of a fix; what failed is why it was not shown."""
    shown: bool
    origin: DrawOrigin = "drawn"
    """Records that do not say are of drawn answers: there were no others."""


class Done(Wire):
    """The end of an answer."""

    kind: Literal["done"] = "done"
    request_id: str
    policy_version: str
    """`base` or `NAME@000042`: what drew all of it."""
    draws: tuple[Draw, ...] = ()
    """In order; empty unless the request says `record`."""
    timings: Timings
    """Sums over all draws."""
    cut: str = ""
    """Of an explanation or a chat's answer that is not whole: a sentence that says why. No part of the answer's text."""
    snippets: int = 0
    """So many of the request's snippets, from the first on, had room in the prompt."""


class Failed(Wire):
    """An error after the stream had begun, as in `errors`."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str
    mend: str = ""


DebugChunk = Annotated[Progress | TextDelta | Proposal | Withheld | Done | Failed, Field(discriminator="kind")]
DEBUG_CHUNK: TypeAdapter[DebugChunk] = TypeAdapter(DebugChunk)
"""Validates and serialises one line of the answer."""

CHAT_PROMPT_FORMAT: Final = 1
"""How messages become tokens (`chat_prompt`): `Generation.prompt_format` of a debug draw."""
