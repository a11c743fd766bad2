"""The reward of a debugging answer: what became of the fault, by tools and by what the developer did. Pure: plain data only.

Q = Σ w_k D_k over five dimensions in [-1, 1] (LEARNING.md, "Reward of a debugging answer"). Correctness by execution where there
is something to run, else by what happened after the answer was applied. A veto: with Correctness below 0, or a new grave finding
of a scanner, Q is at most -0.5, whatever else was good, the developer's applause included. Of the other dimensions only Security
and Efficiency can be above 0, and only by what a tool measured: nothing can be earned by style.

Advantage = g·(Q - mean of the tier): within a tier they add up to nothing, so moving answers to a higher tier earns nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log2
from types import MappingProxyType
from typing import Final, Literal

from tacit.learner.severity import GRAVITY, Finding, Problem, Tier, tier_of
from tacit.learner.shortcuts import comment_lines, deleted, is_test, restores, silenced

Dimension = Literal["correctness", "security", "best_practice", "readability", "efficiency"]
WEIGHTS: Final[Mapping[Dimension, float]] = MappingProxyType(
    {"correctness": 0.45, "security": 0.20, "best_practice": 0.15, "readability": 0.10, "efficiency": 0.10}
)

DOES_NOT_PARSE, RAISES, FAILS, PASSES = -1.0, -0.6, -0.3, 1.0
"""By execution (RLTF, CodeRL); between FAILS and PASSES by the share of the tests that were to be mended."""
EXCEPTION_GONE, DIAGNOSTIC_GONE, APPLIED_AND_KEPT = 0.6, 0.4, 0.3
EXCEPTION_STAYS, DIAGNOSTIC_STAYS, ASKED_AGAIN, TAKEN_OUT = -0.6, -0.3, -0.4, -0.4
NOT_TAKEN: Final = 0.2
"""What it costs when a fix was shown and not applied, and nothing is known of whether it was right. No veto: it may have been."""
NO_FIX: Final = -0.3
"""A fix was asked for, and what came was words, such as a question."""
SHORTCUT: Final = -0.3
"""The most that an answer is worth that silenced or deleted what was complained of: as if nothing had been mended."""
NEW_ERROR, NEW_ERRORS = 0.4, 0.8
"""Each error of tools that was not there before, and all of them together."""
VETO: Final = -0.5
THREATS: Final = MappingProxyType({"none": 0.0, "low": 0.3, "medium": 0.6, "high": 1.0})
RATING_WEIGHT: Final = 3.0
NOISE: Final = 0.10
"""Share by which run times differ for no reason."""

Outcome = Literal["rated", "executed", "applied", "not_applied", "answered", "none"]
Flag = Literal["hallucination", "wrong", "insecure", "unclear"]


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """One run of the covering tests."""

    passed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    paths: Mapping[str, str] = field(default_factory=dict)
    """Test → its file, where it is known."""
    seconds: float | None = None
    """Of those that passed."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one answer. None: nobody looked."""

    problem: Problem
    kind: Literal["fix", "explain", "chat"] = "fix"
    shown: bool = True
    path: str = ""
    before: str = ""
    """The lines that the answer replaces."""
    after: str | None = None
    """What it puts in their place; None: it is words."""
    earlier: str | None = None
    """Those lines before the developer's own last edit of them."""
    edited_paths: frozenset[str] = frozenset()
    """All files that it changes."""
    parses: bool | None = None
    raises: str | None = None
    """What running it raised now; empty: nothing."""
    tests_before: SuiteRun | None = None
    tests_after: SuiteRun | None = None
    applied: bool | None = None
    """False: it was turned down."""
    undone: bool = False
    kept: float | None = None
    """Share of the applied text that was there at the latest horizon."""
    diagnostic_gone: bool | None = None
    exception_gone: bool | None = None
    """On a run after it was applied."""
    new_findings: tuple[Finding, ...] = ()
    """Of linters, compilers and scanners: not there before."""
    gone_findings: tuple[Finding, ...] = ()
    """The one that was asked about not included."""
    asked_again: bool = False
    rating: Literal[-1, 1] | None = None
    flag: Flag | None = None

    @property
    def changes(self) -> bool:
        return self.after is not None and self.after != self.before


@dataclass(frozen=True, slots=True)
class Verdict:
    value: float
    """Q in [-1, 1]; 0 when censored."""
    tier: Tier
    dimensions: Mapping[Dimension, float]
    """Each in [-1, 1]; what nothing is known of is 0."""
    veto: str
    """Why Q is at most -0.5; empty: no veto."""
    censored: str
    """Why there is no label; empty when there is one."""
    weight: float
    """How much this label counts: 1, or 3 for a rating that stands."""
    outcome: Outcome

    @property
    def labelled(self) -> bool:
        return not self.censored


