"""`tacit forget` on a real server with a real engine: of 100 erased canaries a byte search of every file finds none, and what had
learned from them serves nobody."""

import json
import os
import subprocess
import sys
import time
import zlib
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from published_adapter import publish_adapter, seal
from tiny_night import PROJECT

from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import CompleteRequest, Context, Generation
from tacit.protocol.events import Change, Event, Settled, Suggested, TextChanged, TextSnapshot, new_id
from tacit.protocol.home import Home

CANARIES = 100
SECONDS = 60
"""In which what had learned from it has to be out of serving."""


def told(canary: str, project: str) -> tuple[list[Event], list[bytes]]:
    """Events with the canary in every text of theirs; and the bytes by which it is found: a snapshot's text is kept packed."""
    source = {"session_id": new_id(), "suggestion_id": new_id()}
    context = Context(path=f"{canary}.py", language="python", prefix=f"{canary} = ", suffix=f"\n{canary}\n")
    text = f"def {canary}():\n    pass\n"
    document = {"session_id": source["session_id"], "project": project, "path": f"{canary}.py", "document": new_id()}
    now = datetime.now(UTC)
    events: list[Event] = [
        Suggested(
            **source, at=now, project=project, context=context, context_sha256=context.digest(), text=canary,
            generation=Generation(
                tokens=(16,), logprobs=(-0.1,), temperature=0.3, seed=1, policy_version="base", model="0" * 64,
                finish_reason="eos",
            ),
            trigger="automatic", p_show=1.0, shown=True, latency_ms=1, engine_ms=1,
        ),
        Settled(**source, at=now, horizon="2m", elapsed_ms=9, span_text=canary, settled_text=canary),
        TextSnapshot(**document, at=now, number=0, text=text, sha256=sha256(text.encode()).hexdigest(), reason="opened"),
        TextChanged(**document, at=now, number=1, changes=(Change(after_ms=0, start=0, end=0, text=canary),), sha256=""),
    ]  # fmt: skip
    return events, [canary.encode(), zlib.compress(text.encode())]


def found_in(root: Path, needles: list[bytes]) -> dict[str, int]:
    """How many of them stand in which file."""
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_socket():
            content = path.read_bytes()
            if count := sum(needle in content for needle in needles):
                found[path.relative_to(root).as_posix()] = count
    return found


async def test_nothing_of_what_was_forgotten_is_left_or_serves(home: Home, tiny_model: Path) -> None:
    needles: list[bytes] = []
    async with ServerProcess(home, {"model": str(tiny_model)}) as server:
        ids = []
        for number in range(CANARIES):
            events, bytes_ = told(f"canary_{number:03d}_x", PROJECT)
            needles += bytes_
            assert isinstance(events[0], Suggested)
            ids.append(events[0].suggestion_id)
            await server.client.send_events(events)
        others, kept = told("somebody_elses", "dir-fedcba9876543210")
        await server.client.send_events(others)
        status = await server.client.status()
        name = publish_adapter(home, 1, tiny_model, status.model_sha256)
        (home.adapters / name / "lineage.jsonl").write_text(json.dumps({"suggestion_id": ids[7]}) + "\n")
        seal(home.adapters / name, name, status.model_sha256)
        await server.client.publish(name)
        question = CompleteRequest(
            request_id=new_id(), session_id=new_id(), project=PROJECT, deadline_ms=60_000,
            context=Context(path="a.py", language="python", prefix="def f():\n    ", suffix="\n"),
        )  # fmt: skip
        assert (await server.client.complete(question)).generation.policy_version == name
        before = found_in(home.root, needles)
        assert sum(before.values()) >= len(needles), "the search finds what is there"

        command = [sys.executable, "-m", "tacit.cli", "forget", "--project", PROJECT, "--yes", "--json"]
        began = time.monotonic()
        done = subprocess.run(
            command, env={**os.environ, **server.environment}, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (said["suggestions"], said["events"], said["texts"]) == (CANARIES, 4 * CANARIES, 2 * CANARIES)
        assert said["withdrawn"] == said["removed"] == [name]
        answer = await server.client.complete(question.model_copy(update={"request_id": new_id()}))
        assert answer.generation.policy_version == "base"
        assert time.monotonic() - began < SECONDS

        assert found_in(home.root, needles) == {}
        assert found_in(home.root, kept), "what is another project's is still there"
        # What an outbox sends again, its ack was lost, stays out.
        await server.client.send_events(events)
        assert found_in(home.root, needles) == {}
    assert found_in(home.root, needles) == {}
