"""The record of texts where it is tight: half a secret anywhere in a batch, very many changes, very large texts, turned off."""

import pytest
from lsprotocol.types import Position, Range, TextDocumentContentChangePartial
from test_text_record import URI, Desk, ask

from tacit.lsp import journal
from tacit.protocol.events import TextChanged, TextClosed, TextSnapshot
from tacit.server.ingest import store_events
from tacit.server.store.store import Store

pytestmark = pytest.mark.each_database


def told(desk: Desk) -> str:
    return "".join(event.model_dump_json() for event in desk.said)


HALF = "AKIA" + "IOSFODNN7EXAMP"


@pytest.mark.parametrize("then", ["elsewhere", "a line end", "a line end and more"])
async def test_half_a_secret_is_hidden_also_when_the_batch_ends_elsewhere(store: Store, then: str) -> None:
    desk = Desk("import service\n\n")
    desk.type("key = " + HALF)
    if then == "elsewhere":
        desk.apply(0, 0, "#")
    else:
        desk.apply(len(desk.document.text), len(desk.document.text), "\n    ")
    if then == "a line end and more":
        desk.type("x = 1\ny")
    desk.journal._tell(URI)
    await desk.journal.end()
    assert HALF[:12] not in told(desk)
    await store_events(store, desk.said)
    end = await ask(store, desk.moments[-1][0])
    assert end.text == desk.document.text.replace(HALF, "*" * len(HALF))


@pytest.mark.parametrize("most", [600, 20], ids=["closed", "held no longer"])
async def test_half_a_secret_at_many_cursors_is_hidden_at_each(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(journal, "HELD_CHANGES", most)
    desk = Desk("a = \nb = \nc = \n")
    for typed, key in enumerate(HALF):
        spots = [line * (5 + typed) - 1 for line in (3, 2, 1)]
        changes = [
            TextDocumentContentChangePartial(Range(desk.document.position_at(at), desk.document.position_at(at)), key)
            for at in spots
        ]
        desk.journal.changed(URI, desk.document.change(desk.document.version + 1, changes))
        desk.journal._tell(URI)
    assert desk.document.text == "".join(f"{name} = {HALF}\n" for name in "abc")
    await desk.journal.end()
    assert any(isinstance(event, TextChanged) for event in desk.said)
    assert HALF[:12] not in told(desk)


@pytest.mark.parametrize("many", [journal.MOST_CHANGES + 1, 3000])
async def test_what_is_replaced_everywhere_at_once_is_rebuilt(store: Store, many: int) -> None:
    desk = Desk("old = 1\n" * many)
    desk.type("# a\n")
    changes = [
        TextDocumentContentChangePartial(Range(Position(line, 0), Position(line, 3)), "newer") for line in reversed(range(many))
    ]
    desk.journal.changed(URI, desk.document.change(desk.document.version + 1, changes))
    desk.remember()
    desk.type("# b\n")
    await desk.journal.end()
    await store_events(store, desk.said)
    assert desk.document.text.count("newer = 1\n") == many
    for at, text in desk.moments:
        found = await ask(store, at)
        assert (found.text, found.state) == (text, "exact")


async def test_a_document_that_was_too_large_for_a_moment_is_recorded_up_to_it(store: Store) -> None:
    desk = Desk("a\n")
    desk.type("b")
    desk.apply(0, 0, "x" * (journal.LONGEST + 1))
    desk.apply(0, journal.LONGEST + 1, "")
    await desk.journal.end()
    assert [type(event) for event in desk.said] == [TextSnapshot, TextChanged, TextClosed]
    await store_events(store, desk.said)
    assert (await ask(store, desk.moments[1][0])).text == "a\nb"
    assert (await ask(store, desk.moments[-1][0])).state == "closed"


@pytest.mark.parametrize("then", ["saved", "closed"])
async def test_nothing_is_recorded_of_a_save_or_a_closing_after_it_was_turned_off(then: str) -> None:
    desk = Desk("a\n")
    desk.type("b")
    desk.journal._tell(URI)
    desk.allowed = False
    desk.clock.ms += 600_000
    desk.journal._documents[URI].told.snapshot_at = -1e9  # type: ignore[union-attr]
    await desk.quiet()
    before = len(desk.said)
    if then == "saved":
        desk.journal.saved(URI)
    await desk.journal.end()
    assert before == 2 and len(desk.said) == before
