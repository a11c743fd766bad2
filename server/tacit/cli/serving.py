"""`tacit serve`, `up`, `status`: start the server, check it with one real completion, say how it stands. Prints."""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.cli import INTERRUPTED
from tacit.cli.ending import end_with_stdin
from tacit.protocol.adapters import RestInfo, RunInfo, ServerStatus
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import BASE_POLICY, CompleteRequest, CompleteResponse, Context
from tacit.protocol.errors import Conflict, EngineUnavailable, ModelUnavailable, ServerUnavailable, SettingError
from tacit.protocol.events import new_id
from tacit.protocol.home import Home

if TYPE_CHECKING:
    from rich.console import Console

    from tacit.server.models import ResolvedModel
    from tacit.server.settings import Settings

START_SECONDS = 900.0
"""For a server to load its model; fetching it is not part of this. vLLM takes three minutes on two busy cores."""
LOOK_SECONDS = 0.1
END_SECONDS = 30.0
"""For a server that was told to end: requests have 5 s, a learner 10."""

CHECK = Context(
    path="check.py",
    language="python",
    prefix="def area(width: float, height: float) -> float:\n    return ",
    suffix="\n\n\nprint(area(2, 3))\n",
)

EDITORS = """\
[bold]VS Code[/bold] {vscode}
[bold]Neovim[/bold] {neovim}
[bold]Emacs[/bold] (lsp-mode) {emacs}
[bold]Helix, Zed, JetBrains, any other[/bold] they run `{tacit} lsp` on stdio; settings for each: {settings}"""


EngineOption = Annotated[
    str | None, typer.Option("--engine", help="Instead of the setting `engine`: `embedded` or `vllm`.", metavar="NAME")
]

ListenOption = Annotated[
    str | None,
    typer.Option("--listen", help="Answer a team on this TCP address of this machine, by tokens.", metavar="HOST:PORT"),
]


def serve(
    detach: Annotated[bool, typer.Option("--detach", help="Start it in the background; return when it answers.")] = False,
    engine: EngineOption = None,
    listen: ListenOption = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", help="End when standard input does: with its parent.")] = False,
) -> None:
    """Only the server, in the foreground until Ctrl-C. The model is fetched behind it if it is missing."""
    from tacit.server.settings import Settings

    _choose(engine, listen)
    home = Home.from_environment()
    settings = Settings.load(home)
    if detach:
        asyncio.run(_serve_detached(home))
        return
    if until_eof:
        end_with_stdin()
    from tacit.server.serving import serve as run

    def answers() -> None:
        # Whoever started it may not read: that is no reason not to serve.
        with contextlib.suppress(OSError):
            typer.echo(f"Tacit serves {home.root} (pid {os.getpid()}) on {home.socket}; log: {home.logs / 'server.log'}")

    if sys.stderr.isatty():
        # The log says the same and goes on.
        asyncio.run(run(home, settings, console=logging.INFO))
    else:
        # The log file has the rest: what stderr goes to then is not rotated.
        asyncio.run(run(home, settings, console=logging.WARNING, listening=answers))


async def _serve_detached(home: Home) -> None:
    async with TacitClient(home.socket) as client:
        if (known := await _status(client)) is not None:
            raise Conflict(f"A Tacit server (pid {known.pid}) serves {home.root} on {home.socket} already.", mend="Use it.")
        async with _detached(home, client) as status:
            pass
    typer.echo(f"The server runs (pid {status.pid}) on {home.socket}; log: {home.logs / 'server.log'}; `tacit down` ends it.")


def up(
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running in the background.")] = False,
    engine: EngineOption = None,
    listen: ListenOption = None,
) -> None:
    """Start everything: fetch the model the first time, serve, check with one real completion, say how to connect an editor."""
    from rich.console import Console

    from tacit.server.schedule import nightly_trigger
    from tacit.server.settings import Settings

    _choose(engine, listen)
    home = Home.from_environment()
    settings = Settings.load(home)
    if settings.engine == "vllm" and not settings.vllm_url:
        from tacit.server.engine.environments import vllm_environment

        # Else the server would say it, and go on looking for it.
        vllm_environment(home, settings.vllm_python)
    # Before a model is fetched, and said by this process rather than by a server in the background.
    nightly_trigger(settings.nightly, home)
    console = Console(highlight=False, soft_wrap=True)
    if asyncio.run(_up_already(home, console)):
        return
    model = _fetched(settings, home, console)
    asyncio.run(_up_detached(home, console) if detach else _up_here(home, console, model))


