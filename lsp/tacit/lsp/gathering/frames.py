"""Code of the places that a stack trace names, as far as they are in the workspace; and saved output of failing tests. Reads
files through `reading`, which knows what may be shown.
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tacit.lsp.gathering.reading import Reading
from tacit.protocol.redaction import redact
from tacit.protocol.traces.reading import in_workspace, read

MOST_FRAMES: Final = 4
AROUND: Final = 6
"""Lines above and below the one that a frame names."""
LONGEST_LINE: Final = 300
OUTPUT_ENDINGS: Final = (".log", ".txt", ".out")
MOST_OUTPUT: Final = 200_000
"""Characters of one that is read; more is cut at its beginning."""
SHOWN_OUTPUT: Final = 1500
"""Characters of it that are shown: where the error stands, its end."""
OUTPUT_AGE_S: Final = 24 * 3600.0
"""Older output is of another day's code."""
OUTPUTS: Final = 3
"""Files that are looked into, the newest first."""


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of a file."""

    path: str
    text: str
    first: int
    """Its first line, counted from 0."""
    note: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a failing program or test wrote into a file."""

    path: str
    text: str
    """Its end, secrets replaced."""
    whole: str
    """All that was read of it, secrets replaced: what it says of places."""


def around(reading: Reading, name: str, line: int, note: str, lines: int = AROUND) -> Code | None:
    """line: counts from 0. None: it may not be shown, or there is no such line."""
    found = reading.lines(name)
    if found is None or not 0 <= line < len(found):
        return None
    first = max(0, line - lines)
    text = "\n".join(one.rstrip()[:LONGEST_LINE] for one in found[first : line + lines + 1]).rstrip("\n")
    return Code(name, text, first, note) if text.strip() else None


def places(text: str, root: str, files: Sequence[str]) -> list[tuple[str, int]]:
    """(file, line from 0) of the frames in the workspace, the innermost first. root, files: as `in_workspace` has them."""
    trace = read(text) if text else None
    found = ((in_workspace(frame, root, files), frame.line) for frame in (trace.frames if trace is not None else ())[:100])
    return list(dict.fromkeys((name, line - 1) for name, line in found if name is not None and line > 0))


def frames(reading: Reading, wanted: Iterable[tuple[str, int]], shown: tuple[str, range] | None = None) -> list[Code]:
    """Code around these places; those that lie in one another's are shown once. shown: a file and the lines of it that the
    model sees in any case."""
    found: list[Code] = []
    for name, line in wanted:
        if len(found) == MOST_FRAMES:
            break
        if (shown is not None and name == shown[0] and line in shown[1]) or any(
            one.path == name and one.first <= line <= one.first + 2 * AROUND for one in found
        ):
            continue
        if (code := around(reading, name, line, f"line {line + 1} is in the trace")) is not None:
            found.append(code)
    return found


def saved_output(reading: Reading, about: str, files: Sequence[str]) -> Output | None:
    """The newest text in the editor or in the folder that is a trace through the file `about`; None: there is none.

    Only what stands in the folder itself is looked at, and of it only what was written within a day.
    """
    root = reading.folder.root
    for name in _newest(root, reading.opened):
        clean = _clean(reading, name)
        if clean is not None and any(file == about for file, _ in places(clean, str(root), files)):
            return Output(name, clean.strip()[-SHOWN_OUTPUT:], clean)
    return None


def output_now(reading: Reading, name: str) -> tuple[str, float] | None:
    """An output's text as it is saved now, secrets replaced, and when it was written; None: it may not be shown, or is gone."""
    path = reading.allowed(name)
    try:
        written = path.stat().st_mtime if path is not None else None
    except OSError:
        return None
    clean = _clean(reading, name)
    return None if clean is None or written is None else (clean, written)


def _clean(reading: Reading, name: str) -> str | None:
    text = reading.raw(name)
    return None if text is None or "PRIVATE KEY" in text else redact(text)[-MOST_OUTPUT:]


def _newest(root: Path, opened: Iterable[str]) -> list[str]:
    begun = time.time() - OUTPUT_AGE_S
    top = root.as_uri()
    open_ones = [uri[len(top) + 1 :] for uri in opened if uri.startswith(f"{top}/") and uri.endswith(OUTPUT_ENDINGS)]
    found: list[tuple[float, str]] = []
    with contextlib.suppress(OSError):
        ends = [path for path in root.iterdir() if path.name.endswith(OUTPUT_ENDINGS) and path.is_file()]
        found += [(written, path.name) for path in ends if (written := path.stat().st_mtime) >= begun]
    names = [*(name for name in open_ones if "%" not in name), *(name for _, name in sorted(found, reverse=True))]
    return list(dict.fromkeys(names))[:OUTPUTS]
