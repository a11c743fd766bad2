"""`tacit learn` and `tacit adapters list|show|promote|rollback`. Prints; all the work is in tacit.learner and in the server."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from tacit.cli.steps import Lines, say

if TYPE_CHECKING:
    from rich.table import Table

    from tacit.protocol.adapters import CanaryInfo
    from tacit.protocol.client import TacitClient

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[
    str, typer.Option(help="A project's id, as `tacit status` shows it.", show_default="that of the current folder")
]

OfTask = Annotated[Literal["completion", "debug"], typer.Option(help="What the adapter is for.")]

EXIT_CODES = {"published": 0, "skipped": 0, "refused": 5, "failed": 1, "interrupted": 130}

LISTED = 20
"""Canaries that `status` shows, the newest."""

adapters = typer.Typer(help="The versions that were learned: which serve, what they did, going back.", no_args_is_help=True)


def learn(
    now: Annotated[bool, typer.Option("--now", help="Learn now, in the foreground, instead of in the next night.")] = False,
    project: Project = "",
    task: OfTask = "completion",
    objective: Annotated[str, typer.Option(help="What to optimise.", show_default="the setting")] = "",
    min_samples: Annotated[
        int, typer.Option(min=0, help="Skip with fewer labelled suggestions.", show_default="the setting")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what a run would learn from; change nothing.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn by chance.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Learn from what was done with the suggestions: train an adapter, let the gate judge it, serve it if it helps."""
    if not now and not dry_run:
        _say_when(as_json)
        return
    from tacit.learner import give_way
    from tacit.learner.__main__ import before_torch

    _ask(before_torch)
    if not as_json:
        # Before torch is imported, which takes long where the machine is busy.
        say(_begun(dry_run, task, project))
    from tacit.learner.run import LearnOptions
    from tacit.learner.run import learn as run_once
    from tacit.protocol.home import Home
    from tacit.server.settings import Settings

    home = Home.from_environment()
    settings = Settings.load(home)
    options = LearnOptions(
        project=project or _here(),
        task=task,
        objective=objective or settings.objective,
        min_samples=min_samples or (settings.min_debug_samples if task == "debug" else settings.min_samples),
        dry_run=dry_run,
        seed=seed,
        reward_model=settings.reward_model,
    )
    give_way()
    with _progress(quiet=as_json) as progress:
        outcome = _ask(lambda client: run_once(client, home, options, progress))
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "state": outcome.state,
                    "message": outcome.message,
                    "adapter": outcome.adapter,
                    "run": outcome.run_id,
                    "report": outcome.report,
                }
            )
        )
    else:
        typer.echo(f"{outcome.state}: {outcome.message}")
        if outcome.report_path is not None:
            typer.echo(f"Report: {outcome.report_path}")
    raise typer.Exit(EXIT_CODES[outcome.state])


@adapters.command("list")
def list_adapters(project: Annotated[str, typer.Option(help="Only this project's.")] = "", as_json: AsJson = False) -> None:
    """Every adapter that is on disk, newest first."""
    infos = [info for info in _ask(lambda client: client.adapters()) if not project or info.project == project]
    if as_json:
        typer.echo(json.dumps([info.model_dump(mode="json") for info in infos], indent=2))
        return
    if not infos:
        typer.echo("There are no adapters yet: the base model serves. `tacit learn` says when the next night is.")
        return
    table = _table("adapter", "state", "project", "task", "made", "from", "what it did")
    for info in infos:
        table.add_row(info.name, info.state, info.project[:12], info.task, _time(info.created_at), info.parent, info.summary)
    _print(table)


@adapters.command()
def show(name: Annotated[str, typer.Argument(help="As in `tacit adapters list`.")], as_json: AsJson = False) -> None:
    """An adapter's lineage, its training and what the gate measured."""
    detail = _ask(lambda client: client.adapter(name))
    if as_json:
        typer.echo(json.dumps(detail.model_dump(mode="json"), indent=2))
        return
    info, manifest = detail.info, detail.manifest
    table = _table("", "")
    table.show_header = False
    for label, value in (
        ("adapter", info.name),
        ("state", info.state),
        ("project", f"{info.project} ({info.task})"),
        ("made", f"{_time(info.created_at)} by run {info.run_id}"),
        ("trained from", info.parent),
        ("base model", f"sha256 {info.base_sha256}"),
        ("learned from", f"{detail.samples} suggestions, those of its ancestors included"),
        ("size", f"{sum(file.size for file in manifest.files.values()) / 1e6:.1f} MB"),
        ("summary", str(detail.report.get("summary", ""))),
        *([] if detail.tried is None else [("tried", f"{detail.tried.state.replace('_', ' ')}: {_known(detail.tried)}")]),
    ):
        table.add_row(label, value)
    _print(table)
    checks = detail.report.get("checks")
    if isinstance(checks, list) and checks:
        results = _table("check", "", "found")
        for check in checks:
            # Reports of older runs say only whether a check passed.
            verdict = check.get("verdict") or ("passed" if check.get("passed") else "refused")
            results.add_row(str(check.get("name")), str(verdict), str(check.get("message")))
        _print(results)


@adapters.command()
def promote(name: Annotated[str, typer.Argument(help="As in `tacit adapters list`.")], as_json: AsJson = False) -> None:
    """Let an adapter serve its project: verified, loaded and probed first."""
    info = _ask(lambda client: client.publish(name))
    if as_json:
        typer.echo(json.dumps(info.model_dump(mode="json")))
    else:
        typer.echo(f"{info.name} serves project {info.project}.")


