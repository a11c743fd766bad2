"""`tacit bench ingest`: many language servers at once, and whether what was acknowledged is on the disk. Starts real servers.

Each client keeps one connection and sends batches in its own rhythm. When the last ack has come the server is killed (kill -9),
and the store is read: every acknowledged event must be there, once. Some batches are sent twice, as after a lost answer.
"""

import asyncio
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import Session, select

from tacit.bench.postgresql_server import MISSING, programs, running
from tacit.bench.report import Goal, Report, percentile
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import Context, Generation
from tacit.protocol.errors import TacitError
from tacit.protocol.events import Rejected, Settled, Shown, Suggested, new_id
from tacit.protocol.home import Home
from tacit.server.store.store import Store
from tacit.server.store.tables import EventRow

Progress = Callable[[str, int, int], None]

AGAIN = 0.02
"""Share of batches that are sent twice."""
ACK_MS = 50.0
FILES = 8192
SUGGESTION, EVENT, SESSION = "0" * 31 + "1", "0" * 31 + "2", "0" * 31 + "3"
"""Ids in the templates, which each batch replaces by its own."""


@dataclass(slots=True)
class Measured:
    acks: list[float] = field(default_factory=list)
    """ms, from the first byte of a batch to the last of its answer."""
    acked: set[str] = field(default_factory=set)
    """Ids of events."""
    failures: list[str] = field(default_factory=list)
    miscounted: int = 0
    """Acks that counted other events as new than those that were."""
    stored: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        return len(self.acked - set(self.stored))

    @property
    def doubled(self) -> int:
        return len(self.stored) - len(set(self.stored)) + self.miscounted


def run(clients: int, events: int, batch: int, seconds: float, database_url: str, seed: int, progress: Progress) -> Report:
    """events: of each client. batch: events in one request. seconds: in which a client sends them. database_url: of an empty
    PostgreSQL database; empty: a server is started where its programs are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard) if hard > 0 else FILES, hard))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tacit-", dir="/tmp"))).resolve()
        stores, remarks = {"SQLite": ""}, []
        if database_url:
            stores["PostgreSQL"] = database_url
        elif programs() is None:
            remarks.append(f"PostgreSQL was not measured: {MISSING}.")
        else:
            data = folder / "postgresql"
            data.mkdir()
            folder.chmod(0o711)
            stores["PostgreSQL"] = stack.enter_context(running(data)).url
        found = {
            name: asyncio.run(_measure(Home(folder / name.lower()), url, clients, events, batch, seconds, seed, name, progress))
            for name, url in stores.items()
        }
    return _report(found, remarks, clients, batch, seconds)


async def _measure(
    home: Home, url: str, clients: int, events: int, batch: int, seconds: float, seed: int, name: str, progress: Progress
) -> Measured:
    # No model is needed to store events, and none is looked for.
    server = ServerProcess(home, {"model": str(home.root / "none.gguf"), **({"database_url": url} if url else {})})
    measured = Measured()
    try:
        await server.start(engine=False)
        chance = random.Random(seed)
        began = time.perf_counter()
        talking = [
            asyncio.create_task(_client(home, events, batch, seconds, chance.random(), random.Random(chance.random()), measured))
            for _ in range(clients)
        ]
        watch = asyncio.create_task(_watch(measured, name, clients * events, progress))
        await asyncio.gather(*talking)
        measured.seconds = time.perf_counter() - began
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        await server.kill()
    finally:
        await server.stop()
    measured.stored = await asyncio.to_thread(_stored, home, url)
    return measured


async def _watch(measured: Measured, name: str, total: int, progress: Progress) -> None:
    while True:
        progress(name, len(measured.acked), total)
        await asyncio.sleep(0.5)


def _stored(home: Home, url: str) -> list[str]:
    store = Store.open(home, url)
    try:
        return store.read_now(_ids)
    finally:
        store.close()


def _ids(session: Session) -> list[str]:
    return list(session.exec(select(EventRow.id)))


async def _client(
    home: Home, events: int, batch: int, seconds: float, phase: float, chance: random.Random, measured: Measured
) -> None:
    """One language server: a batch every so often, begun at its own moment."""
    templates, session = _templates(), new_id()
    sizes = [min(batch, events - done) for done in range(0, events, batch)]
    pause = seconds / len(sizes)
    began = time.perf_counter()
    reader, writer = await asyncio.open_unix_connection(str(home.socket))
    try:
        for number, size in enumerate(sizes):
            await asyncio.sleep(max(0.0, began + (number + phase) * pause - time.perf_counter()))
            ids, body = _batch(templates, session, size)
            for again in range(2 if chance.random() < AGAIN else 1):
                asked = time.perf_counter()
                status, answer = await _post(reader, writer, body)
                if status != 200:
                    measured.failures.append(f"{status}: {answer[:200].decode(errors='replace')}")
                    break
                measured.acks.append((time.perf_counter() - asked) * 1000)
                measured.acked.update(ids)
                measured.miscounted += json.loads(answer) != {"stored": 0 if again else size, "known": size if again else 0}
    except (OSError, asyncio.IncompleteReadError, ValueError, TacitError) as error:
        measured.failures.append(f"{type(error).__name__}: {error}")
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> tuple[int, bytes]:
    """By hand: a thousand of a client library's connections would measure that library."""
    head = f"POST /v1/events HTTP/1.1\r\nhost: tacit\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    said = await reader.readuntil(b"\r\n\r\n")
    status, *lines = said.decode("latin-1").split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:"))
    return int(status.split()[1]), await reader.readexactly(length)


