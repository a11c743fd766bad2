"""The process that runs llama.cpp: one base model and a set of LoRA adapters behind a Unix socket. Knows nothing of Tacit.

Run as `python -m tacit.server.engine.llama_child`. The first line on standard input is a `ChildConfig` as JSON. One line
comes back on standard output: `{"ready": true}`, or `{"error": "…"}` and the process ends. It also ends as soon as standard
input is closed, so it never outlives the process that started it.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any

PR_SET_PDEATHSIG = 1
ERRORS_ONLY = 1
"""llama.cpp's log level. The next one writes a line or more per request."""


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """What one child serves."""

    model: str
    """Path of the base model, GGUF."""
    socket: str
    adapters: tuple[str, ...]
    """Paths of LoRA adapters, GGUF; a request names them by their index."""
    threads: int
    streams: int
    context_tokens: int
    """Of each stream."""
    batch_tokens: int
    """How much of a prompt is read between two looks at whether it is still wanted."""
    parent: int
    """Process id of who started it."""

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "ChildConfig":
        values = json.loads(line)
        return cls(**{**values, "adapters": tuple(values["adapters"])})


def main() -> None:
    config = ChildConfig.from_line(sys.stdin.buffer.readline())
    _die_with(config.parent)
    # Watched from a thread: loading a model takes seconds, and nobody may wait for it any more.
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        server = _serve(config)
    except Exception as error:
        _say({"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    _say({"ready": True})
    threading.Event().wait()
    del server


def _serve(config: ChildConfig) -> Any:
    """Load everything and listen. Returns the server, which ends when it is let go of."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config.model
    params.hostnames = [config.socket]
    params.n_parallel = config.streams
    # Divided among the streams, each with its own cache: a long prompt of one cannot push out another's.
    params.n_ctx = config.context_tokens * config.streams
    params.n_batch = params.n_ubatch = config.batch_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config.threads
    # Each open answer holds one of these; the rest is for tokenising and health.
    params.n_threads_http = config.streams + 8
    # What is cached lies in the streams' own caches, which the engine keeps track of. The server's pool in RAM would be 8 GiB
    # more and knows nothing of adapters: it would serve one adapter's cache to another (llama.cpp issue 26207).
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.n_ctx_checkpoints = 0
    # Would search for sizes that fit a GPU; every size is given.
    params.fit_params = False
    params.ui = False
    # Says which slots are at work; tests and benches see by it when a cancelled answer has let go.
    params.endpoint_slots = True
    params.verbosity = ERRORS_ONLY
    adapters = []
    for path in config.adapters:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path = path
        # `lora_init_without_apply` alone leaves the scale at 1 (llama.cpp issue 28674).
        adapter.scale = 0.0
        adapters.append(adapter)
    params.lora_adapters = adapters
    params.lora_init_without_apply = True
    return xllamacpp.Server(params)


def _die_with(parent: int) -> None:
    """On Linux the kernel ends this process with its parent, even while the interpreter is busy loading."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end_with_stdin() -> None:
    # Straight from the descriptor: a buffered read would hold a lock that the interpreter wants at exit.
    while os.read(0, 4096):
        pass
    os._exit(0)


def _say(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
