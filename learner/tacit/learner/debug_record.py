"""From a record of a debugging answer to the evidence that its reward is made of. Pure; derives nothing that was not recorded.

What the record does not hold is None: whether an exception was gone on a new run, what stood there before the developer's own
last edit, run times. Tests count where a trace was given: that they pass says nothing if nothing had failed.
"""

from typing import Final, Literal

from tacit.learner.reward import edit_distance
from tacit.learner.reward_debug import Evidence, SuiteRun
from tacit.learner.severity import Finding, Problem, Threat
from tacit.protocol.debugging import Check, Diagnostic
from tacit.protocol.events import (
    Accepted,
    AskedAgain,
    DebugRecord,
    DiagnosticChecked,
    Rated,
    Rejected,
    Settled,
    Shown,
    SuggestionRecord,
    Undone,
)
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
    rating = next((event for event in reversed(events) if isinstance(event, Rated)), None)
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
        tests_after=_tests(debug),
        applied=True if accepted else False if rejected else None,
        undone=any(isinstance(event, Undone) for event in events),
        kept=1 - edit_distance(suggestion.text, latest.span_text or "") if latest is not None else None,
        diagnostic_gone=checks[-1].gone if checks else None,
        # Errors that came later are of what was typed since.
        new_findings=tuple(Finding(code="") for _ in range(checks[0].new_errors)) if checks else (),
        asked_again=any(isinstance(event, AskedAgain) for event in events),
        rating=rating.value if rating is not None else None,
        flag=rating.flag if rating is not None else None,
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


def _result(checks: tuple[Check, ...], name: Literal["parses", "tests"]) -> bool | None:
    result = next((check.result for check in checks if check.name == name), "unchecked")
    return None if result == "unchecked" else result == "passed"


def _tests(debug: DebugRecord) -> SuiteRun | None:
    passed = _result(debug.checks, "tests")
    if passed is False:
        return SuiteRun(failed=frozenset({COVERING}))
    return SuiteRun(passed=frozenset({COVERING})) if passed and debug.trace else None
