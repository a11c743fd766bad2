"""The developers of a team and their tokens, of which only digests are kept. Touches the store."""

import asyncio
import secrets
from dataclasses import dataclass
from hashlib import sha256

from sqlmodel import Session, col, select

from tacit.protocol.errors import Conflict, NotFound
from tacit.protocol.team import AdaptersOf, NewToken, TokenRequest, UserInfo
from tacit.server.store.store import Store, milliseconds, moment
from tacit.server.store.tables import UserRow

TOKEN_BYTES = 32
PREFIX = "tacit_"
"""By which a token that was committed or pasted somewhere is recognised."""


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    """Empty: the operator, who comes through the Unix socket."""
    adapters: AdaptersOf = "shared"

    @property
    def operator(self) -> bool:
        return not self.name


OPERATOR = User("")


class Users:
    """Those that may come are in memory, so that a request asks no database; changes go through here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_digest: dict[str, User] = {}
        self._loading = asyncio.Lock()
        """Else what was read before a change could come after what was read behind it."""

    async def load(self) -> None:
        async with self._loading:
            self._by_digest = await self._store.read(_active)

    def find(self, token: str) -> User | None:
        """By digest: how long it takes tells nothing of a token that would have been right."""
        return self._by_digest.get(digest(token))

    async def add(self, request: TokenRequest) -> NewToken:
        """A token for this name, shown this once. Conflict: the name has one."""
        token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)

        def keep(session: Session) -> UserInfo:
            row = session.get(UserRow, request.name)
            if row is not None and row.revoked_ms is None:
                raise Conflict(f"`{request.name}` has a token.", mend=f"`tacit tokens revoke {request.name}` ends it.")
            if row is not None and row.adapters != request.adapters:
                raise Conflict(
                    f"What `{row.name}` has recorded belongs to {row.adapters} adapters.", mend="Keep that, or use another name."
                )
            if row is None:
                row = UserRow(name=request.name, token_sha256="", adapters=request.adapters, created_ms=0)
                session.add(row)
            row.token_sha256, row.created_ms, row.revoked_ms = digest(token), milliseconds(), None
            session.flush()
            return _info(row)

        info = await self._store.write(keep)
        await self.load()
        return NewToken(token=token, user=info)

    async def revoke(self, name: str) -> UserInfo:
        """From its return on the token opens nothing. NotFound: there is no such name."""

        def end(session: Session) -> UserInfo:
            row = session.get(UserRow, name)
            if row is None:
                raise NotFound(f"There is no token for `{name[:80]}`.", mend="`tacit tokens list` shows them.")
            row.revoked_ms = row.revoked_ms or milliseconds()
            session.flush()
            return _info(row)

        info = await self._store.write(end)
        await self.load()
        return info

    async def list(self) -> list[UserInfo]:
        return await self._store.read(
            lambda session: [_info(row) for row in session.exec(select(UserRow).order_by(col(UserRow.name)))]
        )


def digest(token: str) -> str:
    """256 random bits need no salt and no slow hash."""
    return sha256(token.encode(errors="replace")).hexdigest()


def _active(session: Session) -> dict[str, User]:
    rows = session.exec(select(UserRow).where(col(UserRow.revoked_ms).is_(None)))
    return {row.token_sha256: User(row.name, "own" if row.adapters == "own" else "shared") for row in rows}


def _info(row: UserRow) -> UserInfo:
    return UserInfo(
        name=row.name,
        adapters="own" if row.adapters == "own" else "shared",
        created_at=moment(row.created_ms),
        revoked_at=moment(row.revoked_ms) if row.revoked_ms is not None else None,
    )
