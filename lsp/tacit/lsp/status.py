"""`tacit/status`: says in words why nothing was suggested. Sends notifications through a callable; keeps the last one."""

from collections.abc import Callable
from typing import Any, Literal

State = Literal[
    "ready",
    "suggested",
    "starting",
    "unavailable",
    "disabled",
    "hidden",
    "waiting",
    "mid_line",
    "quiet",
    "nothing",
    "late",
    "failed",
]
"""ready: it works. suggested: something is shown. starting: the server or the model is being loaded. unavailable: there is no
server. disabled: turned off or paused. hidden: nothing of this document may be sent. waiting: for a pause in the typing or for
the model. mid_line: the rest of the line does more than close what is open. quiet: the show policy withheld it. nothing: the
model had nothing good. late: the deadline passed. failed: an error, with its words."""

METHOD = "tacit/status"


class Status:
    def __init__(self, notify: Callable[[str, Any], None]) -> None:
        self._notify = notify
        self._last: tuple[State, str, str] | None = None
        self.policy_version = ""
        """What the last suggestion came from: `base` or an adapter's name; empty before the first."""

    def say(self, state: State, message: str) -> None:
        """Told when it differs from what was said last."""
        said = (state, message, self.policy_version)
        if said != self._last:
            self._last = said
            self._notify(METHOD, {"state": state, "message": message, "policyVersion": self.policy_version})
