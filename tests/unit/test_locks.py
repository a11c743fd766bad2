"""The lock holds what pyproject.toml asks for, each file by its hash, and names no place to fetch it from."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "server" / "locks" / "server.txt").read_text(encoding="utf-8")
ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[\w,]+\])?==(?P<version>[^ ;\\]+)(?P<rest>(?:.*\\\n)*.*)", re.MULTILINE)
LOCKED = {canonicalize_name(entry["name"]): entry for entry in ENTRY.finditer(LOCK)}


def test_every_requirement_is_locked_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["server"]]
    asked += project["build-system"]["requires"]
    missing = []
    for requirement in map(Requirement, asked):
        entry = LOCKED.get(canonicalize_name(requirement.name))
        if entry is None or not requirement.specifier.contains(entry["version"]):
            missing.append(f"{requirement} (locked: {entry['version'] if entry else 'nothing'})")
    assert missing == [], "renew the lock: server/locks/README.md"


def test_every_file_has_its_hash_and_nothing_else_is_said() -> None:
    assert len(LOCKED) > 40
    assert [name for name, entry in LOCKED.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry["rest"])] == []
    lines = [line.strip().removesuffix("\\").strip() for line in LOCK.splitlines()]
    odd = [line for line in lines if not re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) and not ENTRY.fullmatch(line)]
    assert odd == [], "no options, no addresses"
