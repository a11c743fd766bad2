"""A real `tacit serve` with the tiny model: what it answers, what it survives, what it says when something is wrong."""

import asyncio
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.adapters import RunRequest
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.errors import BadRequest, Conflict, ModelUnavailable, NotFound, ServerUnavailable, StorageFull, TacitError
from tacit.protocol.events import Rejected, new_id
from tacit.protocol.home import Home
from tacit.server.processes import process_start

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(home, {"model": str(tiny_model), "nightly": "0 3 * * *"}) as running:
        yield running


def request(max_tokens: int = 8, **changes: object) -> CompleteRequest:
    context = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")
    whole = {"request_id": new_id(), "session_id": new_id(), "context": context, "max_tokens": max_tokens, **changes}
    return CompleteRequest.model_validate(whole)


def batch(size: int = 1) -> list[Rejected]:
    session = new_id()
    return [
        Rejected(at=datetime.now(UTC), session_id=session, suggestion_id=new_id(), reason="ignored", visible_ms=400)
        for _ in range(size)
    ]


def http(home: Home) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(home.socket)), base_url="http://tacit", timeout=30)


async def metric(home: Home, name: str) -> float:
    async with http(home) as raw:
        lines = (await raw.get("/metrics")).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def tacit(*arguments: str, home: Home, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tacit.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TACIT_HOME": str(home.root), **environment},
    )


async def test_it_completes_stores_and_says_how_it_stands(server: ServerProcess, home: Home, tiny_model: Path) -> None:
    answer = await server.client.complete(request(temperature=0.5, seed=7))
    assert len(answer.generation.tokens) == len(answer.generation.logprobs) > 0
    assert (answer.generation.policy_version, answer.generation.seed) == ("base", 7)
    ack = await server.client.send_events(batch(3))
    assert (ack.stored, ack.known) == (3, 0)
    status = await server.client.status()
    assert (status.engine_ready, status.engine_message, status.notices) == (True, "", ())
    assert (status.model_path, status.model_sha256) == (str(tiny_model), answer.generation.model)
    assert (status.events, status.requests, status.running, status.last_run) == (3, 1, None, None)
    assert status.next_run is not None and status.next_run > datetime.now(UTC)
    assert status.prefix_chars >= 512 and 0 < status.suffix_chars < status.prefix_chars
    assert await metric(home, 'tacit_events_total{result="stored"}') == 3
    assert await metric(home, "tacit_engine_ready") == 1
    assert await metric(home, "tacit_first_token_seconds_count") == 1
    assert await metric(home, "tacit_generating_seconds_total") >= 0 and await metric(home, "tacit_waiting") == 0


async def test_every_error_has_a_code_a_message_and_its_status(server: ServerProcess, home: Home) -> None:
    await server.client.start_run(RunRequest(project="p", pid=os.getpid()))
    with pytest.raises(Conflict, match=str(os.getpid())):
        await server.client.start_run(RunRequest(project="q", pid=os.getpid()))
    with pytest.raises(NotFound):
        await server.client.adapter("none-c@000001")
    for name in ("nope", "none-c@000001"):
        for verb in ("show", "promote"):
            answer = tacit("adapters", verb, name, home=home)
            assert (answer.returncode, answer.stderr.count("\n")) == (3, 1) and name in answer.stderr
    with pytest.raises(Conflict):
        await server.client.rollback("p")
    async with http(home) as raw:
        answers = [
            (400, await raw.post("/v1/events", json={"events": [{"kind": "nonsense"}]})),
            (400, await raw.post("/v1/complete", content=b"{")),
            (400, await raw.get("/v1/export")),
            (404, await raw.get("/v1/nowhere")),
            (405, await raw.get("/v1/complete")),
            (422, await raw.post("/v1/adapters/..%2f..%2fetc/promote")),
        ]
    for status, answer in answers[:-1]:
        assert answer.status_code == status and answer.json().keys() == {"code", "message", "mend"}, answer.text
    # A slash in a name is another route; either way it is an answer of ours and nothing was promoted.
    assert answers[-1][1].status_code in (404, 422)
    with pytest.raises(BadRequest, match="not valid: body"):
        await server.client._request("POST", "/v1/events", content=b"[]", headers={"content-type": "application/json"})


async def test_a_client_that_goes_away_stops_the_engine(server: ServerProcess, home: Home) -> None:
    call = asyncio.create_task(server.client.complete(request(max_tokens=512, deadline_ms=60_000)))
    while (await server.client.status()).requests == 0:
        await asyncio.sleep(0.001)
    call.cancel()
    async with asyncio.timeout(10):
        while await metric(home, 'tacit_completions_total{outcome="cancelled"}') != 1:
            await asyncio.sleep(0.005)
    # It computed less than was asked for.
    assert await metric(home, "tacit_generated_tokens_total") == 0
    assert (await server.client.complete(request())).generation.tokens


