"""Every bench runs, and returns what every bench returns. Short runs with a tiny real model; no figure is judged here."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from tacit.bench.postgresql_server import programs
from tacit.cli import INTERRUPTED
from tacit.cli.bench import bench

# Read before each test's environment is cleaned.
VLLM_PYTHON = os.environ.get("TACIT_VLLM_PYTHON", "")


def run(tmp_path: Path, *arguments: str) -> dict[str, object]:
    out = tmp_path / "report.json"
    result = CliRunner().invoke(bench, [*arguments, "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "goal" in result.output
    assert not psutil.Process().children(recursive=True), "a bench leaves no process behind"
    report: dict[str, object] = json.loads(out.read_text())
    assert {"bench", "date", "version", "hardware", "model", "rows", "goals"} <= report.keys()
    return report


def goals(report: dict[str, object]) -> dict[str, dict[str, float]]:
    return {goal["name"]: goal for goal in report["goals"]}  # type: ignore[attr-defined]


def rows(report: dict[str, object]) -> dict[str, dict[str, float]]:
    return {row["what"]: row for row in report["rows"]}  # type: ignore[attr-defined]


@pytest.mark.timeout(300)
def test_a_bench_that_is_told_to_end_takes_its_servers_along(tiny_model: Path) -> None:
    """By SIGTERM: in the background of a shell Ctrl-C does not reach it."""
    command = [sys.executable, "-m", "tacit.cli", "bench", "swap", "--model", str(tiny_model)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
        own = psutil.Process(bench.pid)
        while not (started := [child for child in own.children(recursive=True) if "llama_child" in " ".join(child.cmdline())]):
            assert bench.poll() is None, "it ended before it had an engine"
            time.sleep(0.1)
        bench.terminate()
        assert bench.wait() == INTERRUPTED
    gone, alive = psutil.wait_procs(started, timeout=60)
    assert gone and not alive


@pytest.mark.timeout(300)
def test_latency_measures_every_goal(tmp_path: Path, tiny_model: Path) -> None:
    report = run(tmp_path, "latency", "--prompts", "3", "--model", str(tiny_model))
    found = goals(report)
    measured = {name for name, goal in found.items() if goal["value"] is not None}
    assert {name for name in found if not name.startswith("cancelled")} <= measured
    assert rows(report)["through the language server"]["n"] == rows(report)["straight to the engine"]["n"] > 0
    # Not a time: the same seed and prompt give the same tokens on both ways.
    assert any(f"{rows(report)['added, prompt by prompt']['n']} of " in remark for remark in report["remarks"])  # type: ignore[attr-defined]


@pytest.mark.timeout(300)
def test_record_types_the_same_with_and_without(tmp_path: Path, tiny_model: Path) -> None:
    report = run(tmp_path, "record", "--minutes", "0.1", "--model", str(tiny_model))
    found = rows(report)
    for what in ("a file of this project", "500,000 characters"):
        assert found[f"{what}: keys"]["recorded"] == found[f"{what}: keys"]["not recorded"] > 0
        assert found[f"{what}: events stored"]["recorded"] > 2, "what was typed has been recorded, and delivered"
    assert len(goals(report)) == 4 and all(goal["value"] is not None for goal in goals(report).values())


@pytest.mark.timeout(300)
def test_swap_moves_back_and_forth_without_a_failure(tmp_path: Path, tiny_model: Path) -> None:
    report = run(tmp_path, "swap", "--swaps", "6", "--streams", "2", "--model", str(tiny_model))
    found = goals(report)
    for name in ("swaps that did not happen", "failed requests", "answers by a policy that was not serving"):
        assert found[name]["met"], report
    assert rows(report)["rollback"]["n"] == 1
    assert sum(rows(report)[f"answers {when}, 2 streams"]["n"] for when in ("during a swap", "between swaps")) >= 6


@pytest.mark.timeout(300)
def test_ingest_loses_and_doubles_nothing_in_each_store(tmp_path: Path) -> None:
    report = run(tmp_path, "ingest", "--clients", "6", "--events", "45", "--batch", "10", "--seconds", "0.5")
    stores = ["SQLite", *(["PostgreSQL"] if programs() else [])]
    for store in stores:
        for name in ("acknowledged events lost by kill -9", "events doubled", "requests failed"):
            assert goals(report)[f"{store}: {name}"]["met"], report
        assert rows(report)[f"{store}: ack of a batch of 10, 6 clients"]["n"] >= 30
    assert any("PostgreSQL was not measured" in remark for remark in report["remarks"]) == (len(stores) == 1)  # type: ignore[attr-defined]


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not VLLM_PYTHON, reason="vLLM is not installed for the tests: `make test-vllm` installs it and runs these")
def test_serve_asks_the_same_of_vllm_and_through_tacit(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_VLLM_PYTHON", VLLM_PYTHON)
    report = run(tmp_path, "serve", "--rounds", "2", "--streams", "2", "--each", "3", "--model", str(tiny_model))
    assert goals(report)["requests failed"]["met"], report
    assert all(goal["value"] is not None for goal in goals(report).values())
    assert {row["n"] for row in rows(report).values()} == {12}


@pytest.mark.timeout(900)
def test_train_runs_both_trainers_on_the_same_texts(tmp_path: Path, tiny_model: Path) -> None:
    report = run(
        tmp_path, "train", "--objective", "sft", "--samples", "8", "--repeats", "1", "--batch", "4", "--rank", "4",
        "--prefix-chars", "80", "--model", str(tiny_model),
    )  # fmt: skip
    found = rows(report)
    assert set(found) == {"sft", "TRL SFT, padded", "TRL SFT, padding-free"}
    assert len({(row["texts"], row["tokens"]) for row in found.values()}) == 1 and found["sft"]["tokens"] > 100
    assert all(row["tok/s"] > 0 and row["peak MiB"] > 100 for row in found.values())
    assert found["sft"]["references"] > 0 and found["TRL SFT, padded"]["references"] == 0
    assert any(name.startswith("sft: seconds for each second of TRL SFT") for name in goals(report))
