"""What the product has logged, read back through its own export. Touches the server's HTTP interface only."""

import asyncio
from collections.abc import Collection

from tacit.protocol.client import TacitClient
from tacit.protocol.events import Horizon, Settled, SuggestionRecord


async def logged(
    client: TacitClient, suggestion_ids: Collection[str], *, horizon: Horizon | None = None, seconds: float = 30.0
) -> dict[str, SuggestionRecord]:
    """The records of these suggestions by id, once all of them are stored (and settled at `horizon`), or what there is
    after `seconds`: events travel by the outbox and arrive a moment after they happen."""
    found: dict[str, SuggestionRecord] = {}
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = {id_: record for id_, record in (await exported(client)).items() if id_ in suggestion_ids}
                if len(found) == len(set(suggestion_ids)) and all(_reached(record, horizon) for record in found.values()):
                    break
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    return found


async def exported(client: TacitClient) -> dict[str, SuggestionRecord]:
    """Every suggestion of every project of this server, oldest first."""
    return {
        record.suggestion.suggestion_id: record
        for project in await client.projects()
        async for record in client.export(project.project)
    }


def _reached(record: SuggestionRecord, horizon: Horizon | None) -> bool:
    return horizon is None or any(isinstance(event, Settled) and event.horizon == horizon for event in record.events)
