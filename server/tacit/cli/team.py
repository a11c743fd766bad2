"""`tacit tokens`, the operator's; `tacit connect`, of each developer of a team. Talk to a server; `connect` writes one file."""

import asyncio
import contextlib
import json
import sys
from typing import Annotated

import typer

from tacit.lsp.outbox import events_in
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import SettingError
from tacit.protocol.home import Home
from tacit.protocol.remote import checked, forget, keep, outbox_of, remote_of
from tacit.protocol.team import TokenRequest, UserInfo

tokens = typer.Typer(help="Who of a team may use this server. On the server's machine only.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Of one person, for ever: small letters, digits, dashes.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@tokens.command()
def add(
    name: Name,
    shared: Annotated[
        bool, typer.Option("--shared", help="Learn with the others of a project who share, and be served what they learn.")
    ] = False,
    as_json: Json = False,
) -> None:
    """A token for a developer, shown this once. Their adapters are their own, or shared with their projects' others."""
    from pydantic import ValidationError

    try:
        request = TokenRequest(name=name, adapters="shared" if shared else "own")
    except ValidationError as error:
        raise SettingError(f"`{name[:80]}` is no name.", mend="Use up to 22 small letters, digits and dashes.") from error

    async def ask() -> str:
        async with TacitClient(Home.from_environment().socket) as client:
            return (await client.add_user(request)).token

    token = asyncio.run(ask())
    if as_json:
        typer.echo(json.dumps({"name": name, "adapters": request.adapters, "token": token}))
        return
    typer.echo(token)
    typer.echo(f"That is the token of `{name}`; it is not shown again. There: `tacit connect https://HOST`.", err=True)


@tokens.command("list")
def listed(as_json: Json = False) -> None:
    """Names, whose adapters they have, since when, until when. No tokens: the server does not know them."""

    async def ask() -> list[UserInfo]:
        async with TacitClient(Home.from_environment().socket) as client:
            return await client.users()

    users = asyncio.run(ask())
    if as_json:
        typer.echo(json.dumps([user.model_dump(mode="json") for user in users], indent=2))
        return
    if not users:
        typer.echo("Nobody has a token. `tacit tokens add NAME` makes one.")
    for user in users:
        ended = f", revoked {user.revoked_at:%Y-%m-%d %H:%M} UTC" if user.revoked_at else ""
        typer.echo(f"{user.name}: {user.adapters} adapters, since {user.created_at:%Y-%m-%d %H:%M} UTC{ended}")


@tokens.command()
def revoke(name: Name) -> None:
    """End a developer's token, at once. What they recorded stays."""

    async def ask() -> None:
        async with TacitClient(Home.from_environment().socket) as client:
            await client.revoke_user(name)

    asyncio.run(ask())
    typer.echo(f"The token of `{name}` opens nothing any more.")


def connect(
    url: Annotated[str | None, typer.Argument(help="Of the team's server: https://HOST or https://HOST:PORT.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Use this machine's own server again.")] = False,
) -> None:
    """Use a team's server: editors and commands then ask it. The token is asked for, or read from standard input."""
    home = Home.from_environment()
    if off:
        before = None
        with contextlib.suppress(SettingError):
            before = remote_of(home)
        gone = forget(home)
        typer.echo("This machine's own server is used again." if gone else "No team's server was used.")
        if gone and before is not None:
            typer.echo(f"Editors that are open go on asking {before.url} until they are started again.")
        if before is not None and (left := events_in(outbox_of(home, before))):
            waits = "1 event" if left == 1 else f"{left:,} events"
            typer.echo(f"{waits} recorded for {before.url} wait{'s' * (left == 1)} here until it is used again.")
        return
    if url is None:
        found = remote_of(home)
        typer.echo(f"The team's server is {found.url}." if found else "This machine's own server is used.")
        return
    token = typer.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    remote = checked(url, token)

    async def ask() -> str:
        async with TacitClient(home.socket, remote=remote) as client:
            return (await client.status()).version

    version = asyncio.run(ask())
    keep(home, remote)
    typer.echo(f"{remote.url} (Tacit {version}) answers; editors that are open see it when they are started again.")
    if left := events_in(outbox_of(home, None)):
        what = "1 event recorded before stays" if left == 1 else f"{left:,} events recorded before stay"
        typer.echo(f"{what} on this machine: only its own server is sent them, after `tacit connect --off`.")
