"""The reward of a debugging answer: bounded, monotone where it should be, and none of the known ways to game it pays."""

import dataclasses
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.learner.reward_debug import (
    ASKED_AGAIN,
    DIAGNOSTIC_GONE,
    EXCEPTION_GONE,
    FAILS,
    PASSES,
    VETO,
    WEIGHTS,
    Evidence,
    SuiteRun,
    Verdict,
    advantages,
    correctness,
    efficiency,
    judge,
)
from tacit.learner.severity import GRAVITY, Finding, Problem, tier_of

BEFORE = "def mean(values):\n    # of no values it is none\n    total = sum(valeus)\n    return total / len(values)\n"
AFTER = BEFORE.replace("valeus", "values")
ASKED = Finding("unresolved-reference", tool="ty", place="valeus")
PROBLEM = Problem(findings=(ASKED,))
LOGIC = Problem(exceptions=("ZeroDivisionError",), failing_tests=2)


def fix(**changes: object) -> Evidence:
    """Applied, kept, its diagnostic gone."""
    whole = Evidence(PROBLEM, path="stats.py", before=BEFORE, after=AFTER, applied=True, kept=1.0, diagnostic_gone=True)
    return dataclasses.replace(whole, **changes)


def runs(passed: str, failed: str = "", seconds: float | None = None, **paths: str) -> SuiteRun:
    return SuiteRun(frozenset(passed), frozenset(failed), paths, seconds)


def executed(passed: str, failed: str = "", **changes: object) -> Evidence:
    """Of the tests a to e, a and b failed before."""
    return fix(problem=LOGIC, tests_before=runs("cde", "ab"), tests_after=runs(passed, failed), **changes)


# Levels


def test_the_levels_of_execution_in_their_order() -> None:
    levels = [
        correctness(executed("abcde", parses=False)),
        correctness(executed("abcde", raises="KeyError")),
        correctness(executed("cde", "ab")),
        correctness(executed("acde", "b")),
        correctness(executed("abcde")),
    ]
    assert levels == [-1.0, -0.6, pytest.approx(-0.3), pytest.approx(0.35), pytest.approx(1.0)]
    # Nobody knows what failed before: the share of all.
    assert correctness(fix(tests_after=runs("abc", "d"))) == pytest.approx(-0.3 + 1.3 * 0.75)


def test_the_levels_without_tests() -> None:
    assert correctness(fix(exception_gone=True)) == EXCEPTION_GONE
    assert correctness(fix()) == DIAGNOSTIC_GONE
    assert correctness(fix(diagnostic_gone=None)) == pytest.approx(0.3)
    assert correctness(fix(asked_again=True)) == ASKED_AGAIN
    assert correctness(fix(diagnostic_gone=False)) == pytest.approx(-0.3)
    assert correctness(fix(exception_gone=False)) == pytest.approx(-0.6)
    half = fix(kept=0.5)
    assert correctness(half) == pytest.approx(DIAGNOSTIC_GONE / 2), "the other half is the developer's"
    assert correctness(fix(applied=None)) is None and judge(fix(applied=None)).censored
    assert judge(fix(shown=False)).censored == "not shown"


def test_passing_tests_that_never_failed_are_no_proof() -> None:
    unchanged = fix(tests_before=runs("abc"), tests_after=runs("abc"))
    assert correctness(unchanged) == correctness(fix()) < PASSES
    assert correctness(fix(tests_before=runs("abc"), tests_after=runs("ab", "c"))) == FAILS


def test_the_weights_add_up_to_one() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


# Properties

