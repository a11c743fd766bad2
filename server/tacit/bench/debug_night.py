"""`tacit bench debug-night`: does a night of answers about errors mend more bugs that nobody has asked about yet?

The problems of `debug_tasks` fall into two halves. A scripted developer (`debug_developer`) asks a real server about bugs of the
one; a learning run reads what was logged, and the gate decides, as every night. Before and after, bugs of the other half are
asked about with the same seeds. Every finished part is a file in a folder that is kept: a run that ends in the middle is gone on
with.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from tacit.bench import debug_tasks, judging
from tacit.bench.debug_developer import Asking, Attempt, attempt, told
from tacit.bench.debug_tasks import Task
from tacit.bench.report import Goal, Report
from tacit.learner import sandbox
from tacit.learner.gate import Interval, paired_bootstrap
from tacit.learner.run import LearnOptions, learn
from tacit.learner.simulate.cells import Cells, write
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import BadRequest, Refused
from tacit.protocol.home import Home

PROJECT: Final = "bench-debug-night"
SESSION: Final = 4
"""Bugs of one session of the developer."""
PAUSE: Final = timedelta(minutes=20)
"""Between two of his questions."""
LEAST_ANSWERS: Final = 8
"""The night's minimum here: a bench learns from few, and says from how many."""

Progress = Callable[[str, int, int], None]
Stage = Literal["before", "train", "after"]


@dataclass(frozen=True, slots=True)
class Options:
    train: int = 40
    """Bugs that are asked about during the day."""
    held_out: int = 20
    """Of the other half of the problems, asked about before and after."""
    languages: tuple[str, ...] = ("python",)
    candidates: int = 2
    seconds: float = 300.0
    """The time allowance of one answer."""
    generations: int = 12
    """Of the gate: programs, and twice the held-out answers, that both policies write."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    train: list[Task]
    held_out: list[Task]
    """More than are asked of each: the first that are sound are."""
    absent: list[str]
    options: Options


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one bug."""

    task: str
    problem: str
    shown: bool
    fixed: bool
    draws: int
    tokens: int
    seconds: float
    policy: str


def chosen(data: Path, options: Options) -> Plan:
    """Refused: nothing can be run here. BadRequest: there are no bugs. data: the folder of the benchmarks."""
    if why := sandbox.missing():
        raise Refused(f"Fixes are judged by running them, and programs run only in a sandbox: {why}")
    languages = tuple(one for one in options.languages if one in debug_tasks.LANGUAGES and judging.can_run(one))
    tasks, absent = debug_tasks.load(data, languages, options.seed)
    train, held_out = ([task for task in tasks if task.half == half] for half in ("first", "second"))
    if not train or not held_out:
        raise BadRequest(f"There are no bugs to ask about. {' '.join(absent)}", mend="Name the data's folder with TACIT_DATA.")
    return Plan(train, held_out, absent, options)


