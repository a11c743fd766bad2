"""How much of a suggestion stands in its hole. Pure text; line ends are compared as LF.

The hole is what stands between the text that was before the suggestion and the text that was after it. While a developer
types, editors add closing brackets and quotes by themselves: `f()` with the cursor inside is the beginning `f(` of `f(x)`.
"""

from dataclasses import dataclass

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "\"'`"
_AUTOCLOSED = frozenset(("()", "[]", "{}", '""', "''", "``"))


@dataclass(frozen=True, slots=True)
class Match:
    taken: int
    """Characters of the suggestion that stand at the hole's start."""
    closers: str
    """What the editor has closed by itself after them."""


def unified(text: str) -> str:
    """Line ends as LF."""
    return text.replace("\r\n", "\n") if "\r" in text else text


def match(hole: str, suggestion: str) -> Match | None:
    """None: something else stands there. Both with unified line ends."""
    taken = 0
    for one, other in zip(hole, suggestion, strict=False):
        if one != other:
            break
        taken += 1
    rest = hole[taken:]
    if not rest:
        return Match(taken, "")
    if len(rest) <= 8 and _open_closers(suggestion[:taken]).startswith(rest):
        return Match(taken, rest)
    return None


def raw_length(raw: str, unified_length: int) -> int:
    """How many characters of `raw`, line ends as they are, make the first `unified_length` of it with unified ones."""
    if "\r" not in raw:
        return unified_length
    index = 0
    for _ in range(unified_length):
        index += 2 if raw.startswith("\r\n", index) else 1
    return min(index, len(raw))


def typed(inserted: str, remaining: str) -> bool:
    """True if a person may have typed `inserted`, which begins `remaining`, with one key.

    One character; Enter with the indent that the editor adds; Tab as spaces; a bracket with its closer.
    """
    if len(inserted) <= 1 or inserted in _AUTOCLOSED:
        return True
    return not inserted.strip() and inserted != remaining


def _open_closers(text: str) -> str:
    """What would close the brackets and quotes that `text` leaves open, innermost first."""
    stack: list[str] = []
    for character in text:
        if stack and character == stack[-1]:
            stack.pop()
        elif stack and stack[-1] in _QUOTES:
            continue
        elif character in _PAIRS:
            stack.append(_PAIRS[character])
        elif character in _QUOTES:
            stack.append(character)
    return "".join(reversed(stack))
