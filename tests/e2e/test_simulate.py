"""`tacit simulate` with a tiny real model over a small git repository: killed, it leaves no process and goes on where it was; it
ends with a table with intervals, and with pictures. The tiny model knows nothing: nothing here is about how much is learnt."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

INTERVAL = re.compile(r"[+-]\d+\.\d % \[[+-]\d+\.\d, [+-]\d+\.\d\]")
PNG = b"\x89PNG\r\n\x1a\n"
PLACES = 4
WORDS = (
    "amount entry total ledger account branch every note held until settled against other rate carried after before paid".split()
)


def repository(folder: Path, name: str, commits: int = 24, files: int = 8) -> Path:
    """Modules that every commit adds a line of plain words to in two places: a commit is half a day of PLACES places.

    Plain words, since the tiny model says nothing else: what is written is then as near to what it drew as the learner wants it.
    """
    root, draw = folder / name, random.Random(name)
    root.mkdir(parents=True)

    def git(*arguments: str, number: int = 0) -> None:
        at = f"{1_790_000_000 + 3600 * number} +0000"
        own = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ("-c", "user.name=A", "-c", "user.email=a@example.com")
        subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True, env={**os.environ, **own})

    texts = [f"BRANCH = {number}\n# Settled:\n" for number in range(files)]
    for commit in range(commits + 1):
        if commit:
            first, last = ("# " + " ".join(draw.choices(WORDS, k=16)) for _ in range(2))
            head, _, rest = texts[commit % files].partition("\n")
            texts[commit % files] = f"{head}\n{first}\n{rest}{last}\n"
        for number, text in enumerate(texts):
            (root / f"branch_{number}.py").write_text(text)
        if not commit:
            git("init", "--quiet")
        git("add", "--all")
        git("commit", "--quiet", "--message", f"{commit}", number=commit)
    return root


@contextmanager
def simulating(isolated: Path, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Killed with SIGKILL where it has not ended by itself."""
    command = [sys.executable, "-m", "tacit.cli", "simulate", "--home", str(folder), "--places", str(PLACES), "--nights", "2"]
    # No data: what is written comes from the repositories alone.
    own = {"TACIT_DATA": str(isolated / "no-data"), "COLUMNS": "240"}
    with (isolated / "simulate.log").open("a") as log:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **own},
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def words(isolated: Path) -> str:
    return (isolated / "simulate.log").read_text()


def until(process: subprocess.Popen[str], isolated: Path, reached: Callable[[], bool], seconds: float = 1500) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None, f"it has ended: {words(isolated)}"
        assert time.monotonic() < end, words(isolated)
        time.sleep(0.02)


