"""The debugging service: from a request to a stream of chunks; fixes are drawn until one passes. Touches the engine and, through
`checking`, tools; stores nothing and logs nothing of what it is shown.
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tacit.protocol.chat_prompt import LINE_END, QWEN_CHAT, assemble, pieces
from tacit.protocol.completion import BASE_POLICY, FinishReason, Generation, Timings, Wire
from tacit.protocol.debugging import (
    CHAT_PROMPT_FORMAT,
    Check,
    DebugChunk,
    DebugRequest,
    Done,
    Draw,
    Message,
    Progress,
    Proposal,
    ProposedEdit,
    Span,
    TextDelta,
    Withheld,
)
from tacit.protocol.errors import Refused
from tacit.protocol.redaction import mask, redact
from tacit.server.debugging import checks, prompting
from tacit.server.debugging.answer import UnusableAnswer, complete, new_text, read
from tacit.server.debugging.checking import Checker
from tacit.server.debugging.edits import Edit, minimal_edits
from tacit.server.debugging.region import Region, around
from tacit.server.engine.interface import ANSWER, DrawStats, Engine, Sampling
from tacit.server.settings import Settings

Words = TypeVar("Words", bound=Wire)

EXPLAIN_TOKENS, CHAT_TOKENS = 400, 700
FIX_SHARE, FIX_TOKENS = 1.3, 120
"""Longest answer of a fix: so many times the region's tokens, and so many more."""
ANSWER_SHARE = 0.5
"""Of the engine's context, at most, for the answer."""
WARMTH = (0.0, 0.7, 0.9, 1.1)
"""Least temperature of the first draw at a place, the second, and so on: near the setting's, a second draw mostly repeats the
first. A repeat makes the next one warmer by a step."""
DRAWS_AT_A_PLACE = 2
"""Where several functions may be meant, so many before the next one is asked about."""
MOST_REPEATS = 2
"""In a row: nothing new is to be expected any more."""
UNCHECKED_WORTH = {"names": 0.8, "diagnostic": 0.8, "tests": 0.95, "parses": 0.7}
"""What is left of the confidence for each check that could not be made."""
DOUBT_LEFT = {"mended": 0.4, "passing": 0.8}
"""What is left of the doubt when tests that failed pass now, or when all that passed still do."""


@dataclass(slots=True)
class _Drawing:
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


@dataclass(frozen=True, slots=True)
class _Place:
    """A part of the file that a fix may rewrite."""

    region: Region
    longest: int
    """Tokens of an answer."""


@dataclass(slots=True)
class _Work:
    """One request while it is worked on."""

    request: DebugRequest
    policy: str
    model: str
    deadline: float
    """In the loop's time."""
    began: float
    guest: bool = False
    begun: Callable[[], None] = lambda: None
    drawings: list[_Drawing] = field(default_factory=list)
    snippets: int = 0


