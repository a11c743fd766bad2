"""Runs the learner in a forked process for each line on stdin, without importing torch each time. Prints each one's pid.

argv: nothing. The environment names the home.
"""

import asyncio
import os
import sys
from dataclasses import replace

# Imported before the forks and for them.
import tacit.learner.night
import tacit.learner.run
from tacit.protocol.client import TacitClient
from tacit.protocol.home import Home


async def _learn() -> None:
    from tiny_night import OPTIONS, TRAIN

    # Quick: what is tested is being killed.
    options = replace(OPTIONS, probes=4, generations=2, train=replace(TRAIN, epochs=1))
    home = Home.from_environment()
    async with TacitClient(home.socket) as client:
        outcome = await tacit.learner.run.learn(client, home, options)
    print(outcome.state, outcome.message, file=sys.stderr)


def main() -> None:
    print("ready", flush=True)
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            # What a killed run prints is of no use to anybody.
            asyncio.run(_learn())
            os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
