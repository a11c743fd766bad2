"""What is looked at before a fix is shown and needs no other program: does it parse, does it hide the fault. Pure."""

import ast
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from tacit.protocol.debugging import Check, Span
from tacit.server.debugging.edits import Edit
from tacit.server.debugging.region import Region
from tacit.server.syntax import GRAMMARS, MOST_FAULTS, broken, new_parser

SILENCERS: Final = (
    (re.compile(r"#\s*(?:type|ty|pyright|mypy|pylint|ruff)\s*:\s*(?:ignore|disable|noqa)|#\s*noqa", re.IGNORECASE), "a comment"),
    (re.compile(r"@ts-(?:ignore|nocheck|expect-error)|eslint-disable|//\s*nolint|NOLINT|NOSONAR"), "a comment"),
    (re.compile(r"@SuppressWarnings|#\[allow\(|#pragma\s+(?:GCC|clang)\s+diagnostic\s+ignored"), "a directive"),
    (re.compile(r"except\s*:"), "a handler"),
    (re.compile(r"except\s+(?:Base)?Exception(?:\s+as\s+\w+)?\s*:\s*(?:#[^\n]*)?\n\s*(?:pass|\.\.\.|continue)\b"), "a handler"),
    (re.compile(r"catch\s*(?:\([^)]*\))?\s*\{\s*\}"), "an empty handler"),
    (re.compile(r"contextlib\.suppress\(\s*(?:Base)?Exception"), "a handler"),
)  # fmt: skip
"""What makes a complaint go away without mending anything, and what it is called."""
PLACEHOLDERS: Final = re.compile(
    r"(?:#|//|/\*)[^\n]*(?:\.\.\.\s*(?:\(?(?:rest|existing|remaining|same|other|your)\b)|(?:rest|remainder) of (?:the|your) "
    r"(?:code|function|class|file)|existing code|your code here)",
    re.IGNORECASE,
)
"""Where a model leaves out what it should have repeated."""
STUB: Final = re.compile(
    r"[:{]\s*(?:\.\.\.|pass|return(?:\s+(?:None|null|nil|undefined))?|raise\s+NotImplementedError\b.*|(?:todo|unimplemented)!\(.*\)"
    r"|throw\s+new\s+\w*(?:NotImplemented|Unsupported)\w*.*)?;?\s*\}?\s*$"
)
"""A function whose body does nothing."""
MOST_NEW: Final = 6
"""Names that a note lists."""
ENDS: Final = re.compile(r"\b(?:(?:quick_|_)?exit|halt)\s*\(", re.IGNORECASE)
"""Where a program ends itself, in any of the languages."""
_WORD = re.compile(r"[A-Za-z_$][\w$]{2,}")
LOST_SHARE: Final = 0.5
"""Of the region's lines with code that a fix may take away."""
GROWN: Final = 3.0
"""Times as long as it was, and GROWN_LINES more, a region may become."""
GROWN_LINES: Final = 15


def scope(
    text: str, changed: str, region: Region, edits: Sequence[Edit], masked: Sequence[Span], unresolved: Sequence[str] = ()
) -> Check:
    """Whether it is a small, honest change. text: as it was sent; masked: what of it must stay; offsets are of `text`.

    unresolved: names that the request's diagnostic says nothing defines.
    """
    if not edits:
        return _failed("scope", "It changes nothing.")
    if any(edit.start < span.end and span.start < max(edit.end, edit.start + 1) for edit in edits for span in masked):
        return _failed("scope", "It changes a secret, which was hidden from the model.")
    old = text[region.start : region.end]
    if "<redacted:" in changed and "<redacted:" not in text:
        return _failed("scope", "It writes the mark of a hidden secret into the code.")
    for pattern, what in SILENCERS:
        if len(pattern.findall(changed)) > len(pattern.findall(text)):
            return _failed("scope", f"It adds {what} that hides the problem instead of mending it.")
    if len(PLACEHOLDERS.findall(changed)) > len(PLACEHOLDERS.findall(text)):
        return _failed("scope", "It leaves code out and says so in a comment.")
    if name := next((name for name in unresolved if _made_up(name, text, changed)), None):
        return _failed("scope", f"It only makes `{name}` a constant, which is not what was meant by it.")
    before = _code_lines(old)
    taken = sum(len(_code_lines(text[edit.start : edit.end])) for edit in edits if not edit.text.strip())
    if before and taken > max(3.0, LOST_SHARE * len(before)):
        return _failed("scope", f"It takes away {taken} of {len(before)} lines.")
    new = _code_lines(changed[region.start : len(changed) - (len(text) - region.end)])
    if len(before) > 2 and 0 < len(new) <= (3 if new[-1].strip() == "}" else 2) and STUB.search("\n".join(new)):
        return _failed("scope", "It empties the function instead of mending it.")
    grown = len(changed.splitlines()) - len(text.splitlines())
    if grown > GROWN_LINES and grown > (GROWN - 1) * max(1, len(old.splitlines())):
        return _failed("scope", f"It adds {grown} lines to {len(old.splitlines())}.")
    lines = sum(max(1, len(text[edit.start : edit.end].splitlines())) for edit in edits)
    return Check(name="scope", result="passed", note=f"It changes {lines} line{'s' if lines > 1 else ''} and hides nothing.")