class DebugService:
    """Answers about errors with one engine. Holds nothing about a request once it is answered."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._latest = math.inf
        """In the loop's time: nothing goes on longer."""

    def hurry(self, seconds: float) -> None:
        """The server is about to end: what is under way has so long."""
        self._latest = asyncio.get_running_loop().time() + seconds

    async def answer(
        self,
        request: DebugRequest,
        policy_version: str,
        model_sha256: str,
        *,
        guest: bool = False,
        begun: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[DebugChunk, None]:
        """The chunks of one answer, `Done` last. Closing it stops the engine's work. begun: called when the first token comes.

        policy_version: `base` or an adapter that the engine has loaded; else NotFound. EngineUnavailable: it died on the way.
        Refused: not a word in time.
        guest: whoever asks may not read this machine's files.
        """
        until = asyncio.get_running_loop().time() + request.deadline_ms / 1000
        clean = await asyncio.to_thread(_clean, request)
        work = _Work(clean, policy_version, model_sha256, until, time.perf_counter(), guest, begun)
        parts = self._fix(work) if request.kind == "fix" else self._say(work)
        async with contextlib.aclosing(parts) as chunks:
            async for chunk in chunks:
                yield chunk
        yield _done(work)

    async def _say(self, work: _Work) -> AsyncGenerator[DebugChunk, None]:
        """An explanation, or the answer to a turn."""
        request = work.request
        longest = request.max_tokens or (EXPLAIN_TOKENS if request.kind == "explain" else CHAT_TOKENS)
        prompt = await self._prompt(work, None, self._answer_room(longest))
        yield Progress(text="Reading what is asked.")
        drawing = await self._drawing(work, prompt.messages, self._answer_room(longest), 0)
        async with contextlib.aclosing(self._draw(work, drawing)) as texts:
            async for text in texts:
                if text:
                    yield TextDelta(text=text)
        if drawing.finish == "deadline" and not drawing.text:
            # Not EngineUnavailable: that counts against an adapter that is being tried.
            raise Refused(
                f"There was no answer within {request.deadline_ms / 1000:g} s: the engine is slow or busy.",
                mend="Ask again, or about less; `debugDeadlineMs` in an editor, `--deadline` in a terminal give it longer.",
            )

    async def _fix(self, work: _Work) -> AsyncGenerator[DebugChunk, None]:
        request = work.request
        places = await self._places(request)
        if isinstance(places, str):
            yield Withheld(reason=places)
            return
        checker = Checker(request, request.text, places[0].region, work.guest)
        here: _Place | None = None
        prompt = prompting.Prompt((), 0, 0)
        messages: tuple[Message, ...] = ()
        best: tuple[Check, ...] = ()
        seen: dict[str, tuple[Check, ...]] = {}
        tried, begun, repeats = 0, 0, 0
        for number in range(request.candidates):
            if self._left(work) <= 0:
                break
            tried += 1
            yield Progress(text=f"Writing candidate {number + 1} of at most {request.candidates}.")
            there = places[min(number // DRAWS_AT_A_PLACE, len(places) - 1)]
            if there is not here:
                here, begun, repeats = there, number, 0
                checker.region = here.region
                prompt = await self._prompt(work, here.region, here.longest)
                messages = prompt.messages
            least = WARMTH[min(number - begun + repeats, len(WARMTH) - 1)]
            drawing = await self._drawing(work, messages, here.longest, number, least)
            async with contextlib.aclosing(self._draw(work, drawing, until_code=True)) as texts:
                async for _ in texts:
                    pass
            drawing.shown = False
            if drawing.finish == "deadline":
                drawing.checks = (_late("The time was up before it was written."),)
                break
            try:
                written = read(drawing.text)
                changed = await asyncio.to_thread(new_text, request.text, here.region, written.code, request.language)
            except UnusableAnswer as error:
                repeated = drawing.text in seen
                drawing.checks = seen[drawing.text] = (_format(str(error)),)
            else:
                edits = await asyncio.to_thread(minimal_edits, request.text, changed)
                # Whatever it says around it, it is the same fix: what was found of it stands.
                repeated = changed in seen
                if not repeated:
                    yield Progress(text=f"Checking candidate {number + 1}.")
                    seen[changed] = await self._checked(work, checker, changed, edits)
                drawing.checks = seen[changed]
                if checks.passed(drawing.checks):
                    drawing.shown = True
                    yield _proposal(request, drawing, edits, written.reason, here.region)
                    return
            if len(drawing.checks) >= len(best):
                best = drawing.checks
            finding = checks.finding(drawing.checks)
            repeats = repeats + 1 if repeated else 0
            yield Progress(text=f"Candidate {number + 1} {'repeats one that was' if repeated else 'was'} dropped: {finding}")
            if repeats == MOST_REPEATS and here is places[-1]:
                break
            # Told once what was wrong; then asked anew, so that one bad beginning does not spoil all that follows.
            again = (*prompt.messages, Message(role="assistant", text=drawing.text.strip()), prompting.retry(finding))
            fits = number == begun and await self._count(again) <= self._settings.context_tokens - here.longest
            messages = again if fits else prompt.messages
        yield Withheld(reason=_why_withheld(tried, self._left(work) <= 0, best, repeats, tried < request.candidates), checks=best)

    async def _places(self, request: DebugRequest) -> list[_Place] | str:
        """What may be rewritten, the likeliest first, each once; a sentence: why nothing can be."""
        found: dict[int, _Place] = {}
        size, longest = 0, 0
        for start, end in await asyncio.to_thread(prompting.places, request):
            region = await asyncio.to_thread(around, request.text, start, end, request.language)
            size = len(await self._engine.tokenize(request.text[region.start : region.end]))
            longest = self._answer_room(request.max_tokens or int(size * FIX_SHARE) + FIX_TOKENS)
            if size < longest:
                found.setdefault(region.start, _Place(region, longest))
        why = f"The code at this place is too long to be rewritten: {size} tokens, {longest} are possible."
        return list(found.values()) or why

    async def _checked(self, work: _Work, checker: Checker, changed: str, edits: Sequence[Edit]) -> tuple[Check, ...]:
        try:
            async with asyncio.timeout(max(0.0, self._left(work))):
                return await checker.check(changed, edits, self._left(work))
        except TimeoutError:
            return (_late("The time was up before it was checked."),)

    async def _prompt(self, work: _Work, region: Region | None, longest: int) -> prompting.Prompt:
        prompt = await prompting.fitted(work.request, region, self._settings.context_tokens - longest, self._count)
        work.snippets = prompt.snippets
        return prompt

    async def _drawing(
        self, work: _Work, messages: tuple[Message, ...], longest: int, number: int, least: float = 0.0
    ) -> _Drawing:
        """number: of the answer's draws. least: temperature, where the one that is set is cooler."""
        request = work.request
        temperature = self._settings.temperature if request.temperature is None else request.temperature
        seed = random.randrange(2**31) if request.seed is None else (request.seed + number) % 2**31
        tokens = await self._tokens(messages)
        if len(tokens) > (room := self._settings.context_tokens - longest):
            raise Refused(
                f"What is asked is {len(tokens)} tokens long; the engine can read {room}.", mend="Ask about less of it."
            )
        drawing = _Drawing(
            messages, tokens, Sampling(longest, max(temperature, least), seed, ANSWER, request.project or request.session_id)
        )
        work.drawings.append(drawing)
        return drawing

    async def _draw(self, work: _Work, drawing: _Drawing, *, until_code: bool = False) -> AsyncGenerator[str, None]:
        """The answer's text, token by token. until_code: it ends with its first code block."""
        adapter = None if work.policy == BASE_POLICY else work.policy
        async with contextlib.aclosing(self._engine.generate(drawing.prompt, drawing.sampling, adapter)) as items:
            while True:
                try:
                    async with asyncio.timeout(max(0.0, self._left(work))):
                        item = await anext(items)
                except StopAsyncIteration:
                    break
                except TimeoutError:
                    drawing.finish = "deadline"
                    return
                if isinstance(item, DrawStats):
                    drawing.stats = item
                    if item.ended:
                        drawing.finish = "eos"
                    continue
                work.begun()
                drawing.tokens.append(item.token)
                drawing.logprobs.append(item.logprob)
                drawing.text += item.text
                drawing.ends.append(len(drawing.text))
                yield item.text
                if until_code and "\n" in item.text and complete(drawing.text):
                    drawing.finish = "stop_rule"
                    return

    def _answer_room(self, wanted: int) -> int:
        return max(1, min(wanted, int(self._settings.context_tokens * ANSWER_SHARE)))

    def _left(self, work: _Work) -> float:
        return min(work.deadline, self._latest) - asyncio.get_running_loop().time()

    async def _tokens(self, messages: Sequence[Message]) -> list[int]:
        texts = await asyncio.gather(*map(self._engine.tokenize, [*pieces(messages), LINE_END]))
        return assemble(QWEN_CHAT, texts[:-1], texts[-1])

    async def _count(self, messages: Sequence[Message]) -> int:
        return len(await self._tokens(messages))


def _clean(request: DebugRequest) -> DebugRequest:
    """Without secrets, whatever the client has done already. The file keeps its length, the rest need not."""
    masked = mask(request.text)
    changes: dict[str, object] = {
        "trace": redact(request.trace),
        "turns": tuple(turn.model_copy(update={"text": redact(turn.text)}) for turn in request.turns),
        "snippets": tuple(_redacted(one, "text", "path", "note") for one in request.snippets),
        "diagnostics": tuple(
            _redacted(one, "message", "code", "source").model_copy(
                update={"related": tuple(_redacted(two, "message", "path") for two in one.related)}
            )
            for one in request.diagnostics
        ),
    }
    spans = tuple(
        Span(start=max(0, one.start - request.text_start), end=max(0, one.end - request.text_start)) for one in request.masked
    )
    if masked != request.text:
        spans += tuple(Span(start=at, end=at + 1) for at, (a, b) in enumerate(zip(request.text, masked, strict=True)) if a != b)
    return request.model_copy(update={**changes, "text": masked, "masked": spans})


def _redacted(said: Words, *names: str) -> Words:
    return said.model_copy(update={name: redact(getattr(said, name)) for name in names})


def _format(note: str) -> Check:
    return Check(name="format", result="failed", note=note)


def _late(note: str) -> Check:
    return Check(name="time", result="failed", note=note)


def _proposal(request: DebugRequest, drawing: _Drawing, edits: Sequence[Edit], reason: str, region: Region) -> Proposal:
    begin = request.text_start
    return Proposal(
        edits=tuple(
            ProposedEdit(path=request.path, start=edit.start + begin, end=edit.end + begin, text=edit.text) for edit in edits
        ),
        reason=reason or "The model gave no reason.",
        confidence=_confidence(drawing, request.text[region.start : region.end]),
        checks=drawing.checks,
    )


def _why_withheld(tried: int, late: bool, best: Sequence[Check], repeats: int, stopped: bool) -> str:
    """repeats: so many of the last ones said nothing new. stopped: more would have been allowed."""
    count = "No candidate was" if not tried else "The one candidate was not" if tried == 1 else f"None of {tried} candidates was"
    finding = checks.finding(best) or "It was not finished."
    words = f"{count} good enough to show{' in the time there was' if late else ''}: {finding}"
    if repeats:
        words += f" The last {'one' if repeats == 1 else repeats} only repeated what had been dropped"
        words += ", so no more were asked for." if stopped and not late else "."
    return words


def _confidence(drawing: _Drawing, old: str) -> float:
    """Mean probability of the tokens of lines that are new, less for each check that could not be made."""
    known = {line.strip() for line in old.splitlines()}
    sure, at, begun = [], 0, 0
    for line in drawing.text.splitlines(keepends=True):
        new = line.strip() and line.strip() not in known
        while at < len(drawing.ends) and drawing.ends[at] <= begun + len(line):
            if new and drawing.text[: drawing.ends[at]].count("```") == 1:
                sure.append(drawing.logprobs[at])
            at += 1
        begun += len(line)
    found = math.exp(sum(sure) / len(sure)) if sure else 0.5
    for check in drawing.checks:
        if check.result == "unchecked":
            found *= UNCHECKED_WORTH.get(check.name, 1.0)
        elif check.runs is not None and check.result == "passed":
            mended = not frozenset(check.runs.after_passed) <= frozenset(check.runs.before_passed)
            found = 1 - (1 - found) * DOUBT_LEFT["mended" if mended else "passing"]
    return round(min(1.0, max(0.0, found)), 3)


def _done(work: _Work) -> Done:
    stats = [drawing.stats for drawing in work.drawings if drawing.stats is not None]
    return Done(
        request_id=work.request.request_id,
        policy_version=work.policy,
        draws=tuple(_draw_of(work, drawing) for drawing in work.drawings) if work.request.record else (),
        timings=Timings(
            total_ms=(time.perf_counter() - work.began) * 1000,
            prompt_tokens=sum(len(drawing.prompt) for drawing in work.drawings),
            prompt_evaluated=sum(one.prompt_evaluated for one in stats),
            prompt_ms=sum(one.prompt_ms for one in stats),
            generated=sum(len(drawing.tokens) for drawing in work.drawings),
            generate_ms=sum(one.generate_ms for one in stats),
        ),
        cut=_cut(work),
        snippets=work.snippets,
    )


def _cut(work: _Work) -> str:
    match work.drawings[-1].finish if work.request.kind != "fix" else "eos":
        case "deadline":
            longest = work.request.deadline_ms / 1000
            return f"It ends here because its time was over ({longest:g} s at most). Ask for the rest, or give it longer."
        case "length":
            return "It ends here because it is as long as an answer may be. Ask for the rest."
    return ""


def _draw_of(work: _Work, drawing: _Drawing) -> Draw:
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
    )
