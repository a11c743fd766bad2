"""What the developer did lately, the rhythm of the keys, how long the model takes. Pure; session milliseconds in.

Everything fades: a reject counts fully when it happens and nothing ten minutes later.
"""

from collections import deque
from typing import Final

FADES_MS: Final = 600_000.0
LONGEST_GAP_MS: Final = 2_000.0
"""A longer pause between two keys is a thought, not a rhythm."""
USUAL_GAP_MS: Final = 200.0
"""Before any key: the median of 136 million keystrokes (Dhakal et al., CHI 2018) is a little more."""
SHARE: Final = 0.15
"""Of the newest value in a running mean."""
MOST: Final = 200


class Recent:
    def __init__(self) -> None:
        self._accepts: deque[float] = deque(maxlen=MOST)
        self._rejects: deque[float] = deque(maxlen=MOST)
        self._rejected_place: tuple[str, int] | None = None
        self._last_shown: float | None = None
        self.last_key: float | None = None
        """When it was pressed; None: none yet."""
        self.gap_ms = USUAL_GAP_MS
        """Mean time between two keys."""
        self.latency_ms: float | None = None
        """Mean time of a call of the model; None: not known yet."""

    def key(self, now: float) -> None:
        """Something was typed."""
        if self.last_key is not None and 0 < now - self.last_key <= LONGEST_GAP_MS:
            self.gap_ms += SHARE * (now - self.last_key - self.gap_ms)
        self.last_key = now

    def answered(self, took_ms: float) -> None:
        """A call of the model took so long."""
        self.latency_ms = took_ms if self.latency_ms is None else self.latency_ms + SHARE * (took_ms - self.latency_ms)

    def shown(self, now: float) -> None:
        self._last_shown = now

    def accepted(self, now: float) -> None:
        self._accepts.append(now)
        self._rejected_place = None

    def rejected(self, now: float, uri: str, line: int) -> None:
        self._rejects.append(now)
        self._rejected_place = (uri, line)

    def accepts(self, now: float) -> float:
        return _faded(self._accepts, now)

    def rejects(self, now: float) -> float:
        return _faded(self._rejects, now)

    def rejected_here(self, uri: str, line: int) -> bool:
        """The last suggestion that was decided was on this line, and was rejected."""
        return self._rejected_place == (uri, line)

    def since_last_s(self, now: float) -> float | None:
        """Seconds since a suggestion was shown; None: none was."""
        return None if self._last_shown is None else max(0.0, now - self._last_shown) / 1000


def _faded(times: deque[float], now: float) -> float:
    while times and now - times[0] >= FADES_MS:
        times.popleft()
    return sum(1 - max(0.0, now - at) / FADES_MS for at in times)
