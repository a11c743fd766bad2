"""What a real editor's session has left in SQLite, read as anybody could: with another connection, from the file."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0
"""An editor, a browser and a model on two busy cores."""

Event = dict[str, Any]


def until(probe: Callable[[], Any], what: str, patience: float = PATIENCE_S) -> Any:
    """What `probe` returns once that is true. AssertionError with `what` when it never is."""
    ends = time.monotonic() + patience
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"after {patience:.0f} s still not: {what}")
        time.sleep(0.1)


@dataclass(frozen=True)
class Record:
    """The events of one TACIT_HOME."""

    database: Path

    def suggestions(self) -> list[Event]:
        """Every suggestion that was shown, oldest first."""
        return [event for event in self.events() if event["kind"] == "suggested" and event["shown"]]

    def drafts(self, before: str) -> list[Event]:
        """Every suggestion, shown or not, that was made right after this text."""
        return [one for one in self.events() if one["kind"] == "suggested" and one["context"]["prefix"].endswith(before)]

    def seen(self, ghost: Callable[[], str]) -> Event:
        """The suggestion whose text is what ghost text says now; white space at its ends may be drawn otherwise."""

        def look() -> Event | None:
            shown = ghost().strip()
            return next((one for one in reversed(self.suggestions()) if shown and one["text"].strip() == shown), None)

        found: Event = until(look, "a suggestion in SQLite whose text is that of the ghost text")
        return found

    def events(self) -> list[Event]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return [json.loads(body) for (body,) in database.execute("SELECT body FROM event ORDER BY seq")]

    def wait(self, what: str, accepts: Callable[[Event], bool]) -> Event:
        """The first event that fits; `what` names it where it never comes."""

        def look() -> Event | None:
            return next((event for event in self.events() if accepts(event)), None)

        try:
            found: Event = until(look, what)
        except AssertionError as error:
            about = ("reason", "horizon", "settled_text", "accepted_chars", "text")
            told = [
                " ".join([event["kind"], *(f"{name}={event[name]!r}" for name in about if name in event)])
                for event in self.events()
            ]
            raise AssertionError(f"{error}; there is: {'; '.join(told)}") from None
        return found

    def wait_for(self, suggestion_id: str, kind: str, **fields: Any) -> Event:
        """The first event of this kind about a suggestion whose fields have these values."""

        def fits(event: Event) -> bool:
            about = event.get("suggestion_id") == suggestion_id and event["kind"] == kind
            return about and all(event[name] == value for name, value in fields.items())

        return self.wait(f"{kind} {fields} of {suggestion_id}", fits)
