"""The gate's programs with a bug: each fails its own check, passes when it is mended, and says neither in its prompt."""

import pytest

from tacit.learner import sandbox
from tacit.learner.repair_tasks import TASKS, Repair
from tacit.protocol.fix_prompt import code_of


@pytest.mark.skipif(bool(sandbox.missing()), reason="no sandbox on this machine")
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_program_with_a_bug_fails_and_its_answer_mends_it(task: Repair) -> None:
    assert not sandbox.run(task.program(None)).ok
    assert sandbox.run(task.program(task.answer)).ok, sandbox.run(task.program(task.answer)).output


def test_the_prompt_asks_for_the_code_and_does_not_give_the_answer_away() -> None:
    for task in TASKS:
        assert code_of(task.messages) == task.code.strip("\n")
        assert not any(task.answer.strip("\n") in message.text for message in task.messages)
