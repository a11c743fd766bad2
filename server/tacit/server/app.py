"""The HTTP routes: wire types in, wire types out. Touches the parts it is given; holds nothing of its own.

Every error leaves as `{"code", "message", "mend"}` with its class's status, whoever raised it.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import AwareDatetime, BaseModel
from starlette.exceptions import HTTPException

from tacit.protocol import errors
from tacit.protocol.adapters import (
    SHARED,
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
    ServerLoad,
    ServerStatus,
    ShadowAnswer,
    ShadowRequest,
)
from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context, PromptSize, Task
from tacit.protocol.events import EventAck, SuggestionRecord, TextAt
from tacit.protocol.home import Home
from tacit.server import forgetting
from tacit.server.adapters import Adapters
from tacit.server.debugging import routes as debugging
from tacit.server.export import export, project_infos, record_of
from tacit.server.hosting import Host
from tacit.server.idle import Idle
from tacit.server.ingest import batch_of, store_events
from tacit.server.metrics import Metrics
from tacit.server.replay import text_at, texts_at
from tacit.server.resting import Resting
from tacit.server.runs import Runs
from tacit.server.schedule import Schedule
from tacit.server.settings import Settings
from tacit.server.shadowing import draw_both
from tacit.server.sharing import share
from tacit.server.store.store import Store, count_events
from tacit.server.team import routes as team
from tacit.server.team import scope
from tacit.server.team.gate import asker, owner_of
from tacit.server.team.limits import Bucket, Turns
from tacit.server.team.routes import in_turn
from tacit.server.team.users import Users

log = logging.getLogger(__name__)

T = TypeVar("T")

GONE = 499
"""The client closed the connection before it was answered (as nginx has it); nobody reads this."""


@dataclass(slots=True)
class Parts:
    """What the routes work with."""

    home: Home
    settings: Settings
    store: Store
    adapters: Adapters
    runs: Runs
    schedule: Schedule
    host: Host
    users: Users
    resting: Resting
    metrics: Metrics = field(default_factory=Metrics)
    turns: Turns | None = None
    """Of a team; None: there is none."""
    events: Bucket | None = None
    """What a user of the team may send."""
    listening: str = ""
    """HOST:PORT on which a team is answered; empty: on none."""
    idle: Idle = field(default_factory=Idle)
    forgetting: asyncio.Lock = field(default_factory=asyncio.Lock)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    requests: int = 0


def make_app(parts: Parts) -> FastAPI:
    app = FastAPI(title="Tacit", version=version("tacit"), docs_url=None, redoc_url=None)
    _errors(app, parts)
    _completion_and_events(app, parts)
    debugging.add_routes(app, parts)
    _runs_and_adapters(app, parts)
    _state(app, parts)
    team.add_routes(app, parts.users)
    forgetting.add_routes(app, parts.home, parts.store, parts.adapters, parts.forgetting)
    return app


def _completion_and_events(app: FastAPI, parts: Parts) -> None:
    @app.post("/v1/complete", response_model=CompleteResponse)
    async def complete(body: CompleteRequest, request: Request) -> Response:
        """Text for the hole. Closing the connection stops the work on it."""
        metrics, outcome, user = parts.metrics, "error", asker(request)
        began = time.perf_counter()
        body = scope.question_of(user, body)
        try:
            service, model_sha256 = parts.host.service()
            parts.requests += 1
            parts.resting.asked()
            with (
                metrics.load.asked() as begun,
                parts.idle.wanted(),
                parts.adapters.using(body.project, body.task, body.session_id) as policy,
            ):
                asked = in_turn(parts.turns, user, body, lambda left: service.complete(left, policy, model_sha256, begun=begun))
                answer = await _watched(parts, policy, _unless_gone(request, asked))
            if answer is None:
                outcome = "cancelled"
                return Response(status_code=GONE)
            outcome = answer.generation.finish_reason
            metrics.answered(answer.timings, completion=True)
            return _json(answer)
        finally:
            metrics.completions.labels(outcome).inc()
            metrics.completion_seconds.observe(time.perf_counter() - began)

    @app.post("/v1/prompt", response_model=PromptSize)
    async def prompt(body: Context) -> Response:
        """How many tokens each part of a context's prompt has, and which of its snippets have room."""
        service, _ = parts.host.service()
        return _json(await service.size(body))

    @app.post("/v1/events", response_model=EventAck)
    async def events(request: Request) -> Response:
        """An EventBatch, answered when every event of it is on the disk. Idempotent by event id."""
        began, user = time.perf_counter(), asker(request)
        batch = batch_of(await request.body())
        if parts.events is not None and not user.operator:
            parts.events.take(user.name, len(batch.events))
        ack = await store_events(parts.store, scope.events_of(user, batch.events), user.name)
        parts.metrics.events.labels("stored").inc(ack.stored)
        parts.metrics.events.labels("known").inc(ack.known)
        parts.metrics.ingest_seconds.observe(time.perf_counter() - began)
        return _json(ack)

    @app.get("/v1/export", response_model=SuggestionRecord)
    async def export_records(
        request: Request,
        project: str = Query(max_length=64),
        task: Task = "completion",
        since: datetime | None = None,
        until: AwareDatetime | None = None,
    ) -> Response:
        """One SuggestionRecord per line, oldest first. since: only those that the server received from then on. until: as
        they were at that time."""
        user = asker(request)
        lines = export(parts.store, scope.project_of(user, project), task, since, owner_of(user), until)
        # The first page before the status line: what fails at once is answered as an error.
        first = await anext(lines, b"")

        async def stream() -> AsyncIterator[bytes]:
            yield first
            async for page in lines:
                yield page

        return StreamingResponse(stream(), media_type="application/x-ndjson")

    @app.get("/v1/suggestions/{suggestion_id}", response_model=SuggestionRecord)
    async def suggestion(suggestion_id: str, request: Request) -> Response:
        """One suggestion with its events; its id, or a beginning of it that no other one has."""
        owner = owner_of(asker(request))
        line = await parts.store.read(lambda session: record_of(session, suggestion_id, owner))
        return Response(line, media_type="application/json")

    @app.get("/v1/replay", response_model=TextAt)
    async def replay(
        request: Request, at: AwareDatetime, project: str = Query(max_length=64), path: str = Query(max_length=4096)
    ) -> Response:
        """What stood in a document at a moment."""
        user = asker(request)
        name, owner = scope.project_of(user, project), owner_of(user)
        return _json(await parts.store.read(lambda session: text_at(session, name, path, at, owner)))

    @app.get("/v1/replay/paths", response_model=list[str])
    async def replay_paths(request: Request, at: AwareDatetime, project: str = Query(max_length=64)) -> list[str]:
        """The documents of which something is recorded at or before a moment."""
        user = asker(request)
        name, owner = scope.project_of(user, project), owner_of(user)
        return await parts.store.read(lambda session: texts_at(session, name, at, owner))


