"""The Emacs plugin in Emacs with lsp-mode: ghost text while typing, TAB, later edits, undo, rating, pause.

Emacs runs in a terminal that this test types into; what it shows is asked of it through emacsclient.
"""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from editors.conftest import ROOT, SOURCE, provided
from editors.install.emacs import emacs
from editors.record import Event, Record, until

from tacit.learner.simulate.serving import ServerProcess

pytestmark = pytest.mark.editors

LINE = SOURCE.splitlines()[4]
UNDO = "\x1f"
CANCEL = "\x07"
SAVE = "\x18\x13"

INIT = """
(setq native-comp-deferred-compilation nil inhibit-startup-screen t make-backup-files nil auto-save-default nil
      create-lockfiles nil ring-bell-function #'ignore use-short-answers t
      lsp-session-file "{folder}/lsp-session" lsp-server-install-dir "{folder}/lsp-servers"
      lsp-client-packages nil lsp-enable-snippet nil lsp-enabled-clients '(tacit)
      lsp-enable-file-watchers nil lsp-auto-guess-root t
      server-socket-dir "{folder}" server-name "tests")
(server-start)
(push "{plugin}" load-path)
(require 'json)
(load "lsp-mode-autoloads")
(require 'tacit)
(setq tacit-command '("{tacit}" "lsp") tacit-options '((eagerness . "eager")))
(lsp-workspace-folders-add "{root}")
(find-file "{root}/money.py")
(lsp)
"""


