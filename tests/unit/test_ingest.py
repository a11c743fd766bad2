"""Events into the store and out again: once each, redacted, in order, from many clients at once."""

import asyncio
from datetime import timedelta

import pytest
from recorded import SESSION, START, exported, rejected, suggested
from sqlmodel import select

from tacit.protocol.completion import Snippet
from tacit.protocol.events import Accepted, BlockProposed, Event, Rated, Settled, Shown, Suggested
from tacit.protocol.home import Home
from tacit.protocol.redaction import STRADDLING, redact_after
from tacit.server import ingest
from tacit.server.export import PAGE, project_infos
from tacit.server.ingest import keep, prepare, redacted, store_events
from tacit.server.routing import Routes
from tacit.server.store.store import Store, count_events
from tacit.server.store.tables import EventRow

pytestmark = pytest.mark.each_database

KEY = "AKIA" + "ABCDEFGHIJKLMNOP"


def settled(of: Suggested, text: str, second: int = 10) -> Settled:
    return Settled(
        at=of.at + timedelta(seconds=second),
        session_id=SESSION,
        suggestion_id=of.suggestion_id,
        horizon="10s",
        elapsed_ms=10_000,
        span_text=None,
        settled_text=text,
    )


async def test_an_event_is_stored_once_however_often_it_comes(store: Store) -> None:
    one, two = suggested(), suggested()
    first = await store_events(store, [one, rejected(one)])
    assert (first.stored, first.known) == (2, 0)
    again = await store_events(store, [one, two, two])
    assert (again.stored, again.known) == (1, 2)
    assert await store.read(count_events) == 3


async def test_the_same_batch_from_both_sides_of_a_lost_answer_counts_once(store: Store) -> None:
    batch = [rejected(suggested()) for _ in range(20)]
    acks = await asyncio.gather(*(store_events(store, batch) for _ in range(10)))
    assert sum(ack.stored for ack in acks) == 20
    assert await store.read(count_events) == 20


async def test_batches_that_are_written_together_are_counted_apart(store: Store) -> None:
    known, new, last = suggested(), suggested(), suggested()
    await store_events(store, [known])
    rows = [prepare(events) for events in ([known, new], [new, rejected(new), last], [last], [])]
    assert await store.write(lambda session: keep(session, rows)) == [1, 2, 0, 0]
    assert await store.read(count_events) == 4
    assert {record.suggestion for record in await exported(store)} == {known, new, last}


async def test_more_events_than_one_statement_takes_are_written_in_several(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "EVENTS_AT_ONCE", 3)
    batches = [[one, rejected(one)] for one in (suggested() for _ in range(5))]
    counts = await store.write(lambda session: keep(session, [prepare(batch) for batch in [*batches, batches[0]]]))
    assert counts == [2, 2, 2, 2, 2, 0]
    assert len(await exported(store)) == 5


async def test_what_became_of_a_suggestion_may_arrive_before_it(store: Store) -> None:
    suggestion = suggested()
    await store_events(store, [settled(suggestion, "2"), rejected(suggestion)])
    assert await exported(store) == []
    await store_events(store, [suggestion])
    (record,) = await exported(store)
    assert record.suggestion == suggestion
    assert [event.kind for event in record.events] == ["rejected", "settled"]


