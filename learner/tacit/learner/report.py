"""What a run did, for a person and for a program: report.json and report.md. Pure, apart from writing those two files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from tacit.learner.debug_samples import SEARCHED
from tacit.learner.gate import Check
from tacit.learner.samples import Sample
from tacit.learner.train import TrainResult

CURVE_POINTS = 12
VERDICTS = {"passed": "passed", "refused": "**REFUSED**", "inconclusive": "**inconclusive**", "not run": "not run"}


def counts(
    exported: int, fresh: Sequence[Sample], train: Sequence[Sample], held_out: Sequence[Sample], again: Sequence[Sample]
) -> dict[str, Any]:
    """How many suggestions there were and what became of them; of debugging answers their draws. fresh: those that the parent has
    not learned from. again: those that it has, gone over once more."""
    with_label = [s for s in fresh if s.reward.labelled]
    return {
        "exported": exported,
        "already_learned": exported - len(fresh),
        "labelled": len(with_label),
        "censored": dict(Counter(s.reward.censored for s in fresh if not s.reward.labelled)),
        "outcomes": dict(Counter(s.reward.outcome for s in with_label)),
        "mean_reward": round(fmean(s.reward.value for s in with_label), 4) if with_label else 0.0,
        "hindsight": sum(s.hindsight > 0 for s in train),
        "unusable_draws": sum(not s.tokens and s.reward.censored != SEARCHED for s in fresh),
        "training": len(train),
        "rehearsed": len(again),
        "held_out": len(held_out),
        "sessions": len({s.session for s in fresh}),
    }


def training(result: TrainResult) -> dict[str, Any]:
    figures = asdict(result)
    figures["curve"] = [{name: round(value, 5) for name, value in step.items()} for step in result.curve]
    return figures


def checks(done: Sequence[Check]) -> list[dict[str, Any]]:
    return [
        {
            "name": c.name,
            "verdict": c.verdict,
            "passed": c.passed,
            "message": c.message,
            "figures": {k: round(v, 5) for k, v in c.figures.items()},
            "measured": [{k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(m).items()} for m in c.measured],
        }
        for c in done
    ]


def readable(report: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"# Run {report['run']}: {report['state']}",
        "",
        report["summary"],
        "",
        f"Project {report['project']} ({report.get('task', 'completion')}), objective `{report['objective']}`, from "
        f"`{report['parent']}`, would serve as `{report['adapter']}`. {report['seconds']:.0f} seconds.",
    ]
    found = report.get("counts")
    if found:
        outcomes = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in sorted(found["outcomes"].items()))
        censored = ", ".join(f"{n} {name}" for name, n in sorted(found["censored"].items()))
        lines += [
            "",
            "## Suggestions",
            "",
            f"- {found['exported']} in all, {found['already_learned']} of them learned from before.",
            f"- {found['labelled']} with a label ({outcomes or 'none'}), mean reward {found['mean_reward']:+.2f}.",
            f"- Without a label: {censored or 'none'}.",
            f"- {found['training']} for training, {found['hindsight']} of them with text that was written instead; besides "
            f"{found['rehearsed']} texts from which earlier nights had learned; "
            f"{found['held_out']} held out; {found['sessions']} sessions.",
        ]
    if report.get("remarks"):
        lines += ["", "## What was odd in the log", "", *(f"- {remark}" for remark in report["remarks"])]
    trained = report.get("training")
    if trained:
        lines += [
            "",
            "## Training",
            "",
            f"{trained['samples']} samples, {trained['steps']} steps, {trained['tokens']} tokens"
            + (f" ({trained['continued_at']} of the steps in a run that was interrupted)" if trained.get("continued_at") else "")
            + "; KL to what serves "
            f"{trained['kl_serving']:.2f} nats per sequence"
            + (
                f", with {100 * trained['share']:.0f} % of the step kept to stay within the budget."
                if trained["share"] < 1
                else "."
            ),
            "",
            "| step | policy | hindsight | rehearsal | KL per sequence | mean ratio | gradient norm | learning rate |",
            "|---|---|---|---|---|---|---|---|",
        ]
        curve = trained["curve"]
        every = max(1, -(-len(curve) // CURVE_POINTS))
        lines += [
            f"| {at + 1} | {s['policy']:+.3f} | {s['hindsight']:.3f} | {s['rehearsal']:.3f} | {s['sequence_kl']:.3f} "
            f"| {s['ratio']:.2f} | {s['grad_norm']:.2f} | {s['learning_rate']:.1e} |"
            for at, s in enumerate(curve)
            if at % every == 0 or at == len(curve) - 1
        ]
    if report.get("checks"):
        lines += ["", "## The gate", "", *_gate(report)]
    if report.get("show_policy"):
        lines += ["", "## When to stay quiet", "", report["show_policy"]["message"]]
    return "\n".join(lines) + "\n"


def _gate(report: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    verdicts = {check["verdict"] for check in report["checks"]}
    share = report.get("canary_share", 0.0)
    if "inconclusive" in verdicts and "refused" not in verdicts:
        tried = f"It is tried on {100 * share:.0f} % of the sessions." if share else "It serves all the same."
        if share and report.get("shadow_places"):
            tried = f"It is drawn with unseen at {report['shadow_places']} places (a shadow) first. Then: {tried}"
        if share:
            tried += f" `tacit adapters show {report['adapter']}` says how that went."
        lines += [f"**Inconclusive**: no step refuses it, but one could not tell. {tried}", ""]
    for check in report["checks"]:
        lines.append(f"- {VERDICTS[check['verdict']]}: {check['name']}. {check['message']}")
    lines += [f"- not reached: {step}." for step in report.get("not_reached", ())]
    lines += ["", "| check | figure | found | interval | bound |", "|---|---|---|---|---|"]
    for check in report["checks"]:
        lines += [
            f"| {check['name']} | {m['what']} | {m['value']:.4g} | {_interval(m)} | {m['bound']} |" for m in check["measured"]
        ]
    if report.get("gate_seconds"):
        spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in report["gate_seconds"].items())
        lines += ["", f"Seconds: {spent}."]
    return lines


def _interval(measure: Mapping[str, Any]) -> str:
    return "" if measure["low"] is None else f"{measure['low']:.4g} to {measure['high']:.4g}"


def write(folder: Path, report: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "report.json").write_text(json.dumps(report, indent=2, sort_keys=True), encoding="utf-8")
    (folder / "report.md").write_text(readable(report), encoding="utf-8")
