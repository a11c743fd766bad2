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
    r"(?:^|/)(?:(?:test_[^/]*|[^/]*_test)\.py|[^/]*[.-](?:test|spec)\.[cm]?[jt]sx?"
    r"|(?:__tests__|tests?)/(?:.*/)?[^/]*\.[cm]?[jt]sx?)$"
)
_SCRIPT: Final = re.compile(r"(?:\.d)?\.[cm]?[jt]sx?$")
_REQUIRED: Final = re.compile(
    r"""(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\(|\bmock\s*\()\s*["'](\.{1,2}/[^"'\n]{1,300})["']"""
)
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,80}")


def is_test(path: str) -> bool:
    return _TEST.search(path) is not None


def covering(path: str, files: Iterable[str], text_of: Callable[[str], str | None], said: str) -> list[str]:
    """Test files, the surest first. path, files: relative to the workspace. said: a trace, a test's output."""
    script = _SCRIPT.search(path) is not None
    stem = _SCRIPT.sub("", path.rpartition("/")[2]) if script else _stem(path)
    wanted = None if script else re.compile("|".join((_absolute(path), _relative(stem))), re.MULTILINE)
    found: list[tuple[int, str]] = []
    for name in [one for one in files if is_test(one) and one != path and script == (_SCRIPT.search(one) is not None)][
        :MOST_READ
    ]:
        last = name.rpartition("/")[2]
        if name in said or f"{last}:" in said or f'{last}"' in said:
            found.append((0, name))
        elif last in (f"test_{stem}.py", f"{stem}_test.py") or (script and re.split(r"[.-](?:test|spec)\.", last)[0] == stem):
            found.append((1, name))
        elif (text := text_of(name)) is not None and (wanted.search(text) if wanted else _requires(text, name, path)):
            found.append((2, name))
    return [name for _, name in sorted(found)][:MOST_FILES]


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


def _relative(stem: str) -> str:
    name = re.escape(stem)
    return rf"^[^\S\n]*from\s+\.[\w.]*\b{name}\s+import\b|^[^\S\n]*from\s+\.+\s+import\s[^\n]*\b{name}\b"


def judged(runs: CoveringRuns, trace: str = "") -> Check:
    """What a change is worth by these tests. One that failed before does not count against it, one that passed before does.

    trace: what the request is about. Where it is the failure of one of these tests, something has to pass that failed.
    """
    before, after = frozenset(runs.before_passed), frozenset(runs.after_passed)
    broken, mended = sorted(before - after), sorted(after - before)
    still = [one for one in runs.after_failed if one not in before]
    if broken:
        note, result = f"It breaks {_tests(len(broken))} that passed before: {_named(broken)}.", "failed"
    elif not mended and (asked := [one for one in still if _file(one) and _file(one) in trace]):
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
