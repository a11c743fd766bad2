"""Which tests cover a file: those that what was said names, those that are called like it, those that import it. Pure.

And what their runs before and after a change say of it.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from tacit.protocol.debugging import Check, CoveringRuns

MOST_FILES: Final = 6
MOST_READ: Final = 400
"""Test files whose imports are looked at."""
MOST_NAMED: Final = 3
"""Tests that a note names."""
_TEST: Final = re.compile(
    r"(?:^|/)(?:(?:test_[^/]*|[^/]*_test)\.py|(?:[^/]*[._-](?:test|spec)|test[_-][^/]*|test)\.[cm]?[jt]sx?"
    r"|(?:__tests__|tests?)/(?:.*/)?[^/]*\.[cm]?[jt]sx?|[^/]*_test\.go|tests/[^/]*\.rs"
    r"|(?:test_[^/]*|[^/]*(?:[_-]test|Test)|tests?/(?:.*/)?[^/]*)\.(?:c|cc|cpp|cxx)"
    r"|(?:[^/]*(?:Tests?|TestCase|[a-z0-9]IT)|Test[A-Z][^/]*|tests?/(?:.*/)?[^/]*)\.java)$"
)
_SCRIPT: Final = re.compile(r"(?:\.d)?\.[cm]?[jt]sx?$")
_CALLED: Final = re.compile(r"^test[_-]|[._-](?:test|spec)$")
"""What a script's test has in its name, besides that of the script."""
_REQUIRED: Final = re.compile(
    r"""(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\(|\bmock\s*\()\s*["'](\.{1,2}/[^"'\n]{1,300})["']"""
)
_PLACE: Final = re.compile(r"[\w.@+\-/\\]+\.(?:py|go|java|cc|cpp|cxx|c|[cm]?[jt]sx?)\b")
"""What may be the path of a test in a text."""
_MAIN: Final = re.compile(r"\bstatic\s+void\s+main\s*\(")
_INCLUDED: Final = re.compile(r'\binclude!\s*[(\[{]\s*"([^"\n]+)"|#\[path\s*=\s*"([^"\n]+)"')
_MODULE: Final = re.compile(r"^\s*(?:pub\s+)?mod\s+(\w+)\s*;", re.MULTILINE)
_BUILT: Final = frozenset(("c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx"))
_TESTED: Final = re.compile(r"^\s*(?:enable_testing\s*\(|include\s*\(\s*CTest\b)", re.MULTILINE | re.IGNORECASE)
"""In CMake's file: there are tests."""
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,80}")


def is_test(path: str) -> bool:
    return _TEST.search(path) is not None


def covering(path: str, files: Iterable[str], text_of: Callable[[str], str | None], said: str) -> list[str]:
    """Test files, the surest first; of Rust the package's manifest, of C++ CMake's: what they test is built together. Of a Rust
    file in no package, what has its text as a part of its own.

    path, files: relative to the workspace. said: a trace, a test's output.
    """
    ending = _ending(path)
    if ending == "rs":
        names = list(files)
        return _package(path, names) or _parts(path, names, text_of)
    if ending == "cpp" and _TESTED.search(text_of("CMakeLists.txt") or ""):
        return ["CMakeLists.txt"]
    named, covers = _ways(path, ending)
    found: list[tuple[int, str]] = []
    same = [one for one in files if one != path and _ending(one) == ending]
    tests = [one for one in same if is_test(one)]
    if ending == "java":
        # The program that failed, whatever it is called: it is run again.
        others = _spoken([one for one in same if not is_test(one)], said)
        tests += [one for one in sorted(others) if _MAIN.search(code := text_of(one) or "") and covers(code, one)]
    spoken = _spoken(tests, said)
    for name in tests[:MOST_READ]:
        if name in spoken:
            found.append((0, name))
        elif named(name):
            found.append((1, name))
        elif (text := text_of(name)) is not None and covers(text, name):
            found.append((2, name))
    return [name for _, name in sorted(found)][:MOST_FILES]


def _ending(path: str) -> str:
    """The same for files whose tests run together."""
    ending = path.rpartition(".")[2]
    return "js" if _SCRIPT.search(path) else "py" if ending == "pyi" else "cpp" if ending in _BUILT else ending


