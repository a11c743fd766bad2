"""What a session's suggestions are given: ready in time, the same while typing, never what may not be shown."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsprotocol.types import Range, TextDocumentContentChangePartial

from tacit.lsp.context import Budget
from tacit.lsp.documents import Document
from tacit.lsp.gathering.diagnostics import Complaint
from tacit.lsp.gathering.gatherer import Gatherer
from tacit.lsp.workspace import Workspace
from tacit.protocol.completion import Snippet

LEDGER = "def close_account(account, *, by): ...\n"
MAIN = "from ledger import close_account, open_account\n\n\ndef run(account):\n    close_account("


class Session:
    """The part of a language server's session that the gatherer sees."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = Workspace()
        self.workspace.add([root.as_uri()])
        self.documents: dict[str, Document] = {}
        self.tokens = 150
        self.gatherer = Gatherer(self.documents, self.workspace.place, lambda: self.tokens, lambda: Budget(1400, 64))

    def open(self, name: str, text: str) -> Document:
        uri = (self.root / name).as_uri()
        self.documents[uri] = document = Document(uri, "python", 0, text)
        self.gatherer.opened(uri)
        return document

    def type(self, document: Document, text: str) -> None:
        """At the end."""
        end = document.position_at(len(document.text))
        change = TextDocumentContentChangePartial(range=Range(end, end), text=text)
        self.gatherer.changed(document.uri, document.change(document.version + 1, [change]))

    async def ask(self, document: Document, *, invoked: bool = False) -> tuple[Snippet, ...]:
        return await self.gatherer.snippets(document, len(document.text), invoked)

    async def until(self, document: Document, path: str) -> tuple[Snippet, ...]:
        """Ask by hand until something of that file is shown: the index is made in the background."""
        async with asyncio.timeout(30):
            while True:
                shown = await self.ask(document, invoked=True)
                if any(one.path == path for one in shown):
                    return shown
                await asyncio.sleep(0.05)


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    (tmp_path / "ledger.py").write_text(LEDGER)
    (tmp_path / "opening.py").write_text("def open_account(account, *, name): ...\n")
    one = Session(tmp_path)
    yield one
    one.gatherer.end()


async def test_typing_on_changes_nothing_of_what_is_shown_before_the_file(session: Session) -> None:
    document = session.open("main.py", MAIN)
    shown = await session.until(document, "ledger.py")
    assert shown[0] == Snippet(path="ledger.py", text=LEDGER.rstrip("\n"), kind="definition")
    for character in "account, by=user)\n    open_account(acc":
        session.type(document, character)
        assert await session.ask(document) == shown
    # Asked for by hand: what is best now, and what stays stays where it was.
    again = await session.until(document, "opening.py")
    assert [one.path for one in again if one in shown] == [one.path for one in shown if one in again]
    assert again[0] == shown[0]


async def test_somewhere_else_other_places_are_shown(session: Session) -> None:
    document = session.open("main.py", MAIN.replace(", open_account", ""))
    assert "opening.py" not in {one.path for one in await session.until(document, "ledger.py")}
    session.type(document, "account)\n\n\ndef other(name):\n" + "    x = 1\n" * 16 + "    open_account(")
    async with asyncio.timeout(30):
        while "opening.py" not in {one.path for one in await session.ask(document)}:
            await asyncio.sleep(0.05)


async def test_what_is_not_ready_is_not_waited_for(session: Session) -> None:
    document = session.open("main.py", MAIN * 3000)
    # Parsing this takes the thread far longer than a suggestion waits for it.
    assert await session.ask(document) == ()
    assert document.uri not in session.gatherer._ready


async def test_a_file_ignored_since_it_was_chosen_is_not_sent_again(session: Session) -> None:
    document = session.open("main.py", MAIN)
    await session.until(document, "ledger.py")
    (session.root / ".tacitignore").write_text("ledger.py\n")
    assert "ledger.py" not in {one.path for one in await session.ask(document)}


async def test_a_folder_opened_inside_this_one_keeps_its_files(session: Session) -> None:
    document = session.open("main.py", MAIN)
    await session.until(document, "ledger.py")
    # The same file, now that its folder is open by itself.
    inner = session.root / "inner"
    inner.mkdir()
    (inner / "other.py").write_text("def hidden_away(account): ...\n")
    session.workspace.add([inner.as_uri()])
    folder = session.workspace.place(document.uri).folder
    assert not session.gatherer._may_show(folder, "inner/other.py")
    assert session.gatherer._may_show(folder, "ledger.py")


async def test_documents_of_other_folders_and_ignored_ones_give_nothing(session: Session, tmp_path: Path) -> None:
    (tmp_path / ".tacitignore").write_text("private.py\n")
    document = session.open("main.py", "x = 1\n")
    for name in ("private.py", "../outside.py", ".env"):
        other = session.open(name, "marker = 1\n")
        session.type(other, "marker_again = 2\n")
        assert await session.ask(other) == ()
        session.gatherer.closed(other.uri, session.documents.pop(other.uri).text)
    seen = session.open("seen.py", "y = 1\n")
    session.type(seen, "yet_another = 2\n")
    shown = await session.until(document, "seen.py")
    assert {one.path for one in shown} == {"seen.py"}


async def test_what_a_plugin_passes_on_is_shown_at_the_cursor(session: Session) -> None:
    document = session.open("main.py", "x = undefined_name\n")
    session.gatherer.told(document.uri, [Complaint(0, "undefined_name is not defined", "checker")])
    [told] = await session.until(document, "main.py")
    assert (told.kind, told.text) == ("diagnostic", "line 1: undefined_name is not defined")


async def test_without_a_budget_nothing_is_looked_for(session: Session) -> None:
    session.tokens = 0
    document = session.open("main.py", MAIN)
    session.type(document, "x")
    assert await session.ask(document, invoked=True) == ()
    assert session.gatherer._thread is None


async def test_a_question_about_an_error_brings_what_stood_there_before_and_leaves_completions_alone(session: Session) -> None:
    """With nothing gathered for completions, too: then the index is built for the question."""
    session.tokens = 0
    text = MAIN + "account)\n"
    document = session.open("main.py", text)
    at = text.index("close_account(account")
    end = document.position_at(at + len("close_account"))
    change = TextDocumentContentChangePartial(range=Range(document.position_at(at), end), text="open_account")
    session.gatherer.changed(document.uri, document.change(1, [change]))
    found = await asyncio.wait_for(session.gatherer.about(document, at, (0, len(document.text))), 30)
    [edit] = [one for one in found if one.kind == "edit"]
    assert edit.path == "main.py" and "-    close_account(account)" in edit.text
    assert "opening.py" in {one.path for one in found if one.kind == "definition"}
    assert await session.ask(document) == () and session.gatherer._shown == {}
    (session.root / ".tacitignore").write_text("opening.py\n")
    again = await asyncio.wait_for(session.gatherer.about(document, at, (0, len(document.text))), 30)
    assert "opening.py" not in {one.path for one in again}