findings = st.builds(
    Finding,
    code=st.sampled_from(["unresolved-reference", "E501", "S608", "TS2345", "F401", ""]),
    level=st.sampled_from(["error", "warning", "information", "hint"]),
    threat=st.sampled_from(["none", "low", "medium", "high"]),
)
names = st.frozensets(st.sampled_from("abcdef"))
texts = st.sampled_from(
    [BEFORE, AFTER, "", "x = 1\n", AFTER.replace("\n", "  # type: ignore\n"), "try:\n    run()\nexcept:\n    pass\n", "a\n" * 90]
)
tests = st.none() | st.builds(
    lambda passed, failed, seconds: SuiteRun(passed, failed - passed, {"a": "tests/test_a.py"}, seconds),
    names,
    names,
    st.none() | st.floats(0.01, 100),
)
maybe = st.none() | st.booleans()
evidences = st.builds(
    Evidence,
    problem=st.builds(
        Problem,
        exceptions=st.lists(st.sampled_from(["ValueError", "SIGSEGV", "NameError", "a.b.Broken"]), max_size=2).map(tuple),
        findings=st.lists(findings, max_size=2).map(tuple),
        failing_tests=st.integers(0, 3),
    ),
    kind=st.sampled_from(["fix", "explain", "chat"]),
    shown=st.booleans(),
    path=st.sampled_from(["stats.py", "tests/test_a.py"]),
    before=texts,
    after=st.none() | texts,
    earlier=st.none() | texts,
    edited_paths=st.frozensets(st.sampled_from(["stats.py", "tests/test_a.py"])),
    parses=maybe,
    raises=st.none() | st.sampled_from(["", "KeyError"]),
    tests_before=tests,
    tests_after=tests,
    applied=maybe,
    undone=st.booleans(),
    kept=st.none() | st.floats(0, 1),
    diagnostic_gone=maybe,
    exception_gone=maybe,
    new_findings=st.lists(findings, max_size=4).map(tuple),
    gone_findings=st.lists(findings, max_size=4).map(tuple),
    asked_again=st.booleans(),
    rating=st.sampled_from([None, -1, 1]),
    flag=st.sampled_from([None, "hallucination", "wrong", "insecure", "unclear"]),
)  # fmt: skip


@given(evidences)
def test_bounded_whatever_happened(evidence: Evidence) -> None:
    found = judge(evidence)
    assert -1 <= found.value <= 1 and all(-1 <= part <= 1 for part in found.dimensions.values())
    assert found.labelled or found.value == 0 == found.weight
    assert not found.veto or found.value <= VETO


@given(evidences)
def test_a_veto_is_not_bought_off(evidence: Evidence) -> None:
    """Not by security that was gained, speed, a rating: with Correctness below 0 or a grave finding it stays at most -0.5."""
    found = judge(evidence)
    grave = any(one.threat == "high" for one in evidence.new_findings)
    if found.labelled and (grave or found.dimensions["correctness"] < 0):
        assert found.value <= VETO


@given(evidences, names, st.sampled_from("abcdef"))
def test_another_test_that_passes_never_earns_less(evidence: Evidence, passed: frozenset[str], more: str) -> None:
    before = SuiteRun(frozenset("ef"), frozenset("abcd"))
    less, then = (
        dataclasses.replace(evidence, tests_before=before, tests_after=SuiteRun(one, frozenset("abcdef") - one))
        for one in (passed, passed | {more})
    )
    assert judge(less).value <= judge(then).value + 1e-9


@given(evidences, st.floats(0, 1), st.floats(0, 1))
def test_more_kept_never_earns_less(evidence: Evidence, one: float, other: float) -> None:
    low, high = sorted((one, other))
    values = [judge(dataclasses.replace(evidence, kept=kept, applied=True)).value for kept in (low, high)]
    assert values[0] <= values[1] + 1e-9


@given(evidences, findings)
def test_a_new_finding_never_earns_more(evidence: Evidence, finding: Finding) -> None:
    worse = dataclasses.replace(evidence, new_findings=(*evidence.new_findings, finding))
    assert judge(worse).value <= judge(evidence).value + 1e-9


@given(evidences)
def test_what_went_wrong_afterwards_never_earns_more(evidence: Evidence) -> None:
    plain = dataclasses.replace(evidence, applied=True, asked_again=False, undone=False)
    for wrong in ({"asked_again": True}, {"undone": True}, {"parses": False}):
        if not judge(plain).labelled:
            continue
        assert judge(dataclasses.replace(plain, **wrong)).value <= judge(plain).value + 1e-9


def test_faster_is_better_only_beyond_noise_and_only_where_it_is_right() -> None:
    def timed(seconds: float, passed: str = "abcde", failed: str = "") -> float:
        return efficiency(fix(tests_before=runs("cde", "ab", 1.0), tests_after=runs(passed, failed, seconds)))

    assert timed(0.5) == pytest.approx(1.0) and timed(2.0) == pytest.approx(-1.0) and timed(1.05) == 0.0
    assert timed(0.5, "acde", "b") == 0.0


# Tiers

verdicts = st.lists(
    st.builds(
        lambda value, tier, weight, labelled: Verdict(
            value if labelled else 0.0, tier, {}, "", "" if labelled else "unknown", weight if labelled else 0.0, "applied"
        ),
        st.floats(-1, 1),
        st.sampled_from([0, 1, 2, 3, 4]),
        st.sampled_from([1.0, 3.0]),
        st.booleans(),
    ),
    max_size=40,
)


