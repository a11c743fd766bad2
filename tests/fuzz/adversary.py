"""A server at its worst, on the Unix socket: answers, is slow, hangs, breaks off, talks nonsense. It stands in for the real one
because that does none of it on demand; it draws no text of a model.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

Mood = Literal["answer", "slow", "hang", "close", "half", "garbage", "error", "no engine", "full", "wrong"]
MOODS: tuple[Mood, ...] = ("answer", "slow", "hang", "close", "half", "garbage", "error", "no engine", "full", "wrong")
SLOW_S = 0.05
TEXT = "value + 1"


class Adversary:
    """Use as an async context manager. `mood`: how it answers a path. `down` and `up` take the socket away and back."""

    def __init__(self, socket: Path, mood: Callable[[str], Mood] = lambda path: "answer") -> None:
        self.mood = mood
        self.contexts: list[Any] = []
        """What the model was asked with."""
        self.events: dict[str, Any] = {}
        """What it has acknowledged, by id."""
        self._released = asyncio.Event()
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.down()

    async def up(self) -> None:
        self._socket.parent.mkdir(exist_ok=True, mode=0o700)
        self._socket.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, self._socket)

    def release(self) -> None:
        """What hangs goes on, as after SIGCONT."""
        self._released.set()
        self._released = asyncio.Event()

    async def down(self) -> None:
        """As after kill -9: every connection breaks, and the socket's file stays."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
                while await self._one(reader, writer):
                    await writer.drain()
        except asyncio.CancelledError:
            # Only `down` cancels.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and what comes of it; False: the connection ends."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ")[1]
        lengths = [line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        mood = self.mood(path)
        if mood == "hang":
            await self._released.wait()
        if mood == "close":
            return False
        if mood == "garbage":
            writer.write(b"\x00\xff no HTTP at all\r\n\r\n")
            return False
        if mood == "slow":
            await asyncio.sleep(SLOW_S)
        status, answer = self._answer(path, body, mood)
        content = (
            b"".join(json.dumps(one).encode() + b"\n" for one in answer)
            if isinstance(answer, list)
            else json.dumps(answer).encode()
        )
        reply = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            status,
            len(content),
            content,
        )
        if mood == "half":
            writer.write(reply[: len(reply) - len(content) // 2])
            return False
        writer.write(reply)
        return True

    def _answer(self, path: str, body: bytes, mood: Mood) -> tuple[int, Any]:
        if mood == "error":
            return 500, {"detail": "no"}
        if mood == "full":
            return 507, {"code": "storage_full", "message": "The disk is full.", "mend": ""}
        if mood == "no engine" and path in ("/v1/complete", "/v1/debug", "/v1/chat"):
            return 503, {"code": "engine_unavailable", "message": "The engine is starting.", "mend": ""}
        if mood == "wrong":
            return 200, {"text": 3, "accepted": "x", "engine_ready": []}
        if path in ("/v1/debug", "/v1/chat"):
            return 200, _debugging(json.loads(body))
        if path == "/v1/status":
            return 200, _status()
        if path == "/v1/events":
            # Acknowledged: from here on they are kept.
            batch = {event["id"]: event for event in json.loads(body)["events"]}
            known = len(batch.keys() & self.events.keys())
            self.events.update(batch)
            return 200, {"stored": len(batch) - known, "known": known}
        if path == "/v1/complete":
            request = json.loads(body)
            self.contexts.append(request["context"])
            return 200, _completion(request["request_id"])
        return 404, {"detail": "Not Found"}


_GENERATION = {
    "tokens": [1, 2], "logprobs": [-0.1, -0.2], "temperature": 0.3, "seed": 1, "policy_version": "base", "model": "0" * 64,
    "finish_reason": "eos",
}  # fmt: skip
_TIMINGS = {"total_ms": 5.0, "prompt_tokens": 9, "prompt_evaluated": 9, "prompt_ms": 3.0, "generated": 2, "generate_ms": 2.0}


def _completion(request_id: str) -> Any:
    return {"request_id": request_id, "text": TEXT, "generation": _GENERATION, "timings": _TIMINGS}


def _debugging(request: Any) -> Any:
    """Each kind's own chunk between the others."""
    one = {"start": request["text_start"], "end": request["text_start"], "text": "y\n", "path": request["path"]}
    fix = {"kind": "edit", "edits": [one], "reason": "It was missing.", "confidence": 0.5, "checks": []}
    draw = {"messages": [{"role": "user", "text": "?"}], "text": "y", "generation": _GENERATION, "shown": True}
    done = {"kind": "done", "request_id": request["request_id"], "policy_version": "base", "timings": _TIMINGS}
    said = fix if request["kind"] == "fix" else {"kind": "text", "text": TEXT}
    return [{"kind": "progress", "text": "Reading"}, said, {**done, "draws": [draw] if request["record"] else []}]


def _status() -> Any:
    return {
        "version": "0", "pid": 1, "home": "", "started_at": datetime.now(UTC).isoformat(), "engine": "embedded",
        "engine_ready": True, "model": "m", "model_sha256": "0" * 64, "model_path": "", "prefix_chars": 3000,
        "suffix_chars": 400, "projects": [], "next_run": None, "running": None, "last_run": None, "events": 0, "requests": 0,
    }  # fmt: skip
