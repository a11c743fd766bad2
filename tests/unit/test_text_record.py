"""The record of texts: random edits through a document, the journal and a real store, rebuilt at every moment."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol.types import Range, TextDocumentContentChangePartial, TextDocumentContentChangeWholeDocument
from sqlmodel import Session, delete, select

from tacit.lsp import journal
from tacit.lsp.clock import SessionClock
from tacit.lsp.documents import Document
from tacit.lsp.edits import Edit
from tacit.lsp.journal import Journal
from tacit.lsp.revisions import Timed, revised
from tacit.protocol.errors import NotFound
from tacit.protocol.events import Event, TextAt, TextChanged, TextClosed, TextEvent, TextSnapshot, new_id
from tacit.protocol.home import Home
from tacit.protocol.redaction import mask
from tacit.server.ingest import store_events
from tacit.server.replay import text_at, texts_at
from tacit.server.store.store import Store
from tacit.server.store.tables import EventRow, TextBlobRow, TextRow

pytestmark = pytest.mark.each_database

PROJECT, PATH, URI = "p", "src/a.py", "file:///w/src/a.py"
PIECES = (
    "x",
    "\n",
    "\r\n",
    "\r",
    "    ",
    "é",
    "🙂",
    "\u2028",
    "\f",
    "def f():\n",
    "価値 = 1\r\n",
    "a\u0301",
    "",
    "'",
    '"',
    "token",
)
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2


class SteppedClock(SessionClock):
    """Moves by itself, a step at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.ms = 0.0

    def now(self) -> float:
        return self.ms


