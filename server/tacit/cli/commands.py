"""Which commands there are and where each one lives. Imports a command's module only when it is asked for, or for `--help`."""

import importlib
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer

from tacit.cli import DOCUMENTED_EXITS
from tacit.cli.environment import unknown

COMMANDS: dict[str, str] = {
    "up": "tacit.cli.serving:up",
    "serve": "tacit.cli.serving:serve",
    "down": "tacit.cli.ending:down",
    "status": "tacit.cli.serving:status",
    "tokens": "tacit.cli.team:tokens",
    "connect": "tacit.cli.team:connect",
    "lsp": "tacit.cli.commands:lsp",
    "doctor": "tacit.cli.doctor:doctor",
    "models": "tacit.cli.models:models",
    "engines": "tacit.cli.engines:engines",
    "learn": "tacit.cli.learning:learn",
    "adapters": "tacit.cli.learning:adapters",
    "why": "tacit.cli.why:why",
    "answers": "tacit.cli.answers:answers",
    "replay": "tacit.cli.replay:replay",
    "forget": "tacit.cli.forget:forget",
    "explain-prompt": "tacit.cli.explain_prompt:explain_prompt",
    "explain": "tacit.cli.debugging:explain",
    "chat": "tacit.cli.debugging:chat",
    "demo": "tacit.cli.demo:demo",
    "simulate": "tacit.cli.simulate:simulate",
    "bench": "tacit.cli.bench:bench",
}
"""Name → module:attribute. The attribute is a function (a command) or a typer app (a group), in the order of `--help`."""


def lsp() -> None:
    """The language server, on stdin and stdout; an editor starts it."""
    # `tacit lsp` itself never comes here: main() starts it before typer is imported. This entry is for `tacit --help`.
    from tacit.lsp.main import main

    raise typer.Exit(main([]))


def load(name: str) -> Callable[..., Any] | typer.Typer:
    """The function or group behind a command's name."""
    module, _, attribute = COMMANDS[name].partition(":")
    target: Callable[..., Any] | typer.Typer = getattr(importlib.import_module(module), attribute)
    return target


def build(arguments: Sequence[str]) -> typer.Typer:
    """The app for this command line: one command if its name comes first, else all of them (for help and for typing errors)."""
    app = typer.Typer(
        help="A coding assistant in your editor that learns every night from what you did with its suggestions.",
        epilog=DOCUMENTED_EXITS,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in _needed(arguments[0] if arguments else ""):
        target = load(name)
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=name)
        else:
            app.command(name)(target)
    return app


def _needed(first: str) -> Sequence[str]:
    if first == "--version":
        return ()
    return (first,) if first in COMMANDS else tuple(COMMANDS)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tacit {version('tacit')}")
        raise typer.Exit


def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of `tacit` itself."""
    for sentence in unknown(os.environ):
        typer.echo(f"warning: {sentence}", err=True)