def run(plan: Plan, model: str, folder: Path, progress: Progress) -> Report:
    """model: catalogue name, path or `auto`. folder: of this experiment; Conflict if it holds one with other options."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    Cells(folder).claim({**asdict(plan.options), "model": model, "bench": "debug-night"})
    return asyncio.run(_run(plan, model, folder.resolve(), progress))


async def _run(plan: Plan, model: str, folder: Path, progress: Progress) -> Report:
    home = Home(folder / "home")
    # Nobody waits for a canary here: what the gate cannot judge serves at once, and the report says so.
    settings = {"model": model, "canary_share": "0"}
    async with ServerProcess(home, settings) as server:
        status = await server.client.status()
        stages = _Stages(plan, folder, server.client, progress)
        before = await stages.ask("before", plan.held_out, plan.options.held_out)
        during = await stages.ask("train", plan.train, plan.options.train)
        night = await _night(plan, server.client, home, folder, progress)
        after = await stages.ask("after", plan.held_out, plan.options.held_out) if night["state"] == "published" else []
    return report(plan, status.model, before, during, night, after, folder)


@dataclass(frozen=True, slots=True)
class _Stages:
    plan: Plan
    folder: Path
    client: TacitClient
    progress: Progress

    async def ask(self, stage: Stage, tasks: Sequence[Task], count: int) -> list[Asked]:
        """About the first `count` sound ones. Those that have a file are not asked about again."""
        options = self.plan.options
        asking = Asking(
            self.client, self.folder / "workspaces" / stage, PROJECT, options.seed, options.seconds, options.candidates
        )
        done: list[Asked] = []
        for number, task in enumerate(tasks):
            if len(done) == count:
                break
            self.progress(stage, len(done), count)
            path = self.folder / stage / f"{number:04d}.json"
            if not path.exists():
                output = await self._output(task)
                if output is None:
                    continue
                session = f"{stage}-{number // SESSION:04d}"
                made = await attempt(asking, task, output, session, number)
                if stage == "train":
                    # A day's work in session time; the newest of it is a minute old.
                    at = datetime.now(UTC) - PAUSE * (len(tasks) - number)
                    if events := told(task, made, at):
                        await self.client.send_events(events)
                write(path, asdict(_asked(task, made)))
            done.append(Asked(**json.loads(path.read_text(encoding="utf-8"))))
        self.progress(stage, len(done), count)
        return done

    async def _output(self, task: Task) -> str | None:
        """Of the failing test; None: the task cannot be judged here."""
        path = self.folder / "sound" / f"{task.name.replace('/', '-')}.json"
        if not path.exists():
            found = await asyncio.to_thread(debug_tasks.sound, task)
            write(path, {"why": found.why, "output": found.output})
        told_before = json.loads(path.read_text(encoding="utf-8"))
        return None if told_before["why"] else str(told_before["output"])


def _asked(task: Task, made: Attempt) -> Asked:
    done = made.answer.done
    return Asked(
        task.name,
        task.problem,
        shown=made.change is not None,
        fixed=made.fixed,
        draws=len(done.draws) if done is not None else 0,
        tokens=done.timings.generated if done is not None else 0,
        seconds=done.timings.total_ms / 1000 if done is not None else 0.0,
        policy=made.answer.policy_version,
    )


async def _night(plan: Plan, client: TacitClient, home: Home, folder: Path, progress: Progress) -> dict[str, Any]:
    path = folder / "night.json"
    if not path.exists():
        options = LearnOptions(
            project=PROJECT,
            task="debug",
            min_samples=LEAST_ANSWERS,
            seed=plan.options.seed,
            generations=plan.options.generations,
        )
        outcome = await learn(client, home, options, progress)
        if outcome.state in ("failed", "interrupted"):
            raise BadRequest(f"The night did not end: {outcome.message}", mend="Run the bench again with the same folder.")
        kept = {"counts", "checks", "training", "gate_seconds", "seconds"}
        told_of = {name: value for name, value in outcome.report.items() if name in kept}
        write(path, {"state": outcome.state, "message": outcome.message, "adapter": outcome.adapter, **told_of})
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def report(
    plan: Plan,
    model: str,
    before: Sequence[Asked],
    during: Sequence[Asked],
    night: Mapping[str, Any],
    after: Sequence[Asked],
    folder: Path,
) -> Report:
    rows = [
        _row("held-out half, before", before),
        _row("the other half, learned from", during),
        _row("held-out half, after", after),
    ]
    gained = change(before, after)
    left = [sum(not one.fixed for one in stage) for stage in (before, after)]
    goals = [
        Goal("held-out bugs left after the night, of those left before", left[1] / left[0] if after and left[0] else None, 1.0)
    ]
    counts = night.get("counts", {})
    verdicts = ", ".join(f"{check['name']} {check['verdict']}" for check in night.get("checks", ()))
    remarks = [
        "SIMULATED developer: he applies what is shown, runs the test, takes out what fails and writes the reference by hand; "
        "the learner reads what the product logged of that. Rewards come from tests and from the product's checks alone.",
        *plan.absent,
        f"The night ({night['state']}): {night['message']}",
        f"It read {counts.get('labelled', 0)} labelled draws, {counts.get('hindsight', 0)} texts that were written instead; "
        f"{night.get('seconds', 0):.0f} s.",
    ]
    if verdicts:
        remarks.append(f"The gate: {verdicts}.")
    if gained is not None:
        remarks.append(
            f"Change of the share that is fixed: {100 * gained.mean:+.1f} points, 95 % interval {100 * gained.low:+.1f} to "
            f"{100 * gained.high:+.1f} (paired bootstrap over problems)."
        )
    elif night["state"] != "published":
        remarks.append("What served goes on serving, so nothing was asked again.")
    remarks.append(f"Everything that was asked and answered: {folder}")
    return Report("debug-night", model, rows, goals, remarks)


def change(before: Sequence[Asked], after: Sequence[Asked]) -> Interval | None:
    """Of the share that is fixed, task by task; None: nothing was asked twice."""
    earlier = {one.task: one for one in before}
    pairs = [(earlier[one.task], one) for one in after if one.task in earlier]
    if not pairs:
        return None
    deltas = [float(late.fixed) - float(early.fixed) for early, late in pairs]
    return paired_bootstrap(deltas, [1.0] * len(pairs), [early.problem for early, _ in pairs])


def _row(what: str, asked: Sequence[Asked]) -> dict[str, Any]:
    count = len(asked)
    low, high = share(sum(one.fixed for one in asked), count)
    return {
        "what": what,
        "bugs": count,
        "fixed": sum(one.fixed for one in asked),
        "fixed, 95 %": f"{100 * low:.0f} to {100 * high:.0f} %" if count else None,
        "shown": sum(one.shown for one in asked),
        "wrong": sum(one.shown and not one.fixed for one in asked),
        "draws": sum(one.draws for one in asked),
        "s an answer": round(sum(one.seconds for one in asked) / count, 1) if count else None,
    }


def share(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    z = 1.96
    middle = (right + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * (right * (count - right) / count + z * z / 4) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
