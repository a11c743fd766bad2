"""The routes of tokens, the operator's alone; and a request's turn at the engine. Touches what it is given; holds nothing."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI, Response

from tacit.protocol.completion import CompleteRequest, CompleteResponse
from tacit.protocol.errors import TooMany
from tacit.protocol.team import NewToken, TokenRequest, UserInfo
from tacit.server.team.limits import COMPLETION, Turns
from tacit.server.team.users import User, Users

LEAST_MS = 50
"""Of a deadline that was waited away."""


def add_routes(app: FastAPI, users: Users) -> None:
    @app.post("/v1/users", response_model=NewToken)
    async def add(body: TokenRequest) -> Response:
        """A token, told this once; 409: the name has one."""
        return Response((await users.add(body)).model_dump_json(), media_type="application/json")

    @app.get("/v1/users", response_model=list[UserInfo])
    async def listed() -> list[UserInfo]:
        return await users.list()

    @app.post("/v1/users/{name}/revoke", response_model=UserInfo)
    async def revoke(name: str) -> UserInfo:
        """From the answer on the token opens nothing."""
        return await users.revoke(name)


@contextlib.asynccontextmanager
async def turn(turns: Turns | None, user: User, rank: int, seconds: float) -> AsyncIterator[None]:
    """Inside, this user's turn has come. TooMany: not within so many seconds. turns: None: everybody's has."""
    async with contextlib.AsyncExitStack() as stack:
        if turns is not None:
            try:
                async with asyncio.timeout(seconds):
                    await stack.enter_async_context(turns.turn(user.name, rank))
            except TimeoutError:
                raise TooMany("The engine is busy with other requests.", mend="Try again in a moment.") from None
        yield


async def in_turn(
    turns: Turns | None, user: User, asked: CompleteRequest, work: Callable[[CompleteRequest], Awaitable[CompleteResponse]]
) -> CompleteResponse:
    """`work` on the request with what is left of its deadline when the turn has come."""
    began = time.perf_counter()
    async with turn(turns, user, COMPLETION, asked.deadline_ms / 1000):
        waited = int((time.perf_counter() - began) * 1000)
        return await work(asked.model_copy(update={"deadline_ms": max(LEAST_MS, asked.deadline_ms - waited)}))
