"""Two outputs of the same program or tests, one from before a fix and one from after it: what the second says of the fix. Pure.

Nothing is guessed: an output that does not end like the first one, that is empty, or in which nobody has come by the place yet,
says nothing.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from tacit.protocol.traces.reading import read
from tacit.protocol.traces.trace import Frame, Trace

ASSERTIONS: Final = frozenset(("AssertionError", "AssertionFailedError", "AssertionException", "assertion"))
"""Last parts of a type's name: a test's own exceptions, not the program's."""
_FAILED: Final = (
    re.compile(r"^(?:FAILED|ERROR) (\S+::\S+)", re.MULTILINE),
    re.compile(r"^(?:FAIL|ERROR): (\S+ \([\w.]+\))", re.MULTILINE),
    re.compile(r"^test (\S+)(?: - should panic)? \.\.\. FAILED$", re.MULTILINE),
    re.compile(r"^\s*--- FAIL: (\S+)", re.MULTILINE),
    re.compile(r"^\s+[✕✗] (.+?)(?: \(?[\d.]+ ?m?s\)?)?$", re.MULTILINE),
)
"""How pytest, unittest, cargo, Go, and Node's runners name a test that failed."""
_ENDED: Final = re.compile(
    r"^(?:=+ )?(?:\d+ \w+, )*\d+ (?:passed|failed|errors?)\b.* in [\d.]+s|^(?:OK|FAILED)(?: \(.*\))?$|^test result: "
    r"|^(?:ok|FAIL)\s+\S+\s+[\d.]+s|^Tests:?\s+\d|^Tests run: |^\d+% tests passed|^# (?:pass|fail) \d",
    re.MULTILINE,
)
"""The line with which a runner of tests ends: by it an output is one of tests, and whole."""
_COUNTED: Final = re.compile(
    r"\b(\d+) (?:passed|failed|errors?|skipped|ignored|xfailed|xpassed)\b|^Ran (\d+) tests?", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Rerun:
    """As the event `Reran` has it."""

    exception_gone: bool
    raised: str = ""
    tests_fixed: int = 0
    tests_failing: int = 0
    tests_broken: int = 0


def compared(before: str, now: str) -> Rerun | None:
    """None: the second output tells nothing. before: the trace that a fix was for, with all that stood around it."""
    was = _trace(before)
    if was is None or not now.strip():
        return None
    appended = len(now) > len(before) and now.startswith(before.rstrip())
    said = now[len(before.rstrip()) :] if appended else now
    tests = _ENDED.search(before) is not None
    if tests and _ENDED.search(said) is None:
        return None
    found = read(said)
    if found is not None and found.refused:
        # It was not compiled, so it has not run.
        return None
    if appended and not tests and found is None:
        # A log that goes on without the exception: nobody may have come by the place since.
        return None
    stays = found is not None and any(_same(found, number, was) for number in range(len(found.raised)))
    raised = ""
    if found is not None and (stays or not tests):
        last = found.raised[-1].type
        raised = "" if last.rpartition(".")[2].rpartition("::")[2] in ASSERTIONS else last[:200]
    failed, fails = _failed(before), _failed(said)
    if not tests:
        return Rerun(not stays, raised)
    same_tests = _count(before) is not None and _count(before) == _count(said)
    return Rerun(not stays, raised, len(failed - fails), len(failed & fails), len(fails - failed) if same_tests else 0)


def same_program(before: str, now: str) -> bool:
    """Whether both are traces that began at the same place, and are not one and the same."""
    was, found = _trace(before), _trace(now)
    if was is None or found is None or before.split() == now.split():
        return False
    entries = [(_name(one.frames[-1]), one.frames[-1].function) for one in (was, found) if one.frames]
    return len(entries) == 2 and entries[0] == entries[1]


def rows(text: str, name: str) -> list[int]:
    """Lines from 0 of the file of that name in the trace; empty: it is not in one of a program that has run."""
    found = _trace(text)
    return [one.line - 1 for one in (found.frames if found is not None else ()) if one.line and _name(one) == name]


def _trace(text: str) -> Trace | None:
    found = read(text) if text else None
    return None if found is None or found.refused else found


def _same(found: Trace, number: int, was: Trace) -> bool:
    """The exception that it was about: its type, raised in the same function of the same file."""
    one, cause = found.raised[number], was.cause
    if one.type != cause.type:
        return False
    places = [(_name(two.frames[0]), two.frames[0].function) for two in (one, cause) if two.frames]
    return len(places) < 2 or places[0] == places[1]


def _name(frame: Frame) -> str:
    return PurePosixPath(frame.path.replace("\\", "/")).name


def _failed(text: str) -> frozenset[str]:
    return frozenset(name for pattern in _FAILED for name in pattern.findall(text))


def _count(text: str) -> int | None:
    """Tests that were run; None: it is not said."""
    found = [int(one or two) for one, two in _COUNTED.findall(text)]
    return sum(found) if found else None
