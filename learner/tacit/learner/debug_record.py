"""From a record of a debugging answer to the evidence that its reward is made of. Pure; derives nothing that was not recorded.

What the record does not hold is None: what stood there before the developer's own last edit, run times. Tests that the server
ran count where a trace was given: that they pass says nothing if nothing had failed. A run after the fix comes before them.

Each draw has its own evidence: of one that a check dropped, what that check found (`evidence_of_draw`).
"""

from typing import Final, Literal

from tacit.learner.reward import edit_distance
from tacit.learner.reward_debug import Evidence, SuiteRun
from tacit.learner.severity import Finding, Problem, Threat
from tacit.protocol.debugging import Check, Diagnostic, Draw
from tacit.protocol.events import (
    Accepted,
    AskedAgain,
    BlockProposed,
    DebugRecord,
    DiagnosticChecked,
    Rated,
    Rejected,
    Reran,
    Settled,
    Shown,
    SuggestionRecord,
    Undone,
)
from tacit.protocol.fix_prompt import code_of, code_span
from tacit.protocol.traces.reading import read
from tacit.protocol.traces.trace import Trace

SCANNERS: Final = ("bandit", "semgrep", "gosec", "codeql", "brakeman", "sonar")
"""Tools, as diagnostics name them, whose findings are of security."""
COVERING: Final = "covering tests"
"""The record says whether they passed, not which they were."""


def evidence_of(record: SuggestionRecord) -> Evidence:
    """Of a suggestion of the task `debug`. ValueError: it is none."""
    suggestion, events = record.suggestion, record.events
    debug = suggestion.debug
    if debug is None:
        raise ValueError(f"suggestion {suggestion.suggestion_id} is no debugging answer")
    accepted = any(isinstance(event, Accepted) for event in events)
    rejected = any(isinstance(event, Rejected) and event.reason != "focus_lost" for event in events)
    checks = sorted(
        (event for event in events if isinstance(event, DiagnosticChecked) and event.horizon != "close"),
        key=lambda event: event.elapsed_ms,
    )
    spans = [event for event in events if isinstance(event, Settled) and event.span_text is not None and event.horizon != "close"]
    latest = max(spans, key=lambda event: event.elapsed_ms, default=None)
    rerun = max((event for event in events if isinstance(event, Reran)), key=lambda event: event.elapsed_ms, default=None)
    tests_before, tests_after = _rerun_tests(rerun) if rerun is not None else (None, None)
    if tests_after is None:
        tests_before, tests_after = suites_of(debug.checks, trace=bool(debug.trace))
    rating = next((event for event in reversed(events) if isinstance(event, Rated)), None)
    # Of an answer, what was put into the file is one of its code blocks.
    block = next((event for event in reversed(events) if isinstance(event, BlockProposed)), None)
    shown = suggestion.shown or any(isinstance(event, Shown) for event in events)
    # A fix may leave nothing of its lines; one that was not shown is none.
    fix = debug.kind == "fix" and shown
    return Evidence(
        problem=problem_of(debug),
        kind=debug.kind,
        shown=shown,
        path=suggestion.context.path,
        before=debug.original,
        after=suggestion.text if fix else None,
        edited_paths=frozenset({suggestion.context.path}) if fix else frozenset(),
        parses=_result(debug.checks, "parses"),
        raises=rerun.raised or None if rerun is not None else None,
        tests_before=tests_before,
        tests_after=tests_after,
        applied=True if accepted else False if rejected else None,
        undone=any(isinstance(event, Undone) for event in events),
        kept=1 - edit_distance(block.text if block is not None else suggestion.text, latest.span_text or "")
        if latest is not None
        else None,
        diagnostic_gone=checks[-1].gone if checks else None,
        exception_gone=rerun.exception_gone if rerun is not None else None,
        # Errors that came later are of what was typed since.
        new_findings=tuple(Finding(code="") for _ in range(checks[0].new_errors)) if checks else (),
        asked_again=any(isinstance(event, AskedAgain) for event in events),
        rating=rating.value if rating is not None else None,
        flag=rating.flag if rating is not None else None,
    )