async def test_a_second_server_is_refused_and_the_first_goes_on(server: ServerProcess, home: Home) -> None:
    status = await server.client.status()
    second = tacit("serve", home=home)
    assert second.returncode == 4
    assert str(status.pid) in second.stderr and str(home.socket) in second.stderr
    assert second.stderr.count("\n") == 1
    assert (await server.client.status()).pid == status.pid
    # Started without a terminal, it says where it is, once.
    assert server.log.read_text().count(f"(pid {status.pid}) on {home.socket}") == 1


async def test_it_ends_in_order_and_leaves_nothing(server: ServerProcess, home: Home) -> None:
    pid = (await server.client.status()).pid
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    assert len(family) > 1
    await server.stop()
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not home.socket.exists()
    # The log of the database was moved into it: it is one file again.
    assert not home.database.with_name(home.database.name + "-wal").exists()


async def test_what_was_acknowledged_survives_kill_9_once(home: Home, tiny_model: Path) -> None:
    draw = random.Random(2)
    acked: set[str] = set()
    backlog: list[list[Rejected]] = []

    async def send(client: TacitClient) -> None:
        while True:
            events = backlog.pop() if backlog else batch(draw.randint(1, 20))
            try:
                await client.send_events(events)
            except TacitError:
                backlog.append(events)
                return
            acked.update(event.id for event in events)

    server = ServerProcess(home, {"model": str(tiny_model)})
    for _ in range(3):
        await server.start()
        before = len(acked)
        async with TacitClient(home.socket) as client:
            senders = [asyncio.create_task(send(client)) for _ in range(8)]
            while len(acked) < before + 200:
                await asyncio.sleep(0)
            os.kill((await client.status()).pid, signal.SIGKILL)
            await asyncio.gather(*senders)
        await server.stop()
    # It starts over the dead one's socket and lock, and takes what nobody acknowledged.
    async with server:
        for events in backlog:
            await server.client.send_events(events)
            acked.update(event.id for event in events)
    with closing(sqlite3.connect(home.database)) as database:
        stored = [row[0] for row in database.execute("SELECT id FROM event")]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(stored) == len(set(stored)) and set(stored) == acked


async def test_fifty_clients_at_once_are_all_acknowledged(server: ServerProcess) -> None:
    async def one() -> int:
        async with TacitClient(server.home.socket) as client:
            return sum([(await client.send_events(batch(4))).stored for _ in range(5)])

    assert sum(await asyncio.gather(*(one() for _ in range(50)))) == 1000
    assert (await server.client.status()).events == 1000


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no prlimit on this system")
async def test_a_full_disk_stops_storing_and_nothing_else(server: ServerProcess, home: Home) -> None:
    await server.client.send_events(batch(5))
    pid = (await server.client.status()).pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, hard))
    refused = batch(1000)
    with pytest.raises(StorageFull, match="nothing was acknowledged"):
        await server.client.send_events(refused)
    assert (await server.client.complete(request())).generation.tokens
    assert (await server.client.status()).events == 5
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert (await server.client.send_events(refused)).stored == 1000


async def test_a_damaged_database_is_set_aside_and_serving_goes_on(home: Home, tiny_model: Path) -> None:
    server = ServerProcess(home, {"model": str(tiny_model)})
    async with server:
        await server.client.send_events(batch(500))
    content = bytearray(home.database.read_bytes())
    content[4096:40_000] = os.urandom(40_000 - 4096)
    home.database.write_bytes(content)
    async with server:
        (notice,) = (await server.client.status()).notices
        assert "quarantine" in notice
        assert (await server.client.complete(request())).generation.tokens
        assert (await server.client.send_events(batch())).stored == 1
    assert [path.read_bytes() for path in (home.root / "quarantine").glob("*/tacit.db")] == [bytes(content)]


async def test_a_damaged_model_is_said_and_mended_without_a_restart(home: Home, tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(tiny_model.read_bytes()[:100_000])
    up = tacit("up", "--detach", home=home, TACIT_MODEL=str(model))
    assert up.returncode == 7 and str(model) in up.stderr and up.stderr.startswith("error: ")

    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "tacit.cli", "serve"], env={**os.environ, "TACIT_MODEL": str(model)}, stdout=log, stderr=log
    )
    try:
        async with TacitClient(home.socket) as client, asyncio.timeout(240):
            # HTTP first, then the verdict on the model.
            while True:
                try:
                    await client.complete(request())
                except ModelUnavailable as error:
                    assert str(model) in str(error) and "Name an intact GGUF file" in str(error)
                    break
                except TacitError:
                    await asyncio.sleep(0.02)
            assert str(model) in (await client.status()).engine_message
            assert not await client.healthy()
            # What does not need the model goes on.
            assert (await client.send_events(batch(2))).stored == 2
            whole = model.with_suffix(".whole")
            whole.write_bytes(tiny_model.read_bytes())
            # At once: half a file would be looked at, refused, and not looked at again for a while.
            whole.replace(model)
            while not await client.healthy():
                await asyncio.sleep(0.05)
            assert (await client.complete(request())).generation.tokens
    finally:
        process.terminate()
        assert process.wait(20) == 0
        log.close()