@given(verdicts)
def test_within_a_tier_advantages_add_up_to_nothing(found: list[Verdict]) -> None:
    sums: dict[int, float] = defaultdict(float)
    for verdict, advantage in zip(found, advantages(found), strict=True):
        assert verdict.labelled or advantage == 0
        assert abs(advantage) <= 2 * GRAVITY[verdict.tier] * max(verdict.weight, 1.0) + 1e-9
        sums[verdict.tier] += advantage
    assert all(abs(total) < 1e-6 for total in sums.values())


@given(verdicts, st.sampled_from([0, 1, 2, 3, 4]))
def test_inflating_the_tier_of_everything_earns_nothing(found: list[Verdict], tier: int) -> None:
    moved = [dataclasses.replace(verdict, tier=tier) for verdict in found]
    assert sum(advantages(moved)) == pytest.approx(sum(advantages(found)), abs=1e-6)


def test_nothing_that_an_answer_says_or_does_is_in_its_tier() -> None:
    alarming = "# CRITICAL: SIGSEGV, remote code execution, data loss\n" + AFTER
    loud = fix(after=alarming, new_findings=(Finding("S608", threat="high"),), tests_after=runs("", "abcdefgh"), raises="SIGSEGV")
    assert judge(loud).tier == judge(fix()).tier == 1


@pytest.mark.parametrize(
    ("problem", "tier"),
    [
        (Problem(), 0),
        (Problem(findings=(Finding("E501", "warning"),)), 0),
        (Problem(findings=(Finding("F401"),)), 0),
        (Problem(findings=(Finding("unresolved-import"),)), 1),
        (Problem(findings=(Finding("invalid-syntax"),)), 1),
        (Problem(findings=(Finding("TS2307"),)), 1),
        (Problem(findings=(Finding("E0425"),)), 1),
        (Problem(exceptions=("ModuleNotFoundError",)), 1),
        (Problem(findings=(Finding("TS2345"),)), 2),
        (Problem(findings=(Finding("invalid-argument-type"),)), 2),
        (Problem(exceptions=("TypeError",)), 2),
        (Problem(exceptions=("ValueError",)), 3),
        (Problem(exceptions=("java.lang.NullPointerException",)), 3),
        (Problem(exceptions=("panic",)), 3),
        (Problem(findings=(ASKED,), failing_tests=1), 3),
        (Problem(exceptions=("SIGSEGV",)), 4),
        (Problem(exceptions=("heap-use-after-free",)), 4),
        (Problem(exceptions=("java.lang.OutOfMemoryError",)), 4),
        (Problem(exceptions=("ValueError",), findings=(Finding("B602", "error", "high", "bandit"),)), 4),
    ],
)
def test_tiers_by_what_tools_say(problem: Problem, tier: int) -> None:
    assert tier_of(problem) == tier


# Known ways to game it: each is worth less than an honest fix, and no more than having done nothing

HONEST = judge(fix()).value
NOTHING = judge(fix(applied=False, kept=None, diagnostic_gone=None)).value

TRYING = "def mean(values):\n    try:\n        return sum(valeus) / len(values)\n"
SILENCED = {
    "type: ignore": BEFORE.replace("sum(valeus)", "sum(valeus)  # type: ignore"),
    "noqa": BEFORE.replace("sum(valeus)", "sum(valeus)  # noqa: F821"),
    "bare except": TRYING + "    except:\n        return 0\n",
    "except Exception: pass": TRYING + "    except Exception:\n        pass\n",
    "eslint": "// eslint-disable-next-line no-undef\n" + BEFORE,
    "empty catch": "try { mean(); } catch (e) { }\n" + BEFORE,
    "suppressed warning": '@SuppressWarnings("all")\n' + BEFORE,
    "allow": "#[allow(unused)]\n" + BEFORE,
    "skipped": "@pytest.mark.skip\n" + BEFORE,
}  # fmt: skip


def test_an_honest_fix_pays() -> None:
    assert HONEST > 0 > NOTHING
    assert judge(executed("abcde")).value > HONEST


@pytest.mark.parametrize("after", SILENCED.values(), ids=SILENCED)
def test_silencing_does_not_pay(after: str) -> None:
    """Though the diagnostic is gone, all tests pass, and the developer kept and praised it."""
    for evidence in (
        fix(after=after),
        fix(after=after, rating=1),
        executed("abcde", after=after, exception_gone=True),
    ):
        assert judge(evidence).value <= VETO < NOTHING


