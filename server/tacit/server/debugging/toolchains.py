"""The table of languages whose covering tests can be run: what runs them on this machine, what of it is bound into the sandbox,
and which program does it inside. Looks where tools are installed; starts nothing of a workspace.

Only what is such a tool for certain is bound, and of where it is installed, which may be a home, only the parts that it needs.
"""

import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tacit.sandbox.walls import SYSTEM, interpreter
from tacit.server.debugging import go_names, java_jars, rust_names
from tacit.server.debugging.inside import NODE, PYTHON, UNITTEST
from tacit.server.debugging.inside_built import CPP, GO, RUST
from tacit.server.debugging.inside_java import JAVA

ENVIRONMENTS: Final = (".venv", "venv", "env")
VENDOR: Final = "vendor"
ROOM: Final = 256 << 20
"""Bytes of the writable copy inside, and of /tmp there."""
BUILT_ROOM: Final = 1 << 30
"""The same where what is built lies there, too. It is memory, as far as it is written to."""
_PYTHON: Final = re.compile(r"python3?(\.\d+)?")
_VERSION: Final = re.compile(r'^JAVA_VERSION="(\d+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tool:
    program: str
    binds: Sequence[str]
    """Folders and files besides the system's that it needs, read-only."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What its program inside has to know."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    name: str
    """Of the language, for people."""
    find: Callable[[Path], Tool | str]
    """Of a workspace; a word: what is not installed."""
    inside: str
    """The program that runs the tests."""
    room: int = ROOM
    seconds: float = 60.0
    """That one run of the tests may take, what has to be built for it included; not what it waits for on a busy machine."""


def python_of(root: Path) -> tuple[str, list[str]]:
    """(the Python that the workspace's tests run with, what has to be bound for it): its environment's, else the system's.

    Only what is a Python for certain is bound: where an environment's link leads is the workspace's word.
    """
    for name in ENVIRONMENTS:
        folder = root / name
        program = folder / "bin" / "python"
        if folder.is_symlink() or not (folder / "pyvenv.cfg").is_file() or not program.exists():
            continue
        real = Path(os.path.realpath(program))
        prefix = real.parent.parent
        if _PYTHON.fullmatch(real.name) and real.parent.name == "bin" and any((prefix / "lib").glob("python3.*/os.py")):
            return str(program), [str(folder), *([] if _of_system(prefix) else _parts(prefix, "bin", "lib", "lib64"))]
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    return found or interpreter(), []


def node_of(root: Path) -> tuple[str, list[str]]:
    """(Node, what has to be bound for it and for the packages that are installed in the workspace); empty: there is none."""
    found = shutil.which("node")
    if found is None:
        return "", []
    real = Path(os.path.realpath(found))
    prefix, packages = real.parent.parent, root / "node_modules"
    binds = [str(packages)] if packages.is_dir() and not packages.is_symlink() else []
    if _of_system(prefix):
        return str(real), binds
    certain = real.name == "node" and (prefix / "include" / "node" / "node.h").is_file()
    return (str(real), [*binds, *_parts(prefix, "bin", "lib", "lib64")]) if certain else ("", [])


def _python(root: Path) -> Tool | str:
    return Tool(*python_of(root), {"unittest": UNITTEST})


def _node(root: Path) -> Tool | str:
    program, binds = node_of(root)
    return Tool(program, binds) if program else "Node"


def _cargo(root: Path) -> Tool | str:
    """That of the toolchain that rustup would start outside of any workspace, and the crates that were fetched for it."""
    rustc = rust_names.program()
    cargo = Path(rustc).parent / "cargo" if rustc is not None else None
    if cargo is None or not cargo.is_file():
        return "cargo"
    prefix = cargo.parent.parent
    binds = [] if _of_system(prefix) else _parts(prefix, "bin", "lib", "libexec")
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    fetched = {name: str(home / name) for name in ("registry", "git") if (home / name).is_dir() and not home.is_relative_to(root)}
    told = {"crates": fetched.get("registry", ""), "git": fetched.get("git", ""), "sources": _sources(home)}
    return Tool(str(cargo), [*binds, *fetched.values(), *vendored(root)], told)


def _sources(home: Path) -> str:
    """Of the user's settings where crates come from, which decides where cargo looks for what it has fetched; and no tokens."""
    try:
        told = tomllib.loads((home / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    lines = []
    for table, keys in (("source", ("registry", "replace-with")), ("registries", ("index",))):
        tables = told.get(table)
        for name, one in tables.items() if isinstance(tables, dict) else ():
            # Such strings are written as JSON writes them.
            values = [
                f"{key} = {json.dumps(one[key])}" for key in keys if isinstance(one, dict) and isinstance(one.get(key), str)
            ]
            lines += [f"[{table}.{json.dumps(name)}]", *values]
    return "\n".join(lines)


def vendored(root: Path) -> list[str]:
    """The folder that `cargo vendor` or `go mod vendor` made, whole: the tools compare it with what it was."""
    folder = root / VENDOR
    made = (folder / "modules.txt").is_file() or next(folder.glob("*/.cargo-checksum.json"), None) is not None
    return [str(folder)] if made and not folder.is_symlink() else []


def _go(root: Path) -> Tool | str:
    found = go_names.program()
    if found is None:
        return "Go"
    real = Path(os.path.realpath(found[0]))
    prefix = real.parent.parent
    if not (prefix / "src" / "runtime").is_dir() or not (prefix / "VERSION").is_file():
        return "Go"
    binds = [] if _of_system(prefix) else _parts(prefix, "bin", "lib", "pkg", "src", "VERSION", "go.env")
    modules = Path(found[1].get("GOMODCACHE", ""))
    has = modules.is_absolute() and modules.is_dir() and not modules.is_relative_to(root)
    return Tool(str(real), [*binds, *([str(modules)] if has else []), *vendored(root)], {"modules": str(modules) if has else ""})


def _compilers(_: Path) -> Tool | str:
    """The system's own; what a user has installed elsewhere needs who knows what."""
    names = {"c": "gcc", "cpp": "g++", "cmake": "cmake", "ctest": "ctest"}
    found = {name: shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") or "" for name, program in names.items()}
    if not found["c"] or not found["cpp"]:
        return "g++"
    return Tool(found["cpp"], [], {"c": found["c"], "cmake": found["cmake"] if found["ctest"] else "", "ctest": found["ctest"]})


def _jdk(root: Path) -> Tool | str:
    """A JDK for certain, and the jars that were fetched for it. What is called `javac` may be a script that chooses one."""
    real = Path(os.path.realpath(shutil.which("javac") or "javac"))
    prefix, name = real.parent.parent, "a JDK (`javac`)"
    if not real.is_file() or not (prefix / "bin" / "java").is_file():
        return name
    if not any((prefix / "lib" / one).is_file() for one in ("modules", "tools.jar")):
        return name
    binds = [] if _of_system(prefix) else _parts(prefix, "bin", "lib", "jre", "conf", "release")
    # Debian has its settings in the system's own folder.
    settings = Path(os.path.realpath(prefix / "conf" / "security" / "java.security")).parent.parent
    if settings.parent == Path("/etc") and settings.name.startswith("java"):
        binds.append(str(settings))
    jars = [str(one) for one in java_jars.jars(root, java_jars.Caches.of_user())]
    version = _VERSION.search((prefix / "release").read_text(errors="replace")) if (prefix / "release").is_file() else None
    # From 23 on it processes annotations only where it is told to.
    processors = "full" if version is not None and int(version[1]) >= 23 else ""
    told = {"jars": os.pathsep.join(jars), "processors": processors}
    return Tool(str(prefix / "bin" / "java"), [*binds, *jars], told)


def _of_system(path: Path) -> bool:
    return any(path.is_relative_to(one) for one in (*SYSTEM, sys.base_prefix))


def _parts(prefix: Path, *names: str) -> list[str]:
    """What a runtime needs of where it is installed, which may be `~/.local` or a home: nothing else of that is bound."""
    return [str(prefix / name) for name in names if (prefix / name).exists()]


_BUILT: Final = Toolchain("C++", _compilers, CPP, BUILT_ROOM, 240.0)
_SCRIPTS: Final = Toolchain("JavaScript", _node, NODE)
TOOLCHAINS: Final[Mapping[str, Toolchain]] = {
    "python": Toolchain("Python", _python, PYTHON),
    "javascript": _SCRIPTS,
    "javascriptreact": _SCRIPTS,
    "typescript": _SCRIPTS,
    "typescriptreact": _SCRIPTS,
    "rust": Toolchain("Rust", _cargo, RUST, BUILT_ROOM, 240.0),
    "c": _BUILT,
    "cpp": _BUILT,
    "go": Toolchain("Go", _go, GO, BUILT_ROOM, 240.0),
    "java": Toolchain("Java", _jdk, JAVA, BUILT_ROOM, 240.0),
}
"""By LSP language id."""
