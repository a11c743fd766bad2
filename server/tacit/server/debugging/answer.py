"""From what the model wrote to a new text of the file: reason, code, imports, where it goes. Pure.

Small models answer freely: the whole file instead of the function, another indentation, a sentence in between. What is meant is
taken; what cannot be placed for sure is an UnusableAnswer, with a sentence that the model can be told.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tacit.protocol.fix_prompt import FENCE, code_span
from tacit.server.debugging.region import FUNCTIONS, IMPORTS, Region, name_of
from tacit.server.syntax import GRAMMARS, new_parser

if TYPE_CHECKING:
    from tree_sitter import Node

LONGEST_REASON: Final = 200
MOST_BELOW: Final = 400
"""Characters below a code block in which a sentence is waited for."""
_SENTENCE = re.compile(r"(?<=[^A-Z.][.!?])\s+(?=[A-Z`])")
_LABEL = re.compile(r"^\W*(?:reason|problem|cause|the problem|fix|explanation|issue)[\s*]*:[\s*]*", re.IGNORECASE)


class UnusableAnswer(Exception):
    """`str` of it is a sentence for the model, and for a person."""


@dataclass(frozen=True, slots=True)
class Written:
    reason: str
    """One line; empty: none was given."""
    code: str
    """The code block's content, ends with a line end."""


def read(text: str) -> Written:
    """The answer's first sentence and its first code block. UnusableAnswer: there is none."""
    span = code_span(text)
    if span is None:
        missing = "has no code block" if FENCE.search(text) is None else "has a code block that does not end"
        raise UnusableAnswer(f"The answer {missing}.")
    code = text[span[0] : span[1]]
    if not code.strip():
        raise UnusableAnswer("The code block of the answer is empty.")
    # Next to the code stand its fences, which are no sentences.
    reason = _one_line(FENCE.split(text, maxsplit=1)[0]) or _one_line(text[span[1] :])
    return Written(reason, code if code.endswith("\n") else code + "\n")


def complete(text: str) -> bool:
    """Whether a code block has been closed, and a sentence stands above it or below it: what follows is not read."""
    fences = list(FENCE.finditer(text))
    if len(fences) < 2 or text[fences[1].end() : fences[1].end() + 1] != "\n":
        return False
    below = text[fences[1].end() + 1 :]
    # A line that has ended.
    return bool(_one_line(text[: fences[0].start()]) or _one_line(below.rpartition("\n")[0]) or len(below) > MOST_BELOW)


def _one_line(text: str) -> str:
    for line in text.splitlines():
        plain = _LABEL.sub("", line.strip().strip("#*>- ")).strip()
        plain = _SENTENCE.split(plain, maxsplit=1)[0]
        if len(plain) > 3 and not plain.endswith(":"):
            return plain if len(plain) <= LONGEST_REASON else plain[: LONGEST_REASON - 1] + "…"
    return ""


def new_text(text: str, region: Region, code: str, language: str) -> str:
    """The file with the region replaced by what the code block means. UnusableAnswer: it cannot be told where it goes."""
    newline = "\r\n" if "\r\n" in text else "\n"
    code = code.replace("\r\n", "\n")
    old = text[region.start : region.end]
    plain = old.replace("\r\n", "\n")
    imports: list[str] = []
    if language in GRAMMARS:
        imports, body = _without_imports(code, plain, language)
        if region.is_function and region.name:
            body = _function_in(body, region.name, language)
    else:
        body = code
    body = _fitted(body, plain)
    if not plain.endswith("\n"):
        body = body.rstrip("\n")
    changed = text[: region.start] + body.replace("\n", newline) + text[region.end :]
    missing = [line for line in imports if line not in text.replace("\r\n", "\n")]
    if missing:
        at = _import_place(changed, language)
        changed = changed[:at] + "".join(line + newline for line in missing) + changed[at:]
    return changed