def _choose(engine: str | None, listen: str | None) -> None:
    """For this process and the one that it may start in the background: the environment comes before config.toml."""
    if engine is not None:
        os.environ["TACIT_ENGINE"] = engine
    if listen is not None:
        os.environ["TACIT_LISTEN"] = listen


async def _up_already(home: Home, console: "Console") -> bool:
    """True: a server runs, was checked, and the rest was said."""
    async with TacitClient(home.socket) as client:
        status = await _status(client)
        if status is None:
            return False
        console.print(f"Tacit runs already (pid {status.pid}).", markup=False)
        await _ready(client)
        await _say_checked(home, client, console)
    return True


def _fetched(settings: "Settings", home: Home, console: "Console") -> "ResolvedModel":
    from tacit.cli.models import fetch_bar
    from tacit.server.models import resolve

    name = settings.model
    with fetch_bar("model" if name == "auto" else name) as (progress, notice):
        model = resolve(name, progress, notice, engine=settings.engine)
    console.print(f"Model: {model.model.name}. {model.reason}", markup=False)
    console.print(f'To use another one: model = "NAME" in {home.config} (names: `tacit models list`).', markup=False)
    return model


async def _up_detached(home: Home, console: "Console") -> None:
    async with TacitClient(home.socket) as client, _detached(home, client):
        await _ready(client)
        await _say_checked(home, client, console)
    console.print(f"It goes on in the background; `tacit down` ends it. Its log is {home.logs / 'server.log'}.", markup=False)


async def _up_here(home: Home, console: "Console", model: "ResolvedModel") -> None:
    """Serve in this process; check and talk beside it; until Ctrl-C. Told to end before the check was over: exit code 130."""
    from tacit.server.serving import serve as run
    from tacit.server.settings import Settings

    stop, listening = asyncio.Event(), asyncio.Event()
    server = asyncio.create_task(
        run(home, Settings.load(home), model=model, listening=listening.set, stop=stop, console=logging.WARNING)
    )
    check = asyncio.create_task(_check_beside(home, console, listening))
    try:
        await asyncio.wait({server, check}, return_when=asyncio.FIRST_COMPLETED)
        failure = check.exception() if check.done() else None
        # A server that ends no longer answers its check: what is told then is that it ends.
        interrupted = stop.is_set() and (failure is not None or not check.done())
        if failure is not None:
            stop.set()
        await server
        if failure is not None and not interrupted:
            raise failure
    finally:
        check.cancel()
        await asyncio.gather(check, return_exceptions=True)
        stop.set()
        await asyncio.gather(server, return_exceptions=True)
    console.print("Tacit has ended.")
    if interrupted:
        raise typer.Exit(INTERRUPTED)


async def _check_beside(home: Home, console: "Console", listening: asyncio.Event) -> None:
    await listening.wait()
    async with TacitClient(home.socket) as client:
        await _ready(client)
        await _say_checked(home, client, console)
    console.print("Ctrl-C ends it.")


async def _say_checked(home: Home, client: TacitClient, console: "Console") -> None:
    """One real completion, its latency, and how to connect an editor."""
    checked = await self_check(client)
    status = await client.status()
    shown = checked.answer.text.splitlines()[0] if checked.answer.text.strip() else "(nothing)"
    timings = checked.answer.timings
    console.print(
        f"Self-check: {status.model} completed `return ` with `{shown}` in {checked.ms:.0f} ms "
        f"({timings.prompt_tokens} prompt tokens, {timings.generated} generated).",
        markup=False,
    )
    console.print(f"Serving on {home.socket}\n", markup=False)
    console.print("Connect an editor:", markup=False)
    console.print(EDITORS.format_map(_plugins()))
    if status.next_run is not None:
        console.print(f"\nThe learner runs next at {_local(status.next_run)}; `tacit status` shows how it stands.", markup=False)


@dataclass(frozen=True, slots=True)
class Checked:
    answer: CompleteResponse
    ms: float


