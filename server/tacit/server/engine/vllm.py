"""The engine vLLM: one base, adapters loaded and unloaded while it serves. Touches its process or URL, and the base's folder.

Invariants: the name by which vLLM knows an adapter holds the digest of its content, so that neither its prefix cache nor a name
that is used again can serve another's; no adapter is sent to vLLM before its shapes have been checked against the base; after
vLLM died or slept, the engine is ready only when every adapter is back; one that says something else after its sleep is ended.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.protocol.errors import EngineUnavailable, NotFound, Refused, SettingError, TacitError
from tacit.protocol.fim import QWEN, FimTokens
from tacit.protocol.home import Home
from tacit.server.engine.base_folder import FolderTokenizer, base_folder
from tacit.server.engine.child_client import engine_threads
from tacit.server.engine.coming_back import bring_back
from tacit.server.engine.environments import Environment, vllm_environment
from tacit.server.engine.gguf_header import Base, read_base
from tacit.server.engine.interface import Drawn, DrawStats, Sampling
from tacit.server.engine.lora_gguf import check, digest
from tacit.server.engine.memory import (
    GIB,
    MAX_RANK,
    Mode,
    Plan,
    Size,
    at_night,
    elsewhere,
    on_cpu,
    on_gpu,
    size_of,
    stand_in_fits,
)
from tacit.server.engine.no_change import write_no_change
from tacit.server.engine.vllm_child import ChildConfig
from tacit.server.engine.vllm_server import KV_GIB_ON_CPU, VllmServer, command_line, environment, last_place
from tacit.server.models.choose import read_hardware
from tacit.server.settings import Settings

BASE = "tacit-base"
LOG_BYTES = 1_000_000
SAME_WORDS = "def same(model):\n\treturn vocabulary  # ß🦙"
"""Tokenised by both sides, to tell whether a vLLM that somebody else runs serves the same vocabulary."""

SAME_NATS = 0.05
"""By so much a token's log-probability may differ before and after a sleep: batches are put together otherwise, and what the
learner recomputes is held to the same."""
PROBE_TOKENS = 8

log = logging.getLogger(__name__)

Probes = dict[str, list[Drawn]]
"""What vLLM draws greedily at one place, by its name of base and adapters."""


@dataclass(frozen=True, slots=True)
class _Adapter:
    name: str
    """As vLLM knows it."""
    folder: Path


class VllmEngine:
    """Implements `interface.Engine`."""

    fim: FimTokens = QWEN

    def __init__(self, model: Path, model_sha256: str, home: Home, settings: Settings) -> None:
        """model: a GGUF file, already verified to have that sha256; vLLM serves the same weights from a folder made of it."""
        self._model = model
        self._model_sha256 = model_sha256
        self._home = home
        self._settings = settings
        self._base: Base | None = None
        self._tokenizer: FolderTokenizer | None = None
        self._texts: Sequence[bytes] = ()
        self._adapters: dict[str, _Adapter] = {}
        self._streams: Counter[str] = Counter()
        """Under way, by vLLM's name of the adapter."""
        self._free = asyncio.Condition()
        """Notified when the last stream of an adapter has ended."""
        self._server: VllmServer | None = None
        self._asleep: tuple[VllmServer, Probes] | None = None
        """A vLLM that sleeps, and what it said before."""
        self._on_gpu: Plan | None = None
        """Of the vLLM that stands; None: it computes on the processor, or is somebody else's."""
        self._message = "The engine has not been started."
        self._changing = asyncio.Lock()
        """Held while vLLM is started or an adapter comes or goes."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._cache_counts = (0, 0)

    # What it is now.

    @property
    def ready(self) -> bool:
        return self._server is not None

    @property
    def message(self) -> str:
        return "" if self._server else self._message

    def loaded(self) -> frozenset[str]:
        return frozenset(self._adapters)

    @property
    def pids(self) -> frozenset[int]:
        """vLLM's first process, if it was started here and stands."""
        return self._server.pids if self._server else frozenset()

    # Life.

    async def start(self) -> None:
        async with self._changing:
            if self._server is None:
                self._message = "vLLM is starting: that takes half a minute or more."
                try:
                    await self._bring_up()
                except TacitError as error:
                    self._message = error.message
                    raise

    async def stop(self) -> None:
        server, self._server, self._message = self._server, None, "The engine was stopped."
        asleep, self._asleep = self._asleep, None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._changing:
            late, self._server = self._server, None
            for one in (server, late, asleep[0] if asleep else None):
                if one is not None:
                    await one.close()

    async def _bring_up(self) -> None:
        """A vLLM that has answered, with every adapter; `_changing` is held."""
        folder = await base_folder(self._model, self._model_sha256, self._home)
        if self._tokenizer is None:
            self._tokenizer = await asyncio.to_thread(FolderTokenizer, folder)
            self._texts = await asyncio.to_thread(self._tokenizer.texts)
        server = await self._started(folder)
        try:
            # The first answer takes long: vLLM compiles what it needs for log-probabilities.
            await self._check(server)
            for adapter in self._adapters.values():
                await server.client.load(adapter.name, adapter.folder)
        except BaseException:
            await server.close()
            raise
        self._server, self._message = server, ""
        self._in_background(self._watch(server))

    async def _started(self, folder: Path) -> VllmServer:
        settings, self._on_gpu = self._settings, None
        if settings.vllm_url:
            return await VllmServer.find(settings.vllm_url, settings.context_tokens)
        found: Environment = await asyncio.to_thread(vllm_environment, self._home, settings.vllm_python)
        if not found.on_cpu:
            hardware = await asyncio.to_thread(read_hardware)
            size = await asyncio.to_thread(self._size)
            gpus = {number: megabytes << 20 for number, megabytes in hardware.gpus}
            self._on_gpu = on_gpu(settings.while_learning, gpus, size, settings.vllm_gpus)
        sleeps = self._on_gpu is not None and self._on_gpu.mode == "sleep"
        cache = self._home.cache / "vllm"
        no_change = cache / "no-change"
        keeps = found.on_cpu and await asyncio.to_thread(lambda: write_no_change(no_change, self._shapes()))
        empty = cache / "empty"
        empty.mkdir(parents=True, exist_ok=True, mode=0o700)
        socket = self._home.run_dir / "vllm.sock"
        command = command_line(
            found.python,
            folder,
            BASE,
            socket,
            context_tokens=settings.context_tokens,
            streams=settings.streams,
            on_cpu=found.on_cpu,
            guesses=settings.vllm_guesses,
            gpus=settings.vllm_gpus,
            share=self._on_gpu.share if self._on_gpu else None,
            sleeps=sleeps,
            no_change=no_change if keeps else None,
        )
        seen = self._on_gpu.serving if self._on_gpu else ()
        given = environment(cache, engine_threads(settings.threads), found.on_cpu, development=sleeps or keeps, gpus=seen)
        config = ChildConfig(command, str(empty), given)
        self._home.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._home.logs / "vllm.log"
        too_long = path.exists() and path.stat().st_size > LOG_BYTES
        with path.open("wb" if too_long else "ab") as output:
            kept = last_place(settings.streams) if keeps else None
            return await VllmServer.start(config, BASE, socket, output, kept_place=kept)

    async def _check(self, server: VllmServer) -> None:
        """That it is the same vocabulary, and that its log-probabilities are of the distribution that was drawn from."""
        assert self._tokenizer is not None
        if await server.client.tokenize(SAME_WORDS) != self._tokenizer.encode(SAME_WORDS):
            raise SettingError("vLLM serves another model than the setting `model` says.", mend="Make them the same.")
        at_one, at_two = [await server.client.spread(server.base, [self.fim.prefix], at) for at in (1.0, 2.0)]
        if abs(at_two - at_one / 2) > abs(at_two - at_one):
            raise SettingError(
                "vLLM tells log-probabilities that are not of the distribution it draws from.",
                mend="Start it with `--logprobs-mode processed_logprobs`.",
            )

    async def _watch(self, server: VllmServer) -> None:
        """When it is gone, bring up another like it."""
        how = await server.ended(lambda: [adapter.name for adapter in self._adapters.values()])
        if self._server is not server:
            return
        self._server, self._message = None, f"vLLM ended unexpectedly ({how}) and is being restarted."
        log.warning("vLLM is gone (%s); bringing it up again", how)
        await server.close()
        await bring_back("vLLM", self._again, self._say)

    async def _again(self) -> None:
        async with self._changing:
            if self._server is None:
                await self._bring_up()

    def _say(self, message: str) -> None:
        self._message = message

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _current(self) -> VllmServer:
        if self._server is None:
            raise EngineUnavailable(self._message, mend="Try again in a moment; `tacit status` says how it stands.")
        return self._server

    # Rest.

    def plan(self, available: int | None) -> Plan:
        """As `shifts.Rests`."""
        if self._settings.vllm_url:
            return elsewhere()
        size = self._size()
        if self._on_gpu is not None:
            return at_night(self._on_gpu, available, size)
        return on_cpu(self._settings.while_learning, available, size, size.weights + KV_GIB_ON_CPU * GIB)

    def stand_in_fits(self, mode: Mode, available: int | None) -> bool:
        """As `shifts.Rests`."""
        return stand_in_fits(mode, available, self._size())

    def _shapes(self) -> Base:
        if self._base is None:
            self._base = read_base(self._model)
        return self._base

    def _size(self) -> Size:
        tokens = self._settings.context_tokens * self._settings.streams
        return size_of(self._shapes(), self._model.stat().st_size, tokens)

    async def sleep(self) -> None:
        """As `shifts.Sleeps`. Nothing may be under way."""
        async with self._changing:
            server = self._current()
            said = await self._said(server, [server.base, *(adapter.name for adapter in self._adapters.values())])
            self._server, self._message = None, "vLLM sleeps."
            try:
                await server.client.sleep()
            except BaseException:
                # Asleep or not: nobody knows.
                await server.close()
                raise
            self._asleep = server, said

    async def wake(self) -> None:
        """As `shifts.Sleeps`: the vLLM that slept, if it says what it said before, else a new one."""
        async with self._changing:
            asleep, self._asleep = self._asleep, None
            if asleep is not None:
                server, before = asleep
                try:
                    await server.client.wake()
                    await self._as_before(server, before)
                    self._server, self._message = server, ""
                    return
                except TacitError as error:
                    log.warning("vLLM has not slept well, and is started again: %s", error)
                    await server.close()
                except BaseException:
                    await server.close()
                    raise
            if self._server is None:
                self._message = "vLLM is starting again: that takes half a minute or more."
                await self._bring_up()

    async def _as_before(self, server: VllmServer, before: Probes) -> None:
        """It says what it said, and has the adapters that are wanted now. EngineUnavailable: not so."""
        for name, after in (await self._said(server, list(before))).items():
            if not alike(before[name], after):
                raise EngineUnavailable(f"After its sleep vLLM says something else with `{name}` than before.")
        wanted = {adapter.name: adapter.folder for adapter in self._adapters.values()}
        for name in wanted.keys() - before.keys():
            await server.client.load(name, wanted[name])
        for name in before.keys() - wanted.keys() - {server.base}:
            await server.client.unload(name)
        if server.gone:
            raise EngineUnavailable("vLLM ended while it was waking up.")

    async def _said(self, server: VllmServer, names: Sequence[str]) -> Probes:
        """What is drawn greedily after a prompt that fills more than a block of the cache: one that was kept would tell."""
        assert self._tokenizer is not None
        prompt = [self.fim.prefix, *self._tokenizer.encode(SAME_WORDS * 4), self.fim.suffix, self.fim.middle]
        said: Probes = {}
        for name in names:
            async with contextlib.aclosing(self._draw(server, name, prompt, Sampling(PROBE_TOKENS, 0.0, 0))) as items:
                said[name] = [item async for item in items if isinstance(item, Drawn)]
        return said

    # Work.

    async def prefix_cache(self) -> tuple[int, int]:
        """As `Engine.prefix_cache`: vLLM's own count, since most answers are cut before it tells of their prompt."""
        if self._server is not None:
            self._cache_counts = await self._server.client.prefix_cache()
        return self._cache_counts

    async def tokenize(self, text: str) -> list[int]:
        """Here, not by vLLM: vLLM would take the text of a special token for the token."""
        self._current()
        assert self._tokenizer is not None
        return self._tokenizer.encode(text)

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        server = self._current()
        if adapter is not None and adapter not in self._adapters:
            raise NotFound(f"The engine has no adapter `{adapter}` loaded.")
        name = server.base if adapter is None else self._adapters[adapter].name
        async with self._streaming(name), contextlib.aclosing(self._draw(server, name, prompt, sampling)) as items:
            async for item in items:
                yield item

    def _draw(
        self, server: VllmServer, name: str, prompt: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        return server.client.draw(name, prompt, sampling, self.fim.stops, self._texts)

    @contextlib.asynccontextmanager
    async def _streaming(self, name: str) -> AsyncGenerator[None, None]:
        self._streams[name] += 1
        try:
            yield
        finally:
            self._streams[name] -= 1
            if not self._streams[name]:
                del self._streams[name]
                async with self._free:
                    self._free.notify_all()

    # Adapters.

    async def load(self, name: str, folder: Path) -> None:
        """As `Engine.load`. Before `start` it only checks: vLLM is then given the adapter before it is ready."""
        async with self._changing:
            adapter = await asyncio.to_thread(self._checked, name, folder)
            if self._adapters.get(name) == adapter:
                return
            if (server := self._server) is not None:
                await server.client.load(adapter.name, adapter.folder)
                try:
                    # What vLLM takes need not be what it can compute with.
                    async with contextlib.aclosing(
                        self._draw(server, adapter.name, [self.fim.prefix], Sampling(1, 0.0, 0))
                    ) as items:
                        async for _ in items:
                            pass
                except BaseException as error:
                    with contextlib.suppress(TacitError):
                        await server.client.unload(adapter.name)
                    if isinstance(error, Refused):
                        raise Refused(f"vLLM cannot use the adapter `{name}`: {error.message}") from error
                    raise
            await self.drop(name)
            self._adapters[name] = adapter

    async def drop(self, name: str) -> None:
        """As `Engine.drop`. vLLM is told when the last stream has ended."""
        adapter = self._adapters.pop(name, None)
        if adapter is not None and self._server is not None:
            self._in_background(self._unload(self._server, adapter))

    async def _unload(self, server: VllmServer, adapter: _Adapter) -> None:
        async with self._free:
            await self._free.wait_for(lambda: adapter.name not in self._streams)
        async with self._changing:
            # It may have been loaded again meanwhile.
            if self._server is server and adapter not in self._adapters.values():
                with contextlib.suppress(TacitError):
                    await server.client.unload(adapter.name)

    def _checked(self, name: str, folder: Path) -> _Adapter:
        check(folder, self._shapes(), MAX_RANK)
        return _Adapter(f"{name}~{digest(folder, self._model_sha256)[:16]}", folder.resolve())


def alike(before: Sequence[Drawn], after: Sequence[Drawn]) -> bool:
    """The same tokens, and each as likely, within SAME_NATS."""
    same = [one.token for one in before] == [one.token for one in after]
    return same and all(abs(a.logprob - b.logprob) <= SAME_NATS for a, b in zip(before, after, strict=True))
