"""Wire types of `POST /v1/complete`: what is asked of the model and what it drew. Pure data.

Text offsets are code points. Times are milliseconds. Log-probabilities are natural logarithms (nats).
"""

from hashlib import sha256
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

BASE_POLICY = "base"

Trigger = Literal["automatic", "invoked"]
Task = Literal["completion", "debug"]
FinishReason = Literal["eos", "length", "stop_rule", "deadline"]


class Wire(BaseModel):
    """Base of all wire types: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SnippetKind = Literal["definition", "edit", "diagnostic", "viewed", "retrieved"]
"""Why a piece of the workspace is shown: it defines a name near the cursor, was just edited there, is what a tool complains
of at the cursor, was just looked at, or reads like the code at the cursor."""


class Snippet(Wire):
    """A piece of the workspace that the model is shown before the file itself: already redacted."""

    path: str = Field(max_length=4096)
    """Relative to the workspace root, with forward slashes."""
    text: str = Field(max_length=20_000)
    kind: SnippetKind


class Context(Wire):
    """The code around the hole, as it is sent to the model: already redacted and cut to the budget."""

    path: str = Field(max_length=4096)
    """Relative to the workspace root, with forward slashes."""
    language: str = Field(max_length=64)
    """LSP language id."""
    prefix: str = Field(max_length=200_000)
    suffix: str = Field(max_length=200_000)
    snippets: tuple[Snippet, ...] = Field(default=(), max_length=64)
    """Of the rest of the workspace, in the order in which the prompt has them; the last are dropped first."""

    def digest(self) -> str:
        """sha256, hex, of path, prefix, suffix and snippets: what groups suggestions for one place."""
        shown = [part for snippet in self.snippets for part in (snippet.path, snippet.text)]
        return sha256("\0".join((self.path, self.prefix, self.suffix, *shown)).encode()).hexdigest()


class CompleteRequest(Wire):
    request_id: str = Field(min_length=1, max_length=64)
    session_id: str = Field(min_length=1, max_length=64)
    project: str | None = Field(default=None, max_length=64)
    """The repository's root commit, `dir-…` for a folder without git, or None: served by the base."""
    task: Task = "completion"
    context: Context
    trigger: Trigger = "automatic"
    deadline_ms: int = Field(default=8000, ge=50, le=120_000)
    """When it passes, what has been generated so far is the answer."""
    max_tokens: int | None = Field(default=None, ge=1, le=512)
    """None: the server's setting."""
    temperature: float | None = Field(default=None, ge=0.05, le=2.0)
    """None: the server's setting. Zero is not allowed: a greedy draw has no propensity to learn from."""
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)


PROMPT_FORMAT = 2
"""How `fim.assemble` makes a prompt of a context. Another number: the same context gives another prompt, and what was drawn from
that has no usable propensity."""


class Generation(Wire):
    """One draw from the policy, complete enough for off-policy learning (LEARNING.md, 'What is being learnt from')."""

    # JSON has neither infinities nor NaN: stored as null, one of them could not be read again.
    model_config = ConfigDict(allow_inf_nan=False)

    tokens: tuple[int, ...]
    """Every token that was sampled, the end-of-text token included when it was drawn. Empty: none was (`Draw.origin`), or what is
    not shown of them held a secret, and the draw is not recorded."""
    logprobs: tuple[float, ...]
    """log μ(token) of each, under the distribution that was sampled from: temperature applied, top_p 1, no top_k."""
    temperature: float
    seed: int
    policy_version: str
    """`base` or `NAME@000042`."""
    model: str
    """sha256, hex, of the base model's file."""
    finish_reason: FinishReason
    prompt_format: int = 1
    """PROMPT_FORMAT when it was drawn; records that do not say are of format 1, which named every file."""


class Timings(Wire):
    total_ms: float
    """From the request's arrival at the server to its answer."""
    prompt_tokens: int
    """Length of the prompt."""
    prompt_evaluated: int
    """How many of them were computed anew; the others came from the KV cache."""
    prompt_ms: float
    generated: int
    generate_ms: float


class CompleteResponse(Wire):
    request_id: str
    text: str
    """What to show: the generated text cut by the stop rules. Empty: nothing good was found."""
    generation: Generation
    timings: Timings
    snippets: int = 0
    """So many of the request's snippets, from the first on, had room in the prompt."""


class PromptSize(Wire):
    """`POST /v1/prompt`: what a context's prompt is made of, in the engine's own tokens."""

    snippets: tuple[int, ...]
    """Of each of the context's snippets, its mark and path included, whether it has room or not."""
    path: int
    """0: the prompt does not name the file."""
    prefix: int
    suffix: int
    room: int
    """For the whole prompt: the engine's context without the longest answer."""
    total: int
    """Of the prompt as it would be read."""
    kept: int
    """So many of the snippets, from the first on, have room."""
