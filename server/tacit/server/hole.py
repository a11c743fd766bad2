"""The hole that a completion fills: the facts about the code around it, computed once for all tokens. Pure.

Lines, indentation, brackets and strings are read here for every language; grammars, where there is one, in `syntax`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from tacit.server.syntax import Surroundings

OPENERS, CLOSERS, QUOTES = "([{", ")]}", "\"'`"
SUFFIX_LINES = 3
"""How many of the lines after the hole are watched for."""
LONGEST_LOOP = 4
"""Lines that may repeat."""
SCANNED = 8000
"""Characters on each side in which brackets are counted."""

_HASH_COMMENTS = frozenset(
    ("python", "ruby", "shellscript", "yaml", "toml", "r", "perl", "elixir", "julia", "makefile", "dockerfile")
)
# A string of one line; one that is still open reaches to the line's end. An apostrophe within a word begins none.
_STRINGS = r'"(?:\\.|[^"\\\n])*(?:"|(?=\n)|$)' + r"|(?<!\w\w)'(?:\\.|[^'\\\n])*(?:'|(?=\n)|$)"


@dataclass(frozen=True)
class Hole:
    """Where the completion goes. The facts about it are computed once for all tokens."""

    prefix: str
    suffix: str
    language: str = "python"

    @cached_property
    def before(self) -> str:
        """The cursor's line up to the cursor."""
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @cached_property
    def after(self) -> str:
        """The cursor's line from the cursor on, without blanks around it."""
        return self.suffix.partition("\n")[0].strip()

    @cached_property
    def following(self) -> tuple[str, ...]:
        """The first lines below the cursor's that are not blank."""
        lines = (line.rstrip() for line in self.suffix.partition("\n")[2].split("\n"))
        return tuple(line for _, line in zip(range(SUFFIX_LINES), filter(None, lines), strict=False))

    @cached_property
    def preceding(self) -> tuple[str, ...]:
        """The last lines above the cursor's that are not blank, in order."""
        lines = [line.rstrip() for line in self.prefix[-SCANNED:].split("\n")[:-1]]
        return tuple([line for line in lines if line][-LONGEST_LOOP:])

    @cached_property
    def unit(self) -> int:
        """Columns of one level of indentation, by the smallest step inwards above the hole; 4 if there is none."""
        depths = [columns(line) for line in self.prefix[-SCANNED:].split("\n") if line.strip()]
        return min((below - above for above, below in pairwise(depths) if below - above > 1), default=4)

    @cached_property
    def owed(self) -> int:
        """How many brackets the prefix opens and the suffix does not close."""
        opened, _ = self.unmatched(self.prefix[-SCANNED:])
        # A string that the prefix opens ends in the suffix; what is in it is not code.
        string = self._open_string
        line, newline, below = self.suffix[:SCANNED].partition("\n")
        _, closed = self.unmatched((line.partition(string)[2] if string else line) + newline + below)
        return max(0, opened - closed)

    @cached_property
    def syntax(self) -> Surroundings | None:
        """None: the language's grammar is not known; the rules of this module alone decide."""
        return Surroundings.around(self.prefix, self.suffix, self.language)

    def goes_on(self, indent: str) -> bool:
        """Statements of the same block stand above and below a line that is written into the hole after `indent`."""
        place = self.syntax.place(indent) if self.syntax else None
        return place is not None and place.after and place.before and not place.outermost

    def documented(self, indent: str) -> bool:
        """A docstring stands right above a line that is written into the hole after `indent`."""
        place = self.syntax.place(indent) if self.syntax else None
        return place is not None and place.documented

    @cached_property
    def least_indent(self) -> int:
        """Columns that the first line needs in order to belong to a block that is empty so far; Python only."""
        if self.language != "python" or self.before.strip() or not self.preceding or self.syntax is None:
            return 0
        head = self.preceding[-1]
        if head.endswith(":"):
            return columns(head) + 1
        lead = lead_of(head)
        place = self.syntax.place(lead[len(self.before) :]) if lead.startswith(self.before) else None
        # Two blank lines below a docstring: something else begins.
        apart = self.prefix.endswith("\n\n\n" + self.before)
        return columns(head) if place and not (place.before or place.after or place.outermost or apart) else 0

    @cached_property
    def _open_string(self) -> str:
        """The quote of a string that the cursor stands in; empty: none."""
        last = None
        for last in self._scanner.finditer(self.before):  # noqa: B007 - the last one is wanted
            pass
        if last is None or last.end() < len(self.before) or last[0][0] not in QUOTES:
            return ""
        return "" if len(last[0]) > 1 and last[0].endswith(last[0][0]) else last[0][0]

    def unmatched(self, code: str) -> tuple[int, int]:
        """Brackets opened and never closed, closed and never opened; strings and comments of one line aside."""
        opened = closed = 0
        for _, bracket in self.brackets(code):
            if bracket in OPENERS:
                opened += 1
            elif opened:
                opened -= 1
            else:
                closed += 1
        return opened, closed

    def brackets(self, code: str) -> Iterator[tuple[int, str]]:
        """Place and character of each bracket."""
        for match in self._scanner.finditer(code):
            if len(match[0]) == 1 and match[0] in OPENERS + CLOSERS:
                yield match.start(), match[0]

    @cached_property
    def _scanner(self) -> re.Pattern[str]:
        comment = r"#[^\n]*" if self.language in _HASH_COMMENTS else r"//[^\n]*"
        return re.compile(rf"{_STRINGS}|{comment}|[()\[\]{{}}]")


def columns(line: str) -> int:
    """Columns before the first character; a tab reaches to the next multiple of 8."""
    expanded = line.expandtabs()
    return len(expanded) - len(expanded.lstrip())


def lead_of(line: str) -> str:
    """The blanks that the first line of a text begins with."""
    first = line.partition("\n")[0]
    return first[: len(first) - len(first.lstrip())]
