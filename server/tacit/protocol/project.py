"""Which project a folder is: the same for every clone and every folder of a repository. Runs git, touches nothing."""

import os
import subprocess
from hashlib import sha256
from pathlib import Path

GIT_TIMEOUT_S = 10.0


def project_of(root: Path) -> str:
    """The hash of the repository's root commit; `dir-` and 16 hex digits of the path's sha256 for a folder without commits.

    A history with several roots counts by its oldest one. Blocks while git runs: 5 ms, more in a long history.
    """
    # GIT_DIR and its like, set by a hook or a shell, would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-list", "--max-parents=0", "HEAD"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return _by_path(root)
    commits = answer.stdout.split()
    return commits[-1] if answer.returncode == 0 and commits else _by_path(root)


def _by_path(root: Path) -> str:
    return "dir-" + sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
