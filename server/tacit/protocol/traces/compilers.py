"""What compilers say of a program that they refuse: gcc and clang, javac (Maven's form too), tsc, rustc, Go's tools. Pure.

Each error is one Raised: its code or `error`, its message, the place that it is about, then the places of its notes. The first is
the cause, as it mostly is. Warnings are read only where nothing is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tacit.protocol.traces.trace import Frame, Raised, Trace, TraceLanguage

MOST_ERRORS: Final = 50
_LANGUAGES: Final[dict[str, TraceLanguage]] = {
    **dict.fromkeys(("c", "cc", "cpp", "cxx", "c++", "h", "hh", "hpp", "hxx", "ipp", "inl", "m", "mm", "cu"), "cpp"),
    **dict.fromkeys(("ts", "tsx", "mts", "cts"), "typescript"),
    **dict.fromkeys(("js", "jsx", "mjs", "cjs"), "javascript"),
    "java": "java",
    "go": "go",
    "rs": "rust",
}
_PATH: Final = r"(?P<path>(?:[A-Za-z]:)?[^\s:()][^:()]{0,600}?\.(?P<ending>[\w+]{1,4}))"

_ROW: Final = r"(?P<line>\d{1,8})"
_AT: Final = rf"{_PATH}:{_ROW}:(?:(?P<column>\d{{1,8}}):)?"
_C: Final = re.compile(rf"^{_AT} (?P<kind>fatal error|error|warning|note): (?P<message>.*)$")
_C_INCLUDED: Final = re.compile(rf"^(?:In file included from|\s+from) {_PATH}:{_ROW}(?::(?P<column>\d{{1,8}}))?[,:]$")
_C_FUNCTION: Final = re.compile(
    rf"^{_PATH}: In [\w ]{{0,80}}(?:function|structor) [\u2018'`](?P<function>.{{1,300}})[\u2019'`]:$"
)
_LINKER: Final = re.compile(
    rf"^(?:.{{0,300}}?[/ ]ld(?:\.\w+)?: |.{{0,300}}?\.o: )?{_PATH}:(?:{_ROW}|\(\.[^)]{{1,80}}\)): "
    r"(?P<message>(?:undefined reference|multiple definition).*)$"
)
_JAVA: Final = re.compile(rf"^{_PATH}:{_ROW}: (?P<kind>error|warning): (?P<message>.*)$")
_JAVA_DETAIL: Final = re.compile(r"^\s+(symbol|location|required|found|reason):\s+(.{1,300})$")
_MAVEN: Final = re.compile(
    rf"^\[(?P<kind>ERROR|WARNING)\] {_PATH}:\[{_ROW}(?:,(?P<column>\d{{1,8}}))?\] (?:error: )?(?P<message>.*)$"
)
_TYPESCRIPT: Final = re.compile(
    rf"^{_PATH}(?:\({_ROW},(?P<column>\d{{1,8}})\):|:(?P<row>\d{{1,8}}):(?P<place>\d{{1,8}}) -) "
    r"(?P<kind>error|warning) (?P<code>TS\d{1,6}): (?P<message>.*)$"
)
_RUST_HEAD: Final = re.compile(r"^(?P<kind>error|warning)(?:\[(?P<code>[EW]\d{1,6})\])?: (?P<message>.*)$")
_RUST_PLACE: Final = re.compile(rf"^\s*(?:-->|:::) {_PATH}:{_ROW}:(?P<column>\d{{1,8}})$")
_RUST_SHORT: Final = re.compile(
    rf"^{_PATH}:{_ROW}:(?P<column>\d{{1,8}}): (?P<kind>error|warning)(?:\[(?P<code>E\d{{1,6}})\]): (?P<message>.*)$"
)
_RUST_END: Final = re.compile(r"^(?:aborting due to|could not compile|build failed|\d+ warnings? emitted|`.*` \(.*\) generated)")
_GO: Final = re.compile(rf"^(?:vet: )?{_AT} (?P<message>[^\d\s].*)$")


@dataclass(slots=True)
class _Said:
    """One complaint while its lines are read."""

    kind: str
    code: str
    message: str
    frames: list[Frame] = field(default_factory=list)


def parse(lines: list[str]) -> Trace | None:
    found = [one for one in _said(lines) if one.frames]
    errors = [one for one in found if "warning" not in one.kind.lower()] or found
    if not errors:
        return None
    kind = "warning" if errors is found and "warning" in found[0].kind.lower() else "error"
    raised = tuple(Raised(one.code or kind, one.message, tuple(dict.fromkeys(one.frames))) for one in errors[:MOST_ERRORS])
    return Trace(errors[0].frames[0].language, raised, refused=True)


def _said(lines: list[str]) -> Iterator[_Said]:
    current: _Said | None = None
    included: list[Frame] = []
    functions: dict[str, str] = {}
    waiting = False
    """A head of rustc's has come, and its place has not."""
    for line in lines:
        if (match := _C_FUNCTION.match(line)) is not None:
            functions[match["path"]] = match["function"]
        elif (match := _C_INCLUDED.match(line)) is not None:
            included.append(_frame(match, ""))
        elif (match := _RUST_SHORT.match(line) or _TYPESCRIPT.match(line) or _MAVEN.match(line)) is not None:
            yield from _if(current)
            current, waiting = _new(match, ""), False
        elif (match := _C.match(line)) is not None and match["kind"] == "note" and current is not None:
            current.frames += _frames(match, "")
        elif match is not None and match["kind"] != "note" and _language(match) == "cpp":
            yield from _if(current)
            current, waiting = _new(match, functions.get(match["path"], "")), False
            current.frames += included
            included = []
        elif (match := _JAVA.match(line)) is not None and _language(match) == "java":
            yield from _if(current)
            current, waiting = _new(match, ""), False
        elif (match := _LINKER.match(line)) is not None:
            yield from _if(current)
            current, waiting = _Said("error", "", match["message"].strip(), list(_frames(match, ""))), False
        elif (match := _RUST_HEAD.match(line)) is not None and _RUST_END.match(match["message"]) is None:
            yield from _if(current)
            current, waiting = _Said(match["kind"], match["code"] or "", match["message"].strip()), True
        elif (match := _RUST_PLACE.match(line)) is not None and current is not None and (waiting or _rust(current)):
            current.frames += _frames(match, "")
            waiting = False
        elif (match := _GO.match(line)) is not None and _language(match) == "go":
            yield from _if(current)
            current, waiting = _Said("error", "", match["message"].strip(), list(_frames(match, ""))), False
        elif (match := _JAVA_DETAIL.match(line)) is not None and current is not None and current.frames and not waiting:
            current.message += f"; {match[1]}: {' '.join(match[2].split())}" if len(current.message) < 600 else ""
    yield from _if(current)


def _if(said: _Said | None) -> Iterator[_Said]:
    if said is not None:
        yield said


def _rust(said: _Said) -> bool:
    return bool(said.frames) and said.frames[0].language == "rust"


def _new(match: re.Match[str], function: str) -> _Said:
    return _Said(match["kind"], match.groupdict().get("code") or "", match["message"].strip(), list(_frames(match, function)))


def _language(match: re.Match[str]) -> TraceLanguage | None:
    return _LANGUAGES.get(match["ending"].lower())


def _frames(match: re.Match[str], function: str) -> Iterator[Frame]:
    """None where the file is of no language that is known."""
    if _language(match) is not None:
        yield _frame(match, function)


def _frame(match: re.Match[str], function: str) -> Frame:
    told = match.groupdict()
    line, column = told.get("line") or told.get("row") or 0, told.get("column") or told.get("place") or 0
    language = _language(match) or "cpp"
    return Frame(match["path"].replace("\\", "/"), int(line), int(column), function, language)
