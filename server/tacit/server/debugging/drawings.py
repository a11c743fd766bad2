"""What has come of one request so far, and what is said of it in the end: the proposal, how sure it is, the record. Pure."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tacit.protocol.completion import FinishReason, Generation, Timings
from tacit.protocol.debugging import (
    CHAT_PROMPT_FORMAT,
    Check,
    DebugRequest,
    Done,
    Draw,
    DrawOrigin,
    Message,
    Proposal,
    ProposedEdit,
)
from tacit.protocol.redaction import redact
from tacit.server.debugging import checks
from tacit.server.debugging.checking import mends
from tacit.server.debugging.edits import Edit
from tacit.server.engine.interface import DrawStats, Sampling

UNCHECKED_WORTH = {"names": 0.8, "diagnostic": 0.8, "tests": 0.95, "parses": 0.7}
"""What is left of the confidence for each check that could not be made."""
DOUBT_LEFT = {"mended": 0.4, "passing": 0.8}
"""What is left of the doubt when tests that failed pass now, or when all that passed still do."""
SEARCHED_WORTH = 0.9
"""What is left of it for a change that was searched for: of many that are tried, one may pass by chance."""


@dataclass(slots=True)
class Drawing:
    """One draw, as far as it has come."""

    messages: tuple[Message, ...]
    prompt: list[int]
    sampling: Sampling
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Length of the text after each token."""
    text: str = ""
    finish: FinishReason = "length"
    stats: DrawStats | None = None
    checks: tuple[Check, ...] = ()
    shown: bool = True
    origin: DrawOrigin = "drawn"


@dataclass(slots=True)
class Work:
    """One request while it is worked on."""

    request: DebugRequest
    policy: str
    model: str
    deadline: float
    """In the loop's time."""
    began: float
    guest: bool = False
    begun: Callable[[], None] = lambda: None
    drawings: list[Drawing] = field(default_factory=list)
    """Answers: what the record has."""
    fills: list[Drawing] = field(default_factory=list)
    """What was written into blanks; of the record only its cost."""
    snippets: int = 0


def proposal(
    request: DebugRequest,
    found: Sequence[Check],
    edits: Sequence[Edit],
    reason: str,
    sure: Sequence[float],
    *,
    searched: bool = False,
) -> Proposal:
    """sure: as `confidence` has it. searched: it is one of many small changes that were tried."""
    begin = request.text_start
    return Proposal(
        edits=tuple(
            ProposedEdit(path=request.path, start=edit.start + begin, end=edit.end + begin, text=edit.text) for edit in edits
        ),
        reason=reason,
        confidence=round(confidence(sure, found) * (SEARCHED_WORTH if searched else 1.0), 3),
        checks=tuple(found),
    )


def why_withheld(tried: int, late: bool, best: Sequence[Check], repeats: int, stopped: bool, searched: int = 0) -> str:
    """repeats: so many of the last ones said nothing new. stopped: more would have been allowed. searched: small changes."""
    count = "No candidate was" if not tried else "The one candidate was not" if tried == 1 else f"None of {tried} candidates was"
    finding = checks.finding(best) or "It was not finished."
    words = f"{count} good enough to show{' in the time there was' if late else ''}: {finding}"
    if searched:
        words += f" Of {searched} small change{'' if searched == 1 else 's'} that {'was' if searched == 1 else 'were'} tried"
        return f"{words} then, none mends it."
    if repeats:
        words += f" The last {'one' if repeats == 1 else repeats} only repeated what had been dropped"
        words += ", so no more were asked for." if stopped and not late else "."
    return words


def of_new_lines(drawing: Drawing, old: str) -> list[float]:
    """Log-probabilities of the tokens of an answer's code whose lines the old code has not."""
    known = {line.strip() for line in old.splitlines()}
    sure, at, begun = [], 0, 0
    for line in drawing.text.splitlines(keepends=True):
        new = line.strip() and line.strip() not in known
        while at < len(drawing.ends) and drawing.ends[at] <= begun + len(line):
            if new and drawing.text[: drawing.ends[at]].count("```") == 1:
                sure.append(drawing.logprobs[at])
            at += 1
        begun += len(line)
    return sure


def confidence(sure: Sequence[float], found: Sequence[Check]) -> float:
    """sure: log-probabilities of what is new; their mean probability, less for each check that could not be made."""
    value = math.exp(sum(sure) / len(sure)) if sure else 0.5
    for check in found:
        if check.result == "unchecked":
            value *= UNCHECKED_WORTH.get(check.name, 1.0)
        elif check.runs is not None and check.result == "passed":
            value = 1 - (1 - value) * DOUBT_LEFT["mended" if mends(check) else "passing"]
    return round(min(1.0, max(0.0, value)), 3)


def done(work: Work) -> Done:
    all_drawn = [*work.drawings, *work.fills]
    stats = [drawing.stats for drawing in all_drawn if drawing.stats is not None]
    return Done(
        request_id=work.request.request_id,
        policy_version=work.policy,
        draws=tuple(_draw_of(work, drawing) for drawing in work.drawings) if work.request.record else (),
        timings=Timings(
            total_ms=(time.perf_counter() - work.began) * 1000,
            prompt_tokens=sum(len(drawing.prompt) for drawing in all_drawn),
            prompt_evaluated=sum(one.prompt_evaluated for one in stats),
            prompt_ms=sum(one.prompt_ms for one in stats),
            generated=sum(len(drawing.tokens) for drawing in all_drawn),
            generate_ms=sum(one.generate_ms for one in stats),
        ),
        cut=_cut(work),
        snippets=work.snippets,
    )


def _cut(work: Work) -> str:
    match work.drawings[-1].finish if work.request.kind != "fix" else "eos":
        case "deadline":
            longest = work.request.deadline_ms / 1000
            return f"It ends here because its time was over ({longest:g} s at most). Ask for the rest, or give it longer."
        case "length":
            return "It ends here because it is as long as an answer may be. Ask for the rest."
    return ""


def _draw_of(work: Work, drawing: Drawing) -> Draw:
    text = redact(drawing.text)
    return Draw(
        messages=drawing.messages,
        text=text,
        generation=Generation(
            # They would spell a secret that the text does not show: such a draw is not recorded.
            tokens=tuple(drawing.tokens) if text == drawing.text else (),
            logprobs=tuple(drawing.logprobs),
            temperature=drawing.sampling.temperature,
            seed=drawing.sampling.seed,
            policy_version=work.policy,
            model=work.model,
            finish_reason=drawing.finish,
            prompt_format=CHAT_PROMPT_FORMAT,
        ),
        checks=drawing.checks,
        shown=drawing.shown,
        origin=drawing.origin,
    )
