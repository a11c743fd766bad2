"""Whether what a file imports is there: in the workspace, its manifests and lock files, or the standard library. Reads the
workspace's manifests and asks which files it has; nothing is run, nothing is fetched.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tacit.server.debugging.symbols.builtin import packages

MOST_MANIFEST: Final = 20_000_000
"""Bytes of a manifest or a lock file."""
_ENDINGS: Final = ("", ".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".json", ".vue", ".svelte", ".node")
_TYPED: Final = {".js": (".ts", ".tsx", ".d.ts"), ".jsx": (".tsx",), ".mjs": (".mts", ".d.mts"), ".cjs": (".cts", ".d.cts")}
"""TypeScript imports a file by the name that it will have when it is compiled."""
_REQUIRED: Final = re.compile(r"^[^\S\n]*(?:require\s+)?([\w.~-]+(?:/[\w.~-]+)*)\s+v\d", re.MULTILINE)
_MODULE: Final = re.compile(r"^[^\S\n]*module\s+\"?([^\s\"]+)", re.MULTILINE)
_RUST_MODULE: Final = re.compile(r"^[^\S\n]*(?:pub(?:\([^)]*\))?\s+)?(?:mod|extern\s+crate)\s+(\w+)", re.MULTILINE)
_DISTRIBUTION: Final = re.compile(r"(?:^[ \t]*|[\"'])([A-Za-z0-9][\w.-]*)", re.MULTILINE)

CANNOT_TELL: Final = None


def there(name: str, language: str, path: str, root: Path) -> bool | None:
    """Whether an import of a file resolves; None: nothing here can tell. path: the file's, relative to root, forward slashes."""
    folders = [root.joinpath(*PurePosixPath(path).parts[:count]) for count in range(len(PurePosixPath(path).parts) - 1, -1, -1)]
    if language == "go":
        return _go(name, folders)
    if language == "rust":
        return _rust(name, root.joinpath(*PurePosixPath(path).parts), folders)
    return _script(name, folders, root)


