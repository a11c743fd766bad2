"""`tacit forget`: erase what is recorded of a project, of a time or altogether, and what was learned from it. Asks first.

Talks to this machine's own server; forgets where a project is that goes whole; empties what no server took from the outboxes, a
team's included. Events that wait there are delivered first, or turned away by the server when they come: how many do is said.
"""

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.cli.replay import parsed_time
from tacit.protocol.errors import BadRequest
from tacit.protocol.plain_text import visible

if TYPE_CHECKING:
    from tacit.protocol.forgetting import ForgetRequest, Forgotten

TIME = "As of `tacit replay --at`."


def forget(
    project: Annotated[str, typer.Option(help="A project's id.", show_default="the current folder's; with --user all")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Of all projects.")] = False,
    since: Annotated[str, typer.Option(metavar="TIME", help=f"Only from then on. {TIME}")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help=f"Only up to then. {TIME}")] = "",
    user: Annotated[str, typer.Option(help="Only what this user of the team has recorded.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; needs --yes.")] = False,
) -> None:
    """Erase what is recorded of a project (or of all) in a time, and what was made of it: backups, reports, adapters.

    It cannot be undone. Files of your projects are not touched.
    """
    from tacit.lsp.outbox import events_in
    from tacit.protocol.folders import drop, folder_of
    from tacit.protocol.forgetting import ForgetRequest
    from tacit.protocol.home import Home
    from tacit.protocol.project import project_of

    if everything and project:
        raise BadRequest("Name a project, or say --all.")
    if as_json and not yes:
        raise BadRequest("--json does not ask.", mend="Say --yes as well.")
    now = datetime.now().astimezone()
    asked = ForgetRequest(
        # A user's are named after the folders of another machine.
        project=project or ("" if everything or user else project_of(Path.cwd())),
        user=user or None,
        since=parsed_time(since, now) if since else None,
        until=parsed_time(until, now) if until else None,
    )
    home = Home.from_environment()
    whose = _whose(asked.project, Path.cwd() if not project else folder_of(home, asked.project))
    if not yes and not _sure(f"Erase {_what(asked, whose)}? It cannot be undone."):
        typer.echo("Nothing was erased. (`--yes` erases without the question, for scripts.)", err=True)
        raise typer.Exit(1)
    found = asyncio.run(_forget(home.socket, asked))
    if asked.user is None and asked.since is None and asked.until is None:
        drop(home, asked.project)
    teams = [folder for folder in home.outbox.glob("team-*") if folder.is_dir()]
    refused = _empty_refused(home.outbox)
    # Of living sessions' own server they are on their way.
    waiting = sum(events_in(folder) for folder in (home.outbox, *teams))
    if as_json:
        typer.echo(found.model_dump_json())
        return
    _tell(found, whose, refused)
    if waiting:
        typer.echo(
            f"{waiting:,} events still wait in {home.outbox} for their server: this machine's own will turn away what is "
            "forgotten, a team's knows nothing of it.",
            err=True,
        )
    if home.remote.exists():
        typer.echo("What a team's server has is erased there: its operator says `tacit forget --user NAME`.", err=True)


def _sure(question: str) -> bool:
    """No answer, where nobody sits at a terminal, is a no."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        typer.echo()
        return False


def _whose(project: str, folder: Path | str) -> str:
    """In words. folder: of the project on this machine; empty: nobody knows."""
    if not project:
        return "all projects"
    return f"project {project}{f' (in {visible(str(folder))})' if folder else ''}"


def _what(asked: "ForgetRequest", whose: str) -> str:
    """In words, for the question."""
    words = f"everything recorded of {whose}"
    if asked.user is not None:
        words += f" by {asked.user}"
    for word, at in (("from", asked.since), ("up to", asked.until)):
        if at is not None:
            words += f" {word} {at.astimezone():%Y-%m-%d %H:%M:%S}"
    return f"{words}, and what was learned from it since"


async def _forget(socket: Path, asked: "ForgetRequest") -> "Forgotten":
    from tacit.protocol.client import TacitClient

    async with TacitClient(socket) as client:
        return await client.forget(asked)


def _empty_refused(outbox: Path) -> int:
    """Remove what no server would take, of whatever time it is: nobody else looks after it. Returns how many files."""
    found = list(outbox.rglob("*.refused"))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _tell(found: "Forgotten", whose: str, refused: int) -> None:
    typer.echo(
        f"Erased of {whose}: {found.suggestions} suggestions, {found.texts} pieces of the record of texts, "
        f"{found.events} events in all."
    )
    for name in found.removed:
        served = "served or was tried, and " if name in found.withdrawn else ""
        typer.echo(f"{name} {served}was removed: it had learned from it.")
    if found.removed:
        typer.echo("What served before, or the base, serves now; the next nights learn from what is left.")
    if found.quarantined:
        typer.echo(f"{found.quarantined} damaged databases that had been set aside were removed: nobody can look into them.")
    if refused:
        typer.echo(f"{refused} files of events that no server took were removed.")
    if not found.backups:
        print("PostgreSQL's own backups and logs may hold it still: they are yours.", file=sys.stderr)
