"""Which pieces of the repository read like the code at the cursor: BM25 over chunks of lines. Pure; own code, since the
libraries for it need numpy, which the language server does not load.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009).
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Final

K1: Final = 1.2
B: Final = 0.75
CHUNK_LINES: Final = 16
MOST_CHUNKS: Final = 60_000
COMMON_SHARE: Final = 0.2
"""A word in more of the chunks says nothing."""
LONGEST_POSTINGS: Final = 4000
"""A word in more chunks would take too long."""
DEAD_SHARE: Final = 0.3
"""When so many chunks are gone, the index is made anew without them."""


@dataclass(frozen=True, slots=True)
class Chunk:
    file: str
    first: int
    last: int
    """Lines, both included."""
    length: int
    """In words."""


@dataclass(slots=True)
class Chunks:
    """Chunks by number; a number is never used again until the index is made anew."""

    _chunks: list[Chunk | None] = field(default_factory=list)
    _postings: "dict[str, array[int]]" = field(default_factory=dict)
    """Word → chunk number and count, in turns."""
    _of_file: dict[str, list[int]] = field(default_factory=dict)
    _words: int = 0
    _alive: int = 0

    def __len__(self) -> int:
        return self._alive

    def put(self, file: str, chunks: Iterable[tuple[int, int, Sequence[str]]]) -> None:
        """(first line, last line, words) of each of the file's chunks; what was known of the file is replaced."""
        self.drop(file)
        for first, last, words in chunks:
            if self._alive >= MOST_CHUNKS:
                return
            number = len(self._chunks)
            self._chunks.append(Chunk(file, first, last, len(words)))
            self._of_file.setdefault(file, []).append(number)
            self._words += len(words)
            self._alive += 1
            for word, count in Counter(words).items():
                self._postings.setdefault(word, array("I")).extend((number, count))

    def drop(self, file: str) -> None:
        for number in self._of_file.pop(file, ()):
            chunk = self._chunks[number]
            if chunk is not None:
                self._words -= chunk.length
                self._alive -= 1
                self._chunks[number] = None
        if len(self._chunks) > 1000 and self._alive < (1 - DEAD_SHARE) * len(self._chunks):
            self._renumber()

    def best(self, words: Sequence[str], count: int) -> list[tuple[Chunk, float]]:
        """The most similar chunks, best first, each with its share (0 to 1) of the score that all of the words would have."""
        if not self._alive:
            return []
        average = max(1.0, self._words / self._alive)
        scores: dict[int, float] = {}
        most = 0.0
        for word in set(words):
            postings = self._postings.get(word)
            seen = len(postings) // 2 if postings is not None else 0
            # A word that is nowhere else counts as well: a piece that lacks it is less like this one.
            weight = log(1 + (self._alive - min(seen, self._alive) + 0.5) / (seen + 0.5))
            if seen > LONGEST_POSTINGS or (self._alive > 50 and seen > COMMON_SHARE * self._alive):
                continue
            most += weight * (K1 + 1) / 2
            if postings is None:
                continue
            for at in range(0, len(postings), 2):
                number, times = postings[at], postings[at + 1]
                chunk = self._chunks[number]
                if chunk is not None:
                    scores[number] = scores.get(number, 0.0) + weight * times * (K1 + 1) / (
                        times + K1 * (1 - B + B * chunk.length / average)
                    )
        ranked = sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:count]
        return [(chunk, min(1.0, score / most)) for number, score in ranked if (chunk := self._chunks[number]) is not None]

    def _renumber(self) -> None:
        new = {old: at for at, old in enumerate(i for i, chunk in enumerate(self._chunks) if chunk is not None)}
        self._chunks = [chunk for chunk in self._chunks if chunk is not None]
        postings: dict[str, array[int]] = {}
        for word, old in self._postings.items():
            kept = array("I")
            for at in range(0, len(old), 2):
                if (number := new.get(old[at])) is not None:
                    kept.extend((number, old[at + 1]))
            if kept:
                postings[word] = kept
        self._postings = postings
        self._of_file = {file: [new[number] for number in numbers] for file, numbers in self._of_file.items()}


def cut(lines: Sequence[str]) -> list[tuple[int, int]]:
    """(first, last) of a text's chunks: they end at an empty line or before an unindented one, if there is one near the end."""
    chunks = []
    first = 0
    while first < len(lines):
        end = min(first + CHUNK_LINES, len(lines))
        if end < len(lines):
            for at in range(end, first + CHUNK_LINES // 2, -1):
                if not lines[at - 1].strip() or (lines[at][:1].strip() and lines[at][:1] not in ")]}"):
                    end = at
                    break
        if any(line.strip() for line in lines[first:end]):
            chunks.append((first, end - 1))
        first = end
    return chunks
