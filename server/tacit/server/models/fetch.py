"""One file from one address into one `.part` file, resuming. Touches the network and that file; checks no digest.

A `.part` file is always a prefix of the whole file, whichever source wrote it, so any source can go on where another stopped.
"""

import os
from collections.abc import Callable
from pathlib import Path

import httpx

from tacit.protocol.errors import ModelUnavailable

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all). An exception raised by it ends the fetch; what was fetched stays and is resumed."""

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
FAILURES = 3
"""How often in a row a connection may break without a byte gained."""


class SourceFailed(ModelUnavailable):
    """This source cannot deliver now; another one may."""


def length(part: Path) -> int:
    """Bytes that are there already."""
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def offered_size(url: str) -> int:
    """Bytes of the file behind `url`, as its server says. SourceFailed if it cannot be asked or does not say."""
    try:
        with _client() as client, client.stream("GET", url) as response:
            if response.status_code == 200 and (size := response.headers.get("content-length", "")).isdigit():
                return int(size)
            said = f"{response.status_code}" if response.status_code != 200 else "without a length"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _failed(url, str(error) or type(error).__name__) from error
    raise _failed(url, f"it answered {said}")


def download(url: str, part: Path, size: int, progress: Progress) -> None:
    """Fetch until `part` holds `size` bytes. SourceFailed if it cannot; OSError if the disk is full or not writable."""
    failures = 0
    reached = False
    with _client() as client:
        while (have := length(part)) != size:
            if have > size:
                part.unlink()
                continue
            try:
                reached = _append(client, url, part, size, progress) or reached
                why = "it ended too early"
            except httpx.InvalidURL as error:
                raise _failed(url, str(error)) from error
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
                if not reached and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    raise _failed(url, why) from error
            failures = 0 if length(part) > have else failures + 1
            if failures == FAILURES:
                raise _failed(url, why)


def _append(client: httpx.Client, url: str, part: Path, size: int, progress: Progress) -> bool:
    """One request: append what comes. True once the server has answered. Some servers ignore Range: then from the start."""
    have = length(part)
    with client.stream("GET", url, headers={"range": f"bytes={have}-"} if have else {}) as response:
        if response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {have}-"):
            start = have
        elif response.status_code == 200:
            start = 0
        elif have and response.status_code in (206, 416):
            part.unlink()
            return True
        else:
            raise _failed(url, f"it answered {response.status_code}")
        offered = response.headers.get("content-length", "")
        if offered.isdigit() and start + int(offered) != size:
            raise _failed(url, f"it offers {start + int(offered):,} bytes where {size:,} are expected")
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if start else "wb", buffering=0) as file:
            done = start
            progress(done, size)
            for chunk in response.iter_raw():
                write_all(file.fileno(), chunk)
                done += len(chunk)
                progress(min(done, size), size)
                if done > size:
                    raise _failed(url, f"it sends more than the expected {size:,} bytes")
    return True


def write_all(descriptor: int, data: bytes) -> None:
    """Unbuffered, so that each failure is seen where it happens and an interrupted fetch keeps every byte."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _client() -> httpx.Client:
    # identity: a length and an offset must mean bytes of the file itself.
    return httpx.Client(
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=True,
        headers={"accept-encoding": "identity"},
    )


def _failed(url: str, why: str) -> SourceFailed:
    return SourceFailed(f"{url} could not be fetched: {why}.")
