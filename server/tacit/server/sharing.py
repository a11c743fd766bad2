"""Which projects share nothing: the shared adapters neither learn from them nor serve them. Reads and writes what is kept about
that, reads manifests, and has adapters withdrawn.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from sqlmodel import Session, col, select

from tacit.protocol.adapters import AdapterInfo, Manifest
from tacit.protocol.errors import Refused, TacitError
from tacit.server import verifying
from tacit.server.store.store import set_value
from tacit.server.store.tables import MetaRow

if TYPE_CHECKING:
    from tacit.server.adapters import Adapters

PREFIX = "apart/"


def apart(session: Session) -> frozenset[str]:
    rows = session.exec(select(MetaRow).where(col(MetaRow.key).startswith(PREFIX, autoescape=True))).all()
    return frozenset(row.key.removeprefix(PREFIX) for row in rows if row.value == "yes")


def set_apart(session: Session, project: str, is_apart: bool) -> None:
    set_value(session, f"{PREFIX}{project}", "yes" if is_apart else "no")


def learned_from(adapters: Path, name: str, project: str) -> bool:
    """Did this version learn from that project, itself or by its ancestors? One that does not say counts as if it had."""
    try:
        manifest = verifying.read_manifest(verifying.folder_of(adapters, name))
    except TacitError:
        return True
    return project in (manifest.projects or (manifest.project,))


def check(manifest: Manifest, apart: frozenset[str]) -> None:
    """Refused: it is to serve others, and has learned from a project that shares nothing (any more)."""
    if own := sorted({*manifest.projects} & apart - {manifest.project}):
        raise Refused(
            f"`{manifest.name}` has learned from {', '.join(own)[:200]}, which shares nothing.",
            mend="Learn anew: what is learned from now on leaves it out.",
        )


async def share(adapters: "Adapters", folder: Path, project: str, shares: bool) -> list[str]:
    """Whether the shared adapters learn from a project and serve it. If not, what serves or is tried for others and has learned
    from it, or what came of that, is withdrawn at once: returns those names. Its own adapters stay.

    folder: of all adapters. What is withdrawn stays on the disk like any other version that was rolled back.
    """
    await adapters.set_apart(project, not shares)
    gone: list[str] = []
    while not shares and (found := await _tainted(adapters, folder, project)) is not None:
        await adapters.rollback(found.project, found.task)
        gone.append(found.name)
    return gone


async def _tainted(adapters: "Adapters", folder: Path, project: str) -> AdapterInfo | None:
    """One for others that has learned from the project. What is tried comes first: a rollback withdraws that."""
    used = [info for info in await adapters.infos() if info.state in ("live", "canary", "shadow") and info.project != project]
    for info in sorted(used, key=lambda info: info.state == "live"):
        if await asyncio.to_thread(learned_from, folder, info.name, project):
            return info
    return None
