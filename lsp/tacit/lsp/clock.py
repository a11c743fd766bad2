"""The session's clock: real time for a person, faster for a scripted replay. Reads the system's clocks, nothing else."""

import time
from datetime import UTC, datetime, timedelta


class SessionClock:
    """Milliseconds of the session. Everything that judges behaviour (visible time, horizons) goes by it."""

    def __init__(self, scale: float = 1.0) -> None:
        """scale: how many session seconds pass in a real one."""
        self._scale = scale
        self._real = _seconds()
        self._session = 0.0
        self._began = datetime.now(UTC)

    @property
    def scale(self) -> float:
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        """From now on; what has passed stays as it was counted."""
        self._session = self.now()
        self._real = _seconds()
        self._scale = scale

    def now(self) -> float:
        """Session milliseconds since the clock was made; never goes back."""
        return self._session + (_seconds() - self._real) * 1000 * self._scale

    def at(self, now: float) -> datetime:
        """UTC of a moment of the session."""
        return self._began + timedelta(milliseconds=now)

    def real_seconds(self, session_ms: float) -> float:
        """How long this much session time takes really."""
        return max(0.0, session_ms) / 1000 / self._scale


def _seconds() -> float:
    """Of a clock that never goes back and goes on while the machine sleeps: `time.monotonic` stands still meanwhile, and what is
    recorded in the morning would bear a time of the evening before. What is to be forgotten goes by these times."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