def test_a_suppression_that_stood_there_before_is_the_developers_own() -> None:
    quiet = BEFORE.replace("total / len(values)", "total / len(values)  # type: ignore")
    assert judge(fix(before=quiet, after=quiet.replace("valeus", "values"))).value == HONEST


@pytest.mark.parametrize("after", ["", "pass\n", "def mean(values):\n    ...\n"])
def test_deleting_the_code_does_not_pay(after: str) -> None:
    assert judge(fix(after=after)).value <= VETO
    assert judge(fix(after=after, exception_gone=True, rating=1)).value <= VETO


def test_deleting_what_is_too_much_is_a_fix() -> None:
    unused = Problem(findings=(Finding("F401", "warning", tool="Ruff"),))
    assert judge(fix(problem=unused, before="import os\n", after="")).value > 0
    assert judge(executed("abcde", after="    return fmean(values)\n")).value > 0, "tests that it did not write say so"


def test_overwriting_tests_does_not_pay() -> None:
    of = {
        "a": "tests/test_stats.py",
        "b": "tests/test_stats.py",
        "c": "tests/test_stats.py",
        "d": "other/test_d.py",
        "e": "other/test_d.py",
    }
    edits = frozenset({"stats.py", "tests/test_stats.py"})
    weak = fix(problem=LOGIC, edited_paths=edits, exception_gone=True)
    weak = dataclasses.replace(weak, tests_before=runs("cde", "ab", **of), tests_after=runs("abcde", **of))
    assert judge(weak).value <= VETO < NOTHING
    # Nor where nobody says which file a test is in, nor by having fewer of them.
    unnamed = dataclasses.replace(weak, tests_before=runs("cde", "ab"), tests_after=runs("abcde"))
    assert judge(unnamed).value <= VETO
    assert judge(executed("cde")).value <= VETO
    # New tests of its own count for nothing.
    assert judge(executed("cdexyz", "ab")).value <= VETO
    # A name that is misspelt inside a test is mended inside that test.
    assert judge(fix(path="tests/test_stats.py", edited_paths=frozenset({"tests/test_stats.py"}))).value == HONEST


def test_asking_a_question_instead_of_fixing_does_not_pay() -> None:
    question = fix(after=None, applied=None, kept=None, diagnostic_gone=None)
    assert judge(question).value <= VETO < NOTHING
    # That the fault is gone later is not its doing.
    assert judge(dataclasses.replace(question, diagnostic_gone=True, exception_gone=True, rating=1)).value <= VETO
    asked = Evidence(PROBLEM, kind="chat")
    assert judge(asked).censored, "words are what was asked for there"
    assert judge(fix(after=BEFORE)).value <= VETO, "an edit that changes nothing is none"


def test_undoing_the_developers_own_last_edit_does_not_pay() -> None:
    earlier = "def mean(values):\n    return None\n"
    back = fix(after=earlier, earlier=earlier, before=BEFORE[: BEFORE.index("    return")])
    spaced = dataclasses.replace(back, after="def mean(values):\n\n    return  None\n")
    for evidence in (back, spaced):
        proven = dataclasses.replace(evidence, kept=None, exception_gone=True)
        assert judge(proven).value <= 0 < HONEST, "the fault went with the edit that brought it"
        assert judge(evidence).value < judge(dataclasses.replace(evidence, earlier=None)).value <= HONEST
    assert judge(fix(earlier=BEFORE)).value == HONEST, "that was no edit"


def test_style_and_speed_do_not_buy_off_a_wrong_fix() -> None:
    wrong = executed("cde", "ab", gone_findings=(Finding("S1", threat="high"),) * 4)
    assert judge(wrong).value <= VETO
    insecure = executed("abcde", new_findings=(Finding("S602", threat="high"),))
    assert judge(insecure).value <= VETO


def test_a_rating_counts_three_times_unless_tools_know_better() -> None:
    good, bad = judge(fix(rating=1)), judge(fix(rating=-1))
    assert (good.value, good.weight) == (1.0, 3.0) and (bad.value, bad.weight) == (-1.0, 3.0)
    flattered = judge(executed("cde", "ab", rating=1))
    assert flattered.value <= VETO and flattered.weight == 1.0
    for flag in ("hallucination", "wrong", "insecure"):
        assert judge(fix(flag=flag, rating=1)).value == -1.0
    assert VETO < judge(fix(flag="unclear", rating=1)).value < HONEST
