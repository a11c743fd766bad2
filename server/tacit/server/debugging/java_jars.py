"""Which jars a Java workspace's tests are given: those in its `lib`, and of what its build files name, with what that needs in
turn, those that Maven or Gradle has fetched. Reads; starts nothing, fetches nothing.

This is not Maven's or Gradle's own reckoning, which would run the workspace's build: exclusions are not looked at, all modules
share one class path, and where a version cannot be told or is not there, the closest one that is there stands for it.
"""

import os
import re
import tomllib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias
from xml.etree import ElementTree

MOST_JARS: Final = 300
MOST_BUILD_FILES: Final = 50
LARGEST: Final = 2_000_000
"""Bytes of a build file, or of what says what a jar needs."""
DEEPEST: Final = 8
"""Parents above one another, and values that hold others."""
LONGEST: Final = 300
"""Characters of a value that others are put into, and of each of these: what doubles at every turn soon fills the memory."""
MODULES: Final = 3
"""Folders below the workspace's in which build files are looked for."""
LIBRARIES: Final = ("lib", "libs")
FIRST: Final = ("junit:junit:4", "org.junit.jupiter:junit-jupiter-api:5", "org.junit.jupiter:junit-jupiter-params:5")
"""Where there is no build file."""
BESIDES: Final = {
    ("org.junit.jupiter", "junit-jupiter-api"): ("org.junit.jupiter", "junit-jupiter-engine"),
    ("org.junit.platform", "junit-platform-engine"): ("org.junit.platform", "junit-platform-launcher"),
}
"""What a build adds by itself, in the same version."""
_PLAIN: Final = re.compile(r"\w[\w+-]*(?:\.[\w+-]+)*")
_NAMED: Final = re.compile(r"""["']([\w.-]+):([\w.-]+)(?::([\w.+-]+))?["']""")
_VALUE: Final = re.compile(r"\$\{([^}]*)\}")
_SKIPPED: Final = frozenset(("target", "build", "out", "node_modules"))

Key: TypeAlias = tuple[str, str]
"""Group, artifact."""


@dataclass(frozen=True, slots=True)
class Named:
    """A dependency as a build file has it. Values may be properties (`${…}`)."""

    group: str
    artifact: str
    version: str = ""
    """Empty: not said."""
    scope: str = "compile"
    optional: bool = False

    @property
    def key(self) -> Key:
        return self.group, self.artifact


@dataclass(frozen=True, slots=True)
class Pom:
    own: Named
    parent: Named | None
    properties: Mapping[str, str]
    managed: tuple[Named, ...]
    needs: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Caches:
    """Where Maven and Gradle keep what they have fetched; folders that are there."""

    maven: Path | None = None
    gradle: Path | None = None

    @classmethod
    def of_user(cls) -> "Caches":
        maven = Path.home() / ".m2" / "repository"
        gradle = Path(os.environ.get("GRADLE_USER_HOME") or Path.home() / ".gradle") / "caches" / "modules-2" / "files-2.1"
        return cls(maven if maven.is_dir() else None, gradle if gradle.is_dir() else None)

    def find(self, wanted: Named, ending: str) -> tuple[str, Path] | None:
        """(its version, the file) of the closest version of which there is such a file."""
        if not (_PLAIN.fullmatch(wanted.group) and _PLAIN.fullmatch(wanted.artifact)):
            return None
        tops = [self.maven.joinpath(*wanted.group.split("."), wanted.artifact)] if self.maven else []
        tops += [self.gradle.joinpath(wanted.group, wanted.artifact)] if self.gradle else []
        there = {one.name: None for top in tops if top.is_dir() for one in top.iterdir() if one.is_dir()}
        for version in sorted(there, key=lambda one: _closeness(one, wanted.version), reverse=True):
            name = f"{wanted.artifact}-{version}.{ending}"
            for top in tops:
                # Gradle has a folder for each content in between.
                for file in (top / version / name, *(top / version).glob(f"*/{name}")):
                    if file.is_file():
                        return version, file
        return None


