"""What has been written is on the disk: the one way in which every part makes sure. Touches nothing but the path it is given."""

import os
import tempfile
from pathlib import Path


def sync(path: Path) -> None:
    """A file's content, or a folder's entries, so that a name that was given or moved outlives a power cut. OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """The whole file or none of it, synced: whoever reads meanwhile, or after a power cut, sees the old one or this. OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        sync(Path(name))
        Path(name).replace(path)
        sync(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
