"""Strings in a text that look like a secret, and others of the same shape. Pure.

Redaction replaces what it recognises by its form or by the name it is given to. What is looked for here is what it would miss:
any unbroken run of characters with the look of a key, a token or a number that nobody would write twice by chance.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from random import Random
from string import ascii_lowercase, ascii_uppercase, digits

from tacit.protocol.redaction import redact

MIN_LENGTH = 8
MIN_DIGITS, MIN_LETTERS = 2, 2
MIN_BITS = 2.5
"""Entropy per character: below, a string repeats itself or counts."""
LONGEST_NUMBER = 6
"""Digits in a row that a name may have: years, sizes, numbers of issues."""
MOST_NUMBERS = 2
"""In one part of a name."""
NAME_PIECE = 2.5
"""Letters that the pieces of a name have on average; those between the digits of a key have fewer."""
JUDGED_LETTERS = 8
"""From here on a piece is long enough to ask whether its pairs of letters are those of words."""
USUAL_PAIRS = 0.45
"""Share of usual pairs: words of programs have 0.7, letters by chance 0.2."""
RARE_PATHS = 2
"""A string that stands in more files than this is the project's vocabulary."""

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+/=~-]{6,254}[A-Za-z0-9=]")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")
_HEX = "0123456789abcdef"
_PAIRS = frozenset(
    (
        "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic "
        "ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut ss so rs un "
        "lo wa ge ie wh ee wi em ad ol rt po we na ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi ci vi pl ig tu ev "
        "ld ry mp fe bl ab gh ty op wo sa ay ex ke fr oo av ag if ap gr od bo sp rd do uc bu ei ov by rm ep tt oc fa"
    ).split()
)
"""The usual pairs of letters of English, in order."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a string stands in a text: the part before it and itself."""

    before: str
    string: str


def secret_like(text: str) -> list[Found]:
    found: list[Found] = []
    for match in _RUN.finditer(text):
        string = match.group()
        if looks_secret(string):
            found.append(Found(text[: match.start()], string))
    return found


def looks_secret(string: str) -> bool:
    """What of it is no part of a name has the length and the entropy of a key.

    Words with a few digits are names, as `hunter42-staple7` is: redaction knows such a one by the name that it is given to.
    """
    if len(string) < MIN_LENGTH:
        return False
    if redact(string) != string:
        return True
    if string.isdigit():
        return _bits(string) >= 2.0 and not _DATE.fullmatch(string)
    rest = "".join(part for part in re.split(r"[^A-Za-z0-9]", string) if not _of_a_name(part))
    numbers = sum(c.isdigit() for c in rest)
    enough = len(rest) >= MIN_LENGTH and numbers >= MIN_DIGITS and len(rest) - numbers >= MIN_LETTERS
    return enough and _bits(rest) >= MIN_BITS


def _of_a_name(part: str) -> bool:
    """`sha256`, `Conv2d`, `2024`: words, each longer than what stands between the digits of a key, and short numbers."""
    pieces = _PIECE.findall(part)
    words = [piece.lower() for piece in pieces if not piece.isdigit()]
    numbers = [piece for piece in pieces if piece.isdigit()]
    if len(numbers) > MOST_NUMBERS or any(len(number) > LONGEST_NUMBER for number in numbers):
        return False
    letters = sum(map(len, words))
    if letters < NAME_PIECE * len(words):
        return False
    pairs = [word[at : at + 2] for word in words for at in range(len(word) - 1)]
    return letters < JUDGED_LETTERS or sum(pair in _PAIRS for pair in pairs) >= USUAL_PAIRS * len(pairs)


def rare(texts: Sequence[tuple[str, str]]) -> list[tuple[int, Found]]:
    """texts: (path, text). Each string once, with the index of the first text that has it; only those that stand in few files."""
    paths: dict[str, set[str]] = {}
    first: dict[str, tuple[int, Found]] = {}
    for index, (path, text) in enumerate(texts):
        for found in secret_like(text):
            paths.setdefault(found.string, set()).add(path)
            first.setdefault(found.string, (index, found))
    return [place for string, place in first.items() if len(paths[string]) <= RARE_PATHS]


def like(string: str, draw: Random) -> str:
    """Another string of the same shape: a digit for a digit, a letter of the same case for a letter, hex for hex."""
    hexadecimal = all(c.lower() in _HEX or not c.isalnum() for c in string) and any(c.isalpha() for c in string)

    def other(char: str) -> str:
        if hexadecimal and char.isalnum():
            chosen = draw.choice(_HEX)
            return chosen.upper() if char.isupper() else chosen
        for kind in (digits, ascii_lowercase, ascii_uppercase):
            if char in kind:
                return draw.choice(kind)
        return char

    return "".join(other(char) for char in string)


def _bits(string: str) -> float:
    counts = Counter(string)
    return -sum(n / len(string) * log2(n / len(string)) for n in counts.values())
