"""The async client of the server's HTTP interface, over its Unix socket. Touches the network; holds no state of its own.

Every method raises ServerUnavailable when no server answers, AnswerUnreadable when what answers is none, and the server's own
error (errors.py) when it says no.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from tacit.protocol import errors
from tacit.protocol.adapters import (
    AdapterDetail,
    AdapterInfo,
    CanaryInfo,
    CanaryJudgement,
    ProbeRequest,
    ProbeResponse,
    ProjectInfo,
    RunInfo,
    RunRequest,
    RunUpdate,
    ServerStatus,
    ShadowAnswer,
    ShadowRequest,
)
from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context, PromptSize, Task
from tacit.protocol.debugging import DEBUG_CHUNK, DebugChunk, DebugRequest, Failed
from tacit.protocol.events import Event, EventAck, EventBatch, SuggestionRecord, TextAt
from tacit.protocol.forgetting import ForgetRequest, Forgotten
from tacit.protocol.home import Home
from tacit.protocol.lines import lines
from tacit.protocol.remote import Remote, remote_of
from tacit.protocol.team import NewToken, TokenRequest, UserInfo

Answer = TypeVar("Answer", bound=BaseModel)


class TacitClient:
    """One connection pool to one server. Use as an async context manager, or call `aclose`."""

    def __init__(
        self,
        socket: Path,
        *,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        remote: Remote | None = None,
    ) -> None:
        """socket: the server's Unix socket. timeout: seconds, of one answer. transport: for tests. remote: a team's server, which
        is asked instead of the socket."""
        self.remote = remote
        # No limit of our own on connections: completions, events and status must not wait for one another.
        # No TLS on a Unix socket: reading the system's certificates would take longer than a keystroke.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16, keepalive_expiry=60)
        way = (
            httpx.AsyncHTTPTransport(limits=limits)
            if remote
            else httpx.AsyncHTTPTransport(uds=str(socket), limits=limits, verify=False)
        )
        self._http = httpx.AsyncClient(
            transport=transport or way,
            base_url=remote.url if remote else "http://tacit",
            headers={"authorization": f"Bearer {remote.token}"} if remote else None,
            timeout=httpx.Timeout(timeout, connect=5.0),
        )

    @classmethod
    def of(cls, home: Home, *, timeout: float = 30.0) -> Self:
        """Of the team's server that this home is connected to, else of the home's own."""
        return cls.to(home, remote_of(home), timeout=timeout)

    @classmethod
    def to(cls, home: Home, remote: Remote | None, *, timeout: float = 30.0) -> Self:
        """remote: a team's server; None: the home's own."""
        return cls(Path() if remote else home.socket, timeout=timeout, remote=remote)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def complete(self, request: CompleteRequest) -> CompleteResponse:
        """Cancelling this call closes the connection, which stops the engine's work on it."""
        # The server answers by the deadline; the margin is for the way back.
        timeout = request.deadline_ms / 1000 + 5
        return await self._post("/v1/complete", request, CompleteResponse, timeout=timeout)

    def debug(self, request: DebugRequest) -> AsyncGenerator[DebugChunk, None]:
        """A fix or an explanation, piece by piece; the last chunk is `Done`. Closing the generator stops the engine's work on it.

        `Failed` does not come out of it: it is raised.
        """
        return self._debug("/v1/debug", request)

    def chat(self, request: DebugRequest) -> AsyncGenerator[DebugChunk, None]:
        """The answer to the last turn; as `debug`."""
        return self._debug("/v1/chat", request)

    async def _debug(self, path: str, request: DebugRequest) -> AsyncGenerator[DebugChunk, None]:
        # The server ends it by the deadline; between two lines a prompt may be read or a candidate checked.
        timeout = httpx.Timeout(request.deadline_ms / 1000 + 30, connect=5.0)
        headers = {"content-type": "application/json"}
        asked = self._lines("POST", path, content=request.model_dump_json().encode(), headers=headers, timeout=timeout)
        async with contextlib.aclosing(asked) as answer:
            async for line in answer:
                chunk = _chunk(line)
                if isinstance(chunk, Failed):
                    raise errors.BY_CODE.get(chunk.code, errors.TacitError)(chunk.message, mend=chunk.mend)
                yield chunk
                if chunk.kind == "done":
                    return
        raise errors.ServerUnavailable("The server ended its answer early.", mend="Ask again; `tacit status` says how it stands.")

    async def _lines(self, method: str, path: str, **request: Any) -> AsyncGenerator[str, None]:
        """A streamed answer's lines that are not empty. request: as httpx has it."""
        try:
            async with self._http.stream(method, path, **request) as response:
                if response.status_code != 200:
                    await response.aread()
                    _raise_for(response)
                async for line in lines(response):
                    if line:
                        yield line
        except httpx.HTTPError as error:
            raise _unreachable(error, self.remote) from error

    async def prompt(self, context: Context) -> PromptSize:
        """What this context's prompt is made of, in the engine's tokens."""
        return await self._post("/v1/prompt", context, PromptSize)

    async def send_events(self, events: Sequence[Event]) -> EventAck:
        """Returns only when all of them are on disk. At most 1,000 a call."""
        return await self._post("/v1/events", EventBatch(events=tuple(events)), EventAck)

    async def status(self) -> ServerStatus:
        return await self._get("/v1/status", ServerStatus)

    async def healthy(self) -> bool:
        """True if a server answers and its engine is ready."""
        try:
            return (await self._http.get("/healthz", timeout=5)).status_code == 200
        except httpx.HTTPError:
            return False

    async def projects(self) -> list[ProjectInfo]:
        return await self._get_list("/v1/projects", ProjectInfo)

    async def export(
        self,
        project: str,
        task: Task = "completion",
        since: datetime | None = None,
        unreadable: Callable[[str], None] | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[SuggestionRecord]:
        """Every suggestion of a project with its events, oldest first. since: received by the server from then on. until: as all
        of it was then: what was received later is left out.

        unreadable: called, with what is wrong, for each record that cannot be read and is left out; without it AnswerUnreadable.
        """
        query: dict[str, str] = {"project": project, "task": task} | ({"since": since.isoformat()} if since else {})
        query |= {"until": until.isoformat()} if until else {}
        async with contextlib.aclosing(self._lines("GET", "/v1/export", params=query)) as answer:
            async for line in answer:
                try:
                    record = SuggestionRecord.model_validate_json(line)
                except ValidationError as error:
                    # Places and kinds of mistakes only: the values are what is in the files.
                    what = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors()[:3])
                    if unreadable is None:
                        raise errors.AnswerUnreadable(f"A record of the export cannot be read ({what}).") from None
                    unreadable(what)
                    continue
                yield record

    async def suggestion(self, suggestion_id: str) -> SuggestionRecord:
        """One suggestion with its events; a beginning of its id is enough if no other one has it. NotFound."""
        return await self._get(f"/v1/suggestions/{quote(suggestion_id, safe='')}", SuggestionRecord)

    async def replay(self, project: str, path: str, at: datetime) -> TextAt:
        """What stood in a document at a moment. NotFound: nothing of it is recorded at or before it."""
        answer = await self._request("GET", "/v1/replay", params={"project": project, "path": path, "at": at.isoformat()})
        return _read(TextAt, answer.content)

    async def replay_paths(self, project: str, at: datetime) -> list[str]:
        """Documents of which something is recorded at or before a moment."""
        answer = await self._request("GET", "/v1/replay/paths", params={"project": project, "at": at.isoformat()})
        return [str(path) for path in answer.json()]

    async def start_run(self, request: RunRequest) -> RunInfo:
        """Claim the one learning slot; Conflict if a run is under way."""
        return await self._post("/v1/runs", request, RunInfo)

    async def update_run(self, run_id: str, update: RunUpdate) -> RunInfo:
        return await self._post(f"/v1/runs/{run_id}", update, RunInfo)

    async def runs(self) -> list[RunInfo]:
        """Newest first."""
        return await self._get_list("/v1/runs", RunInfo)

    async def make_room(self, run_id: str) -> None:
        """Returns when the learner may load the base model: serving may rest until that run has ended."""
        await self._request("POST", f"/v1/runs/{run_id}/room", timeout=1800)

    async def probe_run(self, run_id: str, request: ProbeRequest) -> ProbeResponse:
        """Greedy continuations by the engine with the run's candidate (runs/ID/adapter) and by the base."""
        return await self._post(f"/v1/runs/{run_id}/probe", request, ProbeResponse, timeout=600)

    async def publish(self, name: str) -> AdapterInfo:
        """Verify adapters/NAME, load it beside the old one, probe it, move the alias. Refused: the old one keeps serving."""
        return await self._post(f"/v1/adapters/{name}/promote", None, AdapterInfo, timeout=600)

    async def try_out(self, name: str) -> CanaryInfo:
        """Like `publish`, as a shadow first and then for a share of the project's sessions."""
        return await self._post(f"/v1/adapters/{name}/canary", None, CanaryInfo, timeout=600)

    async def canaries(self) -> list[CanaryInfo]:
        """All there have been, newest first; those that have ended say how."""
        return await self._get_list("/v1/canaries", CanaryInfo)

    async def judge(self, judgement: CanaryJudgement) -> CanaryInfo:
        """Say what feedback tells of a canary; the server acts on it. Conflict: it does not run any more."""
        return await self._post("/v1/canaries/judge", judgement, CanaryInfo, timeout=600)

    async def shadow_draw(self, request: ShadowRequest) -> ShadowAnswer:
        """Draw at a place with a shadow and with what serves. Conflict: it is none any more, or somebody wants the engine."""
        return await self._post("/v1/canaries/draw", request, ShadowAnswer, timeout=600)

    async def share(self, project: str, shares: bool) -> list[str]:
        """Whether the shared adapters learn from a project and serve it. Returns what was withdrawn because it no longer does."""
        path = f"/v1/projects/{quote(project, safe='')}/sharing"
        answer = await self._request("POST", path, params={"shares": str(shares).lower()}, timeout=600)
        return [str(name) for name in answer.json()["withdrawn"]]

    async def forget(self, request: ForgetRequest) -> Forgotten:
        """Erase what is recorded within these bounds, and what was made of it. Conflict: a run is learning from it."""
        return await self._post("/v1/forget", request, Forgotten, timeout=600)

    async def rollback(self, project: str, task: Task = "completion") -> str:
        """Go back to what served before; returns the policy_version that serves now."""
        answer = await self._request("POST", "/v1/rollback", params={"project": project, "task": task}, timeout=600)
        return str(answer.json()["policy_version"])

    async def adapters(self) -> list[AdapterInfo]:
        """Newest first."""
        return await self._get_list("/v1/adapters", AdapterInfo)

    async def adapter(self, name: str) -> AdapterDetail:
        return await self._get(f"/v1/adapters/{name}", AdapterDetail)

    async def add_user(self, request: TokenRequest) -> NewToken:
        """Conflict: the name has a token."""
        return await self._post("/v1/users", request, NewToken)

    async def users(self) -> list[UserInfo]:
        return await self._get_list("/v1/users", UserInfo)

    async def revoke_user(self, name: str) -> UserInfo:
        """From its return on that token opens nothing. NotFound."""
        return await self._post(f"/v1/users/{quote(name, safe='')}/revoke", None, UserInfo)

    async def _get(self, path: str, kind: type[Answer]) -> Answer:
        return _read(kind, (await self._request("GET", path)).content)

    async def _get_list(self, path: str, kind: type[Answer]) -> list[Answer]:
        return [kind.model_validate(item) for item in (await self._request("GET", path)).json()]

    async def _post(self, path: str, body: BaseModel | None, kind: type[Answer], *, timeout: float = 30.0) -> Answer:
        content = body.model_dump_json().encode() if body else b""
        response = await self._request(
            "POST", path, content=content, headers={"content-type": "application/json"}, timeout=timeout
        )
        return _read(kind, response.content)

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise _unreachable(error, self.remote) from error
        _raise_for(response)
        return response


