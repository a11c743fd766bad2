"""`tacit models list|pull|add`, and the progress bar of a fetch. Prints; all the work is in tacit.server.models."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

models = typer.Typer(help="Which models there are; fetch one; register your own.", no_args_is_help=True)


@models.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Every model of the catalogue, what of it is here, and which one is used."""
    from tacit.protocol.home import models_dir
    from tacit.server.models.cache import state
    from tacit.server.models.catalogue import every

    used, reason = _used()
    entries = [
        {
            "name": model.name,
            "size": model.size,
            "licence": model.licence,
            "sha256": model.sha256,
            "sources": [source.title for source in model.sources],
            "state": state(model),
            "path": str(model.path),
            "own": model.own,
            "used": model.name == used,
        }
        for model in every()
    ]
    if as_json:
        typer.echo(json.dumps({"folder": str(models_dir()), "used": used, "reason": reason, "models": entries}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "MB", "licence", "here", "sha256", box=None, pad_edge=False)
    for model in every():
        mark = " (used)" if model.name == used else ""
        table.add_row(model.name + mark, f"{model.size / 1e6:,.0f}", model.licence, state(model), model.sha256[:12])
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"\nFolder: {models_dir()}\n{reason}", markup=False)


@models.command()
def pull(
    name: Annotated[
        str, typer.Argument(help="A name from `tacit models list`; without one: what the setting `model` says.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON at the end.")] = False,
) -> None:
    """Fetch a model and verify it; one that is here and intact is left alone, a damaged one is replaced."""
    from tacit.server.models.cache import pull as fetch
    from tacit.server.models.catalogue import find

    model = find(name or _used()[0])
    with fetch_bar(model.name) as (progress, notice):
        path = fetch(model, progress, notice)
    if as_json:
        typer.echo(json.dumps({"name": model.name, "path": str(path), "sha256": model.sha256}))
    else:
        typer.echo(f"{model.name} is here and verified: {path}")


@models.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    source: Annotated[str, typer.Argument(metavar="PATH_OR_URL", help="A GGUF file with Qwen's fill-in-the-middle tokens.")],
    sha256: Annotated[str | None, typer.Option(help="What its sha256 must be; required for a URL.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an entry of that name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON at the end.")] = False,
) -> None:
    """Register your own GGUF file: linked or copied into the models folder, its sha256 pinned from now on."""
    from tacit.server.models.cache import add as register

    with fetch_bar(name) as (progress, notice):
        model = register(name, source, sha256, progress, notice, replace=replace)
    if as_json:
        typer.echo(json.dumps({"name": model.name, "path": str(model.path), "sha256": model.sha256}))
    else:
        typer.echo(
            f'{model.name} is registered: {model.path}\nsha256 {model.sha256}\nTo use it: model = "{model.name}" in config.toml.'
        )


@contextmanager
def fetch_bar(title: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """A progress bar on stderr while something is fetched: (progress, notice) as tacit.server.models takes them.

    The bar appears with the first byte of progress; where stderr is no terminal, only the notices are printed.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, visible=False)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        def notice(sentence: str) -> None:
            console.print(sentence, markup=False)

        yield progress, notice


def _used() -> tuple[str, str]:
    """(model that this machine's settings choose, reason)."""
    from tacit.protocol.home import Home
    from tacit.server.models.choose import choose, read_hardware
    from tacit.server.settings import Settings

    settings = Settings.load(Home.from_environment())
    if settings.model != "auto":
        return settings.model, f"{settings.model} is used because the setting `model` says so."
    choice = choose(read_hardware(), settings.engine)
    return choice.model, choice.reason
