"""Of live answers about errors: resolved, invented, withheld, for each language, and how far apart the languages are."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from tacit.cli.answers import words
from tacit.cli.commands import build
from tacit.learner.debug_kpis import LEAST, Share, kpis, parity
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import Context, Generation
from tacit.protocol.debugging import Check, Diagnostic, Draw, Message
from tacit.protocol.events import Accepted, DebugRecord, DiagnosticChecked, Event, Rated, Suggested, SuggestionRecord, Undone

SOURCE: dict[str, Any] = {"at": datetime(2026, 11, 21, 9, tzinfo=UTC), "session_id": "session-1", "suggestion_id": "suggestion-1"}
GENERATION = Generation(
    tokens=(1,), logprobs=(-0.1,), temperature=0.3, seed=1, policy_version="base", model="0" * 64, finish_reason="eos"
)
DIAGNOSTIC = Diagnostic(start=0, end=1, message="`valeus` is not defined", source="ty")
ACCEPTED = Accepted(**SOURCE, accepted_chars=7, total_chars=7, visible_ms=900, inferred=True)
GONE = DiagnosticChecked(**SOURCE, horizon="2m", elapsed_ms=120_000, gone=True, new_errors=0)
STAYS = GONE.model_copy(update={"gone": False})


def flagged(flag: Any) -> Rated:
    return Rated(**SOURCE, value=-1, flag=flag)


def draw(name: str) -> Draw:
    check = Check.model_validate({"name": name, "result": "failed", "note": "It uses `x`, which nothing defines."})
    return Draw(messages=(Message(role="user", text="?"),), text="!", generation=GENERATION, shown=False, checks=(check,))


def record(*events: Event, language: str = "python", shown: bool = True, draws: tuple[Draw, ...] = ()) -> SuggestionRecord:
    context = Context(path="a.py", language=language, prefix="", suffix="")
    return SuggestionRecord(
        suggestion=Suggested(
            **SOURCE, project="p", task="debug", context=context, context_sha256="0" * 64, text="values\n", generation=GENERATION,
            trigger="invoked", p_show=1, shown=shown, latency_ms=1, engine_ms=1,
            debug=DebugRecord(kind="fix", diagnostics=(DIAGNOSTIC,), original="valeus\n", draws=draws),
        ),
        events=events,
    )  # fmt: skip


def test_what_became_of_the_error_decides_and_a_complaint_outweighs_it() -> None:
    [python] = kpis(
        [
            record(ACCEPTED, GONE),
            record(ACCEPTED, STAYS),
            record(ACCEPTED, GONE, Undone(**SOURCE, after_ms=4000)),
            record(ACCEPTED, GONE, flagged("hallucination")),
            record(ACCEPTED, GONE, flagged("unclear").model_copy(update={"value": 1})),
            # Nobody knows.
            record(),
            record(shown=False, draws=(draw("names"), draw("parses"))),
        ]
    )
    assert (python.language, python.asked) == ("python", 7)
    assert (python.resolved.part, python.resolved.of) == (2, 5)
    assert (python.withheld.part, python.withheld.of) == (1, 7)
    assert (python.hallucinated.part, python.hallucinated.of) == (1, 6)
    assert (python.caught.part, python.caught.of) == (1, 2)
    assert (python.liked.part, python.liked.of) == (1, 2)


def test_languages_are_compared_where_enough_is_known() -> None:
    def some(language: str, good: int, bad: int) -> list[SuggestionRecord]:
        return [*[record(ACCEPTED, GONE, language=language)] * good, *[record(ACCEPTED, STAYS, language=language)] * bad]

    found = kpis([*some("python", LEAST, 0), *some("go", LEAST // 2, LEAST - LEAST // 2), *some("rust", 0, LEAST - 1)])
    assert {one.language for one in found} == {"python", "go", "rust"}
    told = parity(found)
    assert told is not None and (told.worst, told.best, told.ratio) == ("go", "python", 0.5)
    assert parity(found[:1]) is None and parity(kpis(some("go", 0, LEAST) + some("java", 0, LEAST))) is None
    assert "go is at 0.50 of python" in words(found, told)


def test_an_interval_holds_the_share_and_narrows() -> None:
    assert Share(0, 0).interval is None and Share(0, 0).value is None
    few, many = Share(5, 10).interval, Share(500, 1000).interval
    assert few is not None and many is not None
    assert few == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert few[0] < many[0] < 0.5 < many[1] < few[1]
    none, all_of_them = Share(0, 10).interval, Share(10, 10).interval
    assert none is not None and none[0] == 0.0 < none[1] and all_of_them is not None and all_of_them[1] == 1.0 > all_of_them[0]


def test_the_command_tells_of_the_project_or_that_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [record(ACCEPTED, GONE)]
    wanted: list[tuple[Any, ...]] = []

    async def export(self: TacitClient, *which: Any) -> AsyncIterator[SuggestionRecord]:
        wanted.append(which)
        for one in told:
            yield one

    monkeypatch.setattr(TacitClient, "export", export)

    def said(*more: str) -> str:
        ran = CliRunner().invoke(build(["answers"]), ["answers", *more])
        assert ran.exit_code == 0, ran.output
        return ran.output

    assert "1 of 1, 100%" in said("--project", "p") and "cannot be compared" in said("--project", "p", "--days", "3")
    assert wanted[0][:3] == ("p", "debug", None) and wanted[1][2] is not None
    found = json.loads(said("--project", "p", "--json"))
    assert found["languages"][0]["resolved"]["value"] == 1.0 and found["parity"] is None
    told.clear()
    assert "No answer about an error" in said("--project", "p")
