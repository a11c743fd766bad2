"""A real `tacit lsp` with its pipes in our hands: sends bytes, counts answers, says what was not answered right.

May touch: one child process in a folder of its own, and the adversary's socket.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
from fuzz.adversary import MOODS, Adversary, Mood
from fuzz.frames import Frame, Round, header

ROUND = 500
"""Frames in a round; one seed and one number make a round."""
GROWTH_BYTES = 50 * 1024 * 1024
ANSWER_S = 120.0
"""Longer than any deadline on a machine that does something else: what is not answered by then is not going to be."""


class Failure(Exception):
    """What was not as it must be. Its message says how to see it again."""


class Lsp:
    """`tacit lsp` on a workspace folder."""

    def __init__(self, root: Path, options: dict[str, Any]) -> None:
        self.answers: Counter[str] = Counter()
        """By id, as JSON."""
        self.results: dict[str, Any] = {}
        """The latest answer by id, while somebody waits for it."""
        self.said: Counter[str] = Counter()
        """What it sent by itself, by method."""
        self.statuses: deque[Any] = deque(maxlen=50)
        """The latest `tacit/status`."""
        self.stderr: deque[str] = deque(maxlen=100)
        self.commands: list[str] = []
        self.broken = ""
        """What of its output is no proper message."""
        self._root = root
        self._options = options
        self._whole = True
        self._replies: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, encodings: tuple[str, ...] = ("utf-16",)) -> None:
        command = (sys.executable, "-m", "tacit.cli", "lsp")
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ})
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._read_stderr())]
        params = {
            "rootUri": self._root.as_uri(),
            "initializationOptions": {"startServer": False, **self._options},
            "capabilities": {
                "general": {"positionEncodings": list(encodings)},
                "window": {"workDoneProgress": True},
                "workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}},
                "textDocument": {
                    "codeAction": {
                        "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["quickfix"]}},
                        "resolveSupport": {"properties": ["edit"]},
                        "dataSupport": True,
                    }
                },
            },
        }
        answer = await self.request("initialize", params)
        self.capabilities = answer["result"]["capabilities"]
        self.commands = self.capabilities["executeCommandProvider"]["commands"]
        self.send({"method": "initialized", "params": {}})

    async def stop(self) -> int | None:
        """The exit status; killed if it does not leave."""
        with contextlib.suppress(TimeoutError, Failure, ConnectionError):
            async with asyncio.timeout(30):
                await self.request("shutdown", None)
                self.send({"method": "exit"})
                await self.process.wait()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.process.returncode

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.write(header(len(body)) + body)

    def write(self, data: bytes, *, whole: bool = True) -> None:
        """whole: it ends where a frame ends; what it asked us is answered only there."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self._whole = whole
        while whole and self._replies:
            self.send(self._replies.pop())

    async def drain(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):
            await self.process.stdin.drain()

    async def request(self, method: str, params: Any, name: str = "") -> Any:
        """The whole answer. Failure when the process ends before it."""
        name = name or f"own {time.monotonic_ns()}"
        key = json.dumps(name)
        before = self.answers[key]
        self.send({"id": name, "method": method, "params": params})
        await self.until(lambda: self.answers[key] > before)
        return self.results.pop(key)

    async def until(self, happened: Callable[[], bool]) -> None:
        """TimeoutError; Failure when the process has ended."""
        async with asyncio.timeout(ANSWER_S):
            while not happened():
                if self.process.returncode is not None or self.broken:
                    raise Failure(f"{self.broken or f'It exited with {self.process.returncode}.'}\n" + "\n".join(self.stderr))
                self._news.clear()
                await self._news.wait()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        out = self.process.stdout
        try:
            while True:
                head = await out.readuntil(b"\r\n\r\n")
                found = re.fullmatch(rb"Content-Length: (\d+)\r\n\r\n", head)
                if found is None:
                    self.broken = f"This is no header: {head[:200]!r}"
                    break
                self._take(await out.readexactly(int(found[1])))
                self._news.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except ValueError as error:
            self.broken = f"It sent what is no JSON: {error}"
        await self.process.wait()
        self._news.set()

    def _take(self, body: bytes) -> None:
        message = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        if "method" not in message:
            name = json.dumps(message["id"])
            self.answers[name] += 1
            if name.startswith('"own '):
                self.results[name] = message
            if ("result" in message) == ("error" in message):
                raise ValueError(f"an answer has a result or an error: {message}")
            return
        self.said[message["method"]] += 1
        if message["method"] == "tacit/status":
            self.statuses.append(message["params"])
        if "id" in message:
            self._replies.append({"id": message["id"], "result": None})
            if self._whole:
                self.write(b"")

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.stderr.append(line.decode("utf-8", "replace").rstrip())


