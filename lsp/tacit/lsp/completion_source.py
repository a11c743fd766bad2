"""The same suggestion for editors without inline completion: one entry of `textDocument/completion`, last in the menu. Pure.

Opt-in (`completionSource`): an editor that shows inline completions would show everything twice. Knows LSP's items and the
document; asks nobody, so that what is shown and what comes of it is `completion.py`'s and the tracker's as ever.
"""

import re
from collections.abc import Awaitable
from typing import Final

from lsprotocol import types

from tacit.lsp.documents import Document
from tacit.lsp.settings import Settings, read

LABEL_CHARS: Final = 60
LAST: Final = "~~~~"
"""Sorts after what other servers offer."""

# Menus filter by the word that is being typed, so an entry's label starts with it. What is inserted starts at the cursor: some
# editors make a replacement of two changes, of which the first looks like a developer who goes on elsewhere.
_WORD = re.compile(r"\w+\Z")


def wanted(options: object) -> bool:
    """Whether these `initializationOptions` turn it on: most editors cannot be told of a capability later."""
    return read(options, Settings())[0].completion_source


async def menu(
    document: Document, offset: int, asking: Awaitable[types.InlineCompletionList | None]
) -> types.CompletionList | None:
    """What to answer. asking: the inline completion at this offset (code points) of this document."""
    version = document.version
    found = await asking
    if found is None or document.version != version:
        return None
    # Incomplete: asked anew with each key, as ghost text is.
    return types.CompletionList(is_incomplete=True, items=[entry(document, offset, item) for item in found.items])


def entry(document: Document, offset: int, item: types.InlineCompletionItem) -> types.CompletionItem:
    """One inline completion at this offset as an entry of the menu."""
    inserted = item.insert_text if isinstance(item.insert_text, str) else item.insert_text.value
    line = document.text[max(0, offset - LABEL_CHARS) : offset]
    word = found.group() if (found := _WORD.search(line)) is not None else ""
    text = word + inserted
    first = next((row for row in text.splitlines() if row.strip()), text)
    at = document.position_at(offset)
    return types.CompletionItem(
        label=first.strip()[:LABEL_CHARS],
        kind=types.CompletionItemKind.Text,
        detail="Tacit",
        documentation=text if "\n" in text else None,
        sort_text=LAST,
        filter_text=first[:LABEL_CHARS],
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(item.range or types.Range(at, at), inserted),
        command=item.command,
    )