def _runs_and_adapters(app: FastAPI, parts: Parts) -> None:
    @app.post("/v1/runs", response_model=RunInfo)
    async def start_run(body: RunRequest) -> Response:
        """Claim the one learning slot; 409 names who has it. 400: for what projects share, where nothing is shared."""
        if body.project == SHARED and not parts.adapters.routes().sharing:
            raise errors.BadRequest(
                "Projects share nothing here: no adapter is learned for them together.",
                mend="Set `share_between_projects = true` on a server that answers no team.",
            )
        return _json(await parts.runs.start(body, parts.adapters.policy(body.project, body.task)))

    @app.get("/v1/runs", response_model=list[RunInfo])
    async def runs() -> Response:
        """Newest first."""
        return _json_list(await parts.runs.list())

    @app.post("/v1/runs/{run_id}", response_model=RunInfo)
    async def update_run(run_id: str, body: RunUpdate) -> Response:
        return _json(await parts.runs.update(run_id, body))

    @app.post("/v1/runs/{run_id}/room")
    async def room(run_id: str) -> Response:
        """Answered when the run may load the base model: serving may rest until it has ended."""
        await parts.resting.make_room(run_id)
        return Response("{}", media_type="application/json")

    @app.post("/v1/runs/{run_id}/probe", response_model=ProbeResponse)
    async def probe_run(run_id: str, body: ProbeRequest) -> Response:
        """Greedy continuations by the engine with the run's candidate and with the base."""
        run = await parts.runs.get(run_id)
        return _json(await parts.adapters.probe_run(run.id, body))

    @app.get("/v1/adapters", response_model=list[AdapterInfo])
    async def adapters() -> Response:
        """Newest first."""
        return _json_list(await parts.adapters.infos())

    @app.get("/v1/adapters/{name}", response_model=AdapterDetail)
    async def adapter(name: str) -> Response:
        return _json(await parts.adapters.detail(name))

    @app.post("/v1/adapters/{name}/promote", response_model=AdapterInfo)
    async def promote(name: str) -> Response:
        """Verify, load, probe, move the alias; 422: refused, the old one keeps serving."""
        return _json(await parts.metrics.swapping(parts.adapters.promote(name)))

    @app.post("/v1/adapters/{name}/canary", response_model=CanaryInfo)
    async def try_out(name: str) -> Response:
        """Verify, load, probe, and let it be a shadow, then answer a share of its project's sessions; 422: refused."""
        return _json(await parts.metrics.swapping(parts.adapters.try_out(name)))

    @app.get("/v1/canaries", response_model=list[CanaryInfo])
    async def canaries() -> Response:
        """All there have been, newest first; those that have ended say how."""
        return _json_list(await parts.adapters.canaries())

    @app.post("/v1/canaries/judge", response_model=CanaryInfo)
    async def judge(body: CanaryJudgement) -> Response:
        """What feedback says of a canary: noted, and acted on."""
        return _json(await parts.adapters.judge(body))

    @app.post("/v1/canaries/draw", response_model=ShadowAnswer)
    async def draw(body: ShadowRequest, request: Request) -> Response:
        """What a shadow, and what serves, would say at a place. 409: somebody waits for the engine."""
        service, model_sha256 = parts.host.service()
        outcome = "failed"
        try:
            answer = await _unless_gone(request, draw_both(parts.adapters, parts.idle, service, model_sha256, body))
            outcome = "drawn" if answer else "cancelled"
            return _json(answer) if answer else Response(status_code=GONE)
        except errors.Conflict:
            outcome = "broken off"
            raise
        finally:
            parts.metrics.shadow_draws.labels(outcome).inc()

    @app.post("/v1/projects/{project}/sharing")
    async def share_project(project: str, shares: bool) -> dict[str, list[str]]:
        """Whether the shared adapters learn from a project and serve it; answers what was withdrawn because it no longer does."""
        return {"withdrawn": await share(parts.adapters, parts.home.adapters, project, shares)}

    @app.post("/v1/rollback")
    async def rollback(project: str = Query(max_length=64), task: Task = "completion") -> dict[str, str]:
        """Withdraw the canary if there is one; else serve what served before."""
        return {"policy_version": await parts.metrics.swapping(parts.adapters.rollback(project, task))}


