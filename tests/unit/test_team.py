"""A team: the table of routes, who gets in, whose records are whose, limits and turns. Real store and routes, no engine."""

import asyncio
import itertools
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from recorded import SESSION, START, rejected, suggested
from sqlmodel import select
from vllm_routes import IN_SOURCE, OF_OTHERS, OURS, routes_in

from tacit.protocol.adapters import SHARED, RunRequest
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.debugging import DebugRequest
from tacit.protocol.errors import (
    BadRequest,
    Conflict,
    EngineUnavailable,
    ModelUnavailable,
    NotFound,
    SettingError,
    StorageUnavailable,
    TacitError,
    TooMany,
)
from tacit.protocol.events import Event, EventBatch, TextSnapshot, new_id
from tacit.protocol.home import Home
from tacit.protocol.remote import checked
from tacit.protocol.team import TokenRequest
from tacit.server.adapters import Adapters
from tacit.server.app import Parts, make_app
from tacit.server.hosting import Host
from tacit.server.resting import Resting
from tacit.server.runs import Runs
from tacit.server.schedule import Schedule
from tacit.server.settings import Settings
from tacit.server.store.erasing import LEFT_TO_DO
from tacit.server.store.store import Store
from tacit.server.store.tables import EventRow, UserRow
from tacit.server.team import scope
from tacit.server.team.access import ACCESS
from tacit.server.team.gate import MOST_BYTES, Gate
from tacit.server.team.limits import COMPLETION, DEBUGGING, Bucket, Turns
from tacit.server.team.users import OPERATOR, User, Users, digest

pytestmark = pytest.mark.each_database

JSON = {"content-type": "application/json"}
ANNA, BERT = User("anna", "own"), User("bert", "own")
PROJECT = "a" * 40


@pytest.fixture
async def parts(home: Home, store: Store) -> Parts:
    settings = Settings(nightly="off")
    adapters, runs, users = Adapters(home, settings, store), Runs(home, store), Users(store)
    host = Host(home, settings, adapters)
    resting = Resting(runs, host)
    schedule = Schedule(home, settings, store, runs, resting)
    await users.load()
    return Parts(home, settings, store, adapters, runs, schedule, host, users, resting)


@pytest.fixture
async def clients(parts: Parts) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Of the operator, by the socket's way; of anna, bert (adapters of their own), cleo and dora (shared), and of a stranger."""
    app = make_app(parts)
    gate = Gate(app, parts.users, Bucket(1000, "requests", lambda: 0.0), ["tacit.example.com"])
    found = {"operator": httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tacit")}
    for name in ("anna", "bert", "cleo", "dora", "stranger"):
        token = "tacit_" + "x" * 43
        if name != "stranger":
            shared = "own" if name in ("anna", "bert") else "shared"
            token = (await parts.users.add(TokenRequest.model_validate({"name": name, "adapters": shared}))).token
        headers = {"authorization": f"Bearer {token}"}
        found[name] = httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://127.0.0.1:7000", headers=headers)
    yield found
    for client in found.values():
        await client.aclose()


async def send(client: httpx.AsyncClient, *events: Event) -> httpx.Response:
    return await client.post("/v1/events", content=EventBatch(events=events).model_dump_json(), headers=JSON)


def snapshot(text: str | None, document: str, project: str = PROJECT, path: str = "a.py") -> TextSnapshot:
    found = sha256((text or "").encode()).hexdigest()
    whole = {"at": START, "session_id": SESSION, "project": project, "path": path, "document": document, "number": 0}
    return TextSnapshot.model_validate({**whole, "reason": "opened", "sha256": found, "text": text})


async def test_every_route_is_in_the_table_with_who_may_call_it(parts: Parts) -> None:
    there = {
        (method, getattr(route, "path", ""))
        for route in make_app(parts).routes
        for method in getattr(route, "methods", None) or ("?",)
    }
    assert there == set(ACCESS)


@pytest.mark.parametrize("settings", [{"share_between_projects": False}, {"listen": "127.0.0.1:7000"}, {}])
async def test_where_nothing_is_shared_nothing_is_learned_together(parts: Parts, settings: dict[str, Any]) -> None:
    changed = replace(parts, adapters=Adapters(parts.home, Settings(**settings), parts.store))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(changed)), base_url="http://tacit") as client:
        run = RunRequest(project=SHARED, task="completion", objective="topr", trigger="manual", pid=os.getpid())
        answer = await client.post("/v1/runs", content=run.model_dump_json(), headers=JSON)
    assert answer.status_code == (400 if settings else 200), answer.text


