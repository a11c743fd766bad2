"""The debugging service with an engine that writes what it is told: a good fix is shown, and what breaks down is said.

Real checks, real `ty`; only the words of the model are given, because no model can be told what to write.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from bubblewrap_here import bubblewrap
from fastapi import FastAPI
from pydantic import ValidationError
from scripted_engine import Scripted

from tacit.protocol.debugging import (
    DEBUG_CHUNK,
    DebugChunk,
    DebugRequest,
    Done,
    Failed,
    Message,
    Progress,
    Proposal,
    TextDelta,
    Withheld,
)
from tacit.protocol.errors import Refused
from tacit.server.debugging import answering
from tacit.server.debugging.answering import DebugService
from tacit.server.debugging.edits import Edit, apply, minimal_edits
from tacit.server.debugging.prompting import fitted
from tacit.server.debugging.routes import add_routes
from tacit.server.engine.interface import Drawn, DrawStats
from tacit.server.idle import Idle
from tacit.server.metrics import Metrics
from tacit.server.settings import Settings
from tacit.server.team.gate import SCOPE_KEY
from tacit.server.team.users import OPERATOR, User

RESTING = SimpleNamespace(asked=lambda: None)
"""Nobody makes room for a learner here."""
BROKEN = "def total(values):\n    result = 0\n    for value in values:\n        result += vlaue\n    return result\n"
GOOD = f"The name is misspelt.\n\n```python\n{BROKEN.replace('vlaue', 'value')}```\n"
BAD = f"It has to be another one.\n\n```python\n{BROKEN.replace('vlaue', 'element')}```\n"
PASSED = {"scope": "passed", "parses": "passed", "names": "passed", "diagnostic": "passed", "tests": "unchecked"}


def asking(kind: str = "fix", **changes: Any) -> DebugRequest:
    start = BROKEN.index("vlaue")
    message = "Name `vlaue` used when not defined"
    diagnostic = {"start": start, "end": start + 5, "message": message, "code": "unresolved-reference", "source": "ty"}
    whole = {
        "kind": kind, "request_id": "r", "session_id": "s", "language": "python", "path": "cart.py", "text": BROKEN,
        "diagnostics": (diagnostic,), "seed": 1, "record": True, **changes,
    }  # fmt: skip
    return DebugRequest.model_validate(whole)


async def answered(*answers: str | Exception, **changes: Any) -> list[DebugChunk]:
    service = DebugService(Scripted(*answers), Settings(context_tokens=8192))
    return [chunk async for chunk in service.answer(asking(**changes), "base", "0" * 64)]


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here could prove a fix: small changes are not searched for."""

    async def nothing(self: answering.Checker, left: float) -> str:
        return ""

    monkeypatch.setattr(answering.Checker, "proof", nothing)


@pytest.mark.usefixtures("unproven")
@pytest.mark.parametrize("answers", [(GOOD,), (BAD, GOOD), ("I do not know.", BAD, GOOD)])
async def test_the_first_good_candidate_is_shown(answers: tuple[str, ...]) -> None:
    chunks = await answered(*answers)
    proposal, done = chunks[-2], chunks[-1]
    assert isinstance(proposal, Proposal) and isinstance(done, Done)
    changed = apply(BROKEN, [Edit(edit.start, edit.end, edit.text) for edit in proposal.edits])
    assert changed == BROKEN.replace("vlaue", "value")
    assert proposal.reason == "The name is misspelt." and proposal.confidence > 0.5
    assert {check.name: check.result for check in proposal.checks} == PASSED
    assert [draw.shown for draw in done.draws] == [False] * (len(answers) - 1) + [True]


class Silent(Scripted):
    async def generate(self, *arguments: Any) -> AsyncGenerator[Any, None]:
        await asyncio.Event().wait()
        yield


