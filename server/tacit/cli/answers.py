"""`tacit answers`: how answers about errors fared, language by language. Prints; the accounting is in tacit.learner."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tacit.learner.debug_kpis import Kpis, Parity, Share
    from tacit.protocol.events import SuggestionRecord

COLUMNS = ("language", "asked", "resolved", "withheld", "flagged as invented", "names caught", "liked")


def answers(
    project: Annotated[str, typer.Option(help="A project's id.", show_default="that of the current folder")] = "",
    days: Annotated[int, typer.Option(help="Only what came in so many days; 0: all.", min=0, max=36_500)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="With intervals, for scripts.")] = False,
) -> None:
    """Of fixes and explanations, for each language: how many made the error go away, how many used what does not exist."""
    from tacit.learner.debug_kpis import kpis, parity
    from tacit.protocol.project import project_of

    since = datetime.now(UTC) - timedelta(days=days) if days else None
    found = kpis(asyncio.run(_records(project or project_of(Path.cwd()), since)))
    balance = parity(found)
    typer.echo(json.dumps(plain(found, balance), ensure_ascii=False) if as_json else words(found, balance))


async def _records(project: str, since: datetime | None) -> "list[SuggestionRecord]":
    from tacit.protocol.client import TacitClient
    from tacit.protocol.home import Home

    def unreadable(what: str) -> None:
        typer.echo(f"A record cannot be read and is left out: {what}", err=True)

    async with TacitClient.of(Home.from_environment()) as client:
        return [one async for one in client.export(project, "debug", since, unreadable)]


def words(found: "Sequence[Kpis]", balance: "Parity | None") -> str:
    """To read."""
    if not found:
        return "No answer about an error is recorded of this project. What is recorded is up to `learning` in its `.tacit.toml`."
    rows = [COLUMNS, *(_row(one) for one in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    told = (
        f"Languages: {balance.worst} is at {balance.ratio:.2f} of {balance.best}."
        if balance is not None
        else "Languages cannot be compared yet: too few answers are known to have helped or not."
    )
    return "\n".join([*lines, "", told, "Resolved: of the shown answers of which it is known. In brackets: the 95 % interval."])


def plain(found: "Sequence[Kpis]", balance: "Parity | None") -> dict[str, Any]:
    """As JSON has it."""
    languages = []
    for one in found:
        shares = {name: _told(getattr(one, name)) for name in ("resolved", "withheld", "hallucinated", "caught", "liked")}
        languages.append({"language": one.language, "asked": one.asked, **shares})
    return {"languages": languages, "parity": None if balance is None else asdict(balance)}


def _row(one: "Kpis") -> tuple[str, ...]:
    shares = (one.resolved, one.withheld, one.hallucinated, one.caught, one.liked)
    return (one.language, str(one.asked), *map(_cell, shares))


def _cell(share: "Share") -> str:
    if share.value is None or share.interval is None:
        return "-"
    low, high = share.interval
    return f"{share.part} of {share.of}, {share.value:.0%} [{100 * low:.0f}, {100 * high:.0f}]"


def _told(share: "Share") -> dict[str, Any]:
    return {"part": share.part, "of": share.of, "value": share.value, "interval": share.interval}
