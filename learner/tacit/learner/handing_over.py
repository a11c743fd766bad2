"""Lets the server take a published adapter, and finds out what became of it when the connection is lost. Touches the client only.

The alias may have moved although no answer came: what is reported is what the server says afterwards, not what was last heard.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

from tacit.protocol.adapters import AdapterState
from tacit.protocol.client import TacitClient
from tacit.protocol.errors import AnswerUnreadable, ServerUnavailable, TacitError

ASK_SECONDS: Final = 300.0
"""For a server to come back, load its model and say what serves; or to end the swap that it is at."""
PAUSE_SECONDS: Final = 1.0


async def hand_over(
    client: TacitClient, name: str, *, canary: bool, patience: float = ASK_SECONDS, pause: float = PAUSE_SECONDS
) -> str:
    """Promote `name`, or try it out as a canary. Returns what a report should say besides; mostly nothing.

    Refused and the server's other answers as they are: then it does not serve. ServerUnavailable: the connection was lost, and
    afterwards the server said that it does not serve, or nothing for `patience` seconds; the message says which.
    """
    before = (await client.status()).pid
    try:
        await (client.try_out if canary else client.publish)(name)
        return ""
    except (ServerUnavailable, AnswerUnreadable) as error:
        lost = error.message
    end, state, final = time.monotonic() + patience, None, False
    while not final and time.monotonic() < end:
        with suppress(TacitError):
            state, final = await _now(client, name, before)
        if not final:
            await asyncio.sleep(pause)
    if state in ("live", "canary", "shadow", "retired"):
        words = "has served and was replaced" if state == "retired" else "is tried out unseen" if state == "shadow" else "serves"
        return f"The connection to the server was lost meanwhile ({lost}); asked again, it says that {name} {words}."
    if state is None:
        raise ServerUnavailable(
            f"The connection to the server was lost while it took {name} ({lost}), so whether it serves is not known.",
            mend="Start the server: `tacit adapters list` says it.",
        )
    raise ServerUnavailable(
        f"The connection to the server was lost while it took {name} ({lost}); asked again, it says that {name} does not serve.",
        mend=f"What served goes on serving; `tacit adapters promote {name}` tries again.",
    )


async def _now(client: TacitClient, name: str, before: int) -> tuple[AdapterState | None, bool]:
    """(state of the adapter, whether it stays so). The server that was asked may still be at it; another one is not."""
    status = await client.status()
    state: AdapterState = next((info.state for info in await client.adapters() if info.name == name), "published")
    # What serves is known when the engine is there: before, a new server serves nothing.
    return state, state != "published" or (status.pid != before and status.engine_ready)
