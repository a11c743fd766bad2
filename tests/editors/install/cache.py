"""The folder that real editors are installed into for tests: outside the checkout, made once, whole or not there at all.

TACIT_EDITORS names it; else it is the user's cache. What was fetched stays when an installation is cut short, so that the next
one goes on from there.
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

FOLDER: Final = Path(os.environ.get("TACIT_EDITORS") or Path.home() / ".cache" / "tacit-tests" / "editors").resolve()
"""Read when it is imported: a test's own environment has no TACIT_* settings."""


class Missing(Exception):
    """An editor cannot be installed here. The message says why, and what would help."""


def installed(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name`, filled by `make` if it is not there. name: changes when what is made changes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    whole = FOLDER / name
    with (FOLDER / f"{name}.lock").open("w") as lock:
        # Two test runs at once: the second finds what the first has made.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            part = FOLDER / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(whole)
    return whole
