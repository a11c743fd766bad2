"""A developer who keeps asking while serving rests, and when it is back: pure. Times are seconds of one clock, or moments."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

ASKED_TIMES, ASKED_SECONDS = 5, 60.0
"""So many requests within so many seconds: somebody is at work. One alone may be an editor that was left open."""
QUIET_SECONDS = 600.0
"""Since the last request: then learning goes on."""
MOST_INTERRUPTIONS = 3
"""In one night. Then it is left to the next one: whoever works all night wants no learner."""
SOONEST = timedelta(minutes=1)


class Asking:
    """Requests while serving rests."""

    def __init__(self, times: int = ASKED_TIMES, seconds: float = ASKED_SECONDS) -> None:
        self._times: deque[float] = deque(maxlen=times)
        self._seconds = seconds

    def asked(self, now: float) -> bool:
        """Somebody asks. Is that often enough to be waiting? now: never less than before."""
        self._times.append(now)
        return len(self._times) == self._times.maxlen and now - self._times[0] <= self._seconds


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a run is in what it does now."""

    name: str
    began: datetime
    done: int
    total: int


def back_at(now: datetime, began: datetime, usual: float | None, stage: Stage | None) -> datetime | None:
    """When a run that began then will be over, about; None: nothing tells. usual: seconds that such a run took the last time.

    The later of what the last one took and what is left of this one's stage at its present speed, and never in the past.
    """
    guesses = []
    if usual is not None:
        guesses.append(began + timedelta(seconds=usual))
    if stage is not None and 0 < stage.done <= stage.total:
        guesses.append(now + (now - stage.began) * (stage.total / stage.done - 1))
    return max(*guesses, now + SOONEST) if guesses else None
