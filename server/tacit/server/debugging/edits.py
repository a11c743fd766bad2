"""From two texts to the smallest edits between them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

MOST_COMPARED: Final = 500
"""Lines that are compared each with each."""
MOST_INSERTED: Final = 40
"""Lines of imports that are looked for above a long unchanged run."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`[start, end)` of the old text, in code points, is replaced by `text`."""

    start: int
    end: int
    text: str


def minimal_edits(old: str, new: str) -> tuple[Edit, ...]:
    """In order, without overlap: lines that differ, each run of them cut to the characters that differ. Of a long text with many
    differences far apart they are edits, but not the smallest; one insertion and changes at another place are always found.
    """
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    starts = [0]
    for line in before:
        starts.append(starts[-1] + len(line))
    found = []
    for first, last, new_first, new_last in _changed(before, after):
        if last - first == new_last - new_first:
            # As many lines as before: each by itself, so that what stands between two changes on them is not touched.
            pairs = zip(range(first, last), range(new_first, new_last), strict=True)
            found += [_trimmed(starts[a], before[a], after[b]) for a, b in pairs if before[a] != after[b]]
        else:
            found.append(_trimmed(starts[first], "".join(before[first:last]), "".join(after[new_first:new_last])))
    return tuple(found)


def _changed(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Runs of lines that differ: `[first, last)` of `before` became `[new_first, new_last)` of `after`."""
    start = _alike(before, after)
    end = _alike(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    new_start = start
    if max(len(old), len(new)) > MOST_COMPARED:
        # Imports above, the function far below: what lies between moved as one.
        count = max(range(1, MOST_INSERTED + 1), key=lambda count: _alike(old, new[count:]))
        if (moved := _alike(old, new[count:])) > MOST_INSERTED:
            yield start, start, start, start + count
            old, new = old[moved:], new[count + moved :]
            start, new_start = start + moved, start + count + moved
    # Comparing takes the square of a line's repetitions: in long texts, what is said often (`}`) is no place to hold on to.
    matcher = SequenceMatcher(None, old, new, autojunk=max(len(old), len(new)) > MOST_COMPARED)
    for tag, first, last, new_first, new_last in matcher.get_opcodes():
        if tag != "equal":
            yield start + first, start + last, new_start + new_first, new_start + new_last


def _alike(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines are the same from the first on."""
    return next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def apply(old: str, edits: Sequence[Edit]) -> str:
    """The text with the edits made. They are in order and do not overlap."""
    return "".join(_applied(old, edits))


def _applied(old: str, edits: Sequence[Edit]) -> Iterator[str]:
    at = 0
    for edit in edits:
        yield old[at : edit.start]
        yield edit.text
        at = edit.end
    yield old[at:]


def _trimmed(start: int, old: str, new: str) -> Edit:
    """Without what both begin and end with."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    # A line end is \r\n or none of it.
    if head and old[head - 1] == "\r" and (old[head : head + 1] == "\n" or new[head : head + 1] == "\n"):
        head -= 1
    if tail and old[len(old) - tail] == "\n" and "\r" in (old[len(old) - tail - 1 :][:1], new[len(new) - tail - 1 :][:1]):
        tail -= 1
    return Edit(start + head, start + len(old) - tail, new[head : len(new) - tail])
