"""Which project a folder is: the same for every clone and every folder of a repository. Runs git, touches nothing."""

import os
from hashlib import sha256
from pathlib import Path

from tacit.protocol import git

GIT_TIMEOUT_S = 10.0


def project_of(root: Path) -> str:
    """The hash of the repository's root commit; `dir-` and 16 hex digits of the path's sha256 for a folder without commits.

    A history with several roots counts by its oldest one. Blocks while git runs: 5 ms, more in a long history.
    """
    answer = git.read(root, "rev-list", "--max-parents=0", "HEAD", seconds=GIT_TIMEOUT_S)
    commits = answer.decode("ascii", "replace").split() if answer is not None else []
    return commits[-1] if commits else _by_path(root)


def _by_path(root: Path) -> str:
    return "dir-" + sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