async def test_what_is_the_operators_is_reached_by_nobody_else(clients: dict[str, httpx.AsyncClient]) -> None:
    for (method, path), who in ACCESS.items():
        way = path.replace("{name}", "test-c@000001").replace("{run_id}", "r").replace("{suggestion_id}", "s")
        allowed = {name: (await client.request(method, way)).status_code for name, client in clients.items()}
        assert (allowed["anna"] in (401, 403)) == (who == "operator"), path
        assert (allowed["stranger"] == 401) == (who != "anyone"), path
        assert allowed["operator"] not in (401, 403), path


async def test_no_route_of_vllms_is_a_route_of_ours(clients: dict[str, httpx.AsyncClient]) -> None:
    """Whoever asks: what vLLM would do with it, nobody reaches. Paths that both have are answered by ours, to the operator."""
    reached = {
        (name, route)
        for name in ("anna", "stranger", "operator")
        for method in ("GET", "POST", "DELETE")
        for route in IN_SOURCE | OF_OTHERS
        if (await clients[name].request(method, f"/{re.sub('{.*}', 'x', route)}", json={})).status_code not in (401, 403, 404)
    }
    assert reached == {("operator", route) for route in OURS}
    assert b"vllm:" not in (await clients["operator"].get("/metrics")).content
    assert (await clients["operator"].get("/openapi.json")).json()["info"]["title"] == "Tacit"
    assert not {f"/{route}" for route in (IN_SOURCE | OF_OTHERS) - OURS} & {path for _, path in ACCESS}


def test_the_list_of_vllms_routes_is_read_from_source(tmp_path: Path) -> None:
    (tmp_path / "entrypoints" / "deep").mkdir(parents=True)
    source = '@router.post(\n    "/sleep",\n)\nasync def f(): ...\napp.add_api_route("/new", f)\n'
    (tmp_path / "entrypoints" / "deep" / "api.py").write_text(source + 'names.get("key")\nnames.get("/no" + x)\n')
    assert routes_in(tmp_path) == {"sleep", "new"}


HOSTS = {"127.0.0.1:7000": True, "TACIT.example.com": True, "evil.example.com": False, "127.0.0.1.evil.example": False, "": False}
ORIGINS = {None: True, "https://tacit.example.com": True, "https://evil.example.com": False, "null": False}


async def test_host_token_and_origin_are_each_asked_for(clients: dict[str, httpx.AsyncClient]) -> None:
    """The matrix of TRUST: a request gets in only if nothing about it is wrong."""
    wrong = []
    tokens = {"right": True, "wrong": False, "none": False, "twice": False, "query": False}
    right = clients["anna"].headers["authorization"]
    for (host, ours), (origin, good), (kind, valid), method in itertools.product(
        HOSTS.items(), ORIGINS.items(), tokens.items(), ("GET", "POST")
    ):
        headers = [("host", host), *([("origin", origin)] if origin is not None else [])]
        told = {"right": [right], "wrong": ["Bearer tacit_no"], "twice": [right, right]}.get(kind, [])
        headers += [("authorization", value) for value in told]
        way = "/v1/projects" if method == "GET" else "/v1/events"
        query = f"?token={right.removeprefix('Bearer ')}" if kind == "query" else ""
        async with httpx.AsyncClient(transport=clients["anna"]._transport) as bare:
            answer = await bare.request(method, f"http://127.0.0.1:7000{way}{query}", headers=headers)
        got_in = answer.status_code not in (401, 403)
        if got_in != (ours and good and valid):
            wrong.append((host, origin, kind, method, answer.status_code))
    assert wrong == []


