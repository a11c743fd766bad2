"""What C++ assertions, sanitizers and gdb say, panics of Go and of Rust. Pure."""

import re
from typing import Final

from tacit.protocol.traces.trace import Frame, Raised, Trace

_SANITIZER: Final = re.compile(
    r"(?:ERROR|WARNING): ((?:Address|HWAddress|Leak|Thread|Memory|UndefinedBehavior)Sanitizer): (.{1,300})"
)
_UBSAN: Final = re.compile(r"^(\S[^:\n]{0,500}):(\d{1,8}):(?:(\d{1,8}):)? runtime error: (.{1,500})$")
_C_FRAME: Final = re.compile(
    r"^\s*#(\d{1,4})\s+(?:0x[0-9a-fA-F]{1,16}\s+)?(?:in\s+)?(.{1,800}?)\s+(?:at\s+)?"
    r"((?:/|[A-Za-z]:[\\/]|\.{0,2}/?[\w.-])[^\s():]{0,500}\.\w{1,4}):(\d{1,8})(?::(\d{1,8}))?(?:\s+\(.{0,400}\))?\s*$"
)
_ASSERTION: Final = re.compile(
    r"^(?:[^\s:]{1,200}: )?(\S[^:\n]{0,500}\.\w{1,4}):(\d{1,8}): (.{1,500}?): Assertion [`'](.{1,1000})' failed\.$"
)
"""Of glibc."""
_GDB_SIGNAL: Final = re.compile(r"(?:received signal|terminated with signal) (SIG[A-Z]{2,8})(?:, (.{1,200}?))?\.?$")
_SECTION: Final = re.compile(
    r"^(?:\s*)((?:freed|previously allocated|allocated|Previous (?:write|read)|previous (?:write|read)).{0,200})$", re.IGNORECASE
)
_TERMINATE: Final = re.compile(r"^terminate called after throwing an instance of '([^']{1,300})'")
_WHAT: Final = re.compile(r"^\s*what\(\):\s+(.*)$")

_GO_PANIC: Final = re.compile(r"^(?:\s*)(panic|fatal error): (.*?)(?: \[recovered\])?$")
_GO_SIGNAL: Final = re.compile(r"^\[signal (SIG[A-Z]{2,8}):")
_GO_ROUTINE: Final = re.compile(r"^goroutine \d{1,12} \[.*\]:$")
_GO_CALL: Final = re.compile(r"^(?:created by )?([\w./*()\[\]…{}<>~%@-]{1,400}?)(?:\((?:[^()]|\(\))*\))?(?: in goroutine \d+)?$")
_GO_PLACE: Final = re.compile(
    r"^\s+((?:/|[A-Za-z]:[\\/]|\.{0,2}/?[\w.@-])[^\s:]{0,600}\.(?:go|s)):(\d{1,8})(?: \+0x[0-9a-f]+)?\s*$"
)

_RUST_PANIC: Final = re.compile(r"^\s*thread '([^']{0,200})'(?: \(\d{1,12}\))? panicked at (.*)$")
_RUST_PLACE: Final = re.compile(r"^(.{1,600}?\.rs):(\d{1,8}):(\d{1,8}):?$")
_RUST_OLD: Final = re.compile(r"^'(.*)', (.{1,600}?\.rs):(\d{1,8}):(\d{1,8})$")
_RUST_CALL: Final = re.compile(r"^\s*(\d{1,4}): (?:0x[0-9a-f]+ - )?(.{1,600}?)\s*$")
_RUST_AT: Final = re.compile(r"^\s+at (.{1,600}?\.rs):(\d{1,8})(?::(\d{1,8}))?\s*$")


