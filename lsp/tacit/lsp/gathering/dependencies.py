"""Which versions of the packages that a file imports its project has, by lock files. Pure but for reading those files.

The nearest to the file counts first, a lock file before what only gives a range. Only what the file imports is named.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tacit.lsp.gathering.reading import Reading

LARGEST_LOCK: Final = 3_000_000
"""Bytes; they are machine-made and longer than source files."""
MOST_PACKAGES: Final = 12
MOST_LEVELS: Final = 8
"""Folders above the file that are looked into."""

Versions = Mapping[str, str]
"""Name as the language's registry has it, in that registry's normal form → version or range."""

_DISTRIBUTIONS: Final = {
    "yaml": "pyyaml", "PIL": "pillow", "cv2": "opencv-python", "sklearn": "scikit-learn", "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil", "jwt": "pyjwt", "dotenv": "python-dotenv", "attr": "attrs", "serial": "pyserial",
    "Crypto": "pycryptodome", "git": "gitpython", "docx": "python-docx", "fitz": "pymupdf", "MySQLdb": "mysqlclient",
    "skimage": "scikit-image", "psycopg2": "psycopg2-binary", "OpenSSL": "pyopenssl", "magic": "python-magic",
}  # fmt: skip
"""Of Python modules whose distribution has another name."""

_PYTHON: Final = re.compile(r"^[ \t]*(?:from[ \t]+([A-Za-z_][\w.]*)[ \t]+import|import[ \t]+([A-Za-z_][\w., \t]*))", re.M)
_JAVASCRIPT: Final = re.compile(r"""(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\()\s*["']([^"'./\s][^"'\s]{0,200})["']""")
_JAVA: Final = re.compile(r"^[ \t]*import[ \t]+(?:static[ \t]+)?([A-Za-z_][\w.]*)", re.M)
_GO: Final = re.compile(r"^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?\"([\w.~-]+\.[\w.~-]+/[^\"\s]{1,200})\"", re.M)
_RUST: Final = re.compile(
    r"(?:^[ \t]*(?:pub[ \t]+)?use[ \t]+(?:::)?|\bextern[ \t]+crate[ \t]+|(?<![\w:]))([a-z_]\w*)(?=::|;)", re.M
)
_TOML_PACKAGE: Final = re.compile(r"^\[\[package\]\]\s*^name = \"([^\"\n]+)\"\s*^version = \"([^\"\n]+)\"", re.M)
_REQUIREMENT: Final = re.compile(
    r"^[ \t\"']*([A-Za-z0-9][\w.-]*)(?:\[[\w., -]*\])?[ \t]*((?:===|==|~=|>=|<=|!=|>|<)[^\s;#\"']*)", re.M
)
_GO_REQUIRE: Final = re.compile(r"^[ \t]*(?:require[ \t]+)?([\w.~-]+\.[\w.~-]+(?:/[\w.~-]+)*)[ \t]+(v[\w.+-]+)", re.M)
_POM: Final = re.compile(r"<dependency>(.*?)</dependency>", re.S)
_POM_PART: Final = re.compile(r"<(groupId|artifactId|version)>\s*([^<\s]{1,200})\s*</")
_POM_PROPERTY: Final = re.compile(r"<([\w.-]{1,100})>\s*([^<\s]{1,100})\s*</\1>")


def versions(reading: Reading, name: str, text: str, language: str) -> tuple[str, str] | None:
    """(the files that say so, one line for each package that the file imports); None: nothing is known. name: of the file.
    text: of the file, where imports are looked for."""
    kind = _KINDS.get(language)
    if kind is None:
        return None
    imports, files = kind
    wanted = imports(text)
    if not wanted:
        return None
    known: dict[str, tuple[str, str]] = {}
    for folder in _above(name):
        for file, parse in files:
            if known.keys() >= wanted.keys():
                break
            path = f"{folder}{file}"
            said = reading.raw(path) if not file.endswith((".lock", ".json")) else _lock(reading, path)
            for package, version in (parse(said) if said is not None else {}).items():
                known.setdefault(package, (version, path))
    found = [(shown, known[key]) for key, shown in wanted.items() if key in known] or _beginning(wanted, known)
    if not found:
        return None
    lines = [f"{shown} {version}" for shown, (version, _) in found[:MOST_PACKAGES]]
    return ", ".join(dict.fromkeys(path for _, (_, path) in found[:MOST_PACKAGES])), "\n".join(lines)


def _beginning(wanted: Mapping[str, str], known: Mapping[str, tuple[str, str]]) -> list[tuple[str, tuple[str, str]]]:
    """Java and Go: what is imported lies in a package, a group or a module, whose name begins its own."""
    found = {}
    for name in wanted:
        longest = max((one for one in known if name == one or name.startswith((f"{one}/", f"{one}."))), key=len, default="")
        if longest:
            found[longest] = known[longest]
    return list(found.items())


