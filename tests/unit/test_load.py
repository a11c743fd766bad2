"""How it goes just now: who waits, percentiles, speed, what the cache had, learning's share; and the words for it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from tacit.cli.serving import _load_words, _say_status
from tacit.protocol.adapters import ProjectInfo, ServerLoad, ServerStatus
from tacit.protocol.completion import Timings
from tacit.protocol.errors import EngineUnavailable, Refused
from tacit.server.load import RECENT, Load, percentile
from tacit.server.metrics import Metrics
from tacit.server.runs import DAY_MS, share_of_day


def timings(
    first_ms: float = 100.0, *, prompt: int = 100, evaluated: int = 40, generated: int = 11, ms: float = 500.0
) -> Timings:
    return Timings(
        total_ms=first_ms + ms, prompt_tokens=prompt, prompt_evaluated=evaluated, prompt_ms=first_ms, generated=generated,
        generate_ms=ms,
    )  # fmt: skip


def value(metrics: Metrics, name: str) -> float:
    (line,) = [line for line in metrics.text().decode().splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def test_a_request_waits_until_its_first_token_and_is_gone_whatever_ends_it() -> None:
    load = Load()
    with load.asked() as first, load.asked():
        assert (load.waiting, load.answering) == (2, 0)
        first()
        first()
        assert (load.waiting, load.answering) == (1, 1)
    assert (load.waiting, load.answering) == (0, 0)
    with pytest.raises(KeyError), load.asked():
        raise KeyError
    assert (load.waiting, load.answering) == (0, 0)


def test_first_tokens_and_speed_are_of_the_last_answers() -> None:
    load = Load()
    assert load.told(0).first_token_p50_ms is None and load.told(0).tokens_per_second is None
    for _ in range(RECENT):
        load.answered(timings(9000, ms=50_000), completion=True)
    for number in range(RECENT):
        load.answered(timings(number + 1), completion=True)
    # An answer about an error has a prompt of another size: it is not looked at for the first token.
    load.answered(timings(50_000), completion=False)
    told = load.told(0.25)
    assert (told.recent, told.first_token_p50_ms, told.first_token_p95_ms) == (RECENT, RECENT / 2, RECENT * 0.95)
    # The first token is the prompt's work: 10 in half a second.
    assert told.tokens_per_second == pytest.approx(20) and told.training_share == 0.25


@pytest.mark.parametrize(
    ("values", "share", "found"), [((), 0.5, None), ((3.0,), 0.95, 3.0), ((1.0, 2.0), 0.5, 1.0), ((1.0, 2.0), 0.95, 2.0)]
)
def test_percentiles(values: tuple[float, ...], share: float, found: float | None) -> None:
    assert percentile(values, share) == found


def test_what_the_cache_had_is_counted_once_and_goes_on_after_a_restart_of_the_engine() -> None:
    metrics = Metrics()
    metrics.answered(timings(prompt=100, evaluated=40), completion=True)
    # A deadline that passed before the first token tells nothing of the prompt.
    metrics.answered(timings(0, prompt=100, evaluated=0, generated=0), completion=True)
    for _ in range(2):
        metrics.prefix_cache(None)
        assert (value(metrics, "tacit_prefix_cache_asked_tokens_total"), metrics.load.told(0).prefix_cache_hits) == (100, 0.6)
    assert value(metrics, "tacit_first_token_seconds_count") == 1

    counted = Metrics()
    for asked, hits in ((1000, 100), (1200, 250), (1200, 250), (50, 50)):
        # Most of its answers are cut before it tells of their prompt: what the streams say is not it.
        counted.answered(timings(prompt=100, evaluated=100), completion=True)
        counted.prefix_cache((asked, hits))
    assert value(counted, "tacit_prefix_cache_asked_tokens_total") == 1250
    assert value(counted, "tacit_prefix_cache_hit_tokens_total") == 300
    assert counted.load.told(0).prefix_cache_hits == 300 / 1250


async def test_two_who_look_at_once_count_it_once() -> None:
    """Editors, a person and Prometheus ask when they like, and the first answer may come last."""
    asked = 0

    async def slow_at_first() -> tuple[int, int]:
        nonlocal asked
        asked += 100
        counted = asked
        await asyncio.sleep(0.05 if counted == 100 else 0)
        return counted, 0

    metrics = Metrics()
    await asyncio.gather(metrics.look(slow_at_first), metrics.look(slow_at_first))
    assert metrics.load.cache_asked == 100 and metrics.load.told(0).prefix_cache_at is None
    await metrics.look(slow_at_first)
    assert metrics.load.cache_asked == 200


@pytest.mark.parametrize("how", ["hangs", "is gone"])
async def test_an_engine_that_does_not_say_is_not_waited_for(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What it said last is told, and since when."""
    again = asyncio.Event()
    asked = 0

    async def silent_at_second() -> tuple[int, int]:
        nonlocal asked
        asked += 1
        if asked == 2:
            if how == "is gone":
                raise EngineUnavailable("Gone.")
            await again.wait()
        return 100 * asked, 50 * asked

    metrics = Metrics()
    await metrics.look(silent_at_second)
    for _ in range(1 if how == "is gone" else 3):
        # Without an end of its own it would be waited for here for ever.
        await metrics.look(silent_at_second)
        told = metrics.load.told(0)
        assert (told.prefix_cache_hits, told.prefix_cache_at) == (0.5, metrics.load.looked_at) != (0.5, None)
    assert asked == 2, "one look at a time"
    _say_status(status(told), Console(highlight=False, soft_wrap=True))
    assert "known from before, as of 20" in (printed := capsys.readouterr().out) and "does not say just now" in printed
    again.set()
    await asyncio.sleep(0)
    await metrics.look(silent_at_second)
    assert metrics.load.told(0).prefix_cache_at is None and metrics.load.cache_asked >= 200


