"""When completion speaks: what needs no call, which calls are used again, what is asked ahead, and why it is silent."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from completion_bench import URI, Bench, completion_bench

from tacit.protocol.events import Suggested
from tacit.protocol.show_policy import PRIORS, features_of, written


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with completion_bench(tmp_path) as one:
        yield one


def suggested(bench: Bench) -> list[dict[str, Any]]:
    return [event for event in bench.events() if event["kind"] == "suggested"]


async def until(bench: Bench, calls: int) -> None:
    """So many calls have reached the server."""
    async with asyncio.timeout(20):
        while len(bench.server.asked) < calls:
            await asyncio.sleep(0.001)


async def landed(bench: Bench) -> None:
    """No call is under way."""
    async with asyncio.timeout(20):
        while bench.completion._flight is not None:
            await asyncio.sleep(0.001)


async def test_three_keys_that_fit_are_one_call(bench: Bench) -> None:
    bench.server.gate.clear()
    first = await bench.begin()
    bench.edit(4, "f")
    second = asyncio.create_task(bench.ask(5))
    await asyncio.sleep(0)
    bench.edit(5, "o")
    third = asyncio.create_task(bench.ask(6))
    await asyncio.sleep(0)
    assert (await first, await second) == (None, None), "they are answered while the model is at work"
    bench.server.gate.set()
    [item] = (await third).items
    assert (item.insert_text, item.range.start.character) == ("o(1)", 6)
    counters = bench.completion.counters
    assert (counters.model_calls, counters.recycled, counters.cancelled) == (1, 2, 0)
    [record] = suggested(bench)
    assert (record["text"], record["context"]["prefix"], record["typed_before"]) == ("foo(1)", "x = ", 2)
    # What nobody had seen when it was typed is no hit; what is taken counts from the suggestion's start.
    bench.edit(6, "o(1)")
    [accepted] = [event for event in bench.events() if event["kind"] == "accepted"]
    assert (accepted["accepted_chars"], accepted["total_chars"]) == (6, 6)


async def test_what_was_typed_before_it_was_shown_is_not_typed_through(bench: Bench) -> None:
    bench.server.gate.clear()
    await bench.begin()
    bench.edit(4, "f")
    second = asyncio.create_task(bench.ask(5))
    await asyncio.sleep(0)
    bench.server.gate.set()
    assert await second is not None
    bench.edit(5, "z")
    assert [event["kind"] for event in bench.events()] == ["session_started", "suggested", "shown", "rejected"]


async def test_brackets_that_the_editor_closes_are_part_of_what_is_typed(bench: Bench) -> None:
    bench.server.text = "(1)"
    bench.server.gate.clear()
    await bench.begin()
    bench.edit(4, "()")
    second = asyncio.create_task(bench.ask(5))
    await asyncio.sleep(0)
    bench.server.gate.set()
    [item] = (await second).items
    assert (item.insert_text, item.range.start.character, item.range.end.character) == ("1)", 5, 6)
    assert len(bench.server.asked) == 1


async def test_what_was_taken_is_not_shown_at_another_place_under_its_name(bench: Bench) -> None:
    bench.server.gate.set()
    [item] = (await (await bench.begin())).items
    text = str(item.insert_text)
    bench.edit(4, text)
    cache, known = bench.completion._cache, suggested(bench)[0]["suggestion_id"]
    assert known not in {draft.suggestion_id for draft in cache.values()}


@pytest.mark.parametrize(
    ("start", "text", "end"), [(0, "y", None), (3, "", 4), (8, "!", None)], ids=["before", "backspace", "after"]
)
async def test_a_call_that_cannot_fit_any_more_is_stopped(bench: Bench, start: int, text: str, end: int | None) -> None:
    bench.server.gate.clear()
    first = await bench.begin()
    bench.edit(start, text, end)
    assert await first is None
    await asyncio.sleep(0)
    assert bench.completion.counters.cancelled == 1


@pytest.mark.parametrize("keys", [[], ["f"], ["f", "o"]], ids=["no-key", "a-key", "two-keys"])
async def test_a_call_that_nobody_asks_for_again_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch, keys: list[str]) -> None:
    """Soon after a cancel; where a key came that it still fits, later."""
    monkeypatch.setattr("tacit.lsp.completion.CANCELLED_S", 60.0 if keys else 0.01)
    monkeypatch.setattr("tacit.lsp.completion.ORPHAN_S", 0.01 if keys else 60.0)
    bench.server.gate.clear()
    request = await bench.begin()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    for at, key in enumerate(keys, 4):
        bench.edit(at, key)
    assert bench.completion.counters.cancelled == 0, "the editor may ask again in a moment"
    await landed(bench)
    await asyncio.sleep(0)
    assert bench.completion.counters.cancelled == 1


async def test_a_key_before_its_cancel_keeps_the_call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.lsp.completion.CANCELLED_S", 0.0)
    bench.server.gate.clear()
    request = await bench.begin()
    bench.edit(4, "f")
    request.cancel()
    await asyncio.sleep(0.01)
    assert bench.completion.counters.cancelled == 0


async def test_a_cancelled_request_leaves_its_call_to_the_next_one(bench: Bench) -> None:
    bench.server.gate.clear()
    request = await bench.begin()
    request.cancel()
    bench.edit(4, "f")
    second = asyncio.create_task(bench.ask(5))
    await asyncio.sleep(0)
    bench.server.gate.set()
    [item] = (await second).items
    assert (item.insert_text, len(bench.server.asked)) == ("oo(1)", 1)


async def test_away_and_back_is_the_same_suggestion(bench: Bench) -> None:
    bench.edit(len("x = \ny = 2\n"), "a\nb\nc\n")
    [first] = (await bench.ask()).items
    bench.server.text = "other"
    end = len(bench.document.text)
    await bench.ask(end)
    bench.edit(end, "z = 3\n")
    [again] = (await bench.ask()).items
    assert (again.insert_text, again.command) == ("foo(1)", first.command)
    assert (bench.completion.counters.cached, len(bench.server.asked)) == (1, 2)
    name = first.command.arguments[0]
    mine = [event["kind"] for event in bench.events() if event.get("suggestion_id") == name and event["kind"] != "settled"]
    assert mine == ["suggested", "shown", "rejected", "shown"]
    bench.edit(4, "foo(1)")
    kinds = [event["kind"] for event in bench.events() if event.get("suggestion_id") == name]
    assert kinds[-1] == "accepted"


async def test_after_deleting_some_of_it_the_model_is_asked_again(bench: Bench) -> None:
    await bench.ask()
    bench.edit(4, "f")
    bench.edit(5, "o")
    bench.edit(5, "", 6)
    bench.server.text = "ine"
    [item] = (await bench.ask(5)).items
    assert (item.insert_text, len(bench.server.asked)) == ("ine", 2)


async def test_a_slip_of_a_finger_brings_it_back(bench: Bench) -> None:
    [first] = (await bench.ask()).items
    bench.edit(4, "f")
    bench.edit(5, "x")
    bench.edit(5, "", 6)
    [again] = (await bench.ask(5)).items
    assert (again.insert_text, again.command, len(bench.server.asked)) == ("oo(1)", first.command, 1)


async def test_what_was_sent_away_does_not_come_back_by_itself(bench: Bench) -> None:
    [first] = (await bench.ask()).items
    bench.feedback.dismissed(first.command.arguments[0])
    assert await bench.ask() is None
    assert (bench.said[-1], len(bench.server.asked)) == ("quiet", 1)
    assert await bench.ask(invoked=True) is not None


async def test_what_follows_is_asked_ahead_and_answered_without_a_call(bench: Bench) -> None:
    bench.settings = replace(bench.settings, prefetch=True, eagerness="eager")
    bench.server.text = "foo(1)"
    # Sure of itself, and quick.
    [first] = (await bench.ask()).items
    bench.server.text = "\ny = foo(2)"
    await until(bench, 2)
    await landed(bench)
    assert bench.server.asked[1]["context"]["prefix"] == "x = foo(1)"
    assert len(suggested(bench)) == 1, "nobody has seen it"
    bench.edit(4, "foo(1)")
    [second] = (await bench.ask(10)).items
    assert second.insert_text == "\ny = foo(2)"
    counters = bench.completion.counters
    assert (counters.prefetched, counters.cached) == (1, 1)
    assert suggested(bench)[1]["context"]["prefix"] == "x = foo(1)"
    assert first.command != second.command


async def test_a_prefetch_gives_way(bench: Bench) -> None:
    bench.settings = replace(bench.settings, prefetch=True, eagerness="eager")
    await bench.ask()
    bench.server.gate.clear()
    await until(bench, 2)
    bench.edit(4, "z")
    await asyncio.sleep(0)
    assert bench.completion.counters.cancelled == 1
    bench.server.gate.set()
    assert await bench.ask(5) is not None
    assert bench.server.asked[-1]["context"]["prefix"] == "x = z"


async def test_unlikely_ones_are_withheld_with_their_chance_and_a_reason(bench: Bench, tmp_path: Path) -> None:
    never = replace(PRIORS, intercept=-20.0, version=1)
    (tmp_path / "show_policy.json").write_text(written(never))
    assert await bench.ask() is None
    assert bench.said == ["quiet"]
    [record] = suggested(bench)
    assert (record["shown"], record["withheld_reason"], record["p_show"]) == (False, "quiet", 0.02)
    # The learner sees what the decision was made on.
    assert never.p_kept(features_of(Suggested.model_validate(record))) == pytest.approx(record["p_kept"])
    # The same place again: neither another call nor another draw of the exploring dice.
    bench.chance = 0.0
    assert await bench.ask() is None
    assert (len(bench.server.asked), len(suggested(bench))) == (1, 1)
    assert await bench.ask(invoked=True) is not None


async def test_another_eagerness_counts_from_the_next_request_on(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "show_policy.json").write_text(written(replace(PRIORS, intercept=-20.0)))
    assert await bench.ask() is None
    bench.settings = replace(bench.settings, eagerness="eager")
    # At the same place, of the same draw: only the decision is another one.
    assert await bench.ask() is not None
    assert (len(bench.server.asked), len(suggested(bench))) == (1, 1)
    # And the other way round; what the dice would say is not asked for what is recorded already.
    bench.chance = 0.0
    bench.settings = replace(bench.settings, eagerness="quiet")
    bench.edit(4, "!")
    bench.edit(4, "", end=5)
    assert await bench.ask() is None
    assert bench.said[-1] == "quiet" and len(bench.server.asked) == 1


async def test_now_and_then_an_unlikely_one_is_shown(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "show_policy.json").write_text(written(replace(PRIORS, intercept=-20.0)))
    bench.chance = 0.019
    assert await bench.ask() is not None
    [record] = suggested(bench)
    assert (record["shown"], record["p_show"]) == (True, 0.02)
    assert bench.completion.counters.explored == 1


async def test_in_the_middle_of_a_line_only_by_hand(bench: Bench) -> None:
    assert await bench.ask(2) is None
    assert (bench.said, bench.server.asked) == (["mid_line"], [])
    assert await bench.ask(2, invoked=True) is not None


async def test_by_hand_there_are_several_each_with_its_record(bench: Bench) -> None:
    texts = iter(["foo(1)", "foo(1)", "bar(2)", "baz(3)"])
    bench.server.says = lambda asked: next(texts)
    items = (await bench.ask(invoked=True)).items
    assert [item.insert_text for item in items] == ["foo(1)", "bar(2)", "baz(3)"]
    assert {(e["text"], e["shown"]) for e in suggested(bench)} == {("foo(1)", True), ("bar(2)", False), ("baz(3)", False)}
    assert [asked["temperature"] for asked in bench.server.asked] == [None, 0.8, 0.8, 0.8]
    bench.edit(4, "bar(2)")
    told = [(e["kind"], e["suggestion_id"]) for e in bench.events() if e["kind"] in ("rejected", "accepted", "shown")]
    names = [item.command.arguments[0] for item in items]
    assert told == [("shown", names[0]), ("rejected", names[0]), ("shown", names[1]), ("accepted", names[1])]


async def test_a_key_between_the_answer_and_its_delivery_counts(bench: Bench) -> None:
    bench.server.gate.clear()
    request = await bench.begin()
    bench.server.gate.set()
    while bench.completion._flight is not None:
        await asyncio.sleep(0)
    assert not request.done(), "the answer is here and not delivered"
    bench.edit(4, "z")
    assert await request is None
    assert suggested(bench) == []


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_typed_nothing_stale_is_shown(bench: Bench, seed: int) -> None:
    """Keys faster and slower than the model, slips, backspaces, jumps, accepts, cancels: what comes fits the text as it is."""
    dice = random.Random(seed)
    bench.settings = replace(bench.settings, prefetch=True, eagerness="eager")
    bench.completion._clock.scale = 20.0
    bench.server.delay = lambda: dice.choice((0.0, 0.0, 0.002, 0.01))
    meant: set[str] = set()

    def says(asked: dict[str, Any]) -> str:
        answer = "".join(dice.choice("ab(") for _ in range(dice.randint(1, 5)))
        meant.add(asked["context"]["prefix"] + answer)
        return answer

    bench.server.says = says
    at, shown = 4, 0
    asking: list[tuple[int, int, asyncio.Task[Any]]] = []

    async def ask(offset: int, version: int) -> Any:
        answer = await bench.ask(offset)
        if answer is not None:
            [item] = answer.items
            # Nothing can run between this and the editor's getting it but what would run before it reads the answer.
            assert bench.document.version == version
            assert bench.document.text[:offset] + item.insert_text in meant
        return answer

    for _ in range(150):
        asking.append((at, bench.document.version, asyncio.create_task(ask(at, bench.document.version))))
        await asyncio.sleep(dice.choice((0.0, 0.0, 0.001, 0.005, 0.02)))
        newest = asking[-1][2]
        choice = dice.random()
        done = newest.done() and not newest.cancelled() and newest.result() is not None
        shown += done
        if done and choice < 0.6:
            item = newest.result().items[0]
            taken = item.insert_text[: dice.choice((1, 1, 1, 9))]
            bench.edit(at, taken)
            at += len(taken)
        elif choice < 0.8:
            bench.edit(at, dice.choice("ab("))
            at += 1
        elif choice < 0.9 and at > 5:
            bench.edit(at - 1, "", at)
            at -= 1
        elif choice < 0.95:
            newest.cancel()
        else:
            bench.edit(0, "#")
            at += 1
    ended = await asyncio.gather(*(task for _, _, task in asking), return_exceptions=True)
    assert [one for one in ended if isinstance(one, Exception)] == []
    assert shown > 5
    counters = bench.completion.counters
    assert counters.requests == 150 and counters.model_calls < 150


async def test_a_fixed_delay_is_nothing_but_a_delay(bench: Bench) -> None:
    bench.settings = replace(bench.settings, debounce_ms=0, prefetch=True)
    bench.server.gate.clear()
    first = await bench.begin()
    bench.edit(4, "f")
    assert await first is None
    await asyncio.sleep(0)
    assert bench.completion.counters.cancelled == 1
    bench.server.gate.set()
    assert await bench.ask(2) is not None, "also in the middle of a line"
    counters = bench.completion.counters
    assert (counters.recycled, counters.cached, counters.prefetched) == (0, 0, 0)


async def test_a_newer_request_takes_the_place_of_one_that_waits(bench: Bench) -> None:
    bench.completion._clock.scale = 1.0
    older = asyncio.create_task(bench.ask())
    await asyncio.sleep(0)
    newer = asyncio.create_task(bench.ask(invoked=True))
    assert await older is None
    assert await newer is not None
    assert bench.completion.counters.cancelled == 0, "the first never reached the model"


async def test_the_file_of_weights_may_be_anything(bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "show_policy.json").write_text(json.dumps({"weights": {}}))
    assert await bench.ask() is not None
    assert "cannot be used" in caplog.text
    assert URI in bench.completion._documents
