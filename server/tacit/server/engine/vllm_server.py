"""One vLLM, started or found: its command line, its process, when it answers, when it has gone. Touches processes and sockets.

What clients of Tacit may reach is Tacit's own routes alone. vLLM guards hardly any of its own (loading adapters, say), so it
listens on a Unix socket in the run folder, which is this user's only.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tacit.protocol.errors import EngineUnavailable, SettingError, TacitError
from tacit.protocol.gpus import only
from tacit.server.engine.memory import LORAS_AT_ONCE, MAX_RANK
from tacit.server.engine.vllm_child import ChildConfig, end_group
from tacit.server.engine.vllm_client import VllmClient

START_SECONDS = 900.0
"""A large model from a slow disk, and CUDA graphs of it."""
STOP_SECONDS = 15.0
LOOK_SECONDS = 0.25
"""Between two looks whether it answers yet."""
WATCH_SECONDS, MISSES = 5.0, 3
"""Between two looks whether a vLLM that somebody else runs is still there; so many in vain, and it is not."""
LORAS_KEPT = 32
"""Adapters in memory. Beyond that vLLM reads them from their folders again."""
NO_CHANGE = "tacit-no-change"
"""Each copy of the adapter that changes nothing, with its number behind it. Others' names have a `~`."""
KV_GIB_ON_CPU = 2
GUESSED_FROM = {"prompt_lookup_min": 2, "prompt_lookup_max": 5}
"""So many tokens before the place must stand in the prompt as well; what follows them there is guessed."""

NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VLLM_API_KEY", "VLLM_SERVER_DEV_MODE", "VIRTUAL_ENV")


