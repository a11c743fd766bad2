"""What the model is told of the code around the cursor. Pure: a document's text and an offset in, path, prefix and suffix out.

The prefix begins at a line that stays the same for many keystrokes: an engine keeps what it has computed for a prompt only
as far as the next prompt is the same from its first token on. The window therefore moves in big steps. The suffix comes
after the prefix in the prompt and is computed anew each time, so it is short.
"""

import re
from dataclasses import dataclass

from tacit.lsp.matching import unified
from tacit.protocol.plain_text import acts
from tacit.protocol.redaction import redact

_KEY_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9 ]+ )?PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END (?:[A-Z0-9 ]+ )?PRIVATE KEY(?: BLOCK)?-----")


@dataclass(frozen=True, slots=True)
class Budget:
    """Characters of code that the engine can read in a reasonable time."""

    prefix: int
    suffix: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Redacted, line ends LF, within the budget (a redaction mark may be longer than what it replaces)."""

    prefix: str
    suffix: str


def surroundings(text: str, offset: int, budget: Budget) -> Surroundings | None:
    """None: the cursor is inside a secret."""
    start = window_start(text, offset, budget.prefix)
    inside, key_end = _private_key(text, start)
    if inside:
        if key_end is None or key_end > offset:
            return None
        # The key's first line is outside the window; without it what follows would not look like a key.
        start = key_end
    if _private_key(text, offset)[0]:
        return None
    end = suffix_end(text, offset, budget.suffix)
    before, after = unified(text[start:offset]), unified(text[offset:end])
    prefix, suffix = redact(before), redact(after)
    if _cut_through(before, after, prefix + suffix):
        return None
    return Surroundings(prefix, suffix)


def _cut_through(before: str, after: str, redacted_apart: str) -> bool:
    """True if the cursor is inside a secret that only shows as a whole, or in a literal that is one as soon as it is closed."""
    if redact(before + after) != redacted_apart:
        return True
    line = before[before.rfind("\n") + 1 :]
    return any(redact(line + quote) != redact(line) + quote for quote in "\"'`")


def window_start(text: str, offset: int, budget: int) -> int:
    """Where the prefix begins: a line's start at most `budget` before the cursor, the same for a quarter of the budget."""
    if offset <= budget:
        return 0
    step = max(1, budget // 4)
    # The first multiple of the step that is near enough, then the next line's start.
    start = -(-(offset - budget) // step) * step
    if text[start - 1] == "\n":
        return start
    line_end = text.find("\n", start, offset)
    # One very long line: better cut inside it than show the model nothing.
    return line_end + 1 if line_end >= 0 and offset - (line_end + 1) >= budget // 4 else start


def suffix_end(text: str, offset: int, budget: int) -> int:
    """Where the suffix ends: at a line's end at most `budget` after the cursor, or inside the line if the first is longer."""
    if len(text) - offset <= budget:
        return len(text)
    line_end = text.rfind("\n", offset, offset + budget)
    return line_end + 1 if line_end >= 0 else offset + budget


def hidden_characters(text: str) -> bool:
    """True if it holds characters that make text look like other text (bidi overrides, zero-width), or that terminals act on."""
    return acts(text)


def _private_key(text: str, offset: int) -> tuple[bool, int | None]:
    """Whether this offset is inside a private key, and where that key ends, if it does."""
    if "PRIVATE KEY" not in text:
        return False, None
    begins = [found.end() for found in _KEY_BEGIN.finditer(text, 0, offset)]
    if not begins:
        return False, None
    end = _KEY_END.search(text, begins[-1])
    if end is not None and end.end() <= offset:
        return False, end.end()
    return True, end.end() if end else None
