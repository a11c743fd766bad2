"""Names that a fix uses and nothing defines, by judges that the product does not ask: basedpyright for Python, else what
compilers and Node say when the test is run. Starts basedpyright, which reads a folder of its own and runs nothing of it.

C++ and Java have one compiler, which the product may have asked as well. What was missing before the fix is not the fix's.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tacit.bench.debug_tasks import Task

RULES: Final = ("reportUndefinedVariable", "reportAttributeAccessIssue", "reportMissingImports", "reportMissingModuleSource")
SECONDS: Final = 300.0
"""Generous: a busy machine is not a name."""

_QUOTED: Final = re.compile(r"[\"'`\u2018]([^\"'`\u2019]+)[\"'`\u2019]")
_CPP: Final = re.compile(
    r"^(?P<file>[^:\n]+):\d+:\d+: (?:fatal )?error: (?P<message>.*(?:was not declared|has not been declared|has no member"
    r"|is not a member of|does not name a type|No such file).*)$",
    re.MULTILINE,
)
_JAVA: Final = re.compile(
    r"^(?P<file>[^:\n]+):\d+: error: (?:cannot find symbol(?:\n.*){2}\n\s+symbol:\s+(?P<symbol>.*)"
    r"|(?P<message>package .* does not exist))$",
    re.MULTILINE,
)
_RUST: Final = re.compile(
    r"^error\[E0(?:405|412|422|423|425|432|433|531|574|576|599|609)\]: (?P<message>.*)\n\s+--> (?P<file>[^:\n]+):", re.MULTILINE
)
_GO: Final = re.compile(
    r"^(?:\./)?(?P<file>[^:\n]+\.go):\d+:\d+: "
    r"(?P<message>undefined: \S+|\S+ undefined \(.*|unknown field .*|package \S+ is not in .*)$",
    re.MULTILINE,
)
_SCRIPT: Final = re.compile(
    r"^(?:ReferenceError: (?P<name>\S+) is not defined|TypeError: (?P<call>\S+) is not a (?:function|constructor)"
    r"|Error: Cannot find module '(?P<module>[^']+)')(?:\n.*)*?\n\s+at .*?(?P<file>[\w.]+):\d+:\d+\)?",
    re.MULTILINE,
)


@cache
def installed() -> bool:
    return find_spec("basedpyright") is not None


def judged(language: str) -> bool:
    """Whether there is a judge for the language here."""
    return language != "python" or installed()


def invented(task: Task, text: str, output: str, before: str) -> list[str]:
    """The names, each once. output: of the test with `text` as the file; before: of the test with the buggy file."""
    if task.language != "python":
        known = set(unresolved(task.language, before, task.path))
        return [name for name in unresolved(task.language, output, task.path) if name not in known]
    known = set(_pyright(task, task.text))
    return [name for name in _pyright(task, text) if name not in known]


def unresolved(language: str, output: str, path: str) -> list[str]:
    """What a compiler, or Node, says that `path` names and nothing defines, each once."""
    pattern = {"cpp": _CPP, "java": _JAVA, "rust": _RUST, "go": _GO, "javascript": _SCRIPT}[language]
    found: list[str] = []
    for match in pattern.finditer(output):
        said: Mapping[str, str | None] = match.groupdict()
        if Path(said["file"] or "").name != path:
            continue
        if language == "javascript":
            found.append(next(one for one in (said["name"], said["call"], said["module"]) if one))
        elif said.get("symbol"):
            found.append(" ".join(str(said["symbol"]).split()))
        else:
            message = said["message"] or ""
            quoted = _QUOTED.findall(message)
            # "'class A' has no member named 'b'": the last is the one that is missing.
            found.append(quoted[-1 if "no member" in message else 0] if quoted else message)
    return list(dict.fromkeys(found))


def _pyright(task: Task, text: str) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="tacit-names-") as name:
        folder = Path(name).resolve()
        for path, content in {**task.others, task.path: text}.items():
            (folder / path).write_text(content, encoding="utf-8", errors="replace")
        (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "basic", "include": [task.path]}))
        command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(folder)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder, check=False)
        said = json.loads(answer.stdout)["generalDiagnostics"]
    messages = [one["message"] for one in said if one.get("rule") in RULES and Path(one["file"]).name == task.path]
    return list(dict.fromkeys(message.splitlines()[0] for message in messages))
