"""The door to the outbox: what is recorded goes through here, and nothing does before a developer has turned recording on.

Touches the outbox, which it makes with the first event. Must not decide what is recorded.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from tacit.lsp.clock import SessionClock
from tacit.lsp.outbox import Outbox

if TYPE_CHECKING:
    from tacit.protocol.events import Event

log = logging.getLogger(__name__)


class Recorder:
    def __init__(self, outbox: Outbox, session_id: str, clock: SessionClock, *, on_new: Callable[[], None]) -> None:
        """on_new: called after an event was put into the outbox."""
        self._outbox = outbox
        self._session_id = session_id
        self._clock = clock
        self._on_new = on_new
        self._started = False
        self.editor = ""
        """Name and version of the editor."""

    @property
    def session_id(self) -> str:
        return self._session_id

    def record(self, event: "Event") -> None:
        """Never blocks; the event is on disk a moment later."""
        if not self._started:
            self._started = True
            self._put(self._session_started(event.at))
        self._put(event)

    def _put(self, event: "Event") -> None:
        self._outbox.put(event.model_dump_json().encode())
        self._on_new()

    def _session_started(self, at: datetime) -> "Event":
        from tacit.protocol.events import SessionStarted

        try:
            tacit = version("tacit")
        except PackageNotFoundError:
            tacit = ""
        return SessionStarted(
            at=at, session_id=self._session_id, editor=self.editor[:200], tacit_version=tacit, time_scale=self._clock.scale
        )
