"""Bringing an engine up again after it died: tried until it works, less and less often. Touches nothing itself."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tacit.protocol.errors import TacitError

FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
"""Seconds before the first try; doubled each time it dies while loading."""

log = logging.getLogger(__name__)


async def bring_back(name: str, attempt: Callable[[], Awaitable[None]], say: Callable[[str], None]) -> None:
    """Returns when an attempt did not fail. name: of the engine, for a person. say: gets why it is not there."""
    delay = FIRST_DELAY
    while True:
        await asyncio.sleep(delay)
        try:
            await attempt()
            return
        except TacitError as error:
            why = error.message
            log.warning("%s did not come up again: %s", name, error)
        except Exception as error:
            # A full disk, or something else behind a URL: that may pass as well.
            why = f"{name} does not come up ({type(error).__name__})."
            log.exception("%s did not come up again", name)
        say(f"{why} The next try is in {delay * 2:.0f} s.")
        delay = min(delay * 2, LONGEST_DELAY)
