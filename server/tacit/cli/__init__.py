"""The `tacit` command: dispatch, errors and exit codes. Imports almost nothing: `tacit lsp` must start at once.

`tacit lsp` goes straight to the language server; everything else becomes a typer app (commands.py) of which only the
command that was asked for is imported. A TacitError becomes one line on stderr and an exit code by its class.
"""

import os
import signal
import sys

DOCUMENTED_EXITS = """\
Exit codes: 0 done; 1 failed, or a check found something wrong; 2 wrong usage or a bad setting; 3 not found; 4 it exists already
or another one is running; 5 refused; 6 storage full, damaged or away; 7 no model or no engine; 8 no server, or none that is
understood; 130 interrupted."""

INTERRUPTED = 130
HAVE_SERVERS = ("bench", "simulate", "demo")
"""Commands that start servers of their own for as long as they run."""


def main() -> None:
    """The console script. Always ends by SystemExit."""
    if sys.argv[1:2] and sys.argv[1] in HAVE_SERVERS:
        # Started in the background of a shell, they are told by this signal alone: their servers are to end with them.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if sys.argv[1:2] == ["lsp"]:
            from tacit.lsp.main import main as language_server

            sys.exit(language_server(sys.argv[2:]))
        # Typer, rich and the commands: a Ctrl-C while they are imported is as quiet as a later one.
        from tacit.cli.commands import build

        build(sys.argv[1:])(prog_name="tacit")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        sys.exit(report(error))


def report(error: Exception) -> int:
    """Say on stderr what happened and what to do; returns the exit code. What is not a TacitError is a bug and is raised on.

    So is a missing package, unless it belongs to an extra that was not installed.
    """
    from tacit.protocol import errors

    if isinstance(error, ModuleNotFoundError) and (extras := extras_with(error.name or "")):
        which = " or ".join(f"pip install 'tacit[{extra}]'" for extra in extras)
        print(
            f"error: This command needs the package `{error.name}`, which is not installed. Install it: {which}.", file=sys.stderr
        )
        return 1
    if not isinstance(error, errors.TacitError) or os.environ.get("TACIT_DEBUG") == "1":
        raise error
    print(f"error: {error}", file=sys.stderr)
    return exit_code(error)


def extras_with(module: str) -> list[str]:
    """The extras of this distribution that bring a module; empty if none does."""
    import re
    from importlib.metadata import PackageNotFoundError, requires

    top = module.partition(".")[0]
    package = {"sklearn": "scikit-learn"}.get(top, top.replace("_", "-").lower())
    try:
        needed = requires("tacit") or []
    except PackageNotFoundError:
        return []
    found = [re.fullmatch(r"([A-Za-z0-9-]+).*extra == ['\"]([a-z-]+)['\"]", line) for line in needed]
    return sorted({match[2] for match in found if match and match[1].lower() == package} - {"dev"})


def exit_code(error: Exception) -> int:
    from tacit.protocol import errors

    codes: dict[type[Exception], int] = {
        errors.BadRequest: 2,
        errors.SettingError: 2,
        errors.Unauthorized: 5,
        errors.Forbidden: 5,
        errors.TooMany: 5,
        errors.NotFound: 3,
        errors.Conflict: 4,
        errors.Refused: 5,
        errors.StorageFull: 6,
        errors.StorageUnavailable: 6,
        errors.StorageCorrupt: 6,
        errors.ModelUnavailable: 7,
        errors.EngineUnavailable: 7,
        errors.ServerUnavailable: 8,
        errors.AnswerUnreadable: 8,
    }
    return next((codes[kind] for kind in type(error).__mro__ if kind in codes), 1)
