"""Text that is not ours, such as a model's or a tool's words, made safe to show to a person. Pure; imports nothing of Tacit.

What a terminal or an editor would act on instead of showing it becomes words. Text that is to be stored, applied or learnt from
does not come through here.
"""

import re
from typing import Final

_RANGES: Final = (
    # Control characters but tab and line feed: they move the cursor, and begin sequences that set titles, clipboards and links.
    # U+009B is ESC [. The others reorder text, hide in it, or are lines' ends that few know.
    (0x0, 0x8), (0xB, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    # Variation selectors hold any data unseen; the one that makes a picture of a sign stays.
    (0xFE00, 0xFE0E), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB), (0x13430, 0x13438), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0xE007F), (0xE0100, 0xE01EF),
)  # fmt: skip
_AS_WORDS: Final = {number: f"\\u{{{number:x}}}" for first, last in _RANGES for number in range(first, last + 1)}
_ACTING: Final = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _RANGES) + "]")


def acts(text: str) -> bool:
    """Whether `visible` would change more of it than ends of lines."""
    return _ACTING.search(text.replace("\r\n", "\n")) is not None


def visible(text: str) -> str:
    """Control characters but line feeds and tabs, and marks that reorder or hide text, shown as what they are."""
    return text.replace("\r\n", "\n").translate(_AS_WORDS)


def unlinked(text: str) -> str:
    """`visible`, and without Markdown links: VS Code makes `[label](command:…)` in a message a link that runs the command."""
    return visible(text).replace("](", "] (")
