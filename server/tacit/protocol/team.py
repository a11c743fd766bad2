"""Wire types of a team's tokens (`/v1/users`). Pure data."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tacit.protocol.completion import Wire

AdaptersOf = Literal["own", "shared"]
"""own: what this developer does trains adapters that serve nobody else. shared: it trains those of the project, with what others
do who chose the same, and those serve them all."""

USER_NAME = r"^[a-z0-9][a-z0-9-]{0,21}$"


class TokenRequest(Wire):
    name: str = Field(pattern=USER_NAME)
    """One person for ever: a name that is given a token again has its old records again."""
    adapters: AdaptersOf = "own"


class UserInfo(Wire):
    name: str
    adapters: AdaptersOf
    created_at: datetime
    """Of the token."""
    revoked_at: datetime | None = None
    """When the token ended; None: it is valid."""


class NewToken(Wire):
    token: str = Field(repr=False)
    """Shown this once: the server keeps its digest only."""
    user: UserInfo
