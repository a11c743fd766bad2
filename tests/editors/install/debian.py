"""Packages of Debian unpacked into a folder, without root and without touching the system.

apt itself finds what they need, fetches it from the mirror that it is set up for and checks the signatures, in a state of its
own; dpkg only unpacks.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from editors.install.cache import FOLDER, Missing


def own_suite() -> str:
    """The system's own release. Missing: this is no Debian."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Missing(f"This {platform.system()} has no apt, and the editor is fetched from Debian: install the editor yourself.")
    found = re.search(r'^VERSION_CODENAME="?(\w+)', Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise Missing("/etc/os-release names no VERSION_CODENAME: this is no release of Debian.")
    return found.group(1)


def unpack(packages: Sequence[str], into: Path, *, suite: str, beside_system: bool) -> None:
    """Put these packages and all they need into a folder. Missing: apt's own words.

    beside_system: leave out what the system has installed (only right for its own suite); else everything down to libc is
    there, to be run with its own loader.
    """
    own_suite()
    state = FOLDER / "apt" / f"{suite}-{'beside' if beside_system else 'alone'}"
    for folder in ("lists/partial", "cache/archives/partial", "nothing/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb {_mirror()} {suite} main\n", encoding="utf-8")
    options = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "true",
    }
    if not beside_system:
        options["Dir::State::status"] = state / "status"
    apt = ["apt-get", "-q", "-y", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*apt, "update"])
    # What has been fetched already is not among the URIs: as if nothing had.
    uris = _run([*apt, f"-oDir::Cache::archives={state / 'nothing'}", "--print-uris", "install", *packages])
    _run([*apt, "--download-only", "install", *packages])
    # The line of a package: its address, the name of its file, its size, its hash.
    for name in re.findall(r"^'[^']+' (\S+\.deb) ", uris, re.MULTILINE):
        _run(["dpkg", "-x", str(state / "cache" / "archives" / name), str(into)])


def _mirror() -> str:
    targets = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split()
    found = next((uri for uri in targets if uri.rstrip("/").endswith("/debian")), None)
    if found is None:
        raise Missing("apt's configuration names no mirror of Debian; add one and run `apt-get update`.")
    return found


def _run(command: Sequence[str]) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment)
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise Missing(f"`{command[0]}` failed while an editor was fetched from Debian. It needs the network; it said: {last}")
    return done.stdout
