"""Turns of adapters in the engine: side by side with its own, never starved by another."""

import asyncio
import contextlib

from hypothesis import given
from hypothesis import strategies as st

from tacit.server.engine.turns import Turns


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_stream_without_gaps_does_not_starve_another_adapter() -> None:
    turns, order = Turns(), list[str]()
    first, second = asyncio.Event(), asyncio.Event()

    async def run(name: str, adapter: str | None, until: asyncio.Event) -> None:
        async with turns.of(adapter):
            order.append(name)
            await until.wait()

    tasks = [asyncio.create_task(run("a1", "a", first)), asyncio.create_task(run("a2", "a", first))]
    await settle()
    assert order == ["a1", "a2"], "one adapter's requests run side by side"
    tasks.append(asyncio.create_task(run("b1", "b", second)))
    await settle()
    tasks.append(asyncio.create_task(run("a3", "a", second)))
    await settle()
    assert order == ["a1", "a2"], "who comes later than another adapter waits behind it"
    first.set()
    await settle()
    assert order == ["a1", "a2", "b1"]
    second.set()
    await asyncio.gather(*tasks)
    assert order == ["a1", "a2", "b1", "a3"]


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    turns, entered = Turns(), asyncio.Event()

    async def run() -> None:
        async with turns.of("a"):
            entered.set()

    async with turns.of("a"):
        other = asyncio.create_task(turns.of(None).__aenter__())
        await settle()
        mine = asyncio.create_task(run())
        await settle()
        assert not entered.is_set()
        other.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await other
        await asyncio.wait_for(mine, 10)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 3), st.booleans()), max_size=20))
def test_never_two_adapters_at_once_and_everybody_ends(requests: list[tuple[str | None, int, bool]]) -> None:
    async def all_of_it() -> None:
        turns = Turns()
        inside: list[str | None] = []

        running = set[asyncio.Task[None] | None]()

        async def run(adapter: str | None, steps: int) -> None:
            async with turns.of(adapter):
                running.add(asyncio.current_task())
                inside.append(adapter)
                assert len(set(inside)) == 1
                for _ in range(steps):
                    await asyncio.sleep(0)
                inside.remove(adapter)

        tasks = []
        for adapter, steps, cancelled in requests:
            task = asyncio.create_task(run(adapter, steps))
            tasks.append(task)
            await asyncio.sleep(0)
            # Before it is in; those that are in may leave in the same moment.
            if cancelled and task not in running:
                task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        assert not [r for r in results if isinstance(r, AssertionError)]
        async with asyncio.timeout(30), turns.of("last"):
            pass

    asyncio.run(all_of_it())
