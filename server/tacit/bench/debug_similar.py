"""Bugs of DebugBench (thunlp/DebugBench, Apache-2.0), which have no tests here: how much nearer to the reference a fix comes.
Reads the data folder only; pure otherwise.

Likeness is a hint, no proof: a right fix may look otherwise than the reference, and a wrong one nearly the same.
"""

import gzip
import json
import random
import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final

from tacit.bench.debug_tasks import Task

FILE: Final = "debugbench.jsonl.gz"
LANGUAGES: Final = {"python": "solution.py", "java": "Solution.java", "cpp": "solution.cpp"}
MOST_CHARS: Final = 2500
"""Of a buggy file: a longer one takes minutes to be written anew."""

_COMMENTS: Final = {
    "python": re.compile(r"#[^\n]*"),
    "java": re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL),
    "cpp": re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL),
}
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")


def load(folder: Path, languages: tuple[str, ...], seed: int) -> tuple[list[Task], list[str]]:
    """Bugs in an order by the seed, languages in turn; and a sentence if the file is missing."""
    if not (folder / FILE).is_file():
        return [], [f"{FILE} is not in {folder} (TACIT_DATA names another folder): its bugs were left out."]
    found: dict[str, list[Task]] = {one: [] for one in languages if one in LANGUAGES}
    with gzip.open(folder / FILE, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["language"] not in found or len(row["buggy"]) > MOST_CHARS:
                continue
            path = LANGUAGES[row["language"]]
            words = f"It should do this, and does not:\n{row['description']}\n" + "\n".join(row["examples"][:1])
            name = f"DebugBench/{row['id']}"
            found[row["language"]].append(
                Task(name, row["id"].rpartition("/")[2], row["language"], path, row["buggy"], row["fixed"], "", words=words)
            )
    orders = [random.Random(f"{seed}/{one}").sample(tasks, len(tasks)) for one, tasks in found.items()]
    longest = max(map(len, orders), default=0)
    return [order[turn] for turn in range(longest) for order in orders if turn < len(order)], []


def nearer(task: Task, text: str) -> float:
    """The part of the way from the bug to the reference that has been gone: 1 all of it, below 0 away from it (at least -1)."""
    goal = _tokens(task.reference, task.language)
    start, now = (_likeness(_tokens(one, task.language), goal) for one in (task.text, text))
    return max(-1.0, (now - start) / (1 - start)) if start < 1 else float(now == 1)


def same(task: Task, text: str) -> bool:
    """It is the reference, but for blanks and comments."""
    return _tokens(text, task.language) == _tokens(task.reference, task.language)


def _tokens(text: str, language: str) -> list[str]:
    return _TOKEN.findall(_COMMENTS[language].sub("", text))


def _likeness(one: list[str], other: list[str]) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
