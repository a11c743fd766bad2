"""Work that nobody waits for: never begun while somebody does, broken off when somebody comes."""

import asyncio

import pytest

from tacit.protocol.errors import Conflict
from tacit.server.idle import Idle


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def answer() -> str:
    return "done"


async def test_not_while_somebody_waits_nor_soon_after() -> None:
    clock = Clock()
    idle = Idle(10, clock)
    assert await idle.do(answer()) == "done"
    with idle.wanted(), pytest.raises(Conflict):
        await idle.do(answer())
    clock.now += 9
    with pytest.raises(Conflict):
        await idle.do(answer())
    clock.now += 1
    assert await idle.do(answer()) == "done"


async def test_broken_off_at_once_and_cleaned_up_before_it_is_said() -> None:
    idle = Idle(0)
    begun, ended = asyncio.Event(), False

    async def long() -> None:
        nonlocal ended
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended = True

    work = asyncio.create_task(idle.do(long()))
    await begun.wait()
    with idle.wanted():
        with pytest.raises(Conflict, match="wanted"):
            await work
        assert ended
    assert await idle.do(answer()) == "done"


async def test_one_at_a_time_and_errors_are_its_own() -> None:
    idle = Idle(0)
    begun, go = asyncio.Event(), asyncio.Event()

    async def failing() -> None:
        begun.set()
        await go.wait()
        raise ValueError("its own")

    work = asyncio.create_task(idle.do(failing()))
    await begun.wait()
    with pytest.raises(Conflict):
        await idle.do(answer())
    go.set()
    with pytest.raises(ValueError, match="its own"):
        await work
    assert await idle.do(answer()) == "done"


async def test_who_asked_and_went_away_leaves_nothing_behind() -> None:
    idle = Idle(0)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def long() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    work = asyncio.create_task(idle.do(long()))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await asyncio.wait_for(ended.wait(), 60)
    assert await idle.do(answer()) == "done"
