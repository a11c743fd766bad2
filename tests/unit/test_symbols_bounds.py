"""Reading a file's symbols is bounded: work is counted, and grows with the text alone, whatever stands in it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tacit.server.debugging.symbols import looking, reading
from tacit.server.debugging.symbols.rules import RULES
from tacit.server.syntax import GRAMMARS, new_parser

ODD = {
    "open brackets": "(",
    "calls of calls": "()",
    "no language's": "a ) b ( c ;\n",
    "open quotes": "'`\"\n",
    "names in brackets": "((a",
    "elements in elements": "<a>{b}<c>",
}


def steps(text: str, language: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many characters of nodes' texts were read and how many children were walked."""
    done = 0
    text_of, children = reading._text, reading._children

    def counted_text(node: Any) -> str:
        nonlocal done
        found = text_of(node)
        done += 1 + len(found)
        return found

    def counted_children(node: Any) -> Iterator[Any]:
        nonlocal done
        for child in children(node):
            done += 1
            yield child

    with monkeypatch.context() as patched:
        patched.setattr(reading, "_text", counted_text)
        patched.setattr(reading, "_children", counted_children)
        reading.read(text, language)
    return done


@pytest.mark.parametrize("language", ["javascript", "typescript", "go", "rust"])
@pytest.mark.parametrize("odd", ODD)
def test_twice_the_text_is_twice_the_work(odd: str, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    once, twice = (steps("f" + ODD[odd] * count, language, monkeypatch) for count in (400, 800))
    assert twice <= 3 * once + 100, f"{once} steps, then {twice}"


def test_no_nodes_children_or_parents_are_searched_for() -> None:
    """Each such question is a search in tree-sitter: of n brackets it would be asked n times."""

    class Node:
        """A node of a tree, but for what costs more than it looks."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            assert name not in ("child", "parent", "field_name_for_child", "children"), f"`{name}` is a search"
            return getattr(self._inner, name)

    root = new_parser(GRAMMARS["javascript"]).parse(b"f(a, <b>{c}</b>)").root_node
    found, waiting = reading.Symbols(), [root]
    while waiting:
        node: Any = Node(waiting.pop())
        waiting += [child for child, _ in reading._children(node)]
        reading._leaf(found, RULES["javascript"], node, "use", "")


@pytest.mark.parametrize(("bound", "value"), [("MOST_CHARS", 60), ("MOST_NODES", 20)])
def test_a_text_beyond_the_bounds_is_not_judged_and_it_is_said(bound: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = "export const one = nowhere;\n", "export const one = nowhere;\n" * 30
    assert reading.read(long, "javascript").complete
    monkeypatch.setattr(reading, bound, value)
    assert reading.read(short, "javascript").complete
    found = reading.read(long, "javascript")
    assert not found.complete and found.nodes <= value + 1
    looked = looking.look([short, long], "a.js", "", "javascript")
    assert looked.said == ((), ()) and "too large" in looked.unknown[0]
