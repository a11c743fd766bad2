"""The Neovim plugin in Neovim: ghost text, taking it whole and by the word, undo, rating, health; 0.12's own way and 0.10's.

One session an editor, in the order in which a developer lives it.
"""

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pynvim
import pytest
from editors.conftest import ROOT, SOURCE, provided
from editors.install.neovim import neovim
from editors.record import Record, until

from tacit.learner.simulate.serving import ServerProcess

pytestmark = pytest.mark.editors

PLUGIN = ROOT / "plugins" / "neovim"


class Session:
    """A Neovim with the plugin, on one file, with a screen that nobody sees."""

    def __init__(self, program: Path, workspace: Path, setup: str, environment: dict[str, str]) -> None:
        config = workspace.parent / "init.lua"
        config.write_text(
            f"vim.opt.runtimepath:append([[{PLUGIN}]])\nvim.o.swapfile = false\nvim.cmd('filetype on')\n{setup}\n",
            encoding="utf-8",
        )
        before = dict(os.environ)
        os.environ.update(environment, XDG_STATE_HOME=str(workspace.parent), XDG_DATA_HOME=str(workspace.parent))
        try:
            self.nvim = pynvim.attach("child", argv=[str(program), "--embed", "-n", "-i", "NONE", "-u", str(config)])
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.nvim.ui_attach(100, 30, rgb=True)
        self.nvim.command(f"edit {workspace / 'money.py'}")

    def close(self) -> None:
        with suppress(OSError, EOFError):
            self.nvim.command("silent! wall | qall!", async_=False)
        self.nvim.close()

    def lua(self, code: str, *arguments: Any) -> Any:
        return self.nvim.exec_lua(code, *arguments)

    def keys(self, keys: str) -> None:
        self.nvim.input(keys)

    def text(self) -> str:
        return "\n".join(self.nvim.current.buffer[:]) + "\n"

    def ghost(self) -> str:
        """What ghost text says; empty where there is none."""
        rows: list[list[Any]] = self.lua(
            """
            local found = {}
            for name, id in pairs(vim.api.nvim_get_namespaces()) do
              if name:find('inline') then
                for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, id, 0, -1, { details = true })) do
                  found[#found + 1] = { mark[4].virt_text or {}, mark[4].virt_lines or {} }
                end
              end
            end
            return found
            """
        )
        return "\n".join(
            "".join(chunk[0] for chunk in line) for first, others in rows for line in ([first, *others] if others else [first])
        )

    def requests(self) -> int:
        """How often suggestions were asked for."""
        counted: int = self.lua(
            """
            local answers = vim.lsp.buf_request_sync(0, 'tacit/counters', vim.empty_dict(), 30000)
            return select(2, next(answers)).result.requests
            """
        )
        return counted

    def wait_for_ghost(self) -> str:
        try:
            shown: str = until(self.ghost, "ghost text")
        except AssertionError as error:
            why = self.lua("return { vim.fn.mode(), require('tacit').status_message(), vim.v.errmsg }")
            raise AssertionError(f"{error}; {why}") from None
        return shown


@pytest.fixture(params=["0.12", "0.10"])
def session(request: pytest.FixtureRequest, server: ServerProcess, workspace: Path, tacit: str) -> Iterator[Session]:
    program = provided(lambda: neovim(request.param))
    setup = f"require('tacit').setup({{ cmd = {{ [[{tacit}]], 'lsp' }}, settings = {{ eagerness = 'eager' }} }})"
    with closing(Session(program, workspace, setup, server.environment)) as one:
        # What is typed before it is attached asks for nothing.
        until(lambda: one.lua("return require('tacit').status()") == "ready", "Tacit ready")
        yield one


def test_a_language_server_that_has_said_nothing_yet_is_said_to_be_starting(workspace: Path) -> None:
    silent = "require('tacit').setup({ cmd = { 'sleep', '60' } })"
    with closing(Session(provided(lambda: neovim("0.12")), workspace, silent, {})) as one:
        said = one.lua("return { require('tacit').status(), require('tacit').status_message() }")
    assert said == ["starting", "The language server is being started."]


