"""What adapters there are, and what each is for anybody now. Reads the store and the adapters' folders; changes nothing."""

import asyncio
from pathlib import Path

from sqlmodel import col, select

from tacit.protocol.adapters import AdapterDetail, AdapterInfo
from tacit.server import canary, history, verifying
from tacit.server.routing import Routes
from tacit.server.store.store import Store
from tacit.server.store.tables import AdapterRow, AliasChangeRow


async def infos(store: Store, routes: Routes) -> list[AdapterInfo]:
    """Those on disk, newest first."""
    rows, served = await store.read(
        lambda session: (
            session.exec(
                select(AdapterRow)
                .where(col(AdapterRow.deleted_ms).is_(None))
                .order_by(col(AdapterRow.created_ms).desc(), col(AdapterRow.name).desc())
            ).all(),
            {*session.exec(select(AliasChangeRow.adapter)), *(found.adapter for found in canary.all_kept(session))},
        )
    )
    return [history.info_of(row, routes.state(row.name, served=row.name in served)) for row in rows]


async def detail(store: Store, routes: Routes, adapters: Path, name: str) -> AdapterDetail:
    """adapters: the folder of all. NotFound, Refused (its files cannot be read)."""
    folder = verifying.folder_of(adapters, name)
    manifest = await asyncio.to_thread(verifying.read_manifest, folder)
    report = await asyncio.to_thread(verifying.read_report, folder)
    samples = await asyncio.to_thread(verifying.count_lines, folder / "lineage.jsonl")
    known = next((info for info in await infos(store, routes) if info.name == name), None)
    info = known or history.info_of(history.row_of(manifest, report, ""), "published")
    tried = next((found for found in await store.read(canary.all_kept) if found.adapter == name), None)
    return AdapterDetail(info=info, manifest=manifest, report=report, samples=samples, tried=tried)
