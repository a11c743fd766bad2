"""The record of texts through a real language server and a real server: kill -9, a server that was down, `replay` and `why`."""

import asyncio
import json
import os
import random
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from tacit.learner.simulate.editor import Document, Editor
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import Context, Generation
from tacit.protocol.events import EVENT, Accepted, Event, Settled, Suggested, TextAt, TextChanged, new_id
from tacit.protocol.home import Home
from tacit.protocol.project import project_of

RECORDING = {"learning": "on", "startServer": False}
PIECES = ("x = 1\r\n", "价值 🙂\n", "\r\n", "def f(a):\n    return a\n", "é", "'", "")


class Typing:
    """An editor's document and what stood in it when."""

    def __init__(self, editor: Editor, document: Document, seed: int) -> None:
        self._editor, self._document, self._draw = editor, document, random.Random(seed)
        self.moments: list[tuple[datetime, str]] = []

    async def edits(self, count: int) -> None:
        for _ in range(count):
            text = self._document.text
            start = self._draw.randrange(len(text) + 1)
            end = min(len(text), start + self._draw.choice((0, 0, 2, 9)))
            # Never in the middle of a line end, where LSP has no position.
            start, end = (o - 1 if text[o - 1 : o + 1] == "\r\n" else o for o in (start, end))
            self._editor.change(self._document, start, end, self._draw.choice(PIECES))
            # Answered after the change was read: from here on, this is the text.
            await self._editor.request("tacit/counters", None)
            self.moments.append((datetime.now(UTC), self._document.text))
            await asyncio.sleep(0.003)


def _on_disk(home: Home) -> set[str]:
    """Hashes of the texts that the outbox's changes lead to."""
    lines = [line for path in home.outbox.glob("*.jsonl") for line in path.read_bytes().rpartition(b"\n")[0].splitlines()]
    return {event.sha256 for event in map(EVENT.validate_json, lines) if isinstance(event, TextChanged)}


async def _tacit(root: Path, environment: dict[str, str], *arguments: str) -> tuple[int | None, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tacit.cli", *arguments),
        cwd=root,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out, err.decode()


async def _replayed(client: TacitClient, project: str, at: datetime) -> TextAt:
    return await client.replay(project, "a.py", at)


@pytest.mark.timeout(400)
async def test_moments_before_a_kill_and_while_the_server_was_down(home: Home, tiny_model: Path, tmp_path: Path) -> None:
    root = (tmp_path / "w").resolve()
    root.mkdir()
    project, settings = project_of(root), {"model": str(tiny_model), "threads": "1"}
    server = ServerProcess(home, settings)
    await server.start(engine=False)
    try:
        first = Editor(root, options=RECORDING, environment=server.environment)
        await first.start()
        document = first.open(root / "a.py", "begin\r\n")
        async with asyncio.timeout(120):
            # The record begins when the language server knows the project, which takes a git process.
            while not await server.client.replay_paths(project, datetime.now(UTC)):
                await asyncio.sleep(0.05)
        typing = Typing(first, document, 1)
        await typing.edits(10)
        first.save(document)
        async with asyncio.timeout(120):
            while (await _replayed(server.client, project, typing.moments[-1][0])).text != typing.moments[-1][1]:
                await asyncio.sleep(0.05)
        await server.stop()
        await typing.edits(15)
        first.save(document)
        async with asyncio.timeout(120):
            # While there is no server the outbox has them.
            while sha256(document.text.encode()).hexdigest() not in _on_disk(home):
                await asyncio.sleep(0.05)
        known = list(typing.moments)
        await typing.edits(3)
        lost = typing.moments[len(known) :]
        await first.kill()

        await server.start(engine=False)
        async with Editor(root, options=RECORDING, environment=server.environment) as second:
            again = second.open(root / "a.py", "as it is on disk\n")
            async with asyncio.timeout(120):
                while (await _replayed(server.client, project, datetime.now(UTC))).text != again.text:
                    await asyncio.sleep(0.05)
                while (await _replayed(server.client, project, known[-1][0])).text != known[-1][1]:
                    await asyncio.sleep(0.05)
            for at, text in known:
                assert (await _replayed(server.client, project, at)).text == text
            for at, _ in lost:
                found = await _replayed(server.client, project, at)
                assert (found.state, found.text) == ("last_known", known[-1][1]), "what was lost is not guessed"
            at, text = known[4]
            code, out, said = await _tacit(root, server.environment, "replay", "--at", at.isoformat(), "a.py")
            assert (code, out) == (0, text.encode()), said
            assert "As it was since" in said
            code, _, _ = await _tacit(
                root, server.environment, "replay", "--at", at.isoformat(), "--workspace", "--into", str(tmp_path / "out")
            )
            assert code == 0 and (tmp_path / "out" / "a.py").read_bytes() == text.encode()
            before = (known[0][0] - timedelta(days=1)).isoformat()
            code, out, said = await _tacit(root, server.environment, "replay", "--at", before, "a.py")
            assert (code, out) == (3, b"") and "is recorded at or before" in said
    finally:
        await server.stop()


@pytest.mark.timeout(300)
async def test_why_tells_a_suggestion_from_the_record(home: Home, tiny_model: Path, tmp_path: Path) -> None:
    at, session = datetime.now(UTC), new_id()
    context = Context(path="a.py", language="python", prefix="def add(a, b):\n    return ", suffix="\n")
    suggested = Suggested(
        at=at,
        session_id=session,
        suggestion_id=new_id(),
        project="p",
        context=context,
        context_sha256=context.digest(),
        text="a + b",
        generation=Generation(
            tokens=(1, 2, 3),
            logprobs=(-0.1, -0.2, -0.3),
            temperature=0.3,
            seed=1,
            policy_version="p@000007",
            model="0" * 64,
            finish_reason="eos",
        ),
        trigger="automatic",
        p_show=0.9,
        shown=True,
        latency_ms=1,
        engine_ms=1,
    )
    name = suggested.suggestion_id
    events: list[Event] = [
        Accepted(at=at, session_id=session, suggestion_id=name, accepted_chars=5, total_chars=5, visible_ms=900, inferred=True),
        Settled(
            at=at, session_id=session, suggestion_id=name, horizon="10s", elapsed_ms=1e4, span_text="a + b", settled_text="a + b"
        ),
        Settled(
            at=at, session_id=session, suggestion_id=name, horizon="2m", elapsed_ms=12e4, span_text="a - b", settled_text="a - b"
        ),
    ]
    async with ServerProcess(home, {"model": str(tiny_model), "threads": "1"}) as server:
        await server.client.send_events([suggested, *events])
        code, out, said = await _tacit(tmp_path, server.environment, "why", name[:12], "--json")
        assert code == 0, said
        told = json.loads(out)
        assert (told["suggestion"], told["written"], told["policy_version"]) == (name, "a - b", "p@000007")
        assert [(one["horizon"], one["kept_rate"]) for one in told["horizons"]] == [("10s", 1.0), ("2m", 0.8)]
        assert told["reward"]["value"] == pytest.approx(sum(told["reward"]["parts"].values()))
        code, out, _ = await _tacit(tmp_path, server.environment, "why", name)
        text = out.decode()
        assert code == 0 and all(part in text for part in ("a - b", "80.0%", "P(show) 0.90", "p@000007", "price of showing it"))
        code, _, said = await _tacit(tmp_path, server.environment, "why", "nothing-like-it")
        assert code == 3 and "no suggestion" in said
