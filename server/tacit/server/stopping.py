"""When a completion has filled its hole, and which part of the generated text to show. Pure.

Small models do not know where the hole ends: they write on, usually the code that stands after the hole already. The rules
look at the growing text after each token. Every cut keeps a beginning of the text and drops the rest; nothing is rewritten.
"""

import re
from dataclasses import dataclass
from typing import Literal

from tacit.server.hole import CLOSERS, LONGEST_LOOP, OPENERS, QUOTES, Hole, columns, lead_of
from tacit.server.syntax import GRAMMARS

End = Literal["open", "eos", "cut_off"]
"""open: more may come. eos: the model ended it. cut_off: the token limit or the deadline did."""
Reason = Literal["suffix", "closers", "line", "block", "repetition"]
"""suffix: it repeats what follows. closers: it closes what the suffix closes. line: the line is done. block: the block is.
repetition: it repeats itself."""

DOCSTRING = ('"""', "'''")
DISTINCTIVE = 10
"""Characters, blanks aside, from which on a line is unlikely to stand in two places by chance."""
UNMISTAKABLE = 16
"""The same, at whatever indentation."""

_DEFINITION = re.compile(
    r"(?:@\w|(?:(?:async|export|default|pub(?:\(\w+\))?|public|private|protected|static|abstract|final|unsafe|override)\s+)*"
    r"(?:def|class|function|fn|func|impl|struct|enum|interface|trait|module|namespace)\b)"
)


@dataclass(frozen=True, slots=True)
class Cut:
    text: str
    """What to show if it ends here."""
    reason: Reason | None
    """None: generating on may add to it."""


def cut(hole: Hole, text: str, end: End = "open") -> Cut:
    """What to show of `text`, and whether to stop. The result is a beginning of `text`."""
    result = _cut_line(hole, text, end) if hole.after else _cut_block(hole, text, end)
    if result.reason is not None or end != "open":
        result = Cut(_sound(hole, result.text, end), result.reason)
    return Cut("", result.reason) if _says_nothing_new(hole, result.text) else result


_LINE = re.compile(r"[^\n]*\S")


def _sound(hole: Hole, text: str, end: End) -> str:
    """The text up to the last of its lines with which the file has the fewest faults; nothing if the file was better without."""
    if hole.syntax is None or not text.strip():
        return text
    ends = [match.end() for match in _LINE.finditer(text)]
    ends[-1] = len(text)
    faults = {place: hole.syntax.faults(text[:place]) for place in ends}
    best = min(faults.values())
    # A single line that the limit cut off is not expected to parse.
    if best > hole.syntax.faults("") and (end != "cut_off" or len(ends) > 1):
        return ""
    return text[: max(place for place in ends if faults[place] == best)]


# Within a line: something stands after the cursor. One line is all there is room for.


def _cut_line(hole: Hole, text: str, end: End) -> Cut:
    line, newline, _ = text.partition("\n")
    rest = hole.after
    if (at := _surplus_closer(hole, line)) is not None:
        return Cut(line[:at].rstrip(), "closers")
    # Closers alone are too common to be taken for the suffix; they are counted above.
    if (rest[0] in QUOTES or _distinctive(rest, 4)) and (at := line.find(rest)) >= 0:
        return Cut(line[:at] if line[:at].strip() else "", "suffix")
    over = bool(newline) or end != "open"
    if over and (shared := _overlap(line.rstrip(), rest)):
        return Cut(line.rstrip()[:-shared], "suffix")
    # A blank before what follows may be meant; one before the end of the line is not.
    keeps_blank = not newline and end == "eos" and (rest[0].isalnum() or rest[0] == "_")
    return Cut(line if keeps_blank and line.strip() else line.rstrip(), "line" if newline else None)


def _surplus_closer(hole: Hole, line: str) -> int | None:
    """Place of the first bracket that the line closes although the suffix does."""
    if hole.after[0] not in CLOSERS:
        return None
    depth = hole.owed
    for at, bracket in hole.brackets(hole.before + line):
        if at < len(hole.before):
            continue
        depth += 1 if bracket in OPENERS else -1
        if depth < 0:
            return at - len(hole.before)
    return None


