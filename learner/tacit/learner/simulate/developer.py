"""How a scripted developer decides about a suggestion, and how they type. Pure: random numbers come in, decisions go out.

P(accept) = sigmoid(a·prefix match + b·similarity - c·length - d·latency + u_dev), with slips, partial acceptances, undo, Esc,
typing on and leaving (LEARNING.md, "Simulated developers"). The weights are set so that a developer takes about a quarter
of what a small model offers, as 2,047 Copilot users did (25.8 %); they are a model of a person, not a measurement of one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import exp, log
from random import Random
from typing import Final, Literal

from rapidfuzz.distance import Levenshtein

Action = Literal["accept", "partial", "undo", "dismiss", "leave", "type"]
"""accept: take all of it. partial: take its first words. undo: take it, see that it is wrong, take it out again.
dismiss: press Esc and type. leave: go elsewhere and come back later. type: just type on."""

_WORDS: Final = re.compile(r"\w+|\s+|[^\w\s]")
_KEYS: Final = re.compile(r"\r?\n[ \t]*|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Traits:
    """One developer."""

    prefix_match: float = 4.0
    """a: per share of the suggestion that is right from its beginning on."""
    similarity: float = 3.5
    """b: per similarity to what they mean to write, 0 to 1."""
    length: float = 0.35
    """c: per natural logarithm of its characters: more to read."""
    latency: float = 0.15
    """d: per second they had to wait."""
    inclination: float = -3.5
    """u_dev: differs between developers."""
    slip: float = 0.04
    """How often they do the opposite of what they meant to."""
    partial: float = 0.5
    """How often they take only the words that are right, where the rest is wrong."""
    dismiss: float = 0.3
    """How often a refusal is an Esc."""
    leave: float = 0.08
    """How often they go elsewhere first."""
    seconds_per_key: float = 0.18
    """Session seconds."""

    @classmethod
    def draw(cls, random: Random) -> "Traits":
        return cls(
            inclination=random.gauss(-3.5, 0.4),
            slip=random.uniform(0.03, 0.05),
            seconds_per_key=random.uniform(0.12, 0.25),
        )


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    length: int
    """Characters of the suggestion that are put into the document; 0 unless it is taken."""
    p_accept: float
    slipped: bool


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace [start, end) by text; offsets count in the text as the edits before have left it."""

    start: int
    end: int
    text: str


def decide(suggestion: str, wanted: str, waited: float, traits: Traits, random: Random) -> Decision:
    """What the developer does. wanted: y*, what they mean to write from here on. waited: seconds.

    Takes the same number of random draws whatever it decides, so that two policies can be compared under the same luck.
    """
    luck, slip, style, regret = (random.random() for _ in range(4))
    p_accept = acceptance(suggestion, wanted, waited, traits)
    slipped = slip < traits.slip
    takes = (luck < p_accept) is not slipped
    if not takes:
        action: Action = "dismiss" if style < traits.dismiss else "leave" if style < traits.dismiss + traits.leave else "type"
        return Decision(action, 0, p_accept, slipped)
    right = first_words(suggestion, wanted)
    if 0 < right < len(suggestion) and style < traits.partial:
        return Decision("partial", right, p_accept, slipped)
    # What has little to do with the text they want is seen to be wrong once it is there.
    if similarity(suggestion, wanted) < 0.4 and regret < 0.8:
        return Decision("undo", len(suggestion), p_accept, slipped)
    return Decision("accept", len(suggestion), p_accept, slipped)


def acceptance(suggestion: str, wanted: str, waited: float, traits: Traits) -> float:
    """P(accept), before slips: of all of it or of its first line, whichever is more welcome."""
    lines = {suggestion, suggestion.partition("\n")[0] or suggestion}
    return max(_welcome(head, wanted, waited, traits) for head in lines)


def _welcome(suggestion: str, wanted: str, waited: float, traits: Traits) -> float:
    logit = (
        traits.prefix_match * common_prefix(suggestion, wanted) / max(1, len(suggestion))
        + traits.similarity * similarity(suggestion, wanted)
        - traits.length * log(1 + len(suggestion))
        - traits.latency * waited
        + traits.inclination
    )
    return 1 / (1 + exp(-logit))


def similarity(suggestion: str, wanted: str) -> float:
    """1 - NED to the part of the wanted text that the suggestion could stand for."""
    return float(Levenshtein.normalized_similarity(suggestion, wanted[: max(len(suggestion), 1)]))


def common_prefix(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def first_words(suggestion: str, wanted: str) -> int:
    """Length of the longest run of whole words at the suggestion's beginning that are right; 0 if that is only white space."""
    common = common_prefix(suggestion, wanted)
    ends = [match.end() for match in _WORDS.finditer(suggestion) if match.end() <= common]
    length = ends[-1] if ends else 0
    return length if suggestion[:length].strip() else 0


def edits_towards(current: str, wanted: str) -> list[Edit]:
    """Word by word from left to right; applied in order they turn `current` into `wanted`."""
    old, new = _WORDS.findall(current), _WORDS.findall(wanted)
    edits, at = [], 0
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        removed, added = "".join(old[i:j]), "".join(new[k:m])
        if tag != "equal":
            edits.append(Edit(at, at + len(removed), added))
        at += len(added)
    return edits


def apply(text: str, edits: list[Edit]) -> str:
    for edit in edits:
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def keystrokes(text: str) -> Iterator[str]:
    """What one key press puts in: a character, or a new line with the indentation that the editor adds."""
    return (match.group() for match in _KEYS.finditer(text))