async def test_nobody_reads_what_another_has_recorded(clients: dict[str, httpx.AsyncClient], store: Store) -> None:
    secret = "def hers():\n    return 1\n"
    for name, other in (("anna", "bert"), ("cleo", "dora")):
        mine, document = suggested(project=PROJECT, prefix=f"# {name}\n"), new_id()
        assert (await send(clients[name], mine, rejected(mine), snapshot(secret + name, document))).status_code == 200
        at = (START + timedelta(seconds=5)).isoformat()
        asked = {"project": PROJECT, "path": "a.py", "at": at}
        ways = [
            (f"/v1/suggestions/{mine.suggestion_id}", {}),
            ("/v1/export", {"project": PROJECT}),
            ("/v1/replay", asked),
            ("/v1/replay/paths", {"project": PROJECT, "at": at}),
            ("/v1/projects", {}),
            ("/v1/status", {}),
        ]
        for way, query in ways:
            own = await clients[name].get(way, params=query)
            theirs = await clients[other].get(way, params=query)
            assert own.status_code == 200, way
            assert name in own.text or way in ("/v1/replay/paths", "/v1/projects", "/v1/status"), way
            # That it is not found repeats what was asked for.
            assert name not in theirs.text, way
            assert theirs.status_code == 404 or mine.suggestion_id not in theirs.text, way
        # The same document, named by somebody else, is another one: nothing of it is rebuilt for them.
        assert (await send(clients[other], snapshot("mine\n", document, path="b.py"))).status_code == 200
        found = await clients[other].get("/v1/replay", params={**asked, "path": "b.py"})
        assert found.json()["text"] == "mine\n"
        # A digest alone gets nobody the text that it is of.
        without = snapshot(None, new_id(), path="c.py").model_copy(
            update={"sha256": sha256((secret + name).encode()).hexdigest()}
        )
        assert (await send(clients[other], without)).status_code == 400
        # What somebody else says of her suggestion is no part of its record.
        await send(clients[other], rejected(mine, 7))
        assert len((await clients[name].get(f"/v1/suggestions/{mine.suggestion_id}")).json()["events"]) == 1
        assert len((await clients["operator"].get(f"/v1/suggestions/{mine.suggestion_id}")).json()["events"]) == 1
        # An event that is named like hers is not hers.
        alike = suggested(project=PROJECT).model_copy(update={"id": mine.id})
        assert (await send(clients[other], alike)).status_code == 200
        assert (await clients[other].get(f"/v1/suggestions/{alike.suggestion_id}")).status_code == 404
        assert name not in (await clients[other].get("/v1/export", params={"project": PROJECT})).text
    assert set(await store.read(lambda session: session.exec(select(EventRow.owner)).all())) == {"anna", "bert", "cleo", "dora"}


async def test_projects_are_apart_where_adapters_are_ones_own(clients: dict[str, httpx.AsyncClient]) -> None:
    for name in ("anna", "bert", "cleo", "dora"):
        assert (await send(clients[name], suggested(project=PROJECT))).status_code == 200
    kept = {one["project"]: one["suggestions"] for one in (await clients["operator"].get("/v1/projects")).json()}
    # A night learns from each of these by itself.
    assert kept == {f"{PROJECT}.anna": 1, f"{PROJECT}.bert": 1, PROJECT: 2}
    for name in ("anna", "cleo"):
        assert [one["project"] for one in (await clients[name].get("/v1/projects")).json()] == [PROJECT]
    for name in (f"{PROJECT}.bert", SHARED, "a b", "../x", "x" * 41):
        assert (await send(clients["cleo"], suggested(project=name))).status_code == 400


async def test_the_status_tells_a_user_nothing_of_the_machine(clients: dict[str, httpx.AsyncClient], home: Home) -> None:
    told = (await clients["anna"].get("/v1/status")).text
    assert str(home.root) not in told and '"pid":0' in told and '"load":null' in told
    own = await clients["operator"].get("/v1/status")
    assert str(home.root) in own.text and own.json()["load"]["waiting"] == 0


async def test_what_is_forgotten_by_halves_is_said(clients: dict[str, httpx.AsyncClient], store: Store) -> None:
    for note, said in (("{}", True), ("", False)):
        await store.put(LEFT_TO_DO, note)
        assert ("forgotten" in (await clients["operator"].get("/v1/status")).text) == said


