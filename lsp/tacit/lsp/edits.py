"""Changes of a text as data: trim them, slide them, carry positions through them. Pure; offsets are code points."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """`[start, end)` of the text before it is replaced by `text`."""

    start: int
    end: int
    text: str

    @property
    def growth(self) -> int:
        """How much longer the text is afterwards."""
        return len(self.text) - (self.end - self.start)

    @property
    def empty(self) -> bool:
        return self.start == self.end and not self.text

    def apply(self, before: str) -> str:
        return before[: self.start] + self.text + before[self.end :]


def difference(before: str, after: str) -> Edit:
    """The one edit that makes `after` of `before`, as small as trimming both ends makes it."""
    return trimmed(Edit(0, len(before), after), before)


def trimmed(edit: Edit, before: str) -> Edit:
    """The same change without what it replaces by itself: editors report whole lines for one new word."""
    removed, text = before[edit.start : edit.end], edit.text
    if not removed or not text:
        return edit
    head = _common(removed, text)
    tail = _common(removed[head:][::-1], text[head:][::-1])
    return Edit(edit.start + head, edit.end - tail, text[head : len(text) - tail])


def slid(edit: Edit, before: str, after: str, target: int) -> Edit:
    """The same change, starting at `target`, if that is the same change; else as it was.

    Putting `\\n  x` before `\\n  y` and putting `x\\n  ` between `\\n  ` and `y` make the same text. An editor that computes
    what changed by comparing texts reports either. Only pure insertions and pure deletions can slide.
    """
    start = edit.start
    if start == target or not 0 <= target <= len(before):
        return edit
    low, high = min(start, target), max(start, target)
    if edit.start == edit.end:
        size = len(edit.text)
        same = before[low:high] == (after[low + size : high + size] if target < start else after[low:high])
        return Edit(target, target, after[target : target + size]) if same else edit
    if not edit.text:
        size = edit.end - start
        if target + size > len(before):
            return edit
        same = after[low:high] == (before[low + size : high + size] if target < start else before[low:high])
        return Edit(target, target + size, "") if same else edit
    return edit


def carried_left(position: int, edit: Edit) -> int:
    """Where a position is afterwards, if what is inserted at it comes after it. Inside what was removed: before the new text."""
    if position <= edit.start:
        return position
    if position >= edit.end:
        return position + edit.growth
    return edit.start


def carried_right(position: int, edit: Edit) -> int:
    """Where a position is afterwards, if what is inserted at it comes before it. Inside what was removed: after the new text."""
    if position < edit.start or (position == edit.start and edit.end > edit.start):
        return position
    if position >= edit.end:
        return position + edit.growth
    return edit.start + len(edit.text)


def _common(one: str, other: str) -> int:
    """Length of the common beginning, by halving: comparing slices is far quicker than comparing characters."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
