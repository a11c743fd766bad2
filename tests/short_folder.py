"""Temporary folders for sockets. Touches the temporary folder."""

import os
import tempfile
from pathlib import Path


def short_folder() -> Path:
    """A new folder whose path leaves room for a socket's name: macOS's own temporary folder does not."""
    return Path(tempfile.mkdtemp(prefix="tacit-", dir="/tmp" if os.access("/tmp", os.W_OK) else None)).resolve()
