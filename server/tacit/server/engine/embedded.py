"""The embedded engine: llama.cpp in a child process, replaced by a new one for each set of adapters. Touches processes,
sockets and the cache of converted adapters; knows nothing of completions.

llama.cpp loads adapters only at start. So `load` starts a second child with one adapter more, waits until that adapter has
answered, and sends new requests there; the first child ends when its last stream has. The weights are mapped, not read, so two
children share them. Invariant: a stream is served by one child, and so by one policy, from its first token to its last.
"""

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tacit.protocol.errors import EngineUnavailable, ModelUnavailable, NotFound, Refused, TacitError
from tacit.protocol.fim import QWEN, FimTokens
from tacit.protocol.home import Home
from tacit.server.engine.child_client import Child, engine_threads
from tacit.server.engine.coming_back import bring_back
from tacit.server.engine.gguf_header import Base, read_base
from tacit.server.engine.interface import Drawn, DrawStats, Sampling
from tacit.server.engine.llama_child import ChildConfig
from tacit.server.engine.lora_gguf import convert, digest
from tacit.server.engine.memory import STAND_IN_REST, Mode, Plan, Size, on_cpu, size_of
from tacit.server.settings import Settings

BATCH_TOKENS_PER_THREAD = 8
"""Prompt tokens between two looks at whether they are still wanted. On 2 threads and the 0.5B, 16 tokens take 0.14 s and a prompt
is read at 110 tokens/s, as with 32; with 8 it is 85 tokens/s. A cancelled prompt costs at most two such batches."""
LOG_BYTES = 1_000_000

log = logging.getLogger(__name__)


