"""When to ask the model: at once, after a pause of so many milliseconds, or not at all. Pure.

A new line and a fresh bracket are where a suggestion is wanted. Elsewhere a developer who types on would make most calls
useless: the delay follows the rhythm of the keys and the time that a call takes, grows with each reject and shrinks with each
accept (base · 1.5^rejects · 0.8^accepts, as arXiv 2511.18842 and other products have it).
"""

from typing import Final

LEAST_MS: Final = 50.0
MOST_MS: Final = 3_000.0
REJECT_FACTOR: Final = 1.5
ACCEPT_FACTOR: Final = 0.8
SLOW_MS: Final = 1_000.0
"""An engine that takes so long, or longer, makes it worth waiting for the whole rhythm."""
USUAL_LATENCY_MS: Final = 500.0

_OPENING: Final = "([{"
_CLOSING: Final = frozenset(" \t)]}>\"'`,;:")


def at_once(head: str) -> bool:
    """head: the line up to the cursor. True at a line's start and after an opening bracket."""
    bare = head.strip()
    return not bare or head.rstrip(" \t")[-1] in _OPENING


def closes(rest: str) -> bool:
    """rest: the line from the cursor on. True if it only closes what is open: there a suggestion has room."""
    return all(character in _CLOSING for character in rest)


def base_ms(gap_ms: float, latency_ms: float | None) -> float:
    """gap_ms: mean time between two keys. Half of it where a call costs nothing, all of it where it is slow."""
    latency = USUAL_LATENCY_MS if latency_ms is None else latency_ms
    return gap_ms * (0.5 + 0.5 * min(1.0, latency / SLOW_MS))


def delay_ms(base: float, accepts: float, rejects: float) -> float:
    """How long nothing may have been typed before the model is asked. accepts, rejects: faded counts."""
    # Far beyond the bounds the powers overflow.
    factor: float = REJECT_FACTOR ** min(rejects, 30.0) * ACCEPT_FACTOR ** min(accepts, 30.0)
    return max(LEAST_MS, min(MOST_MS, base * factor))
