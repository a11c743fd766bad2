"""`tacit explain` and `tacit chat` in a real terminal's way: piped traces, lines of files, what is never shown, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tacit.cli.debugging import _subject
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.errors import BadRequest, NotFound, Refused
from tacit.protocol.home import Home

pytestmark = pytest.mark.timeout(1800)

CART = "def total(values):\n    return sum(vlaues)\n"
APP = "from cart import total\n\nprint(total([1]))\n"
TRACE = """Traceback (most recent call last):
  File "{root}/app.py", line 3, in <module>
    print(total([1]))
  File "{root}/cart.py", line 2, in total
    return sum(vlaues)
NameError: name 'vlaues' is not defined
"""

LONG = ("--deadline", "600")
"""A busy machine is no shorter answer."""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path.resolve() / "shop"
    root.mkdir()
    (root / ".git").mkdir()
    (root / "cart.py").write_text(CART)
    (root / "app.py").write_text(APP)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
async def server(home: Home, tiny_model: Path) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(home, {"model": str(tiny_model), "context_tokens": "768"}) as running:
        yield running


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tacit.cli", *arguments]


def tacit(*arguments: str, home: Home, said: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TACIT_HOME": str(home.root)}
    return subprocess.run(command(*arguments), input=said, capture_output=True, text=True, timeout=700, env=environment)


def test_a_trace_brings_the_file_and_the_frames(workspace: Path) -> None:
    subject = _subject("", TRACE.format(root=workspace))
    assert (subject.path, subject.language, subject.text) == ("cart.py", "python", CART)
    assert subject.selection is not None and CART[subject.selection.start : subject.selection.end].strip() == "return sum(vlaues)"
    assert [(one.path, one.kind, one.first_line) for one in subject.snippets] == [("app.py", "frame", 0)]


def test_a_trace_brings_the_versions_that_lock_files_name(workspace: Path) -> None:
    (workspace / "cart.py").write_text(f"import requests\n{CART}")
    (workspace / "uv.lock").write_text('[[package]]\nname = "requests"\nversion = "2.31.0"\n')
    subject = _subject("", TRACE.format(root=workspace).replace("line 2", "line 3"))
    assert [(one.path, one.kind) for one in subject.snippets] == [("app.py", "frame"), ("uv.lock", "dependency")]
    assert subject.snippets[1].text == "requests 2.31.0"


def test_a_line_brings_what_ty_says_of_it(workspace: Path) -> None:
    subject = _subject("cart.py:2", "")
    assert [(one.source, one.code) for one in subject.diagnostics] == [("ty", "unresolved-reference")]
    assert _subject("cart.py:1", "").diagnostics == ()
    # With a column, as compilers say it.
    assert _subject("cart.py:2:16", "").selection == subject.selection


def test_hidden_files_and_secrets_stay_where_they_are(workspace: Path) -> None:
    key = "ghp_" + "a1B2" * 9
    (workspace / ".gitignore").write_text("private/\n")
    (workspace / "private").mkdir()
    (workspace / "private" / "secret.py").write_text("x = 1\n")
    (workspace / "key.py").write_text("k = '''-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----'''\n")
    (workspace / "cart.py").write_text(f'token = "{key}"\n{CART}')
    trace = TRACE.format(root=workspace).replace("app.py", "private/secret.py") + key
    subject = _subject("", trace)
    shown = subject.request("explain", "session-1").model_dump_json()
    assert subject.path == "cart.py" and key not in shown and "x = 1" not in shown
    # Masked, so that lines and columns stay what they are.
    assert len(subject.text) == len((workspace / "cart.py").read_text())
    for name in ("private/secret.py", "key.py"):
        with pytest.raises(Refused):
            _subject(name, "")


def test_what_cannot_be_meant_is_said(workspace: Path, home: Home) -> None:
    with pytest.raises(NotFound):
        _subject("gone.py:1", "")
    with pytest.raises(BadRequest, match="2 lines"):
        _subject("cart.py:99", "")
    nothing = tacit("explain", home=home)
    assert nothing.returncode == 2 and "nothing to explain" in nothing.stderr
    alone = tacit("explain", "cart.py:2", home=home)
    assert alone.returncode == 8 and "tacit up" in alone.stderr


async def test_explain_and_chat_answer(server: ServerProcess, workspace: Path, home: Home) -> None:
    whole = tacit("explain", "--json", *LONG, home=home, said=TRACE.format(root=workspace))
    told = json.loads(whole.stdout)
    assert whole.returncode == 0 and whole.stderr == "" and told["answer"] and told["path"] == "cart.py"
    assert told["trace"]["raised"][0]["type"] == "NameError"
    # The tiny model never ends by itself.
    assert "as long as an answer may be" in told["cut"]
    plain = tacit("explain", *LONG, home=home, said="hello\n")
    assert plain.returncode == 0 and plain.stderr.startswith("No stack trace") and plain.stderr.endswith(told["cut"] + "\n")
    assert "may take up to 600 s" in plain.stderr
    # One question over two lines; the end of the input ends the conversation.
    talk = tacit("chat", "cart.py:2", *LONG, home=home, said="What is \\\nwrong?\n")
    assert talk.returncode == 0 and talk.stderr == told["cut"] + "\n" and len(talk.stdout.strip()) > 20


async def test_ctrl_c_ends_an_answer_without_a_word(server: ServerProcess, workspace: Path, home: Home) -> None:
    process = subprocess.Popen(
        command("explain"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TACIT_HOME": str(home.root)},
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(TRACE.format(root=workspace).encode())
    process.stdin.close()
    # Something of the answer is there: it is under way.
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr.read().count(b"\n") == 1, "more than what is being done was said"
    process.stdout.close()
    process.stderr.close()