@pytest.mark.parametrize("kind", ["explain", "chat"])
async def test_an_explanation_that_did_not_begin_in_time_is_not_an_empty_one(kind: str) -> None:
    turns = ({"role": "user", "text": "Why?"},)
    service = DebugService(Silent(), Settings(context_tokens=8192))
    with pytest.raises(Refused, match=r"no answer within 1 s: .*`--deadline`"):
        async for chunk in service.answer(asking(kind, turns=turns, deadline_ms=1000), "base", "0" * 64):
            assert isinstance(chunk, Progress)


class Halting(Scripted):
    """Begins to say something."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__()
        self.hangs = hangs

    async def generate(self, *arguments: Any) -> AsyncGenerator[Any, None]:
        yield DrawStats(1, 1, 1.0, 0, 0.0, False)
        yield Drawn(73, "It is", -0.1)
        if self.hangs:
            await asyncio.Event().wait()
        yield DrawStats(1, 1, 1.0, 1, 1.0, False)


@pytest.mark.parametrize(("hangs", "why"), [(True, "its time was over (1 s at most)"), (False, "as long as an answer may be")])
async def test_an_answer_that_is_not_whole_says_so_beside_its_text(hangs: bool, why: str) -> None:
    service = DebugService(Halting(hangs=hangs), Settings(context_tokens=8192))
    chunks = [chunk async for chunk in service.answer(asking("explain", deadline_ms=1000), "base", "0" * 64)]
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta)) == "It is"
    done = chunks[-1]
    assert isinstance(done, Done) and why in done.cut and done.draws[0].text == "It is"


async def test_a_whole_answer_has_nothing_beside_it() -> None:
    done = (await answered("It is so.", kind="explain"))[-1]
    assert isinstance(done, Done) and done.cut == ""


@pytest.mark.usefixtures("unproven")
async def test_what_is_not_good_is_withheld() -> None:
    chunks = await answered(BAD, BAD, BAD)
    assert isinstance(chunks[-2], Withheld) and "element" in chunks[-2].reason
    assert not any(isinstance(chunk, Proposal) for chunk in chunks)


def other(number: int) -> str:
    return BAD.replace("element", f"element_{number}")


def talked(engine: Scripted) -> list[bool]:
    """Of each draw, whether its prompt holds the finding of one that was dropped."""
    return ["That does not work" in prompt for prompt, _ in engine.asked]


async def with_engine(*answers: str | Exception, **changes: Any) -> tuple[Scripted, list[DebugChunk]]:
    engine = Scripted(*answers)
    service = DebugService(engine, Settings(context_tokens=8192))
    return engine, [chunk async for chunk in service.answer(asking(**changes), "base", "0" * 64)]


@pytest.mark.usefixtures("unproven")
@pytest.mark.parametrize(
    ("answers", "temperatures"),
    [
        ((BAD, other(1), other(2), other(3), GOOD), [0.3, 0.7, 0.9, 0.9, 0.9]),
        ((BAD, BAD, other(1), GOOD), [0.3, 0.7, 0.9, 0.9]),
        ((BAD, other(1), BAD, GOOD), [0.3, 0.7, 0.9, 0.9]),
    ],
)
async def test_what_is_drawn_again_is_drawn_warmer_and_the_record_says_how_warm(
    answers: tuple[str, ...], temperatures: list[float]
) -> None:
    engine, chunks = await with_engine(*answers, candidates=8)
    done = chunks[-1]
    assert isinstance(chunks[-2], Proposal) and isinstance(done, Done)
    assert [sampling.temperature for _, sampling in engine.asked] == temperatures
    assert [draw.generation.temperature for draw in done.draws] == temperatures
    assert [draw.generation.seed for draw in done.draws] == [sampling.seed for _, sampling in engine.asked]
    assert [draw.shown for draw in done.draws] == [False] * (len(answers) - 1) + [True]
    assert talked(engine) == [False, True] + [False] * (len(answers) - 2)
    warmest, _ = await with_engine(BAD, GOOD, temperature=1.5)
    assert [sampling.temperature for _, sampling in warmest.asked] == [1.5, 1.5]


@pytest.mark.usefixtures("unproven")
@pytest.mark.parametrize(
    ("answers", "drawn", "words"),
    [
        (
            (BAD, BAD.replace("It has to be", "This is"), BAD, GOOD),
            3,
            "The last 2 only repeated what had been dropped, so no more",
        ),
        (("I do not know.",) * 4, 3, "The last 2 only repeated"),
        ((BAD, other(1), BAD, other(1), GOOD), 4, "The last 2 only repeated"),
    ],
)
async def test_repeats_are_not_checked_again_and_end_it(
    answers: tuple[str, ...], drawn: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    check = answering.Checker.check

    async def counted(self: answering.Checker, changed: str, *more: Any) -> Any:
        checked.append(changed)
        return await check(self, changed, *more)

    monkeypatch.setattr(answering.Checker, "check", counted)
    engine, chunks = await with_engine(*answers, candidates=8)
    assert len(engine.asked) == drawn and len(set(checked)) == len(checked)
    assert isinstance(chunks[-2], Withheld) and words in chunks[-2].reason
    done = chunks[-1]
    assert isinstance(done, Done) and all(draw.checks[-1].result == "failed" for draw in done.draws)
    assert sum("repeats" in chunk.text for chunk in chunks if isinstance(chunk, Progress)) >= 2


async def test_where_a_test_names_two_functions_both_are_asked_about() -> None:
    text = "def encode(x):\n    return x + 1\n\n\ndef decode(x):\n    return x - 2\n"
    turns = ({"role": "user", "text": "assert decode(encode(encode(3))) == 3"},)
    wrong = "Sum.\n\n```python\ndef encode(x):\n    return x + undefined_name\n```\n"
    right = "Less.\n\n```python\ndef decode(x):\n    return x - 1\n```\n"
    about = {"text": text, "turns": turns, "diagnostics": (), "path": "code.py", "candidates": 3}
    engine, chunks = await with_engine(wrong, wrong, right, **about)
    proposal = chunks[-2]
    assert isinstance(proposal, Proposal), proposal
    assert apply(text, [Edit(edit.start, edit.end, edit.text) for edit in proposal.edits]) == text.replace("- 2", "- 1")
    # The second place is a new question, cool again and without what was said of the first.
    assert [sampling.temperature for _, sampling in engine.asked] == [0.3, 0.7, 0.3]
    assert talked(engine) == [False, True, False]


async def test_a_candidate_that_breaks_a_test_is_dropped_and_one_that_mends_one_is_surer(tmp_path: Path) -> None:
    (tmp_path / "cart.py").write_text(BROKEN)
    (tmp_path / "test_cart.py").write_text(
        "import unittest\nfrom cart import total\n\n\nclass Totals(unittest.TestCase):\n"
        "    def test_none(self):\n        self.assertEqual(total([]), 0)\n\n"
        "    def test_some(self):\n        self.assertEqual(total([1, 2]), 3)\n"
    )
    breaks = GOOD.replace("result = 0", "result = 1")
    with bubblewrap():
        chunks = await answered(breaks, GOOD, workspace=str(tmp_path), run_tests=True)
    proposal, done = chunks[-2], chunks[-1]
    assert isinstance(proposal, Proposal) and isinstance(done, Done)
    assert proposal.checks[-1].note == "1 test that failed pass now. 2 tests that cover it pass."
    assert done.draws[0].checks[-1].note == "It breaks 1 test that passed before: `test_none`."
    [plain] = [chunk for chunk in await answered(GOOD, workspace=str(tmp_path)) if isinstance(chunk, Proposal)]
    assert proposal.confidence > plain.confidence


async def test_what_surrounds_an_error_is_dropped_whole_the_last_first_and_takes_its_share() -> None:
    snippets = [{"path": f"f{number}.py", "text": f"piece_{number} = 1\n" * 20, "kind": "frame"} for number in range(8)]
    request = asking(snippets=snippets)

    async def count(messages: Sequence[Message]) -> int:
        return sum(len(message.text) for message in messages)

    bare = await fitted(asking(), None, 10**6, count)
    assert (await fitted(request, None, bare.tokens, count)).snippets == 0
    for room in (2 * bare.tokens, 4 * bare.tokens):
        prompt = await fitted(request, None, room, count)
        shown = [f"piece_{number} =" in "".join(message.text for message in prompt.messages) for number in range(8)]
        assert shown == [number < prompt.snippets for number in range(8)]
        assert prompt.tokens <= room and prompt.tokens - bare.tokens <= 0.35 * room
    assert 0 < prompt.snippets < 8


async def test_what_differs_is_looked_for_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def seen(old: str, new: str) -> tuple[Edit, ...]:
        threads.append(threading.get_ident())
        return minimal_edits(old, new)

    monkeypatch.setattr(answering, "minimal_edits", seen)
    await answered(GOOD)
    assert len(threads) == 1 and threading.get_ident() not in threads


class Adapters:
    """No project has one."""

    @contextlib.contextmanager
    def using(self, *_: object) -> Iterator[str]:
        yield "base"

    async def answered(self, *_: object) -> None: ...


async def test_what_breaks_down_on_the_way_is_the_streams_last_line(caplog: pytest.LogCaptureFixture) -> None:
    """A stream that just ends would look like a network that is down. The log has the place, and nothing of the code."""
    service = DebugService(Scripted(ValueError(f"in {BROKEN}")), Settings(context_tokens=8192))
    host = SimpleNamespace(debugging=lambda: (service, "0" * 64), ready=True)
    app = FastAPI()
    parts: Any = SimpleNamespace(
        metrics=Metrics(), host=host, adapters=Adapters(), requests=0, turns=None, idle=Idle(), resting=RESTING
    )
    add_routes(app, parts)
    with caplog.at_level(logging.ERROR):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            body = asking("explain").model_dump(mode="json")
            answer = await asyncio.wait_for(client.post("/v1/debug", json=body), 60)
    chunks = [DEBUG_CHUNK.validate_json(line) for line in answer.content.splitlines()]
    assert answer.status_code == 200 and [type(chunk) for chunk in chunks] == [Progress, TextDelta, TextDelta, Failed]
    assert isinstance(chunks[-1], Failed) and "ValueError" in chunks[-1].message and chunks[-1].mend
    assert "ValueError" in caplog.text and "scripted_engine.py" in caplog.text and "vlaue" not in caplog.text


C = "int total(void) {\n    return vlaue;\n}\n"


@pytest.mark.parametrize("user", [OPERATOR, User("anna")])
async def test_whoever_comes_with_a_token_is_a_guest(user: User) -> None:
    """For them no compiler is started that a file could have read others of the server's."""
    service = DebugService(Scripted(f"Misspelt.\n\n```c\n{C.replace('vlaue', '1')}```\n"), Settings(context_tokens=8192))
    host = SimpleNamespace(debugging=lambda: (service, "0" * 64), ready=True)
    app = FastAPI()
    parts: Any = SimpleNamespace(
        metrics=Metrics(), host=host, adapters=Adapters(), requests=0, turns=None, idle=Idle(), resting=RESTING
    )
    add_routes(app, parts)

    async def behind_the_gate(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, SCOPE_KEY: user}, receive, send)

    at = C.index("vlaue")
    asked = asking(language="c", path="total.c", text=C, diagnostics=({"start": at, "end": at + 5, "message": "undeclared"},))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(behind_the_gate), base_url="http://server") as client:
        answer = await asyncio.wait_for(client.post("/v1/debug", json=asked.model_dump(mode="json")), 120)
    chunks = [DEBUG_CHUNK.validate_json(line) for line in answer.content.splitlines()]
    [proposal] = [chunk for chunk in chunks if isinstance(chunk, Proposal)]
    [names] = [check for check in proposal.checks if check.name == "names"]
    assert ("team's server" in names.note) == (not user.operator)


@pytest.mark.parametrize(
    "changes", [{"workspace": "shop"}, {"workspace": "../shop"}, {"workspace": "/shop\0"}, {"path": "cart.py\0"}]
)
def test_a_path_that_means_nothing_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"absolute|NUL"):
        asking(**changes)
    for good in ("/shop", "C:\\shop", ""):
        assert asking(workspace=good).workspace == good
