"""Fix and the chat in VS Code beside its own TypeScript server: a diagnostic of that goes away with the fix, an answer's code is
applied, the answer is flagged; SQLite has all of it, with the reward that follows.

Server, checks and language server are the real ones. The engine is a stand-in that writes what the test wants: no model small
enough for a test mends anything on demand.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import scripted_engine
from editors.record import Record, until
from editors.test_code_server import Window, vsix, window

from tacit.learner.debug_record import evidence_of
from tacit.learner.reward_debug import judge
from tacit.protocol.events import EVENT, Suggested, SuggestionRecord
from tacit.protocol.home import Home

pytestmark = pytest.mark.editors
__all__ = ["vsix", "window"]

WRONG = "export function add(a: number, b: number): number {\n  return a + c;\n}\n"
RIGHT = WRONG.replace("a + c", "a + b")
DOUBLED = RIGHT.replace("a + b", "2 * (a + b)")
MENDED = f"`c` is not defined; it is `b`.\n\n```typescript\n{RIGHT}```\n"
ANSWER = f"Put it into parentheses.\n\n```typescript\n{DOUBLED}```\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A repository with a file in which TypeScript's server finds a mistake."""
    root = tmp_path / "shop"
    root.mkdir()
    files = {".tacit.toml": "learning = true\n", "money.py": "total = 1\n", "cart.ts": WRONG}
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *command], check=True)
    return root


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    """A file: what the engine writes next."""
    file = tmp_path / "answer.md"
    file.write_text("Nothing yet.", encoding="utf-8")
    return file


@pytest.fixture
def server(home: Home, tiny_model: Path, answer: Path) -> Iterator[SimpleNamespace]:
    """The real one, with an engine that writes what the file says; its `environment` is for the editor."""
    told = {"TACIT_HOME": str(home.root), "TACIT_MODEL": str(tiny_model), "TACIT_CONTEXT_TOKENS": "40000", "TACIT_NIGHTLY": "off"}
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = home.root / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(Path(scripted_engine.__file__)), str(answer)],
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        until(lambda: home.socket.exists() or process.poll() is not None, f"a server; see {log}")
        assert process.poll() is None, log.read_text(errors="replace")
        yield SimpleNamespace(environment=told)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def code(window: Window) -> str:
    """What the first group's editor shows."""
    lines = window.page.locator(".editor-group-container").first.locator(".view-line").all_inner_texts()
    return "\n".join(lines).replace("\xa0", " ")


def reward(record: Record, suggestion_id: str) -> float:
    """As a night computes it, of what SQLite has."""
    events = [EVENT.validate_python(one) for one in record.events() if one.get("suggestion_id") == suggestion_id]
    suggestion = events[0]
    assert isinstance(suggestion, Suggested)
    return judge(evidence_of(SuggestionRecord(suggestion=suggestion, events=tuple(events[1:])))).value


def test_a_fix_and_an_answers_code_are_applied_and_rewarded(
    window: Window, record: Record, workspace: Path, answer: Path
) -> None:
    page = window.page
    until(lambda: "ready" in window.status(), "a status item that says that Tacit is ready")
    page.locator(".explorer-folders-view .monaco-list-row", has_text="cart.ts").dblclick()
    squiggle = page.locator(".squiggly-error")
    squiggle.wait_for()

    # The code action's fix takes TypeScript's own diagnostic away.
    answer.write_text(MENDED, encoding="utf-8")
    window.keys("Control+Home", "ArrowDown", "End", "ArrowLeft", "ArrowLeft")
    window.run("Tacit: Fix the Problem Here")
    until(lambda: "return a + b;" in code(window), "the fix in the editor")
    squiggle.wait_for(state="detached")
    window.photograph("9-fixed")
    window.keys("Control+s")
    [fix] = until(lambda: debugging(record, "fix"), "the fix in SQLite")
    record.wait_for(fix["suggestion_id"], "accepted")
    checked = record.wait_for(fix["suggestion_id"], "diagnostic_checked", horizon="save")
    assert (checked["gone"], checked["new_errors"]) == (True, 0)
    [about] = fix["debug"]["diagnostics"]
    assert about["source"] == "ts" and "'c'" in about["message"]
    assert {one["name"]: one["result"] for one in fix["debug"]["checks"]}["names"] == "passed"
    assert (workspace / "cart.ts").read_text(encoding="utf-8") == RIGHT
    assert reward(record, fix["suggestion_id"]) > 0

    # A question about the file: the answer comes into a document beside the code, and its code into the file.
    answer.write_text(ANSWER, encoding="utf-8")
    window.run("Tacit: Ask")
    box = page.locator(".quick-input-widget input.input")
    box.fill("How do I double it?")
    window.keys("Enter")
    apply = page.locator(".codelens-decoration a", has_text="Apply")
    apply.wait_for()
    beside = page.locator(".editor-group-container").nth(1)
    until(lambda: "parentheses" in " ".join(beside.locator(".view-line").all_inner_texts()), "the answer's words")
    window.photograph("10-answered")
    apply.click()
    until(lambda: "2 * (a + b)" in code(window), "the answer's code in the editor")
    [said] = until(lambda: debugging(record, "chat"), "the answer in SQLite")
    proposed = record.wait_for(said["suggestion_id"], "block_proposed")
    assert (proposed["path"], proposed["text"]) == ("cart.ts", "  return 2 * (a + b);")
    record.wait_for(said["suggestion_id"], "accepted")
    page.locator(".codelens-decoration a", has_text="Bad").click()
    page.locator(".quick-input-list .monaco-list-row", has_text="Insecure").click()
    rated = record.wait_for(said["suggestion_id"], "rated")
    assert (rated["value"], rated["flag"]) == (-1, "insecure")
    window.photograph("11-flagged")
    assert reward(record, said["suggestion_id"]) < 0


def debugging(record: Record, kind: str) -> list[dict[str, Any]]:
    return [one for one in record.suggestions() if one["task"] == "debug" and one["debug"]["kind"] == kind]