@adapters.command()
def status(as_json: AsJson = False) -> None:
    """Which versions are tried, unseen (shadow) or on some of the sessions (running), what is known of them, how others ended."""
    found = _ask(lambda client: client.canaries())[:LISTED]
    if as_json:
        typer.echo(json.dumps([canary.model_dump(mode="json") for canary in found], indent=2))
        return
    if not found:
        typer.echo("No version is being tried, and none has been.")
        return
    table = _table("project", "version", "beside", "sessions", "since", "state", "what is known")
    for canary in found:
        table.add_row(
            f"{canary.project[:12]} ({canary.task})", canary.adapter, canary.live, _answered_by(canary),
            _time(canary.started_at), canary.state.replace("_", " "), _known(canary),
        )  # fmt: skip
    _print(table)


@adapters.command()
def share(
    on: Annotated[bool, typer.Option("--on/--off", help="Off: it neither gives to what projects share nor gets from it.")],
    project: Project = "",
    as_json: AsJson = False,
) -> None:
    """Whether a project takes part in the adapters that projects share. Off: those that have learned from it are withdrawn."""
    chosen = project or _here()
    withdrawn = _ask(lambda client: client.share(chosen, on))
    if as_json:
        typer.echo(json.dumps({"project": chosen, "shares": on, "withdrawn": withdrawn}))
        return
    name = f"Project {project}" if project else f"The project in {Path.cwd()}"
    typer.echo(f"{name} {'takes part in' if on else 'is kept out of'} what projects share.")
    for gone in withdrawn:
        typer.echo(f"{gone} had learned from it and was withdrawn.")


@adapters.command()
def rollback(project: Project = "", task: OfTask = "completion", as_json: AsJson = False) -> None:
    """Withdraw the version that is being tried; without one, go back to what served before. Project `shared`: what serves every
    project without an adapter of its own."""
    from tacit.protocol.errors import Conflict

    chosen = project or _here()
    # A person knows the folder, not the digits.
    name = f"Project {project}" if project else f"The project in {Path.cwd()}"
    try:
        version = _ask(lambda client: client.rollback(chosen, task))
    except Conflict as error:
        said = error.message.replace(f"Project {chosen} ({task})", name)
        raise Conflict(said, mend=error.mend) from None
    if as_json:
        typer.echo(json.dumps({"project": chosen, "policy_version": version}))
    else:
        typer.echo(f"{name} is served by {version}.")


def _answered_by(canary: "CanaryInfo") -> str:
    return "none" if canary.state == "shadow" else f"{100 * canary.share:.0f} %"


def _known(canary: "CanaryInfo") -> str:
    if canary.state == "shadow":
        return canary.reason or f"Nothing was drawn yet; {canary.wanted_places} places of the day are wanted."
    return canary.reason or "No feedback was read yet."


def _say_when(as_json: bool) -> None:
    status = _ask(lambda client: client.status())
    if as_json:
        when = status.next_run.isoformat() if status.next_run else None
        last = status.last_run.model_dump(mode="json") if status.last_run else None
        typer.echo(json.dumps({"next_run": when, "last_run": last}))
        return
    if status.running is not None:
        typer.echo(f"Run {status.running.id} is under way: {status.running.stage}.")
    elif status.next_run is None:
        typer.echo("The nightly run is off (setting `nightly`). `tacit learn --now` learns at once.")
    else:
        typer.echo(f"The next run is at {_time(status.next_run)}. `tacit learn --now` learns at once.")
    if status.last_run is not None:
        typer.echo(f"Last run ({status.last_run.state}): {status.last_run.message}")


def _here() -> str:
    from tacit.protocol.project import project_of

    return project_of(Path.cwd())


def _ask(call: "Callable[[TacitClient], Awaitable[T]]") -> T:
    """Ask the server of this TACIT_HOME."""
    from tacit.protocol.client import TacitClient
    from tacit.protocol.home import Home

    async def asked() -> T:
        async with TacitClient(Home.from_environment().socket) as client:
            return await call(client)

    return asyncio.run(asked())


def _begun(dry_run: bool, task: str, project: str) -> str:
    """What is done now, and how long that may take."""
    whose = f"project {project}" if project else f"the project in {Path.cwd()}"
    if dry_run:
        return f"Looking at what a run for {whose} would learn from."
    return (
        f"Learning from what is recorded of {whose} ({task}). Without a GPU this takes minutes for a few dozen "
        "suggestions, for hundreds hours; `tacit status` tells how far it is, Ctrl-C ends it."
    )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """On stderr: one bar per stage on a terminal, else a line for each that has ended; nothing when a program reads."""
    if quiet:
        yield lambda stage, done, total: None
        return
    if not sys.stderr.isatty():
        with Lines() as lines:
            yield lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        stages: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                for task in bars.tasks:
                    bars.update(task.id, completed=task.total)
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield progress
        for task in bars.tasks:
            bars.update(task.id, completed=task.total)


def _table(*columns: str) -> "Table":
    from rich.table import Table

    return Table(*columns, box=None, pad_edge=False)


def _print(table: "Table") -> None:
    from rich.console import Console

    Console(highlight=False, markup=False).print(table)


def _time(moment: datetime) -> str:
    """Local time, to the minute."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone().strftime("%Y-%m-%d %H:%M")
