"""Neovim for tests: 0.12 with inline completion of its own, and 0.10 without, both from Debian, run with their own loader."""

from pathlib import Path
from typing import Final

from editors.install.cache import installed
from editors.install.debian import unpack

SUITES: Final = {"0.12": "forky", "0.10": "trixie"}

# `exec -a` would be lost on the loader; Neovim needs its own name for nothing.
_START = """#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
libraries=$(echo "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu | tr ' ' ':')
loader=$(ls "$root"/usr/lib*/ld-linux*.so.? "$root"/lib*/ld-linux*.so.? 2>/dev/null | head -n 1)
export VIMRUNTIME="$root/usr/share/nvim/runtime"
export LUA_PATH="$root/usr/share/lua/5.1/?.lua;;"
export LUA_CPATH=$(ls -d "$root"/usr/lib/*-linux-gnu/lua/5.1 | head -n 1)"/?.so;;"
exec "$loader" --library-path "$libraries" "$root/usr/bin/nvim" "$@"
"""


def neovim(version: str) -> Path:
    """The program. version: a key of SUITES. Missing."""

    def make(folder: Path) -> None:
        unpack(["neovim"], folder, suite=SUITES[version], beside_system=False)
        start = folder / "start"
        start.write_text(_START, encoding="utf-8")
        start.chmod(0o755)

    return installed(f"neovim-{version}", make) / "start"
