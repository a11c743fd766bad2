"""The words that a language has without declaring them, from the lists beside it. Reads only those."""

from functools import cache
from pathlib import Path
from typing import Final

_WORDS: Final = Path(__file__).with_name("words")
_NAMES: Final = {"go": "go_names", "rust": "rust_names"}


@cache
def names(language: str) -> frozenset[str]:
    """Of a language that RULES has."""
    return _words(_NAMES.get(language, "script_names"))


@cache
def packages(language: str) -> frozenset[str]:
    """Of the standard library, as they are imported; of Rust the roots of paths."""
    if language == "rust":
        return frozenset("std core alloc proc_macro test self super crate Self".split())
    return _words("go_packages" if language == "go" else "node_modules")


def _words(name: str) -> frozenset[str]:
    lines = (_WORDS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