async def test_export_is_complete_and_in_order_over_many_pages(store: Store) -> None:
    # Pairs share a time, so that pages may be cut between equals.
    all_of_them = [suggested(second // 2) for second in range(2 * PAGE + 7)]
    events: list[Event] = [event for one in reversed(all_of_them) for event in (one, rejected(one))]
    for at in range(0, len(events), 500):
        await store_events(store, events[at : at + 500])
    await store_events(store, [suggested(project="other")])
    records = await exported(store)
    assert [r.suggestion.at for r in records] == sorted(one.at for one in all_of_them)
    assert {r.suggestion.suggestion_id for r in records} == {one.suggestion_id for one in all_of_them}
    assert len(records) == len(all_of_them)
    assert all(len(record.events) == 1 for record in records)


async def test_secrets_are_replaced_before_they_are_stored(store: Store, home: Home) -> None:
    one = suggested(prefix=f'key = "{KEY}"\n', text=f'again = "{KEY}"')
    rating = Rated(
        at=START, session_id=SESSION, suggestion_id=one.suggestion_id, value=-1, correction=f"use {KEY}", comment=f"not {KEY}"
    )
    await store_events(store, [one, settled(one, f"put {KEY} here"), rating])
    store.close()
    for path in home.root.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_tokens_that_spell_a_secret_are_not_kept() -> None:
    clean, dirty = redacted(suggested()), redacted(suggested(text=f'"{KEY}"'))
    assert isinstance(clean, Suggested) and isinstance(dirty, Suggested)
    assert clean.generation.tokens == (16,)
    assert dirty.generation.tokens == dirty.generation.logprobs == ()
    assert dirty.context_sha256 == dirty.context.digest()


def test_secrets_in_other_places_that_the_model_was_shown_are_replaced() -> None:
    one = suggested()
    shown = Snippet(path="b.py", text=f'key = "{KEY}"', kind="retrieved")
    clean = redacted(one.model_copy(update={"context": one.context.model_copy(update={"snippets": (shown,)})}))
    assert isinstance(clean, Suggested)
    [kept] = clean.context.snippets
    assert KEY not in kept.text and (kept.path, kept.kind) == ("b.py", "retrieved")
    assert clean.context_sha256 == clean.context.digest() and clean.generation == one.generation


def test_secrets_in_a_block_that_was_put_into_a_file_are_replaced() -> None:
    about = {"at": START, "session_id": SESSION, "suggestion_id": "s" * 32, "block": 0, "path": "a.py"}
    proposed = BlockProposed.model_validate({**about, "original": f'key = "{KEY}"', "text": f'key = "{KEY}"  # AWS'})
    assert KEY not in redacted(proposed).model_dump_json()


async def test_a_secret_that_begins_before_the_hole_is_found_by_where_its_text_stands(store: Store) -> None:
    one = suggested(prefix='import x\npassword = "', text="correct-horse")
    await store_events(store, [one])
    await store_events(store, [settled(one, 'battery-staple"')])
    (record,) = await exported(store)
    (event,) = record.events
    assert isinstance(event, Settled)
    assert "battery-staple" not in event.settled_text and "redacted" in event.settled_text


@pytest.mark.parametrize(
    ("before", "text", "expected"),
    [
        ("x = ", "y + 1", "y + 1"),
        ("", "plain", "plain"),
        ('token = load("', 'name")', 'name")'),
        ('api_key = "abc', 'defghijk"', STRADDLING),
    ],
)
def test_text_is_redacted_as_it_stands(before: str, text: str, expected: str) -> None:
    assert redact_after(before, text) == expected


async def test_a_thousand_clients_at_once_are_all_stored(store: Store) -> None:
    batches = [[rejected(suggested()) for _ in range(3)] for _ in range(1000)]
    acks = await asyncio.gather(*(store_events(store, batch) for batch in batches))
    assert sum(ack.stored for ack in acks) == 3000
    stored = await store.read(lambda session: set(session.exec(select(EventRow.id))))
    assert stored == {event.id for batch in batches for event in batch}


async def test_labelled_counts_what_was_shown_and_decided(store: Store) -> None:
    withheld, undecided, decided, late = suggested(shown=False), suggested(), suggested(), suggested(shown=False)
    accepted = Accepted(
        at=START,
        session_id=SESSION,
        suggestion_id=late.suggestion_id,
        accepted_chars=1,
        total_chars=1,
        visible_ms=1,
        inferred=True,
    )
    shown_later = Shown(at=START, session_id=SESSION, suggestion_id=late.suggestion_id, inferred=False)
    await store_events(store, [withheld, undecided, decided, late, rejected(withheld), rejected(decided), accepted, shown_later])
    infos = await store.read(lambda session: project_infos(session, Routes({("q", "completion"): "q-c@000001"})))
    assert [(i.project, i.suggestions, i.labelled, i.policy_version) for i in infos] == [
        ("p", 4, 2, "base"),
        ("q", 0, 0, "q-c@000001"),
    ]
