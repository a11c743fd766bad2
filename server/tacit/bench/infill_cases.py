"""Holes in public benchmark programs, as an editor would show them: what `tacit bench infill` asks. Reads the data folder only.

HumanEval-Infilling (openai/human-eval-infilling, MIT) and HumanEvalPack (bigcode/humanevalpack, MIT), one JSON object a line,
gzipped. The first comes with its holes; into the reference solutions of the second they are made here, by a seed: a whole
line, the rest of a line, the body of a block. In both, the line's end stays below the cursor, as it does in an editor.
"""

import gzip
import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Kind = Literal["line", "rest", "block"]
KINDS: Final[tuple[Kind, ...]] = ("line", "rest", "block")

INFILLING, PACK = "humaneval_infilling.jsonl.gz", "humanevalpack_fix.jsonl.gz"
LANGUAGES: Final = {
    # The data's name: LSP language id, a path as a project would have it.
    "python": ("python", "solution.py"),
    "js": ("javascript", "src/solution.js"),
    "java": ("java", "src/Solution.java"),
    "cpp": ("cpp", "src/solution.cpp"),
    "go": ("go", "solution.go"),
    "rust": ("rust", "src/lib.rs"),
}
LONGEST_BLOCK = 6
"""Lines: what a suggestion of the default length can hold."""

_TOKEN_EDGE = re.compile(r"(?<=[=(,\s])(?=\S)")


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    language: str
    """LSP language id."""
    path: str
    kind: Kind
    prefix: str
    suffix: str
    middle: str
    """What stood in the hole."""
    test: str
    """Code that is run after the file; it ends with an error if the file is wrong."""

    def program(self, completion: str) -> str:
        return f"{self.prefix}{completion}{self.suffix}\n{self.test}\n"


def data_folder() -> Path:
    """`TACIT_DATA`, or `../shared/data` beside the checkout that this module is in. It need not exist."""
    if named := os.environ.get("TACIT_DATA"):
        return Path(named)
    return Path(__file__).resolve().parents[4] / "shared" / "data"


def single_lines(folder: Path, size: int, seed: int) -> list[Case]:
    """`size` single-line holes of HumanEval-Infilling, at most one for each problem while there are enough of them."""
    rows = [row for row in _rows(folder / INFILLING) if row["kind"] == "SingleLineInfilling"]
    problems: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        problems.setdefault(row["id"].rsplit("/", 1)[0], []).append(row)
    return [_infilling(row) for row in _spread(list(problems.values()), size, random.Random(seed))]


def several_languages(folder: Path, size: int, seed: int) -> list[Case]:
    """`size` holes for each language of HumanEvalPack but Python, kinds in turn."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(folder / PACK):
        rows.setdefault(row["language"], []).append(row)
    cases: list[Case] = []
    for language in ("js", "java", "cpp", "go", "rust"):
        # The same holes whichever other languages there are.
        draw = random.Random(f"{seed}/{language}")
        shuffled = draw.sample(rows.get(language, []), len(rows.get(language, [])))
        made: list[Case] = []
        for row in shuffled:
            if len(made) == size:
                break
            if case := dig(row, KINDS[len(made) % len(KINDS)], draw):
                made.append(case)
        cases += made
    return cases


def dig(row: dict[str, Any], kind: Kind, draw: random.Random) -> Case | None:
    """A hole of that kind in a reference solution; None if it has no place for one."""
    language, path = LANGUAGES[row["language"]]
    head = row["prompt"].rstrip("\n") + "\n"
    lines = row["canonical_solution"].rstrip("\n").split("\n")
    spans = list(_blocks(lines)) if kind == "block" else [(i, i + 1) for i, line in enumerate(lines) if _says_something(line)]
    if not spans:
        return None
    first, end = draw.choice(spans)
    indent = len(lines[first]) - len(lines[first].lstrip())
    column = indent
    if kind == "rest":
        edges = [match.start() for match in _TOKEN_EDGE.finditer(lines[first]) if indent < match.start() < len(lines[first]) - 2]
        if not edges:
            return None
        column = draw.choice(edges)
    above = "".join(line + "\n" for line in lines[:first])
    below = "".join("\n" + line for line in lines[end:]) + "\n"
    middle = "\n".join(lines[first:end])[column:]
    return Case(
        f"{row['id']}/{kind}", language, path, kind, head + above + lines[first][:column], below, middle, _test(row["test"])
    )


def _test(code: str) -> str:
    return code.strip("\n")


def _infilling(row: dict[str, Any]) -> Case:
    test = f"{row['test']}\ncheck({row['entry_point']})"
    return Case(row["id"], "python", "solution.py", "line", row["prefix"], "\n" + row["suffix"], row["middle"].rstrip("\n"), test)


def _blocks(lines: list[str]) -> Iterator[tuple[int, int]]:
    """(first, end) of the bodies below a line that opens one: everything that is indented further than that line."""
    for index, line in enumerate(lines[:-1]):
        if not line.rstrip().endswith((":", "{")):
            continue
        depth = _indent(line)
        end = index + 1
        while end < len(lines) and lines[end].strip() and _indent(lines[end]) > depth:
            end += 1
        if 1 <= end - index - 1 <= LONGEST_BLOCK and end < len(lines) and _says_something("".join(lines[index + 1 : end])):
            yield index + 1, end


def _says_something(line: str) -> bool:
    return sum(char.isalnum() for char in line) >= 4 and not line.strip().startswith(("//", "#", "*"))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _spread(groups: list[list[dict[str, Any]]], size: int, draw: random.Random) -> list[dict[str, Any]]:
    """`size` members, one of each group before a second of any."""
    rounds = [draw.sample(group, len(group)) for group in draw.sample(groups, len(groups))]
    longest = max((len(group) for group in rounds), default=0)
    return [group[turn] for turn in range(longest) for group in rounds if turn < len(group)][:size]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
