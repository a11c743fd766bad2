"""`python -m tacit.learner`: one run in a process of its own, as the server's schedule starts it. Prints one JSON line.

Exit codes: 0 published, 3 skipped, 4 refused by the gate, 1 failed, 130 interrupted.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import tomllib
from datetime import datetime
from pathlib import Path
from typing import cast

from tacit.learner import give_way
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import TacitError
from tacit.protocol.gpus import only
from tacit.protocol.home import Home

LEAST = {"completion": ("min_samples", 200), "debug": ("min_debug_samples", 50)}
"""Of each task: the setting that says how many labelled suggestions a run needs, and its default."""
ENGINE_SECONDS = 1800.0
"""How long a night waits for it; then the run says what is missing."""
LOOK_SECONDS = 1.0
EXIT_CODES = {"published": 0, "skipped": 3, "refused": 4, "failed": 1, "interrupted": 130}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tacit.learner", description="Run the learner once.")
    parser.add_argument("--project", required=True)
    parser.add_argument("--task", choices=("completion", "debug"), default="completion")
    parser.add_argument("--trigger", choices=("nightly", "manual"), default="manual")
    parser.add_argument("--objective", default=None)
    parser.add_argument("--min-samples", type=int, default=None)
    parser.add_argument("--until", type=datetime.fromisoformat, default=None, help="Learn from what the server had by then.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--socket", type=Path, default=None, help="The server's Unix socket.")
    options = parser.parse_args(arguments)
    give_way()
    home = Home.from_environment()
    try:
        return asyncio.run(_run(home, options))
    except KeyboardInterrupt:
        return EXIT_CODES["interrupted"]
    except asyncio.CancelledError:
        return EXIT_CODES["interrupted"]
    except TacitError as error:
        print(json.dumps({"state": "failed", "message": str(error)}))
        return EXIT_CODES["failed"]


async def _run(home: Home, options: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with TacitClient(options.socket or home.socket) as client:
        await before_torch(client, ENGINE_SECONDS if options.trigger == "nightly" else 0.0)
        from tacit.learner.run import LearnOptions, learn
        from tacit.learner.show_policy import Choice

        outcome = await learn(
            client,
            home,
            LearnOptions(
                project=options.project,
                task=options.task,
                trigger=options.trigger,
                objective=options.objective or str(setting(home, "objective", "topr")),
                min_samples=options.min_samples or int(setting(home, *LEAST[options.task])),
                until=options.until,
                seed=options.seed,
                reward_model=cast(Choice, setting(home, "reward_model", "trees")),
            ),
        )
    print(json.dumps({"state": outcome.state, "message": outcome.message, "adapter": outcome.adapter, "run": outcome.run_id}))
    return EXIT_CODES[outcome.state]


async def before_torch(client: TacitClient, patience: float = 0.0) -> None:
    """Learn from the server which GPUs are a learner's here: nothing that reads it may have been imported. patience: seconds to
    wait for the engine; a night that is caught up begins while the server may still be fetching its model."""
    end = time.monotonic() + patience
    while True:
        status = await client.status()
        if status.engine_ready or time.monotonic() >= end:
            break
        await asyncio.sleep(LOOK_SECONDS)
    if status.learning_gpus:
        os.environ.update(only(status.learning_gpus))


def setting(home: Home, name: str, default: str | int) -> str | int:
    """A setting of the server: the environment, then config.toml. The server has already refused what cannot be used."""
    if (value := os.environ.get(f"TACIT_{name.upper()}")) is not None:
        return value
    try:
        found = tomllib.loads(home.config.read_text(encoding="utf-8")).get(name, default)
    except (OSError, ValueError):
        return default
    return found if isinstance(found, str | int) else default


if __name__ == "__main__":
    sys.exit(main())
