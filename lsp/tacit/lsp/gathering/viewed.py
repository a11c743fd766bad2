"""Which places the developer has just looked at: where the cursor was when a suggestion was asked for. Pure."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 24
LINES: Final = 20
"""Places nearer to one another than this are one."""


@dataclass(frozen=True, slots=True)
class Seen:
    uri: str
    line: int
    at: float
    """Seconds, of the last look."""


@dataclass(slots=True)
class Viewed:
    _seen: OrderedDict[tuple[str, int], Seen] = field(default_factory=OrderedDict)

    def looked(self, uri: str, line: int, now: float) -> None:
        key = (uri, line // LINES)
        self._seen.pop(key, None)
        self._seen[key] = Seen(uri, line, now)
        while len(self._seen) > MOST:
            self._seen.popitem(last=False)

    def closed(self, uri: str) -> None:
        for key in [key for key in self._seen if key[0] == uri]:
            del self._seen[key]

    def latest(self) -> list[Seen]:
        """Newest first."""
        return list(reversed(self._seen.values()))