class Desk:
    """One document in an editor, with the journal of its language server."""

    def __init__(self, text: str) -> None:
        self.said: list[Event] = []
        self.allowed = True
        self.clock = SteppedClock()
        self.document = Document(URI, "python", 1, text)
        self.journal = Journal(self.said.append, self.clock, new_id(), lambda uri: (PROJECT, PATH) if self.allowed else None)
        self.moments: list[tuple[datetime, str]] = []
        self.journal.opened(URI, text)
        self.remember()

    def remember(self) -> None:
        at = self.clock.at(self.clock.ms)
        self.moments.append((at.replace(microsecond=at.microsecond // 1000 * 1000), self.document.text))
        self.clock.ms += 7

    def apply(self, start: int, end: int, text: str, *, whole: bool = False) -> None:
        change: TextDocumentContentChangePartial | TextDocumentContentChangeWholeDocument
        if whole:
            change = TextDocumentContentChangeWholeDocument(self.document.text[:start] + text + self.document.text[end:])
        else:
            positions = Range(self.document.position_at(start), self.document.position_at(end))
            change = TextDocumentContentChangePartial(positions, text)
        self.journal.changed(URI, self.document.change(self.document.version + 1, [change]))
        self.remember()

    def type(self, text: str) -> None:
        for key in text:
            self.apply(len(self.document.text), len(self.document.text), key)

    async def quiet(self) -> None:
        """What the thread was given is done, and said."""
        await asyncio.get_running_loop().run_in_executor(self.journal._thread, lambda: None)
        await asyncio.sleep(0)


async def ask(store: Store, at: datetime) -> TextAt:
    return await store.read(lambda session: text_at(session, PROJECT, PATH, at))


async def edited(draw: random.Random, steps: int) -> Desk:
    desk = Desk("".join(draw.choices(PIECES, k=draw.randrange(30))))
    past = [desk.document.text]
    for _ in range(steps):
        text, chance = desk.document.text, draw.random()
        start = draw.randrange(len(text) + 1)
        end = min(len(text), start + draw.choice((0, 0, 0, 1, 3, 40)))
        # Positions inside a character are before it, and CRLF is one line end: as the document has it.
        start, end = (desk.document.offset_at(desk.document.position_at(o)) for o in (start, end))
        if chance < 0.1:
            desk.apply(0, len(text), draw.choice(past), whole=draw.random() < 0.5)
        elif chance < 0.2:
            desk.journal.saved(URI)
        else:
            desk.apply(start, end, "".join(draw.choices(PIECES, k=draw.randrange(4))), whole=chance < 0.3)
        past.append(desk.document.text)
        if draw.random() < 0.2:
            desk.journal._tell(URI)
    return desk


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_moment_is_rebuilt_exactly(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    async def check() -> None:
        desk = await edited(random.Random(seed), 60)
        await desk.journal.end()
        told = [event for event in desk.said if isinstance(event, TextEvent)]
        assert [event.number for event in told] == list(range(len(told)))
        shuffled = list(desk.said)
        random.Random(seed).shuffle(shuffled)
        store = Store.open(Home(tmp_path_factory.mktemp("home")))
        try:
            # In any order, and twice: outboxes are delivered again.
            await store_events(store, shuffled)
            await store_events(store, shuffled[:5])
            for at, text in desk.moments:
                found = await ask(store, at)
                assert (found.text, found.state) == (text, "exact"), f"seed {seed}"
        finally:
            store.close()

    asyncio.run(check())


@pytest.mark.parametrize("changes", [3, 25])
async def test_snapshots_now_and_then_rebuild_the_same(store: Store, monkeypatch: pytest.MonkeyPatch, changes: int) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_CHANGES", changes)
    monkeypatch.setattr(journal, "BATCH_CHANGES", 2)
    desk = await edited(random.Random(7), 80)
    await desk.journal.end()
    snapshots = [event for event in desk.said if isinstance(event, TextSnapshot)]
    assert {event.reason for event in snapshots} == {"opened", "periodic"}
    await store_events(store, desk.said)
    # The nearest one is enough: without any event before it.
    last = snapshots[-1]
    assert last.number > 5
    await store.write(
        lambda session: _forget(session, [e.id for e in desk.said if isinstance(e, TextEvent) and e.number < last.number])
    )
    for at, text in desk.moments:
        if at >= last.at:
            assert (await ask(store, at)).text == text


async def test_a_gap_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "BATCH_CHANGES", 2)
    desk = Desk("a\n")
    for _ in range(10):
        desk.apply(0, 0, "x")
    await desk.journal.end()
    changed = [event for event in desk.said if isinstance(event, TextChanged)]
    assert len(changed) == 5
    await store_events(store, [event for event in desk.said if event is not changed[2]])
    for at, text in desk.moments:
        found = await ask(store, at)
        if at < changed[3].at:
            # Up to there nothing is missing that could be told from what is there.
            assert found.text == text if at < changed[2].at else found.text == desk.moments[4][1]
        else:
            assert (found.state, found.text) == ("gap", None) and "missing" in found.note
    # It comes late, from the outbox of a session that was killed.
    await store_events(store, [changed[2]])
    for at, text in desk.moments:
        assert (await ask(store, at)).text == text


async def test_what_no_later_event_confirms_is_not_called_exact(store: Store) -> None:
    desk = Desk("a\n")
    desk.apply(0, 0, "x")
    desk.journal._tell(URI)
    desk.apply(0, 0, "lost with the process")
    await desk.quiet()
    await store_events(store, desk.said)
    states = [(found.state, found.text) for at, _ in desk.moments if (found := await ask(store, at))]
    assert states == [("exact", "a\n"), ("last_known", "xa\n"), ("last_known", "xa\n")]
    with pytest.raises(NotFound, match="the record of it begins at"):
        await ask(store, desk.moments[0][0] - timedelta(seconds=1))
    assert await store.read(lambda session: texts_at(session, PROJECT, desk.moments[0][0])) == [PATH]
    assert await store.read(lambda session: texts_at(session, PROJECT, desk.moments[0][0] - timedelta(seconds=1))) == []


async def test_a_closed_document_is_what_it_was_and_said_to_be_closed(store: Store) -> None:
    desk = Desk("a\n")
    desk.journal.closed(URI)
    desk.clock.ms += 60_000
    desk.journal.opened(URI, "changed by another program\n")
    desk.clock.ms += 1
    await desk.journal.end()
    await store_events(store, desk.said)
    between = await ask(store, desk.moments[0][0] + timedelta(seconds=30))
    assert (between.state, between.text) == ("closed", "a\n")
    after = await ask(store, desk.moments[0][0] + timedelta(seconds=61))
    assert after.text == "changed by another program\n"


async def test_a_text_that_is_not_the_editors_is_never_given_out(store: Store) -> None:
    desk = Desk("a\n")
    desk.apply(0, 0, "x")
    await desk.journal.end()
    forged = [e.model_copy(update={"sha256": "0" * 64}) if isinstance(e, TextChanged) else e for e in desk.said]
    await store_events(store, forged)
    assert (await ask(store, desk.moments[-1][0])).state == "gap"


OPENINGS = {
    "typed in quotes": 'db_password = "',
    "a token in a call": 'client = login(token="',
    "alone": "",
}


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
@pytest.mark.parametrize("every", [1, 3, 100])
async def test_a_secret_typed_key_by_key_is_never_recorded(store: Store, opening: str, every: int) -> None:
    secret = "correcthorsebattery9" if "password" in opening else SECRET
    desk = Desk("import service\n")
    for number, key in enumerate(opening + secret):
        desk.type(key)
        if number % every == 0:
            desk.journal._tell(URI)
    if opening:
        desk.type('"')
    desk.type("\nx = 1\n")
    desk.journal._tell(URI)
    desk.type("y = 2\n")
    await desk.journal.end()
    recorded = "".join(event.model_dump_json() for event in desk.said)
    assert secret not in recorded
    typed = "".join(change.text for event in desk.said if isinstance(event, TextChanged) for change in event.changes)
    assert secret[: len(secret) // 2] not in typed
    await store_events(store, desk.said)
    for at, text in desk.moments:
        found = await ask(store, at)
        assert found.text is None or found.text in (text, mask(text)) or len(found.text) == len(text)
        assert found.text is None or secret[: len(secret) // 2] not in found.text
    end = await ask(store, desk.moments[-1][0])
    assert end.state == "exact" and end.text is not None
    assert end.text == desk.document.text.replace(secret, "*" * len(secret))


async def test_a_pasted_secret_and_one_that_was_there_are_masked(store: Store) -> None:
    desk = Desk(f"key = '{SECRET}'\n")
    desk.apply(0, 0, f"other = '{SECRET}'\r\n")
    desk.apply(0, 0, "# harmless\n")
    await desk.journal.end()
    assert SECRET not in "".join(event.model_dump_json() for event in desk.said)
    await store_events(store, desk.said)
    end = await ask(store, desk.moments[-1][0])
    assert end.text == desk.document.text.replace(SECRET, "*" * len(SECRET))
    assert (await ask(store, desk.moments[1][0])).state == "gap"


async def test_the_store_masks_what_a_language_server_did_not(store: Store, home: Home) -> None:
    desk = Desk("a\n")
    desk.apply(0, 0, "x")
    await desk.journal.end()
    leaky = [
        event.model_copy(update={"changes": (event.changes[0].model_copy(update={"text": SECRET}),)})
        if isinstance(event, TextChanged)
        else event.model_copy(update={"text": SECRET})
        if isinstance(event, TextSnapshot)
        else event
        for event in desk.said
    ]
    await store_events(store, leaky)
    rows = await store.read(lambda session: session.exec(select(EventRow.body)).all())
    assert not any(SECRET in body for body in rows)
    assert (await ask(store, desk.moments[0][0])).text == "*" * len(SECRET)
    assert (await ask(store, desk.moments[-1][0])).state == "gap"


async def test_a_document_with_a_private_key_is_recorded_no_further() -> None:
    desk = Desk("a\n")
    desk.apply(0, 0, "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n")
    desk.apply(0, 0, "more")
    await desk.journal.end()
    assert [type(event) for event in desk.said] == [TextSnapshot, TextClosed]
    assert "MIIE" not in "".join(event.model_dump_json() for event in desk.said)
    held = Desk("-----BEGIN RSA PRIVATE KEY-----\n")
    held.apply(0, 0, "x")
    await held.journal.end()
    assert held.said == []


async def test_nothing_is_recorded_before_it_is_allowed_nor_after() -> None:
    desk = Desk("a\n")
    desk.apply(0, 0, "x")
    desk.allowed = False
    desk.journal._tell(URI)
    desk.apply(0, 0, "private")
    desk.allowed = True
    desk.journal.saved(URI)
    desk.apply(0, 0, "public")
    await desk.journal.end()
    first, second, *_ = desk.said
    assert isinstance(first, TextSnapshot) and isinstance(second, TextSnapshot) and first.document != second.document
    texts = [change.text for event in desk.said if isinstance(event, TextChanged) for change in event.changes]
    assert texts == ["public"]


async def test_old_texts_go_with_their_events_and_shared_ones_stay(store: Store) -> None:
    one, two = Desk("the same\n"), Desk("the same\n")
    other = Desk("another\n")
    for desk in (one, two, other):
        await desk.journal.end()
    await store_events(store, [*one.said, *other.said])
    day = 86_400_000
    now = int(datetime.now(UTC).timestamp() * 1000)
    await store.write(lambda session: _age(session, now - 100 * day))
    await store_events(store, two.said)
    assert await store.forget_older_than(90, now) == 4
    kept = await store.read(
        lambda session: (len(session.exec(select(TextRow)).all()), len(session.exec(select(TextBlobRow)).all()))
    )
    assert kept == (2, 1)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 5), st.sampled_from([*PIECES, "hf_", "AKIA", "sk-", SECRET])), max_size=25
    )
)
def test_a_revision_is_the_same_text_but_for_what_is_masked(changes: list[tuple[int, int, str]]) -> None:
    text = "password = ''\n"
    edits = []
    after = text
    for at, (start, length, new) in enumerate(changes, 1):
        edit = Edit(min(start, len(after)), min(start + length, len(after)), new)
        edits.append(Timed(at, edit))
        after = edit.apply(after)
    revision = revised(text, text, edits) if edits else None
    if revision is None:
        return
    assert revision.text == after and len(revision.known) == len(after)
    assert all(known in (plain, "*") for known, plain in zip(revision.known, after, strict=True))
    rebuilt = text
    for timed in revision.edits:
        rebuilt = timed.edit.apply(rebuilt)
    assert rebuilt == revision.known
    assert SECRET not in rebuilt


def _forget(session: Session, ids: list[str]) -> None:
    for name in ids:
        session.exec(delete(EventRow).where(EventRow.id == name))  # type: ignore[arg-type]


def _age(session: Session, received_ms: int) -> None:
    for row in session.exec(select(EventRow)):
        row.received_ms = received_ms
        session.add(row)
