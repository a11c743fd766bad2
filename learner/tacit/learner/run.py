"""One learning run from end to end: claim the slot, export, train, gate, publish. Touches the server (through its client) and
`runs/ID`; the heavy steps run in a thread, so that progress is reported and a Ctrl-C is heard meanwhile.

Invariants: what serves changes only by `client.publish` (for some sessions: `client.try_out`), after every check has been made; a
run that was claimed is always ended with a state and a message, unless the process is killed, and then the server marks it.
"""

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypeVar

from tacit.learner import rehearsal, soundness, together
from tacit.learner import report as reporting
from tacit.learner.checkpoint import discard
from tacit.learner.debug_samples import verdict_of
from tacit.learner.gate import FORGETTING, MIN_HELD_OUT, Check, nothing_logged, tried_on
from tacit.learner.handing_over import hand_over
from tacit.learner.night import PROBE_TOKENS, Model, Night, Progress
from tacit.learner.objective import DRAWS_ANEW, READS_WRITTEN, named
from tacit.learner.publish import publish
from tacit.learner.samples import Sample, split
from tacit.learner.several import START
from tacit.learner.show_policy import Choice, refit
from tacit.learner.soundness import Log
from tacit.learner.train import Stopped, TrainSettings
from tacit.learner.trial import Step, TrialSettings
from tacit.protocol.adapters import SHARED, ProbeRequest, RunInfo, RunRequest, RunState, RunUpdate
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import BASE_POLICY, Task
from tacit.protocol.errors import BadRequest, Conflict, ModelUnavailable, Refused, TacitError
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home

REPORT_SECONDS = 1.0
SILENT_SECONDS = 60.0
"""For so long at most it says nothing to the server: one that is killed has ended when it was heard of last."""
KEPT_RUNS = 30
"""Folders of older runs are removed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LearnOptions:
    project: str
    task: Task = "completion"
    """From which suggestions; each has an adapter of its own."""
    trigger: Literal["nightly", "manual"] = "manual"
    objective: str = "topr"
    min_samples: int = 200
    """Labelled suggestions that the serving adapter has not learned from; with fewer nothing is done. An answer about an error
    counts once, however many candidates were drawn for it."""
    until: datetime | None = None
    """Learn from what the server had received by then; None: from all. So a run that was interrupted is gone on with although
    its developer has worked since."""
    dry_run: bool = False
    """Read and count only: no run is claimed, nothing is trained."""
    seed: int = 0
    probes: int = 64
    generations: int = 24
    """Held-out places, and programs, at which both policies write greedily."""
    forgetting: float = FORGETTING
    """Nats per token, in each language of general code: the gate's bound on KL(base‖new)."""
    reward_model: Choice = "trees"
    """From what the show policy learns."""
    train: TrainSettings = field(default_factory=TrainSettings)


@dataclass(frozen=True, slots=True)
class Outcome:
    state: RunState
    message: str
    """One sentence or two, for a person."""
    adapter: str
    """The name reserved for this run; in `adapters/` only if the state is `published`. Empty for a dry run."""
    run_id: str
    report: dict[str, Any]
    report_path: Path | None


async def learn(
    client: TacitClient, home: Home, options: LearnOptions, progress: Progress = lambda stage, done, total: None
) -> Outcome:
    """Run once. Conflict if another run is under way; errors on the way are an outcome, `failed`, not an exception.

    Cancelling marks the run `interrupted` and leaves what serves as it is. progress: called from another thread.
    """
    named(options.objective)  # BadRequest before anything is claimed
    if options.task == "debug" and options.objective == "grpo":
        raise BadRequest(
            "`grpo` draws completions anew and compares them with what was written; it cannot run a program to judge a fix.",
            mend="Learn with `topr`: every candidate of an answer is in the log.",
        )
    if options.dry_run:
        return await _dry_run(client, home, options)
    run = await client.start_run(
        RunRequest(
            project=options.project, task=options.task, objective=options.objective, trigger=options.trigger, pid=os.getpid()
        )
    )
    began = time.monotonic()
    stop = Event()
    steps = _Steps(client, run, progress, stop)
    report: dict[str, Any] = {
        "run": run.id, "project": run.project, "task": run.task, "objective": run.objective, "parent": run.parent,
        "adapter": run.adapter, "trigger": run.trigger, "started_at": run.started_at.isoformat(), "seed": options.seed,
    }  # fmt: skip
    try:
        try:
            state, message = await _learn(client, home, options, run, steps, report)
        except Stopped:
            state, message = "interrupted", "Stopped before its end. What served goes on serving."
        except TacitError as error:
            state, message = "failed", str(error)
    except asyncio.CancelledError:
        with contextlib.suppress(TacitError):
            await asyncio.shield(_end(client, run, "interrupted", "Interrupted by its user. What served goes on serving."))
        raise
    except BaseException as error:
        with contextlib.suppress(TacitError):
            await _end(client, run, "failed", f"{type(error).__name__}: {error}"[:2000])
        raise
    finally:
        shutil.rmtree(home.runs / run.id / "adapter", ignore_errors=True)
    if state != "interrupted" and run.task == "completion":
        report["show_policy"] = await refit(client, home, options.reward_model)
    message = " ".join((message, *report.get("remarks", ())))
    report |= {"state": state, "summary": message, "seconds": round(time.monotonic() - began, 1)}
    folder = home.runs / run.id
    reporting.write(folder, report)
    if state != "interrupted":
        discard(folder)
    _forget_old_runs(home, folder)
    # Stopped because the server had ended it already: that is no failure.
    with contextlib.suppress(Conflict) if state == "interrupted" else contextlib.nullcontext():
        await _end(client, run, state, message)
    return Outcome(state, message, run.adapter, run.id, report, folder / "report.md")


