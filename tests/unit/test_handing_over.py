"""A connection that is lost while the server takes an adapter: what is reported is what serves."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tacit.learner.handing_over import hand_over
from tacit.protocol.adapters import AdapterInfo, AdapterState, ServerStatus
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import Refused, ServerUnavailable

NAME = "p-c@000001"
BEGAN = datetime(2026, 11, 20, tzinfo=UTC)


def info(state: AdapterState) -> AdapterInfo:
    return AdapterInfo(
        name=NAME, project="p", task="completion", state=state, created_at=BEGAN, run_id="r", parent="base", base_sha256="1" * 64
    )


def status(pid: int, *, ready: bool = True) -> ServerStatus:
    return ServerStatus(
        version="1", pid=pid, home="", started_at=BEGAN, engine="embedded", engine_ready=ready, model="m", model_sha256="1" * 64,
        model_path="m.gguf", prefix_chars=1, suffix_chars=1, projects=(), next_run=None, running=None, last_run=None, events=0,
        requests=0,
    )  # fmt: skip


class Server:
    """Breaks off in the middle of a promotion, which the real one does not do on demand."""

    def __init__(self, *after: tuple[ServerStatus, AdapterState] | None) -> None:
        """after: what it says each time it is asked from then on, the last for ever; None: nobody is there."""
        self._after = list(after)
        self._now: tuple[ServerStatus, AdapterState] | None = (status(1), "published")
        self._broken = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self._broken = True
            raise httpx.ReadError("broken off")
        if request.url.path == "/v1/status" and self._broken:
            self._now = self._after.pop(0) if len(self._after) > 1 else self._after[0]
        if self._now is None:
            raise httpx.ConnectError("nobody")
        body = self._now[0].model_dump_json() if request.url.path == "/v1/status" else f"[{info(self._now[1]).model_dump_json()}]"
        return httpx.Response(200, content=body)


async def handed(answer: Callable[[httpx.Request], httpx.Response], patience: float = 60.0) -> str:
    async with TacitClient(Path("none"), transport=httpx.MockTransport(answer)) as client:
        return await hand_over(client, NAME, canary=False, patience=patience, pause=0.01)


async def test_it_serves_although_no_answer_came() -> None:
    # The same server, still at it; then done.
    assert "says that p-c@000001 serves" in await handed(Server((status(1), "published"), None, (status(1), "live")))


async def test_a_new_server_says_what_serves_once_its_engine_is_there() -> None:
    starting = status(2, ready=False)
    assert "serves" in await handed(Server(None, (starting, "published"), (status(2), "live")))
    with pytest.raises(ServerUnavailable, match=r"does not serve.*adapters promote p-c@000001"):
        await handed(Server(None, (starting, "published"), (status(2), "published")))


async def test_what_is_not_known_is_said_to_be_unknown() -> None:
    with pytest.raises(ServerUnavailable, match="is not known"):
        await handed(Server(None), patience=0.2)


async def test_a_refusal_is_passed_on_and_nothing_is_asked() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(422, content=json.dumps({"code": "refused", "message": "no", "mend": ""}))
        assert request.url.path == "/v1/status"
        return httpx.Response(200, content=status(1).model_dump_json())

    with pytest.raises(Refused, match="no"):
        await handed(refuse)
