"""Fix and Explain in Neovim beside a real `ty server`: its diagnostic is passed on, Neovim applies the fix and the diagnostic is
gone, an explanation streams into its buffer; what the language server reports of all that.

The model is a stand-in that mends the one mistake there is: no model small enough for a test mends anything on demand.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from editors.conftest import provided
from editors.install.neovim import neovim
from editors.record import until
from editors.test_neovim import Session
from fuzz.adversary import Adversary

from tacit.protocol.home import Home

pytestmark = pytest.mark.editors

WRONG = "def add(a, b):\n    return a + c\n"
RIGHT = "def add(a, b):\n    return a + b\n"
EXPLANATION = "`c` is not defined here."
CODE = f"`c` is not defined here. Write `b`:\n\n```python\n{RIGHT}```\n"


class Mender(Adversary):
    """Answers a fix with `b` in the diagnostic's place, and everything else with an explanation."""

    loop: asyncio.AbstractEventLoop
    explanation = EXPLANATION

    def _answer(self, path: str, body: bytes, mood: Any) -> tuple[int, Any]:
        status, answer = super()._answer(path, body, mood)
        if path == "/v1/debug":
            request = json.loads(body)
            mended = {"kind": "text", "text": self.explanation}
            if request["kind"] == "fix":
                about = request["diagnostics"][0]
                one = {"start": about["start"], "end": about["end"], "text": "b", "path": request["path"]}
                mended = {"kind": "edit", "edits": [one], "reason": "It is `b`.", "confidence": 0.9, "checks": []}
            return 200, [answer[0], mended, answer[-1]]
        return status, answer

    def about(self, kind: str) -> list[Any]:
        return [event for event in list(self.events.values()) if event["kind"] == kind]


