"""Sends one fuzzed round again: `.venv/bin/python tests/fuzz/replay.py --seed 20 --round 7 [--from 0]`. Prints what failed."""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.adversary import Adversary
from fuzz.driving import ROUND, Failure, Lsp, run_rounds

from tacit.protocol.home import Home

OPTIONS = {"learning": "on", "deadlineMs": 1000, "debugDeadlineMs": 1000}


async def play(folder: Path, seed: int, first: int, last: int) -> tuple[int, int, int]:
    """Rounds `first` to `last` to one `tacit lsp`: (frames sent, bytes grown, exit status). Failure."""
    root = folder / "workspace"
    root.mkdir()
    async with Adversary(Home.from_environment().socket) as adversary:
        lsp = Lsp(root, OPTIONS)
        await lsp.start()
        try:
            # One round that does not count: what is loaded once, is loaded.
            await run_rounds(lsp, adversary, root, seed, [-1])
            base = lsp.memory()
            sent = await run_rounds(lsp, adversary, root, seed, range(first, last + 1))
            grown = lsp.memory() - base
        finally:
            status = await lsp.stop()
    return sent, grown, -1 if status is None else status


def main() -> int:
    parser = argparse.ArgumentParser(description="Send fuzzed frames to a real `tacit lsp`.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--round", type=int, required=True, help=f"which {ROUND} frames")
    parser.add_argument("--from", type=int, dest="first", help="send every round from this one on")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tacit-fuzz-", dir="/tmp" if os.access("/tmp", os.W_OK) else None))
    os.environ["TACIT_HOME"] = str(folder / "home")
    began = time.perf_counter()
    try:
        first = options.round if options.first is None else options.first
        sent, grown, status = asyncio.run(play(folder, options.seed, first, options.round))
    except Failure as failure:
        print(failure)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{sent} frames in {time.perf_counter() - began:.0f} s, {grown / 2**20:.1f} MiB more, exit status {status}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
