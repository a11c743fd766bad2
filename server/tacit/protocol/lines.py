"""Lines of a streamed answer, told apart by line feeds and nothing else. Touches the response only.

httpx's own splitter breaks at every separator that Unicode knows: a U+2028 or U+0085 inside a JSON string, as real source files
have them, would make two broken lines of one.
"""

from collections.abc import AsyncIterator

import httpx


async def lines(response: httpx.Response) -> AsyncIterator[str]:
    """Each line without what ends it; the last one need not be ended."""
    rest = bytearray()
    async for part in response.aiter_bytes():
        rest += part
        if b"\n" in part:
            *whole, last = rest.split(b"\n")
            rest = last
            for line in whole:
                yield line.decode(errors="replace").removesuffix("\r")
    if rest:
        yield rest.decode(errors="replace").removesuffix("\r")
