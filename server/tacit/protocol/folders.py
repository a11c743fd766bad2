"""Where on this machine the recorded projects are, so that a person who reads a project's id knows which it is. Reads and writes
`projects.json` of the home; nothing is decided by it.

Of a clone in several places the folder stands that was opened last. Of two processes that write at once, one's entry is there
again when that folder is opened next.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from tacit.protocol.durable import write_whole
from tacit.protocol.home import Home
from tacit.protocol.project import project_of


def identified(home: Home, folder: Path, *, recorded: bool) -> str:
    """The project of a folder, as `project_of` says it. recorded: it is remembered where it is, if that can be written."""
    project = project_of(folder)
    if recorded:
        with suppress(OSError):
            known = _read(home)
            if known.get(project) != (path := os.fspath(folder)):
                write_whole(home.projects, json.dumps({**known, project: path}, indent=1) + "\n")
    return project


def folder_of(home: Home, project: str) -> str:
    """Where it was opened last; empty: nobody knows."""
    return _read(home).get(project, "")


def drop(home: Home, project: str = "") -> None:
    """Forget where it is; of all, if none is named. OSError."""
    known = _read(home)
    left = {name: path for name, path in known.items() if project and name != project}
    if left:
        write_whole(home.projects, json.dumps(left, indent=1) + "\n")
    else:
        home.projects.unlink(missing_ok=True)


def _read(home: Home) -> dict[str, str]:
    try:
        known = json.loads(home.projects.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: path for name, path in known.items() if isinstance(path, str)} if isinstance(known, dict) else {}