@pytest.mark.parametrize(
    ("name", "value"), [("TACIT_NIGHTLY", "at night"), ("TACIT_STREAMS", "0"), ("TACIT_MODEL", "no-such-model")]
)
def test_a_bad_setting_is_one_line_and_no_server(name: str, value: str, home: Home) -> None:
    command = "up" if name == "TACIT_MODEL" else "serve"
    answer = tacit(command, home=home, **{name: value})
    assert answer.returncode in (2, 3)
    assert value in answer.stderr or name.removeprefix("TACIT_").lower() in answer.stderr
    assert answer.stderr.startswith("error: ") and answer.stderr.count("\n") == 1
    assert not home.socket.exists()


def test_up_checks_itself_says_how_to_connect_and_is_there_once(home: Home, tiny_model: Path) -> None:
    environment = {"TACIT_MODEL": str(tiny_model)}
    try:
        first = tacit("up", "--detach", home=home, **environment)
        assert first.returncode == 0, first.stderr
        again = tacit("up", home=home, **environment)
        assert again.returncode == 0 and "runs already" in again.stdout
        for said in (first.stdout, again.stdout):
            assert "Self-check" in said and " ms " in said and str(home.socket) in said
            for plugin in ("plugins/vscode/dist/tacit.vsix", "plugins/neovim", "plugins/emacs", "plugins/README.md"):
                assert plugin in said
            assert "SQLite" not in said
        assert first.stderr == "" and "tacit down" in first.stdout
        assert "To use another one" in first.stdout and str(home.config) in first.stdout
        words = tacit("status", home=home)
        assert words.returncode == 0 and "ready" in words.stdout and "next run" in words.stdout
        status = json.loads(tacit("status", "--json", home=home).stdout)
        assert status["engine_ready"] is True
        detached = tacit("serve", "--detach", home=home, **environment)
        assert detached.returncode == 4
    finally:
        down = tacit("down", "--json", home=home)
    assert down.returncode == 0 and json.loads(down.stdout) == {"ended": True, "pid": status["pid"]}
    assert not process_start(status["pid"])
    assert tacit("status", home=home).returncode == 1 and tacit("down", home=home).returncode == 0


def test_up_in_the_foreground_ends_with_ctrl_c(home: Home, tiny_model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "tacit.cli", "up"],
        env={**os.environ, "TACIT_MODEL": str(tiny_model)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C ends it" in line:
            process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, "".join(said)
    assert "Self-check" in "".join(said) and not home.socket.exists()


@pytest.mark.parametrize("arguments", [(), ("--detach",)])
@pytest.mark.parametrize("seen", ["lock", "socket"])
def test_ctrl_c_while_it_starts_ends_all_of_it_with_130(
    arguments: tuple[str, ...], seen: str, home: Home, tiny_model: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tacit.cli", "up", *arguments],
        env={**os.environ, "TACIT_MODEL": str(tiny_model)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        awaited = home.lock if seen == "lock" else home.socket
        while not awaited.exists():
            assert process.poll() is None
            time.sleep(0.002)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=60)
    assert (process.returncode, complained) == (130, ""), said
    assert "Self-check" not in said
    psutil.wait_procs(family, timeout=20)
    assert not [child for child in family if child.is_running()]
    assert not home.socket.exists() and tacit("down", home=home).stdout.startswith("No Tacit server runs")


async def test_down_lets_answers_and_events_come_to_their_end(home: Home, tiny_model: Path) -> None:
    """What was under way is answered, what was acknowledged is on disk, and what was not comes again from its outbox."""
    acknowledged: list[str] = []

    async def send(client: TacitClient, began: asyncio.Event) -> None:
        while True:
            events = batch(20)
            await client.send_events(events)
            acknowledged.extend(event.id for event in events)
            began.set()

    async with ServerProcess(home, {"model": str(tiny_model)}) as server:
        began = asyncio.Event()
        sender = asyncio.create_task(send(server.client, began))
        answer = asyncio.create_task(server.client.complete(request(max_tokens=256, deadline_ms=20_000)))
        await began.wait()
        while (await server.client.status()).requests == 0:
            await asyncio.sleep(0.001)
        down = await asyncio.to_thread(tacit, "down", home=home)
        assert down.returncode == 0 and "has ended" in down.stdout, down.stderr
        with pytest.raises(ServerUnavailable):
            await sender
        assert (await answer).generation.tokens
    assert not home.socket.exists()
    with closing(sqlite3.connect(home.database)) as database:
        stored = {row[0] for row in database.execute("SELECT id FROM event")}
    assert set(acknowledged) <= stored and acknowledged


def test_status_without_a_server_says_so(home: Home) -> None:
    answer = tacit("status", home=home)
    assert answer.returncode == 1 and "tacit up" in answer.stderr
