"""What other tools complain of, as far as the editor tells us: with a code action's context, or by `tacit/diagnostics`. Pure.

LSP sends a server its own diagnostics only; a plugin that has those of the others passes them on.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MOST_FILES: Final = 50
MOST_OF_A_FILE: Final = 50
NEAR_LINES: Final = 3
LONGEST_MESSAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Complaint:
    line: int
    message: str
    source: str = ""


@dataclass(slots=True)
class Diagnostics:
    _of: OrderedDict[str, tuple[Complaint, ...]] = field(default_factory=OrderedDict)

    def told(self, uri: str, complaints: Iterable[Complaint]) -> None:
        """All that are known of this document now."""
        self._of.pop(uri, None)
        if found := tuple(complaints)[:MOST_OF_A_FILE]:
            self._of[uri] = found
        while len(self._of) > MOST_FILES:
            self._of.popitem(last=False)

    def closed(self, uri: str) -> None:
        self._of.pop(uri, None)

    def near(self, uri: str, line: int) -> list[Complaint]:
        """Nearest first, each on one short line."""
        found = [one for one in self._of.get(uri, ()) if abs(one.line - line) <= NEAR_LINES]
        return [
            Complaint(one.line, " ".join(one.message.split())[:LONGEST_MESSAGE], one.source)
            for one in sorted(found, key=lambda one: abs(one.line - line))
        ]
