"""Changes of real projects, in order: from the public data sets or from a git repository. Reads those; runs `git`, no program
of the repository."""

import gzip
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tacit.learner.simulate.edits import LONGEST_FILE, Change, language_of
from tacit.protocol.errors import BadRequest

HUNKS: Final = "commit_fix_hunks.jsonl.gz"
HISTORIES: Final = "realistic_edit_histories.jsonl.gz"
COMMITS: Final = 1500
"""Of a repository, the newest ones."""
FILES: Final = 4000
"""Of those commits together, the newest ones."""
GIT_SECONDS: Final = 120.0


def data_projects(folder: Path) -> dict[str, list[Change]]:
    """Changes by project, oldest first, of both data sets. BadRequest: neither is there."""
    found: dict[str, list[Change]] = defaultdict(list)
    for name, changes in ((HUNKS, _hunks), (HISTORIES, _histories)):
        if (folder / name).is_file():
            for change in changes(folder / name):
                found[change.project].append(change)
    if not found:
        raise BadRequest(
            f"Neither {HUNKS} nor {HISTORIES} is in {folder}.",
            mend="Name their folder with TACIT_DATA, or a git repository with --repository.",
        )
    return {project: sorted(changes, key=lambda c: (c.at, c.commit, c.path)) for project, changes in sorted(found.items())}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _hunks(path: Path) -> Iterator[Change]:
    for row in _rows(path):
        if language_of(row["path"]):
            at = datetime.fromisoformat(row["date"]).timestamp()
            commit = row["id"].removesuffix(f":{row['path']}")
            yield Change(row["repo"], commit, at, row["path"], row["before"], row["after"])


def _histories(path: Path) -> Iterator[Change]:
    for row in _rows(path):
        request, _, file = row["id"].partition("/")
        project, _, number = request.partition("-pull-")
        name = file.replace("__py", ".py").replace("__", "/")
        yield Change(project.replace("__", "/"), request, float(number), name, row["original"], row["final"])


def git_project(repository: Path) -> list[Change]:
    """Files that the newest commits of the first-parent line changed, oldest first. BadRequest: it is no git repository."""
    listed = _git(
        repository, "log", "--first-parent", "--diff-merges=first-parent", "--no-show-signature", "--no-ext-diff",
        "--no-textconv", "--no-renames", "--diff-filter=M", "--raw", "--no-abbrev", "--format=%x01%H %ct", "-z", f"-n{COMMITS}",
    )  # fmt: skip
    files: list[tuple[str, float, str, str, str]] = []
    for entry in listed.split(b"\x01")[1:]:
        head, *fields = entry.decode("utf-8", "replace").replace("\n", "\0").split("\0")
        commit, _, seconds = head.partition(" ")
        fields = [field for field in fields if field]
        for described, path in zip(fields[::2], fields[1::2], strict=False):
            mode, _, old, new, _ = described.split(" ")
            if language_of(path) and mode.startswith(":100"):
                files.append((commit, float(seconds), path, old, new))
    files = files[:FILES]
    blobs = _blobs(repository, [name for *_, old, new in files for name in (old, new)])
    changes = [
        Change(repository.name, commit, at, path, blobs[old], blobs[new])
        for commit, at, path, old, new in files
        if old in blobs and new in blobs
    ]
    return sorted(changes, key=lambda change: change.at)


def _blobs(repository: Path, names: Sequence[str]) -> dict[str, str]:
    """Texts by object name; what is large or no UTF-8 is left out."""
    wanted = list(dict.fromkeys(names))
    answer = _git(repository, "cat-file", "--batch", given="".join(f"{name}\n" for name in wanted).encode())
    texts: dict[str, str] = {}
    at = 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        name, _, *size = answer[at:end].decode().split(" ")
        at = end + 1
        if size:
            content = answer[at : at + int(size[0])]
            at += len(content) + 1
            if len(content) <= 2 * LONGEST_FILE:
                try:
                    texts[name] = content.decode("utf-8")
                except UnicodeDecodeError:
                    continue
    return texts


def _git(repository: Path, *arguments: str, given: bytes = b"") -> bytes:
    # GIT_DIR and its like, set by a hook or a shell, would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(repository), "-c", "core.fsmonitor=false", "-c", "core.hooksPath=", *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=GIT_SECONDS, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadRequest(f"git could not read {repository}: {error}.") from error
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise BadRequest(f"{repository} cannot be read as a git repository: {words}", mend="Name one with commits.")
    return done.stdout
