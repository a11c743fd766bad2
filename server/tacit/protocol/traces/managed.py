"""Stack traces of Java and its like, and of JavaScript and TypeScript under Node. Pure."""

import re
from typing import Final

from tacit.protocol.traces.trace import Frame, Raised, Trace

_JAVA_FRAME: Final = re.compile(
    r"^\s*at (?:[\w.$@-]{0,200}/{1,2}){0,2}([\w.$<>]{1,400})\.([\w$<>]{1,200})"
    r"\((?:([\w$.-]{1,200}\.(?:java|kt|scala|groovy))(?::(\d{1,8}))?|Native Method|Unknown Source|[^)]{0,100})\)"
)
_JAVA_HEAD: Final = re.compile(
    r"^(?:Exception in thread \"[^\"]{0,200}\"\s+|\s*(Caused by|Suppressed):\s+)?"
    r"((?:[a-zA-Z_$][\w$]*\.)+[A-Z][\w$]*|[A-Z][\w$]*(?:Exception|Error|Throwable))(?::\s?(.*))?$"
)

_JS_FRAME: Final = re.compile(
    r"^\s*at (?:async )?(?:(.{1,300}?) \()?((?:file://)?[^()\s][^()]{0,1000}?):(\d{1,8})(?::(\d{1,8}))?\)?\s*(?:\{)?$"
)
_JS_HEAD: Final = re.compile(
    r"^(?:Uncaught (?:\(in promise\) )?|\s*\[cause\]:\s+|\s*\[errors\]:\s+)?"
    r"((?:[A-Za-z_$][\w$]*)?(?:Error|Exception|Warning)|Error)(?: \[[A-Z_0-9]{1,80}\])?(?::\s?(.*))?$"
)
_JS_PLACE: Final = re.compile(r"^((?:file://)?(?:/|[A-Za-z]:[\\/]|\.{1,2}/)?[^\s:()][^:()]{0,500}\.(?:[cm]?[jt]sx?)):(\d{1,8})$")


def parse_java(lines: list[str]) -> Trace | None:
    raised: list[Raised] = []
    head: tuple[str, str] | None = None
    frames: list[Frame] = []
    suppressed = False

    def close() -> None:
        nonlocal head, frames
        if (frames or (head and raised)) and not suppressed:
            kind, message = head or ("", "")
            raised.append(Raised(kind, message, tuple(frames)))
        head, frames = None, []

    for line in lines:
        if (match := _JAVA_FRAME.match(line)) is not None:
            owner, method, file, number = match.groups()
            package = owner.rpartition(".")[0].replace(".", "/")
            path = "" if file is None else f"{package}/{file}" if package else file
            frames.append(Frame(path, int(number or 0), 0, f"{owner}.{method}", "java"))
        elif (match := _JAVA_HEAD.match(line)) is not None:
            if frames or match[1]:
                close()
            head, suppressed = (match[2], (match[3] or "").strip()), match[1] == "Suppressed"
    close()
    if not any(one.frames for one in raised):
        return None
    # "Caused by" comes last and happened first.
    return Trace("java", tuple(reversed(raised)))


def parse_javascript(lines: list[str]) -> Trace | None:
    raised: list[Raised] = []
    head: tuple[str, str] | None = None
    frames: list[Frame] = []
    place: Frame | None = None

    def close() -> None:
        nonlocal head, frames, place
        if head is not None and (frames or place):
            # Node names the place of a syntax error only above the message.
            own = (place, *frames) if place and (head[0] == "SyntaxError" or not frames) else tuple(frames)
            raised.append(Raised(head[0], head[1], own))
            place = None
        head, frames = None, []

    for line in lines:
        if (match := _JS_FRAME.match(line)) is not None and (head is not None or frames):
            function, path, number, column = match.groups()
            frames.append(_js_frame(path, int(number), int(column or 0), function or ""))
        elif (match := _JS_HEAD.match(line)) is not None:
            close()
            head = (match[1], (match[2] or "").strip())
        elif (match := _JS_PLACE.match(line.strip())) is not None:
            place = _js_frame(match[1], int(match[2]), 0, "")
    close()
    if not raised:
        return None
    first = next((frame for one in raised for frame in one.frames if not frame.path.startswith("node:")), raised[0].frames[0])
    # A `[cause]` comes last and happened first.
    return Trace(first.language, tuple(reversed(raised)))


def _js_frame(path: str, line: int, column: int, function: str) -> Frame:
    path = path.removeprefix("file://").replace("\\", "/")
    typed = path.endswith((".ts", ".tsx", ".mts", ".cts"))
    return Frame(path, line, column, function.removeprefix("async "), "typescript" if typed else "javascript")
