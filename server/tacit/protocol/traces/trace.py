"""What a stack trace says, whichever language wrote it: frames, exceptions, and which frames are the workspace's. Pure."""

import posixpath
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
    """One exception, panic, signal or finding of a sanitizer."""

    type: str
    """Such as `ValueError`, `java.lang.NullPointerException`, `panic`, `heap-use-after-free`, `SIGSEGV`."""
    message: str
    frames: tuple[Frame, ...]
    """The innermost (where it happened) first."""


@dataclass(frozen=True, slots=True)
class Trace:
    language: TraceLanguage
    raised: tuple[Raised, ...]
    """The root cause first, then what it led to; at least one. Frames that chained exceptions share are with the last."""

    @property
    def cause(self) -> Raised:
        return self.raised[0]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Of all exceptions, the cause's innermost first; each place once."""
        return tuple(dict.fromkeys(frame for one in self.raised for frame in one.frames))


def relative(path: str, root: str) -> str | None:
    """Where in the workspace a frame's path lies, with forward slashes; None: elsewhere, or only a file's name.

    root: absolute. A relative path is taken to be relative to it. Nothing is looked up on the disk.
    """
    path, root = _plain(path), _plain(root).rstrip("/")
    if not path or path.startswith("<") or "\0" in path:
        return None
    if _absolute(path):
        whole = posixpath.normpath(path)
        return whole[len(root) + 1 :] if root and whole.startswith(root + "/") else None
    whole = posixpath.normpath(path)
    return None if whole.startswith("..") or whole == "." else whole


def _plain(path: str) -> str:
    return path.replace("\\", "/").removeprefix("file://")


def _absolute(path: str) -> bool:
    return path.startswith("/") or (path[1:3] == ":/" and path[0].isalpha())
