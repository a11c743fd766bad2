"""What serving does while the learner trains: decided by memory; who waits, and until when. Pure."""

from datetime import UTC, datetime, timedelta

import pytest

from tacit.server.engine.gguf_header import Base
from tacit.server.engine.memory import (
    GIB,
    SHARE,
    Mode,
    Plan,
    Size,
    Wanted,
    at_night,
    elsewhere,
    on_cpu,
    on_gpu,
    size_of,
    stand_in_fits,
)
from tacit.server.waiting import ASKED_SECONDS, ASKED_TIMES, SOONEST, Asking, Stage, back_at


def only(*gibibytes: int) -> dict[int, int]:
    """A machine's GPUs; 0: not known."""
    return {number: has * GIB for number, has in enumerate(gibibytes) if has}


SMALL = Size(weights=3 * GIB, cache=GIB // 2, adapters=GIB // 2, file=GIB)
"""About the 1.5B."""
LARGE = Size(weights=15 * GIB, cache=GIB, adapters=GIB, file=5 * GIB)
"""About the 7B."""


@pytest.mark.parametrize(
    ("gpu", "size", "mode"),
    [
        (80, SMALL, "beside"),
        (24, SMALL, "beside"),
        (16, SMALL, "sleep"),
        (12, SMALL, "stop"),
        (80, LARGE, "beside"),
        (40, LARGE, "sleep"),
        (24, LARGE, "stop"),
        (0, SMALL, "stop"),
    ],
)
def test_on_a_gpu_memory_decides(gpu: int, size: Size, mode: Mode) -> None:
    assert on_gpu("auto", only(gpu), size).mode == mode


@pytest.mark.parametrize("gpu", range(4, 200, 4))
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_beside_leaves_the_learner_what_it_needs(gpu: int, size: Size) -> None:
    plan = on_gpu("auto", only(gpu), size)
    assert 0 < plan.share <= 0.9
    if plan.mode == "beside":
        left = (1 - plan.share) * gpu * GIB
        assert left >= size.weights + 4 * GIB and plan.share * gpu * GIB >= size.weights + size.cache


@pytest.mark.parametrize("wanted", ["beside", "sleep", "stop"])
def test_a_setting_decides_before_memory(wanted: Wanted) -> None:
    for gpu in (0, 8, 80):
        plan = on_gpu(wanted, only(gpu), SMALL)
        assert plan.mode == wanted and "while_learning" in plan.reason and 0 < plan.share <= 0.9


def test_a_model_on_two_gpus_needs_half_on_each_and_the_learner_all() -> None:
    assert on_gpu("auto", only(40), LARGE).mode == "sleep"
    assert on_gpu("auto", only(40, 40), LARGE, 2).mode == "beside"


@pytest.mark.parametrize(
    ("gpus", "count", "mode", "serving", "learning"),
    [
        # One for each: nobody rests, though neither has room for both.
        ((16, 16), 1, "beside", (0,), (1,)),
        # vLLM takes the largest, whatever its number.
        ((16, 80, 16), 1, "beside", (1,), (0, 2)),
        # A small one is nobody's: what decides is the one that both need.
        ((16, 8), 1, "sleep", (0,), (0,)),
        # vLLM has both: the smaller one decides.
        ((80, 20), 2, "beside", (0, 1), (0, 1)),
        ((80, 12), 2, "stop", (0, 1), (0, 1)),
        # The learner does not go where it has no room, if it has any elsewhere.
        ((80, 8), 2, "stop", (0, 1), (0,)),
        ((8, 8), 2, "stop", (0, 1), (0, 1)),
    ],
)
def test_of_several_gpus_the_learner_gets_those_that_vllm_does_not_use(
    gpus: tuple[int, ...], count: int, mode: Mode, serving: tuple[int, ...], learning: tuple[int, ...]
) -> None:
    plan = on_gpu("auto", only(*gpus), SMALL, count)
    assert (plan.mode, plan.serving, plan.learning) == (mode, serving, learning)
    if not set(serving) & set(learning):
        assert plan.share == SHARE and "for itself" in plan.reason
        # Told to rest, it rests, and the learner has the more of them.
        told = on_gpu("stop", only(*gpus), SMALL, count)
        assert told.mode == "stop" and set(told.learning) == {*serving, *learning}
    assert at_night(plan, None, SMALL).learning == learning and at_night(plan, 0, SMALL).learning == learning


def test_one_gpu_is_named_to_nobody() -> None:
    assert on_gpu("auto", only(16), SMALL).learning == () == on_gpu("auto", {}, SMALL).serving


def test_weights_that_find_no_room_in_memory_do_not_sleep_there() -> None:
    asleep = Plan("sleep", "")
    assert at_night(asleep, 8 * GIB, SMALL).mode == "sleep" and at_night(asleep, None, SMALL).mode == "sleep"
    assert at_night(asleep, 4 * GIB, SMALL).mode == "stop"
    assert at_night(Plan("beside", ""), 0, SMALL).mode == "beside"


def test_on_a_processor_both_work_unless_ending_one_makes_the_room() -> None:
    held = 5 * GIB
    assert on_cpu("auto", None, SMALL, held).mode == "beside"
    assert on_cpu("auto", 8 * GIB, SMALL, held).mode == "beside"
    assert on_cpu("auto", 3 * GIB, SMALL, held).mode == "stop"
    # That would not help either.
    assert on_cpu("auto", 3 * GIB, SMALL, GIB // 4).mode == "beside"
    assert on_cpu("sleep", None, SMALL, held).mode == "stop" and on_cpu("beside", 0, SMALL, held).mode == "beside"
    assert elsewhere().mode == "beside"


def test_a_stand_in_needs_its_own_room_besides() -> None:
    assert stand_in_fits("stop", 5 * GIB, SMALL) and not stand_in_fits("sleep", 5 * GIB, SMALL)
    assert stand_in_fits("sleep", 8 * GIB, SMALL) and stand_in_fits("sleep", None, LARGE)
    assert not stand_in_fits("stop", 2 * GIB, SMALL)


def test_sizes_are_counted_from_the_models_shapes() -> None:
    shapes = {
        "token_embd.weight": (100, 8),
        "blk.0.attn_q.weight": (8, 8),
        "blk.0.attn_k.weight": (4, 8),
        "blk.0.attn_v.weight": (4, 8),
        "blk.0.attn_k.bias": (4,),
        "blk.0.attn_norm.weight": (8,),
    }
    size = size_of(Base("qwen2", shapes, 2, 1), 1234, tokens=10)
    assert size.weights == 2 * (800 + 64 + 32 + 32 + 4 + 8) and size.file == 1234
    assert size.cache == 2 * (4 + 4) * 10
    assert size.adapters == 2 * 4 * 16 * ((8 + 8) + (4 + 8) + (4 + 8))


def test_one_request_is_nobody_waiting_and_several_in_a_row_are() -> None:
    often = Asking()
    assert [often.asked(second) for second in range(ASKED_TIMES)] == [*[False] * (ASKED_TIMES - 1), True]
    seldom = Asking()
    assert not any(seldom.asked(number * ASKED_SECONDS / (ASKED_TIMES - 2)) for number in range(50))


NOW = datetime(2026, 3, 1, 3, 30, tzinfo=UTC)
HALF = timedelta(minutes=30)


def test_back_is_what_the_last_night_took_or_what_is_left_of_this_one() -> None:
    began = NOW - HALF
    assert back_at(NOW, began, None, None) is None
    assert back_at(NOW, began, 3600.0, None) == NOW + HALF
    # A quarter done in ten minutes: thirty are left.
    stage = Stage("training", NOW - timedelta(minutes=10), 5, 20)
    assert back_at(NOW, began, None, stage) == NOW + HALF
    assert back_at(NOW, began, 1900.0, stage) == NOW + HALF and back_at(NOW, began, 7200.0, stage) == NOW + 3 * HALF
    # It takes longer than it did: not in the past, and soon.
    assert back_at(NOW, began, 60.0, Stage("training", began, 0, 20)) == NOW + SOONEST
