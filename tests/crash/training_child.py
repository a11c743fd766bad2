"""Trains the tiny model in a run's folder, and waits at one step to be killed. argv: the folder, the step (-1: none)."""

import sys
from pathlib import Path

import torch
from tiny_training import SAMPLES, SETTINGS, policy

from tacit.learner.checkpoint import Checkpoints
from tacit.learner.train import train


def main() -> None:
    folder, where = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    model = policy()

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == where:
            print("there", flush=True)
            sys.stdin.read()

    kept = Checkpoints(folder, "key", every=0)
    result = train(model, SAMPLES, [s.reward.value for s in SAMPLES], "base", SETTINGS, "topr", progress, None, kept)
    model.save(folder / "adapter", "0" * 64)
    print(result.continued_at, flush=True)


if __name__ == "__main__":
    main()
