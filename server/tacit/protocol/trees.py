"""Boosted decision trees as plain arrays: evaluated without any library, read from JSON and checked. Pure; imports nothing heavy.

The language server evaluates them while somebody types: a hundred trees of depth two are a few hundred comparisons. Their sum
is scikit-learn's to the last bit: it rounds features to single precision before it compares them, and adds tree by tree.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

MOST_TREES: Final = 400
MOST_NODES: Final = 63
"""Of one tree."""
LARGEST_VALUE: Final = 50.0
LEAF: Final = -1


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes by number, the root is 0; every child's number is larger than its parent's, so that each walk ends."""

    feature: tuple[int, ...]
    """Which one a node looks at; LEAF: it is a leaf."""
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    """Where a value up to the threshold goes."""
    right: tuple[int, ...]
    value: tuple[float, ...]
    """What a leaf adds to the sum."""

    def value_at(self, found: Sequence[float]) -> float:
        """found: what `single` returns."""
        node = 0
        while (feature := self.feature[node]) != LEAF:
            node = self.left[node] if found[feature] <= self.threshold[node] else self.right[node]
        return self.value[node]

    def to_json(self) -> dict[str, list[float]]:
        return {name: list(getattr(self, name)) for name in self.__slots__}


def single(found: Sequence[float]) -> tuple[float, ...]:
    """Each value rounded to single precision, as scikit-learn reads it."""
    layout = f"{len(found)}f"
    return struct.unpack(layout, struct.pack(layout, *found))


def summed(start: float, trees: Sequence[Tree], found: Sequence[float]) -> float:
    """start, and what each tree adds, in order. found: one value for each feature."""
    if not trees:
        return start
    rounded = single(found)
    for tree in trees:
        start += tree.value_at(rounded)
    return start


def parsed(found: Any, features: int) -> tuple[Tree, ...]:
    """Trees of a file. ValueError, with words, for anything that could not be evaluated. features: how many there are."""
    if not isinstance(found, list) or len(found) > MOST_TREES:
        raise ValueError(f"its trees are no list of at most {MOST_TREES}")
    return tuple(_tree(one, features) for one in found)


def _tree(found: Any, features: int) -> Tree:
    if not isinstance(found, dict) or set(found) != set(Tree.__slots__):
        raise ValueError("one of its trees has not the parts of a tree")
    columns = [found[name] for name in ("feature", "threshold", "left", "right", "value")]
    if not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        raise ValueError("the parts of one of its trees differ in length")
    feature, threshold, left, right, value = columns
    count = len(feature)
    if not 1 <= count <= MOST_NODES:
        raise ValueError(f"one of its trees has {count} nodes, 1 to {MOST_NODES} are possible")
    if not all(type(number) is int for number in (*feature, *left, *right)):
        raise ValueError("a node's number or feature in one of its trees is no whole number")
    if not all(type(number) in (int, float) and math.isfinite(number) for number in (*threshold, *value)):
        raise ValueError("a threshold or value in one of its trees is no number")
    if not all(abs(number) <= LARGEST_VALUE for number in value):
        raise ValueError(f"a value in one of its trees is beyond {LARGEST_VALUE:g}")
    for node in range(count):
        if feature[node] == LEAF:
            continue
        if not 0 <= feature[node] < features:
            raise ValueError("one of its trees looks at a feature that there is not")
        if not (node < left[node] < count and node < right[node] < count):
            raise ValueError("a node in one of its trees leads nowhere, or back")
    return Tree(tuple(feature), tuple(map(float, threshold)), tuple(left), tuple(right), tuple(map(float, value)))