def _read(kind: type[Answer], content: bytes) -> Answer:
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        # Without the cause: its words repeat the answer, and with it what is in the files.
        raise errors.AnswerUnreadable(
            "The server's answer cannot be read; is it another version of Tacit?", mend="Restart it."
        ) from None


def _chunk(line: str) -> DebugChunk:
    try:
        return DEBUG_CHUNK.validate_json(line)
    except ValidationError:
        raise errors.AnswerUnreadable(
            "The server's answer cannot be read; is it another version of Tacit?", mend="Restart it."
        ) from None


def _unreachable(error: httpx.HTTPError, remote: Remote | None) -> errors.ServerUnavailable:
    what = str(error) or type(error).__name__
    if remote is not None:
        return errors.ServerUnavailable(
            f"The team's server {remote.url} did not answer ({what}).", mend="Ask its operator; `tacit connect --off` leaves it."
        )
    if _nobody_listens(error):
        return errors.ServerUnavailable("No Tacit server runs.", mend="Start it with `tacit up`.")
    return errors.ServerUnavailable(
        f"The Tacit server did not answer ({what}).", mend="`tacit status` says whether one runs, `tacit up` starts it."
    )


def _nobody_listens(error: BaseException | None) -> bool:
    """Whether there is no socket, or one that a server which was killed has left. httpx says only that it could not connect."""
    while error is not None and not isinstance(error, FileNotFoundError | ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None


def _raise_for(response: httpx.Response) -> None:
    """An error answer is `{"code", "message", "mend"}`."""
    if response.is_success:
        return
    try:
        body = response.json()
        code, said, mend = (str(body.get(name) or "") for name in ("code", "message", "mend"))
    except (ValueError, AttributeError):
        # A proxy's.
        raise errors.TacitError(f"The server answered {response.status_code}: {response.text[:200]}") from None
    raise errors.BY_CODE.get(code, errors.TacitError)(said or response.reason_phrase, mend=mend)
