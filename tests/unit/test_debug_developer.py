"""The scripted developer of `tacit bench debug-night`: what he reports is what an editor would, and the learner reads it so."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tacit.bench.debug_asking import request
from tacit.bench.debug_developer import Attempt, changed, differing, mended, told
from tacit.bench.debug_night import Asked, change, share
from tacit.bench.debug_tasks import Outcome, Task
from tacit.learner.debug_samples import samples_of
from tacit.lsp.debugging.answer import Answer
from tacit.lsp.debugging.edit import Change
from tacit.protocol.completion import Generation, Timings
from tacit.protocol.debugging import CHAT_PROMPT_FORMAT, Check, Done, Draw, Message, Proposal, ProposedEdit, Withheld
from tacit.protocol.events import Event, Reran, Settled, Suggested, SuggestionRecord, Undone, new_id
from tacit.protocol.fix_prompt import asked

MODEL = "0" * 64
WRONG = "def last(items):\n    end = len(items)\n    return items[end]\n"
RIGHT = WRONG.replace("items[end]", "items[end - 1]")
OTHER = WRONG.replace("items[end]", "items[0]")
TASK = Task("t/last", "t/last", "python", "last.py", WRONG, RIGHT, "test_last.py", {"test_last.py": "assert False\n"})
FAILED = (
    'Traceback (most recent call last):\n  File "last.py", line 3, in last\n    return items[end]\n'
    "IndexError: list index out of range\n"
)
AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


def encode(text: str) -> list[int]:
    return [ord(character) for character in text]


def decode(tokens: Sequence[int]) -> str:
    return "".join(map(chr, tokens))


def draw(code: str, *failed: str) -> Draw:
    text = f"The index is wrong.\n```python\n{code}```\n"
    tokens = tuple(encode(text))
    generation = Generation(
        tokens=tokens, logprobs=(-0.1,) * len(tokens), temperature=0.3, seed=1, policy_version="base", model=MODEL,
        finish_reason="stop_rule", prompt_format=CHAT_PROMPT_FORMAT,
    )  # fmt: skip
    checks = tuple(Check.model_validate({"name": name, "result": "failed", "note": "No."}) for name in failed)
    messages = (Message(role="user", text=asked("python", WRONG, "last")),)
    return Draw(messages=messages, text=text, generation=generation, checks=checks, shown=not failed)


def played(code: str, *, passed: bool | None, output: str = "") -> SuggestionRecord:
    """passed: None: the fix was withheld."""
    asking = request(TASK, FAILED, Path("/tmp"), seed=1, seconds=10, candidates=1)
    asking = asking.model_copy(update={"project": "p", "session_id": "session-0001"})
    drawn = draw(code) if passed is not None else draw(code, "names")
    timings = Timings(total_ms=1, prompt_tokens=1, prompt_evaluated=1, prompt_ms=1, generated=1, generate_ms=1)
    answer = Answer(new_id(), 0.0)
    answer.done = Done(request_id="r", policy_version="base", draws=(drawn,), timings=timings)
    made = None
    if passed is None:
        answer.withheld = Withheld(reason="None was good enough.")
    else:
        left, right = differing(WRONG, code)
        made = Change(((left, right, ""),), left, right, WRONG[left:right], mended(WRONG, code, left, right))
        edit = ProposedEdit(path=TASK.path, start=left, end=right, text=made.text)
        answer.proposal = Proposal(edits=(edit,), reason="The index is wrong.", confidence=0.5, checks=())
    outcome = Outcome(passed, output) if passed is not None else None
    events = told(TASK, Attempt(asking, answer, made, outcome), AT)
    suggested = events[0]
    assert isinstance(suggested, Suggested)
    return SuggestionRecord(suggestion=suggested, events=tuple(events[1:]))


def of(record: SuggestionRecord, kind: type[Event]) -> Any:  # type: ignore[valid-type]
    return next((event for event in record.events if isinstance(event, kind)), None)


def test_a_fix_that_passes_stays() -> None:
    record = played(RIGHT, passed=True)
    assert of(record, Undone) is None and of(record, Reran).tests_fixed == 1 and of(record, Reran).exception_gone
    assert of(record, Settled).span_text == "    return items[end - 1]"
    (sample,) = samples_of(record, encode, decode, MODEL)
    assert sample.reward.value > 0 and sample.hindsight == 0


def test_a_fix_that_fails_is_taken_out_and_mended_by_hand() -> None:
    record = played(OTHER, passed=False, output=FAILED)
    assert of(record, Undone) is not None and of(record, Reran).raised == "IndexError"
    (sample,) = samples_of(record, encode, decode, MODEL)
    assert sample.reward.value <= -0.5 and sample.hindsight == 0.5
    assert sample.written == draw(RIGHT).text


def test_what_a_test_asserts_is_no_exception_of_the_program() -> None:
    record = played(OTHER, passed=False, output=FAILED.replace("IndexError: list index out of range", "AssertionError: 1 != 2"))
    assert of(record, Reran).raised == "" and of(record, Reran).tests_failing == 1


def test_where_nothing_was_shown_the_developer_writes_it() -> None:
    record = played(OTHER, passed=None)
    assert not record.suggestion.shown and of(record, Reran) is None
    (sample,) = samples_of(record, encode, decode, MODEL)
    assert sample.written == draw(RIGHT).text and sample.hindsight == 0.5 and sample.reward.value <= -0.5


@pytest.mark.parametrize(
    ("text", "reference", "stood", "stands"),
    [
        (WRONG, RIGHT, "    return items[end]", "    return items[end - 1]"),
        ("a\nb\nc\n", "a\nc\n", "b\nc", "c"),
        ("a\nc\n", "a\nb\nc\n", "c", "b\nc"),
        ("a", "b", "a", "b"),
    ],
)
def test_the_place_that_is_mended_is_whole_lines(text: str, reference: str, stood: str, stands: str) -> None:
    left, right = differing(text, reference)
    assert text[left:right] == stood
    written = mended(text, reference, left, right)
    assert text[:left] + written + text[right:] == reference and written == stands


def test_what_differs_elsewhere_is_not_written_here() -> None:
    assert mended("a\nb\nc\n", "x\nb\nc\n", 2, 3) == "b"
    assert changed("a\nb\nc\n", Change((), 2, 3, "b", "y")) == "a\ny\nc\n"


def test_before_and_after_are_compared_bug_by_bug() -> None:
    def asked_of(name: str, *, fixed: bool) -> Asked:
        return Asked(name, name, shown=True, fixed=fixed, draws=1, tokens=1, seconds=1.0, policy="base")

    before = [asked_of(str(n), fixed=n < 4) for n in range(20)]
    after = [asked_of(str(n), fixed=n < 14) for n in reversed(range(20))]
    found = change(before, after)
    assert found is not None and found.mean == pytest.approx(0.5) and 0 < found.low < 0.5 < found.high
    assert change(before, []) is None
    low, high = share(4, 20)
    assert 0.05 < low < 0.2 < high < 0.45 and share(0, 0) == (0.0, 1.0)
