"""One bug asked of the bare model with a plain prompt, and of the product through its server, as an editor would. Touches the
engine and the client that it is given; judges nothing.

Both are told the same file and the same failing test's output. The product also gets what an editor gathers: the workspace for
its checks, the leave to run its tests, and the code of the trace's frames.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tacit.bench.debug_tasks import Task
from tacit.protocol.chat_prompt import LINE_END, QWEN_CHAT, assemble, pieces
from tacit.protocol.client import TacitClient
from tacit.protocol.debugging import DebugRequest, DebugSnippet, Message, Proposal, Span, Turn, Withheld
from tacit.protocol.events import new_id
from tacit.protocol.traces.reading import in_workspace, read
from tacit.server.debugging import answer
from tacit.server.debugging.edits import Edit, apply
from tacit.server.debugging.region import around
from tacit.server.engine.interface import Drawn, Engine, Sampling

PLAIN_SYSTEM: Final = "You are a helpful assistant."
OUTPUT_CHARS: Final = 3000
"""Of the test's output that the bare model is shown: its beginning and its end, as the product."""
FRAMES, AROUND_FRAME = 4, 8
"""Places of a trace whose code is sent, and lines above and below each, as `tacit explain` sends them."""
ROOM_SHARE, ROOM_TOKENS = 1.3, 400
"""The bare model's longest answer: so many times the file's tokens, and so many more; it may talk."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one question."""

    texts: tuple[str, ...]
    """The file as the answer means it; several where it can be read in several ways; none: there is nothing to apply."""
    withheld: bool
    """The product said that it has no fix."""
    said: str
    """The answer, or why there is none."""
    draws: int
    tokens: int
    """Drawn, all draws together."""
    seconds: float
    confidence: float | None = None
    late: bool = False
    """The time was up."""


async def bare(engine: Engine, task: Task, output: str, *, temperature: float, seed: int, context: int, seconds: float) -> Asked:
    """The model alone: a plain question, one answer. context: tokens of the engine's."""
    shown = task.words if task.words else f"The test fails:\n```\n{_cut(output)}\n```"
    question = (
        f"There is a bug in the file {task.path}:\n```{task.language}\n{task.text.strip()}\n```\n\n"
        f"{shown}\n\nFix the bug. Answer with the whole corrected file in one code block."
    )
    messages = [Message(role="system", text=PLAIN_SYSTEM), Message(role="user", text=question)]
    texts = [await engine.tokenize(text) for text in [*pieces(messages), LINE_END]]
    prompt = assemble(QWEN_CHAT, texts[:-1], texts[-1])
    size = len(await engine.tokenize(task.text))
    sampling = Sampling(max(1, min(int(size * ROOM_SHARE) + ROOM_TOKENS, context - len(prompt))), temperature, seed)
    began, said, drawn, late = time.perf_counter(), "", 0, False
    try:
        async with asyncio.timeout(seconds), contextlib.aclosing(engine.generate(prompt, sampling, None)) as items:
            async for item in items:
                if isinstance(item, Drawn):
                    said, drawn = said + item.text, drawn + 1
    except TimeoutError:
        late = True
    took = time.perf_counter() - began
    return Asked(readings(task, said), False, said, 1, drawn, took, late=late)


def _cut(output: str) -> str:
    return output if len(output) <= OUTPUT_CHARS else f"{output[: OUTPUT_CHARS // 2]}\n[...]\n{output[-OUTPUT_CHARS // 2 :]}"


def readings(task: Task, said: str) -> tuple[str, ...]:
    """The first code block as the whole file, and as the function that a person would paste in its place."""
    try:
        code = answer.read(said).code
    except answer.UnusableAnswer:
        return ()
    found = [code]
    with contextlib.suppress(answer.UnusableAnswer):
        place = _bug(task)
        found.append(answer.new_text(task.text, around(task.text, place, place, task.language), code, task.language))
    return tuple(dict.fromkeys(found))


def _bug(task: Task) -> int:
    """Where the reference begins to differ: the person who pastes knows the place."""
    pairs = zip(task.text, task.reference, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), max(0, len(task.text) - 1))


def request(task: Task, output: str, workspace: Path, *, seed: int, seconds: float, candidates: int) -> DebugRequest:
    """What an editor sends for a failing test. workspace: holds the task's files."""
    return DebugRequest(
        kind="fix",
        request_id=new_id(),
        session_id="bench-debug",
        workspace=str(workspace),
        language=task.language,
        path=task.path,
        text=task.text,
        trace="" if task.words else output,
        # In a file without a test the developer marks what is meant, and says it.
        selection=Span(start=0, end=len(task.text)) if task.words else None,
        turns=(Turn(role="user", text=task.words),) if task.words else (),
        snippets=tuple(frames(task, output, workspace)),
        candidates=candidates,
        deadline_ms=int(seconds * 1000),
        seed=seed,
        record=True,
        run_tests=True,
    )


def frames(task: Task, output: str, workspace: Path) -> list[DebugSnippet]:
    """Code of the trace's frames in the workspace's other files."""
    trace = read(output)
    paths = [task.path, *task.others]
    found: list[DebugSnippet] = []
    places = ((in_workspace(frame, str(workspace), paths), frame.line) for frame in (trace.frames if trace else ()))
    for name, line in dict.fromkeys(places):
        if name is None or name == task.path or not line or len(found) == FRAMES:
            continue
        lines = task.others[name].splitlines(keepends=True)
        first = max(0, line - 1 - AROUND_FRAME)
        if piece := "".join(lines[first : line + AROUND_FRAME]):
            found.append(DebugSnippet(path=name, text=piece, kind="frame", first_line=first, note=f"line {line} is in the trace"))
    return found


async def product(client: TacitClient, task: Task, asked: DebugRequest) -> Asked:
    """The product's answer, through its server."""
    began = time.perf_counter()
    text, withheld, said, confidence, drawn, tokens = None, False, "", None, 0, 0
    async with contextlib.aclosing(client.debug(asked)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Proposal):
                text = apply(task.text, [Edit(edit.start, edit.end, edit.text) for edit in chunk.edits])
                said, confidence = chunk.reason, chunk.confidence
            elif isinstance(chunk, Withheld):
                withheld, said = True, chunk.reason
            elif chunk.kind == "done":
                drawn, tokens = len(chunk.draws), chunk.timings.generated
                said += "".join(
                    f"\n=== draw {number}, {'shown' if draw.shown else 'dropped'}: "
                    f"{'; '.join(f'{check.name} {check.result}: {check.note}' for check in draw.checks)}\n{draw.text}"
                    for number, draw in enumerate(chunk.draws, 1)
                )
    took = time.perf_counter() - began
    late = withheld and took >= asked.deadline_ms / 1000
    return Asked((text,) if text is not None else (), withheld, said, drawn, tokens, took, confidence, late)
