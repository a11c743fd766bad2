"""Python's tracebacks: chained ones, groups, syntax errors, and pytest's short form. Pure."""

import re
from typing import Final

from tacit.protocol.traces.trace import Frame, Raised, Trace

_HEAD: Final = "Traceback (most recent call last):"
_GROUP: Final = re.compile(r"^[ |+-]*(?=(?:Exception Group )?Traceback \(most|File \"|\w)")
_FRAME: Final = re.compile(r'^\s*File "([^"]{1,1000})", line (\d{1,8})(?:, in (.{1,200}))?\s*$')
_ENDING: Final = re.compile(r"^((?:[A-Za-z_][\w]*\.)*[A-Za-z_]\w*)(?::\s?(.*))?$")
_PYTEST_PLACE: Final = re.compile(r"^(\S{1,500}\.pyi?):(\d{1,8}): (\w[\w.]*)?\s*$")
_PYTEST_ERROR: Final = re.compile(
    r"^E\s{1,7}([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning|Failed|Iteration))(?::\s?(.*))?$"
)
_ASSERT: Final = re.compile(r"^E\s{1,7}(assert\b.*)$")


def parse(lines: list[str]) -> Trace | None:
    return _traceback(lines) or _pytest(lines)


def _traceback(lines: list[str]) -> Trace | None:
    raised: list[Raised] = []
    frames: list[Frame] = []
    inside = False
    for raw in lines:
        line = _GROUP.sub("", raw) if raw.lstrip()[:1] in ("|", "+") else raw
        if _HEAD in line:
            if frames:
                # The one before has no ending that is shown.
                raised.append(Raised("", "", tuple(reversed(frames))))
            frames, inside = [], True
            continue
        if (match := _FRAME.match(line)) is not None:
            # A syntax error that is reported by itself has no heading.
            inside = True
            frames.append(Frame(match[1].replace("\\", "/"), int(match[2]), 0, (match[3] or "").strip(), "python"))
            continue
        if not inside or not line.strip() or line[:1].isspace():
            continue
        match = _ENDING.match(line)
        if match is not None and frames:
            raised.append(Raised(match[1], (match[2] or "").strip(), tuple(reversed(frames))))
            frames, inside = [], False
    if frames:
        raised.append(Raised("", "", tuple(reversed(frames))))
    return Trace("python", tuple(raised)) if raised else None


def _pytest(lines: list[str]) -> Trace | None:
    """Places and `E` lines of pytest's failures, the last place first: that is where it was raised."""
    raised: list[Raised] = []
    frames: list[Frame] = []
    said: tuple[str, str] | None = None
    for line in lines:
        if (match := _PYTEST_ERROR.match(line)) is not None:
            said = said or (match[1], (match[2] or "").strip())
        elif (match := _ASSERT.match(line)) is not None:
            said = said or ("AssertionError", match[1].strip())
        elif (match := _PYTEST_PLACE.match(line)) is not None:
            frames.append(Frame(match[1].replace("\\", "/"), int(match[2]), 0, "", "python"))
            if match[3]:
                kind, message = said or (match[3], "")
                raised.append(Raised(kind, message, tuple(reversed(frames))))
                frames, said = [], None
    return Trace("python", tuple(raised)) if raised else None
