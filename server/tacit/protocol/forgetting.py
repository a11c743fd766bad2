"""Wire types of forgetting: `POST /v1/forget`. Pure data."""

from pydantic import AwareDatetime, Field

from tacit.protocol.completion import Wire


class ForgetRequest(Wire):
    """What is to be forgotten: the bounds together."""

    project: str = Field(default="", max_length=64)
    """Empty: all of them."""
    user: str | None = Field(default=None, max_length=64)
    """Of the team; None: whoever recorded it."""
    since: AwareDatetime | None = None
    """None: from the beginning."""
    until: AwareDatetime | None = None
    """None: up to now."""


class Forgotten(Wire):
    """What was erased, when nothing of it is in any file any more."""

    suggestions: int
    events: int
    texts: int
    """Snapshots and changes of files."""
    withdrawn: tuple[str, ...]
    """Adapters that served or were tried, and had learned from it."""
    removed: tuple[str, ...]
    """All adapters that had learned from it, those included."""
    quarantined: int
    """Damaged databases that had been set aside: nobody can look into them, so they went, too."""
    backups: bool
    """They were replaced. False: they are PostgreSQL's, and may hold it still."""
