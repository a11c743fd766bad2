"""The VS Code extension, built and installed as a user would, in code-server in Chromium; screenshots are kept.

One session, in the order in which a developer lives it. Screenshots go to TACIT_SCREENSHOTS, or beside the installed editors.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from editors.conftest import ROOT, SOURCE, provided
from editors.install.cache import FOLDER
from editors.install.code_server import chromium, code_server, node_environment
from editors.record import PATIENCE_S, Record, until
from playwright.sync_api import Page, sync_playwright

from tacit.learner.simulate.serving import ServerProcess

pytestmark = pytest.mark.editors

SCREENSHOTS = Path(os.environ.get("TACIT_SCREENSHOTS") or FOLDER / "screenshots").resolve()
LINE = SOURCE.splitlines()[4]
SETTINGS = {
    "telemetry.telemetryLevel": "off",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "workbench.reduceMotion": "on",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "security.workspace.trust.enabled": False,
    "editor.wordBasedSuggestions": "off",
    "editor.fontFamily": "DejaVu Sans Mono",
    "editor.minimap.enabled": False,
    "files.autoSave": "off",
    "chat.disableAIFeatures": True,
    "tacit.eagerness": "eager",
}


class Window:
    """One window of VS Code, with the workspace's file open and the cursor where a suggestion is wanted."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.item = page.locator(".statusbar-item[id^='tacit.tacit']")
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(url)
        page.locator(".explorer-folders-view .monaco-list-row", has_text="money.py").dblclick()
        page.locator(".view-lines .view-line", has_text="total").wait_for()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def ghost(self) -> str:
        """What ghost text says; empty where there is none."""
        parts = self.page.locator(
            ".ghost-text-decoration, .ghost-text-decoration-preview, .ghost-text .view-line"
        ).all_inner_texts()
        return "".join(parts).replace("\xa0", " ")

    def wait_for_ghost(self) -> str:
        try:
            shown: str = until(self.ghost, "ghost text")
        except AssertionError as error:
            self.photograph("no-ghost-text")
            raise AssertionError(f"{error}; {self.status()}") from None
        return shown

    def wait_for_ghost_alone(self) -> None:
        """Ghost text on a line that is empty but for it: not that of the line before, which is about to go."""
        lines = self.page.locator(".view-line", has=self.page.locator(".ghost-text-decoration"))
        until(
            lambda: self.wait_for_ghost().strip() in [line.replace("\xa0", " ").strip() for line in lines.all_inner_texts()],
            "a line of ghost text",
        )

    def status(self) -> str:
        """What the status item says."""
        return self.item.locator("[aria-label]").first.get_attribute("aria-label") or ""

    def run(self, title: str) -> None:
        """A command, from the palette."""
        self.keys("F1")
        box = self.page.locator(".quick-input-widget input.input")
        box.wait_for()
        box.fill(f">{title}")
        self.page.locator(".quick-input-list .monaco-list-row", has_text=title).first.click()

    def photograph(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.fixture(scope="session")
def vsix() -> Path:
    """The extension, built from this checkout."""
    provided(lambda: Path(node_environment()["PATH"]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "plugins"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "plugins" / "vscode" / "dist" / "tacit.vsix"


@pytest.fixture
def window(
    request: pytest.FixtureRequest, server: ServerProcess, workspace: Path, tacit: str, vsix: Path, tmp_path: Path
) -> Iterator[Window]:
    """VS Code with the extension, on the workspace."""
    command = [*provided_command(), f"--user-data-dir={tmp_path / 'user'}", f"--extensions-dir={tmp_path / 'extensions'}"]
    browser = provided(chromium)
    for place, settings in (("User", SETTINGS), ("Machine", {"tacit.command": tacit})):
        (tmp_path / "user" / place).mkdir(parents=True)
        (tmp_path / "user" / place / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    environment = {**node_environment(), **server.environment, "HOME": str(tmp_path)}
    subprocess.run([*command, "--install-extension", str(vsix)], env=environment, check=True, capture_output=True)
    log = tmp_path / "code-server.log"
    options = [
        "--auth=none",
        "--bind-addr=127.0.0.1:0",
        "--disable-telemetry",
        "--disable-update-check",
        "--disable-workspace-trust",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *options], env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        found = until(lambda: re.search(r"HTTP server listening on (http://\S+)", log.read_text()), f"an address in {log}")
        with sync_playwright() as playwright:
            opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
            page = opened.new_page(viewport={"width": 1100, "height": 640})
            one = Window(page, f"{found.group(1).rstrip('/')}/?folder={workspace}")
            yield one
            one.photograph(f"at-the-end-of-{request.node.name}")
            opened.close()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def provided_command() -> list[str]:
    """code-server's; skipped where it cannot be had."""
    command: list[str] = []

    def install() -> Path:
        command.extend(code_server())
        return Path(command[-1])

    provided(install)
    return command


def test_a_developer_is_helped_and_all_of_it_is_recorded(window: Window, record: Record, workspace: Path) -> None:
    # The status item speaks before anything is asked.
    until(lambda: "ready" in window.status(), "a status item that says that Tacit is ready")

    # Typing shows a suggestion.
    window.keys("Control+End", "ArrowUp", "End")
    window.type(" ")
    shown = window.wait_for_ghost()
    [first] = until(record.suggestions, "a suggestion in SQLite")
    name, text = first["suggestion_id"], first["text"]
    assert shown.strip() == text.strip() and first["context"]["path"] == "money.py"
    window.photograph("1-ghost-text")
    until(lambda: "base model" in window.status(), "a status item that says what the suggestion came from")

    # A word of it, then the rest. The blank before a word is a step of its own.
    window.keys("Control+ArrowRight")
    until(lambda: window.ghost() != shown, "the ghost text shorter")
    window.keys("Control+ArrowRight")
    part = record.wait_for(name, "accepted", inferred=True)
    assert part["accepted_chars"] < part["total_chars"] == len(text)
    assert window.wait_for_ghost().strip() == text[part["accepted_chars"] :].strip()
    window.photograph("2-a-word-taken")
    window.keys("Tab")
    whole = record.wait_for(name, "accepted", accepted_chars=len(text))
    assert whole["total_chars"] == len(text)
    record.wait_for(name, "accepted", accepted_chars=len(text), inferred=False)

    # It is edited, and what is left is read when the file is saved.
    window.keys("Backspace", "Control+s")
    settled = record.wait_for(name, "settled", horizon="save")
    assert settled["span_text"] == text[:-1]
    until(
        lambda: (workspace / "money.py").read_text(encoding="utf-8") == SOURCE.replace(LINE, f"{LINE} {text[:-1]}"),
        "the file saved",
    )
    window.photograph("3-taken-edited-saved")

    # Another one is called good with a key, taken and undone.
    window.keys("End", "Enter")
    window.wait_for_ghost_alone()
    second = record.seen(window.ghost)
    window.keys("Control+Alt+ArrowUp")
    window.page.locator(".statusbar-item", has_text="the rating is recorded").wait_for()
    window.photograph("4-rated-good")
    rated = record.wait("a rating", lambda event: event["kind"] == "rated")
    assert (rated["suggestion_id"], rated["value"]) == (second["suggestion_id"], 1)
    window.wait_for_ghost()
    window.keys("Tab")
    record.wait_for(second["suggestion_id"], "accepted", accepted_chars=len(second["text"]))
    window.keys("Control+z")
    record.wait_for(second["suggestion_id"], "undone")

    # A third is sent away, and called wrong from the palette.
    window.keys("Control+End")
    window.type("value = ")
    window.wait_for_ghost()
    third = record.seen(window.ghost)
    window.keys("Escape")
    rejected = record.wait_for(third["suggestion_id"], "rejected")
    assert (rejected["reason"], rejected["inferred"]) == ("dismissed", False)
    window.run("Tacit: Rate the Last Suggestion: Bad")
    wrong = window.page.locator(".quick-input-list .monaco-list-row", has_text="Wrong")
    wrong.wait_for()
    window.photograph("5-why-bad")
    wrong.click()
    assert record.wait_for(third["suggestion_id"], "rated")["flag"] == "wrong"

    # Paused, it is quiet and says so.
    window.run("Tacit: Pause or Resume Suggestions")
    until(lambda: "paused" in window.status(), "a status item that says that it is paused")
    window.item.hover()
    window.page.locator(".workbench-hover", has_text="paused").wait_for()
    window.photograph("6-paused")
    window.keys("End")
    window.type(" quiet")
    window.run("Tacit: Pause or Resume Suggestions")
    until(lambda: "paused" not in window.status(), "a status item that does not say that it is paused")
    window.keys("Enter")
    assert record.seen(window.ghost) in record.drafts(" quiet\n") and not record.drafts(" quiet")


def test_an_explanation_comes_into_a_document_beside_the_code(window: Window, record: Record) -> None:
    until(lambda: "ready" in window.status(), "a status item that says that Tacit is ready")
    # No tool reports anything in this file: what is selected is what it is about.
    window.keys("Control+a")
    window.run("Tacit: Explain the Problem Here")
    window.page.locator(".tab", has_text="Tacit.txt").wait_for()
    explained = record.wait("an explanation", lambda event: event["kind"] == "suggested" and event["task"] == "debug")
    assert explained["debug"]["kind"] == "explain" and explained["debug"]["draws"]
    beginning = " ".join(explained["text"].split())[:12]
    beside = window.page.locator(".editor-group-container").nth(1)
    until(
        lambda: beginning in " ".join(beside.locator(".view-line").all_inner_texts()).replace("\xa0", " "),
        f"a document that begins with {beginning!r}",
    )
    window.photograph("8-explained")
    window.run("Tacit: Rate the Last Suggestion: Good")
    assert record.wait_for(explained["suggestion_id"], "rated")["value"] == 1


def test_a_missing_program_is_told_with_what_to_do(tmp_path: Path, window: Window) -> None:
    settings = tmp_path / "user" / "Machine" / "settings.json"
    settings.write_text(json.dumps({"tacit.command": str(tmp_path / "no-such-tacit")}), encoding="utf-8")
    message = window.page.locator(".notifications-toasts", has_text="tacit.command")
    message.wait_for()
    until(lambda: "not installed" in window.status(), "a status item that says what is missing")
    window.photograph("7-missing")
