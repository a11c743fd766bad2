"""A server whose night begins at once and goes on after a second of quiet, and its learner with the tiny model's options.

`python night_process.py` serves as `tacit serve --until-eof` does, with the settings of its environment; `learn ...` is the
process that its schedule starts. A learner that finds nothing to go on with trains slowly enough to be interrupted; one that does
waits for the file WORKED in the home: its developer has worked meanwhile.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from tacit.protocol.completion import Task
from tacit.protocol.home import Home

WORKED = "worked"
QUIET = 1.0
STEP = 0.3
"""Seconds more that a step takes."""


def command(project: str, task: Task, until: datetime) -> Sequence[str]:
    """The schedule's own, with this file in place of the learner's module."""
    from tacit.server.schedule import learner_command

    given = learner_command(project, task, until)
    return (sys.executable, __file__, "learn", *given[given.index("tacit.learner") + 1 :])


def serve() -> None:
    from tacit.cli.ending import end_with_stdin
    from tacit.server.serving import serve
    from tacit.server.settings import Settings

    end_with_stdin()
    home = Home.from_environment()
    asyncio.run(serve(home, Settings.load(home), learner=command, catch_up=0.0, quiet=QUIET))


def learn(arguments: list[str]) -> int:
    from tiny_night import OPTIONS

    from tacit.learner import __main__ as learner
    from tacit.learner import run, train
    from tacit.learner.checkpoint import NAME
    from tacit.learner.loss import Coefficients, LossInputs, LossOutput

    home = Home.from_environment()
    if any(home.runs.glob(f"*/{NAME}")):
        while not (home.root / WORKED).exists():
            time.sleep(0.1)
    else:
        topr = train.OBJECTIVES["topr"]

        def slowly(inputs: LossInputs, coefficients: Coefficients) -> LossOutput:
            time.sleep(STEP)
            return topr(inputs, coefficients)

        train.OBJECTIVES = {**train.OBJECTIVES, "topr": slowly}
    # Quick: what is tested is where it goes on.
    run.LearnOptions = partial(run.LearnOptions, probes=4, generations=2, forgetting=OPTIONS.forgetting, train=OPTIONS.train)
    return learner.main(arguments)


if __name__ == "__main__":
    sys.exit(learn(sys.argv[2:]) if sys.argv[1:2] == ["learn"] else serve())
