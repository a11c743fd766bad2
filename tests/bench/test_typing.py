"""`tacit bench typing`: the same keys for every policy, and suggestions judged by what is typed next."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fuzz.adversary import TEXT, Adversary
from test_benches import goals, rows, run
from typer.testing import CliRunner

from tacit.bench.keystrokes import FILE, Episode, Key, Passage
from tacit.bench.typing import OURS, Measured, fixed, play
from tacit.bench.typist import Tally, Typist
from tacit.cli.bench import bench
from tacit.learner.simulate.editor import Editor
from tacit.protocol.errors import TacitError
from tacit.protocol.home import Home

BEFORE = "def area(w, h):\n    return w * h\n"
STEP = "@@ -1,2 +1,3 @@\n def area(w, h):\n+    size = scaled(w * h)\n     return w * h\n"
POLICIES = ("Tacit", "75 ms", "150 ms", "350 ms")


@pytest.fixture
def histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data with one short history."""
    row = {"id": "handmade", "language": "python", "original": BEFORE, "final": "", "steps": [STEP]}
    with gzip.open(tmp_path / FILE, "wt", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    monkeypatch.setenv("TACIT_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.timeout(300)
def test_every_policy_types_the_same(histories: Path, tiny_model: Path) -> None:
    report = run(histories, "typing", "--minutes", "0.1", "--model", str(tiny_model))
    found = rows(report)
    for policy in POLICIES:
        assert found["keys typed"][policy] == len("size = scaled(w * h)") + 1
        # What the tiny model writes is nonsense: every call of it is wasted.
        assert found["of them wasted"][policy] == found["model calls"][policy]
        assert found["shown and matching"][policy] == 0
    assert sum(found["model calls"][policy] for policy in POLICIES) > 0
    assert found["requests per 100 keys"]["75 ms"] >= 100
    assert goals(report)["stale shows, all policies"]["met"]


def test_without_the_data_it_says_where_they_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_DATA", str(tmp_path / "none"))
    result = CliRunner().invoke(bench, ["typing"])
    assert isinstance(result.exception, TacitError)
    assert "TACIT_DATA" in str(result.exception) and str(tmp_path) in str(result.exception)


@contextmanager
def keys(text: str, pauses: dict[int, float]) -> Iterator[Passage]:
    yield Passage(0, 0, text, tuple(Key(one, pauses.get(at, 0.02)) for at, one in enumerate(text)))


@pytest.mark.parametrize(("goes_on", "matching"), [(TEXT, True), ("other(1)", False)])
async def test_a_suggestion_matches_if_it_is_what_is_typed_next(tmp_path: Path, home: Home, goes_on: str, matching: bool) -> None:
    """The server's stand-in always suggests the same."""
    tally = Tally()
    async with Adversary(home.socket), Editor(tmp_path, options={"learning": "off", "startServer": False}) as editor:
        document = editor.open(tmp_path / "a.py", "")
        # The connection is made with the first suggestion.
        while not await editor.complete(document, 0, invoked=True):
            pass
        typist = Typist(editor, document, tally, accept=False)
        with keys(f"x = {goes_on}\n", {3: 2.0, 6: 0.6}) as passage:
            await typist.type(passage)
        assert document.text == f"x = {goes_on}\n"
    assert tally.keys == tally.chars == len(f"x = {goes_on}\n")
    assert tally.shown >= 1
    assert (tally.matching >= 1, tally.saved >= len(TEXT)) == (matching, matching)
    assert tally.stale == 0
    assert tally.pauses == 2
    assert tally.to_ghost_ms, "there was ghost text in the pause after `x = `"


async def test_what_matches_as_a_whole_can_be_accepted(tmp_path: Path, home: Home) -> None:
    tally = Tally()
    async with Adversary(home.socket), Editor(tmp_path, options={"learning": "off", "startServer": False}) as editor:
        document = editor.open(tmp_path / "a.py", "")
        while not await editor.complete(document, 0, invoked=True):
            pass
        typist = Typist(editor, document, tally, accept=True)
        with keys(f"x = {TEXT}\n", {3: 2.0}) as passage:
            await typist.type(passage)
        assert document.text == f"x = {TEXT}\n"
    assert tally.accepted == 1
    assert tally.keys < tally.chars == len(f"x = {TEXT}\n")


async def test_calls_are_wasted_unless_their_text_was_shown_and_matched(tmp_path: Path, home: Home) -> None:
    """The same stretch by two policies, with a server that always knows what comes next."""
    text = "y = 2\n\nz = 3\n"
    keys = tuple(Key(one, 1.0 if one == " " else 0.03) for one in f"x = {TEXT}")
    episode = Episode("handmade", "a.py", text, (Passage(6, 6, f"x = {TEXT}", keys),))
    measured = {}
    async with Adversary(home.socket):
        for policy in (OURS, fixed(10)):
            options = {"learning": "off", "startServer": False, **policy.options}
            async with Editor(tmp_path, options=options) as editor, Editor(tmp_path, options=options) as reading:
                measured[policy.name] = one = Measured()
                for _ in range(3):
                    await play(editor, reading, episode, one, accept=False)
                assert one.tally.matching >= 1
                assert one.model_calls >= len(one.tally.useful) > 0
                assert one.wasted == one.model_calls - len(one.tally.useful)
                assert one.tally.stale == 0
    ours, peer = measured[OURS.name], measured["10 ms"]
    assert ours.tally.keys == peer.tally.keys == 3 * len(keys)
    assert ours.counters["requests"] == peer.counters["requests"]
    assert ours.without_model > 0
    assert ours.model_calls < peer.model_calls, "what was said before is not asked again"