def _overlap(line: str, rest: str) -> int:
    """Length of the line's end that is the beginning of what follows, where that cannot be chance."""
    if rest[0] in CLOSERS:
        return 0
    least = 1 if rest[0] in QUOTES + ",;:" else 3
    lengths = range(min(len(line), len(rest)), least - 1, -1)
    return next((length for length in lengths if line.endswith(rest[:length])), 0)


# At the end of a line, or on an empty one: the rest of the line, and lines below it while they belong to it.


def _cut_block(hole: Hole, text: str, end: End) -> Cut:
    lines = text.split("\n")
    floor = _first_floor(hole)
    least = hole.least_indent
    seen = list(hole.preceding)
    """Lines that are not blank, the prefix's included."""
    own = 0
    """How many of them are generated."""
    blanks = at = 0
    for index, line in enumerate(lines):
        start, at = at, at + len(line) + 1
        last = index == len(lines) - 1
        complete = not last or end == "eos"
        whole = (hole.before + line if index == 0 else line).rstrip()
        before = text[: max(start - 1, 0)].rstrip()
        if not line.strip():
            blanks += index > 0 and not last
            if own and blanks > 1:
                return Cut(before, "block")
            continue
        if _repeats_suffix(hole, text[:start], whole, complete):
            return Cut(_without_heads(hole, before), "suffix")
        if hole.following and (shared := _continuation(line, hole.following[0].strip())) > 0:
            return Cut(text[: start + shared].rstrip(), "suffix")
        indent = columns(whole)
        if not own and indent < least:
            return Cut("", "block")
        if not own and whole.lstrip().startswith(DOCSTRING) and hole.documented(lead_of(text)):
            return Cut("", "repetition")
        if index > 0:
            if floor is not None and indent < floor:
                if not _closes_own(hole, text[: at - 1], line):
                    return Cut(before, "block")
                if complete and not _opens(whole):
                    return Cut(text[: at - 1].rstrip(), "block")
            elif own and indent == floor and _is_enough(hole, text, line, complete, seen[-1], blanks):
                return Cut(before, "block")
        if last and end == "cut_off" and own:
            # Half a line below whole ones would have to be mended by hand.
            return Cut(before, None)
        if complete:
            seen.append(whole)
            own += 1
            if (
                own == 1
                and _opens(whole)
                and len(seen) > 1
                and whole.strip() == seen[-2].strip()
                and _distinctive(whole, DISTINCTIVE)
            ):
                return Cut("", "repetition")
            if not last and _heads_suffix(hole, whole, text[: at - 1]):
                return Cut(text[: at - 1].rstrip(), "suffix")
            if loop := _loop(seen, own):
                return Cut(_without_last(text[: at - 1], loop), "repetition")
            if not last and (floor is None or indent == floor) and _leaves(hole, text[: at - 1], line):
                return Cut(text[: at - 1].rstrip(), "block")
            if index == 0 and hole.before.strip():
                if not _opens(whole) and not hole.unmatched(whole)[0]:
                    return Cut(line.rstrip(), "line")
                floor = columns(hole.before) + 1
        if floor is None:
            floor = indent
        blanks = 0
    if (shorter := _stutter(lines[-1])) is not None:
        return Cut(text[: len(text) - shorter].rstrip(), "repetition")
    return Cut(text.rstrip(), None)


def _first_floor(hole: Hole) -> int | None:
    """The least indentation of lines that belong to the hole; None: what the first line has."""
    if hole.before.strip():
        return columns(hole.before) + 1 if _opens(hole.before.rstrip()) else columns(hole.before)
    return columns(hole.before + "x") if hole.before else None


def _repeats_suffix(hole: Hole, before: str, line: str, complete: bool) -> bool:
    """The line stands after the hole already."""
    if not complete and not _distinctive(line, DISTINCTIVE):
        return False
    for place, known in enumerate(hole.following):
        same = line.strip() == known.strip() if _distinctive(line, UNMISTAKABLE) else line == known
        if same and (place == 0 or _distinctive(line, DISTINCTIVE)):
            # A lone closer may belong to what was opened in the text itself.
            return not (line.strip()[0] in CLOSERS and hole.unmatched(before)[0])
    return False


