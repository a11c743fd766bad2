"""The words in which a fix is asked for, and the form of the answer: the server writes and reads them, the learner reads them
in the record and asks in them where it tries a candidate. Pure.
"""

import re
from collections.abc import Sequence
from typing import Final

from tacit.protocol.debugging import Message

SYSTEM: Final = (
    "You are a careful debugging assistant inside a code editor. You only rely on the code and messages that you are shown. "
    "You never invent functions, modules or files."
)
TO_CORRECT: Final = "This is the code to correct:\n"
FENCE: Final = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*$", re.MULTILINE)


def block(language: str, text: str) -> str:
    """A fenced block; the fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    name = {"javascriptreact": "jsx", "typescriptreact": "tsx", "plaintext": ""}.get(language, language)
    body = text.strip("\n")
    return f"{fence}{name}\n{body}\n{fence}"


def said(output: str) -> str:
    """What a program, or its tests, said."""
    return f"This is what the program said:\n```text\n{output}\n```"


def asked(language: str, code: str, function: str) -> str:
    """code: what is to be written anew. function: the name of the one that it is; empty: it is none.

    The code is asked for first: small models that begin with a sentence often end with it, or repeat it until their room is full.
    """
    what = f"the whole corrected function `{function}`" if function else "all of these lines, corrected,"
    return (
        f"{TO_CORRECT}{block(language, code)}\n\n"
        "Fix the bug. Change only what is needed to remove the problem, and keep everything else exactly as it is. "
        "If an import is missing, write it above. "
        f"Answer with {what} in one code block, and below it one short sentence that says what was wrong. "
        "Begin with the code block."
    )


def code_of(messages: Sequence[Message]) -> str | None:
    """The code that a prompt asks to correct, without empty lines around it; None: it asks for no fix."""
    for message in messages:
        at = message.text.rfind(TO_CORRECT) if message.role == "user" else -1
        if at < 0:
            continue
        opening, _, rest = message.text[at + len(TO_CORRECT) :].partition("\n")
        fence = opening[: len(opening) - len(opening.lstrip("`"))]
        # The fence is longer than any in the code: the first line that is nothing else ends it.
        code, found, _ = f"\n{rest}\n".partition(f"\n{fence}\n")
        return code[1:] if fence and found else None
    return None


def code_span(answer: str) -> tuple[int, int] | None:
    """`[start, end)` of what stands in an answer's first code block, its last line end included; None: no block that ends."""
    first = FENCE.search(answer)
    if first is None:
        return None
    closing = next((f for f in FENCE.finditer(answer, first.end()) if f[1].startswith(first[1][:3])), None)
    return None if closing is None else (first.end() + 1, closing.start())
