"""The names that the code near the cursor uses, and those that its imports mention. Pure; by regular expressions, so that it
works in any language and in half-written code."""

import re
from typing import Final

_NAME = re.compile(r"[^\W\d]\w{2,80}")
# Blanks at a line's beginning, and no line ends: else each of many empty lines is the beginning of all that follow.
_IMPORT = re.compile(
    r"^[^\S\n]*(?:import|from|use|using|#\s*include|require|package|export\b.*\bfrom|const\b.*\brequire)\b.*$", re.MULTILINE
)
_IMPORT_BLOCK = re.compile(r"^[^\S\n]*(?:from\s+\S+\s+)?import\s*(?:type\s*)?[({][^)}]{0,4000}[)}].*$", re.MULTILINE)
_QUOTED = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'")
_COMMENT = re.compile(r"(?m)(?://|#(?!\s*include)).*$")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

KEYWORDS: Final = frozenset(
    """abstract and any array assert async auto await bool boolean break byte case catch chan char class const constexpr continue
    crate def default defer del delete dict double elif else end enum except export extends extern false final finally float fn
    for from func function global goto if impl implements import include inline instanceof int int32 int64 interface into is
    isinstance lambda len let list long loop map match mod module move mut namespace native new nil none nonlocal not null object
    operator option or override package pass print private protected pub public raise range ref return self set short signed
    sizeof static std str string struct super switch synchronized template this throw throws trait true try tuple type typedef
    typename typeof uint union unsigned use using var vector virtual void volatile where while with yield""".split()
)
"""In several languages at once; lower case."""

EVERYWHERE: Final = frozenset(
    """add append apply clear close contains copy count decode encode exists extend filter find format get insert items join keys
    length log main map match name open parse path pop print push put read remove replace reverse run send size slice sort split
    start stop strip test text update value values write""".split()
)
"""Names of every standard library: a file that defines one of them is not what is meant by it, unless it is imported."""

LINES_BEFORE: Final = 12
LINES_AFTER: Final = 2


def near(before: str, after: str) -> dict[str, float]:
    """Names and how near they are to the cursor: 1 on its line, less each line away. Not those in strings and comments."""
    lines = before.split("\n")[-LINES_BEFORE - 1 :]
    found: dict[str, float] = {}
    for distance, line in enumerate(reversed(lines)):
        _add(found, line, 1.0 / (1.0 + 0.2 * distance))
    for distance, line in enumerate(after.split("\n")[: LINES_AFTER + 1]):
        _add(found, line, 0.7 / (1.0 + 0.3 * distance))
    return found


def imported(text: str) -> frozenset[str]:
    """Every name in the file's import lines: modules as well as what is taken from them."""
    lines = [found.group() for pattern in (_IMPORT, _IMPORT_BLOCK) for found in pattern.finditer(text)]
    return frozenset(name for line in lines for name in _NAME.findall(line) if name not in {"import", "from"})


def used_as_global(name: str, text: str) -> bool:
    """True if it is called, or written as constants and types are: a plain word is most often a local variable."""
    if name in EVERYWHERE:
        return False
    return not name[0].islower() or re.search(rf"\b{re.escape(name)}\s*[(!<]", text) is not None


def uses_own_members(line: str) -> bool:
    return re.search(r"\b(?:self|this|cls)\s*(?:\.|->)", line) is not None


def words(text: str) -> list[str]:
    """Identifiers and their parts, lower case, for comparing pieces of code: `close_account`, `close`, `account`."""
    terms: list[str] = []
    for name in _NAME.findall(text):
        lower = name.lower()
        if lower in KEYWORDS:
            continue
        terms.append(lower)
        parts = _WORDS.findall(name)
        if len(parts) > 1:
            terms += [part.lower() for part in parts if len(part) > 2]
    return terms


def _add(found: dict[str, float], line: str, weight: float) -> None:
    for name in _NAME.findall(_COMMENT.sub("", _QUOTED.sub('""', line))):
        if name.lower() not in KEYWORDS:
            found[name] = max(found.get(name, 0.0), weight)