def jars(root: Path, caches: Caches) -> list[Path]:
    """root: of the workspace, resolved. Its own first, then the nearest to what it names first, one of each."""
    own = list(_libraries(root))
    files = list(islice(_build_files(root), MOST_BUILD_FILES))
    poms = [pom for file in files if file.name == "pom.xml" and (pom := pom_of(_text(file))) is not None]
    there = {pom.own.key: pom for pom in poms} | {
        (pom.parent.group, pom.own.artifact): pom for pom in poms if pom.parent is not None and not pom.own.group
    }
    known = _Known(caches, there)
    wanted: list[Named] = []
    managed: dict[Key, str] = {}
    for pom in poms:
        wanted += known.needs(pom)
        managed = {**known.inherited(pom)[1], **managed}
    for file in files:
        wanted += (
            catalogue(_text(file)) if file.name.endswith(".toml") else scripted(_text(file)) if "gradle" in file.name else ()
        )
    if not files:
        wanted += map(_coordinates, FIRST)
    return list(dict.fromkeys([*own, *known.reached(wanted, managed)]))


def pom_of(text: str) -> Pom | None:
    """None: it is none."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        top = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    properties = top.find("{*}properties")
    parent = top.find("{*}parent")
    return Pom(
        own=_named(top),
        parent=None if parent is None else _named(parent),
        properties={_tag(one): (one.text or "").strip() for one in properties if _tag(one)} if properties is not None else {},
        managed=tuple(map(_named, top.iterfind("{*}dependencyManagement/{*}dependencies/{*}dependency"))),
        needs=tuple(map(_named, top.iterfind("{*}dependencies/{*}dependency"))),
    )


def scripted(text: str) -> list[Named]:
    """What a Gradle script names as "group:artifact:version"."""
    return [Named(group, artifact, version) for group, artifact, version in _NAMED.findall(text)]


def catalogue(text: str) -> list[Named]:
    """The libraries of Gradle's catalogue of versions."""
    try:
        told = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return []
    versions, libraries = told.get("versions"), told.get("libraries")
    found = []
    for one in libraries.values() if isinstance(libraries, dict) else ():
        if isinstance(one, str):
            found.append(_coordinates(one))
        elif isinstance(one, dict):
            group, _, artifact = str(one.get("module") or f"{one.get('group')}:{one.get('name')}").partition(":")
            version = one.get("version") or ""
            if isinstance(version, dict):
                version = versions.get(str(version.get("ref"))) if isinstance(versions, dict) else ""
            found.append(Named(group, artifact, version if isinstance(version, str) else ""))
    return found


def _coordinates(text: str) -> Named:
    group, artifact, version = [*text.split(":"), "", "", ""][:3]
    return Named(group, artifact, version)