def _ways(path: str, ending: str) -> tuple[Callable[[str], bool], Callable[[str, str], bool]]:
    """Whether a test is called like the file; whether (its text, its name) says that it uses it."""
    folder, _, last = path.rpartition("/")
    if ending == "js":
        stem = _SCRIPT.sub("", last)
        return lambda name: _CALLED.sub("", _SCRIPT.sub("", name.rpartition("/")[2])) == stem, lambda text, name: _requires(
            text, name, path
        )
    if ending == "go":
        # A package's tests stand beside it.
        package = re.compile(rf'"[^"\n]*/{re.escape(folder)}"') if folder else None
        return lambda name: name.rpartition("/")[0] == folder, lambda text, _: package is not None and bool(package.search(text))
    if ending == "java":
        stem = last.removesuffix(".java")
        called = {f"Test{stem}.java", *(f"{stem}{one}.java" for one in ("Test", "Tests", "TestCase", "IT"))}
        return lambda name: name.rpartition("/")[2] in called, lambda text, _: _mentions(text, stem, folder)
    if ending == "cpp":
        # Without what includes it, a test is a program that has nothing of it.
        included = re.compile(rf'^\s*#\s*include\s*["<](?:[^">\n]*/)?{re.escape(last.rpartition(".")[0])}\.\w+[">]', re.M)
        return lambda name: False, lambda text, _: bool(included.search(text))
    stem = _stem(path)
    wanted = re.compile("|".join((_absolute(path), _relative(stem))), re.MULTILINE)
    return lambda name: name.rpartition("/")[2] in (f"test_{stem}.py", f"{stem}_test.py"), lambda text, _: bool(
        wanted.search(text)
    )


def _package(path: str, files: Iterable[str]) -> list[str]:
    manifests = [one for one in files if one.rpartition("/")[2] == "Cargo.toml"]
    above = [one for one in manifests if path.startswith(one.removesuffix("Cargo.toml"))]
    return sorted(above, key=len)[-1:]


def _parts(path: str, files: Sequence[str], text_of: Callable[[str], str | None]) -> list[str]:
    """Rust files with tests that are, or include, the file."""
    found = []
    for name in [one for one in files if one.endswith(".rs")][:MOST_READ]:
        text = text_of(name)
        if text is None or "#[test]" not in text:
            continue
        below = posixpath.dirname(name)
        places = [one for pair in _INCLUDED.findall(text) for one in pair if one]
        places += [f"{one}.rs" for one in _MODULE.findall(text)]
        if name == path or path in (posixpath.normpath(posixpath.join(below, one)) for one in places):
            found.append(name)
    return found[:MOST_FILES]


def _spoken(tests: Sequence[str], said: str) -> frozenset[str]:
    """Those that what was said names: with all of their folders that it says, so that of two of a name one is meant."""
    found: set[str] = set()
    for place in list(dict.fromkeys(_PLACE.findall(said)))[:MOST_READ]:
        plain = place.replace("\\", "/").removeprefix("./")
        whole = [name for name in tests if f"/{plain}".endswith(f"/{name}")]
        part = [name for name in tests if f"/{name}".endswith(f"/{plain}")]
        # From elsewhere, such as a container.
        last = [name for name in tests if name.rpartition("/")[2] == plain.rpartition("/")[2]]
        found.update([max(whole, key=len)] if whole else part or (last if len(last) == 1 else ()))
    return frozenset(found)


def _stem(path: str) -> str:
    parts = PurePosixPath(path)
    return parts.parent.name if parts.stem == "__init__" else parts.stem


def _absolute(path: str) -> str:
    """Imports of the module by any ending of its dotted name: where the search path begins is not known."""
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    ways = []
    for start in range(len(parts)):
        dotted = re.escape(".".join(parts[start:]))
        ways += [rf"^[^\S\n]*import\s[^\n]*\b{dotted}\b", rf"^[^\S\n]*from\s+{dotted}\s+import\b"]
        if start < len(parts) - 1:
            above = re.escape(".".join(parts[start:-1]))
            ways.append(rf"^[^\S\n]*from\s+{above}\s+import\s[^\n]*\b{re.escape(parts[-1])}\b")
    return "|".join(ways)