def _batch(templates: tuple[str, ...], session: str, size: int) -> tuple[list[str], bytes]:
    """(ids, body): suggestions and what became of them, in turn."""
    ids, parts, suggestion = [], [], new_id()
    for number in range(size):
        kind = number % len(templates)
        if kind == 0:
            suggestion = new_id()
        ids.append(new_id())
        parts.append(templates[kind].replace(EVENT, ids[-1]).replace(SUGGESTION, suggestion).replace(SESSION, session))
    return ids, f'{{"events":[{",".join(parts)}]}}'.encode()


def _templates() -> tuple[str, ...]:
    """A suggestion with some thousand characters of context, that it was shown, rejected, and what was written instead."""
    now = datetime.now(UTC)
    context = Context(path="src/a.py", language="python", prefix="def total(items):\n    result = 0\n" * 60, suffix="\n" * 20)
    base = {"id": EVENT, "at": now, "session_id": SESSION, "suggestion_id": SUGGESTION}
    generation = Generation(
        tokens=tuple(range(24)), logprobs=(-0.25,) * 24, temperature=0.3, seed=1, policy_version="base", model="0" * 64,
        finish_reason="eos",
    )  # fmt: skip
    suggested = Suggested(
        **base, project="bench", context=context, context_sha256=context.digest(), text="return sum(items)",
        generation=generation, trigger="automatic", p_show=1.0, shown=True, latency_ms=100, engine_ms=90,
    )  # fmt: skip
    after = (
        Shown(**base, inferred=False),
        Rejected(**base, reason="typed_over", visible_ms=900),
        Settled(
            **base,
            horizon="10s",
            elapsed_ms=10_000,
            span_text=None,
            settled_text="    for item in items:\n        result += item\n",
        ),
    )
    return tuple(event.model_dump_json() for event in (suggested, *after))


def _report(found: dict[str, Measured], remarks: list[str], clients: int, batch: int, seconds: float) -> Report:
    rows, goals = [], []
    for name, measured in found.items():
        p50, p99 = percentile(measured.acks, 50), percentile(measured.acks, 99)
        rows.append(
            {
                "what": f"{name}: ack of a batch of {batch}, {clients:,} clients",
                "unit": "ms",
                "n": len(measured.acks),
                "p50": None if p50 is None else round(p50, 2),
                "p99": None if p99 is None else round(p99, 2),
                "max": round(max(measured.acks, default=0.0), 2),
                "events a second": round(len(measured.acked) / measured.seconds),
            }
        )
        goals += [
            Goal(f"{name}: ack, p99, ms", p99, ACK_MS),
            Goal(f"{name}: acknowledged events lost by kill -9", float(measured.lost), 0),
            Goal(f"{name}: events doubled", float(measured.doubled), 0),
            Goal(f"{name}: requests failed", float(len(measured.failures)), 0),
        ]
        remarks += [f"{name}: {failure}" for failure in measured.failures[:3]]
    remarks.insert(
        0,
        f"Each client sends its batches over {seconds:.0f} s, in its own rhythm; {AGAIN:.0%} of them twice. Clients and server "
        "share this machine. After the last ack the server is killed and the store is read.",
    )
    return Report("ingest", "no model", rows, goals, remarks)