def judge(evidence: Evidence) -> Verdict:
    """Q of one answer with its parts."""
    tier = tier_of(evidence.problem)
    if not evidence.shown:
        return Verdict(0.0, tier, {}, "", "not shown", 0.0, "none")
    correct = correctness(evidence)
    rated = evidence.rating is not None or evidence.flag is not None
    turned_down = correct is None and evidence.changes and evidence.applied is False
    if correct is None and not rated and not turned_down:
        return Verdict(0.0, tier, {}, "", "nothing is known of what became of it", 0.0, "none")
    found: dict[Dimension, float] = {
        "correctness": correct or 0.0,
        "security": security(evidence),
        "best_practice": best_practice(evidence),
        "readability": readability(evidence.before, evidence.after or "") if evidence.changes else 0.0,
        "efficiency": efficiency(evidence),
    }
    if evidence.flag in ("hallucination", "wrong"):
        found["correctness"] = -1.0
    if evidence.flag == "insecure":
        found["security"] = -1.0
    if evidence.flag == "unclear":
        found["readability"] = -1.0
    veto = ""
    if any(one.threat == "high" for one in evidence.new_findings) or evidence.flag == "insecure":
        veto = "a new grave finding"
    elif found["correctness"] < 0:
        veto = "it does not mend the fault"
    value = sum(WEIGHTS[name] * part for name, part in found.items()) - (NOT_TAKEN if turned_down else 0.0)
    outcome, weight = _outcome(evidence), 1.0
    if evidence.rating == -1 or evidence.flag in ("hallucination", "wrong", "insecure"):
        value, weight, outcome = -1.0, RATING_WEIGHT, "rated"
    elif rated and not veto:
        # Applause against what tools found counts for nothing.
        value, weight, outcome = (value if evidence.flag else 1.0), RATING_WEIGHT, "rated"
    if veto:
        value = min(value, VETO)
    return Verdict(max(-1.0, min(1.0, value)), tier, found, veto, "", weight, outcome)


def correctness(evidence: Evidence) -> float | None:
    """In [-1, 1]; None: nothing is known. Execution before behaviour; neither where the complaint was only made to go away."""
    if evidence.after is None or evidence.after == evidence.before:
        return ASKED_AGAIN if evidence.asked_again else NO_FIX if evidence.kind == "fix" else None
    if evidence.parses is False:
        return DOES_NOT_PARSE
    if evidence.raises:
        return RAISES
    tests = tested(evidence)
    value = behaved(evidence) if tests is None else tests
    if value is None:
        return None
    if silenced(evidence.before, evidence.after):
        value = min(value, SHORTCUT)
    if deleted(evidence.before, evidence.after) and tests != PASSES and not _asked_to_delete(evidence.problem):
        value = min(value, SHORTCUT)
    if tests is None and _overwrites_tests(evidence):
        value = min(value, SHORTCUT)
    if restores(evidence.after, evidence.earlier, evidence.before):
        # It may be what is wanted. Only keeping it says so; the fault that the edit brought goes with the edit.
        stays = (evidence.kept or 0.0) if evidence.applied and not evidence.undone else 0.0
        value = min(value, APPLIED_AND_KEPT * stays)
    return value


def tested(evidence: Evidence) -> float | None:
    """By the covering tests; None: none was run, or there is nothing that they tell.

    Those count that there were before and that the answer did not edit; one that is not run any more has failed. To be mended are
    those that failed: their share that passes now, less those that are newly broken. With none of those, all must still pass.
    """
    after, before = evidence.tests_after, evidence.tests_before
    if after is None:
        return None
    known = (before.passed | before.failed) if before is not None else (after.passed | after.failed)
    paths = {**(before.paths if before else {}), **after.paths}
    edited = evidence.edited_paths | {evidence.path}
    # A test whose file nobody named may be in one that was edited.
    unnamed = not any(map(is_test, edited))
    counted = {name for name in known if (paths[name] not in edited if name in paths else unnamed)}
    passing = counted & after.passed
    if before is None:
        return _share(len(passing), len(counted)) if counted else None
    wanted, broken = counted & before.failed, (counted & before.passed) - passing
    if not wanted:
        return FAILS if broken else None
    return _share(max(0, len(wanted & passing) - len(broken)), len(wanted))


