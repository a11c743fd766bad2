"""`tacit demo`: the whole loop in a terminal. Chooses the folder, fetches the model, prints; all the work is in the learner's
`simulate` package."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    package: Annotated[str, typer.Option(help="Installed package whose files are typed.")] = "peft.tuners",
    files: Annotated[int, typer.Option(min=1, max=50, help="Training files; half as many others are held out.")] = 8,
    seed: Annotated[int, typer.Option(help="Which files and places, and which developer.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.5, max=600, help="How long it may take; it plans for that.")] = 9.5,
    model: Annotated[str, typer.Option(help="Catalogue name of the model, `auto` (by hardware), or a GGUF file.")] = "auto",
    home: Annotated[
        Path | None, typer.Option(help="A folder for databases, logs and adapters; it is kept.", show_default="temporary")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result there as well.")] = None,
) -> None:
    """The loop without an editor: a scripted developer types, the learner runs, before and after side by side."""
    import asyncio
    import tempfile
    import warnings

    from rich.console import Console

    from tacit.cli.models import fetch_bar
    from tacit.server.models import resolve

    # Libraries' advice to programmers has no place in the picture.
    warnings.simplefilter("ignore", FutureWarning)
    console = Console(highlight=False)
    with fetch_bar(model) as (progress, notice):
        resolve(model, progress, notice)

    from tacit.learner.simulate.loop import DemoOptions, play
    from tacit.learner.simulate.view import View

    folder = home.expanduser() if home is not None else Path(tempfile.mkdtemp(prefix="tacit-demo-"))
    options = DemoOptions(package=package, files=files, seed=seed, minutes=minutes, model=model)
    with View(console) as view:
        result = asyncio.run(play(options, folder.resolve(), view))
    console.print()
    console.print(result.tables())
    if json is not None:
        _write(json, result.to_json())


def _write(path: Path, result: dict[str, object]) -> None:
    import json
    from datetime import UTC, datetime
    from importlib.metadata import version

    from tacit.bench.report import hardware

    head = {
        "demo": "loop",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("tacit"),
        "hardware": hardware(),
    }
    path.write_text(json.dumps({**head, **result}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
