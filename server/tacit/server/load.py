"""How it goes just now: who waits, how soon an answer begins, how fast it comes, what the engine knew from before. Pure.

The same figures as Prometheus', for a person: percentiles and speed are of the last answers, not of all since the start.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from tacit.protocol.adapters import ServerLoad
from tacit.protocol.completion import Timings

Swap = Literal["done", "refused", "failed"]

RECENT = 1000
"""Answers that percentiles and speed are of."""


class Load:
    def __init__(self) -> None:
        self.waiting = 0
        """Requests that have no token yet: their turn has not come, the engine is busy, or reads their prompt."""
        self.answering = 0
        self.swaps: Counter[Swap] = Counter()
        self.cache_asked = 0
        """Prompt tokens that the engine looked for in its cache."""
        self.cache_hits = 0
        """Those that it found there."""
        self._streams = (0, 0)
        """The same two, as the streams of answers told them."""
        self._seen = (0, 0)
        """The same two, at the last look."""
        self.looked_at: datetime | None = None
        self.late = False
        """The engine has not answered the newest look."""
        self._first_ms: deque[float] = deque(maxlen=RECENT)
        self._drawn: deque[tuple[int, float]] = deque(maxlen=RECENT)
        """Of an answer: tokens behind its first, and the seconds that they took."""

    @contextmanager
    def asked(self) -> Iterator[Callable[[], None]]:
        """Within: one request. Yields what is to be called when its first token comes, or later once more."""
        begun = False
        self.waiting += 1

        def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                self.waiting -= 1
                self.answering += 1

        try:
            yield begin
        finally:
            begin()
            self.answering -= 1

    def answered(self, timings: Timings, *, completion: bool) -> None:
        """timings: of an answer that has at least one token. completion: only those are looked at for the first token."""
        if completion:
            self._first_ms.append(timings.prompt_ms)
        asked, hits = self._streams
        self._streams = (asked + timings.prompt_tokens, hits + max(0, timings.prompt_tokens - timings.prompt_evaluated))
        if timings.generated > 1:
            self._drawn.append((timings.generated - 1, timings.generate_ms / 1000))

    def look(self, counted: tuple[int, int] | None) -> tuple[int, int]:
        """What is new since the last look: (asked, hits). counted: what an engine that counts itself has counted since its start;
        None: its streams tell. An engine that was started anew counts from 0."""
        now = self._streams if counted is None else counted
        before = self._seen if now[0] >= self._seen[0] and now[1] >= self._seen[1] else (0, 0)
        self._seen, self.looked_at = now, datetime.now(UTC)
        asked, hits = now[0] - before[0], now[1] - before[1]
        self.cache_asked += asked
        self.cache_hits += hits
        return asked, hits

    def told(self, training_share: float) -> ServerLoad:
        """training_share: of the last 24 hours."""
        first = sorted(self._first_ms)
        seconds = sum(took for _, took in self._drawn)
        return ServerLoad(
            waiting=self.waiting,
            answering=self.answering,
            recent=len(first),
            first_token_p50_ms=percentile(first, 0.5),
            first_token_p95_ms=percentile(first, 0.95),
            tokens_per_second=sum(tokens for tokens, _ in self._drawn) / seconds if seconds else None,
            prefix_cache_hits=self.cache_hits / self.cache_asked if self.cache_asked else None,
            prefix_cache_at=self.looked_at if self.late else None,
            swaps_done=self.swaps["done"],
            swaps_refused=self.swaps["refused"],
            swaps_failed=self.swaps["failed"],
            training_share=training_share,
        )


def percentile(values: Sequence[float], share: float) -> float | None:
    """values: in order. The smallest that so large a share of them does not exceed; None of none."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else None