async def test_trouble_of_the_machine_is_told_to_its_operator_only(
    parts: Parts, clients: dict[str, httpx.AsyncClient], home: Home
) -> None:
    """The model's file is wrong: whoever may ask is told that there is no answer, and only the operator where that file lies."""
    failing = [
        ModelUnavailable(f"{home.root}/models/m.gguf: cut off.", mend=f"Fetch it again, see {home.logs}."),
        SettingError("vLLM at http://10.0.0.7:8000 reads 512 tokens."),
        EngineUnavailable("It is loading."),
    ]
    body = CompleteRequest(
        request_id=new_id(),
        session_id=new_id(),
        context=Context(path="a.py", language="python", prefix="x = ", suffix=""),
    ).model_dump_json()
    chat = DebugRequest.model_validate(
        {"kind": "chat", "request_id": new_id(), "session_id": new_id(), "turns": [{"role": "user", "text": "Why?"}]}
    ).model_dump_json()
    for error in failing:
        parts.host._failure = error
        told = {
            name: [
                (await client.get("/healthz")).text,
                (await client.get("/v1/status")).text,
                (await client.post("/v1/complete", content=body, headers=JSON)).text,
                (await client.post("/v1/chat", content=chat, headers=JSON)).text,
            ]
            for name, client in clients.items()
        }
        assert all(error.message in one for one in told["operator"]), error
        for name in ("anna", "stranger"):
            assert str(home.root) not in "".join(told[name]) and "10.0.0.7" not in "".join(told[name]), error
        assert all(("loading" in one) == (error is failing[-1]) for one in told["anna"])
        assert all(one for one in told["anna"]) and '"engine_ready":false' in told["anna"][1]


def test_postgresqls_words_are_its_operators() -> None:
    """They name its host without a slash."""
    away = StorageUnavailable('PostgreSQL does not answer (connection to server at "db7", port 5432 failed: FATAL: no).')
    assert scope.error_of(OPERATOR, away) is away
    told = scope.error_of(ANNA, away)
    assert type(told) is StorageUnavailable and "db7" not in str(told)


async def test_a_token_is_shown_once_and_ends_at_once(parts: Parts, clients: dict[str, httpx.AsyncClient], store: Store) -> None:
    with pytest.raises(Conflict):
        await parts.users.add(TokenRequest(name="anna"))
    assert (await clients["anna"].get("/v1/projects")).status_code == 200
    assert (await clients["operator"].post("/v1/users/anna/revoke")).status_code == 200
    assert (await clients["anna"].get("/v1/projects")).status_code == 401
    again = await parts.users.add(TokenRequest(name="anna"))
    kept = await store.read(lambda session: session.exec(select(UserRow).where(UserRow.name == "anna")).one())
    assert kept.token_sha256 == digest(again.token) and again.token not in kept.model_dump_json() + repr(again)
    assert len(again.token) >= 43 and parts.users.find(again.token) == ANNA
    with pytest.raises(NotFound):
        await parts.users.revoke("nobody")
    await parts.users.revoke("anna")
    with pytest.raises(Conflict, match="own adapters"):
        await parts.users.add(TokenRequest(name="anna", adapters="shared"))