def behaved(evidence: Evidence) -> float | None:
    """By what happened to the answer and to the fault, where nothing was executed. In [-1, 0.6]; None: nothing is known."""
    if not evidence.applied:
        return ASKED_AGAIN if evidence.asked_again else None
    bad = [
        level
        for level, happened in (
            (TAKEN_OUT, evidence.undone or (evidence.kept is not None and evidence.kept <= 0.1)),
            (EXCEPTION_STAYS, evidence.exception_gone is False),
            (DIAGNOSTIC_STAYS, evidence.diagnostic_gone is False),
            (ASKED_AGAIN, evidence.asked_again),
        )
        if happened
    ]
    good = [
        level
        for level, happened in (
            (EXCEPTION_GONE, evidence.exception_gone),
            (DIAGNOSTIC_GONE, evidence.diagnostic_gone),
            (APPLIED_AND_KEPT, evidence.kept is not None),
        )
        if happened
    ]
    if not bad and not good:
        return None
    # What the developer wrote over the answer is not the answer's.
    value = min(bad) if bad else max(good) * (1.0 if evidence.kept is None else evidence.kept)
    errors = sum(one.level == "error" for one in evidence.new_findings)
    return max(-1.0, value - min(NEW_ERRORS, NEW_ERROR * errors))


def security(evidence: Evidence) -> float:
    """New findings of a scanner, and half as much for old ones that are gone."""
    new = sum(THREATS[one.threat] for one in evidence.new_findings)
    gone = 0.0 if _shortcut(evidence) else sum(THREATS[one.threat] for one in evidence.gone_findings)
    return max(-1.0, min(1.0, 0.5 * gone - new))


def best_practice(evidence: Evidence) -> float:
    """In [-1, 0]: new complaints of linters, suppressions, edited tests."""
    if silenced(evidence.before, evidence.after or "") or _overwrites_tests(evidence):
        return -1.0
    return max(-1.0, -0.25 * sum(one.threat == "none" and one.level != "hint" for one in evidence.new_findings))


def readability(before: str, after: str) -> float:
    """In [-1, 0]: branches that were added, length beyond half as much again, comments that are gone."""
    lines, now = (max(1, sum(bool(line.strip()) for line in text.splitlines())) for text in (before, after))
    branches = max(0, _branches(after) - _branches(before))
    grown = max(0.0, log2(now / lines / 1.5)) if now > lines + 2 else 0.0
    comments = comment_lines(before)
    lost = max(0, comments - comment_lines(after)) / comments if comments else 0.0
    return max(-1.0, -(min(0.5, 0.1 * branches) + min(0.5, 0.25 * grown) + 0.5 * lost))


def efficiency(evidence: Evidence) -> float:
    """By the run time of covering tests, where all of them pass: half the time is 1, twice the time -1."""
    before, after = evidence.tests_before, evidence.tests_after
    if before is None or after is None or not before.seconds or not after.seconds or tested(evidence) not in (PASSES, None):
        return 0.0
    if _shortcut(evidence) or after.failed or abs(after.seconds / before.seconds - 1) <= NOISE:
        return 0.0
    return max(-1.0, min(1.0, log2(before.seconds / after.seconds)))


def advantages(verdicts: Sequence[Verdict]) -> list[float]:
    """g·(Q - mean of the tier), times the label's weight, in order of the argument; 0 where there is no label.

    The mean is weighted the same way: in each tier they add up to 0. An answer that is alone in its tier tells nothing.
    """
    sums: dict[Tier, float] = defaultdict(float)
    totals: dict[Tier, float] = defaultdict(float)
    for verdict in verdicts:
        if verdict.labelled:
            sums[verdict.tier] += verdict.weight * verdict.value
            totals[verdict.tier] += verdict.weight
    return [GRAVITY[v.tier] * (v.value - sums[v.tier] / totals[v.tier]) * v.weight if v.labelled else 0.0 for v in verdicts]


def _share(passing: int, count: int) -> float:
    return FAILS + (PASSES - FAILS) * passing / count


def _shortcut(evidence: Evidence) -> bool:
    after = evidence.after or ""
    return bool(silenced(evidence.before, after)) or deleted(evidence.before, after) or _overwrites_tests(evidence)


def _overwrites_tests(evidence: Evidence) -> bool:
    """It edits tests, though the fault is in what they test. A diagnostic inside a test's file is a fault like any other."""
    tests = {path for path in evidence.edited_paths | {evidence.path} if is_test(path)}
    return evidence.changes and bool(tests if evidence.problem.failing_tests else tests - {evidence.path})


def _asked_to_delete(problem: Problem) -> bool:
    """What the tool complains of is that there is too much."""
    words = ("unused", "redundant", "unreachable", "duplicate", "F401", "F841", "F811", "TS6133", "6133")
    return bool(problem.findings) and any(word in problem.findings[0].code for word in words)


def _branches(text: str) -> int:
    words = ("if", "elif", "for", "while", "case", "catch", "except", "match", "switch")
    return sum(line.replace("(", " ").replace("}", " ").split()[:1] in ([word] for word in words) for line in text.splitlines())


def _outcome(evidence: Evidence) -> Outcome:
    if evidence.parses is False or evidence.raises or tested(evidence) is not None:
        return "executed"
    if not evidence.changes and evidence.kind != "fix":
        return "answered"
    return "applied" if evidence.applied else "not_applied"
