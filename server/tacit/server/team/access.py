"""Which route may be called by whom, over TCP: a table, and nothing that is not in it is reachable. Pure.

The Unix socket, which is the operator's, knows no such limits.
"""

from typing import Literal

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

Who = Literal["anyone", "user", "operator"]
"""anyone: without a token; it tells nothing of anybody. user: with one; what is in it is this user's. operator: not over TCP."""

ACCESS: dict[tuple[str, str], Who] = {
    ("GET", "/healthz"): "anyone",
    ("POST", "/v1/complete"): "user",
    ("POST", "/v1/prompt"): "user",
    ("POST", "/v1/debug"): "user",
    ("POST", "/v1/chat"): "user",
    ("POST", "/v1/events"): "user",
    ("GET", "/v1/suggestions/{suggestion_id}"): "user",
    ("GET", "/v1/export"): "user",
    ("GET", "/v1/replay"): "user",
    ("GET", "/v1/replay/paths"): "user",
    ("GET", "/v1/projects"): "user",
    ("GET", "/v1/status"): "user",
    ("GET", "/metrics"): "operator",
    ("GET", "/openapi.json"): "operator",
    ("HEAD", "/openapi.json"): "operator",
    ("POST", "/v1/runs"): "operator",
    ("GET", "/v1/runs"): "operator",
    ("POST", "/v1/runs/{run_id}"): "operator",
    ("POST", "/v1/runs/{run_id}/room"): "operator",
    ("POST", "/v1/runs/{run_id}/probe"): "operator",
    ("GET", "/v1/adapters"): "operator",
    ("GET", "/v1/adapters/{name}"): "operator",
    ("POST", "/v1/adapters/{name}/promote"): "operator",
    ("POST", "/v1/adapters/{name}/canary"): "operator",
    ("GET", "/v1/canaries"): "operator",
    ("POST", "/v1/canaries/judge"): "operator",
    ("POST", "/v1/canaries/draw"): "operator",
    ("POST", "/v1/projects/{project}/sharing"): "operator",
    ("POST", "/v1/rollback"): "operator",
    ("POST", "/v1/forget"): "operator",
    ("GET", "/v1/users"): "operator",
    ("POST", "/v1/users"): "operator",
    ("POST", "/v1/users/{name}/revoke"): "operator",
}

GENERATING = frozenset({"/v1/complete", "/v1/debug", "/v1/chat", "/v1/prompt"})
"""What costs the engine's time: it is counted against a user's requests."""


def route_of(routes: list[BaseRoute], scope: Scope) -> str:
    """The path as it is written in the table; empty: no route has this method and path."""
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return str(getattr(route, "path", ""))
    return ""


def who_may(method: str, path: str) -> Who:
    """What the table does not name is the operator's."""
    return ACCESS.get((method, path), "operator")
