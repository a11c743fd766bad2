"""Which of llama.cpp's slots (a stream's key-value cache) a prompt goes to. Pure; says nothing about what is generated.

llama.cpp would choose by itself, but it reuses a cache that was computed under another adapter
(https://github.com/ggml-org/llama.cpp/issues/26207): then neither the text nor log μ would be that of the policy named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

REUSE_SHARE = 0.1
"""A slot that holds less than this share of the prompt is not worth losing what else it holds."""


@dataclass(slots=True)
class Slot:
    index: int
    adapter: str | None = None
    tokens: list[int] = field(default_factory=list)
    """What its cache holds, computed under `adapter`; empty: nothing that may be used."""
    busy: bool = False
    used: int = 0
    """Counts up with each use of any slot."""
    background: bool = False
    """Its last use was one that nobody waited for."""


class Slots:
    def __init__(self, count: int) -> None:
        self._slots = [Slot(index) for index in range(count)]
        self._uses = 0

    def take(self, prompt: Sequence[int], adapter: str | None, background: bool = False) -> Slot:
        """The idle slot that holds most of the prompt under this adapter, or else the one that was idle longest.

        At least one slot must be idle. `slot.tokens` is cut to what may be reused; the caller records what it adds. background:
        nobody waits for it, so it takes the slot that the last such one had, and leaves the others what they hold.
        """
        idle = [slot for slot in self._slots if not slot.busy]
        if background:
            idle = [slot for slot in idle if slot.background] or [min(idle, key=lambda slot: slot.used)]
        shared = {slot.index: common_length(slot.tokens, prompt) if slot.adapter == adapter else 0 for slot in idle}
        best = max(idle, key=lambda slot: (shared[slot.index], -slot.used))
        if shared[best.index] < REUSE_SHARE * len(prompt):
            best = min(idle, key=lambda slot: slot.used)
        self._uses += 1
        best.busy, best.used, best.background = True, self._uses, background
        del best.tokens[shared[best.index] :]
        best.adapter = adapter
        return best

    def release(self, slot: Slot) -> None:
        slot.busy = False


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    length = min(len(first), len(second))
    return next((at for at in range(length) if first[at] != second[at]), length)
