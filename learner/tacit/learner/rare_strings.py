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
RARE_PATHS = 2
"""A string that stands in more files than this is the project's vocabulary."""

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+/=~-]{6,254}[A-Za-z0-9=]")
_HEX = "0123456789abcdef"


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
    if len(string) < MIN_LENGTH:
        return False
    if redact(string) != string:
        return True
    numbers = sum(c.isdigit() for c in string)
    letters = sum(c.isalpha() for c in string)
    only_digits = numbers == len(string)
    mixed = numbers >= MIN_DIGITS and letters >= MIN_LETTERS
    return (only_digits or mixed) and _bits(string) >= (2.0 if only_digits else MIN_BITS)


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
