"""What became of a place in a file since it last worked: what is not committed yet, and the commits that changed those lines.
Asks git for objects; never for the work tree, whose filters are programs.

A hunk is shown only where both whole texts that it is cut out of may be shown: half of a key does not look like one.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tacit.lsp.gathering.files import LARGEST_BYTES, clean_lines
from tacit.protocol import git
from tacit.protocol.redaction import redact

NEAR: Final = 20
"""Lines above and below the place in which a change that is not committed yet matters."""
AROUND: Final = 4
"""Lines above and below the place whose commits are looked for."""
COMMITS: Final = 2
LONGEST: Final = 24
"""Lines of one piece."""
LONGEST_LINE: Final = 200
MOST_LINES: Final = 3000
"""Of the part of a file that was changed; what differs more is not compared."""
_MARK: Final = "\x1e"


@dataclass(frozen=True, slots=True)
class Earlier:
    """One change of the lines around a place."""

    text: str
    """Lines that begin with a space, with `-` for what was there before, with `+` for what came."""
    note: str
    first: int
    last: int
    """Lines of the file as it is in the editor; of a commit those that were asked about."""


def history(root: Path, name: str, text: str, line: int, seconds: float) -> list[Earlier]:
    """The newest change first. name: relative to root. text: of the file now, line ends LF. line: counts from 0.
    seconds: for each question to git."""
    now = clean_lines(text)
    then = committed(root, "HEAD", name, seconds)
    if now is None or then is None:
        return []
    at = min(line, len(now) - 1)
    blocks = _differences(then, now)
    found = [_uncommitted(then, now, near)] if (near := _near(blocks, at)) else []
    return [*found, *_commits(root, name, len(then), _line_then(blocks, at), at, seconds)]


def committed(root: Path, commit: str, name: str, seconds: float) -> list[str] | None:
    """A file's lines in a commit, secrets replaced; None: it is not in it, is too large, no text, or holds a private key."""
    said = git.read(root, "cat-file", "blob", f"{commit}:./{name}", seconds=seconds, most=LARGEST_BYTES)
    if said is None or b"\0" in said:
        return None
    return clean_lines(said.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n"))


Block = tuple[int, int, int, int]
"""[first, stop) of the lines then, and of those now, that take their place."""


def _differences(then: Sequence[str], now: Sequence[str]) -> list[Block]:
    start, shorter = 0, min(len(then), len(now))
    while start < shorter and then[start] == now[start]:
        start += 1
    end = 0
    while end < shorter - start and then[-1 - end] == now[-1 - end]:
        end += 1
    before, after = then[start : len(then) - end], now[start : len(now) - end]
    if not before and not after:
        return []
    if len(before) + len(after) > MOST_LINES:
        return [(start, len(then) - end, start, len(now) - end)]
    found = difflib.SequenceMatcher(None, before, after).get_opcodes()
    return [(start + a, start + b, start + c, start + d) for tag, a, b, c, d in found if tag != "equal"]


def _near(blocks: Sequence[Block], line: int) -> list[Block]:
    return [one for one in blocks if one[2] - NEAR <= line <= one[3] + NEAR and one[1] - one[0] + one[3] - one[2] <= 4 * LONGEST]


def _uncommitted(then: Sequence[str], now: Sequence[str], blocks: Sequence[Block]) -> Earlier:
    lines: list[str] = []
    for before, stop, first, last in blocks:
        lines += [f" {one}" for one in now[max(0, first - 1) : first]]
        lines += [f"-{one}" for one in then[before:stop]]
        lines += [f"+{one}" for one in now[first:last]]
    return Earlier(_cut(lines), "not committed yet; `-` is the last commit", blocks[0][2], max(blocks[-1][3] - 1, blocks[0][2]))


def _line_then(blocks: Sequence[Block], line: int) -> int:
    shift = 0
    for before, stop, first, last in blocks:
        if last <= line:
            shift = stop - last
        elif first <= line:
            return min(before + line - first, max(before, stop - 1))
    return line + shift


def _commits(root: Path, name: str, height: int, then: int, now: int, seconds: float) -> list[Earlier]:
    if height < 1:
        return []
    first, last = max(1, then + 1 - AROUND), max(1, min(height, then + 1 + AROUND))
    command = (
        *("log", f"-L{min(first, last)},{last}:./{name}", f"--max-count={COMMITS}", "--no-renames", *git.PLAIN),
        *("--no-show-signature", "--no-notes", "--no-decorate", "--no-mailmap", "--encoding=UTF-8"),
        *(f"--format={_MARK}%H%n%cr%n%s", "HEAD"),
    )
    said = git.read(root, *command, seconds=seconds, most=LARGEST_BYTES)
    entries = said.decode("utf-8", "replace").split(_MARK)[1:] if said is not None else []
    return [one for entry in entries if (one := _commit(root, name, entry, now, seconds)) is not None]


def _commit(root: Path, name: str, entry: str, now: int, seconds: float) -> Earlier | None:
    """None: it says nothing of what was there before, or may not be shown."""
    head = entry.split("\n", 3)
    if len(head) < 4 or not re.fullmatch(r"[0-9a-f]{40,64}", head[0]):
        return None
    commit, when, subject, patch = head
    # Above the first hunk stand the names of the file: `---` may begin a line of code as well.
    hunks = patch.replace("\r", "").partition("\n@@")[2].split("\n")[1:]
    body = [line for line in hunks if line[:1] in ("+", "-", " ")]
    if not any(line[0] == "-" for line in body) or len(body) > 4 * LONGEST:
        return None
    if committed(root, commit, name, seconds) is None or committed(root, f"{commit}^", name, seconds) is None:
        return None
    # Without the signs: a rule for `NAME=value` wants it at a line's beginning.
    clean = redact("\n".join(line[1:] for line in body)).split("\n")
    if len(clean) != len(body):
        return None
    words = " ".join(redact(subject).split())[:120]
    text = _cut([f"{old[0]}{new}" for old, new in zip(body, clean, strict=True)])
    return Earlier(text, f"commit {commit[:8]}, {when[:40]}: {words}", max(0, now - AROUND), now + AROUND)


def _cut(lines: Sequence[str]) -> str:
    return "\n".join(line.rstrip()[:LONGEST_LINE] for line in lines[:LONGEST])
