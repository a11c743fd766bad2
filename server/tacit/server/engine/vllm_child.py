"""The process that stands between the server and one vLLM: starts it, and ends it with all that it started. Knows no HTTP.

Run as `python -m tacit.server.engine.vllm_child`. The first line on standard input is a `ChildConfig` as JSON. One line comes
back on standard output: `{"pid": N}`, or `{"error": "…"}` and the process ends. vLLM runs in a process group of its own, whose id
is N: it is told to end when standard input is closed, and what is left of the group is killed then, or when vLLM has ended by
itself. So neither a killed server nor a killed vLLM leaves a process that holds a GPU. Exit code: vLLM's.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any

PR_SET_PDEATHSIG = 1
END_SECONDS = 5.0
"""For vLLM to end by itself."""


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """What is started."""

    command: tuple[str, ...]
    folder: str
    """Current folder of the process: an empty one, nothing is imported from there."""
    environment: dict[str, str]
    """All of it."""

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "ChildConfig":
        values = json.loads(line)
        return cls(tuple(values["command"]), values["folder"], values["environment"])


def main() -> int:
    config = ChildConfig.from_line(sys.stdin.buffer.readline())
    try:
        # What it prints goes to the log, as what this process says on standard error does.
        process = subprocess.Popen(
            config.command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            cwd=config.folder,
            env=config.environment,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    except OSError as error:
        _say({"error": f"{config.command[0]} cannot be started: {error.strerror}"})
        return 1
    _say({"pid": process.pid})
    threading.Thread(target=_end_with_stdin, args=(process,), daemon=True).start()
    code = process.wait()
    end_group(process.pid)
    return code if code >= 0 else 128 - code


def end_group(group: int) -> None:
    """Kill what is left of a vLLM's processes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _end_with_stdin(process: "subprocess.Popen[bytes]") -> None:
    # Straight from the descriptor: a buffered read would hold a lock that the interpreter wants at exit.
    while os.read(0, 4096):
        pass
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        end_group(process.pid)


def _die_with_parent() -> None:
    """On Linux the kernel ends vLLM's first process with this one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _say(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