def _continuation(line: str, below: str) -> int:
    """Place in the line of what the next line goes on with (`.map(…)`); 0 or less: it is not there."""
    return line.find(below) if not below[0].isalnum() and _distinctive(below, DISTINCTIVE) else 0


def _heads_suffix(hole: Hole, line: str, text: str) -> bool:
    """The line opens a block whose body stands below the hole already."""
    if not hole.following or not line.endswith((":", "{")) or hole.unmatched(text)[0] > line.endswith("{"):
        return False
    return 0 < columns(hole.following[0]) - columns(line) <= hole.unit


def _without_heads(hole: Hole, text: str) -> str:
    """The text without heads of blocks (`else:`) at its end whose body was cut away."""
    below = columns(hole.following[0])
    while text.strip():
        at = text.rfind("\n") + 1
        line = text[at:] if at else hole.before + text
        if not line.endswith((":", "{")) or columns(line) < below:
            break
        text = text[: max(at - 1, 0)].rstrip()
    return text


def _closes_own(hole: Hole, text: str, line: str) -> bool:
    """An outdented line that closes a bracket which nothing else closes."""
    return line.strip()[0] in CLOSERS and hole.unmatched(text)[1] <= hole.owed


_JUMP = re.compile(r"(?:return|raise|break|continue|throw)\b")


def _leaves(hole: Hole, text: str, line: str) -> bool:
    """A whole statement after which nothing of its block is reached."""
    said = line.strip()
    if not _JUMP.match(said) or hole.unmatched(text)[0] or _opens(said):
        return False
    if hole.language == "python":
        return True
    # A brace that nothing below closes is still to come.
    return said.endswith(";") and hole.language in GRAMMARS and not hole.owed


def _is_enough(hole: Hole, text: str, line: str, complete: bool, previous: str, blanks: int) -> bool:
    """`line`, as far left as the first, starts something of its own: after one definition, after one paragraph at the outermost
    level, after one statement between others."""
    level = columns(line)
    if level == 0 and blanks > 0:
        return True
    if columns(previous) > level and _DEFINITION.match(line.strip()):
        return True
    return _begins_statement(line, complete) and hole.goes_on(lead_of(text))


def _loop(seen: list[str], own: int) -> int:
    """How many of the last lines repeat those before them; 0: none."""
    for length in range(1, LONGEST_LOOP + 1):
        again = seen[-length:]
        if length <= own and again == seen[-2 * length : -length] and _distinctive("".join(again), DISTINCTIVE):
            return length
    return 0


def _without_last(text: str, count: int) -> str:
    """The text without its last `count` lines that are not blank."""
    for _ in range(count):
        text = text.rstrip()
        text = text[: max(text.rfind("\n"), 0)]
    return text.rstrip()


_WORD = re.compile(r"\w+(?=\W)")
_CONTINUES = frozenset("else elif except finally catch case default while and or where".split())


def _begins_statement(line: str, complete: bool) -> bool:
    """A line that does not go on with the statement above it, as far as its first word can be read."""
    said = line.strip()
    word = _WORD.match(said)
    if word is None:
        return complete and said[0].isalnum() and said not in _CONTINUES
    return word[0] not in _CONTINUES


_STUTTER = re.compile(r"(\S.{3,39}?)\1{3,}$")


def _stutter(line: str) -> int | None:
    """How many characters at the line's end say four times or more what was said; None: none."""
    match = _STUTTER.search(line)
    if match is None or not any(char.isalpha() for char in match[1]):
        return None
    return len(match[0]) - len(match[1])


def _says_nothing_new(hole: Hole, text: str) -> bool:
    """Blank, or nothing but the lines that follow anyway."""
    if not text.strip():
        return True
    shown = [line for line in ((hole.before if not hole.after else "") + text).split("\n") if line.strip()]
    known = list(hole.following[: len(shown)]) if not hole.after else [hole.after]
    return [line.strip() for line in shown] == [line.strip() for line in known]


def _opens(line: str) -> bool:
    """More has to follow on the next line."""
    return line.endswith((":", ",", "\\", "=>", "->", *OPENERS))


def _distinctive(line: str, least: int) -> bool:
    solid = "".join(line.split())
    return len(solid) >= least and any(char.isalnum() for char in solid)