def _script(name: str, folders: list[Path], root: Path) -> bool | None:
    if name.startswith("."):
        return _relative(folders[0] / name, root)
    builtin = packages("javascript")
    if name.startswith("node:") or name in builtin:
        # `node:test` and some others have no short name.
        return name.removeprefix("node:") in builtin or name in ("node:test", "node:test/reporters", "node:sqlite", "node:sea")
    if ":" in name or name.startswith(("/", "#", "~", "@/", "$")):
        # Of a bundler, a browser, another runtime, or an alias.
        return CANNOT_TELL
    parts = name.split("/")
    package = "/".join(parts[:2]) if name.startswith("@") else parts[0]
    types = "@types/" + package.removeprefix("@").replace("/", "__")
    manifests = list(_manifests(folders, "package.json"))
    for _, manifest in manifests:
        told = [manifest.get(key) for key in ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")]
        if manifest.get("name") == package or any(isinstance(one, dict) and (package in one or types in one) for one in told):
            return True
    if any((folder / "node_modules" / one).is_dir() for folder in folders for one in (package, types)):
        return True
    if any(_locked(folder, package) for folder in folders):
        return True
    if not manifests or any("workspaces" in manifest for _, manifest in manifests) or (root / "pnpm-workspace.yaml").exists():
        return CANNOT_TELL
    return CANNOT_TELL if _aliased(folders) else False


def _relative(target: Path, root: Path) -> bool | None:
    inside = Path(os.path.normpath(target))
    if not inside.is_relative_to(root):
        return CANNOT_TELL
    endings = [Path(f"{inside}{ending}") for ending in _ENDINGS]
    endings += [inside.with_suffix(ending) for ending in _TYPED.get(inside.suffix, ())]
    return any(one.is_file() for one in endings) or any((inside / f"index{ending}").is_file() for ending in _ENDINGS[1:])


def _locked(folder: Path, package: str) -> bool:
    for name in ("package-lock.json", "yarn.lock", "pnpm-lock.yaml"):
        text = _text(folder / name)
        if f'"node_modules/{package}"' in text or re.search(rf"^[^\S\n]*['\"/]?{re.escape(package)}@", text, re.MULTILINE):
            return True
    return False


def _aliased(folders: list[Path]) -> bool:
    """Names of modules may mean something else: a path mapping, a bundler's alias."""
    configured = ("tsconfig.json", "jsconfig.json", "tsconfig.base.json")
    if any(re.search(r'"(?:paths|baseUrl|extends)"', _text(folder / name)) for folder in folders for name in configured):
        return True
    bundlers = ("vite.config", "webpack.config", "rollup.config", "deno.json", "import_map", "babel.config", "next.config")
    return any(folder.is_dir() and any(one.name.startswith(bundlers) for one in folder.iterdir()) for folder in folders)


def _go(name: str, folders: list[Path]) -> bool | None:
    first = name.split("/")[0]
    if name in packages("go"):
        return True
    module = next((folder for folder in folders if (folder / "go.mod").is_file()), None)
    if module is None:
        # Before modules a path below GOPATH was enough.
        return CANNOT_TELL if "." in first else False
    text = _text(module / "go.mod")
    own = found[1] if (found := _MODULE.search(text)) else ""
    if own and (name == own or name.startswith(f"{own}/")):
        folder = module / name[len(own) + 1 :]
        return folder.is_dir() and any(folder.glob("*.go"))
    if any(name == one or name.startswith(f"{one}/") for one in _REQUIRED.findall(text)):
        return True
    if (module / "vendor" / name).is_dir():
        return True
    if "replace" in text or any((folder / "go.work").is_file() for folder in folders):
        return CANNOT_TELL
    return any(name == one or name.startswith(f"{one}/") for one in _REQUIRED.findall(_text(module / "go.sum")))


def _rust(name: str, file: Path, folders: list[Path]) -> bool | None:
    first = name.split("::")[0].removeprefix("r#")
    if not first or first in packages("rust"):
        return True
    manifests = list(_manifests(folders, "Cargo.toml"))
    if not manifests:
        return CANNOT_TELL
    known: set[str] = set()
    for folder, manifest in manifests:
        own = manifest.get("package", {})
        known |= {str(one) for one in (own.get("name"), manifest.get("lib", {}).get("name")) if one}
        for table in (manifest, *manifest.get("target", {}).values(), manifest.get("workspace", {})):
            for key in ("dependencies", "dev-dependencies", "build-dependencies"):
                known |= set(table.get(key, {}))
        # Modules of the crate's root can be named in the root itself; those of the file, in it and below it.
        for one in (folder / "src" / "lib.rs", folder / "src" / "main.rs"):
            known |= set(_RUST_MODULE.findall(_text(one)))
    known |= set(_RUST_MODULE.findall(_text(file)))
    return first in {one.replace("-", "_") for one in known}


def python_declares(module: str, folders: list[Path]) -> bool:
    """A manifest or a lock file of these folders names a distribution as the module is called."""
    wanted = _normal(module)
    for folder in folders:
        for name in ("pyproject.toml", "setup.cfg", "Pipfile", "poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock"):
            if wanted in map(_normal, _DISTRIBUTION.findall(_text(folder / name))):
                return True
        if folder.is_dir() and any(
            wanted in map(_normal, _DISTRIBUTION.findall(_text(one))) for one in folder.glob("requirements*.txt")
        ):
            return True
    return False


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _manifests(folders: list[Path], name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The nearest first; what cannot be read is left out."""
    for folder in folders:
        text = _text(folder / name)
        if not text:
            continue
        try:
            found = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield folder, found


def _text(path: Path) -> str:
    """Empty: it is not there, or too large."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= MOST_MANIFEST else ""
    except OSError:
        return ""