@dataclass(frozen=True, slots=True)
class _Known:
    caches: Caches
    there: Mapping[Key, Pom]
    """The workspace's own."""

    def needs(self, pom: Pom) -> list[Named]:
        """What it needs, with versions as far as they can be told."""
        properties, managed = self.inherited(pom)
        filled = [_filled(one, properties) for each in (pom, *self._above(pom)) for one in each.needs]
        return [one if one.version else replace(one, version=managed.get(one.key, "")) for one in filled]

    def reached(self, wanted: Sequence[Named], managed: Mapping[Key, str]) -> list[Path]:
        """What is needed and what that needs: what the workspace manages decides about the version, else the nearest one."""
        # Lists of versions that a Gradle script names among its libraries.
        for one in wanted:
            if self.caches.find(one, "jar") is None and (pom := self._pom(one)) is not None:
                managed = {**self.inherited(pom)[1], **managed}
        queue = deque(one if one.version else replace(one, version=managed.get(one.key, "")) for one in wanted)
        chosen: dict[Key, Path] = {}
        seen: set[Key] = set()
        while queue and len(chosen) < MOST_JARS:
            one = queue.popleft()
            if one.key in seen or one.key in self.there or one.scope in ("import", "system"):
                continue
            seen.add(one.key)
            found = self.caches.find(one, "jar")
            exact = replace(one, version=found[0]) if found is not None else one
            if found is not None:
                chosen[one.key] = found[1]
                if (beside := BESIDES.get(one.key)) is not None:
                    queue.append(Named(*beside, exact.version))
            if (pom := self._pom(exact)) is not None:
                more = (each for each in self.needs(pom) if each.scope in ("compile", "runtime") and not each.optional)
                queue.extend(replace(each, version=managed.get(each.key, each.version)) for each in more)
        return list(chosen.values())

    def _pom(self, wanted: Named) -> Pom | None:
        if (own := self.there.get(wanted.key)) is not None:
            return own
        found = self.caches.find(wanted, "pom")
        return None if found is None else pom_of(_text(found[1]))

    def _above(self, pom: Pom) -> list[Pom]:
        chain: list[Pom] = []
        while pom.parent is not None and len(chain) < DEEPEST and (above := self._pom(pom.parent)) is not None:
            chain.append(above)
            pom = above
        return chain

    def inherited(self, pom: Pom, seen: set[Key] | None = None) -> tuple[dict[str, str], dict[Key, str]]:
        """(properties, versions of what is managed) of it and all above it; the nearer ones win. seen: lists that
        were read; each is read once, however many import it."""
        seen = set() if seen is None else seen
        chain = [pom, *self._above(pom)]
        properties: dict[str, str] = {}
        for one in reversed(chain):
            properties |= one.properties
            parent = one.parent
            for name, value in (
                ("groupId", one.own.group or (parent.group if parent else "")),
                ("version", one.own.version or (parent.version if parent else "")),
            ):
                properties |= {f"project.{name}": value, f"pom.{name}": value}
            if parent is not None:
                properties |= {"project.parent.groupId": parent.group, "project.parent.version": parent.version}
        managed: dict[Key, str] = {}
        lists: list[Named] = []
        for each in chain:
            for raw in each.managed:
                filled = _filled(raw, properties)
                if filled.scope == "import":
                    lists.append(filled)
                elif filled.version:
                    managed.setdefault(filled.key, filled.version)
        for one_list in lists:
            if one_list.key not in seen and (listed := self._pom(one_list)) is not None:
                seen.add(one_list.key)
                managed = {**self.inherited(listed, seen)[1], **managed}
        return properties, managed


def _libraries(root: Path) -> Iterator[Path]:
    """A link is not followed: what is bound into the sandbox is the workspace's own."""
    for name in LIBRARIES:
        folder = root / name
        if folder.is_dir() and not folder.is_symlink():
            for file in sorted(folder.glob("*.jar")):
                if file.is_file() and not file.is_symlink():
                    yield file


def _build_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        below = Path(folder).relative_to(root).parts
        folders[:] = (
            sorted(one for one in folders if not one.startswith(".") and one not in _SKIPPED) if len(below) < MODULES else []
        )
        for name in ("pom.xml", "build.gradle", "build.gradle.kts", "libs.versions.toml"):
            # Nor is a link followed here, or anything read that does not end.
            if name in names and (file := Path(folder, name)).is_file() and not file.is_symlink():
                yield file


def _text(file: Path) -> str:
    """Empty: it cannot be read, or is larger than such files are."""
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.stat().st_size <= LARGEST else ""
    except OSError:
        return ""


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _named(element: ElementTree.Element) -> Named:
    said = {
        name: (element.findtext(f"{{*}}{name}") or "").strip()
        for name in ("groupId", "artifactId", "version", "scope", "optional")
    }
    return Named(said["groupId"], said["artifactId"], said["version"], said["scope"] or "compile", said["optional"] == "true")


def _filled(one: Named, properties: Mapping[str, str]) -> Named:
    """A value that cannot be told is none."""

    def value(text: str) -> str:
        for _ in range(DEEPEST):
            if "${" not in text:
                return text
            if len(text) > LONGEST:
                break
            text = _VALUE.sub(lambda found: properties.get(found[1], "")[:LONGEST], text)
        return ""

    return replace(one, group=value(one.group), artifact=value(one.artifact), version=value(one.version), scope=value(one.scope))


def _closeness(version: str, wanted: str) -> tuple[bool, int, bool, tuple[int, ...]]:
    """The same; then the most first numbers in common; then released ones; then the newest."""
    numbers, others = (tuple(map(int, re.findall(r"\d{1,9}", one))) for one in (version, wanted))
    same = next(
        (at for at, (one, other) in enumerate(zip(numbers, others, strict=False)) if one != other), min(len(numbers), len(others))
    )
    return version == wanted, same, not re.search(r"[a-z]", version.lower().removesuffix(".ga").removesuffix(".final")), numbers
