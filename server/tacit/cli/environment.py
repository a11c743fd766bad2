"""Variables of the environment that begin with TACIT_ and mean nothing: most likely misspelt. Reads names only, never values."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from tacit.protocol.remote import TOKEN, URL

OTHERS: Final = frozenset(
    {"TACIT_HOME", "TACIT_MODELS", "TACIT_DATA", "TACIT_DEBUG", "TACIT_EDITORS", "TACIT_SCREENSHOTS", URL, TOKEN}
)
"""Those that are no setting; the last three are for developers and their tests."""


def unknown(environment: Iterable[str]) -> list[str]:
    """A sentence for each, with the name that was probably meant."""
    odd = sorted(name for name in environment if name.startswith("TACIT_") and name not in OTHERS)
    if not odd:
        return []
    # Only now: the settings take a tenth of a second to import.
    from tacit.server.settings import Settings, variable

    known = OTHERS | {variable(name) for name in Settings.model_fields}
    said = []
    for name in odd:
        if name in known:
            continue
        near = get_close_matches(name, known, n=1, cutoff=0.75)
        said.append(f"{name} in the environment means nothing to Tacit{f'; did you mean {near[0]}?' if near else '.'}")
    return said
