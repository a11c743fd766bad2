"""`tacit bench reward-model` on a log, and how Copilot's telemetry is read: nothing of what came after is looked at."""

import gzip
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tacit.bench.copilot_telemetry import FILE, seen
from tacit.cli.bench import bench
from tacit.protocol.completion import Context, Generation
from tacit.protocol.events import Accepted, Rejected, Settled, Suggested, SuggestionRecord

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


def record(number: int, dice: random.Random) -> SuggestionRecord:
    """Sure ones are kept."""
    sure = dice.random() < 0.4
    at = NOW + timedelta(minutes=number)
    source = {"at": at, "session_id": f"session-{number // 9:04d}", "suggestion_id": f"suggestion-{number:04d}"}
    text = dice.choice(("call(argument)", "total += 1", "x"))
    generation = Generation(
        tokens=(1,), logprobs=(-0.1 if sure else -1.5,), temperature=0.3, seed=1, policy_version="base", model="0" * 64,
        finish_reason="eos",
    )  # fmt: skip
    suggested = Suggested(
        **source, project="p", context=Context(path="a.py", language="python", prefix="x = ", suffix="\n"), context_sha256="",
        text=text, generation=generation, trigger="automatic", p_show=1.0, shown=True, latency_ms=1, engine_ms=1,
    )  # fmt: skip
    if dice.random() < 0.1:
        sure = not sure
    if not sure:
        return SuggestionRecord(suggestion=suggested, events=(Rejected(**source, reason="dismissed", visible_ms=900),))
    took = Accepted(**source, accepted_chars=len(text), total_chars=len(text), visible_ms=900, inferred=True)
    stayed = Settled(**source, horizon="10m", elapsed_ms=6e5, span_text=text, settled_text=text)
    return SuggestionRecord(suggestion=suggested, events=(took, stayed))


def test_a_log_is_judged_beside_its_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_DATA", str(tmp_path / "none"))
    dice = random.Random(0)
    log, out = tmp_path / "log.jsonl", tmp_path / "report.json"
    log.write_text("".join(record(number, dice).model_dump_json() + "\n" for number in range(90)))
    result = CliRunner().invoke(bench, ["reward-model", "--log", str(log), "--json", str(out)])
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    rows = {row["what"]: row for row in report["rows"]}
    trees = rows["trees, as a night fits them"]
    assert trees["n"] == 90 and trees["sessions"] == 10 and trees["ECE"] < 0.25
    assert float(trees["AUC"].split()[0]) > 0.75 > float(rows["length, fitted"]["AUC"].split()[0])
    assert "[" in rows["mean log-probability"]["trees ahead"]
    assert any("telemetry was left out" in remark for remark in report["remarks"])
    assert {goal["name"].split(",")[0] for goal in report["goals"]} >= {"features and trees of one suggestion"}


def test_one_class_is_said_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_DATA", str(tmp_path / "none"))
    dice = random.Random(0)
    found = [one for number in range(250) if isinstance((one := record(number, dice)).events[0], Rejected)]
    log, out = tmp_path / "log.jsonl", tmp_path / "report.json"
    log.write_text("".join(one.model_dump_json() + "\n" for one in found))
    assert CliRunner().invoke(bench, ["reward-model", "--log", str(log), "--json", str(out)]).exit_code == 0
    report = json.loads(out.read_text())
    assert report["rows"] == [] and any("0 of them kept: too few" in remark for remark in report["remarks"])


def telemetry(folder: Path, **decided: Any) -> Path:
    """Two suggestions: one that is taken, one that is not. decided: what the event that decides the first says."""

    def row(seq: int, event: str, second: float, text: str, **more: Any) -> dict[str, Any]:
        return {
            "session": 0, "seq": seq, "time": f"2022-08-08T16:05:{second:06.3f}Z", "event": event, "language": "python",
            "suggestion": json.dumps(text), "prompt": json.dumps("x = 1\ny = "), "edit_percentage": [0, 0, 0, 0, 0],
            "measurements": {"meanLogProb": -0.25, "numTokens": 4.0, "confidence": 0.6}, **more,
        }  # fmt: skip

    rows = [
        row(0, "Shown", 1, "compute(x)"), row(1, "Replay", 2, "compute(x)"), row(2, "Accepted", 3, "compute(x)", **decided),
        row(3, "Shown", 4, "wrong"), row(4, "Rejected", 5, "wrong"),
        row(5, "Shown", 6, "brief"), row(6, "Rejected", 6.1, "brief"),
    ]  # fmt: skip
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / FILE, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in rows)
    return folder


def test_telemetry_is_read_as_the_product_would_have_seen_it(tmp_path: Path) -> None:
    first, second = seen(telemetry(tmp_path))
    assert first.example.kept and not second.example.kept, "what was visible for 100 ms has no label"
    assert (first.example.features["confidence"], first.example.features["surprise"]) == (-0.25, 0.1)
    assert second.example.features["accepts"] == pytest.approx(1, abs=0.01) and first.example.features["accepts"] == 0
    after = {"measurements": {"meanLogProb": -9, "numTokens": 99}, "label": "Thinking", "suggestion": '"other"'}
    assert seen(telemetry(tmp_path, **after))[0] == first, "nothing that came after the decision is looked at"
    gone = seen(telemetry(tmp_path, edit_percentage=[0, 1, 1, 1, 1]))[0].example
    assert gone.features == first.example.features and gone.value < first.example.value and not gone.kept