def processes_of(folder: Path) -> dict[int, str]:
    """Command lines by pid of the living processes whose TACIT_HOME is in this folder."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("TACIT_HOME", "").startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def running(folder: Path, *parts: str) -> bool:
    lines = processes_of(folder).values()
    return all(any(part in line for line in lines) for part in parts)


def finished(folder: Path) -> dict[str, tuple[int, int]]:
    """Which file each finished part is: one that is done again is another file."""
    seed = folder / "seed-1"
    found = {}
    for path in (*seed.glob("*.json"), *seed.glob("*/night-*.json"), *seed.glob("live/*.json")):
        found[str(path.relative_to(folder))] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def ended_well(process: subprocess.Popen[str], isolated: Path, folder: Path, arms: set[str]) -> str:
    """Its report, as printed."""
    printed, _ = process.communicate(timeout=1500)
    assert process.returncode == 0, words(isolated)
    assert "Traceback" not in words(isolated)
    report = (folder / "report.md").read_text()
    rows = {row.split("|")[1].strip(" `"): row for row in report.splitlines() if row.startswith("| `")}
    assert arms | {"frozen"} <= set(rows)
    for arm in arms:
        assert INTERVAL.search(rows[arm]), rows[arm]
    assert (folder / "nights.png").read_bytes().startswith(PNG) and "![nights.png](nights.png)" in report
    figures = json.loads((folder / "report.json").read_text())
    assert figures["simulated"] is True and figures["setup"]["nights"] == 2
    assert -4 <= figures["moved"]["1"] <= 4 and "after a pilot with the base" in report
    for arm in arms:
        against = figures["arms"][arm]["next_day"]["against_frozen"]
        assert against["low"] <= against["value"] <= against["high"]
        # Whatever it has learnt, it has learnt something: its figures are not the base's.
        assert against["value"] != 0, arm
    assert not processes_of(folder)
    return printed


@pytest.mark.timeout(3600)
def test_killed_twice_it_leaves_no_process_and_goes_on_where_it_was(isolated: Path, tiny_model: Path) -> None:
    folder, project = isolated / "s", repository(isolated / "r", "ledger")
    arguments = ("--model", str(tiny_model), "--repository", str(project), "--arms", "sft,topr", "--live", "none")
    days = folder / "seed-1"

    # While the first day is typed: server, engine and language server are at work.
    with simulating(isolated, folder, *arguments) as process:
        until(process, isolated, (days / "pilot.json").exists)
        until(process, isolated, lambda: running(folder, "tacit.lsp", "tacit.cli serve", "llama_child"))
        assert not (days / "day-1.json").exists()
        orphans = processes_of(folder)
        os.kill(process.pid, signal.SIGKILL)
    known = finished(folder)
    assert set(known) == {"seed-1/pilot.json"}

    # Started again at once, and killed while it trains the second night.
    with simulating(isolated, folder, *arguments) as process:
        until(process, isolated, (days / "sft" / "night-1.json").exists)
        left = orphans.keys() & processes_of(folder).keys()
        assert not left, f"what was killed has left {[orphans[pid] for pid in left]}"
        os.kill(process.pid, signal.SIGKILL)
    assert not (days / "topr" / "night-2.json").exists()
    assert finished(folder).items() >= known.items(), "a day that was finished was typed again"
    known = finished(folder)
    assert {"seed-1/day-3.json", "seed-1/frozen/night-2.json", "seed-1/sft/night-1.json"} <= set(known)

    with simulating(isolated, folder, *arguments) as process:
        printed = ended_well(process, isolated, folder, {"sft", "topr"})
    assert finished(folder).items() >= known.items(), "what was finished was done again"
    assert "Learning, simulated" in printed and INTERVAL.search(printed) and str(folder / "report.md") in printed
    assert not (folder / "live.png").exists()
    assert f"is kept in {folder}" in words(isolated) and "\nseed 1, topr, night 2: done\n" in words(isolated)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_again_and_again_it_comes_to_its_end(isolated: Path, tiny_model: Path) -> None:
    """With an unseen project and the last day typed live, killed at moments that nobody has chosen."""
    folder, draw = isolated / "s", random.Random(4)
    projects = [repository(isolated / "r", name) for name in ("ledger", "harbour")]
    arguments = ["--model", str(tiny_model), "--arms", "topr,random", "--live", "topr,always-short"]
    for project in projects:
        arguments += ["--repository", str(project)]
    known: dict[str, tuple[int, int]] = {}
    for _ in range(8):
        with simulating(isolated, folder, *arguments) as process:
            before, wanted = len(known), draw.randint(1, 3)
            end = time.monotonic() + draw.uniform(0, 20)
            # Some parts further, and somewhere within the next one.
            until(process, isolated, lambda: process.poll() is not None or len(finished(folder)) >= before + wanted)  # noqa: B023
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            process.kill()
        assert finished(folder).items() >= known.items()
        known = finished(folder)
    with simulating(isolated, folder, *arguments) as process:
        ended_well(process, isolated, folder, {"topr", "random"})
    assert finished(folder).items() >= known.items()
    report = (folder / "report.md").read_text()
    assert "The last day, typed live" in report and "always-short" in report and "unseen project" in report
    assert (folder / "live.png").read_bytes().startswith(PNG)
    assert json.loads((folder / "report.json").read_text())["setup"]["unseen"] == {"1": "harbour"}
