"""Real edit histories as keys and pauses: what a developer typed, key by key, and how long they took. Pure but for one file.

A history is a file and the diffs of its steps. Each changed place becomes: go there, delete what goes, type what comes. Enter
brings the next line's indentation with it, as every editor's does. The time between two keys is drawn, with a seed, from
log-normal distributions: between letters a median of 210 ms (mean 238 ms, as in 136 million keystrokes of Dhakal, Feit,
Kristensson and Oulasvirta, CHI 2018), and a longer thought at most line ends and now and then between two words.
"""

import gzip
import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tacit.protocol.errors import BadRequest

FILE: Final = "realistic_edit_histories.jsonl.gz"
KEYS: Final = 60
"""Of one history at most: many places of many files say more than one long function."""
FEWEST_KEYS: Final = 15

KEY_S: Final = (0.21, 0.5)
"""Median and sigma of a log-normal distribution."""
LINE_S: Final = (1.1, 0.6)
LINE_SHARE: Final = 0.7
WORD_S: Final = (0.8, 0.6)
WORD_SHARE: Final = 0.08
"""Of the keys that end a word."""
LONGEST_S: Final = 5.0

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_KEY = re.compile(r"\r?\n[ \t]*|[^\r\n]|\r")


@dataclass(frozen=True, slots=True)
class Key:
    """One key and the pause after it."""

    text: str
    pause_s: float


@dataclass(frozen=True, slots=True)
class Passage:
    """One changed place: `[start, end)` goes, `text` is typed there."""

    start: int
    end: int
    text: str
    keys: tuple[Key, ...]
    """Their texts are the beginning of `text`, or all of it."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of one history."""

    name: str
    path: str
    """As in its repository."""
    text: str
    """The file before it."""
    passages: tuple[Passage, ...]
    """In order; each one's offsets are those of the text in which all of `text` of the ones before it has been typed."""

    @property
    def keys(self) -> int:
        return sum(len(passage.keys) for passage in self.passages)

    @property
    def seconds(self) -> float:
        return sum(key.pause_s for passage in self.passages for key in passage.keys)


def episodes(folder: Path, seed: int) -> Iterator[Episode]:
    """One stretch of each history, in an order of the seed. BadRequest: the data are not there."""
    path = folder / FILE
    if not path.is_file():
        raise BadRequest(f"The edit histories are not at {path}.", mend="Name their folder with TACIT_DATA.")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    random.Random(seed).shuffle(rows)
    for row in rows:
        if episode := stretch(row["id"], row["original"], row["steps"], seed):
            yield episode


def stretch(name: str, text: str, steps: Sequence[str], seed: int) -> Episode | None:
    """One step of a history, up to `KEYS` keys of it; None if no step has enough, or its diff does not fit."""
    draw = random.Random(f"{seed}/{name}")
    befores, after = [], text
    for step in steps:
        befores.append(after)
        changed = _changed(after, step)
        if changed is None:
            return None
        for start, end, new in reversed(changed):
            after = after[:start] + new + after[end:]
    for number in draw.sample(range(len(steps)), len(steps)):
        passages, left, moved = [], KEYS, 0
        for start, end, new in _changed(befores[number], steps[number]) or ():
            keys = tuple(_timed(_KEY.findall(new)[:left], draw))
            passages.append(Passage(start + moved, end + moved, new, keys))
            left -= len(keys)
            moved += len(new) - (end - start)
            if left <= 0:
                break
        if KEYS - left >= FEWEST_KEYS:
            path = steps[number].split(" b/", 1)[-1].split("\n", 1)[0] or "a.py"
            return Episode(f"{name}/{number}", path, befores[number], tuple(passages))
    return None


def _timed(texts: Sequence[str], draw: random.Random) -> Iterator[Key]:
    for text in texts:
        pause = _drawn(KEY_S, draw)
        if text[-1] in "\n \t" and "\n" in text:
            pause += _drawn(LINE_S, draw) if draw.random() < LINE_SHARE else 0.0
        elif not (text.isalnum() or text == "_"):
            pause += _drawn(WORD_S, draw) if draw.random() < WORD_SHARE else 0.0
        yield Key(text, min(LONGEST_S, pause))


def _drawn(shape: tuple[float, float], draw: random.Random) -> float:
    median, sigma = shape
    return median * math.exp(draw.gauss(0.0, sigma))


def _changed(text: str, diff: str) -> list[tuple[int, int, str]] | None:
    """(start, end, new text) of each changed place, in the text before the diff. None: it does not fit the text."""
    lines = _LINE.findall(text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found: list[tuple[int, int, str]] = []
    at, first, new = 0, None, ""

    def close() -> None:
        nonlocal first, new
        if first is not None:
            found.append(_smallest(text, starts[first], starts[at], new))
        first, new = None, ""

    inside = False
    for line in _LINE.findall(diff):
        if hunk := _HUNK.match(line):
            close()
            # "-0,0" and "-7,0" name the line before.
            at, inside = int(hunk[1]) - (hunk[2] != "0"), True
            continue
        if not inside or line.startswith("\\"):
            continue
        kind, content = line[:1], line[1:]
        if kind == "+":
            first = at if first is None else first
            new += content
            continue
        if at >= len(lines) or lines[at].rstrip("\r\n") != (content if kind in " -" else "").rstrip("\r\n"):
            return None
        if kind == "-":
            first = at if first is None else first
        else:
            close()
        at += 1
    close()
    return found


def _smallest(text: str, start: int, end: int, new: str) -> tuple[int, int, str]:
    """The same change without what stays; whole new lines begin with Enter at the end of the line before."""
    while start < end and new and text[start] == new[0]:
        start, new = start + 1, new[1:]
    while start < end and new and text[end - 1] == new[-1]:
        end, new = end - 1, new[:-1]
    if start == end and start > 0 and new.endswith("\n") and text[start - 1] == "\n":
        start, end, new = start - 1, end - 1, "\n" + new[:-1]
    return start, end, new
