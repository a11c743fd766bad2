"""From records of debugging answers to samples: every draw, its reward, y* in the answer's own form, the masks, the advantage.

The vocabulary is one token a character, so that offsets in texts and in tokens are the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isclose
from typing import Any

import pytest

from tacit.learner.account import rewarded
from tacit.learner.baseline import advantages
from tacit.learner.debug_record import evidence_of
from tacit.learner.debug_samples import samples_of, verdict_of
from tacit.learner.reward_debug import FAILS, PASSES, RAISES, Verdict, correctness
from tacit.learner.samples import Sample, split
from tacit.learner.soundness import drawn_here
from tacit.protocol.chat_prompt import QWEN_CHAT, prompt_tokens
from tacit.protocol.completion import Context, Generation
from tacit.protocol.debugging import CHAT_PROMPT_FORMAT, Check, Draw, Message
from tacit.protocol.events import Accepted, DebugRecord, Event, Rated, Reran, Settled, Suggested, SuggestionRecord, Undone
from tacit.protocol.fix_prompt import asked, code_of

MODEL = "0" * 64
SOURCE: dict[str, Any] = {"at": datetime(2026, 11, 21, 9, tzinfo=UTC), "session_id": "session-1", "suggestion_id": "suggestion-1"}
HEAD, WRONG, RIGHT, TAIL = (
    "def mean(values):\n    total = sum(values)\n",
    "    return total / 2\n",
    "    return total / len(values)\n",
    "",
)
REGION = HEAD + WRONG + TAIL
ABOVE, BELOW = "import math\n\n\n", "\n\nprint(mean([1]))\n"
TRACE = 'Traceback (most recent call last):\n  File "stats.py", line 2, in mean\n    x = 1\nAssertionError: 1 != 2\n'
SAYS = "The sum is divided by two.\n"


def encode(text: str) -> list[int]:
    return [ord(character) for character in text]


def decode(tokens: Sequence[int]) -> str:
    return "".join(map(chr, tokens))


def draw(text: str, *failed: str, shown: bool = False, **generation: Any) -> Draw:
    tokens = tuple(encode(text))
    told: dict[str, Any] = {
        "tokens": tokens, "logprobs": (-0.1,) * len(tokens), "temperature": 0.3, "seed": 1, "policy_version": "base",
        "model": MODEL, "finish_reason": "stop_rule", "prompt_format": CHAT_PROMPT_FORMAT, **generation,
    }  # fmt: skip
    checks = tuple(Check.model_validate({"name": name, "result": "failed", "note": "No."}) for name in failed)
    messages = (Message(role="system", text="Help."), Message(role="user", text=f"Look.\n\n{asked('python', REGION, 'mean')}"))
    return Draw(messages=messages, text=text, generation=Generation(**told), checks=checks, shown=shown)


def answer(code: str, says: str = SAYS) -> str:
    return f"{says}```python\n{code}```\n"


def record(*events: Event, draws: Sequence[Draw], text: str = "", **debug: Any) -> SuggestionRecord:
    """A fix of the line that is wrong. text: what takes its place; empty: it was withheld."""
    told: dict[str, Any] = {"kind": "fix", "trace": TRACE, "original": WRONG[:-1] if text else "", "draws": tuple(draws), **debug}
    return SuggestionRecord(
        suggestion=Suggested(
            **SOURCE, project="p", task="debug", text=text, generation=draws[0].generation, trigger="invoked", p_show=1,
            context=Context(path="stats.py", language="python", prefix=ABOVE + HEAD, suffix="\n" + TAIL + BELOW),
            context_sha256="0" * 64, shown=bool(text) or told["kind"] != "fix", latency_ms=1, engine_ms=1,
            debug=DebugRecord(**told),
        ),
        events=events,
    )  # fmt: skip


def samples(found: SuggestionRecord) -> list[Sample]:
    return samples_of(found, encode, decode, MODEL)


def settled(text: str, horizon: str = "10m") -> Settled:
    return Settled.model_validate({**SOURCE, "horizon": horizon, "elapsed_ms": 600_000, "span_text": text, "settled_text": text})


ACCEPTED = Accepted(**SOURCE, accepted_chars=1, total_chars=1, visible_ms=900, inferred=False)
FIXED = Reran(**SOURCE, elapsed_ms=1000, exception_gone=True, tests_fixed=1)


@pytest.mark.parametrize("code", [REGION, "    x = '''\n```\nno fence of mine\n```\n'''\n"])
def test_the_code_of_a_prompt_is_what_was_asked_about(code: str) -> None:
    messages = (Message(role="system", text="s"), Message(role="user", text=asked("python", code, "f")))
    assert code_of(messages) == code.strip("\n")
    assert code_of((Message(role="user", text="What is this?"),)) is None


def test_every_draw_is_learned_from_with_the_prompt_that_it_was_drawn_for() -> None:
    dropped, shown = draw(answer(HEAD + "    return total\n"), "diagnostic"), draw(answer(HEAD + RIGHT), shown=True)
    first, second = samples(record(ACCEPTED, FIXED, settled(RIGHT[:-1]), draws=[dropped, shown], text=RIGHT[:-1]))
    assert (first.draw, second.draw) == (0, 1) and first.suggestion_id == second.suggestion_id
    assert first.prompt == tuple(prompt_tokens(QWEN_CHAT, dropped.messages, encode))
    assert decode(first.tokens) == dropped.text and len(first.logprobs) == len(first.tokens)
    assert first.reward.value < 0 < second.reward.value
    assert isinstance(second.reward, Verdict) and second.reward.dimensions["correctness"] == PASSES
    # What was right has nothing to be told.
    assert second.written == shown.text and second.hindsight == 0 and all(second.kept)


def test_a_candidate_that_was_dropped_is_judged_by_the_check_that_dropped_it() -> None:
    wrong = answer(HEAD + "    return totl / 3\n")
    levels = {
        name: verdict_of(record(draws=[draw(text, name)]))
        for name, text in (
            ("parses", answer(HEAD + "    return (\n")), ("names", wrong), ("tests", wrong), ("diagnostic", wrong),
            ("format", "Hm."),
        )
    }  # fmt: skip
    assert all(isinstance(found, Verdict) and found.labelled and found.veto for found in levels.values())
    graded = {name: found.dimensions["correctness"] for name, found in levels.items() if isinstance(found, Verdict)}
    assert graded["parses"] == -1 and graded["names"] == RAISES and graded["tests"] == FAILS
    assert graded["parses"] < graded["names"] < graded["tests"] <= graded["diagnostic"] < 0 and graded["format"] < 0


def test_why_says_what_each_candidate_is_worth() -> None:
    draws = [draw(answer(HEAD + "    return (\n"), "parses"), draw("", "time"), draw(answer(HEAD + RIGHT), shown=True)]
    told = rewarded(record(ACCEPTED, FIXED, draws=draws, text=RIGHT[:-1]))
    assert [one["value"] for one in told["draws"]] == [-0.5, None, told["value"]] and told["value"] > 0


def test_of_what_nobody_could_check_in_time_nothing_is_known() -> None:
    (sample,) = samples(record(draws=[draw(answer(HEAD + RIGHT), "time")]))
    assert not sample.reward.labelled and "time" in sample.reward.censored


def test_what_was_left_in_the_end_is_y_star_in_the_answers_own_form() -> None:
    """Withheld, and then written by the developer, who wrote on around the place."""
    dropped = [draw("I do not know.", "format"), draw(answer(HEAD + "    return total / 3\n"), "tests")]
    first, second = samples(record(settled(RIGHT[:-1]), draws=dropped))
    assert second.written == answer(HEAD + RIGHT) and second.hindsight == 0.5
    assert decode(second.written_tokens) == second.written
    # One draw stands for the answer: it counts once.
    assert (first.written, first.written_tokens, first.hindsight) == ("", (), 0)


def test_a_fix_that_is_held_out_is_not_trained_on_in_other_words() -> None:
    def asked_in(session: int, says: str, right: str) -> list[Sample]:
        draws = [draw(answer(HEAD + "    return 1\n", says), "tests"), draw(answer(HEAD + right, says), shown=True)]
        found = samples(record(ACCEPTED, FIXED, settled(right[:-1]), draws=draws, text=right[:-1]))
        at = SOURCE["at"] + timedelta(hours=session)
        return [replace(one, suggestion_id=f"s-{session}", session=f"session-{session}", at=at) for one in found]

    others = [one for number in range(1, 9) for one in asked_in(number, SAYS, f"    return total / {number}\n")]
    before, again = asked_in(0, "Two is not how many there are.\n", RIGHT), asked_in(9, SAYS, RIGHT)
    training, held_out = split([*before, *others, *again])
    assert all(one in held_out for one in again) and len(training) > 8
    # Nor the other draws of that answer: they say what it was not.
    assert not any(one in training for one in before)


def test_y_star_of_an_answer_without_code_is_the_code() -> None:
    (sample,) = samples(record(settled(RIGHT[:-1]), draws=[draw("I do not know.", "format")]))
    assert sample.written == f"```python\n{HEAD}{RIGHT}```\n" and sample.hindsight == 0.5


@pytest.mark.parametrize(
    ("events", "weight"),
    [
        ((ACCEPTED, settled(RIGHT[:-1])), 1.0),
        ((ACCEPTED, Undone(**SOURCE, after_ms=9000), settled(RIGHT[:-1])), 0.5),
        # Nothing was mended, or what stands there is no code: nothing to imitate.
        ((ACCEPTED, settled(WRONG[:-1])), 0.0),
        ((ACCEPTED, settled("    return (")), 0.0),
        ((ACCEPTED, settled(RIGHT[:-1], "close")), 0.0),
    ],
)
def test_hindsight_is_what_the_developer_made_of_it(events: tuple[Event, ...], weight: float) -> None:
    text = "    return total / 3"
    (sample,) = samples(record(*events, draws=[draw(answer(HEAD + text + "\n"), shown=True)], text=text))
    assert sample.hindsight == weight


def searched(code: str, *, shown: bool = True) -> Draw:
    """As the server records it: no tokens."""
    plain = draw(answer(code), shown=shown, tokens=(), logprobs=())
    return plain.model_copy(update={"origin": "searched"})


def test_what_was_searched_for_and_kept_is_y_star_and_no_sample_of_the_policy() -> None:
    dropped = draw(answer(REGION), "scope")
    (first, second) = samples(
        record(ACCEPTED, FIXED, settled(RIGHT[:-1]), draws=[dropped, searched(HEAD + RIGHT)], text=RIGHT[:-1])
    )
    assert (second.tokens, second.logprobs) == ((), ()) and decode(second.written_tokens) == answer(HEAD + RIGHT)
    assert second.hindsight == 1.0 and second.prompt == tuple(prompt_tokens(QWEN_CHAT, dropped.messages, encode))
    # Its reward is not the policy's: of those that were drawn it shifts nothing.
    assert not second.reward.labelled and second.reward.value == 0 and first.reward.value < 0
    alone = samples(record(draws=[dropped]))
    assert advantages([first, second]) == [*advantages(alone), 0.0]
    # What became of the answer is known all the same.
    assert verdict_of(record(ACCEPTED, FIXED, draws=[dropped, searched(HEAD + RIGHT)], text=RIGHT[:-1])).value > 0


def test_of_what_was_searched_for_and_undone_nothing_is_imitated() -> None:
    gone = (ACCEPTED, Undone(**SOURCE, after_ms=9000), settled(WRONG[:-1]))
    (sample,) = samples(record(*gone, draws=[searched(HEAD + RIGHT)], text=RIGHT[:-1]))
    assert sample.hindsight == 0 and not sample.tokens


def test_a_record_that_does_not_say_how_a_draw_came_to_be_is_of_a_drawn_one() -> None:
    told = draw(answer(REGION)).model_dump()
    del told["origin"]
    assert Draw.model_validate(told).origin == "drawn"


def test_blame_begins_where_the_answer_leaves_what_was_right() -> None:
    text = answer(HEAD + "    return total / 3\n")
    (known,) = samples(record(settled(RIGHT[:-1]), draws=[draw(text, "tests")]))
    at = text.index("3\n")
    assert known.blame[:at] == (0.0,) * at and known.blame[at : at + 2] == (1.0, 0.7)
    # Nothing was written since: what it changed did not work, what it copied may have been right.
    (unknown,) = samples(record(draws=[draw(text, "tests")]))
    assert unknown.blame[:at] == (0.0,) * at and unknown.blame[at] == 1.0
    (words,) = samples(record(draws=[draw("I do not know.", "format")]))
    assert words.blame[-1] == 1.0 and list(words.blame) == sorted(words.blame)


def test_only_what_is_still_there_is_praised() -> None:
    text = answer(HEAD + RIGHT)
    left = "    return total / len(values) if values else 0"
    (sample,) = samples(record(ACCEPTED, FIXED, settled(left), draws=[draw(text, shown=True)], text=RIGHT[:-1]))
    assert all(sample.kept) and sample.hindsight == 1.0
    (shorter,) = samples(record(ACCEPTED, FIXED, settled("    return total"), draws=[draw(text, shown=True)], text=RIGHT[:-1]))
    at = text.index(" / len")
    assert all(shorter.kept[:at]) and not any(shorter.kept[at : at + len(" / len(values)")])


def test_the_advantage_is_the_tiers() -> None:
    """Of one tier they add up to nothing; a graver tier counts for more; an answer that is alone in its tier says nothing."""
    typo = TRACE.replace("AssertionError", "NameError")
    good, bad = answer(HEAD + RIGHT), answer(HEAD + "    return total / 3\n")

    def night(trace: str) -> list[Sample]:
        fixed = record(ACCEPTED, FIXED, draws=[draw(bad, "tests"), draw(good, shown=True)], text=RIGHT[:-1], trace=trace)
        return samples(fixed)

    logic, name = night(TRACE), night(typo)
    found = advantages([*logic, *name])
    assert isclose(sum(found[:2]), 0, abs_tol=1e-9) and isclose(sum(found[2:]), 0, abs_tol=1e-9)
    assert found[1] == pytest.approx(2 * found[3]) and found[1] > 0, "T3 counts twice as much as T1"
    assert advantages(logic[:1]) == [0.0]


def test_draws_of_another_base_or_another_prompt_have_no_propensity() -> None:
    for changes in ({"model": "1" * 64}, {"prompt_format": CHAT_PROMPT_FORMAT + 1}, {"tokens": ()}, {"logprobs": (0.5,)}):
        found = record(settled(RIGHT[:-1]), draws=[draw(answer(HEAD + WRONG), "scope", **changes)])
        (sample,) = samples(found)
        assert sample.tokens == () and sample.written_tokens, "what was written can still be learned from"
    assert drawn_here(record(draws=[draw("x", "format")]), MODEL)
    assert not drawn_here(record(draws=[draw("x", "format", prompt_format=CHAT_PROMPT_FORMAT + 1)]), MODEL)


def test_a_correction_is_y_star_of_an_explanation() -> None:
    words = draw("It is the weather.", shown=True).model_copy(update={"messages": (Message(role="user", text="Why?"),)})
    bad = Rated(**SOURCE, value=-1, flag="wrong", correction="It divides by two.")
    (sample,) = samples(record(bad, draws=[words], kind="explain"))
    assert sample.reward.value == -1 and sample.hindsight == 1.0
    assert decode(sample.written_tokens[:-1]) == "It divides by two." and sample.written_tokens[-1] == QWEN_CHAT.end
    assert sample.blame[len("It ")] == 1.0
    (praised,) = samples(record(Rated(**SOURCE, value=1), draws=[words], kind="explain"))
    assert praised.reward.value == 1 and all(praised.kept) and not praised.written


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (FIXED, PASSES),
        (Reran(**SOURCE, elapsed_ms=1, tests_failing=1), FAILS),
        (Reran(**SOURCE, elapsed_ms=1, tests_fixed=1, tests_failing=1), FAILS + (PASSES - FAILS) / 2),
        (Reran(**SOURCE, elapsed_ms=1, tests_fixed=1, tests_broken=1), FAILS),
        (Reran(**SOURCE, elapsed_ms=1, tests_failing=1, raised="IndexError"), RAISES),
        (Reran(**SOURCE, elapsed_ms=1, exception_gone=True), 0.6),
        (Reran(**SOURCE, elapsed_ms=1, exception_gone=False), -0.6),
    ],
)
def test_a_run_after_the_fix_says_what_it_was_worth(event: Reran, level: float) -> None:
    found = record(ACCEPTED, event, draws=[draw(answer(HEAD + RIGHT), shown=True)], text=RIGHT[:-1])
    assert correctness(evidence_of(found)) == pytest.approx(level)
