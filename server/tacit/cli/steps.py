"""How far long work is, in lines on stderr, where there is no terminal to draw bars on. Prints; knows nothing of the work."""

import sys
import time
from types import TracebackType


def say(words: str) -> None:
    """A line at once, whoever reads: a pipe is not flushed by a line's end."""
    print(words, file=sys.stderr, flush=True)


def took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Lines:
    """Called as a bar is, with (stage, done, total); prints a line for each stage that has ended. The last ends with the context,
    unless that ends by an error: then nobody knows how far it came."""

    def __init__(self) -> None:
        self._now: tuple[str, int] | None = None
        self._since = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        # Behind a comma stands what changes with each step.
        if self._now is not None and self._now[0].partition(",")[0] != stage.partition(",")[0]:
            self._ended()
        self._now = (stage, total)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._ended()

    def _ended(self) -> None:
        if self._now is not None:
            stage, total = self._now
            say(f"{stage}{f' ({total})' if total > 1 else ''}: done, {took(time.monotonic() - self._since)}")
        self._now, self._since = None, time.monotonic()