def _without_imports(code: str, old: str, language: str) -> tuple[list[str], str]:
    """Imports at the outermost level that the region does not have itself, and the code without them."""
    root = new_parser(GRAMMARS[language]).parse(code.encode(errors="replace")).root_node
    data = code.encode(errors="replace")
    found, kept, at = [], bytearray(), 0
    for node in root.children:
        if node.type not in IMPORTS:
            continue
        line = data[node.start_byte : node.end_byte].decode(errors="replace").strip()
        if line in old:
            continue
        found.append(line)
        kept += data[at : node.start_byte]
        at = node.end_byte
        if data[at : at + 1] == b"\n":
            at += 1
    kept += data[at:]
    body = kept.decode(errors="replace").lstrip("\n") if found else code
    if found and not body.strip():
        raise UnusableAnswer("The code block holds only imports, not the code that was asked for.")
    return found, body


def _function_in(code: str, name: str, language: str) -> str:
    """The function of that name in the code, as whole lines; the code itself if it is nothing else."""
    root = new_parser(GRAMMARS[language]).parse(code.encode(errors="replace")).root_node
    whole = [node for node in root.named_children if not node.type.endswith("comment")]
    named = [node for node in _functions(root) if name_of(node) == name]
    if not named:
        # Some grammars do not know a method by itself: what calls itself by the name, and is no function of another one, is it.
        others = [node for node in _functions(root) if name_of(node)]
        if not others and re.search(rf"\b{re.escape(name)}\s*[(<:=]", code):
            return code
        raise UnusableAnswer(f"The code block does not hold `{name}`, which was asked for.")
    if len(named) > 1:
        raise UnusableAnswer(f"The code block holds `{name}` more than once.")
    node = named[0]
    while node.parent is not None and node.parent.type in ("decorated_definition", "export_statement", "template_declaration"):
        node = node.parent
    if whole == [node]:
        return code
    lines = code.splitlines(keepends=True)
    return "".join(lines[node.start_point[0] : node.end_point[0] + 1])


def _functions(root: "Node") -> "list[Node]":
    found, stack = [], [root]
    while stack:
        node = stack.pop()
        if node.type in FUNCTIONS or node.type in ("lexical_declaration", "variable_declaration"):
            found.append(node)
            if node.type in FUNCTIONS:
                continue
        stack += node.named_children
    return found


def _fitted(code: str, old: str) -> str:
    """Indented as the old code, with as many empty lines at both ends, and no new blanks at ends of lines."""
    lines = code.strip("\n").splitlines()
    before = old.splitlines()
    if not lines:
        return ""
    had = _indent(before)
    has = _indent(lines)
    if had != has:
        shifted = []
        for line in lines:
            if not line.strip():
                shifted.append("")
            elif line.startswith(has):
                shifted.append(had + line[len(has) :])
            else:
                shifted.append(line)
        lines = shifted
    above = len(old) - len(old.lstrip("\n"))
    below = len(old) - len(old.rstrip("\n"))
    kept = set(before)
    return "\n" * above + "\n".join(line if line in kept else line.rstrip() for line in lines) + "\n" * max(below, 1)


def _indent(lines: list[str]) -> str:
    """That of the first line that says something."""
    first = next((line for line in lines if line.strip()), "")
    return first[: len(first) - len(first.lstrip())]


def _import_place(text: str, language: str) -> int:
    """Code points: behind the last import of the file's beginning, else behind what must stand first."""
    data = text.encode(errors="replace")
    root = new_parser(GRAMMARS[language]).parse(data).root_node
    last = 0
    for number, node in enumerate(root.named_children):
        first_string = number == 0 and _is_string(node)
        if node.type in IMPORTS or node.type in ("package_declaration", "package_clause", "hash_bang_line") or first_string:
            last = node.end_byte
        elif node.type.endswith("comment") and not last:
            continue
        elif node.type not in ("comment", "line_comment", "block_comment"):
            break
    if not last:
        # Behind the comments that a file begins with, such as its coding or licence.
        match = re.match(r"(?:(?:#|//)[^\n]*\n)+", text)
        return match.end() if match is not None else 0
    end = data.find(b"\n", max(last - 1, 0))
    place = len(data) if end < 0 else end + 1
    return len(data[:place].decode(errors="replace"))


def _is_string(node: "Node") -> bool:
    alone = node.named_children[0] if node.type == "expression_statement" and node.named_child_count == 1 else node
    return alone.type == "string"
