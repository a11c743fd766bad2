"""What has been written is on the disk: the one way in which every part makes sure. Touches nothing but the path it is given."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """A file's content, or a folder's entries, so that a name that was given or moved outlives a power cut. OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