async def test_a_token_has_ended_also_where_the_tokens_were_just_being_read(
    parts: Parts, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, read, go_on, has_read = parts.users, store.read, asyncio.Event(), asyncio.Event()
    token = (await users.add(TokenRequest(name="anna"))).token

    async def slow(query: Any) -> Any:
        found = await read(query)
        if not has_read.is_set():
            has_read.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(store, "read", slow)
    loading = asyncio.create_task(users.load())
    await has_read.wait()
    revoking = asyncio.create_task(users.revoke("anna"))
    await asyncio.wait({revoking}, timeout=1)
    go_on.set()
    await asyncio.gather(loading, revoking)
    assert users.find(token) is None


@pytest.mark.parametrize("body", ['["no"]', '"no"', '{"code": ["no"], "message": 7}', "<html>no</html>"])
async def test_what_a_proxy_answers_is_an_error_like_others(body: str) -> None:
    """Else it would end the task that looks for the server, or the one that delivers events."""
    transport = httpx.MockTransport(lambda request: httpx.Response(403, content=body))
    async with TacitClient(Path(), transport=transport, remote=checked("https://tacit.example.com", "t")) as client:
        with pytest.raises(TacitError):
            await client.status()


async def test_a_body_that_is_too_large_is_not_read(clients: dict[str, httpx.AsyncClient]) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MOST_BYTES // 1_000_000 + 2):
            yield b" " * 1_000_000

    told = await clients["anna"].post("/v1/events", content=b"{}", headers={**JSON, "content-length": str(MOST_BYTES + 1)})
    assert told.status_code == 400 and "MB" in told.text
    assert (await clients["anna"].post("/v1/events", content=endless(), headers=JSON)).status_code == 400


def test_paths_of_a_users_machine_are_not_looked_for_on_the_servers() -> None:
    asked = DebugRequest(
        kind="fix", request_id="r", session_id="s", project=PROJECT, workspace="/etc", path="a.py", text="x", trace="KeyError"
    )
    assert scope.debug_question_of(ANNA, asked).workspace == ""
    assert scope.debug_question_of(ANNA, asked).project == f"{PROJECT}.anna"
    assert scope.debug_question_of(OPERATOR, asked) == asked
    with pytest.raises(BadRequest):
        scope.project_of(BERT, f"{PROJECT}.anna")


def test_a_minute_holds_so_many_requests_for_each_user() -> None:
    now = 0.0
    bucket = Bucket(60, "requests", lambda: now)
    for _ in range(60):
        bucket.take("anna")
    with pytest.raises(TooMany, match=r"60 requests a minute.*in 1 s"):
        bucket.take("anna")
    bucket.take("bert")
    now = 10.0
    for _ in range(10):
        bucket.take("anna")
    with pytest.raises(TooMany, match="in 30 s"):
        bucket.take("anna", 30)
    now = 1000.0
    bucket.take("anna", 5000)
    with pytest.raises(TooMany):
        bucket.take("anna")


async def test_turns_go_round_and_completions_come_first() -> None:
    turns, order, gate = Turns(1), [], asyncio.Event()

    async def ask(user: str, rank: int, number: int) -> None:
        async with turns.turn(user, rank):
            await gate.wait()
            order.append((user, rank, number))

    first = asyncio.create_task(ask("anna", COMPLETION, 0))
    await asyncio.sleep(0)
    wanted = [
        ("anna", DEBUGGING, 1),
        *(("anna", COMPLETION, n) for n in range(2, 5)),
        ("bert", COMPLETION, 5),
        ("bert", DEBUGGING, 6),
    ]
    tasks = [first, *(asyncio.create_task(ask(*one)) for one in wanted)]
    gone = asyncio.create_task(ask("cleo", COMPLETION, 7))
    await asyncio.sleep(0)
    gone.cancel()
    gate.set()
    await asyncio.gather(*tasks, gone, return_exceptions=True)
    assert [number for _, _, number in order] == [0, 5, 2, 3, 4, 6, 1]
    assert turns.waiting == 0


async def test_nobodys_hundred_requests_stand_before_anothers_first() -> None:
    turns, order, gate = Turns(2), [], asyncio.Event()

    async def ask(user: str) -> None:
        async with turns.turn(user, COMPLETION):
            await gate.wait()
            order.append(user)
            await asyncio.sleep(0)

    many = [asyncio.create_task(ask("anna")) for _ in range(100)]
    await asyncio.sleep(0)
    one = asyncio.create_task(ask("bert"))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*many, one)
    assert order.index("bert") <= 3


async def test_a_turn_that_was_given_and_not_taken_is_given_on() -> None:
    turns, held = Turns(1), asyncio.Event()

    async def hold() -> None:
        async with turns.turn("anna", COMPLETION):
            await held.wait()

    async def take() -> bool:
        async with turns.turn("bert", COMPLETION):
            return True

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0)
    dropped, after = asyncio.create_task(take()), asyncio.create_task(take())
    await asyncio.sleep(0)
    held.set()
    await holder
    # Its turn has come, and it is cancelled before it knows.
    dropped.cancel()
    async with asyncio.timeout(5):
        assert await after
    assert dropped.cancelled() or await dropped


@pytest.mark.parametrize("address", ["0.0.0.0:7000", "192.168.1.2:7000", "tacit.example.com:7000", "127.0.0.1", ":7000"])
def test_a_team_is_answered_on_this_machine_only(address: str) -> None:
    with pytest.raises(ValueError, match="listen"):
        Settings(listen=address)
