"""A folder of links to a workspace's files in which one is another, for tools that check a change; and running them.

What is ignored, or hidden as a secret, is not in it. Writes to a temporary folder only, starts processes; the tools read and
compile, none of the workspace's code is run.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

from tacit.protocol.errors import Refused
from tacit.protocol.ignoring import Ignoring, repository

SECONDS: Final = 60.0
"""For one run of a tool; the first in a large workspace may read a lot."""
MOST_LINKS: Final = 20_000
"""Files and folders of a workspace; more are not shadowed, those near the file are."""
MOST_OUTPUT: Final = 1_000_000
"""Bytes of each of a tool's two streams."""
MEMORY: Final = 4 << 30
"""Bytes that each process of a tool may write to."""
CPU_SECONDS: Final = 240
"""Of all threads of each process."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A tool that has ended."""

    code: int
    """0: it says that all went well. Negative: the signal that ended it."""
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Shadow:
    folder: Path
    """Stands for the workspace."""
    file: Path
    """The one that is another; in `folder`, written by `write`."""
    scratch: Path
    """For what a tool writes."""
    empty: Path
    """Nothing is in it: where a tool would look for code of its own."""
    root: Path | None
    """The workspace itself; None: the file stands alone."""

    async def write(self, text: str) -> None:
        await asyncio.to_thread(self.file.write_text, text, encoding="utf-8", errors="replace", newline="")

    async def run(self, command: Sequence[str], *, beside: bool = False) -> Ran | None:
        """A tool that runs until it ends; None: it had not ended after SECONDS. OSError: it cannot start.

        It runs in the workspace's folder; beside: in the one that the file is in.

        However it ends, nothing that it started is left.
        """
        # Nothing of the server's environment decides what is found, but where the system's programs are.
        process = await asyncio.create_subprocess_exec(
            *_limited(),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.file.parent if beside else self.folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.scratch), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            async with asyncio.timeout(SECONDS):
                output, errors = await asyncio.gather(_most(process.stdout), _most(process.stderr))
                code = await process.wait()
        except TimeoutError:
            return None
        finally:
            # A compiler's driver has children, which hold its pipes: until they are gone it has not ended. A group is there as
            # long as one of them is.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return Ran(code, output.decode(errors="replace"), errors.decode(errors="replace"))


def _limited() -> list[str]:
    """What a command begins with so that it is held to MEMORY and CPU_SECONDS; nothing where the system has no such program."""
    limits = shutil.which("prlimit")
    return [limits, f"--data={MEMORY}", f"--cpu={CPU_SECONDS}", "--core=0"] if limits is not None else []


async def _most(stream: asyncio.StreamReader) -> bytes:
    """The first MOST_OUTPUT bytes; what follows is read, so that it is not waited for, and dropped."""
    kept = bytearray()
    while piece := await stream.read(65_536):
        kept += piece[: MOST_OUTPUT - len(kept)]
    return bytes(kept)


@contextlib.asynccontextmanager
async def shadowed(path: str, workspace: str) -> AsyncIterator[Shadow]:
    """path: relative to the workspace, forward slashes; Refused if it leads out of it. workspace: absolute; empty or not there:
    the file stands alone. OSError: the workspace cannot be read.
    """
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts:
        raise Refused("The file is not in the workspace.")
    root = Path(workspace) if workspace else None
    if root is not None and not root.is_dir():
        root = None
    top = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="tacit-check-"))
    try:
        scratch, empty, folder = top / "scratch", top / "empty", top / "workspace"
        scratch.mkdir()
        empty.mkdir()
        yield Shadow(folder, await asyncio.to_thread(_link, root, parts, folder), scratch, empty, root)
    finally:
        # Thousands of links: the server's loop does not wait for it.
        await asyncio.to_thread(shutil.rmtree, top, ignore_errors=True)


def _link(root: Path | None, parts: Sequence[str], folder: Path) -> Path:
    """Links to the files of the workspace that may be seen, but the one at `parts`. Returns its path; it is not there yet."""
    folder.mkdir()
    if root is not None:
        # Resolved, so that where a link leads can be compared with it.
        root = root.resolve()
        ignoring = Ignoring(repository(root))
        for number, (found, source) in enumerate(_visible(root, tuple(parts), ignoring)):
            if number >= MOST_LINKS:
                break
            if source is None:
                folder.joinpath(*found).mkdir(exist_ok=True)
            # The system's case rules are not known: a second spelling of the file would be another file.
            elif [one.casefold() for one in found] != [one.casefold() for one in parts]:
                with contextlib.suppress(FileExistsError):
                    folder.joinpath(*found).symlink_to(source)
    file = folder.joinpath(*parts)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def visible_files(root: Path, way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """(path below root as parts, where its content is) of the files that may be seen, at most MOST_LINKS, those near `way` first.

    root: resolved. OSError: it cannot be read.
    """
    found = _visible(root, way, Ignoring(repository(root)))
    return ((parts, source) for parts, source in islice(found, MOST_LINKS) if source is not None)


def _visible(root: Path, way: tuple[str, ...], ignoring: Ignoring) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """(path below root as parts, where its content is; None: a folder), a folder before what is in it, those on the way first.

    A tool repeats what it reads: what is hidden from the model is hidden from it. A link counts where it leads to.
    """
    above = root.relative_to(ignoring.top).parts
    folders: deque[tuple[str, ...]] = deque([()])
    while folders:
        parts = folders.popleft()
        try:
            entries = list(os.scandir(root.joinpath(*parts)))
        except OSError:
            if not parts:
                raise
            continue
        for entry in entries:
            found = (*parts, entry.name)
            is_folder = entry.is_dir(follow_symlinks=False)
            if ignoring.entry_ignored((*above, *found), is_folder=is_folder):
                continue
            if is_folder:
                yield found, None
                if way[: len(found)] == found:
                    folders.appendleft(found)
                else:
                    folders.append(found)
            elif entry.is_file(follow_symlinks=False) or (entry.is_symlink() and _leads_to_visible(entry, root, ignoring)):
                yield found, entry.path


def _leads_to_visible(entry: os.DirEntry[str], root: Path, ignoring: Ignoring) -> bool:
    """The link leads to a file of the workspace. Folders are left out: what is in them is found where they are."""
    target = Path(os.path.realpath(entry.path))
    return target.is_file() and target.is_relative_to(root) and not ignoring.ignored(target)