class Session:
    """An Emacs in a terminal of its own."""

    def __init__(self, program: Path, workspace: Path, tacit: str, folder: Path, environment: dict[str, str]) -> None:
        init = folder / "init.el"
        init.write_text(
            INIT.format(folder=folder, plugin=ROOT / "plugins" / "emacs", tacit=tacit, root=workspace), encoding="utf-8"
        )
        self._client = [str(program / "client"), "--socket-name", str(folder / "tests")]
        self._terminal, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self._process = subprocess.Popen(
            [program / "start", "-nw", "-Q", "-l", init],
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
            # Emacs opens /dev/tty: the terminal must be its controlling one.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, **environment, "TERM": "xterm", "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        )
        os.close(there)
        self.screen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            until((folder / "tests").exists, "an Emacs that listens")
        except AssertionError as error:
            self.close()
            raise AssertionError(f"{error}; {self.screen[-2000:]!r}") from None

    def close(self) -> None:
        with suppress(subprocess.SubprocessError):
            subprocess.run([*self._client, "--eval", "(kill-emacs)"], timeout=30, capture_output=True)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._process.kill()
        self._process.wait()
        self._reader.join(10)
        os.close(self._terminal)

    def keys(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def lisp(self, expression: str) -> Any:
        """The value, in the buffer that is shown, as JSON has it."""
        shown = f"(json-encode (with-current-buffer (window-buffer (selected-window)) {expression}))"
        done = subprocess.run([*self._client, "--eval", shown], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{done.stderr}\n{self.screen[-2000:]!r}"
        return json.loads(json.loads(done.stdout))

    def text(self) -> str:
        content: str = self.lisp("(buffer-substring-no-properties (point-min) (point-max))")
        return content

    def ghost(self) -> str:
        """What ghost text says; empty where there is none. Its first character may be that before the cursor, drawn again."""
        return (
            self.lisp(
                "(let ((overlay lsp-inline-completion--overlay))"
                ' (if (overlayp overlay) (substring-no-properties (overlay-get overlay \'after-string)) ""))'
            )
            or ""
        )

    def wait_for_ghost(self) -> str:
        try:
            shown: str = until(self.ghost, "ghost text")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.why()}") from None
        return shown

    def requests(self) -> int:
        """How often suggestions were asked for."""
        answer = '(with-lsp-workspace (tacit--workspace) (lsp-request "tacit/counters" nil))'
        counted: int = self.lisp(f'(gethash "requests" {answer})')
        return counted

    def why(self) -> str:
        """What Emacs and Tacit say of themselves."""
        messages = self.lisp('(with-current-buffer "*Messages*" (buffer-substring-no-properties (point-min) (point-max)))')
        return f"{self.lisp('tacit--said')}\n{messages[-2000:]}"

    def _read(self) -> None:
        with suppress(OSError):
            while piece := os.read(self._terminal, 65536):
                self.screen = (self.screen + piece)[-20_000:]


@pytest.fixture
def session(server: ServerProcess, workspace: Path, tacit: str, isolated: Path) -> Iterator[Session]:
    program = provided(emacs)
    # Its path leaves room for a socket's name.
    folder = isolated / "emacs"
    folder.mkdir(mode=0o700)
    with closing(Session(program, workspace, tacit, folder, server.environment)) as one:
        yield one


def to_the_hole(session: Session) -> None:
    """Type a blank after `total =`, as a developer would."""
    try:
        until(lambda: session.lisp("(and lsp-inline-completion-mode t)"), "the language server started")
    except AssertionError as error:
        raise AssertionError(f"{error}; {session.why()}") from None
    session.lisp('(progn (goto-char (point-min)) (search-forward "total =") t)')
    session.keys(" ")


def sent_away(session: Session, record: Record, name: str) -> Event:
    """The rejection that C-g brings. While Emacs runs Lisp (a timer, our question before), C-g interrupts that and is no key:
    then a developer presses it again."""

    def pressed() -> Event | None:
        session.keys(CANCEL)
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            for event in record.events():
                if event["kind"] == "rejected" and event["suggestion_id"] == name:
                    return event
            time.sleep(0.1)
        return None

    found: Event = until(pressed, "C-g sends the suggestion away")
    return found


def test_a_developer_is_helped_and_all_of_it_is_recorded(session: Session, record: Record) -> None:
    # Typing shows a suggestion, and what is typed of it is not asked for again.
    to_the_hole(session)
    shown = session.wait_for_ghost()
    [first] = until(record.suggestions, "a suggestion in SQLite")
    name, text = first["suggestion_id"], first["text"]
    assert text.strip() == shown.strip() and first["context"]["path"] == "money.py"
    session.keys(text[0])
    rest = until(lambda: (ghost := session.ghost()) != shown and ghost, "the rest")
    assert rest.strip() == text[1:].strip() and len(record.suggestions()) == 1

    # TAB takes it; it is edited; what is left is read when the file is saved.
    session.keys("\t")
    whole = record.wait_for(name, "accepted", accepted_chars=len(text))
    assert whole["total_chars"] == len(text)
    assert session.text() == SOURCE.replace(LINE, f"{LINE} {text}")
    session.keys("\x7f" + SAVE)
    settled = record.wait_for(name, "settled", horizon="save")
    assert settled["span_text"] == text[:-1]

    # Another one is rated, taken and undone.
    session.keys("\x05\r")
    session.wait_for_ghost()
    second = record.seen(session.ghost)
    session.lisp('(progn (tacit-rate \'bad "wrong") t)')
    rated = record.wait("a rating", lambda event: event["kind"] == "rated")
    assert (rated["suggestion_id"], rated["value"], rated["flag"]) == (second["suggestion_id"], -1, "wrong")
    session.wait_for_ghost()
    session.keys("\t")
    record.wait_for(second["suggestion_id"], "accepted", accepted_chars=len(second["text"]))
    session.keys(UNDO)
    record.wait_for(second["suggestion_id"], "undone")


def test_sent_away_and_paused_it_is_quiet_and_says_so(session: Session, record: Record) -> None:
    to_the_hole(session)
    session.wait_for_ghost()
    first = record.seen(session.ghost)
    rejected = sent_away(session, record, first["suggestion_id"])
    assert (rejected["reason"], rejected["inferred"]) == ("dismissed", False)
    assert not session.ghost() and session.text() == SOURCE.replace(LINE, f"{LINE} ")
    # lsp-mode takes a suggestion away before any other key too: that is no dismissal.
    session.keys("x\r")
    session.wait_for_ghost()
    second = record.seen(session.ghost)
    session.keys("~")
    passed = record.wait_for(second["suggestion_id"], "rejected")
    assert (passed["reason"], passed["inferred"]) == ("typed_over", True)
    session.keys("\x05\r")
    session.wait_for_ghost()
    session.lisp("(progn (tacit-pause) t)")
    until(lambda: session.lisp("(car tacit--said)") == "disabled", "paused")
    asked = session.requests()
    session.keys("quiet")
    until(lambda: session.requests() > asked, "asked while paused")
    assert not session.ghost() and "paused" in session.lisp("(progn (tacit-status) (current-message))")
    session.lisp("(progn (tacit-resume) t)")
    session.keys("\x05\r")
    session.wait_for_ghost()
    assert record.seen(session.ghost) in record.drafts("quiet\n") and not record.drafts("quiet")
