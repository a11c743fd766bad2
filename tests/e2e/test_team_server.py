"""A real `tacit serve` that answers a team over TCP: tokens by the command line, a language server, limits, a wrong host."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from recorded import rejected, suggested
from short_folder import short_folder

from tacit.learner.simulate.editor import Editor
from tacit.learner.simulate.serving import ServerProcess
from tacit.lsp.outbox import events_in
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.errors import Forbidden, NotFound, TooMany, Unauthorized
from tacit.protocol.events import new_id
from tacit.protocol.home import Home
from tacit.protocol.project import project_of
from tacit.protocol.remote import Remote, outbox_of
from tacit.protocol.team import TokenRequest

BEFORE = "def add(a, b):\n    return "

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    settings = {"model": str(tiny_model), "listen": "127.0.0.1:0", "streams": "2", "events_per_minute": "40"}
    async with ServerProcess(home, settings) as running:
        yield running


def tacit(*arguments: str, home: Home, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tacit.cli", *arguments],
        input=said,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TACIT_HOME": str(home.root)},
    )


def question() -> CompleteRequest:
    context = Context(path="a.py", language="python", prefix="def f(x):\n    return ", suffix="\n")
    return CompleteRequest(request_id=new_id(), session_id=new_id(), project="a" * 40, context=context, max_tokens=8)


async def test_a_developer_connects_works_and_is_shut_out_again(server: ServerProcess, home: Home) -> None:
    url = f"http://{(await server.client.status()).listen}"
    added = await asyncio.to_thread(tacit, "tokens", "add", "anna", home=home)
    assert added.returncode == 0, added.stderr
    token = added.stdout.strip()
    assert token not in "".join(path.read_text(errors="replace") for path in home.logs.iterdir())
    theirs = Home(short_folder())
    refused = await asyncio.to_thread(tacit, "connect", url, home=theirs, said="tacit_wrong\n")
    assert refused.returncode == 5 and not theirs.remote.exists()
    theirs.outbox.mkdir()
    (theirs.outbox / "before.jsonl").write_bytes(b"{}\n" * 3)
    connected = await asyncio.to_thread(tacit, "connect", url, home=theirs, said=f"{token}\n")
    assert connected.returncode == 0 and token not in connected.stdout + connected.stderr, connected.stderr
    assert "3 events recorded before stay on this machine" in connected.stdout
    status = await asyncio.to_thread(tacit, "status", home=theirs)
    assert status.returncode == 0 and str(home.root) not in status.stdout

    async with TacitClient.of(theirs) as client:
        assert (await client.complete(question())).generation.tokens
        one = suggested(project="a" * 40)
        assert (await client.send_events([one, rejected(one)])).stored == 2
        assert (await client.suggestion(one.suggestion_id)).suggestion.text == one.text
        with pytest.raises(TooMany):
            await client.send_events([rejected(one) for _ in range(40)])
        with pytest.raises(Forbidden):
            await client.runs()
        with pytest.raises(NotFound):
            await client._request("GET", "/v1/nowhere")
        listed = await asyncio.to_thread(tacit, "tokens", "list", home=home)
        assert "anna" in listed.stdout and token not in listed.stdout
        assert (await asyncio.to_thread(tacit, "tokens", "revoke", "anna", home=home)).returncode == 0
        with pytest.raises(Unauthorized):
            await client.complete(question())
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {token}"}) as raw:
            assert (await raw.get("/healthz", headers={"host": "evil.example.com"})).status_code == 403
            assert (await raw.get("/healthz")).json() == {"ready": True}
    waiting = outbox_of(theirs, Remote(url, token))
    waiting.mkdir()
    (waiting / "later.jsonl").write_bytes(b"{}\n")
    off = await asyncio.to_thread(tacit, "connect", "--off", home=theirs)
    assert off.returncode == 0 and f"1 event recorded for {url} waits" in off.stdout
    # The operator's own way goes on, without a token.
    assert (await server.client.complete(question())).generation.tokens


async def test_an_editor_elsewhere_works_through_the_team_s_server(server: ServerProcess, home: Home, tmp_path: Path) -> None:
    """Over TCP: something is suggested, and recorded as hers; and nothing is started when the token ends."""
    url = f"http://{(await server.client.status()).listen}"
    token = (await server.client.add_user(TokenRequest(name="anna"))).token
    theirs = Home(short_folder())
    environment = {"TACIT_HOME": str(theirs.root), "TACIT_SERVER_URL": url, "TACIT_SERVER_TOKEN": token}
    # Of before she was connected: hers, and not the team's.
    before = theirs.outbox / "session-of-before-000001.jsonl"
    before.parent.mkdir(mode=0o700)
    before.write_bytes(suggested(project=project_of(tmp_path)).model_dump_json().encode() + b"\n")
    options = {"learning": "on", "deadlineMs": 60_000, "eagerness": "eager", "prefetch": False}
    async with Editor(tmp_path, options=options, environment=environment) as editor:
        document = editor.open(tmp_path / "a.py", BEFORE + "\n")
        [item] = await editor.complete(document, len(BEFORE), timeout=60)
        editor.accept(document, item)
        kept = f"{project_of(tmp_path)}.anna"
        async with asyncio.timeout(60):
            while not (found := [record async for record in server.client.export(kept)]):
                await asyncio.sleep(0.05)
    # Left over files go first: it would have come by now.
    assert [record.suggestion.suggestion_id for record in found] == [item.suggestion_id]
    assert before.read_bytes().count(b"\n") == 1 and events_in(theirs.outbox) == 1
    assert not list(theirs.outbox.glob("team-*/*.jsonl")), "what is hers and the team's is with the team"
    assert not theirs.database.exists() and not theirs.lock.exists()

    await server.client.revoke_user("anna")
    async with Editor(tmp_path, options=options, environment=environment) as editor:
        document = editor.open(tmp_path / "a.py", BEFORE + "\n")
        assert await editor.complete(document, len(BEFORE), timeout=60) == []
        async with asyncio.timeout(60):
            while "token" not in str([said for name, said in editor.notifications if name == "tacit/status"]):
                await asyncio.sleep(0.05)
    assert not theirs.lock.exists()


async def test_one_users_crowd_does_not_keep_another_waiting(server: ServerProcess, home: Home) -> None:
    """Two at once; 16 of hers wait. His comes among the next, not after them."""
    url = f"http://{(await server.client.status()).listen}"
    tokens = [(await asyncio.to_thread(tacit, "tokens", "add", name, home=home)).stdout.strip() for name in ("anna", "bert")]
    answered: list[str] = []

    async def ask(client: TacitClient, name: str) -> None:
        long = question().model_copy(update={"max_tokens": 3, "deadline_ms": 120_000})
        assert (await client.complete(long)).generation.tokens
        answered.append(name)

    async with (
        TacitClient(Path(), remote=Remote(url, tokens[0]), timeout=120) as anna,
        TacitClient(Path(), remote=Remote(url, tokens[1]), timeout=120) as bert,
    ):
        crowd = [asyncio.create_task(ask(anna, "anna")) for _ in range(16)]
        while not answered:
            await asyncio.sleep(0.005)
        await ask(bert, "bert")
        await asyncio.gather(*crowd)
    assert answered.index("bert") < 8, answered
