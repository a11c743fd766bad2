"""A night's training in several processes: torchrun starts them, each has the base on a device of its own, the first says how far
they are. Touches processes, and the run's folder: the job, where training starts, what it ends with.

They end with the process that asked for them (on Linux, even if it is killed), and with each other. What they share a batch with
is in `crew`; the steps are `train`'s.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Timer
from typing import Any, Final

import torch
from pydantic import TypeAdapter

from tacit.learner.base import load
from tacit.learner.checkpoint import Checkpoints
from tacit.learner.crew import join, leave
from tacit.learner.policy import Policy
from tacit.learner.samples import Sample
from tacit.learner.train import Stopped, TrainResult, TrainSettings, train
from tacit.protocol.completion import BASE_POLICY
from tacit.protocol.errors import TacitError

PR_SET_PDEATHSIG = 1
START: Final = "start"
"""In the run's folder: where training starts, and the job with its samples. It goes with the processes."""
END_SECONDS: Final = 50.0
"""For the first process to write down where it is, when it is told to end. Whoever tells the learner to waits a minute."""


@dataclass(frozen=True, slots=True)
class Job:
    base: str
    """Folder of the dequantised base."""
    digest: str
    start: str
    """Folder of the matrices that training starts from."""
    serving: str
    serving_folder: str
    samples: tuple[Sample, ...]
    advantages: tuple[float, ...]
    settings: TrainSettings
    objective: str
    out: str
    """Where the trained adapter goes; the checkpoint is beside it."""
    key: str
    """Of the checkpoint."""


def processes(wanted: int) -> int:
    """wanted: 0: one for each GPU, one where there is none."""
    return wanted or max(1, torch.cuda.device_count())


def train_in(
    count: int,
    policy: Policy,
    job: Job,
    progress: Callable[[str, int, int], None],
    told: Callable[[int, dict[str, float]], None],
    stop: Event,
) -> TrainResult:
    """Train the candidate in `count` processes, and take what they made of it. job.start need not exist: it is written, and goes.

    TacitError, with what they said last, if one of them fails; Stopped if `stop` is set, at the next thing that is told: the
    steps that were taken are kept then.
    """
    start = Path(job.start)
    policy.save(start, job.digest)
    file = start / "job.json"
    file.touch(mode=0o600)
    file.write_bytes(TypeAdapter(Job).dump_json(job))
    command = [sys.executable, "-m", "tacit.learner.several", "start", str(count), str(file)]
    threads = str(max(1, (os.cpu_count() or 1) // count))
    with tempfile.TemporaryFile(mode="w+") as said:
        crew = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": threads},
        )  # fmt: skip
        result: TrainResult | None = None
        first, ending = 0, Timer(END_SECONDS, crew.kill)
        try:
            assert crew.stdout is not None
            for line in crew.stdout:
                try:
                    match heard(line):
                        case {"pid": pid}:
                            first = pid
                        case {"stage": stage, "done": done, "total": total} if not stop.is_set():
                            progress(stage, done, total)
                        case {"step": step, "metrics": metrics}:
                            told(step, metrics)
                        case {"result": found}:
                            result = TypeAdapter(TrainResult).validate_python(found)
                        case {"stopped": True}:
                            break
                except Stopped:
                    stop.set()
                if stop.is_set() and first and ending.ident is None:
                    ending.start()
                    with suppress(ProcessLookupError):
                        os.kill(first, signal.SIGTERM)
            if stop.is_set():
                raise Stopped
            crew.wait()
        finally:
            ending.cancel()
            with suppress(ProcessLookupError):
                os.killpg(crew.pid, signal.SIGKILL)
            crew.communicate()
            shutil.rmtree(start, ignore_errors=True)
        if crew.returncode or result is None:
            said.seek(0)
            lines = [line.strip() for line in said if "Error" in line] or ["they said nothing"]
            raise TacitError(f"Training in {count} processes ended with {crew.returncode}: {lines[0]}.")
    policy.read(Path(job.out))
    return result


def heard(line: str) -> Any:
    """What the first process says; None: a line of a library, which has the same way out (NCCL says its version there)."""
    return json.loads(line) if line.startswith("{") else None


def work(file: Path) -> None:
    """One of the processes, as torchrun started it."""
    job = TypeAdapter(Job).validate_json(file.read_bytes())
    crew = join()
    stop = Event()
    if crew.first:
        # The others wait for it at the next thing that they share, until they are ended.
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")

    def say(**what: Any) -> None:
        if crew.first:
            print(json.dumps(what), flush=True)

    say(pid=os.getpid())
    policy = Policy(load(Path(job.base), device), parent=Path(job.start), seed=job.settings.seed)
    if job.serving != BASE_POLICY:
        policy.add(job.serving, Path(job.serving_folder))
    try:
        result = train(
            policy, job.samples, job.advantages, job.serving, job.settings, job.objective,
            lambda stage, done, total: say(stage=stage, done=done, total=total), stop,
            Checkpoints(Path(job.out).parent, job.key), crew, lambda step, metrics: say(step=step, metrics=metrics),
        )  # fmt: skip
    except Stopped:
        say(stopped=True)
        return
    if crew.first:
        policy.save(Path(job.out), job.digest)
        say(result=TypeAdapter(TrainResult).dump_python(result, mode="json"))
    leave()


def main(arguments: Sequence[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    what, *rest = arguments
    if what == "work":
        work(Path(rest[0]))
        return
    from torch.distributed.run import main as torchrun

    count, file = rest
    torchrun(
        ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={count}", "--module", "tacit.learner.several", "work", file]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