def parse_cpp(lines: list[str]) -> Trace | None:
    """A failed assertion, findings of sanitizers, an uncaught exception, a stack of gdb; further stacks of a finding
    ("freed by …") come after it."""
    raised: list[Raised] = []
    head: tuple[str, str] | None = None
    frames: list[Frame] = []

    def close() -> None:
        nonlocal head, frames
        if frames:
            kind, message = head or ("", "")
            raised.append(Raised(kind, message, tuple(frames)))
            head, frames = None, []

    for line in lines:
        if (match := _SANITIZER.search(line)) is not None:
            close()
            finding = match[2].strip()
            head = (finding.partition(" on ")[0].partition(" (")[0], f"{match[1]}: {finding}")
        elif (match := _UBSAN.match(line)) is not None:
            close()
            place = Frame(match[1].replace("\\", "/"), int(match[2]), int(match[3] or 0), "", "cpp")
            raised.append(Raised("runtime error", match[4].strip(), (place,)))
        elif (match := _ASSERTION.match(line)) is not None:
            close()
            function = match[3].partition("(")[0].rpartition(" ")[2]
            raised.append(Raised("assertion", match[4], (Frame(match[1].replace("\\", "/"), int(match[2]), 0, function, "cpp"),)))
        elif (match := _GDB_SIGNAL.search(line)) is not None:
            close()
            head = (match[1], match[2] or "")
        elif (match := _TERMINATE.match(line)) is not None:
            close()
            head = (match[1], "")
        elif (match := _WHAT.match(line)) is not None and head is not None:
            head = (head[0], match[1].strip())
        elif (match := _SECTION.match(line)) is not None and frames:
            close()
            head = (match[1].strip().rstrip(":"), "")
        elif (match := _C_FRAME.match(line)) is not None:
            number, function, path, row, column = match.groups()
            if number == "0" and frames:
                # Another thread, or the next stack of the same finding.
                close()
            frames.append(Frame(path.replace("\\", "/"), int(row), int(column or 0), _c_function(function), "cpp"))
    if head is not None and not frames and head[1]:
        raised.append(Raised(head[0], head[1], ()))
    close()
    return Trace("cpp", tuple(raised)) if any(one.frames or one.type for one in raised) else None


def _c_function(text: str) -> str:
    """Without arguments: gdb prints their values."""
    name = text.partition(" (")[0].removesuffix(" at").strip()
    return name.partition("(")[0] if not name.startswith("(") and "operator" not in name else name


def parse_go(lines: list[str]) -> Trace | None:
    """The first goroutine's stack; the others only wait."""
    heads: list[tuple[str, str]] = []
    frames: list[Frame] = []
    function, routines = "", 0
    for line in lines:
        if (match := _GO_PANIC.match(line)) is not None:
            heads.append((match[1], match[2].strip()))
        elif (match := _GO_SIGNAL.match(line)) is not None and heads:
            heads[-1] = (match[1], heads[-1][1])
        elif _GO_ROUTINE.match(line):
            routines += 1
        elif routines == 1 and (match := _GO_PLACE.match(line)) is not None:
            frames.append(Frame(match[1].replace("\\", "/"), int(match[2]), 0, function, "go"))
            function = ""
        elif routines == 1 and (match := _GO_CALL.match(line)) is not None:
            function = match[1]
    if not heads or not routines:
        return None
    kind, message = heads[-1]
    return Trace("go", (Raised(kind, message, tuple(frames)),))


def parse_rust(lines: list[str]) -> Trace | None:
    raised: list[Raised] = []
    place: Frame | None = None
    message, function = "", ""
    frames: list[Frame] = []
    wants_message = False

    def close() -> None:
        nonlocal place, frames, message
        if place is not None:
            same = any((one.path, one.line) == (place.path, place.line) for one in frames)
            raised.append(Raised("panic", message, tuple(frames) if same else (place, *frames)))
        place, frames, message = None, [], ""

    for line in lines:
        if (match := _RUST_PANIC.match(line)) is not None:
            close()
            where = match[2].strip()
            if (old := _RUST_OLD.match(where)) is not None:
                message, place = old[1], Frame(old[2].replace("\\", "/"), int(old[3]), int(old[4]), "", "rust")
            elif (new := _RUST_PLACE.match(where)) is not None:
                place = Frame(new[1].replace("\\", "/"), int(new[2]), int(new[3]), "", "rust")
                wants_message = True
        elif wants_message:
            message, wants_message = line.strip(), False
        elif place is not None and (match := _RUST_AT.match(line)) is not None:
            frames.append(Frame(match[1].replace("\\", "/"), int(match[2]), int(match[3] or 0), function, "rust"))
            function = ""
        elif place is not None and (match := _RUST_CALL.match(line)) is not None:
            function = match[2]
    close()
    return Trace("rust", tuple(raised)) if raised else None
