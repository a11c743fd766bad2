"""`tacit explain` and `tacit chat`: what goes from a terminal to the model, and what a model's words may do to the terminal."""

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz.adversary import Adversary
from typer.testing import CliRunner

from tacit.cli.commands import build
from tacit.cli.debugging import MOST_INPUT, Subject, _subject, chat, explain
from tacit.protocol.debugging import Turn
from tacit.protocol.home import Home

SAID = "It is\n\t`c`.\x1b]52;c;cm0gLXJm\x07\u202e\x9b2J\r"
SEEN = "It is\n\t`c`.\\u{1b}]52;c;cm0gLXJm\\u{7}\\u{202e}\\u{9b}2J\\u{d}"
KEY_LINE = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAABlwAAAAdz"


class Speaker(Adversary):
    """Says the same to each question."""

    def __init__(self, socket: Path) -> None:
        super().__init__(socket)
        self.asked: list[Any] = []

    def _answer(self, path: str, body: bytes, mood: Any) -> tuple[int, Any]:
        status, answer = super()._answer(path, body, mood)
        if path in ("/v1/debug", "/v1/chat"):
            self.asked.append(json.loads(body))
            return 200, [{"kind": "progress", "text": SAID}, {"kind": "text", "text": SAID}, answer[-1]]
        return status, answer


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is piped in."""
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdin", said)
    return said


@pytest.mark.parametrize("terminal", [True, False])
async def test_a_models_words_are_shown_and_not_acted_on(
    home: Home, typed: io.StringIO, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed.write("error: no\n")
    typed.seek(0)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
    async with Speaker(home.socket):
        await asyncio.to_thread(explain, "", False)
    out, err = capsys.readouterr()
    assert out.strip() == SEEN
    # What is being done stands on one line, which it leaves again; no other sequence is there.
    note, _, shown = err.partition("\n")
    # Where that cannot be shown, it is said once what is done, and for how long.
    asking = "" if terminal else "Asking the model; its answer may take up to 120 s (`--deadline`)."
    assert note == "No stack trace or compiler's error is recognised in this; the model is asked what it means."
    assert shown.strip("\n") == (f"\r\x1b[K{' '.join(SEEN.split())}\r\x1b[K" if terminal else asking)


async def test_scripts_get_the_words_themselves(home: Home, typed: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    typed.write("error: no\n")
    typed.seek(0)
    async with Speaker(home.socket):
        await asyncio.to_thread(explain, "", True)
    out, err = capsys.readouterr()
    assert json.loads(out)["answer"] == SAID and "Asking" not in err
    assert "\x9b" not in out and "\x1b" not in out


@pytest.mark.parametrize(("words", "asked"), [((), 120_000), (("--deadline", "7.5"), 7500)])
async def test_a_terminal_says_how_long_an_answer_may_take(
    home: Home, typed: io.StringIO, words: tuple[str, ...], asked: int
) -> None:
    async with Speaker(home.socket) as server:
        for command in ("explain", "chat"):
            run = await asyncio.to_thread(CliRunner().invoke, build([command]), [command, *words], input="error: no\n")
            assert run.exit_code == 0, run.output
    assert [one["deadline_ms"] for one in server.asked] == [asked, asked]


async def test_secrets_in_a_question_are_not_sent(home: Home, typed: io.StringIO) -> None:
    typed.write('Why is password = "hunter2hunter2" wrong?\nAnd this?\n')
    typed.seek(0)
    async with Speaker(home.socket) as server:
        await asyncio.to_thread(chat, "", None)
    assert len(server.asked) == 2 and "hunter2" not in json.dumps(server.asked)
    assert [turn["role"] for turn in server.asked[1]["turns"]] == ["user", "assistant", "user"]


def test_a_key_whose_beginning_is_cut_off_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + f"{KEY_LINE}\n" * 20
    noise = "a line of a build\n" * (MOST_INPUT // 18 - 20)
    for end in ("-----END OPENSSH PRIVATE KEY-----\n", "", "Interrupted.\n-----END OPENSSH PRIVATE KEY-----\n"):
        piped = key + end + noise
        assert KEY_LINE in piped[-MOST_INPUT:] and "BEGIN" not in piped[-MOST_INPUT:], "the cut goes through the key"
        assert KEY_LINE not in _subject("", piped).trace
    # Marks are longer than what they stand for.
    assert len(_subject("", "password='aaaaaa'\n" * (MOST_INPUT // 18)).trace) == MOST_INPUT


def test_a_long_conversation_forgets_its_oldest_turns(tmp_path: Path) -> None:
    turns = [Turn(role="user" if number % 2 == 0 else "assistant", text=str(number)) for number in range(301)]
    sent = Subject(tmp_path).request("chat", "session-1", turns).turns
    assert sent[-1].text == "300" and sent[0].role == "user" and len(sent) == 199
    assert Subject(tmp_path).request("chat", "session-1", turns[:3]).turns == tuple(turns[:3])