def only_blanks(text: str, changed: str) -> bool:
    """Only empty lines and blanks at ends of lines differ."""
    one, other = ([line.rstrip() for line in lines.splitlines() if line.strip()] for lines in (text, changed))
    return one == other


def parses(text: str, changed: str, language: str, *, whole: bool) -> Check:
    """Whether a grammar finds no more faults than before."""
    if language not in GRAMMARS:
        return Check(name="parses", result="unchecked", note=f"There is no grammar for {language or 'this language'} here.")
    if language == "python" and whole and _python_fault(text) is None and (fault := _python_fault(changed)) is not None:
        # A file that Python itself does not read may be of a newer one than the server's: the grammar decides then.
        return _failed("parses", f"It does not parse: {fault}.")
    before, after = _faults(text, language), _faults(changed, language)
    if after > before:
        return _failed(
            "parses", f"It does not parse: {after - before} place{'s' if after - before > 1 else ''} more than before."
        )
    if after and not whole:
        return Check(name="parses", result="passed", note="As far as it is in view, no place more than before fails to parse.")
    note = f"It parses ({GRAMMARS[language]} grammar)." if not after else f"{after} places do not parse; it was {before} before."
    return Check(name="parses", result="passed", note=note)


def new_names(text: str, changed: str, shown: Iterable[str]) -> list[str]:
    """Words of the changed text that neither the old text nor anything else that the model was shown has; the first few."""
    known = {word for one in (text, *shown) for word in _WORD.findall(one)}
    return [word for word in dict.fromkeys(_WORD.findall(changed)) if word not in known][:MOST_NEW]


def ends(text: str, changed: str) -> bool:
    """Whether the program is ended at more places than before: a test that is a program passes where it ends well, whatever it
    would have asked after that."""
    return len(ENDS.findall(changed)) > len(ENDS.findall(text))


def unchecked(name: str, why: str) -> Check:
    return Check.model_validate({"name": name, "result": "unchecked", "note": why})


def passed(checks: Iterable[Check]) -> bool:
    """Nothing failed; what could not be checked is no failure, and is said."""
    return all(check.result != "failed" for check in checks)


def finding(checks: Iterable[Check]) -> str:
    """What failed, as sentences; empty: nothing did."""
    return " ".join(check.note for check in checks if check.result == "failed")


def _made_up(name: str, text: str, changed: str) -> bool:
    """A literal is assigned to the name, and nothing counts it up: that silences a checker, and computes nonsense."""
    word = re.escape(name)
    literal = re.compile(
        rf"\b{word}\s*(?::[^=\n]+)?=\s*(?:-?\d[\d._]*|None|null|True|False|\"[^\"\n]*\"|'[^'\n]*')\s*;?\s*(?:#.*|//.*)?$", re.M
    )
    counted = re.compile(rf"\b{word}\s*(?:[-+*/|&]|//|\|\||&&)=|\b{word}(?:\+\+|--)")
    return len(literal.findall(changed)) > len(literal.findall(text)) and counted.search(changed) is None


def _failed(name: str, note: str) -> Check:
    return Check.model_validate({"name": name, "result": "failed", "note": note})


def _code_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "//", "*", "/*"))]


def _faults(text: str, language: str) -> int:
    root = new_parser(GRAMMARS[language]).parse(text.encode(errors="replace")).root_node
    return sum(1 for _ in islice(broken(root), MOST_FAULTS + 1))


def _python_fault(text: str) -> str | None:
    """What Python itself says of it; None: it is fine. Of the version that the server runs with."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or type(error).__name__
    return None
