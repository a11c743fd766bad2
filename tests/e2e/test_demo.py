"""`tacit demo` with a tiny real model: the whole loop runs and reports; Ctrl-C leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]


def demo(folder: Path, model: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tacit.cli",
        "demo",
        "--model",
        str(model),
        "--home",
        str(folder),
        "--files",
        "3",
        *arguments,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes that work in this folder, by their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TACIT_HOME", "").startswith(str(folder)):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_the_whole_loop_runs_and_tells_what_it_found(isolated: Path, tiny_model: Path) -> None:
    folder, out = isolated / "d", isolated / "result.json"
    process = demo(folder, tiny_model, "--minutes", "2.5", "--json", str(out))
    try:
        output, _ = process.communicate(timeout=1800)
    finally:
        process.kill()
    assert process.returncode == 0, output
    result = json.loads(out.read_text())
    assert result["verdict"] in " ".join(output.split())
    before, training = result["before"], result["training"]
    assert before["places"] >= 6 and before["shown"] > 0 and before["policy_versions"] == ["base"]
    assert training["shown"] > 0 and training["policy_versions"] == ["base"]
    assert not set(result["training_files"]) & set(result["held_out_files"])
    assert result["night"]["state"] in {"published", "refused"}
    if result["night"]["state"] == "published":
        assert result["after"]["policy_versions"] == [result["night"]["adapter"]]
        assert result["perplexity"]["before"] != result["perplexity"]["after"]
    assert all(Path(where).exists() for where in result["evidence"].values())
    assert not processes_of(folder)


def test_interrupted_it_ends_every_process(isolated: Path, tiny_model: Path) -> None:
    folder = isolated / "d"
    process = demo(folder, tiny_model)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("2. "):
                break
        assert processes_of(folder), "the server and the language server run"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert not processes_of(folder)
