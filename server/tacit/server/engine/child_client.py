"""One engine child seen from the server: starts the process and speaks llama.cpp's HTTP dialect with it. Decides nothing.

Each request has a connection of its own: closing it is how llama.cpp learns that an answer is no longer wanted, and an idle
kept connection would hold one of its few HTTP threads.
"""

import asyncio
import contextlib
import functools
import json
import math
import os
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import httpx

from tacit.protocol.errors import BadRequest, EngineUnavailable, ModelUnavailable
from tacit.protocol.lines import lines
from tacit.server.engine.gguf_header import read_vocabulary
from tacit.server.engine.interface import Drawn, DrawStats, Sampling
from tacit.server.engine.llama_child import ChildConfig
from tacit.server.engine.slots import Slot, Slots
from tacit.server.engine.split_characters import ENOUGH, Vocabulary, at_temperature, spellings
from tacit.server.engine.turns import Turns

START_SECONDS = 300.0
"""A large model from a slow disk."""
SILENT_SECONDS = 120.0
"""An answer that says nothing for so long comes from an engine that hangs."""
STOP_SECONDS = 5.0
SLICE_TOKENS = 24
"""So much of a long answer is drawn at a time; between two slices requests of other adapters have their turn. Where slices end
depends on the tokens alone, so that what is drawn is the same whoever waits. Each costs about two tokens' time."""
LONG_TOKENS = 64
"""Only answers that may become longer are drawn in slices: completions are not."""
SMALLEST_PROB = 1.2e-38
"""What is drawn has a probability above zero; this is the smallest that a float32 tells from it."""


