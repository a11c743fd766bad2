"""Code blocks of an answer, and where in a document one belongs. Pure; tree-sitter comes late.

A model writes a function anew, a few lines out of one, a class with only the method that changes, or a diff. It belongs where the
same definition is, where the selection is, or where most of its lines are already; what cannot be told is a sentence, no guess.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Final

from tacit.lsp.edits import Edit, trimmed
from tacit.lsp.gathering.syntax import Definition, definitions

MOST_LINES: Final = 2000
"""Of a block; a longer one was not written to be put into a file."""
ALIKE: Final = 0.5
"""Of a block's lines that must stand at a place already, for it to belong there."""
LINE_ALIKE: Final = 0.7
"""How much of a single line must be the same."""
MOST_COMPARED: Final = 1500
"""Lines of a document that are compared with each other in full; with a single line, those near the cursor."""
MOST_ANCHORS: Final = 200
"""Places of a document that a block is laid beside, those near the cursor."""
MOST_LIKE: Final = 30
"""Lines of a block of which also those are looked for that are only like one of the document's."""

_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE: Final = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)
_IMPORT: Final = re.compile(r"^(?:import\b|from\s+\S+\s+import\b|use\s|#include\b|const\s+.*=\s*require\()")
_ABOVE: Final = re.compile(r"^\s*(?:@\w|#\[|template\s*<)")
"""A line above a definition that belongs to it."""
_LEFT_OUT: Final = re.compile(
    r"(?:#|//|/\*|--)[^\n]{0,200}(?:\.\.\.|\u2026)|(?:rest|remainder) of (?:the|your|my) |existing code|your code here"
    r"|^[^\S\n]*\.\.\.[^\S\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
"""Where a model leaves out what stands in the file."""
_HUNK: Final = re.compile(r"^@@.*@@")
_LANGUAGES: Final = {
    "py": "python", "python3": "python", "js": "javascript", "mjs": "javascript", "node": "javascript", "jsx": "javascriptreact",
    "ts": "typescript", "tsx": "typescriptreact", "c++": "cpp", "cc": "cpp", "cxx": "cpp", "h": "c", "hpp": "cpp", "golang": "go",
    "rs": "rust", "sh": "shellscript", "bash": "shellscript", "shell": "shellscript", "console": "shellscript", "yml": "yaml",
    "rb": "ruby", "cs": "csharp", "c#": "csharp", "kt": "kotlin", "text": "plaintext", "txt": "plaintext", "output": "plaintext",
}  # fmt: skip
_RELATED: Final = (
    frozenset(("javascript", "javascriptreact", "typescript", "typescriptreact", "vue", "svelte")),
    frozenset(("c", "cpp", "cuda-cpp", "objective-c")),
    frozenset(("json", "jsonc")),
)
UNPLACED: Final = (
    "It cannot be told where this code belongs: select the lines that it is to take the place of, and apply it again."
)


@dataclass(frozen=True, slots=True)
class Block:
    tag: str
    """What the fence says the code is, in small letters; empty: nothing."""
    code: str
    """Ends with a line end; line ends are LF."""
    first: int
    last: int
    """Lines of the answer, from 0, of the two fences."""


def blocks_of(answer: str) -> list[Block]:
    """In order. One whose closing fence is missing is none."""
    text = answer.replace("\r\n", "\n")
    found: list[Block] = []
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence[1].startswith(opening[1]) and not fence[2]:
            code = _dedented(text[opening.end() + 1 : fence.start()])
            first, last = text.count("\n", 0, opening.start()), text.count("\n", 0, fence.start())
            found.append(Block(opening[2].lower(), code, first, last))
            opening = None
    return found


def placed(text: str, block: Block, language: str, start: int, end: int) -> list[Edit] | str:
    """The smallest edits of a text that put the block where it belongs; or a sentence that says why there are none.

    text: the document, line ends LF. start, end: the selection, or the cursor.
    """
    code = block.code
    if not code.strip():
        return "The code block is empty."
    if "\r" in text:
        return "The file has line ends that are neither LF nor CRLF: save it with one of them first."
    if code.count("\n") > MOST_LINES:
        return "The code block is too long to be put into a file."
    if len(_LEFT_OUT.findall(code)) > len(_LEFT_OUT.findall(text)):
        return "The code block leaves out a part of the code (“...”), which would be lost: ask for all of it."
    tag = _LANGUAGES.get(block.tag, block.tag)
    if tag in ("diff", "patch"):
        changed = _patched(text, code)
    elif tag and tag != language and not any(tag in family and language in family for family in _RELATED):
        return f"The code block is {block.tag}, and the file is {language}."
    else:
        changed = _changed(text, code, language, start, end)
    if changed is None:
        return UNPLACED
    if changed == text:
        return "The code of this block stands in the file already."
    return edits_between(text, changed)


def edits_between(old: str, new: str) -> list[Edit]:
    """Lines that differ, each run of them cut to the characters that differ; in order, without overlap."""
    before, after = _lines(old), _lines(new)
    starts = [0]
    for line in before:
        starts.append(starts[-1] + len(line))
    # What is the same on both sides first, and in what is left lines that are everywhere do not count if it is long: comparing
    # each brace with each brace takes minutes.
    ends = min(len(before), len(after))
    head = next((at for at in range(ends) if before[at] != after[at]), ends)
    tail = next((at for at in range(ends - head) if before[-1 - at] != after[-1 - at]), ends - head)
    left, right = before[head : len(before) - tail], after[head : len(after) - tail]
    matcher = SequenceMatcher(None, left, right, autojunk=len(right) > MOST_COMPARED)
    found = []
    for tag, *places in matcher.get_opcodes():
        if tag == "equal":
            continue
        first, last, new_first, new_last = (head + at for at in places)
        if last - first == new_last - new_first:
            pairs = [(first + at, first + at + 1, new_first + at, new_first + at + 1) for at in range(last - first)]
        else:
            pairs = [(first, last, new_first, new_last)]
        for a, b, c, d in pairs:
            edit = trimmed(Edit(starts[a], starts[b], "".join(after[c:d])), old)
            if not edit.empty:
                found.append(edit)
    return found


def _changed(text: str, code: str, language: str, start: int, end: int) -> str | None:
    """The whole text with the code where it belongs; None: it cannot be told where."""
    imports, body = _without_imports(code, text, language)
    if not text.strip():
        return code
    if not body.strip():
        return _with_imports(text, imports) if imports else text
    lines = _lines(text)
    row, last_row = text.count("\n", 0, start), text.count("\n", 0, end)
    if end > start and text[end - 1 : end] == "\n":
        last_row -= 1
    new = (
        # Written elsewhere, it would be there twice: the name says more than the selection.
        _by_name(lines, body, language, row, last_row)
        or (_put(lines, row, last_row + 1, body) if end > start else None)
        or _by_lines(lines, body, row)
        or _at_cursor(lines, body, row)
    )
    return None if new is None else _with_imports("".join(new), imports)


def _by_name(lines: list[str], body: str, language: str, row: int, last_row: int) -> list[str] | None:
    """Each definition of the block in the place of the one that is called the same; all of them, or none."""
    known = definitions("".join(lines), language)
    written = _outermost(definitions(body, language))
    if not written or not known:
        return None
    code = _lines(body)
    covered = {at for one in written for at in range(_top(code, one), one.last + 1)}
    if any(code[at].strip() for at in range(len(code)) if at not in covered):
        # There is more than definitions: it is to be run, or goes where the rest of it is.
        return None
    replacements: list[tuple[int, int, str]] = []
    for one in written:
        there = _nearest([other for other in known if other.name == one.name], row, last_row)
        if there is None:
            return None
        inner = [other for other in definitions(body, language) if one.first < other.first and other.last <= one.last]
        theirs = {other.name for other in known if there.first < other.first and other.last <= there.last}
        if one.members and theirs - {other.name for other in inner}:
            # Only a part of the class is told: its members one by one.
            for member in _outermost(inner):
                mine = [
                    other
                    for other in known
                    if other.name == member.name and there.first < other.first and other.last <= there.last
                ]
                if len(mine) != 1:
                    return None
                replacements.append((_top(lines, mine[0]), mine[0].last + 1, "".join(code[_top(code, member) : member.last + 1])))
        else:
            replacements.append((_top(lines, there), there.last + 1, "".join(code[_top(code, one) : one.last + 1])))
    replacements.sort()
    if not replacements or any(one[1] > other[0] for one, other in pairwise(replacements)):
        return None
    new = lines
    for first, last, piece in reversed(replacements):
        if above := _bare(lines, first, last, piece):
            # What stands above it and the block leaves out stays: decorators.
            first += above
        new = _put(new, first, last, piece)
    return new


def _bare(lines: list[str], first: int, last: int, piece: str) -> int:
    """So many lines above the definition are left as they are, because the block has none of them."""
    if _ABOVE.match(piece):
        return 0
    count = 0
    while first + count < last and _ABOVE.match(lines[first + count]):
        count += 1
    return count


def _by_lines(lines: list[str], body: str, row: int) -> list[str] | None:
    """Where most of its lines stand already, one after the other."""
    code = [line.strip() for line in _lines(body)]
    telling = [line for line in code if _tells(line)]
    here = [line.strip() for line in lines]
    if len(telling) <= 1:
        return _by_one_line(lines, here, body, row) if len([line for line in code if line]) == 1 else None
    common = Counter(here)
    wanted = set(telling)
    anchors = sorted((at for at, line in enumerate(here) if line in wanted), key=lambda at: abs(at - row))
    rated = sorted((one for at in anchors[:MOST_ANCHORS] if (one := _beside(here, code, common, at)) is not None), reverse=True)
    if rated and rated[0][0] < ALIKE * len(telling) and len(code) <= MOST_LIKE:
        # Lines that were changed are still like what they were.
        near = [
            (score + _alike(code, here[max(0, at - len(code)) : at + 2 * len(code) + 4]), -abs(at - row), at, last)
            for score, at, last in rated[:10]
        ]
        best, _, first, last = max(near)
    elif rated:
        best = rated[0][0]
        first, last = min(((at, last) for score, at, last in rated if score == best), key=lambda one: abs(one[0] - row))
    if not rated or best < ALIKE * len(telling):
        return None
    # Lines of the block before the first and after the last that it shares are new there, or take the place of what differs.
    before = next(at for at, line in enumerate(code) if line == here[first])
    after = len(code) - 1 - next(at for at, line in enumerate(reversed(code)) if line == here[last - 1])
    first, last = _outwards(here, code, first, last, before, len(code) - 1 - after)
    return _put(lines, first, last, body)


def _beside(here: list[str], code: list[str], common: Counter[str], anchor: int) -> tuple[float, int, int] | None:
    """(how many telling lines of the block stand from the anchor on, rare ones a bit more; the anchor; where the last ends)."""
    window = here[anchor : anchor + 2 * len(code) + 4]
    matched = [one for one in SequenceMatcher(None, code, window, autojunk=False).get_matching_blocks() if one.size]
    matched = [one for one in matched if any(_tells(code[at]) for at in range(one.a, one.a + one.size))]
    if not matched or matched[0].b != 0:
        return None
    same = [at for one in matched for at in range(one.a, one.a + one.size) if _tells(code[at])]
    return len(same) + sum(1 / common[code[at]] for at in same) / 1e4, anchor, anchor + matched[-1].b + matched[-1].size


def _alike(code: list[str], window: list[str]) -> float:
    """How much the telling lines that are not in the window are like one that is."""
    left = [line for line in code if _tells(line) and line not in window]
    return sum(LINE_ALIKE for line in left if any(_like(line, other) for other in window))


def _outwards(here: list[str], code: list[str], first: int, last: int, before: int, after: int) -> tuple[int, int]:
    """A changed line at either end of the block is like the one that it is put in the place of."""
    while before > 0 and first > 0 and _like(code[before - 1], here[first - 1]):
        before, first = before - 1, first - 1
    while after > 0 and last < len(here) and _like(code[len(code) - after], here[last]):
        after, last = after - 1, last + 1
    return first, last


def _by_one_line(lines: list[str], here: list[str], body: str, row: int) -> list[str] | None:
    """The one line that is most like it, the nearest of several."""
    line = body.strip()
    low = max(0, row - MOST_COMPARED // 2)
    rated = [
        (SequenceMatcher(None, line, here[at], autojunk=False).ratio(), -abs(at - row), at)
        for at in range(low, min(len(here), low + MOST_COMPARED))
        if here[at]
    ]
    if not rated:
        return None
    ratio, _, at = max(rated)
    return _put(lines, at, at + 1, body) if ratio >= LINE_ALIKE else None


def _at_cursor(lines: list[str], body: str, row: int) -> list[str] | None:
    """Into an empty line that the cursor stands on."""
    return _put(lines, row, row + 1, body) if row < len(lines) and not lines[row].strip() else None


def _patched(text: str, code: str) -> str | None:
    """Hunks of a diff; each where its old lines stand, whatever line numbers it names."""
    lines = _lines(text)
    hunks: list[list[str]] = [[]]
    for line in (one.removesuffix("\n") for one in _lines(code)):
        if _HUNK.match(line):
            hunks.append([])
        elif not line.startswith(("--- ", "+++ ", "diff ", "index ", "\\ ")):
            hunks[-1].append(line)
    for hunk in hunks:
        if not any(line[:1] in "+-" for line in hunk if line):
            continue
        old = [line[1:].strip() for line in hunk if not line.startswith("+")]
        new = "".join(line[1:] + "\n" for line in hunk if not line.startswith("-"))
        here = [line.strip() for line in lines]
        places = [at for at in range(len(here) - len(old) + 1) if here[at : at + len(old)] == old] if old else []
        if len(places) != 1:
            return None
        lines = _put(lines, places[0], places[0] + len(old), new)
    return "".join(lines)


def _put(lines: list[str], first: int, last: int, piece: str) -> list[str]:
    """`[first, last)` replaced by the piece, indented as what it takes the place of."""
    old = lines[first:last]
    body = piece.strip("\n") + "\n"
    wanted, has = _indent(old), _indent(_lines(body))
    if any(line.strip() for line in old) and wanted != has:
        body = "".join(
            (wanted + line[len(has) :] if line.startswith(has) else line) if line.strip() else line for line in _lines(body)
        )
    if old and not old[-1].endswith("\n"):
        body = body.removesuffix("\n")
    return [*lines[:first], *_lines(body), *lines[last:]]


def _without_imports(code: str, text: str, language: str) -> tuple[list[str], str]:
    """Import lines at the block's outermost level that stand before anything else, and the rest. Of a file of them: none."""
    lines = _lines(code)
    at = 0
    while at < len(lines) and (not lines[at].strip() or _IMPORT.match(lines[at])):
        at += 1
    found = [line.rstrip() for line in lines[:at] if line.strip()]
    if any(line.rstrip().endswith(("(", "{", "\\", ",")) for line in found):
        # An import of several lines: not for taking apart.
        return [], code
    known = {line.strip() for line in _lines(text)}
    return [line for line in found if line.strip() not in known], "".join(lines[at:])


def _with_imports(text: str, imports: Sequence[str]) -> str:
    if not imports:
        return text
    lines = _lines(text)
    last = max((at for at, line in enumerate(lines) if _IMPORT.match(line)), default=-1)
    if last < 0 and lines and (lines[0].startswith(("#!", "package ")) or '"""' in lines[0]):
        # Below what must come first.
        last = 0 if lines[0].count('"""') != 1 else next((at for at, line in enumerate(lines[1:], 1) if '"""' in line), 0)
    return "".join([*lines[: last + 1], *(f"{line}\n" for line in imports), *lines[last + 1 :]])


def _lines(text: str) -> list[str]:
    """With their ends, LF and nothing else: as rows are counted here, by tree-sitter and by editors."""
    return _LINE.findall(text)


def _outermost(found: Sequence[Definition]) -> list[Definition]:
    return [
        one for one in found if not any(other.first <= one.first and one.last <= other.last and other != one for other in found)
    ]


def _nearest(found: Sequence[Definition], row: int, last_row: int) -> Definition | None:
    """Of several of a name the one that the selection or the cursor is in, or nearest to; None: there is none."""
    return min(found, key=lambda one: (max(one.first - last_row, row - one.last, 0), one.first), default=None)


def _top(lines: Sequence[str], definition: Definition) -> int:
    """Its first line, with what belongs to it above."""
    at = definition.first
    while at > 0 and _ABOVE.match(lines[at - 1]):
        at -= 1
    return at


def _tells(line: str) -> bool:
    """A line that says where it stands: no lone bracket."""
    return sum(character.isalnum() for character in line) >= 3


def _like(one: str, other: str) -> bool:
    return bool(one and other) and SequenceMatcher(None, one, other, autojunk=False).ratio() >= LINE_ALIKE


def _indent(lines: Sequence[str]) -> str:
    """Of the line that is indented least."""
    return min((line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line.strip()), key=len, default="")


def _dedented(code: str) -> str:
    """A block in a list is indented as a whole."""
    lines = _lines(code)
    common = _indent(lines)
    whole = "".join(line.removeprefix(common) if line.strip() else line.lstrip(" \t") for line in lines) if common else code
    return whole if whole.endswith("\n") or not whole else whole + "\n"