def _state(app: FastAPI, parts: Parts) -> None:
    @app.get("/healthz")
    async def healthz(request: Request) -> Response:
        """200 when completions are answered; 503 says why not."""
        if not parts.host.ready:
            return _error(scope.error_of(asker(request), errors.EngineUnavailable(parts.host.message)))
        return Response('{"ready":true}', media_type="application/json")

    @app.get("/v1/status", response_model=ServerStatus)
    async def status(request: Request) -> Response:
        user = asker(request)
        owner = owner_of(user)
        host, reach, model = parts.host, parts.host.reach, parts.host.model
        running = await parts.runs.running()
        adapters, routes = parts.adapters, parts.adapters.routes()
        load = await _load(parts) if user.operator else None
        projects, events = await parts.store.read(
            lambda session: (project_infos(session, routes, owner), count_events(session, owner))
        )
        notices = (*([parts.store.notice] if parts.store.notice else []), *adapters.notices.values())
        notices += await forgetting.half_done(parts.store, parts.forgetting)
        found = ServerStatus(
            version=version("tacit"),
            pid=os.getpid(),
            home=str(parts.home.root),
            started_at=parts.started_at,
            engine=parts.settings.engine,
            engine_ready=host.ready,
            engine_message=host.message,
            model=model.model.name if model else parts.settings.model,
            model_sha256=model.sha256 if model else "",
            model_path=str(model.path) if model else "",
            prefix_chars=reach.prefix_chars,
            suffix_chars=reach.suffix_chars,
            snippet_tokens=reach.snippet_tokens,
            while_learning=host.while_learning,
            learning_gpus=host.learning_gpus,
            resting=parts.resting.info,
            projects=projects,
            next_run=parts.schedule.next_run,
            running=running,
            last_run=await parts.runs.last(),
            events=events,
            requests=parts.requests,
            canary_share=parts.settings.canary_share,
            shadow_places=parts.settings.shadow_places,
            canaries=adapters.tried_now(),
            shared=adapters.policy(SHARED, "completion"),
            shared_debug=adapters.policy(SHARED, "debug"),
            notices=notices,
            listen=parts.listening,
            load=load,
        )
        return _json(scope.status_of(user, found))

    @app.get("/v1/projects", response_model=list[ProjectInfo])
    async def projects(request: Request) -> Response:
        user, routes = asker(request), parts.adapters.routes()
        return _json_list(
            scope.projects_of(user, await parts.store.read(lambda session: project_infos(session, routes, owner_of(user))))
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus."""
        parts.metrics.engine_ready.set(parts.host.ready)
        parts.metrics.queue(parts.turns.waiting if parts.turns is not None else 0)
        parts.metrics.training_share.set((await _load(parts)).training_share)
        parts.metrics.serving(parts.adapters.routes().serving)
        parts.metrics.adapters_live.set(len(parts.adapters.routes().serving))
        tried = [found.state for found in parts.adapters.tried_now()]
        parts.metrics.adapters_tried.labels("shadow").set(tried.count("shadow"))
        parts.metrics.adapters_tried.labels("canary").set(tried.count("running"))
        parts.metrics.run_active.set(await parts.runs.running() is not None)
        return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _errors(app: FastAPI, parts: Parts) -> None:
    @app.exception_handler(errors.TacitError)
    async def known(request: Request, error: errors.TacitError) -> Response:
        if isinstance(error, errors.StorageFull | errors.StorageCorrupt):
            parts.metrics.storage_errors.labels(error.code).inc()
            log.error("%s %s: %s", request.method, request.url.path, error)
        return _error(scope.error_of(asker(request), error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _error(errors.BadRequest(f"The request is not valid: {where}: {first['msg']}."))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        kind = errors.NotFound if error.status_code == 404 else errors.BadRequest
        response = _error(kind(f"{request.method} {request.url.path}: {error.detail}."))
        response.status_code = error.status_code
        return response

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        # Starlette logs nothing and raises it on, so that the server's log has the traceback.
        return _error(
            errors.TacitError(f"{request.method} {request.url.path} failed: {type(error).__name__}.", mend="See the log.")
        )


async def _load(parts: Parts) -> ServerLoad:
    """How it goes just now, with the engine's cache looked at."""
    with suppress(errors.TacitError):
        await parts.metrics.look(parts.host.service()[0].prefix_cache)
    return parts.metrics.load.told(await parts.runs.training_share())


async def _watched(parts: Parts, policy: str, work: Coroutine[Any, Any, T]) -> T:
    """`work`, and whether it failed on an engine that was ready: a canary's failures count against it."""
    ready = parts.host.ready
    try:
        result = await work
    except (errors.EngineUnavailable, errors.NotFound) as error:
        if ready:
            await parts.adapters.answered(policy, error)
        raise
    await parts.adapters.answered(policy, None)
    return result


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`, or None: the client went away and `work` was cancelled."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for pending in (task, watch):
            pending.cancel()
            with suppress(asyncio.CancelledError, errors.TacitError):
                await pending


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _json_list(answers: Sequence[BaseModel]) -> Response:
    return Response(f"[{','.join(answer.model_dump_json() for answer in answers)}]", media_type="application/json")


def _error(error: errors.TacitError) -> Response:
    body = {"code": error.code, "message": error.message, "mend": error.mend}
    return Response(json.dumps(body), status_code=error.status, media_type="application/json")