def _above(name: str) -> list[str]:
    """The file's folder and those above it, each with its slash."""
    parts = name.split("/")[:-1]
    return ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts), -1, -1)][:MOST_LEVELS]


def _lock(reading: Reading, name: str) -> str | None:
    path = reading.allowed(name)
    try:
        if path is None or path.stat().st_size > LARGEST_LOCK:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _python_imports(text: str) -> dict[str, str]:
    modules: dict[str, None] = {}
    for one, several in _PYTHON.findall(text):
        for part in [one] if one else several.split(","):
            if word := part.split(" as ")[0].strip().split(".")[0]:
                modules[word] = None
    return {_normal(_DISTRIBUTIONS.get(module, module)): _DISTRIBUTIONS.get(module, module) for module in modules}


def _javascript_imports(text: str) -> dict[str, str]:
    found = {}
    for name in _JAVASCRIPT.findall(text):
        parts = name.split("/")
        package = "/".join(parts[:2]) if name.startswith("@") else parts[0]
        if not package.startswith("node:"):
            found[package] = package
    return found


def _same(pattern: re.Pattern[str]) -> Callable[[str], dict[str, str]]:
    return lambda text: {name: name for name in pattern.findall(text)}


def _rust_imports(text: str) -> dict[str, str]:
    return {_normal(name): name for name in _RUST.findall(text) if name not in ("std", "core", "alloc", "self", "super", "crate")}


def _toml_lock(text: str) -> dict[str, str]:
    return {_normal(name): version for name, version in _TOML_PACKAGE.findall(text)}


def _requirements(text: str) -> dict[str, str]:
    return {_normal(name): version.removeprefix("==") for name, version in _REQUIREMENT.findall(text)}


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _json(text: str) -> Mapping[str, object]:
    try:
        return _object(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _package_lock(text: str) -> dict[str, str]:
    told = _json(text)
    entries = [(name.removeprefix("node_modules/"), one) for name, one in _object(told.get("packages")).items()]
    entries += list(_object(told.get("dependencies")).items())
    return _strings((name, _object(one).get("version")) for name, one in entries if name and "node_modules/" not in name)


def _package_json(text: str) -> dict[str, str]:
    told = _json(text)
    kinds = ("dependencies", "devDependencies", "peerDependencies")
    return _strings((name, version) for kind in kinds for name, version in _object(told.get(kind)).items())


def _pipfile_lock(text: str) -> dict[str, str]:
    told = _json(text)
    entries = [*_object(told.get("default")).items(), *_object(told.get("develop")).items()]
    found = _strings((_normal(name), _object(one).get("version")) for name, one in entries)
    return {name: version.removeprefix("==") for name, version in found.items()}


def _strings(pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, version in pairs:
        if isinstance(version, str) and len(version) < 100:
            found.setdefault(name, version)
    return found


def _pom(text: str) -> dict[str, str]:
    properties = dict(_POM_PROPERTY.findall(text))
    found: dict[str, str] = {}
    for entry in _POM.findall(text):
        parts = dict(_POM_PART.findall(entry))
        version = re.sub(r"\$\{([\w.-]+)\}", lambda match: properties.get(match[1], match[0]), parts.get("version", ""))
        if version and (group := parts.get("groupId")):
            found.setdefault(group, version)
    return found


_JAVASCRIPT_KIND: Final = (_javascript_imports, (("package-lock.json", _package_lock), ("package.json", _package_json)))
_KINDS: Final[Mapping[str, tuple[Callable[[str], dict[str, str]], tuple[tuple[str, Callable[[str], dict[str, str]]], ...]]]] = {
    "python": (
        _python_imports,
        (
            ("uv.lock", _toml_lock),
            ("poetry.lock", _toml_lock),
            ("pdm.lock", _toml_lock),
            ("Pipfile.lock", _pipfile_lock),
            ("requirements.txt", _requirements),
            ("pyproject.toml", _requirements),
        ),
    ),
    "javascript": _JAVASCRIPT_KIND,
    "javascriptreact": _JAVASCRIPT_KIND,
    "typescript": _JAVASCRIPT_KIND,
    "typescriptreact": _JAVASCRIPT_KIND,
    "java": (_same(_JAVA), (("pom.xml", _pom),)),
    "go": (_same(_GO), (("go.mod", lambda text: dict(_GO_REQUIRE.findall(text))),)),
    "rust": (_rust_imports, (("Cargo.lock", _toml_lock),)),
}