def evidence_of_draw(record: SuggestionRecord, draw: Draw) -> Evidence | None:
    """Of a candidate that a check dropped; nobody saw it. None: no check failed, or time was up before one could be made.

    ValueError: the suggestion is no debugging answer.
    """
    debug = record.suggestion.debug
    if debug is None:
        raise ValueError(f"suggestion {record.suggestion.suggestion_id} is no debugging answer")
    failed = {check.name for check in draw.checks if check.result == "failed"}
    if not failed or "time" in failed:
        return None
    code = code_of(draw.messages) or ""
    span = code_span(draw.text)
    tests = suites_of(draw.checks, trace=True)
    changed = draw.text[span[0] : span[1]].strip("\n") if span is not None and "format" not in failed else None
    return Evidence(
        problem=problem_of(debug),
        kind=debug.kind,
        path=record.suggestion.context.path,
        before=code,
        # The scope's check also refuses what would only silence or delete: no more than words, then.
        after=None if "scope" in failed else changed,
        parses=_result(draw.checks, "parses"),
        # A name that nothing defines is raised, or stops the compiler, where it is reached.
        raises="NameError" if "names" in failed else None,
        tests_before=tests[0],
        tests_after=tests[1],
        applied=True,
        diagnostic_gone=_result(draw.checks, "diagnostic"),
    )


def problem_of(debug: DebugRecord) -> Problem:
    """What tools said when help was asked for: the diagnostics and the trace, never a word of an answer."""
    trace = read(debug.trace) if debug.trace else None
    return Problem(
        exceptions=tuple(one.type for one in trace.raised) if trace is not None and not trace.refused else (),
        findings=(*map(_finding, debug.diagnostics), *_refusals(trace)),
    )


def _refusals(trace: Trace | None) -> tuple[Finding, ...]:
    """A compiler's errors: of a program that has not run."""
    refused = trace.raised if trace is not None and trace.refused else ()
    return tuple(Finding(one.type, place=one.message) for one in refused)


def _finding(diagnostic: Diagnostic) -> Finding:
    tool = diagnostic.source.lower()
    threat: Threat = "none"
    if any(name in tool for name in SCANNERS):
        by_level: dict[str, Threat] = {"error": "high", "warning": "medium"}
        threat = by_level.get(diagnostic.severity, "low")
    return Finding(diagnostic.code, diagnostic.severity, threat, diagnostic.source, diagnostic.message)


def _result(checks: tuple[Check, ...], name: Literal["parses", "tests", "diagnostic"]) -> bool | None:
    result = next((check.result for check in checks if check.name == name), "unchecked")
    return None if result == "unchecked" else result == "passed"


def suites_of(checks: tuple[Check, ...], *, trace: bool) -> tuple[SuiteRun | None, SuiteRun | None]:
    """The covering tests that the server ran, before and after. trace: something had failed. A record without names says only
    whether they passed."""
    runs = next((check.runs for check in checks if check.name == "tests" and check.runs is not None), None)
    if runs is not None:
        return (
            _suite(runs.before_passed, runs.before_failed),
            _suite(runs.after_passed, runs.after_failed),
        )
    passed = _result(checks, "tests")
    if passed is False:
        return None, SuiteRun(failed=frozenset({COVERING}))
    return None, SuiteRun(passed=frozenset({COVERING})) if passed and trace else None


def _suite(passed: tuple[str, ...], failed: tuple[str, ...]) -> SuiteRun:
    """Without run times: those of a developer's machine are mostly of what else it does."""
    # A test's name begins with its file.
    paths = {name: name.partition("::")[0] for name in (*passed, *failed) if "::" in name}
    return SuiteRun(frozenset(passed), frozenset(failed), paths)


def _rerun_tests(event: Reran) -> tuple[SuiteRun | None, SuiteRun | None]:
    """(before, after); the event counts them and names none."""
    fixed, failing, broken = (
        frozenset(f"{kind} {number}" for number in range(count))
        for kind, count in (("fixed", event.tests_fixed), ("failing", event.tests_failing), ("broken", event.tests_broken))
    )
    if not fixed | failing | broken:
        return None, None
    return SuiteRun(passed=broken, failed=fixed | failing), SuiteRun(passed=fixed, failed=failing | broken)
