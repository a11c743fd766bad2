"""The simulated editor: positions, framing, answers to the server's questions, ends. A small real process plays the server."""

import asyncio
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.simulate.editor import Editor, EditorClosed, LspError
from tacit.learner.simulate.positions import offset_at, position_at
from tacit.protocol.errors import TacitError

TEXT = st.text(alphabet=st.sampled_from("ab é😀\n\r"), max_size=40)


@given(TEXT, st.integers(0, 40))
def test_offset_survives_the_way_to_utf16_and_back(text: str, offset: int) -> None:
    offset = min(offset, len(text))
    if text[max(0, offset - 1) : offset + 1] == "\r\n":
        # Not a place in LSP: the position counts as the line's end.
        assert offset_at(text, position_at(text, offset)) == offset - 1
    else:
        assert offset_at(text, position_at(text, offset)) == offset


def test_characters_count_in_utf16_units() -> None:
    assert position_at("x\r\na😀b", 5) == {"line": 1, "character": 3}
    assert offset_at("x\r\na😀b", {"line": 1, "character": 2}) == 4, "within a surrogate pair: before it"
    assert offset_at("ab\ncd", {"line": 0, "character": 99}) == 2
    assert offset_at("ab\ncd", {"line": 9, "character": 0}) == 5


# Applies changes by UTF-16 positions on its own and answers with what it has: a mirror that shares no code with the editor.
MIRROR = r"""
import json, sys
texts, held, log = {}, [], []
def send(m):
    b = json.dumps(m).encode(); sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(b) + b); sys.stdout.buffer.flush()
def index(lines, p):
    return sum(len(l) for l in lines[:p["line"]]) + 2 * p["character"]
def apply(text, c):
    raw = text.encode("utf-16-le"); lines = [l.encode("utf-16-le") for l in text.split("\n")]
    starts = [l + "\n".encode("utf-16-le") for l in lines]
    a, b = index(starts, c["range"]["start"]), index(starts, c["range"]["end"])
    return (raw[:a] + c["text"].encode("utf-16-le") + raw[b:]).decode("utf-16-le")
while True:
    n = None
    while (h := sys.stdin.buffer.readline().strip()):
        if h.lower().startswith(b"content-length"): n = int(h.split(b":")[1])
    if n is None: break
    m = json.loads(sys.stdin.buffer.read(n)); p = m.get("params"); k = m.get("method"); i = m.get("id")
    if k == "initialize": send({"jsonrpc": "2.0", "id": i, "result": {"capabilities": {"x": p["initializationOptions"]}}})
    elif k == "initialized":
        send({"jsonrpc": "2.0", "id": 70, "method": "workspace/configuration", "params": {"items": [{}, {}]}})
        question = {"type": 3, "message": "Learn?", "actions": [{"title": "Yes"}, {"title": "No"}]}
        send({"jsonrpc": "2.0", "id": 71, "method": "window/showMessageRequest", "params": question})
        send({"jsonrpc": "2.0", "id": 72, "method": "no/such", "params": {}})
    elif k is None:
        log.append([i, m.get("result"), (m.get("error") or {}).get("code")])
        if len(log) == 3: send({"jsonrpc": "2.0", "method": "answers", "params": log})
    elif k == "textDocument/didOpen": texts[p["textDocument"]["uri"]] = p["textDocument"]["text"]
    elif k == "textDocument/didChange":
        for c in p["contentChanges"]: texts[p["textDocument"]["uri"]] = apply(texts[p["textDocument"]["uri"]], c)
    elif k == "text": send({"jsonrpc": "2.0", "id": i, "result": texts[p]})
    elif k == "hold": held.append(i)
    elif k == "$/cancelRequest": send({"jsonrpc": "2.0", "id": p["id"], "error": {"code": -32800, "message": "cancelled"}})
    elif k == "die": print("last words", file=sys.stderr, flush=True); break
    elif k == "shutdown": send({"jsonrpc": "2.0", "id": i, "result": None})
    elif k == "exit": break
"""


def mirror(tmp_path: Path) -> Editor:
    script = tmp_path / "mirror.py"
    script.write_text(MIRROR)
    return Editor(
        tmp_path,
        options={"timeScale": 3},
        answer_message=lambda message, titles: titles[0] if message == "Learn?" else None,
        command=(sys.executable, str(script)),
    )


async def test_changes_arrive_where_they_were_made(tmp_path: Path) -> None:
    async with mirror(tmp_path) as editor:
        document = editor.open(tmp_path / "a.py", "é😀x\nyz\n")
        for start, end, text in ((2, 3, "XX"), (1, 1, "😀\n"), (0, 1, ""), (4, 6, "\n\n"), (0, len(document.text) - 3, "q")):
            editor.change(document, start, end, text)
            assert await editor.request("text", document.uri) == document.text


async def test_questions_of_the_server_are_answered(tmp_path: Path) -> None:
    async with mirror(tmp_path) as editor:
        answers = await editor.wait_for("answers")
    assert answers == [[70, [{"timeScale": 3}, {"timeScale": 3}], None], [71, {"title": "Yes"}, None], [72, None, -32601]]


async def test_cancelled_request_raises_what_the_server_says(tmp_path: Path) -> None:
    async with mirror(tmp_path) as editor:
        pending = editor.send("hold", {})
        editor.cancel(pending)
        with pytest.raises(LspError) as caught:
            await editor.answer(pending)
        assert caught.value.code == -32800


async def test_death_of_the_server_ends_waiting_with_its_last_words(tmp_path: Path) -> None:
    async with mirror(tmp_path) as editor:
        held = editor.send("hold", {})
        editor.notify("die", {})
        with pytest.raises(EditorClosed, match="ended"):
            await editor.answer(held)
        with pytest.raises(EditorClosed):
            await editor.request("text", "")
    assert "last words" in editor.stderr


async def test_stop_and_kill_leave_no_process(tmp_path: Path) -> None:
    stopped, killed = mirror(tmp_path), mirror(tmp_path)
    await asyncio.gather(stopped.start(), killed.start())
    assert await stopped.stop() == 0
    await killed.kill()
    for editor in (stopped, killed):
        with pytest.raises(EditorClosed):
            _ = editor.pid


async def test_a_language_server_that_does_not_answer_is_ended_with_a_sentence(tmp_path: Path) -> None:
    editor = Editor(tmp_path, command=(sys.executable, "-c", "import time; time.sleep(60)"))
    with pytest.raises(EditorClosed, match="did not answer within 0 s") as caught:
        await editor.start(timeout=0.2)
    assert isinstance(caught.value, TacitError)
    with pytest.raises(EditorClosed):
        _ = editor.pid
