"""vLLM's HTTP dialect, seen from the server: draw, load, unload, pin, list, sleep, wake. Knows no processes and decides nothing.

Each request has a connection of its own: closing it is how vLLM learns that an answer is no longer wanted.
"""

import contextlib
import json
import math
import re
import time
from codecs import getincrementaldecoder
from collections.abc import AsyncGenerator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from tacit.protocol.errors import BadRequest, EngineUnavailable, NotFound, Refused, TacitError
from tacit.protocol.lines import lines
from tacit.server.engine.interface import PRACTICE, Drawn, DrawStats, Sampling

SILENT_SECONDS = 120.0
"""An answer that says nothing for so long comes from an engine that hangs."""
LOAD_SECONDS = 120.0
"""Of an adapter, or to forget it. On a processor it waits for a step, which with an adapter takes many seconds."""
LOOK_SECONDS = 10.0
GLANCE_SECONDS = 2.0
"""For what the status only mentions."""
SLEEP_SECONDS = 300.0
"""For the weights to go from the GPU to the machine's memory, or back."""


class VllmClient:
    """One vLLM. It may be gone at any time: then every method raises EngineUnavailable."""

    def __init__(self, address: str, socket: Path | None = None, *, ranks: bool = False) -> None:
        """address: http(s), without a path. socket: the Unix socket that answers for it; None: address is on the network.

        ranks: it was started with `--scheduling-policy priority`; else it refuses a request that has one.
        """
        self._ranks = ranks
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=limits, verify=False) if socket else None,
            limits=limits,
            base_url=address,
            headers={"connection": "close"},
            timeout=httpx.Timeout(SILENT_SECONDS, connect=5.0),
            # A proxy of the environment is meant for the internet.
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def models(self) -> list[dict[str, Any]]:
        """What it serves: the base first, then each adapter with `parent`."""
        try:
            response = await self._http.get("/v1/models", timeout=LOOK_SECONDS)
        except httpx.HTTPError as error:
            raise _gone(error) from error
        if response.status_code != 200:
            raise refusal(response.status_code, response.content)
        try:
            return [dict(model) for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise EngineUnavailable("What answers is no vLLM.", mend="Correct the setting `vllm_url`.") from error

    async def healthy(self) -> bool:
        try:
            return (await self._http.get("/health", timeout=LOOK_SECONDS)).status_code == 200
        except httpx.HTTPError:
            return False

    async def prefix_cache(self) -> tuple[int, int]:
        """(prompt tokens looked for in its prefix cache, those found there), of all of its processes since its start."""
        try:
            response = await self._http.get("/metrics", timeout=GLANCE_SECONDS)
        except httpx.HTTPError as error:
            raise _gone(error) from error
        if response.status_code != 200:
            # Taken for a page without counts, it would look like a vLLM that was started anew.
            raise refusal(response.status_code, response.content)
        asked, hits = (
            sum(map(float, re.findall(rf"^vllm:prefix_cache_{name}_total(?:{{.*}})? (\S+)$", response.text, re.MULTILINE)))
            for name in ("queries", "hits")
        )
        return int(asked), int(hits)

    async def tokenize(self, text: str) -> list[int]:
        """As vLLM does it: special tokens in the text are parsed. Only for comparing vocabularies."""
        answer = await self._post("/tokenize", {"prompt": text, "add_special_tokens": False})
        return [int(token) for token in json.loads(answer)["tokens"]]

    async def load(self, name: str, folder: Path) -> None:
        """Refused: vLLM does not take this adapter. A name that it has already is as good as loaded: names are immutable."""
        try:
            await self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)}, LOAD_SECONDS)
        except BadRequest as error:
            if "already been loaded" not in error.message:
                raise Refused(error.message) from error
        except NotFound as error:
            raise Refused(error.message) from error
        except EngineUnavailable as error:
            # The same status tells of an adapter that it cannot use and of an engine that is dead.
            if not error.message.startswith("vLLM answered 500") or not await self.healthy():
                raise
            raise Refused(error.message) from error

    async def unload(self, name: str) -> None:
        """Without a word if it is not loaded. Streams that use it end undisturbed."""
        with contextlib.suppress(NotFound):
            await self._post("/v1/unload_lora_adapter", {"lora_name": name}, LOAD_SECONDS)

    async def pin(self, number: int) -> None:
        """Never take the adapter that was loaded as that one, counted from 1, from its place. A development route.

        EngineUnavailable: it is not there, or this vLLM cannot.
        """
        try:
            answer = await self._post("/collective_rpc", {"method": "pin_lora", "args": [number]}, LOAD_SECONDS)
        except NotFound as error:
            raise EngineUnavailable("This vLLM was not started so that it can pin an adapter.") from error
        if set(json.loads(answer or b"{}").get("results", ())) != {"True"}:
            raise EngineUnavailable("vLLM has not pinned the adapter that changes nothing.")

    async def sleep(self) -> None:
        """Level 1: weights go to the machine's memory, the cache is forgotten. A development route: only if it was started so."""
        try:
            await self._post("/sleep?level=1", {}, SLEEP_SECONDS)
        except NotFound as error:
            raise EngineUnavailable("This vLLM was not started so that it can sleep.") from error

    async def wake(self) -> None:
        """Weights are back on the GPU, the cache is empty."""
        await self._post("/wake_up", {}, SLEEP_SECONDS)

    async def _post(self, route: str, body: Mapping[str, Any], seconds: float = LOOK_SECONDS) -> bytes:
        try:
            response = await self._http.post(route, json=body, timeout=seconds)
        except httpx.HTTPError as error:
            raise _gone(error) from error
        if response.status_code != 200:
            raise refusal(response.status_code, response.content)
        return response.content

    async def spread(self, model: str, prompt: Sequence[int], temperature: float) -> float:
        """How far apart the log-probabilities of the four likeliest next tokens are, nats, as vLLM tells them."""
        request = {"model": model, "prompt": list(prompt), "max_tokens": 1, "temperature": temperature, "seed": 0, "logprobs": 4}
        answer = json.loads(await self._post("/v1/completions", request, SILENT_SECONDS))
        values = sorted(answer["choices"][0]["logprobs"]["top_logprobs"][0].values(), reverse=True)
        return float(values[0] - values[3])

    async def draw(
        self, model: str, prompt: Sequence[int], sampling: Sampling, stops: frozenset[int], texts: Sequence[bytes]
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        """As Engine.generate. model: as vLLM calls it. texts: the bytes of each token id, empty for special tokens.

        How much of the prompt was in the cache is told at the end only: the first DrawStats counts all of it.
        """
        request: dict[str, Any] = {
            "model": model,
            "prompt": list(prompt),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            # Temperature and nothing else, whatever the model's folder recommends.
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "ignore_eos": True,
            "stop_token_ids": sorted(stops),
            # Of the drawn token only.
            "logprobs": 0,
            "return_token_ids": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.salt:
            # As it is, it may be the name of a project: what else reads vLLM's log need not know it.
            request["cache_salt"] = sha256(sampling.salt.encode()).hexdigest()
        if self._ranks:
            request["priority"] = PRACTICE if sampling.background else sampling.rank
        began = time.perf_counter()
        read_at, prompt_ms, cached, count, ended = 0.0, 0.0, 0, 0, False
        decoder = getincrementaldecoder("utf-8")("replace")

        def stats() -> DrawStats:
            generate_ms = (time.perf_counter() - read_at) * 1000 if count else 0.0
            return DrawStats(len(prompt), len(prompt) - cached, prompt_ms, count, generate_ms, ended)

        async with contextlib.aclosing(self._chunks(request)) as chunks:
            async for chunk in chunks:
                for token, logprob in drawn_in(chunk):
                    if not read_at:
                        read_at = time.perf_counter()
                        prompt_ms = (read_at - began) * 1000
                        yield stats()
                    count += 1
                    ended = token in stops
                    text = decoder.decode(texts[token] if token < len(texts) else b"")
                    yield Drawn(token, "" if ended else text, logprob)
                details = (chunk.get("usage") or {}).get("prompt_tokens_details") or {}
                cached = int(details.get("cached_tokens") or cached)
        if not read_at:
            raise EngineUnavailable("vLLM drew nothing.", mend="Try again; its log says more.")
        yield stats()

    async def _chunks(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The answer's server-sent events up to the last."""
        try:
            async with self._http.stream("POST", "/v1/completions", json=request) as response:
                if response.status_code != 200:
                    raise refusal(response.status_code, await response.aread())
                async for line in lines(response):
                    if not line.startswith("data: "):
                        continue
                    if line == "data: [DONE]":
                        return
                    chunk: dict[str, Any] = json.loads(line[6:])
                    if error := chunk.get("error"):
                        raise EngineUnavailable(f"vLLM failed: {error.get('message', '')}.", mend="Try again.")
                    yield chunk
        except httpx.TransportError as error:
            raise _gone(error) from error
        raise EngineUnavailable("vLLM ended its answer early.", mend="It is being restarted; try again.")


def drawn_in(chunk: Mapping[str, Any]) -> list[tuple[int, float]]:
    """(token id, log-probability) of each token that a chunk of a stream brings. One chunk may bring several, or none.

    Refused: what the model computes is not a number. EngineUnavailable: this vLLM does not tell ids or log-probabilities.
    """
    found = []
    for choice in chunk.get("choices") or ():
        tokens = choice.get("token_ids")
        if tokens is None:
            raise EngineUnavailable("This vLLM does not tell the ids of its tokens.", mend="Use vLLM 0.11 or newer.")
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or []
        if len(logprobs) != len(tokens):
            raise EngineUnavailable("This vLLM does not tell log-probabilities.", mend="Use one that does.")
        for token, logprob in zip(tokens, logprobs, strict=True):
            # JSON has no word for what is not a number; impossible tokens are given as -9999.
            if logprob is None or not math.isfinite(logprob) or logprob <= -9999:
                raise Refused("What the model computes is not a number.")
            found.append((int(token), float(logprob)))
    return found


def refusal(status: int, body: bytes) -> TacitError:
    """The error that an answer other than 200 stands for."""
    try:
        answer = json.loads(body)
        why = str((answer.get("error") or answer).get("message") or answer)
    except (ValueError, AttributeError):
        why = body[:200].decode(errors="replace")
    why = why.strip().rstrip(".")
    if status == 404:
        return NotFound(f"vLLM does not know it: {why}.")
    if status in (400, 422):
        return BadRequest(f"vLLM cannot do this: {why}.")
    return EngineUnavailable(f"vLLM answered {status}: {why}.", mend="Try again.")


def _gone(error: httpx.HTTPError) -> EngineUnavailable:
    if isinstance(error, httpx.TimeoutException):
        return EngineUnavailable("vLLM has not answered in time.", mend="It hangs, or has too much to do; try again.")
    return EngineUnavailable(f"vLLM does not answer ({type(error).__name__}).", mend="It is being restarted; try again.")