class Child:
    """A running process, ready to answer. Made by `start`."""

    def __init__(
        self, process: asyncio.subprocess.Process, socket: Path, model: Path, adapters: tuple[str, ...], streams: int
    ) -> None:
        self.adapters = adapters
        """Names, in the order in which the process knows them."""
        self.idle = asyncio.Event()
        """Set while no request is under way."""
        self.idle.set()
        self._process = process
        self._socket = socket
        self._model = model
        self._under_way = 0
        self._slots = Slots(streams)
        self._free = asyncio.Semaphore(streams)
        self._turns = Turns()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=limits, verify=False),
            base_url="http://engine",
            headers={"connection": "close"},
            timeout=httpx.Timeout(SILENT_SECONDS, connect=5.0),
        )

    @classmethod
    async def start(cls, config: ChildConfig, adapters: tuple[str, ...], log: IO[bytes]) -> "Child":
        """ModelUnavailable: llama.cpp says why it will not load this. EngineUnavailable: the process died or is stuck."""
        socket = _unused(config.socket)
        process = await asyncio.create_subprocess_exec(
            # -P: never import what lies in the current folder, which may be a workspace.
            *(sys.executable, "-P", "-m", "tacit.server.engine.llama_child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            # Ctrl-C is for the server, which lets running answers end.
            start_new_session=True,
        )
        child = cls(process, socket, Path(config.model), adapters, config.streams)
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(config.to_line())
            async with asyncio.timeout(START_SECONDS):
                line = await process.stdout.readline()
            answer = json.loads(line) if line else {}
            if "error" in answer:
                raise ModelUnavailable(f"llama.cpp cannot load it ({answer['error']}).")
            if not answer.get("ready"):
                code = await process.wait()
                raise EngineUnavailable(f"The engine ended while it was loading (exit code {code}).", mend=f"See {log.name}.")
        except TimeoutError as error:
            await child.close()
            raise EngineUnavailable(f"The engine did not load its model within {START_SECONDS:.0f} s.") from error
        except BaseException:
            await child.close()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> int:
        """Wait for the process to end; returns its exit code."""
        return await self._process.wait()

    async def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._http.aclose()
        self._socket.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        self._under_way += 1
        self.idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.idle.set()

    async def tokenize(self, text: str) -> list[int]:
        with self._working():
            try:
                response = await self._http.post(
                    "/tokenize", json={"content": text, "add_special": False, "parse_special": False}
                )
            except httpx.TransportError as error:
                raise _gone(error) from error
            if response.status_code != 200:
                raise _refusal(response.status_code, response.content)
            return [int(token) for token in response.json()["tokens"]]

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None, stops: frozenset[int]
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        """As Engine.generate. stops: tokens after which nothing more is wanted."""
        stay = _Stay(self._turns, self._free, self._slots, adapter, sampling.background)
        with self._working():
            try:
                async with contextlib.aclosing(self._draw(stay, prompt, sampling, adapter, stops)) as items:
                    async for item in items:
                        yield item
            finally:
                await stay.leave()

    async def _draw(
        self, stay: "_Stay", prompt: Sequence[int], sampling: Sampling, adapter: str | None, stops: frozenset[int]
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        await stay.enter(prompt)
        request: dict[str, Any] = {
            # All of them: what is not named here keeps the scale it was loaded with (llama.cpp issue 28674).
            "lora": [{"id": index, "scale": float(name == adapter)} for index, name in enumerate(self.adapters)],
            "temperature": sampling.temperature,
            "samplers": ["temperature"],
            "n_probs": 1,
            # Greedy draws have probability 1 after the fact; what is asked of them is the model's own.
            "post_sampling_probs": sampling.temperature > 0,
            "stream": True,
            # Also makes the engine look between batches whether the connection still stands.
            "return_progress": True,
        }
        drawn: list[int] = []
        cached, prompt_ms, read_at, ended = 0, 0.0, 0.0, False
        slice_tokens = SLICE_TOKENS if sampling.max_tokens > LONG_TOKENS else LONG_TOKENS + 1

        def stats() -> DrawStats:
            generate_ms = (time.perf_counter() - read_at - stay.waited) * 1000 if drawn else 0.0
            return DrawStats(len(prompt), len(prompt) - cached, prompt_ms, len(drawn), generate_ms, ended)

        # One request, and another after each slice and each character that was split.
        while len(drawn) < sampling.max_tokens and not ended:
            so_far = [*prompt, *drawn]
            if drawn:
                await stay.let_others_by(so_far)
            slot = stay.slot
            request["id_slot"] = slot.index
            part = {
                "prompt": so_far,
                "cache_prompt": bool(slot.tokens),
                "n_predict": sampling.max_tokens - len(drawn),
                # Another part draws with other numbers than the first.
                "seed": (sampling.seed + len(drawn)) % 2**32,
            }
            # Nothing is known of the cache until the engine says that it has begun.
            slot.tokens.clear()
            first, split, sliced = len(drawn), None, False
            async with contextlib.aclosing(self._chunks({**request, **part})) as chunks:
                async for chunk in chunks:
                    if progress := chunk.get("prompt_progress"):
                        slot.tokens[:] = so_far[: int(progress["processed"])]
                        if first:
                            continue
                        cached, prompt_ms = int(progress["cache"]), float(progress["time_ms"])
                        if progress["processed"] == progress["total"]:
                            read_at = time.perf_counter()
                            yield stats()
                    elif found := chunk.get("completion_probabilities"):
                        kept_back = int(chunk["tokens_predicted"]) - (len(drawn) - first) - 1
                        if kept_back:
                            split = found[0]
                            break
                        token = int(found[0]["id"])
                        ended = token in stops
                        drawn.append(token)
                        slot.tokens.append(token)
                        yield Drawn(token, "" if ended else str(chunk["content"]), _logprob(found[0]))
                        sliced = len(drawn) - first >= slice_tokens
                        if ended or sliced:
                            break
            if split is None and sliced:
                continue
            if split is None:
                break
            pieces = await self._pieces(request, so_far + drawn[first:], split, kept_back, sampling.temperature)
            for piece in pieces[: sampling.max_tokens - len(drawn)]:
                drawn.append(piece.token)
                slot.tokens.append(piece.token)
                yield piece
            if not pieces:
                # What was drawn before stands, as if it had been the last.
                break
        yield stats()

    async def _pieces(
        self, request: dict[str, Any], prompt: list[int], last: dict[str, Any], count: int, temperature: float
    ) -> list[Drawn]:
        """The tokens of a split character, drawn after `prompt`: `count` that were kept back, and `last`.

        Empty if they cannot be told.
        """
        vocabulary = await asyncio.to_thread(_vocabulary, self._model)
        data, token = bytes(last["bytes"]), int(last["id"])
        best: list[Drawn] = []
        for spelling in spellings(data.removesuffix(vocabulary.texts[token]), count, vocabulary.ids):
            pieces = [
                Drawn(piece, "", await self._score(request, [*prompt, *spelling[:place]], piece, temperature, vocabulary))
                for place, piece in enumerate(spelling)
            ]
            best = max(best, pieces, key=lambda pieces: sum(piece.logprob for piece in pieces) if pieces else -math.inf)
        return [*best, Drawn(token, data.decode(errors="replace"), _logprob(last))] if best else []

    async def _score(
        self, request: dict[str, Any], prompt: list[int], token: int, temperature: float, vocabulary: Vocabulary
    ) -> float:
        """log μ of a token after a prompt that the slot has just read."""
        for count in (ENOUGH, len(vocabulary.texts)) if temperature <= 1 else (len(vocabulary.texts),):
            only = {
                "prompt": prompt,
                "cache_prompt": True,
                "n_predict": 1,
                "seed": 0,
                "n_probs": count,
                # Probabilities before sampling, of which a bias is part. It makes sure that what is drawn is a whole character:
                # for others no probabilities are sent.
                "post_sampling_probs": False,
                "logit_bias": [[vocabulary.ids[b" "], 1000.0]],
            }
            logprobs: dict[int, float] = {}
            async with contextlib.aclosing(self._chunks({**request, **only})) as chunks:
                async for chunk in chunks:
                    for found in chunk.get("completion_probabilities", ()):
                        logprobs = {
                            int(one["id"]): float(one["logprob"]) for one in found["top_logprobs"] if one["logprob"] is not None
                        }
            if token in logprobs:
                return at_temperature(logprobs, token, temperature)
        raise EngineUnavailable("The engine did not say how likely a token was.", mend="Try again.")

    async def _chunks(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The answer's server-sent events up to the last."""
        try:
            async with self._http.stream("POST", "/completion", json=request) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await response.aread())
                async for line in lines(response):
                    if not line.startswith("data: "):
                        continue
                    chunk: dict[str, Any] = json.loads(line[6:])
                    if "error" in chunk:
                        raise EngineUnavailable(f"The engine failed: {chunk['error'].get('message', '')}.")
                    if chunk.get("stop"):
                        return
                    yield chunk
        except httpx.TransportError as error:
            raise _gone(error) from error
        raise EngineUnavailable("The engine ended its answer early.", mend="It is being restarted; try again.")


class _Stay:
    """What a stream has while it is drawn: its adapter's turn, one of the streams, a slot. It can let others by and come back."""

    def __init__(self, turns: Turns, free: asyncio.Semaphore, slots: Slots, adapter: str | None, background: bool) -> None:
        self.slot: Slot
        self.waited = 0.0
        """Seconds, for others that it let by."""
        self._turns = turns
        self._free = free
        self._slots = slots
        self._adapter = adapter
        self._background = background
        self._held = contextlib.AsyncExitStack()

    async def enter(self, prompt: Sequence[int]) -> None:
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(self._turns.of(self._adapter))
            await held.enter_async_context(self._free)
            self.slot = self._slots.take(prompt, self._adapter, self._background)
            held.callback(self._slots.release, self.slot)
            self._held = held.pop_all()

    async def leave(self) -> None:
        await self._held.aclose()

    async def let_others_by(self, prompt: Sequence[int]) -> None:
        """prompt: what it goes on with. The slot may be another one then."""
        if self._turns.wanted:
            began = time.perf_counter()
            await self.leave()
            await self.enter(prompt)
            self.waited += time.perf_counter() - began


@functools.lru_cache(maxsize=1)
def _vocabulary(model: Path) -> Vocabulary:
    return Vocabulary(read_vocabulary(model))


def _unused(socket: str) -> Path:
    """Its path, without what a killed process has left there."""
    path = Path(socket)
    path.unlink(missing_ok=True)
    return path


def _logprob(drawn: dict[str, Any]) -> float:
    value = drawn.get("logprob", drawn.get("prob"))
    if value is None:
        # JSON has no word for it.
        raise ModelUnavailable("What the model computes is not a number.")
    return float(value) if "logprob" in drawn else math.log(max(float(value), SMALLEST_PROB))


def _gone(error: httpx.TransportError) -> EngineUnavailable:
    if isinstance(error, httpx.TimeoutException):
        return EngineUnavailable("The engine has not answered in time.", mend="It hangs, or has too much to do; try again.")
    return EngineUnavailable(f"The engine is gone ({type(error).__name__}).", mend="It is being restarted; try again.")


def _refusal(status: int, body: bytes) -> BadRequest | EngineUnavailable:
    try:
        why = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        why = body[:200].decode(errors="replace")
    if status == 400:
        return BadRequest(f"The engine cannot do this: {why}.")
    return EngineUnavailable(f"The engine answered {status}: {why}.", mend="Try again.")


def engine_threads(setting: int) -> int:
    """Threads for this machine. setting: the user's; 0: all cores that this process may use but one, at most 16.

    llama.cpp's threads spin while they wait for one another: one that has to share its core holds up all of them (on 2 cores,
    beside one busy process, 2 tokens a second instead of 23). With two cores the second thread is worth that risk.
    """
    if setting:
        return setting
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores <= 2 else min(cores - 1, 16)
