"""The record of a debugging answer: secrets do not get into the store by it, and what was stored before it can still be read."""

import json
from datetime import UTC, datetime
from typing import Any

from tacit.protocol.completion import Context, Generation
from tacit.protocol.debugging import Check, Diagnostic, Draw, Message, Related
from tacit.protocol.events import EVENT, AskedAgain, DebugRecord, DiagnosticChecked, Suggested
from tacit.server.ingest import prepare, redacted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "hunter2hunter2hunter2"


def suggested(**changes: Any) -> Suggested:
    generation = Generation(
        tokens=(1, 2),
        logprobs=(-0.1, -0.2),
        temperature=0.3,
        seed=1,
        policy_version="base",
        model="0" * 64,
        finish_reason="eos",
    )
    draw = Draw(messages=(Message(role="user", text="fix it"),), text="x = 1", generation=generation, shown=True)
    debug = DebugRecord(
        kind="fix",
        diagnostics=(Diagnostic(start=0, end=1, message="x is wrong"),),
        draws=(draw.model_copy(update=changes),),
    )
    context = Context(path="a.py", language="python", prefix="", suffix="")
    return Suggested(
        at=NOW,
        session_id="session-0001",
        suggestion_id="suggestion-0001",
        project="p",
        task="debug",
        context=context,
        context_sha256=context.digest(),
        text="x = 1",
        generation=generation,
        trigger="invoked",
        p_show=1.0,
        shown=True,
        latency_ms=1,
        engine_ms=1,
        debug=debug,
    )


def test_a_draw_without_a_secret_stays_as_it_was_drawn() -> None:
    event = suggested(messages=(Message(role="user", text='password = "**************"'),))
    assert redacted(event) == event


def test_a_secret_in_a_prompt_or_in_what_was_drawn_costs_the_tokens() -> None:
    for changes in ({"messages": (Message(role="user", text=f'password = "{SECRET}"'),)}, {"text": f'password = "{SECRET}"'}):
        event = redacted(suggested(**changes))
        assert isinstance(event, Suggested) and event.debug is not None
        assert SECRET not in event.model_dump_json()
        assert event.debug.draws[0].generation.tokens == () == event.generation.tokens
        assert SECRET not in json.dumps([row["body"] for row in prepare([suggested(**changes)]).events])


def test_a_secret_in_what_a_tool_said_is_not_stored() -> None:
    """It costs no tokens: they do not spell it."""
    note = Check(name="names", result="failed", note=f'password = "{SECRET}"')
    event = suggested(checks=(note,))
    assert event.debug is not None
    related = Related(path="b.py", line=1, message=f'password = "{SECRET}"')
    said = {"checks": (note,), "diagnostics": (Diagnostic(start=0, end=1, message="x is wrong", related=(related,)),)}
    (stored,) = prepare([event.model_copy(update={"debug": event.debug.model_copy(update=said)})]).events
    assert SECRET not in stored["body"] and stored["body"].count("<redacted:assigned>") == 3
    kept = EVENT.validate_json(stored["body"])
    assert isinstance(kept, Suggested) and kept.debug is not None
    assert kept.debug.draws[0].generation.tokens == kept.generation.tokens == (1, 2)


def test_what_was_recorded_before_there_were_debugging_answers_can_be_read() -> None:
    old = json.loads(suggested().model_dump_json())
    del old["debug"]
    event = EVENT.validate_python(old)
    assert isinstance(event, Suggested) and event.debug is None


def test_what_a_reward_needs_is_stored_by_its_suggestion() -> None:
    about = {"at": NOW, "session_id": "session-0001", "suggestion_id": "suggestion-0001"}
    events = [
        DiagnosticChecked(**about, horizon="2m", elapsed_ms=120_000, gone=True, new_errors=1),
        AskedAgain(**about, after_ms=5000),
    ]
    rows = prepare(events).events
    assert [(row["kind"], row["suggestion_id"]) for row in rows] == [
        ("diagnostic_checked", "suggestion-0001"),
        ("asked_again", "suggestion-0001"),
    ]
    assert [EVENT.validate_json(row["body"]) for row in rows] == events
