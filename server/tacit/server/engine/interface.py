"""What the server asks of an engine, whichever it is. Pure: types only."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tacit.protocol.fim import FimTokens

COMPLETION, ANSWER, PRACTICE = 0, 1, 2
"""Ranks: somebody types, somebody waits, nobody does."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn: temperature only (top_p 1, no top_k, no penalties), so that log μ is known exactly."""

    max_tokens: int
    temperature: float
    """0: greedy; log-probabilities are then those at temperature 1 (for probes)."""
    seed: int
    rank: int = COMPLETION
    """Where requests of several wait, the lower comes first: an engine that can choose does so."""
    salt: str = ""
    """What an engine remembers of a prompt is used again for the same salt only: its quickness tells nobody else of it."""
    background: bool = False
    """Nobody waits for it: it may not cost others what the engine keeps for their next request."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One sampled token."""

    token: int
    text: str
    """The characters that this token completes; empty while a character's bytes are incomplete and for end tokens."""
    logprob: float
    """log μ(token), nats."""


@dataclass(frozen=True, slots=True)
class DrawStats:
    """What a stream has cost so far. It comes twice: when the prompt has been read (`generated` is 0), and last."""

    prompt_tokens: int
    prompt_evaluated: int
    """All of them, for as long as the engine has not told: vLLM tells it at an answer's end."""
    prompt_ms: float
    generated: int
    generate_ms: float
    ended: bool
    """True: an end token was drawn. False: max_tokens was reached."""


class Engine(Protocol):
    """One base model and any number of adapters. Every method raises EngineUnavailable while the model is not ready."""

    @property
    def fim(self) -> FimTokens: ...

    async def start(self) -> None:
        """Load the base model; returns when it answers. Restarts itself afterwards when it dies, adapters included."""

    async def stop(self) -> None:
        """Let go of everything. No process of the engine is left."""

    @property
    def ready(self) -> bool: ...

    @property
    def message(self) -> str:
        """Why it is not ready, for a person; empty when it is."""

    async def prefix_cache(self) -> tuple[int, int] | None:
        """Prompt tokens that it looked for in its cache since its start, and those that it found; None: its streams tell.

        The last that is known while the model is not ready. EngineUnavailable: it is, and does not say.
        """

    async def tokenize(self, text: str) -> list[int]:
        """Token ids; the text of special tokens is not parsed as such, nothing is added."""

    def generate(self, prompt: Sequence[int], sampling: Sampling, adapter: str | None) -> AsyncGenerator[Drawn | DrawStats, None]:
        """Draw tokens one by one, between two DrawStats. Closing the generator stops the engine's work on it.

        adapter: a name that `load` was called with, or None for the base. NotFound if it is not loaded.
        """

    async def load(self, name: str, folder: Path) -> None:
        """Make the PEFT adapter in `folder` usable as `name`, beside what is loaded. Running streams are not disturbed.

        Refused if the engine cannot take it (wrong shapes, wrong architecture); what was loaded stays loaded.
        """

    async def drop(self, name: str) -> None:
        """Forget an adapter. Streams that use it end undisturbed."""

    def loaded(self) -> frozenset[str]: ...
