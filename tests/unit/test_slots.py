"""Which cache a prompt is given: never one that another adapter computed."""

from hypothesis import given
from hypothesis import strategies as st

from tacit.server.engine.slots import Slots, common_length

FIRST, SECOND = list(range(100)), list(range(500, 600))


def _use(slots: Slots, prompt: list[int], adapter: str | None) -> tuple[int, int]:
    """(slot, tokens reused)"""
    slot = slots.take(prompt, adapter)
    reused = len(slot.tokens)
    slot.tokens[:] = prompt
    slots.release(slot)
    return slot.index, reused


def test_the_slot_with_the_longest_common_beginning_is_taken() -> None:
    slots = Slots(3)
    first, _ = _use(slots, FIRST, None)
    second, _ = _use(slots, SECOND, None)
    assert first != second
    assert _use(slots, [*FIRST[:90], 7, 8], None) == (first, 90)
    assert _use(slots, [*SECOND, 9], None) == (second, 100)


def test_another_adapters_cache_is_not_reused() -> None:
    slots = Slots(1)
    _use(slots, FIRST, None)
    assert _use(slots, FIRST, "a@000001")[1] == 0
    assert _use(slots, FIRST, "a@000002")[1] == 0
    assert _use(slots, FIRST, "a@000002")[1] == 100


def test_a_small_overlap_does_not_cost_another_file_its_cache() -> None:
    slots = Slots(2)
    first, _ = _use(slots, FIRST, None)
    other, reused = _use(slots, [*FIRST[:3], *SECOND], None)
    assert other != first and reused == 0


def test_busy_slots_are_left_alone() -> None:
    slots = Slots(2)
    busy = slots.take(FIRST, None)
    busy.tokens[:] = FIRST
    assert slots.take(FIRST, None).index != busy.index


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.sampled_from([None, "a", "b"])), max_size=20))
def test_what_is_reused_was_computed_under_the_same_adapter(requests: list[tuple[list[int], str | None]]) -> None:
    slots = Slots(3)
    computed: dict[int, tuple[list[int], str | None]] = {}
    for prompt, adapter in requests:
        index, reused = _use(slots, prompt, adapter)
        if reused:
            assert computed[index][1] == adapter and computed[index][0][:reused] == prompt[:reused]
        computed[index] = (prompt, adapter)


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_common_length(first: list[int], second: list[int]) -> None:
    length = common_length(first, second)
    assert first[:length] == second[:length]
    assert length == min(len(first), len(second)) or first[length] != second[length]


def test_what_nobody_waits_for_costs_others_no_cache() -> None:
    slots = Slots(3)
    warm = [_use(slots, FIRST, None)[0], _use(slots, SECOND, "a@000001")[0]]
    used = set()
    for place in range(6):
        # Its own prompt, and one that begins like somebody's.
        for prompt, adapter in (([1000 + place] * 50, "a@000002"), ([*FIRST[:60], place], None)):
            slot = slots.take(prompt, adapter, background=True)
            assert len(slot.tokens) == 0
            slot.tokens[:] = prompt
            slots.release(slot)
            used.add(slot.index)
    assert len(used) == 1 and used.isdisjoint(warm)
    assert _use(slots, FIRST, None) == (warm[0], 100)
    assert _use(slots, SECOND, "a@000001") == (warm[1], 100)