async def run_rounds(lsp: Lsp, adversary: Adversary, root: Path, seed: int, rounds: Iterable[int]) -> int:
    """Send these rounds of a seed and hold the answers against them; returns how many frames. Failure, replayable."""
    sent, base = 0, 0
    for number in rounds:
        moods = random.Random(f"{seed}/{number}/moods")
        # Looking for a lost server takes seconds, in which no model would be asked.
        adversary.mood = lambda path, moods=moods: "answer" if path == "/v1/status" else moods.choice(_MOODS)  # type: ignore[misc]
        frames = Round(seed, number, ROUND, root.as_uri(), lsp.commands).frames()
        try:
            await _round(lsp, frames, random.Random(f"{seed}/{number}/cuts"))
            # What is imported at the first suggestion is there once.
            base = base or lsp.memory()
            if (grown := lsp.memory() - base) > GROWTH_BYTES:
                raise Failure(f"It has grown by {grown / 2**20:.0f} MiB.")
        except (Failure, TimeoutError) as error:
            again = f"tests/fuzz/replay.py --seed {seed} --round {number}"
            raise Failure(f"{error}\nAlone: {again}\nWith what came before: {again} --from 0") from error
        sent += len(frames)
    return sent


_MOODS: tuple[Mood, ...] = (*("answer", "slow") * 8, *MOODS)


async def _round(lsp: Lsp, frames: list[Frame], cuts: random.Random) -> None:
    # A round may have ended with it paused.
    await lsp.request("workspace/executeCommand", {"command": "tacit.resume"})
    before, popups = lsp.answers.copy(), lsp.said["window/showMessage"]
    data = bytearray()
    for frame in frames:
        data += frame.data
        # In pieces that end anywhere. In between there is time for calls to begin, and for some of them to end.
        asks = frame.id is not None and b"inlineCompletion" in frame.data
        if cuts.random() < (0.4 if asks else 0.05):
            cut = len(data) if asks else cuts.randrange(len(data) + 1)
            lsp.write(bytes(data[:cut]), whole=cut == len(data))
            del data[:cut]
            await lsp.drain()
            await asyncio.sleep(cuts.choice((0.0, 0.001, 0.003, 0.01)))
    lsp.write(bytes(data))
    # A broken frame may have taken the beginning of what follows it.
    lsp.write(b"\r\n\r\n")
    wanted = Counter(frame.id for frame in frames if frame.id is not None)
    exact = all(frame.nulls >= 0 for frame in frames)
    nulls = sum(frame.nulls for frame in frames)

    def wrong() -> dict[str, tuple[int, int]]:
        got = lsp.answers - before
        found = {
            name: (wanted[name], got[name])
            for name in {*wanted, *got}
            if wanted[name] != got[name] and name != "null" and not name.startswith('"own ')
        }
        return found | ({"null": (nulls, got["null"])} if exact and got["null"] != nulls else {})

    try:
        await lsp.until(lambda: sum((lsp.answers - before).values()) >= wanted.total() and not wrong())
    except TimeoutError:
        told = f"Answers that are missing or too many, by id (wanted, had): {dict(list(wrong().items())[:8])}"
        raise Failure("\n".join([told, *lsp.stderr])) from None
    # Nothing more may come after it.
    await lsp.request("tacit/counters", None)
    failed = [line for line in lsp.stderr if "Traceback" in line or "a handler failed" in line or "could not be handled" in line]
    if failed or wrong():
        raise Failure("\n".join([str(wrong()), *lsp.stderr]))
    if (shown := lsp.said["window/showMessage"] - popups) > ROUND // 10:
        raise Failure(f"{shown} popups in {ROUND} frames.")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
