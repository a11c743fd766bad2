"""Reads a repository that nobody vouches for. Runs git; nothing that the repository's own configuration names is started, nothing
is fetched, nothing is written.

Only for commands that look at objects and the index: what compares the files of the work tree (`diff`, `status`, `blame` without
a commit) runs the repository's filters, and nothing turns those off.
"""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 16 << 20
"""Of one answer: one that is longer is none."""

_QUIET: Final = (
    "--no-pager",
    "--literal-pathspecs",
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "log.showSignature=false"),
    *("-c", "diff.renames=false"),
    *("-c", "color.ui=false"),
)  # fmt: skip
"""A signature is checked by a program that the configuration names."""
PLAIN: Final = ("--no-ext-diff", "--no-textconv", "--no-color")
"""For every command that makes a patch: else attributes and configuration name programs that make it."""


def read(root: Path, *command: str, seconds: float, most: int = MOST_BYTES) -> bytes | None:
    """What git says in this folder; None: it failed, said more than `most` bytes, had not ended in time, or there is no git."""
    # GIT_DIR and its like, set by a hook or a shell, would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        # A partial clone fetches what it lacks, by programs of its own choice.
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "LC_ALL": "C",
    }
    try:
        process = subprocess.Popen(
            ["git", *_QUIET, "-C", str(root), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError):
        return None
    assert process.stdout is not None
    late = threading.Timer(seconds, _stop, (process.pid,))
    late.daemon = True
    late.start()
    try:
        said = process.stdout.read(most + 1)
        if len(said) > most:
            return None
        return said if process.wait() == 0 else None
    finally:
        late.cancel()
        if process.poll() is None:
            _stop(process.pid)
        process.stdout.close()
        process.wait()


def _stop(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
