"""What `tsc` says of a TypeScript or JavaScript file with and without a change. Starts Node with TypeScript's compiler, which
reads and judges; nothing is emitted, and no code of the workspace is run.

The compiler is the one in PATH. One that lies in the workspace is code of the workspace's like any other, and is not started.
"""

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tacit.server.debugging.complaints import Said
from tacit.server.debugging.shadow import Ran, Shadow
from tacit.server.debugging.symbols import packages
from tacit.server.debugging.symbols.builtin import names
from tacit.server.debugging.tools import said_by

LANGUAGES: Final = frozenset(("javascript", "javascriptreact", "typescript", "typescriptreact"))
CONFIGURATION: Final = "tsconfig.tacit-check.json"
HEAP_MB: Final = 2000
_LINE: Final = re.compile(
    r"^(?P<file>[^\n(]+)\((?P<line>\d+),\d+\): (?P<kind>error|warning) (?P<code>TS\d+): (?P<message>.*)$", re.M
)
_GLOBAL: Final = re.compile(r"^error (TS\d+): (.*)$", re.MULTILINE)
_NAMES: Final = frozenset("TS2304 TS2552 TS2503 TS2663 TS2662 TS18004".split())
_IMPORTS: Final = frozenset("TS2307 TS2792 TS2305 TS2614 TS2724 TS2613 TS2459 TS2460 TS2694 TS7016".split())
_ATTRIBUTES: Final = frozenset("TS2339 TS2551 TS2576 TS2550".split())
_ELSEWHERE: Final = frozenset("TS2580 TS2581 TS2582 TS2583 TS2584 TS2585 TS2591 TS2592 TS2593 TS2868 TS2686 TS7016".split())
"""It is there; only its types are not, or not for this target."""
_PLAIN: Final = re.compile(
    r"on type '(?:\"[^']*\"|-?\d[\w.]*|string|number|boolean|bigint|symbol|void|[\w.]+\[\]|\(.*\)\[\]"
    r"|(?:Map|Set|WeakMap|Promise|Array|Date|RegExp|Math|JSON|Console)(?:<.*>)?"
    r"|(?:Object|Array|String|Number|Promise|Date)Constructor|typeof import\(.*\))'"
)
"""In JavaScript most objects get attributes as the program runs: only of these is it known what they have."""
_QUOTED: Final = re.compile(r"'([^']+)'")


def program(workspace: str) -> list[str] | None:
    """How tsc is started. None: there is none in PATH, or it is the workspace's."""
    node, found = shutil.which("node"), shutil.which("tsc")
    if node is None or found is None:
        return None
    own = Path(found).resolve()
    if workspace and (
        own.is_relative_to(Path(workspace).resolve()) or Path(node).resolve().is_relative_to(Path(workspace).resolve())
    ):
        return None
    return [node, f"--max-old-space-size={HEAP_MB}", str(own)]


async def said_of(texts: Sequence[str], path: str, workspace: str, language: str) -> list[tuple[Said, ...]] | str:
    """As `python_names.said_of`. Complaints about the file itself only; of JavaScript, what is wrong for sure."""
    if (command := program(workspace)) is None:
        return "There is no `tsc` in PATH (the workspace's own is not started: it is code of the workspace)."
    return await said_by(
        "tsc",
        lambda shadow: _command(command, shadow, language),
        lambda ran, shadow: _reading(ran, shadow, path, language),
        texts,
        path,
        workspace,
    )


def _command(command: list[str], shadow: Shadow, language: str) -> list[str]:
    folder = _configured(shadow)
    _link_packages(shadow)
    options: dict[str, Any] = {
        "noEmit": True,
        "skipLibCheck": True,
        # What is linked is read as it lies in the shadow: else the changed file's neighbours would import the old one.
        "preserveSymlinks": True,
        "incremental": False,
        "composite": False,
        "noUnusedLocals": False,
        "noUnusedParameters": False,
    }
    own = next((one for one in ("tsconfig.json", "jsconfig.json") if (folder / one).is_file()), None)
    script = language.startswith("javascript")
    if script:
        options |= {"allowJs": True, "checkJs": True, "strict": False, "noImplicitAny": False}
    if own is None:
        options |= {
            "target": "esnext",
            "module": "nodenext",
            "moduleResolution": "nodenext",
            "jsx": "preserve",
            "esModuleInterop": True,
        }
    made = {
        **({"extends": f"./{own}"} if own is not None else {}),
        "compilerOptions": options,
        # The file, what it imports, and what is declared for all.
        "files": [os.path.relpath(shadow.file, folder)],
        "include": ["**/*.d.ts"],
        "exclude": ["**/node_modules"],
        "references": [],
    }
    (folder / CONFIGURATION).write_text(json.dumps(made), encoding="utf-8")
    return [*command, "--project", str(folder / CONFIGURATION), "--pretty", "false"]


def _configured(shadow: Shadow) -> Path:
    """The folder of the nearest configuration; else of the nearest package, else the workspace's."""
    folders = [one for one in shadow.file.parents if one.is_relative_to(shadow.folder)]
    for marks in (("tsconfig.json", "jsconfig.json"), ("package.json",)):
        for folder in folders:
            if any((folder / mark).is_file() for mark in marks):
                return folder
    return shadow.folder


def _link_packages(shadow: Shadow) -> None:
    """The installed packages, which are ignored files, hold the types of what is imported."""
    if shadow.root is None:
        return
    for folder in shadow.file.parents:
        if not folder.is_relative_to(shadow.folder):
            break
        installed, link = shadow.root / folder.relative_to(shadow.folder) / "node_modules", folder / "node_modules"
        if installed.is_dir() and not link.exists() and installed.resolve().is_relative_to(shadow.root.resolve()):
            link.symlink_to(installed, target_is_directory=True)


def _reading(ran: Ran, shadow: Shadow, path: str, language: str) -> tuple[Said, ...] | str | None:
    found = list(_LINE.finditer(ran.output))
    # 2: errors, and it would have emitted; 1: errors, and it would not.
    if ran.code not in (0, 1, 2) or (ran.code and not found and not _GLOBAL.search(ran.output)):
        return None
    if ran.code and not found:
        return (
            f"`tsc` cannot read the project's configuration ({_GLOBAL.findall(ran.output)[0][0]}), so names could not be checked."
        )
    said = []
    for match in found:
        code, message = match["code"], match["message"].strip()
        if (shadow.folder / match["file"]).name != shadow.file.name or not _same(match["file"], shadow):
            continue
        if code in _ELSEWHERE or _is_there(code, message, path, shadow):
            continue
        missing = code in _NAMES or code in _IMPORTS or code in _ATTRIBUTES
        if language.startswith("javascript"):
            sure = code in _NAMES or code in _IMPORTS or (code in _ATTRIBUTES and _PLAIN.search(message) is not None)
            if not sure and not code.startswith("TS1"):
                continue
        said.append(Said(f"unresolved {code}" if missing else code, message, int(match["line"]) - 1, match["kind"] == "error"))
    return tuple(said)


def _same(told: str, shadow: Shadow) -> bool:
    """tsc names files relative to where it runs."""
    return Path(os.path.normpath(shadow.folder / told)) == shadow.file


def _is_there(code: str, message: str, path: str, shadow: Shadow) -> bool:
    """tsc lacks its types, and it is there all the same, or may be."""
    quoted = found[1] if (found := _QUOTED.search(message)) else ""
    if code in ("TS2307", "TS2792"):
        root = shadow.root if shadow.root is not None else shadow.folder
        return packages.there(quoted, "typescript", path, root) is not False
    return code in _NAMES and quoted in names("typescript")