async def self_check(client: TacitClient) -> Checked:
    """A real fill-in-the-middle completion. EngineUnavailable if it draws nothing."""
    request = CompleteRequest(
        request_id=new_id(), session_id=new_id(), context=CHECK, trigger="invoked", deadline_ms=60_000, max_tokens=16, seed=1
    )
    began = time.perf_counter()
    answer = await client.complete(request)
    if not answer.generation.tokens:
        raise EngineUnavailable("The self-check failed: the model gave no answer.", mend="See `tacit doctor`.")
    return Checked(answer, (time.perf_counter() - began) * 1000)


def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """What is served, which policy each project has, when the learner runs next. Exit code 1: no server runs."""
    home = Home.from_environment()

    async def ask() -> ServerStatus | None:
        async with TacitClient.of(home) as client:
            return await _status(client)

    found = asyncio.run(ask())
    if found is None:
        if as_json:
            typer.echo("null")
        typer.echo(f"No Tacit server runs for {home.root}. Start it with `tacit up`.", err=True)
        typer.echo(_settings_words(home), err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        from rich.console import Console

        _say_status(found, Console(highlight=False, soft_wrap=True))


def _settings_words(home: Home) -> str:
    """How a server would start, or why it would not."""
    from tacit.server.settings import Settings

    try:
        settings = Settings.load(home)
        # Where the server is not installed there is none to start.
        with contextlib.suppress(ModuleNotFoundError):
            from tacit.server.schedule import nightly_trigger

            nightly_trigger(settings.nightly, home)
    except SettingError as error:
        return f"It would not start: {error}"
    return f"Its settings: model {settings.model}, engine {settings.engine}, learner {settings.nightly} ({home.config})."


def _say_status(status: ServerStatus, console: "Console") -> None:
    from rich.table import Table

    engine = "ready" if status.engine_ready else status.engine_message
    table = Table(box=None, show_header=False, pad_edge=False)
    pid = f", pid {status.pid}" if status.pid else ""
    table.add_row("server", f"{status.version}{pid}, since {_local(status.started_at)}")
    table.add_row(*(("home", status.home) if status.home else ("team", "its server, as far as it concerns you")))
    if status.listen:
        table.add_row("team", f"answered on http://{status.listen}; `tacit tokens list` says who")
    table.add_row("engine", f"{status.engine}: {engine}")
    if status.resting is not None:
        table.add_row("rests", _rest_words(status.resting))
    table.add_row("model", f"{status.model} ({status.model_sha256[:12]})" if status.model_sha256 else status.model)
    table.add_row("next run", _local(status.next_run) if status.next_run else "off (setting `nightly`)")
    if status.while_learning:
        table.add_row("while it runs", status.while_learning)
    if status.running is not None:
        table.add_row("running", _run_words(status.running))
    table.add_row("last run", _run_words(status.last_run) if status.last_run else "none yet")
    for tried in status.canaries:
        how = f"unseen, {len(tried.places)} of {tried.wanted_places} places" if tried.state == "shadow" else f"{tried.share:.0%}"
        table.add_row("tried", f"{tried.adapter} beside {tried.live} ({how}), project {tried.project}")
    table.add_row("stored", f"{status.events:,} events; {status.requests:,} completions asked for since the start")
    for name, words in _load_words(status):
        table.add_row(name, words)
    console.print(table)
    for notice in status.notices:
        console.print(f"! {notice}", markup=False)
    if status.projects:
        console.print()
        names = ("project", "completions by", "debugging by", "suggestions", "decided", "shares")
        projects = Table(*names, box=None, pad_edge=False)
        for project in status.projects:
            projects.add_row(
                project.project, project.policy_version, project.debug_policy_version, f"{project.suggestions:,}",
                f"{project.labelled:,}", "yes" if project.shares else "no",
            )  # fmt: skip
        console.print(projects)
        console.print(
            "decided: shown, and taken, rejected or rated. `tacit learn --dry-run` says from how many a night would learn."
        )


def _load_words(status: ServerStatus) -> list[tuple[str, str]]:
    """(row, sentence) of how it goes just now."""
    if (load := status.load) is None:
        return []
    said = [("queue", f"{load.waiting:,} waiting for a first token, {load.answering:,} being answered")]
    if load.first_token_p50_ms is not None and load.first_token_p95_ms is not None:
        speed = f"; {load.tokens_per_second:.0f} tokens a second" if load.tokens_per_second else ""
        of = "the last completion" if load.recent == 1 else f"the last {load.recent:,} completions"
        words = f"p50 {load.first_token_p50_ms:.0f} ms, p95 {load.first_token_p95_ms:.0f} ms{speed}, of {of}"
        said.append(("first token", words))
    if load.prefix_cache_hits is not None:
        late = f", as of {_local(load.prefix_cache_at)}: the engine does not say just now" if load.prefix_cache_at else ""
        said.append(("cache", f"{load.prefix_cache_hits:.0%} of the prompts' tokens were known from before{late}"))
    served = {(p.policy_version, p.debug_policy_version) for p in status.projects} | {(status.shared, status.shared_debug)}
    used = sorted({name for pair in served for name in pair} - {BASE_POLICY})
    words = f"{', '.join(used) or 'none'} in use; since the start {load.swaps_done:,} swaps"
    for count, how in ((load.swaps_refused, "refused"), (load.swaps_failed, "failed")):
        words += f", {count:,} {how}" if count else ""
    said.append(("adapters", words))
    said.append(("training", f"{load.training_share:.1%} of the last 24 hours"))
    return said


def _rest_words(rest: RestInfo) -> str:
    what = "vLLM sleeps" if rest.mode == "sleep" else "the engine has ended"
    who = "the processor answers meanwhile, more slowly" if rest.stand_in else "nothing is answered meanwhile"
    when = f"back at about {_local(rest.back_at)}" if rest.back_at else "back when it is done"
    return f"{what} while the learner trains, since {_local(rest.since)}; {who}; {when}"


def _run_words(run: RunInfo) -> str:
    where = f" {run.stage} {run.done}/{run.total}" if run.state == "running" and run.stage else ""
    when = _local(run.finished_at or run.started_at)
    return f"{run.state}{where}, project {run.project}, {when}{f': {run.message.splitlines()[0]}' if run.message else ''}"


async def _status(client: TacitClient) -> ServerStatus | None:
    try:
        return await client.status()
    except ServerUnavailable:
        return None


async def _ready(client: TacitClient) -> None:
    """Until completions are answered. ModelUnavailable, EngineUnavailable in the server's words if that will not be."""
    end = time.monotonic() + START_SECONDS
    while not await client.healthy():
        # A completion is refused with the very error that keeps the engine from being ready.
        try:
            await self_check(client)
            return
        except ModelUnavailable:
            raise
        except EngineUnavailable:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(LOOK_SECONDS)


@contextlib.asynccontextmanager
async def _detached(home: Home, client: TacitClient) -> AsyncIterator[ServerStatus]:
    """Start `tacit serve` as a process of its own; inside it answers. What fails inside, or Ctrl-C, ends it again."""
    path = home.logs / "serve.log"
    process = _spawn(home, path)
    try:
        end = time.monotonic() + START_SECONDS
        while (status := await _status(client)) is None:
            if process.poll() is not None:
                words = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise ServerUnavailable(
                    f"The server ended at its start: {words[-1] if words else 'it said nothing'}", mend=f"See {path}."
                )
            if time.monotonic() > end:
                raise ServerUnavailable(f"The server did not answer within {START_SECONDS:.0f} s.", mend=f"See {path}.")
            await asyncio.sleep(LOOK_SECONDS)
        yield status
    except BaseException:
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """When it returns, lock and socket are free for the next one."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _spawn(home: Home, output: Path) -> subprocess.Popen[bytes]:
    home.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tacit.cli", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "TACIT_HOME": str(home.root)},
        )


def _plugins() -> dict[str, str]:
    """How each editor is connected to this very Tacit: by the plugins beside it, where it runs from its checkout."""
    from rich.markup import escape

    beside = Path(sys.executable).with_name("tacit")
    folder = Path(__file__).parents[3] / "plugins"
    here = str(folder) if (folder / "README.md").is_file() else "plugins"
    words = {
        "tacit": str(beside) if beside.exists() else "tacit",
        "vscode": f"`make plugins`, then `code --install-extension {here}/vscode/dist/tacit.vsix`",
        "neovim": f'`vim.opt.runtimepath:append("{here}/neovim")`, then `require("tacit").setup()`',
        "emacs": f"`(add-to-list 'load-path \"{here}/emacs\")`, then `(require 'tacit)`",
        "settings": f"{here}/README.md" + ("" if folder.is_dir() else " of Tacit's repository"),
    }
    return {name: escape(said) for name, said in words.items()}


def _local(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M")
