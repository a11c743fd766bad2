"""A scripted developer with a bug: asks the product for a fix, applies what is shown, runs the test, takes out and mends by hand
what is still wrong, and reports what an editor would. Touches the client and, through the judge, the sandbox.

SIMULATED: the learner sees the events that a real editor sends, and no more. The reference is what the developer writes by hand
in the end; whether a fix works is only ever said by the test.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tacit.bench import debug_asking
from tacit.bench.debug_tasks import Outcome, Task, judge
from tacit.lsp.debugging.answer import Answer, record
from tacit.lsp.debugging.edit import Change, change_of
from tacit.lsp.documents import Document
from tacit.protocol.client import TacitClient
from tacit.protocol.debugging import DebugRequest
from tacit.protocol.errors import Refused
from tacit.protocol.events import Accepted, Event, Reran, Settled, Shown, Undone, new_id
from tacit.protocol.traces.reading import read

READ_MS, RUN_MS, LEFT_MS = 4000.0, 20_000.0, 600_000.0
"""Until a fix is applied, until the test has run, until the text is looked at for good."""
ASSERTIONS: Final = ("AssertionError", "TimeoutError")
"""What the tests raise themselves."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One bug asked about."""

    request: DebugRequest
    answer: Answer
    change: Change | None
    """What was shown; None: nothing."""
    outcome: Outcome | None
    """Of the test with it."""

    @property
    def fixed(self) -> bool:
        return self.outcome is not None and self.outcome.passed


@dataclass(frozen=True, slots=True)
class Asking:
    """What all questions of a run have in common."""

    client: TacitClient
    workspaces: Path
    project: str
    seed: int
    seconds: float
    candidates: int


async def attempt(asking: Asking, task: Task, output: str, session: str, number: int) -> Attempt:
    """output: of the failing test. number: of the task, so that each has a seed and a workspace of its own."""
    workspace = asking.workspaces / f"{number:04d}"
    workspace.mkdir(parents=True, exist_ok=True)
    for path, text in {**task.others, task.path: task.text}.items():
        (workspace / path).write_text(text, encoding="utf-8")
    request = debug_asking.request(
        task,
        output,
        workspace,
        seed=(asking.seed * 1_000_003 + number * 101) % 2**31,
        seconds=asking.seconds,
        candidates=asking.candidates,
    ).model_copy(update={"project": asking.project, "session_id": session})
    answer = Answer(new_id(), asyncio.get_running_loop().time())
    # Too long for the engine: there is no answer, and nothing to learn from.
    with contextlib.suppress(Refused):
        await _answered(asking.client, request, answer)
    change, outcome = None, None
    if answer.proposal is not None:
        document = Document((workspace / task.path).as_uri(), task.language, 1, task.text)
        found = change_of(document, task.path, answer.proposal.edits, ())
        if isinstance(found, Change):
            change = found
            outcome = await asyncio.to_thread(judge, task, changed(task.text, found))
    return Attempt(request, answer, change, outcome)


async def _answered(client: TacitClient, request: DebugRequest, answer: Answer) -> None:
    async with contextlib.aclosing(client.debug(request)) as chunks:
        async for chunk in chunks:
            answer.take(chunk)


def told(task: Task, made: Attempt, at: datetime) -> list[Event]:
    """What an editor reports of it; nothing where there is no draw to learn from. at: by the session's clock."""
    change = made.change
    hole = (change.left, change.right) if change is not None else differing(task.text, task.reference)
    suggested = record(made.request, made.answer, at=at, full_text=task.text, change=change, hole=hole)
    if suggested is None:
        return []
    source: dict[str, Any] = {"at": at, "session_id": suggested.session_id, "suggestion_id": suggested.suggestion_id}
    by_hand = mended(task.text, task.reference, *hole)
    left = Settled(**source, horizon="10m", elapsed_ms=LEFT_MS, span_text=None, settled_text=by_hand)
    if change is None or made.outcome is None:
        return [suggested, left]
    chars = max(1, len(change.text))
    events: list[Event] = [
        suggested,
        Shown(**source, inferred=False),
        Accepted(**source, accepted_chars=chars, total_chars=chars, visible_ms=READ_MS, inferred=False),
    ]
    if made.outcome.passed:
        stays = left.model_copy(update={"span_text": change.text, "settled_text": change.text})
        return [*events, Reran(**source, elapsed_ms=RUN_MS, exception_gone=True, tests_fixed=1), stays]
    trace = read(made.outcome.output)
    raised = trace.raised[-1].type if trace is not None and trace.raised else ""
    ran = Reran(**source, elapsed_ms=RUN_MS, tests_failing=1, raised="" if raised in ASSERTIONS else raised[:200])
    return [*events, ran, Undone(**source, after_ms=RUN_MS), left.model_copy(update={"span_text": ""})]


def changed(text: str, change: Change) -> str:
    return text[: change.left] + change.text + text[change.right :]


def differing(text: str, reference: str) -> tuple[int, int]:
    """The lines of the text that are not the reference's, as `[start, end)`: where the developer stands who asks."""
    pairs = zip(text, reference, strict=False)
    first = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(text), len(reference)))
    back = zip(reversed(text[first:]), reversed(reference[first:]), strict=False)
    same = next((at for at, (a, b) in enumerate(back) if a != b), min(len(text), len(reference)) - first)
    left, right = text.rfind("\n", 0, first) + 1, text.find("\n", max(first, len(text) - same))
    return left, len(text) if right < 0 else right


def mended(text: str, reference: str, left: int, right: int) -> str:
    """What stands between the text before the place and the text behind it once the file is as the reference; where it differs
    elsewhere, nothing was changed here."""
    above, below = text[:left], text[right:]
    if reference.startswith(above) and reference.endswith(below) and len(reference) >= len(above) + len(below):
        return reference[left : len(reference) - len(below)]
    return text[left:right]