async def _learn(
    client: TacitClient, home: Home, options: LearnOptions, run: RunInfo, steps: "_Steps", report: dict[str, Any]
) -> tuple[RunState, str]:
    """(state, message). Fills the report on the way."""
    status = await client.status()
    if not status.model_path:
        raise ModelUnavailable(
            "The server has no base model yet.", mend="Wait until `tacit status` says that the engine is ready."
        )
    steps.progress("exporting", 0, 1)
    log = await _fresh(client, home, options, run.parent)
    records, known = log.fresh, log.known
    remarks = report["remarks"] = list(log.remarks)
    labelled = sum(verdict_of(record).labelled for record in records)
    if labelled < options.min_samples or not labelled:
        report["counts"] = reporting.counts(known + len(records), [], [], [], [])
        return "skipped", _too_few(records, known, options.min_samples)

    model = Model(Path(status.model_path), status.model_sha256)
    night = await steps.do(lambda: Night(home, model, run.parent, steps.progress, run.task))
    samples: list[Sample] = await steps.do(lambda: night.samples(records))
    training, held_out = split(samples)
    # Of an answer about an error each draw is a sample.
    fresh = len({sample.suggestion_id for sample in training})
    earlier = rehearsal.drawn_from(log.past, fresh, options.seed) if options.objective in READS_WRITTEN else []
    again = rehearsal.rehearsed(await steps.do(lambda: night.samples(earlier)), held_out)
    report["counts"] = reporting.counts(known + len(samples), samples, training, held_out, again)
    written = sum(bool(s.written_tokens) for s in held_out)
    if written < MIN_HELD_OUT or not training:
        return "skipped", (
            f"{labelled} suggestions have a label, but only {written} of the {len(held_out)} held-out ones show what was written "
            f"instead; {MIN_HELD_OUT} are needed to tell whether a night helps. Nothing was changed."
        )
    one, skipped = _of_one_kind(run.task, options.objective, training)
    remarks += one
    if skipped:
        return "skipped", skipped
    if other := soundness.other_bases((record.suggestion.generation.model for record in records), model.sha256):
        remarks.append(other)
    steps.progress("waiting for room", 0, 1)
    await client.make_room(run.id)
    await steps.do(lambda: night.load(options.seed))

    done: list[Check] = []

    async def passed(checks: Sequence[Check]) -> bool:
        done.extend(checks)
        report["checks"] = reporting.checks(done)
        return not any(check.refused for check in checks)

    comparable = any(soundness.drawn_here(record, model.sha256) for record in records)
    logs = await steps.do(lambda: night.check_logs(samples)) if comparable else nothing_logged("logged draws")
    if not await passed([logs]):
        return "refused", f"Nothing was trained. {done[-1].message}"

    candidate = home.runs / run.id / "adapter"
    settings = replace(options.train, seed=options.seed)
    trained = await steps.do(lambda: night.train(training, again, settings, options.objective, steps.stop, candidate))
    report["training"] = reporting.training(trained)
    if not trained.steps:
        return "skipped", "No suggestion of the training part says anything to learn from. Nothing was changed."

    steps.progress("the engine tries the candidate", 0, 1)
    prompts = night.probe_prompts([*held_out, *training], options.probes)
    answer = await client.probe_run(run.id, ProbeRequest(prompts=tuple(prompts), max_tokens=PROBE_TOKENS))
    integrity, probes = await steps.do(lambda: night.check_probes(answer))
    report["probes"] = [probe.model_dump(mode="json") for probe in probes]
    trial = night.trial(training, held_out, TrialSettings(options.generations, options.forgetting, options.seed))
    if not await passed(integrity) or not await examine(trial.steps, steps.do, passed, report):
        return "refused", _why(done)

    steps.progress("publishing", 0, 1)
    share = tried_on(done, status.canary_share)
    places = status.shadow_places if share and run.task == "completion" else 0
    message = _what_next(run.adapter, share, places) + "".join(
        f" {c.message}" for c in done if c.name == "held-out perplexity" or c.verdict == "inconclusive"
    )
    report["canary_share"], report["shadow_places"] = share, places
    learned = {s.suggestion_id for s in training}
    lineage = learned | {copy for name in learned for copy in log.copies.get(name, ())} | _lineage(home, run.parent)
    published = {**report, "state": "published", "summary": message}
    tokenizer = await steps.do(night.tokenizer.digest)
    projects = {one.suggestion.project for one in records} | together.learned_from(home, run.parent)
    folder = publish(home, run, candidate, published, lineage, model.sha256, tokenizer, projects)
    try:
        remark = await hand_over(client, run.adapter, canary=bool(share))
    except Refused as error:
        # It never served; nobody is to promote it by its name.
        shutil.rmtree(folder, ignore_errors=True)
        return "refused", f"The server did not take the adapter: {error}"
    return "published", f"{message} {remark}".strip()