@pytest.fixture
def mender(home: Home) -> Iterator[Mender]:
    """On the server's socket, in a thread: pynvim waits for its editor."""
    one, loop = Mender(home.socket), asyncio.new_event_loop()
    one.loop = loop
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(one.up(), loop).result(30)
    yield one
    asyncio.run_coroutine_threadsafe(one.down(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(params=["0.12", "0.10"])
def session(request: pytest.FixtureRequest, mender: Mender, home: Home, workspace: Path, tacit: str) -> Iterator[Session]:
    program = provided(lambda: neovim(request.param))
    (workspace / "money.py").write_text(WRONG, encoding="utf-8")
    ty = Path(sys.executable).with_name("ty")
    setup = f"""
    vim.api.nvim_create_autocmd('FileType', {{ pattern = 'python', callback = function(event)
      vim.lsp.start({{ name = 'ty', cmd = {{ [[{ty}]], 'server' }}, root_dir = [[{workspace}]] }}, {{ bufnr = event.buf }})
    end }})
    require('tacit').setup({{ cmd = {{ [[{tacit}]], 'lsp' }}, settings = {{ startServer = false }} }})
    """
    with closing(Session(program, workspace, setup, {"TACIT_HOME": str(home.root)})) as one:
        until(lambda: one.lua("return require('tacit').status()") == "ready", "Tacit ready")
        until(lambda: reported(one), "ty's diagnostic")
        yield one


def reported(session: Session) -> list[str]:
    found: list[str] = session.lua("return vim.tbl_map(function(one) return one.message end, vim.diagnostic.get(0))")
    return found


def test_a_fix_makes_the_diagnostic_of_another_server_go_away(session: Session, mender: Mender) -> None:
    session.keys("2G")
    session.nvim.command("TacitFix")
    until(lambda: session.text() == RIGHT, "the fix in the buffer")
    until(lambda: not reported(session), "a file without a diagnostic")
    session.nvim.command("write")
    [checked] = until(lambda: mender.about("diagnostic_checked"), "what the tools say at the save")
    assert (checked["horizon"], checked["gone"], checked["new_errors"]) == ("save", True, 0)
    [fix] = mender.about("suggested")
    assert (fix["task"], fix["text"], fix["debug"]["original"]) == ("debug", "    return a + b", "    return a + c")
    [about] = fix["debug"]["diagnostics"]
    assert about["source"] == "ty" and WRONG[about["start"] : about["end"]] == "c"
    accepted = mender.about("accepted")
    assert {one["suggestion_id"] for one in accepted} == {fix["suggestion_id"]} and accepted[0]["inferred"]
    session.keys("u")
    until(lambda: mender.about("undone"), "the undo")


def test_the_code_action_is_resolved_and_an_explanation_fills_a_buffer(session: Session, mender: Mender) -> None:
    session.keys("2G")
    session.lua(
        "vim.lsp.buf.code_action({ apply = true, filter = function(one) return one.title:match('^Fix with Tacit') ~= nil end })"
    )
    until(lambda: session.text() == RIGHT, "the fix in the buffer")
    session.keys("u")
    until(lambda: reported(session), "ty's diagnostic again")
    session.nvim.command("TacitExplain")
    first_lines = "return vim.tbl_map(function(one) return vim.fn.getbufline(one, 1)[1] or '' end, vim.api.nvim_list_bufs())"
    until(lambda: EXPLANATION in session.lua(first_lines), "the explanation in a buffer")
    session.nvim.command("TacitRate bad unclear")
    [rated] = until(lambda: mender.about("rated"), "the rating")
    explanations = [one for one in mender.about("suggested") if one["debug"]["kind"] == "explain"]
    assert (rated["suggestion_id"], rated["flag"]) == (explanations[0]["suggestion_id"], "unclear")


def test_code_of_an_answer_is_applied_with_a_key_and_the_answer_flagged(session: Session, mender: Mender) -> None:
    mender.explanation = CODE
    session.keys("2G")
    session.nvim.command("TacitExplain")
    until(lambda: "Write `b`" in session.lua(ANSWER_TEXT) and session.lua(IDLE), "the whole answer")
    session.lua("vim.api.nvim_set_current_win(vim.fn.bufwinid('Tacit'))")
    session.keys("4G<CR>")
    until(lambda: session.lua(CODE_TEXT) == RIGHT.rstrip("\n"), "the code in its file")
    session.lua("vim.ui.select = function(choices, _, chosen) chosen('bad insecure') end")
    session.keys("R")
    [rated] = until(lambda: mender.about("rated"), "the rating")
    [proposed] = mender.about("block_proposed")
    assert (proposed["original"], proposed["text"], proposed["path"]) == ("    return a + c", "    return a + b", "money.py")
    accepted = until(lambda: mender.about("accepted"), "the acceptance")
    assert {one["suggestion_id"] for one in (rated, proposed, *accepted)} == {proposed["suggestion_id"]}
    assert rated["flag"] == "insecure"


ANSWER_TEXT = "return table.concat(vim.fn.getbufline('Tacit', 1, '$'), '\\n')"
CODE_TEXT = "return table.concat(vim.fn.getbufline('money.py', 1, '$'), '\\n')"
IDLE = "return next(require('tacit.debugging').streams) == nil"


def test_a_buffer_that_is_wiped_while_its_answer_comes_is_no_error(session: Session, mender: Mender) -> None:
    mender.mood = lambda path: "hang" if path == "/v1/debug" else "answer"
    session.keys("2G")
    session.nvim.command("TacitExplain")
    until(lambda: session.lua("return next(require('tacit.debugging').streams) ~= nil"), "a question under way")
    session.nvim.command("bwipeout! Tacit")
    mender.mood = lambda path: "answer"
    # The question may not have come there yet.
    until(lambda: _released(mender) and session.lua("return next(require('tacit.debugging').streams) == nil"), "the answer")
    assert session.lua("return { vim.v.errmsg, vim.fn.execute('messages') }") == ["", ""]


def _released(mender: Mender) -> bool:
    mender.loop.call_soon_threadsafe(mender.release)
    return True
