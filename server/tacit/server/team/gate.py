"""What stands before the routes on TCP: whose host, whose token, which route, how large. Touches HTTP's requests only.

In this order, so that nothing is told to whom it does not concern: the Host header (a web page's own name that was turned to this
address has another), the route, the token, the Origin (no browser has business here but a page of this very server). Behind it a
request has its `User` in the scope.
"""

import json
import re
from collections.abc import Sequence

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tacit.protocol import errors
from tacit.server.team.access import GENERATING, route_of, who_may
from tacit.server.team.limits import Bucket
from tacit.server.team.users import OPERATOR, User, Users

MOST_BYTES = 64_000_000
"""Of a request's body: a thousand events may hold large texts."""
SCOPE_KEY = "tacit.user"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def asker(request: Request) -> User:
    """Who asks: the operator, unless the gate found somebody else."""
    found = request.scope.get(SCOPE_KEY, OPERATOR)
    assert isinstance(found, User)
    return found


def owner_of(user: User) -> str | None:
    """Whose records this user may read; None: everybody's."""
    return None if user.operator else user.name


class Gate:
    """An ASGI application before the server's own."""

    def __init__(self, app: FastAPI, users: Users, requests: Bucket, hosts: Sequence[str]) -> None:
        """hosts: by what names clients reach it besides this machine's own: those of the proxy before it."""
        self._app: ASGIApp = app
        self._routes = app.router.routes
        self._users = users
        self._requests = requests
        self._hosts = frozenset(name.lower() for name in (*LOCAL_HOSTS, *hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # Nothing else is served.
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        try:
            user = self._admitted(scope, headers)
            _check_length(headers)
        except errors.TacitError as error:
            await _say(send, error)
            return
        await self._app({**scope, SCOPE_KEY: user}, _counted(receive), send)

    def _admitted(self, scope: Scope, headers: Headers) -> User:
        if not self._is_ours(headers.getlist("host")):
            raise errors.Forbidden(
                "This name is not one of this server's.", mend="Name it in the setting `public_hosts` if it is the proxy's."
            )
        path = route_of(self._routes, scope)
        who = who_may(scope["method"], path)
        user = self._bearer(headers)
        if who == "anyone":
            user = user or User("nobody")
        elif user is None:
            raise errors.Unauthorized(
                "There is no valid token with this request.", mend="`tacit connect URL` asks for one; the operator makes it."
            )
        elif not path:
            raise errors.NotFound(f"{scope['method']} {scope['path'][:200]}: there is no such route.")
        elif who == "operator":
            raise errors.Forbidden(f"{scope['method']} {path} is the operator's, on the server's own machine.")
        origin = headers.get("origin")
        if origin is not None and not self._is_ours([re.sub(r"^https?://", "", origin)]):
            raise errors.Forbidden("A web page of another origin has no business here.")
        if path in GENERATING:
            self._requests.take(user.name)
        return user

    def _is_ours(self, names: Sequence[str]) -> bool:
        """One name, with or without a port."""
        return len(names) == 1 and re.sub(r":\d{1,5}$", "", names[0].lower()) in self._hosts

    def _bearer(self, headers: Headers) -> User | None:
        found = headers.getlist("authorization")
        if len(found) != 1:
            return None
        kind, _, token = found[0].partition(" ")
        return self._users.find(token.strip()) if kind.lower() == "bearer" and token.strip() else None


def _check_length(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BYTES:
        raise _too_large()


def _too_large() -> errors.BadRequest:
    return errors.BadRequest(f"A request may have {MOST_BYTES / 1e6:.0f} MB.", mend="Send less at once.")


def _counted(receive: Receive) -> Receive:
    """A body without a length is counted as it comes."""
    total = 0

    async def counting() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MOST_BYTES:
            raise _too_large()
        return message

    return counting


async def _say(send: Send, error: errors.TacitError) -> None:
    body = json.dumps({"code": error.code, "message": error.message, "mend": error.mend}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    if isinstance(error, errors.Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
