"""A shadow: what it is refused for, at which places it is drawn, what it becomes, and what a restart finds of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from published_adapter import PROJECT
from test_adapters import BASE, FakeEngine, write

from tacit.learner.gate.shadow import watch
from tacit.learner.shadow import APART, chosen, found_again, place_of
from tacit.protocol.adapters import CanaryJudgement, ShadowAnswer, ShadowDraw, ShadowPlace
from tacit.protocol.completion import PROMPT_FORMAT, CompleteResponse, Context, Generation, Timings
from tacit.protocol.errors import Conflict, EngineUnavailable
from tacit.protocol.events import Accepted, Event, Rejected, Settled, Suggested, SuggestionRecord, new_id
from tacit.protocol.home import Home
from tacit.server.adapters import Adapters
from tacit.server.canary import MOST_FAILURES
from tacit.server.settings import Settings
from tacit.server.store.store import Store

WANTED = 40
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SESSIONS = [f"session-{number}" for number in range(200)]


# The verdict.


def places(count: int = WANTED, *, gain: float | None = 0.0, chars: int = 20, ms: float = 400.0) -> list[ShadowPlace]:
    """Where the candidate is so, and what serves writes 20 characters in 400 ms; gains spread by 0.3."""
    draw = Random(1)
    return [
        ShadowPlace(
            suggestion_id=f"suggestion-{number:04d}",
            gain=None if gain is None else max(-1.0, min(1.0, gain + draw.gauss(0, 0.3))),
            candidate=ShadowDraw(chars=chars, tokens=5, ms=ms * draw.uniform(0.8, 1.25)),
            live=ShadowDraw(chars=20, tokens=5, ms=400 * draw.uniform(0.8, 1.25)),
        )
        for number in range(count)
    ]


def test_one_that_is_alike_goes_on_after_as_many_places_as_are_wanted_and_not_before() -> None:
    found = places()
    assert {watch(found[:count], WANTED).verdict for count in range(WANTED)} == {"undecided"}
    assert watch(found, WANTED).verdict == "canary"


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({"gain": -0.35}, "farther from what was written"),
        ({"chars": 0}, "says nothing"),
        ({"ms": 1600.0}, "slower"),
    ],
)
def test_what_is_clearly_worse_is_refused_before_the_last_place(what: dict[str, float], why: str) -> None:
    found = places(**what)  # type: ignore[arg-type]
    refused = [count for count in range(WANTED) if watch(found[:count], WANTED).verdict == "rollback"]
    assert refused and why in watch(found[: refused[0]], WANTED).message


def test_silence_pays_nowhere() -> None:
    # Where nobody wrote what was shown, silence is rewarded more than a wrong text: that alone would let it through.
    assert watch(places(12, gain=0.1, chars=0), WANTED).verdict == "rollback"
    assert watch(places(12, gain=None, chars=0), WANTED).verdict == "rollback"


def test_one_that_says_less_often_nothing_and_is_faster_is_not_refused() -> None:
    better = [p.model_copy(update={"candidate": p.live, "live": p.live.model_copy(update={"chars": 0})}) for p in places()]
    assert watch(better, WANTED).verdict == "canary"
    assert watch(places(ms=100.0), WANTED).verdict == "canary"


# Which places, and what is made of them.


def record(
    minute: float = 0, *, path: str = "a.py", session: str = "session-one", written: str = "return total\n",
    text: str = "return 0", policy: str = "base", taken: bool = False, horizon: str = "2m", prompt_format: int = PROMPT_FORMAT,
) -> SuggestionRecord:  # fmt: skip
    context = Context(path=path, language="python", prefix="def f():\n    ", suffix="")
    source = {"session_id": session, "suggestion_id": new_id(), "at": AT + minute * MINUTE}
    suggested = Suggested(
        **source, project=PROJECT, context=context, context_sha256=context.digest(), text=text, trigger="automatic", p_show=1,
        shown=True, latency_ms=1, engine_ms=1,
        generation=Generation(tokens=(16,), logprobs=(-0.1,), temperature=0.3, seed=1, policy_version=policy, model="0" * 64,
                              finish_reason="eos", prompt_format=prompt_format),
    )  # fmt: skip
    did: Event = (
        Accepted(**source, accepted_chars=len(text), total_chars=len(text), visible_ms=900, inferred=True)
        if taken
        else Rejected(**source, reason="typed_over", visible_ms=900)
    )
    settled = Settled(**source, horizon=horizon, elapsed_ms=130_000, span_text=text if taken else None, settled_text=written)  # type: ignore[arg-type]
    return SuggestionRecord(suggestion=suggested, events=(did, settled))


def ids(records: list[SuggestionRecord]) -> list[str]:
    return [one.suggestion.suggestion_id for one in records]


def test_settled_places_of_what_serves_apart_from_each_other_oldest_first() -> None:
    near = APART / MINUTE
    first, again, later = record(0), record(near / 2), record(near)
    elsewhere, other_session = record(1, path="b.py"), record(2, session="session-two")
    unusable = [
        record(100, policy="other@000001"),
        record(100, horizon="close"),
        record(100, written=" \n"),
        record(100, prompt_format=PROMPT_FORMAT - 1),
    ]
    found = chosen([*unusable, later, other_session, again, first, elsewhere], [], "base")
    assert ids(found) == ids([first, elsewhere, other_session, later])
    # What has been drawn keeps its neighbours away for good.
    assert ids(chosen([first, again, later], ids([again]), "base")) == []
    assert ids(chosen([first, elsewhere], ids([first]), "base")) == ids([elsewhere])


def answer(text: str, ms: float = 100.0) -> CompleteResponse:
    return CompleteResponse(
        request_id="shadow",
        text=text,
        generation=record().suggestion.generation,
        timings=Timings(total_ms=ms, prompt_tokens=9, prompt_evaluated=9, prompt_ms=1, generated=1, generate_ms=ms),
        snippets=0,
    )


def test_it_gains_by_what_was_written_and_only_where_nobody_was_told() -> None:
    right, wrong = answer("return total", 80), answer("return 0", 120)
    found = place_of(record(), ShadowAnswer(candidate=right, live=wrong))
    assert found.gain is not None and found.gain > 0.2
    assert (found.candidate.chars, found.candidate.ms, found.live.ms) == (12, 80, 120)
    swapped = place_of(record(), ShadowAnswer(candidate=wrong, live=right))
    assert swapped.gain == pytest.approx(-found.gain)
    # Taken: what stands there is what was shown.
    assert place_of(record(taken=True), ShadowAnswer(candidate=wrong, live=right)).gain is None


def test_each_text_is_compared_with_as_many_lines_as_it_has() -> None:
    place = record(written="x = 1\ny = 2\nz = 3\n", text="x = 1")
    assert found_again(place, "x = 1\ny = 2") > found_again(place, "x = 1") > found_again(place, "x = 7") > -0.26
    assert found_again(place, " \n") == 0 > found_again(place, "quite another thing")


# Its life in the server.


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    opened = Store.open(home)
    yield opened
    opened.close()


async def attached(home: Home, store: Store, **settings: object) -> Adapters:
    adapters = Adapters(home, Settings.model_validate({"canary_share": 0.25, **settings}), store)
    await adapters.attach(FakeEngine(), BASE)
    return adapters


async def shadowed(home: Home, store: Store, **settings: object) -> tuple[Adapters, str, str]:
    """(adapters, what serves, the shadow)"""
    adapters = await attached(home, store, **settings)
    live, new = write(home, 1), write(home, 2)
    await adapters.promote(live)
    await adapters.try_out(new)
    return adapters, live, new


def told(adapter: str, verdict: str, count: int = 3) -> CanaryJudgement:
    return CanaryJudgement(
        project=PROJECT, task="completion", adapter=adapter, verdict=verdict, message="Because.", places=tuple(places(count))
    )


def routes(adapters: Adapters) -> set[str]:
    return {adapters.routed(PROJECT, "completion", session) for session in SESSIONS}


async def state(adapters: Adapters, name: str) -> str:
    return next(info.state for info in await adapters.infos() if info.name == name)


async def test_nobody_is_answered_by_it_and_a_restart_keeps_what_is_known(home: Home, store: Store) -> None:
    adapters, live, new = await shadowed(home, store)
    assert routes(adapters) == {live} and await state(adapters, new) == "shadow"
    await adapters.judge(told(new, "undecided"))
    again = await attached(home, store)
    assert routes(again) == {live} and await state(again, new) == "shadow"
    (found,) = again.tried_now()
    assert (found.state, len(found.places), found.wanted_places) == ("shadow", 3, 40)
    with again.shadowing(PROJECT, "completion", new) as beside:
        assert beside == live


async def test_it_becomes_a_canary_whose_feedback_counts_from_then_on(home: Home, store: Store) -> None:
    adapters, live, new = await shadowed(home, store)
    (before,) = adapters.tried_now()
    with pytest.raises(Conflict, match="not at that point"):
        await adapters.judge(told(new, "promote"))
    found = await adapters.judge(told(new, "canary", 40))
    assert found.state == "running" and found.started_at > before.started_at and len(found.places) == 40
    assert routes(adapters) == {live, new} == routes(await attached(home, store))
    assert await state(adapters, new) == "canary"
    with pytest.raises(Conflict, match="not at that point"):
        await adapters.judge(told(new, "canary"))
    with pytest.raises(Conflict, match="no shadow"), adapters.shadowing(PROJECT, "completion", new):
        pass


@pytest.mark.parametrize("how", ["judged", "by hand", "failing", "another"])
async def test_what_ends_it_leaves_what_serves(how: str, home: Home, store: Store) -> None:
    adapters, live, new = await shadowed(home, store)
    if how == "judged":
        await adapters.judge(told(new, "rollback"))
    elif how == "by hand":
        assert await adapters.rollback(PROJECT, "completion") == live
    elif how == "failing":
        for _ in range(MOST_FAILURES):
            await adapters.answered(new, EngineUnavailable("It died."))
    else:
        await adapters.try_out(write(home, 3))
    ends = {"judged": "rolled_back", "by hand": "withdrawn", "failing": "rolled_back", "another": "replaced"}
    assert {found.adapter: found.state for found in await adapters.canaries()}[new] == ends[how]
    assert routes(adapters) == {live} and await state(adapters, new) == "retired"


@pytest.mark.parametrize("settings", [{"shadow_places": 0}, {"streams": 1}])
async def test_turned_off_it_is_a_canary_at_once(settings: dict[str, int], home: Home, store: Store) -> None:
    adapters, live, new = await shadowed(home, store, **settings)
    assert routes(adapters) == {live, new} and await state(adapters, new) == "canary"
