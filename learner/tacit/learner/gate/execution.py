"""Step 3 of the gate: programs with a hole or a bug, completed by both policies and run. Pure: outcomes in, a check out.

LEARNING.md's bound, a loss of at most 1.5 points with 95 % confidence, needs thousands of tasks: with 24, one task is 4 points.
At this size a loss is refused if it can be told from chance (the upper end of the paired 95 % interval is below zero), or if
more than an eighth of the tasks are lost on balance: three of 24. What is between is left to the steps that see more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tacit.learner.gate.check import Check, Measure, decided, paired_bootstrap

NAME = "execution"
PASS_SLACK = 0.125


@dataclass(frozen=True, slots=True)
class Executed:
    """One task: does the program do what it should, as each policy filled it?"""

    task: str
    serving: bool
    candidate: bool


def execution(tasks: Sequence[Executed], seed: int = 0, flaw: str = "hole") -> Check:
    """pass@1, greedy. flaw: what the programs had."""
    if not tasks:
        return Check(NAME, "refused", "No program was run: nothing is known about what the candidate's code does.")
    before = sum(t.serving for t in tasks) / len(tasks)
    after = sum(t.candidate for t in tasks) / len(tasks)
    delta = paired_bootstrap(
        [float(t.candidate) - float(t.serving) for t in tasks], [1.0] * len(tasks), [t.task for t in tasks], seed=seed
    )
    passed = delta.high >= 0 and delta.mean >= -PASS_SLACK
    message = (
        f"Of {len(tasks)} programs with a {flaw}, {100 * before:.0f} % ran right before, {100 * after:.0f} % after (95 % "
        f"interval of the change {100 * delta.low:+.0f} to {100 * delta.high:+.0f} points)."
    )
    if not passed:
        lost = ", ".join(t.task for t in tasks if t.serving and not t.candidate)
        message += f" Lost: {lost}."
    figures = {"before": before, "after": after, "low": delta.low, "high": delta.high, "tasks": float(len(tasks))}
    bound = f"≥ {-100 * PASS_SLACK:g}, and no loss that can be told from chance"
    measured = Measure("change of pass@1, points", 100 * delta.mean, bound, 100 * delta.low, 100 * delta.high)
    return Check(NAME, decided(passed), message, figures, (measured,))


def not_run(why: str) -> Check:
    """Without a sandbox nothing is run. The night goes on, and says so."""
    return Check(NAME, "not run", f"{why} Programs that a model wrote are never run outside a sandbox; this step was left out.")
