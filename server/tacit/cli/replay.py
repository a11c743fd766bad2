"""`tacit replay`: what stood in a file, or in all files of a project, at a moment of the past. Prints, or writes a folder."""

import asyncio
import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.protocol.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from tacit.protocol.events import TextAt

_AGO = re.compile(r"(\d+)\s*([smhd])(?: ago)?")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def replay(
    at: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="`2026-03-01 14:05:10` or `14:05` (local time), ISO 8601 with a zone, or `90s`, `10m`, `2h` ago."
        ),
    ],
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A file of the project.")] = None,
    workspace: Annotated[bool, typer.Option("--workspace", help="All files of which something is recorded.")] = False,
    into: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With --workspace: write the texts there, into a new folder.")
    ] = None,
    project: Annotated[str, typer.Option(help="A project's id.", show_default="that of the current folder")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Rebuild what stood in your editor at a moment, from the record: snapshots and changes. What is not recorded is said."""
    if (file is None) != workspace:
        raise BadRequest("Name a file, or say --workspace.")
    if into is not None and (not workspace or into.exists()):
        raise BadRequest(f"{into} exists already." if workspace else "--into goes with --workspace.", mend="Name a new folder.")
    moment = parsed_time(at, datetime.now().astimezone())
    from tacit.protocol.project import project_of

    name = project or project_of(Path.cwd())
    if file is not None:
        _print_one(asyncio.run(_texts(name, file, moment))[0], as_json=as_json)
        return
    found = asyncio.run(_texts(name, None, moment))
    if into is not None:
        _write(found, into)
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found], ensure_ascii=False, indent=2))
        return
    for one in found:
        size = "-" if one.text is None else f"{len(one.text)} characters"
        typer.echo(f"{one.path}  {one.state.replace('_', ' ')}  {size}  {one.note}")
    if not found:
        raise NotFound(f"Nothing of this project is recorded at or before {moment.isoformat(timespec='seconds')}.")


def parsed_time(words: str, now: datetime) -> datetime:
    """A moment in UTC. BadRequest. now: aware; a time without a zone is meant in its zone, one without a date on its day."""
    words = words.strip()
    if (ago := _AGO.fullmatch(words)) is not None:
        return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).astimezone(UTC)
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?", words):
            words = f"{now.date().isoformat()} {words.zfill(len(words) + (words.index(':') == 1))}"
        moment = datetime.fromisoformat(words)
    except ValueError as error:
        raise BadRequest(
            f"`{words}` is no time that can be understood.", mend='For example: --at "2026-03-01 14:05:10", --at 14:05, --at 10m'
        ) from error
    # Without a zone: that of this machine on that day, which summer time may have changed since.
    return moment.astimezone(UTC)


async def _texts(project: str, file: Path | None, at: datetime) -> "list[TextAt]":
    from tacit.protocol.client import TacitClient
    from tacit.protocol.home import Home

    async with TacitClient.of(Home.from_environment()) as client:
        paths = await client.replay_paths(project, at)
        if file is not None:
            paths = [_recorded(file, paths)]
        return [await client.replay(project, path, at) for path in paths]


def _recorded(file: Path, paths: list[str]) -> str:
    """The path as it is recorded, from the folder that was open in the editor: the longest that this file's ends with."""
    whole = Path(os.path.realpath(file)).as_posix()
    return max((path for path in paths if whole.endswith(f"/{path}")), key=len, default=file.as_posix())


def _print_one(found: "TextAt", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json"), ensure_ascii=False, indent=2))
        return
    if found.text is None:
        raise NotFound(f"{found.path} at that moment is a gap: {found.note}")
    print(found.note, file=sys.stderr)
    # As it was: the line ends too.
    sys.stdout.buffer.write(found.text.encode())
    sys.stdout.buffer.flush()


def _write(texts: "list[TextAt]", folder: Path) -> None:
    folder.mkdir(parents=True)
    root = folder.resolve()
    for one in texts:
        path = (root / one.path).resolve()
        if one.text is None or not path.is_relative_to(root) or path == root:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.text.encode())