class VllmServer:
    """A vLLM that answers. Made by `start` or `find`."""

    def __init__(
        self, client: VllmClient, base: str, process: asyncio.subprocess.Process | None, group: int, socket: Path | None
    ) -> None:
        self.client = client
        self.base = base
        """What it calls the base model."""
        self._process = process
        self._group = group
        self._socket = socket

    @property
    def gone(self) -> bool:
        """Its process has ended."""
        return self._process is not None and self._process.returncode is not None

    @property
    def pids(self) -> frozenset[int]:
        """vLLM's first process; none if somebody else runs it."""
        return frozenset((self._group,)) if self._process else frozenset()

    @classmethod
    async def start(
        cls, config: ChildConfig, base: str, socket: Path, log: IO[bytes], *, kept_place: int | None = None
    ) -> "VllmServer":
        """Returns when it answers. kept_place: what vLLM loaded there stays. EngineUnavailable: it ended, or is stuck."""
        _unused(socket)
        process = await asyncio.create_subprocess_exec(
            # -P: never import what lies in the current folder, which may be a workspace.
            *(sys.executable, "-P", "-m", "tacit.server.engine.vllm_child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            # Ctrl-C is for the server, which lets running answers end.
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        server = cls(VllmClient("http://vllm", socket, ranks=True), base, process, 0, socket)
        try:
            process.stdin.write(config.to_line())
            answer = json.loads(await process.stdout.readline() or b"{}")
            if "pid" not in answer:
                raise EngineUnavailable(
                    f"vLLM did not start: {answer.get('error', 'its process ended')}.", mend="Run `tacit engines install vllm`."
                )
            server._group = int(answer["pid"])
            async with asyncio.timeout(START_SECONDS):
                await server._until_it_answers(process, log.name)
                if kept_place is not None:
                    await server.client.pin(kept_place)
        except TimeoutError as error:
            await server.close()
            raise EngineUnavailable(f"vLLM did not answer within {START_SECONDS:.0f} s.", mend=f"See {log.name}.") from error
        except BaseException:
            await server.close()
            raise
        return server

    async def _until_it_answers(self, process: asyncio.subprocess.Process, log: str) -> None:
        while True:
            if process.returncode is not None:
                raise EngineUnavailable(
                    f"vLLM ended while it was starting (exit code {process.returncode}).",
                    mend=f"{log} says why; `tacit doctor` knows the usual reasons.",
                )
            with contextlib.suppress(EngineUnavailable):
                if await self.client.models():
                    return
            await asyncio.sleep(LOOK_SECONDS)

    @classmethod
    async def find(cls, address: str, context_tokens: int) -> "VllmServer":
        """The vLLM that somebody else runs. EngineUnavailable: it does not answer. SettingError: it cannot serve for Tacit."""
        client = VllmClient(address)
        try:
            base = next((model for model in await client.models() if not model.get("parent")), None)
            if base is None:
                raise EngineUnavailable(f"vLLM at {address} serves no model.")
            if int(base.get("max_model_len") or context_tokens) < context_tokens:
                raise SettingError(
                    f"vLLM at {address} reads {base['max_model_len']} tokens, and `context_tokens` is {context_tokens}.",
                    mend=f"Set `context_tokens` to at most {base['max_model_len']}.",
                )
        except BaseException:
            await client.close()
            raise
        return cls(client, str(base["id"]), None, 0, None)

    async def ended(self, wanted: Callable[[], Iterable[str]]) -> str:
        """Wait until it is gone; returns how, for a person. wanted: the adapters that it must have, in its words."""
        if self._process is not None:
            return f"exit code {await self._process.wait()}"
        misses = 0
        while misses < MISSES:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                there = {str(model["id"]) for model in await self.client.models()}
            except (TacitError, KeyError):
                misses += 1
                continue
            if self.base not in there or not there.issuperset(wanted()):
                return "it was started anew"
            misses = 0
        return "it does not answer"

    async def close(self) -> None:
        """End the process, whatever it is doing. A vLLM that somebody else runs goes on."""
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGKILL)
                await self._process.wait()
            if self._group:
                # The process in between may have been killed itself.
                end_group(self._group)
        await self.client.close()
        if self._socket is not None:
            _unused(self._socket)


def _unused(socket: Path) -> None:
    """Take away what a killed process has left there."""
    socket.unlink(missing_ok=True)


def last_place(streams: int) -> int:
    """Of the adapters' places, counted from 1, where that one is not theirs: every stream may ask for another adapter, and vLLM
    ends when a step has more of them than places."""
    return streams + 1


def command_line(
    python: Path,
    model: Path,
    base: str,
    socket: Path,
    *,
    context_tokens: int,
    streams: int,
    on_cpu: bool,
    guesses: int = 0,
    gpus: int = 1,
    share: float | None = None,
    sleeps: bool = False,
    no_change: Path | None = None,
) -> tuple[str, ...]:
    """vLLM as a module: its `vllm` command asks for the metadata of a distribution that the CPU build does not have.

    guesses: tokens that it guesses at once from what stands in the prompt; those that the model would not draw are thrown away.
    gpus: on which the model is laid out. share: of a GPU's memory that it may take; None: what it takes by itself. sleeps: it can
    be put to sleep. no_change: an adapter (`no_change`) that vLLM puts into all of the adapters' places while it starts, and so
    into the last one, where it is to be pinned; those before it go as others come.
    """
    at_once = last_place(streams) if no_change else LORAS_AT_ONCE
    options: dict[str, str | float] = {
        "--model": str(model),
        "--served-model-name": base,
        "--uds": str(socket),
        "--max-model-len": context_tokens,
        "--max-num-seqs": streams,
        "--logprobs-mode": "processed_logprobs",
        "--scheduling-policy": "priority",
        "--max-loras": at_once,
        "--max-lora-rank": MAX_RANK,
        "--max-cpu-loras": max(LORAS_KEPT, at_once),
        # Else the folder's own sampling settings would stand where a request names none.
        "--generation-config": "vllm",
        "--uvicorn-log-level": "warning",
    }
    if gpus > 1:
        options["--tensor-parallel-size"] = gpus
    if share is not None:
        options["--gpu-memory-utilization"] = share
    if guesses:
        options["--speculative-config"] = json.dumps({"method": "ngram", "num_speculative_tokens": guesses, **GUESSED_FROM})
    flags = ["--enable-lora", "--enable-prefix-caching", "--enable-prompt-tokens-details"]
    flags += ["--no-trust-remote-code", "--disable-fastapi-docs", "--disable-uvicorn-access-log"]
    if on_cpu:
        flags.append("--enforce-eager")
    if sleeps:
        flags.append("--enable-sleep-mode")
    if no_change:
        copies = ({"name": f"{NO_CHANGE}-{place}", "path": str(no_change)} for place in range(1, at_once + 1))
        flags += ["--lora-modules", *map(json.dumps, copies)]
    words = [word for name, value in options.items() for word in (name, str(value))]
    # -P: never import what lies in the current folder.
    return (str(python), "-P", "-m", "vllm.entrypoints.openai.api_server", *words, *flags)


def environment(
    cache: Path,
    threads: int,
    on_cpu: bool,
    inherited: Mapping[str, str] = os.environ,
    *,
    development: bool = False,
    gpus: Sequence[int] = (),
) -> dict[str, str]:
    """Of vLLM's process: nothing is fetched, nothing is reported, no plugin. development: it has those routes, too; to put it to
    sleep and to pin an adapter are among them. Its socket is this user's alone. gpus: which it sees; none named: all."""
    ours = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_PLUGINS": "",
        "VLLM_SERVER_DEV_MODE": "1" if development else "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(cache),
        "VLLM_CONFIG_ROOT": str(cache),
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    if on_cpu:
        ours |= {
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_CPU_KVCACHE_SPACE": str(KV_GIB_ON_CPU),
            # Not bound to cores of its own: others work on them too.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
        }
    if gpus:
        ours |= only(gpus)
    kept = {name: value for name, value in inherited.items() if name not in NOT_INHERITED and not name.startswith("TACIT_")}
    return {**kept, **ours}