async def swap(error: Exception | None) -> str:
    if error is not None:
        raise error
    return "name"


async def test_swaps_and_the_queue_reach_prometheus_and_the_status_alike() -> None:
    metrics = Metrics()
    for error in (None, None, Refused("Damaged."), EngineUnavailable("Gone.")):
        if error is None:
            assert await metrics.swapping(swap(None)) == "name"
        else:
            with pytest.raises(type(error)):
                await metrics.swapping(swap(error))
    with metrics.load.asked(), metrics.load.asked() as begun:
        begun()
        metrics.queue(3)
    told = metrics.load.told(0)
    assert (told.swaps_done, told.swaps_refused, told.swaps_failed) == (2, 1, 1)
    assert 'tacit_adapter_swaps_total{outcome="done"} 2.0' in metrics.text().decode()
    found = [value(metrics, f"tacit_{name}") for name in ("waiting", "answering", "waiting_turns")]
    assert found == [1, 1, 3]


def test_learnings_share_is_of_one_day() -> None:
    hour = DAY_MS // 24
    assert share_of_day([], DAY_MS) == 0
    # Half of it before that day; one that goes on; one long ago.
    spans = [(-hour, hour), (DAY_MS - 2 * hour, DAY_MS), (-9 * hour, -2 * hour)]
    assert share_of_day(spans, DAY_MS) == pytest.approx(3 / 24)


def status(load: ServerLoad | None) -> ServerStatus:
    project = ProjectInfo.model_validate(
        {"project": "p", "policy_version": "p-c@000002", "debug_policy_version": "base", "suggestions": 1, "labelled": 1}
    )
    return ServerStatus(
        version="1", pid=1, home="/h", started_at=datetime.now(UTC) - timedelta(hours=1), engine="vllm", engine_ready=True,
        model="m", model_sha256="0" * 64, model_path="m", prefix_chars=1, suffix_chars=1, projects=(project,), next_run=None,
        running=None, last_run=None, events=0, requests=0, load=load,
    )  # fmt: skip


def test_the_status_says_it_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    load = ServerLoad(
        waiting=2, answering=3, recent=131, first_token_p50_ms=210.4, first_token_p95_ms=540, tokens_per_second=21.2,
        prefix_cache_hits=0.834, swaps_done=4, swaps_refused=1, training_share=0.1251,
    )  # fmt: skip
    found = status(load)
    assert ServerStatus.model_validate(json.loads(found.model_dump_json())) == found
    _say_status(found, Console(highlight=False, soft_wrap=True))
    printed = " ".join(capsys.readouterr().out.split())
    for words in (
        "queue 2 waiting for a first token, 3 being answered",
        "first token p50 210 ms, p95 540 ms; 21 tokens a second, of the last 131 completions",
        "cache 83% of the prompts' tokens were known from before",
        "adapters p-c@000002 in use; since the start 4 swaps, 1 refused",
        "training 12.5% of the last 24 hours",
    ):
        assert words in printed, printed


def test_what_is_not_known_is_not_said() -> None:
    assert _load_words(status(None)) == []
    assert [name for name, _ in _load_words(status(ServerLoad(waiting=0, answering=0)))] == ["queue", "adapters", "training"]
