"""Names that nothing defines, in completions of windows that begin and end anywhere."""

import pytest

from tacit.learner.names import unresolved, vocabulary

HEAD = """import os


class Store:
    def __init__(self, path):
        self.path = path

    def read(self, name):
        full = os.path.join(self.path, name)
        """
TAIL = "\n\n    def close(self):\n        flush(self.path)\n"


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("return open(full).read()", set()),
        ("return load_it(full)", {"load_it"}),
        ("return flush(full)", set()),  # used below: defined outside of the window
        ("return [line for line in open(full)]", set()),
        ("return [row for line in open(full)]", {"row"}),
        ("import requests\n        return requests.get(full)", {"requests"}),
        ("import json\n        return json.load(open(full))", set()),
        ("import settings\n        return settings.ROOT", set()),
        ("from .inner import thing\n        return thing(full)", set()),
        ("return full.nothing_of_this_name()", set()),  # attributes are not looked at
    ],
)
def test_names(completion: str, expected: set[str]) -> None:
    known = vocabulary(["import settings\n"], ["pkg/app.py"])
    assert unresolved(HEAD, completion, TAIL, known) == expected


def test_only_the_completion_is_judged() -> None:
    assert unresolved("x = unknown_before\ny = ", "1", "\nz = unknown_after\n") == set()


def test_a_window_that_begins_inside_a_function() -> None:
    prefix = "        )\n    return first\n\n\ndef second(value):\n    "
    assert unresolved(prefix, "return valeu", "\n\n\ndef third(:\n") == {"valeu"}


def test_a_window_that_cannot_be_parsed() -> None:
    assert unresolved("def f(a):\n    return (", "a +", "\n") is None
    assert unresolved("    ", "def (", "\n") is None


def test_parts_of_statements() -> None:
    prefix = "    if first:\n        pass\n    "
    assert unresolved(prefix, "elif secnd:", "\n        return 1\n") == {"secnd"}
    assert unresolved(prefix, "while other:", "\n") == {"other"}
    assert unresolved("call(\n    first,\n    ", "secnd,", "\n    third,\n)\n") == {"secnd"}


def test_what_else_was_recorded_is_known() -> None:
    known = vocabulary(["class BufferDict(dict):\n"], ["src/pkg/main.py"])
    assert {"BufferDict", "src", "pkg", "main"} <= known
    assert unresolved("x = ", "BufferDict()", "\n", known) == set()
    assert unresolved("x = ", "BufferDict()", "\n") == {"BufferDict"}


def test_characters_of_several_bytes_before_the_hole() -> None:
    assert unresolved('x = "ääää"; y = ', "unknown_name", "\n") == {"unknown_name"}
    assert unresolved('x = unknown_name; z = "ä"; y = ', "1", "\n") == set()
