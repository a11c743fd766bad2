"""From two texts to the smallest edits between them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True, slots=True)
class Edit:
    """`[start, end)` of the old text, in code points, is replaced by `text`."""

    start: int
    end: int
    text: str


def minimal_edits(old: str, new: str) -> tuple[Edit, ...]:
    """In order, without overlap: lines that differ, each run of them cut to the characters that differ."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    starts = [0]
    for line in before:
        starts.append(starts[-1] + len(line))
    found = []
    for tag, first, last, new_first, new_last in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if tag == "replace" and last - first == new_last - new_first:
            # As many lines as before: each by itself, so that what stands between two changes on them is not touched.
            pairs = zip(range(first, last), range(new_first, new_last), strict=True)
            found += [_trimmed(starts[a], before[a], after[b]) for a, b in pairs if before[a] != after[b]]
        else:
            found.append(_trimmed(starts[first], "".join(before[first:last]), "".join(after[new_first:new_last])))
    return tuple(found)


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