async def examine(
    trial: Sequence[Step],
    do: Callable[[Callable[[], list[Check]]], Awaitable[list[Check]]],
    passed: Callable[[Sequence[Check]], Awaitable[bool]],
    report: dict[str, Any],
) -> bool:
    """Measure one step of the gate after the other, up to the first refusal: the rest costs minutes and could change nothing.

    The report gets the seconds of each step, and which were not reached.
    """
    seconds = report["gate_seconds"] = {}
    for number, step in enumerate(trial, start=1):
        at = time.monotonic()
        accepted = await passed(await do(step.measure))
        seconds[step.title] = round(time.monotonic() - at, 1)
        if not accepted:
            report["not_reached"] = [f"{later.title} (step {later.number})" for later in trial[number:]]
            return False
    return True


class _Steps:
    """Runs blocking steps in a thread and tells the server, and the caller, how far they are."""

    def __init__(self, client: TacitClient, run: RunInfo, progress: Progress, stop: Event) -> None:
        self._client = client
        self._run = run
        self._outer = progress
        self.stop = stop
        self._now = ("starting", 0, 1)

    def progress(self, stage: str, done: int, total: int) -> None:
        if self.stop.is_set():
            # The only way out of a step that has no other place to stop.
            raise Stopped
        self._now = (stage, done, total)
        self._outer(stage, done, total)

    async def do(self, step: Callable[[], T]) -> T:
        work = asyncio.ensure_future(asyncio.to_thread(step))
        told: tuple[str, int, int] | None = None
        at = time.monotonic()
        try:
            while True:
                finished, _ = await asyncio.wait({work}, timeout=REPORT_SECONDS)
                if finished:
                    return work.result()
                if self._now != told or time.monotonic() - at >= SILENT_SECONDS:
                    told, at = self._now, time.monotonic()
                    await self._tell(*told)
        except asyncio.CancelledError:
            self.stop.set()
            with contextlib.suppress(Exception):
                await work
            raise

    async def _tell(self, stage: str, done: int, total: int) -> None:
        try:
            await self._client.update_run(self._run.id, RunUpdate(stage=stage, done=done, total=total))
        except Conflict:
            # The server has ended this run: another may hold the slot.
            self.stop.set()
        except TacitError:
            pass  # a server that restarts is back before the run ends; the work goes on


async def _end(client: TacitClient, run: RunInfo, state: RunState, message: str) -> None:
    await client.update_run(run.id, RunUpdate(state=state, message=message, stage="", done=1, total=1))


