"""What a stack trace or a compiler says, whichever language wrote it: frames and exceptions. Pure; `reading` makes them."""

from dataclasses import dataclass
from typing import Literal

TraceLanguage = Literal["python", "java", "javascript", "typescript", "cpp", "go", "rust"]
"""LSP language ids."""


@dataclass(frozen=True, slots=True)
class Frame:
    path: str
    """As it stands in the trace, with forward slashes: absolute, relative, or only a file's name (Java)."""
    line: int
    """Counts from 1; 0: not said."""
    column: int
    """Counts from 1; 0: not said."""
    function: str
    """With its class or module where the trace has them; empty: not said."""
    language: TraceLanguage


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception, panic, signal or finding of a sanitizer; or a compiler's error."""

    type: str
    """Such as `ValueError`, `java.lang.NullPointerException`, `panic`, `heap-use-after-free`, `SIGSEGV`; of a compiler its
    code, or `error`."""
    message: str
    frames: tuple[Frame, ...]
    """The innermost (where it happened) first."""


@dataclass(frozen=True, slots=True)
class Trace:
    language: TraceLanguage
    raised: tuple[Raised, ...]
    """The root cause first, then what it led to; at least one. Frames that chained exceptions share are with the last."""
    refused: bool = False
    """These are a compiler's errors, in its order: the program has not run. A frame is what an error or its note is about."""

    @property
    def cause(self) -> Raised:
        return self.raised[0]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Of all exceptions, the cause's innermost first; each place once."""
        return tuple(dict.fromkeys(frame for one in self.raised for frame in one.frames))
