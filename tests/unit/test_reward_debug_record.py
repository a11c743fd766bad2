"""From what the product records of a debugging answer to its reward: what is not recorded is not made up."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tacit.cli.why import words
from tacit.learner.account import account
from tacit.learner.debug_record import evidence_of
from tacit.learner.reward_debug import DIAGNOSTIC_GONE, WEIGHTS, Verdict, correctness, judge
from tacit.protocol.completion import Context, Generation
from tacit.protocol.debugging import Check, Diagnostic
from tacit.protocol.events import (
    Accepted,
    AskedAgain,
    DebugRecord,
    DiagnosticChecked,
    Event,
    Rated,
    Rejected,
    Settled,
    Shown,
    Suggested,
    SuggestionRecord,
    Undone,
)

SOURCE: dict[str, Any] = {"at": datetime(2026, 11, 21, 9, tzinfo=UTC), "session_id": "session-1", "suggestion_id": "suggestion-1"}
BEFORE, AFTER = "    total = sum(valeus)\n", "    total = sum(values)\n"
DIAGNOSTIC = Diagnostic(start=16, end=22, message="Name `valeus` used when not defined", code="unresolved-reference", source="ty")
TRACE = (
    'Traceback (most recent call last):\n  File "stats.py", line 2, in mean\n    x = 1 // n\n'
    "ZeroDivisionError: division by zero\n"
)


def record(*events: Event, text: str = AFTER, shown: bool = True, **debug: Any) -> SuggestionRecord:
    told: dict[str, Any] = {"kind": "fix", "diagnostics": (DIAGNOSTIC,), "original": BEFORE, **debug}
    return SuggestionRecord(
        suggestion=Suggested(
            **SOURCE,
            project="p",
            task="debug",
            context=Context(path="stats.py", language="python", prefix="", suffix=""),
            context_sha256="0" * 64,
            text=text,
            generation=Generation(
                tokens=(1,), logprobs=(-0.1,), temperature=0.3, seed=1, policy_version="base", model="0" * 64, finish_reason="eos"
            ),
            trigger="invoked",
            p_show=1,
            shown=shown,
            latency_ms=1,
            engine_ms=1,
            debug=DebugRecord(**told),
        ),
        events=events,
    )


def accepted() -> Accepted:
    return Accepted(**SOURCE, accepted_chars=len(AFTER), total_chars=len(AFTER), visible_ms=900, inferred=True)


def settled(span: str) -> Settled:
    return Settled(**SOURCE, horizon="10m", elapsed_ms=600_000, span_text=span, settled_text=span)


def checked(*, gone: bool, errors: int = 0) -> DiagnosticChecked:
    return DiagnosticChecked(**SOURCE, horizon="2m", elapsed_ms=120_000, gone=gone, new_errors=errors)


def of(*events: Event, **changes: Any) -> Verdict:
    return judge(evidence_of(record(*events, **changes)))


def test_applied_kept_and_its_diagnostic_gone() -> None:
    found = evidence_of(record(accepted(), settled(AFTER), checked(gone=True)))
    assert correctness(found) == DIAGNOSTIC_GONE
    verdict = judge(found)
    assert verdict.value > 0 and verdict.tier == 1 and verdict.outcome == "applied"
    # What came later counts.
    assert of(accepted(), settled(AFTER), checked(gone=True), checked(gone=False).model_copy(update={"elapsed_ms": 600_000})).veto


@pytest.mark.parametrize(
    "worse",
    [
        (checked(gone=False),),
        (checked(gone=True, errors=2),),
        (checked(gone=True), AskedAgain(**SOURCE, after_ms=9000)),
        (checked(gone=True), Undone(**SOURCE, after_ms=4000)),
        (checked(gone=True), settled("")),
        (checked(gone=True), Rated(**SOURCE, value=-1, flag="hallucination")),
    ],
    ids=["still there", "new errors", "asked again", "undone", "thrown away", "flagged"],
)
def test_what_went_wrong_is_seen(worse: tuple[Event, ...]) -> None:
    assert of(accepted(), *worse).value < 0 < of(accepted(), checked(gone=True)).value


def test_errors_count_when_they_are_looked_for_first() -> None:
    late = checked(gone=True, errors=2).model_copy(update={"horizon": "10m", "elapsed_ms": 600_000})
    early = checked(gone=True, errors=2).model_copy(update={"horizon": "10s", "elapsed_ms": 10_000})
    good = of(accepted(), checked(gone=True))
    # Half-typed lines ten minutes later are not the fix's.
    assert of(accepted(), late, checked(gone=True)) == good and not good.veto
    assert of(accepted(), checked(gone=True), early).veto


def test_a_fix_that_only_deletes_lines_is_a_fix() -> None:
    unused = Diagnostic(start=0, end=9, message="`os` imported but unused", code="F401", source="ruff")
    gone = settled("").model_copy(update={"span_text": ""})
    deletion: dict[str, Any] = {"text": "", "original": "import os", "diagnostics": (unused,)}
    found = evidence_of(record(accepted(), gone, checked(gone=True), **deletion))
    assert (found.after, found.edited_paths) == ("", {"stats.py"})
    verdict = judge(found)
    assert verdict.value > 0 and not verdict.veto and verdict.outcome == "applied"
    turned_down = of(Rejected(**SOURCE, reason="dismissed", visible_ms=9000), **deletion)
    assert -0.5 < turned_down.value < 0 and not turned_down.veto
    # Nothing was shown: there is no fix.
    assert evidence_of(record(shown=False, **deletion)).after is None


def test_without_a_decision_there_is_no_label() -> None:
    assert of(Shown(**SOURCE, inferred=False)).censored
    assert of(Rejected(**SOURCE, reason="focus_lost", visible_ms=9000)).censored
    assert of(shown=False, text="", reason="Nothing passed.").censored == "not shown"
    turned_down = of(Rejected(**SOURCE, reason="dismissed", visible_ms=9000))
    assert turned_down.labelled and -0.5 < turned_down.value < 0 and not turned_down.veto


def test_tests_count_where_something_had_failed() -> None:
    passed = (Check(name="tests", result="passed", note=""),)
    failed = (Check(name="tests", result="failed", note=""),)
    assert correctness(evidence_of(record(accepted(), trace=TRACE, checks=passed))) == 1.0
    assert correctness(evidence_of(record(accepted(), checks=passed))) is None, "nothing says that they had failed"
    assert correctness(evidence_of(record(accepted(), trace=TRACE, checks=failed))) == pytest.approx(-0.3)


def test_the_tier_is_of_the_trace_and_the_tools_never_of_the_answer() -> None:
    assert of(accepted(), trace=TRACE).tier == 3
    loud = "SIGSEGV security data loss"
    assert of(accepted(), checked(gone=True), reason=loud, text=f"# {loud}\n{AFTER}").tier == 1
    scanner = Diagnostic(start=0, end=4, message="shell=True", code="B602", source="Bandit")
    assert of(accepted(), diagnostics=(scanner,)).tier == 4


def test_an_explanation_is_judged_by_words_and_questions_alone() -> None:
    words: dict[str, Any] = {"kind": "explain", "text": "It is misspelt.", "original": ""}
    assert of(**words).censored
    assert of(AskedAgain(**SOURCE, after_ms=9000), **words).value <= -0.5
    assert of(Rated(**SOURCE, value=1), **words).value == 1.0


def test_why_says_the_tier_and_the_veto() -> None:
    whole = account(record(accepted(), checked(gone=False), trace=TRACE))
    told = whole["reward"]
    assert told["tier"] == 3 and told["veto"] and told["value"] <= -0.5 and set(told["parts"]) == set(WEIGHTS)
    assert "severity tier 3; veto: it does not mend the fault" in words(whole)


def test_a_completion_is_none() -> None:
    plain = record()
    with pytest.raises(ValueError, match="no debugging answer"):
        evidence_of(plain.model_copy(update={"suggestion": plain.suggestion.model_copy(update={"debug": None})}))