async def _dry_run(client: TacitClient, home: Home, options: LearnOptions) -> Outcome:
    info = next((one for one in await client.projects() if one.project == options.project), None)
    served = {"completion": info.policy_version, "debug": info.debug_policy_version} if info is not None else {}
    if options.project == SHARED:
        status = await client.status()
        served = {"completion": status.shared, "debug": status.shared_debug}
    parent = served.get(options.task, BASE_POLICY)
    log = await _fresh(client, home, options, parent)
    labelled = sum(verdict_of(record).labelled for record in log.fresh)
    if labelled < options.min_samples or not labelled:
        message = _too_few(log.fresh, log.known, options.min_samples)
    else:
        message = (
            f"{labelled} suggestions have a label (minimum {options.min_samples}): a run would train from `{parent}`. This was a "
            "dry run: nothing was changed."
        )
    found = {"labelled": labelled, "remarks": list(log.remarks)}
    return Outcome("skipped", " ".join((message, *log.remarks)), "", "", found, None)


async def _fresh(client: TacitClient, home: Home, options: LearnOptions, parent: str) -> Log:
    """What the parent has not learned from: a line of adapters learns from each draw once."""
    unreadable: list[str] = []
    records = [
        record async for record in client.export(options.project, options.task, unreadable=unreadable.append, until=options.until)
    ]
    said: tuple[str, ...] = ()
    if options.project == SHARED:
        own = together.with_their_own(await client.adapters(), options.task)
        records, said = together.given(records, own, options.min_samples)
    log = soundness.sound(records, _lineage(home, parent), options.until or datetime.now(UTC))
    log = replace(log, remarks=(*said, *log.remarks))
    if not unreadable:
        return log
    odd = f"{len(unreadable)} stored suggestions cannot be read and were left out (the first: {unreadable[0]})."
    return replace(log, remarks=(odd, *log.remarks))


def _lineage(home: Home, version: str) -> set[str]:
    """Ids of all suggestions that this version was trained on, its ancestors' included."""
    path = home.adapters / version / "lineage.jsonl"
    if version == BASE_POLICY or not path.exists():
        return set()
    return {json.loads(line)["suggestion_id"] for line in path.read_text(encoding="utf-8").splitlines() if line}


def _too_few(records: Sequence[SuggestionRecord], known: int, needed: int) -> str:
    before = f" ({known} were learned from before)" if known else ""
    if not records:
        recorded = "" if known else " What is recorded is up to `learning` in the project's `.tacit.toml`."
        return f"There is no new suggestion to learn from{before}: nothing was changed.{recorded}"
    verdicts = [verdict_of(record) for record in records]
    labelled = sum(verdict.labelled for verdict in verdicts)
    why = Counter(verdict.censored for verdict in verdicts if not verdict.labelled)
    reasons = ", ".join(f"{count} {what}" for what, count in why.most_common())
    rest = f" {len(verdicts) - labelled} have no label: {reasons}." if why else ""
    return f"{labelled} labelled suggestions{before}, {max(1, needed)} are needed: nothing was changed.{rest}"


def _of_one_kind(task: Task, objective: str, training: Sequence[Sample]) -> tuple[list[str], str]:
    """(what is to be said if labels are all of one kind, why that ends the night or nothing).

    Draws that are made anew have rewards of their own, and answers about errors are told apart by degrees (`baseline`).
    """
    one = "" if task == "debug" or objective in DRAWS_ANEW else soundness.one_kind(s.reward for s in training)
    if not one:
        return [], ""
    return [one], "" if objective in READS_WRITTEN else f"`{objective}` learns from rewards alone. Nothing was changed."


def _what_next(adapter: str, share: float, places: int) -> str:
    """share: of the sessions that it gets first; 0: all. places: at which it is a shadow before."""
    if not share:
        return f"{adapter} serves."
    if places:
        return f"{adapter} is drawn with at {places} places, unseen, before it answers {100 * share:.0f} % of the sessions."
    return f"{adapter} answers {100 * share:.0f} % of the sessions until it is known better."


def _why(checks: Sequence[Check]) -> str:
    return "The gate said no; what served goes on serving. " + " ".join(c.message for c in checks if c.refused)


def _forget_old_runs(home: Home, mine: Path) -> None:
    """mine: of this run; where the clock was set back it is not the newest by its time."""
    folders = [folder for folder in home.runs.iterdir() if folder.is_dir() and folder != mine]
    for number, folder in enumerate(sorted(folders, key=lambda f: f.stat().st_mtime, reverse=True), start=1):
        # A run that was killed had no time to remove the samples that its processes were given.
        shutil.rmtree(folder if number >= KEPT_RUNS else folder / START, ignore_errors=True)
