"""Edit histories as keys: typing all of them makes the text that the diffs make."""

from itertools import pairwise

import pytest

from tacit.bench.keystrokes import KEYS, LONGEST_S, Episode, stretch

BEFORE = "import os\n\n\ndef area(w, h):\n    return w * h\n\n\ndef old():\n    pass\n"
DIFF = "\n".join(
    (
        "diff --git a/pkg/shapes.py b/pkg/shapes.py",
        "--- a/pkg/shapes.py",
        "+++ b/pkg/shapes.py",
        "@@ -2,5 +2,8 @@",
        " ",
        " ",
        "-def area(w, h):",
        "+def area(width, height):",
        "     return w * h",
        " ",
        "+def perimeter(width, height):",
        "+    return 2 * (width + height)",
        "+",
        "@@ -8,2 +11,1 @@",
        "-def old():",
        "-    pass",
        "+LAST = 1",
        "",
    )
)
AFTER = (
    "import os\n\n\ndef area(width, height):\n    return w * h\n\n"
    "def perimeter(width, height):\n    return 2 * (width + height)\n\n\nLAST = 1\n"
)


def typed(episode: Episode) -> str:
    text = episode.text
    for passage in episode.passages:
        text = text[: passage.start] + passage.text + text[passage.end :]
    return text


def test_what_is_typed_is_what_the_diff_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.bench.keystrokes.KEYS", 500)
    episode = stretch("h", BEFORE, [DIFF], 1)
    assert episode is not None
    assert (episode.path, episode.text) == ("pkg/shapes.py", BEFORE)
    assert typed(episode) == AFTER
    for passage in episode.passages:
        assert passage.text.startswith("".join(key.text for key in passage.keys))
    first = episode.passages[0]
    assert (BEFORE[first.start : first.end], first.text) == (", h", "idth, height")


def test_enter_brings_the_indentation_and_whole_lines_begin_with_it() -> None:
    added = "@@ -1,2 +1,3 @@\n def f():\n+    value = 1234567890\n     return 1\n"
    episode = stretch("h", "def f():\n    return 1\n", [added], 1)
    assert episode is not None
    [passage] = episode.passages
    assert (passage.start, passage.end, passage.text) == (8, 8, "\n    value = 1234567890")
    assert passage.keys[0].text == "\n    "
    assert [key.text for key in passage.keys[1:]] == list("value = 1234567890")


def test_the_seed_decides_the_pauses_and_no_pause_is_endless() -> None:
    one, same, other = (stretch("h", BEFORE, [DIFF], seed) for seed in (1, 1, 2))
    assert one and other
    assert one == same
    assert one.passages != other.passages
    pauses = sorted(key.pause_s for passage in one.passages for key in passage.keys)
    assert pauses[0] > 0
    assert pauses[-1] <= LONGEST_S
    assert 0.12 < pauses[len(pauses) // 2] < 0.4, "a person's"


@pytest.mark.parametrize("steps", [["@@ -1,1 +1,1 @@\n-something else\n+x\n"], ["@@ -1,1 +1,2 @@\n import os\n+a = 1\n"], []])
def test_a_history_that_does_not_fit_or_is_too_short_is_left_out(steps: list[str]) -> None:
    assert stretch("h", BEFORE, steps, 1) is None


def test_a_stretch_ends_after_so_many_keys() -> None:
    long = "@@ -1,1 +1,40 @@\n import os\n" + "".join(f"+name_{number} = {number}\n" for number in range(39))
    episode = stretch("h", BEFORE, [long], 1)
    assert episode is not None
    assert episode.keys == KEYS
    assert all(one.start <= other.start for one, other in pairwise(episode.passages))