def test_a_developer_is_helped_and_all_of_it_is_recorded(session: Session, record: Record) -> None:
    # Typing shows a suggestion, and what is typed of it is not asked for again.
    session.keys("/total<CR>A ")
    shown = session.wait_for_ghost()
    [first] = until(record.suggestions, "a suggestion in SQLite")
    name = first["suggestion_id"]
    assert first["text"].startswith(shown) and first["context"]["path"] == "money.py"
    line = SOURCE.splitlines()[4]

    # A word of it, then the rest.
    session.keys("<M-Right>")
    word = until(lambda: session.nvim.current.line[len(line) + 1 :], "the first word taken")
    assert first["text"].startswith(word) and len(word) < len(first["text"])
    part = record.wait_for(name, "accepted", inferred=True)
    assert part["accepted_chars"] == len(word) < part["total_chars"] == len(first["text"])
    assert record.wait_for(name, "accepted", inferred=False)["accepted_chars"] == len(word)
    assert first["text"] == word + session.wait_for_ghost()
    session.keys("<Tab>")
    whole = record.wait_for(name, "accepted", accepted_chars=len(first["text"]))
    assert whole["total_chars"] == len(first["text"])
    assert session.text() == SOURCE.replace(line, f"{line} {first['text']}")

    # It is edited later, and what is left is read when the file is saved.
    session.keys("<Esc>:s/" + word.strip() + "/changed/<CR>:w<CR>")
    settled = record.wait_for(name, "settled", horizon="save")
    assert settled["span_text"] == first["text"].replace(word.strip(), "changed", 1)

    # Another one is rated, taken and undone.
    session.keys("o")
    # Not one that was shown on the way here: the one that is seen.
    second = record.seen(session.ghost)
    session.nvim.command("TacitRate bad wrong")
    rated = record.wait("a rating", lambda event: event["kind"] == "rated")
    assert (rated["suggestion_id"], rated["value"], rated["flag"]) == (second["suggestion_id"], -1, "wrong")
    session.keys("<Tab>")
    record.wait_for(second["suggestion_id"], "accepted", accepted_chars=len(second["text"]))
    session.keys("<Esc>u")
    record.wait_for(second["suggestion_id"], "undone")


def test_a_pause_is_quiet_and_says_so(session: Session, record: Record) -> None:
    session.keys("/total<CR>A ")
    session.wait_for_ghost()
    session.lua("require('tacit').pause()")
    until(lambda: session.lua("return require('tacit').status()") == "disabled", "paused")
    asked = session.requests()
    session.keys("<Esc>oquiet")
    until(lambda: session.requests() > asked, "asked while paused")
    assert not session.ghost() and "paused" in session.lua("return require('tacit').status_message()")
    session.lua("require('tacit').resume()")
    until(lambda: session.lua("return require('tacit').status()") == "ready", "resumed")
    session.keys("<CR>")
    session.wait_for_ghost()
    assert record.seen(session.ghost) in record.drafts("quiet\n") and not record.drafts("quiet")


def test_sending_it_away_is_a_rejection(session: Session, record: Record) -> None:
    session.keys("/total<CR>A ")
    session.wait_for_ghost()
    session.keys("<C-]>")
    rejected = record.wait("a rejection", lambda event: event["kind"] == "rejected")
    assert (rejected["reason"], rejected["inferred"]) == ("dismissed", False)
    assert not session.ghost() or len(record.suggestions()) > 1


def test_keys_do_what_they_did_where_nothing_is_suggested(session: Session) -> None:
    session.lua("require('tacit').pause()")
    until(lambda: session.lua("return require('tacit').status()") == "disabled", "paused")
    session.nvim.command("setlocal noexpandtab")
    session.keys("ggO<Tab>x<Esc>")
    until(lambda: session.text().splitlines()[0] == "\tx", "a tab typed")


def test_health_finds_it_well(session: Session) -> None:
    session.keys("/total<CR>A ")
    session.wait_for_ghost()
    session.keys("<Esc>")
    session.nvim.command("checkhealth tacit")
    report = session.text()
    assert "ERROR" not in report and "the language server runs for" in report


def test_a_missing_program_is_told_once_with_what_to_do(workspace: Path) -> None:
    program = provided(lambda: neovim("0.12"))
    setup = "notified = {}\nvim.notify = function(text) table.insert(notified, text) end\n"
    setup += "require('tacit').setup({ cmd = { 'no-such-tacit', 'lsp' } })"
    with closing(Session(program, workspace, setup, {})) as session:
        session.nvim.command("edit other.py")
        told = session.lua("return notified")
        assert len(told) == 1 and "no-such-tacit" in told[0] and "setup" in told[0]
        session.nvim.command("checkhealth tacit")
        assert "ERROR" in session.text() and "make run" in session.text()


def test_without_inline_completion_the_menu_has_it(server: ServerProcess, workspace: Path, tacit: str, record: Record) -> None:
    program = provided(lambda: neovim("0.10"))
    setup = f"""
        vim.o.completeopt = 'menuone'
        vim.api.nvim_create_autocmd('FileType', {{ callback = function()
          local options = {{ completionSource = true, eagerness = 'eager' }}
          vim.lsp.start({{ name = 'tacit', cmd = {{ [[{tacit}]], 'lsp' }}, root_dir = [[{workspace}]], init_options = options }})
        end }})
    """
    with closing(Session(program, workspace, setup, server.environment)) as session:
        until(lambda: session.lua("return vim.bo.omnifunc") != "", "the language server attached")
        session.keys("/total<CR>A x<C-x><C-o>")
        [entry] = until(lambda: session.nvim.call("complete_info", ["items"])["items"], "an entry in the menu")
        session.keys("<C-y>")
        [first] = until(record.suggestions, "a suggestion in SQLite")
        record.wait_for(first["suggestion_id"], "accepted", accepted_chars=len(first["text"]))
        assert (entry["word"], entry["menu"]) == (first["text"], "Tacit") and entry["abbr"].startswith("x")
        assert session.nvim.current.line == f"{SOURCE.splitlines()[4]} x{first['text']}"
