"""Text that is not ours, such as a model's or a tool's words, made safe to show to a person. Pure; imports nothing of Tacit.

What a terminal or an editor would act on instead of showing it becomes words. Text that is to be stored, applied or learnt from
does not come through here.
"""

from typing import Final

_AS_WORDS: Final = {
    number: f"\\u{{{number:x}}}"
    for number in (
        # Control characters: they move the cursor, and begin sequences that set titles, clipboards and links. U+009B is ESC [.
        *(number for number in range(0x20) if chr(number) not in "\n\t"),
        *range(0x7F, 0xA0),
        # Marks that reorder or hide text.
        0x00AD, 0x061C, 0x115F, 0x1160, 0x180E, 0x3164, 0xFFA0,
        *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC),
        *range(0xE0000, 0xE0080),
    )
}  # fmt: skip


def visible(text: str) -> str:
    """Control characters but line feeds and tabs, and marks that reorder or hide text, shown as what they are."""
    return text.replace("\r\n", "\n").translate(_AS_WORDS)


def unlinked(text: str) -> str:
    """`visible`, and without Markdown links: VS Code makes `[label](command:…)` in a message a link that runs the command."""
    return visible(text).replace("](", "] (")