def _requires(text: str, name: str, path: str) -> bool:
    """A script's imports of its own project are paths from where it stands, mostly without their ending."""
    module = _SCRIPT.sub("", path)
    wanted = {module, module.removesuffix("/index")}
    folder = posixpath.dirname(name)
    return any(_SCRIPT.sub("", posixpath.normpath(posixpath.join(folder, one))) in wanted for one in _REQUIRED.findall(text))


def _mentions(text: str, stem: str, folder: str) -> bool:
    """A Java class uses those of its package without saying so, others by an import; where packages begin is not known."""
    if not re.search(rf"\b{re.escape(stem)}\b", text):
        return False
    own = re.search(r"^\s*package\s+([\w.]+)\s*;", text, re.MULTILINE)
    if own is None or f"/{folder}".endswith("/" + own[1].replace(".", "/")):
        return True
    package = re.escape(folder.rpartition("/")[2])
    wanted = rf"^\s*import\s+(?:static\s+)?(?:[\w.]+\.)?{package}\.(?:{re.escape(stem)}\b|\*)"
    return re.search(wanted, text, re.MULTILINE) is not None


def _relative(stem: str) -> str:
    name = re.escape(stem)
    return rf"^[^\S\n]*from\s+\.[\w.]*\b{name}\s+import\b|^[^\S\n]*from\s+\.+\s+import\s[^\n]*\b{name}\b"


def judged(runs: CoveringRuns, trace: str = "") -> Check:
    """What a change is worth by these tests. One that failed before does not count against it, one that passed before does.

    trace: what the request is about. Where it is the failure of some of these tests, one of them has to pass: of those that it
    names, where it names any; else of those in a file that it names.
    """
    before, after = frozenset(runs.before_passed), frozenset(runs.after_passed)
    broken, mended = sorted(before - after), sorted(after - before)
    still = [one for one in runs.after_failed if one not in before]
    if broken:
        note, result = f"It breaks {_tests(len(broken))} that passed before: {_named(broken)}.", "failed"
    elif (asked := _asked(still, mended, trace)) is not None:
        note, result = f"What was asked about still fails: {_named(asked)}.", "failed"
    elif not after:
        many = len(still) != 1
        note = (
            f"{_tests(len(still))} that cover{'' if many else 's'} it fail{'' if many else 's'}, as before."
            if still
            else NONE_RAN
        )
        result = "unchecked"
    else:
        parts = [f"{_tests(len(mended))} that failed pass now."] if mended else []
        parts.append(
            f"{_tests(len(after))} that cover{'s' if len(after) == 1 else ''} it {'passes' if len(after) == 1 else 'pass'}"
        )
        note, result = " ".join(parts) + (f"; {len(still)} failed before and still do." if still else "."), "passed"
    return Check.model_validate({"name": "tests", "result": result, "note": note, "runs": runs})


def _asked(still: Sequence[str], mended: Sequence[str], trace: str) -> list[str] | None:
    """What a trace is the failure of, if nothing of it is mended."""
    here = [one for one in (*still, *mended) if _file(one) and _file(one) in trace]
    words = frozenset(_NAME.findall(trace))
    asked = [one for one in here if _name(one) in words] or here
    return None if not asked or any(one in asked for one in mended) else asked


NONE_RAN: Final = "The tests that cover it were started, but none ran."


def _file(test: str) -> str:
    """The name of the file that a test stands in, without folders."""
    return test.partition("::")[0].rpartition("/")[2]


def _tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"


def _named(tests: Sequence[str]) -> str:
    names = list(dict.fromkeys(map(_name, tests)))
    shown = ", ".join(f"`{name}`" for name in names[:MOST_NAMED])
    return shown + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _name(test: str) -> str:
    """Without what stands in brackets: a parameter is a value of the program's. Where the name is a sentence: the file's."""
    found = _NAME.findall(test.partition("[")[0])
    return _file(test) if " " in test.partition("[")[0] or not found else found[-1]
