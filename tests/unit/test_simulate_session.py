"""Typing at a language server that suggests anything: the document always ends as the developer meant it, on both sides."""

import sys
from pathlib import Path
from random import Random

import pytest

from tacit.learner.simulate import session as sessions
from tacit.learner.simulate.developer import Traits
from tacit.learner.simulate.editor import Editor
from tacit.learner.simulate.places import choose_places
from tacit.learner.simulate.session import Scene, Session

SOURCE = "\n".join(
    f"def work_{i}(self, items):\n    total_{i} = sum(item.price * {i} for item in items)\n"
    f"    self.log('é😀', total_{i}, len(items))\n    return self.rounded(total_{i}, digits={i})\n"
    for i in range(8)
)

# Suggests, by turns: the right text (it is told beforehand), half of it, something else, nothing, an error.
SERVER = r"""
import json, sys
finished = open(sys.argv[1], encoding="utf-8").read()
text, turn, notes = "", 0, []
def send(m):
    b = json.dumps(m).encode(); sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(b) + b); sys.stdout.buffer.flush()
def offset(p):
    raw = text.split("\n")[p["line"]].encode("utf-16-le")[: 2 * p["character"]].decode("utf-16-le")
    return sum(len(l) + 1 for l in text.split("\n")[: p["line"]]) + len(raw)
while True:
    n = None
    while (h := sys.stdin.buffer.readline().strip()):
        if h.lower().startswith(b"content-length"): n = int(h.split(b":")[1])
    if n is None: break
    m = json.loads(sys.stdin.buffer.read(n)); p = m.get("params"); k = m.get("method"); i = m.get("id")
    if k == "initialize": send({"jsonrpc": "2.0", "id": i, "result": {"capabilities": {}}})
    elif k == "textDocument/didOpen": text = p["textDocument"]["text"]
    elif k == "textDocument/didChange":
        for c in p["contentChanges"]:
            a, b = offset(c["range"]["start"]), offset(c["range"]["end"]); text = text[:a] + c["text"] + text[b:]
    elif k == "textDocument/inlineCompletion":
        at = offset(p["position"]); turn += 1
        before = text[max(0, at - 30) : at]
        rest = finished[finished.index(before) + len(before) :].split("\n")[0]
        said = [rest, rest, rest[: len(rest) // 2] + "wrong()", "nonsense\nof two lines", "", None][turn % 6]
        if said is None: send({"jsonrpc": "2.0", "id": i, "error": {"code": -32603, "message": "no"}})
        else:
            item = {"insertText": said, "command": {"title": "", "command": "c", "arguments": [f"id{turn}"]}}
            send({"jsonrpc": "2.0", "id": i, "result": {"items": [item] if said else []}})
    elif k in ("tacit/didRejectCompletion", "textDocument/didSave", "textDocument/didClose"): notes.append(k)
    elif k == "state": send({"jsonrpc": "2.0", "id": i, "result": [text, notes]})
    elif k == "shutdown": send({"jsonrpc": "2.0", "id": i, "result": None})
    elif k == "exit": break
"""


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_suggested_the_text_ends_as_meant(tmp_path: Path, seed: int) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "finished.py").write_text(SOURCE, encoding="utf-8")
    scenes: list[Scene] = []
    command = (sys.executable, str(tmp_path / "server.py"), str(tmp_path / "finished.py"))
    # A developer who accepts a lot, slips often and leaves often: every branch is taken.
    traits = Traits(inclination=-1.0, slip=0.2, leave=0.3)
    async with Editor(tmp_path, command=command) as editor:
        session = Session(editor, traits, seed=seed, time_scale=1e5, watch=scenes.append)
        visits = await session.write(tmp_path / "a.py", SOURCE, choose_places(SOURCE, 12, Random(seed)))
        text, _ = await editor.request("state", None)
        assert text == SOURCE
        await session.finish()
        _, notes = await editor.request("state", None)
    assert notes[-2:] == ["textDocument/didSave", "textDocument/didClose"]
    assert (tmp_path / "a.py").read_text(encoding="utf-8") == SOURCE
    actions = {visit.decision.action for visit in visits if visit.decision}
    assert notes.count("tacit/didRejectCompletion") == sum(v.decision.action == "dismiss" for v in visits if v.decision)
    assert {"accept"} <= actions and any(visit.decision is None for visit in visits)
    assert any(scene.ghost for scene in scenes)
    assert len({visit.suggestion_id for visit in visits if visit.decision}) == sum(v.decision is not None for v in visits)


async def test_an_answer_that_comes_late_is_no_suggestion_and_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer comes when it was cancelled: the developer has typed on, and nothing is said of it."""
    late = SERVER.replace('k == "textDocument/inlineCompletion"', 'k == "$/cancelRequest"')
    late = late.replace('at = offset(p["position"])', 'at, i = 40, p["id"]; notes.append(k)').replace("turn % 6", "turn % 2")
    (tmp_path / "server.py").write_text(late)
    (tmp_path / "finished.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(sessions, "PATIENCE", 0.1)
    command = (sys.executable, str(tmp_path / "server.py"), str(tmp_path / "finished.py"))
    async with Editor(tmp_path, command=command) as editor:
        session = Session(editor, Traits(), seed=1, time_scale=1e5)
        visits = await session.write(tmp_path / "a.py", SOURCE, choose_places(SOURCE, 4, Random(1)))
        text, notes = await editor.request("state", None)
    assert text == SOURCE and len(visits) >= 2
    assert notes.count("$/cancelRequest") == len(visits)
    assert all(visit.decision is None and visit.suggestion_id == "" and visit.waited >= 0.1 for visit in visits)