class EmbeddedEngine:
    """Implements `interface.Engine`."""

    fim: FimTokens = QWEN

    def __init__(self, model: Path, model_sha256: str, home: Home, settings: Settings, name: str = "engine") -> None:
        """model: a GGUF file, already verified to have that sha256. name: of its sockets; no other engine of this home has it."""
        self._name = name
        self._model = model
        self._model_sha256 = model_sha256
        self._home = home
        self._settings = settings
        self._base: Base | None = None
        self._files: dict[str, Path] = {}
        """Converted adapters by name: what the next child will hold."""
        self._child: Child | None = None
        self._message = "The engine has not been started."
        self._changing = asyncio.Lock()
        """Held while the current child is being replaced."""
        self._sockets = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._children: set[Child] = set()

    # What it is now.

    @property
    def ready(self) -> bool:
        return self._child is not None

    @property
    def message(self) -> str:
        return "" if self._child else self._message

    def loaded(self) -> frozenset[str]:
        return frozenset(self._files)

    @property
    def pids(self) -> frozenset[int]:
        """Process ids of all children, those included that only let their streams end."""
        return frozenset(child.pid for child in self._children)

    # Life.

    async def start(self) -> None:
        async with self._changing:
            if self._child is None:
                self._message = "The model is loading."
                try:
                    self._serve_with(await self._spawn(self._files))
                except TacitError as error:
                    self._message = error.message
                    raise

    async def stop(self) -> None:
        self._child, self._message = None, "The engine was stopped."
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._changing:
            self._child = None
            await asyncio.gather(*(self._close(child) for child in list(self._children)))

    async def _spawn(self, files: Mapping[str, Path]) -> Child:
        """A new child with these adapters; the base and the last of them have answered."""
        socket = self._home.run_dir / f"{self._name}-{next(self._sockets) % 100:02d}.sock"
        threads = engine_threads(self._settings.threads)
        config = ChildConfig(
            model=str(self._model),
            socket=str(socket),
            adapters=tuple(str(path) for path in files.values()),
            threads=threads,
            streams=self._settings.streams,
            context_tokens=self._settings.context_tokens,
            batch_tokens=max(BATCH_TOKENS_PER_THREAD * max(threads, 2), self._settings.streams),
            parent=os.getpid(),
        )
        self._home.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._home.logs / "engine.log"
        too_long = path.exists() and path.stat().st_size > LOG_BYTES
        with path.open("wb" if too_long else "ab") as output:
            try:
                child = await Child.start(config, tuple(files), output)
            except ModelUnavailable as error:
                # What mends it depends on where the file comes from, which is not known here.
                raise ModelUnavailable(f"{self._model}: {error.message}") from error
        self._children.add(child)
        try:
            for adapter in (None, *tuple(files)[-1:]):
                async for _ in child.generate([self.fim.prefix], Sampling(1, 0.0, 0), adapter, self.fim.stops):
                    pass
        except BaseException:
            await self._close(child)
            raise
        return child

    def _serve_with(self, child: Child) -> None:
        """New requests go to `child` from here on."""
        old, self._child = self._child, child
        self._message = ""
        self._in_background(self._watch(child))
        if old is not None:
            self._in_background(self._drain(old))

    async def _drain(self, child: Child) -> None:
        await child.idle.wait()
        await self._close(child)

    async def _close(self, child: Child) -> None:
        await child.close()
        self._children.discard(child)

    async def _watch(self, child: Child) -> None:
        """When the current child dies, start another like it."""
        code = await child.ended()
        if self._child is not child:
            return
        self._child, self._message = None, f"The engine ended unexpectedly (exit code {code}) and is being restarted."
        log.warning("engine child %d ended with exit code %d; restarting it", child.pid, code)
        await self._close(child)
        await bring_back("The engine", self._bring_up, self._say)

    async def _bring_up(self) -> None:
        async with self._changing:
            if self._child is None:
                self._serve_with(await self._spawn(self._files))

    def _say(self, message: str) -> None:
        self._message = message

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _current(self) -> Child:
        if self._child is None:
            raise EngineUnavailable(self._message, mend="Try again in a moment; `tacit status` says how it stands.")
        return self._child

    # Rest.

    def plan(self, available: int | None) -> Plan:
        """As `shifts.Rests`. The weights are mapped: what ending gives back is the cache, and what the system counts as used."""
        size = self._size()
        return on_cpu(self._settings.while_learning, available, size, size.cache + STAND_IN_REST)

    def stand_in_fits(self, mode: Mode, available: int | None) -> bool:
        """As `shifts.Rests`: it would be the same engine again."""
        return False

    def _size(self) -> Size:
        if self._base is None:
            self._base = read_base(self._model)
        tokens = self._settings.context_tokens * self._settings.streams
        return size_of(self._base, self._model.stat().st_size, tokens)

    # Work.

    async def prefix_cache(self) -> None:
        """As `Engine.prefix_cache`."""

    async def tokenize(self, text: str) -> list[int]:
        return await self._current().tokenize(text)

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        child = self._current()
        if adapter is not None and (adapter not in child.adapters or adapter not in self._files):
            raise NotFound(f"The engine has no adapter `{adapter}` loaded.")
        async with contextlib.aclosing(child.generate(prompt, sampling, adapter, self.fim.stops)) as items:
            async for item in items:
                yield item

    # Adapters.

    async def load(self, name: str, folder: Path) -> None:
        """As `Engine.load`. Before `start` it only converts: the first child then holds the adapter from its beginning."""
        async with self._changing:
            file = await asyncio.to_thread(self._converted, name, folder)
            if self._files.get(name) == file:
                return
            if self._child is not None:
                try:
                    self._serve_with(await self._spawn({**self._files, name: file}))
                except ModelUnavailable as error:
                    file.unlink(missing_ok=True)
                    raise Refused(f"llama.cpp does not take the adapter `{name}`: {error.message}") from error
            self._files[name] = file

    async def drop(self, name: str) -> None:
        """As `Engine.drop`. The memory is given back when the next child takes over."""
        self._files.pop(name, None)
        # Not while a child is loading it.
        async with self._changing:
            if name not in self._files:
                # Erasing an adapter erases what was made from it.
                for path in self._cache.glob(f"{_file_name(name)}-*.gguf"):
                    path.unlink(missing_ok=True)

    @property
    def _cache(self) -> Path:
        return self._home.cache / "lora"

    def _converted(self, name: str, folder: Path) -> Path:
        if self._base is None:
            self._base = read_base(self._model)
        path = self._cache / f"{_file_name(name)}-{digest(folder, self._model_sha256)[:32]}.gguf"
        if not path.exists():
            convert(folder, self._base, path)
        return path


def _file_name(name: str) -> str:
    return quote(name, safe="@")
