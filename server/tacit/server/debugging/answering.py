"""The debugging service: from a request to a stream of chunks. Fixes are drawn until one passes; where that leads nowhere and a
fix could be proven, small changes are searched for. Touches the engine and, through `checking`, tools; stores nothing and logs
nothing of what it is shown.
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from tacit.protocol.chat_prompt import LINE_END, QWEN_CHAT, assemble, pieces
from tacit.protocol.debugging import (
    Check,
    DebugChunk,
    DebugRequest,
    Message,
    Progress,
    Proposal,
    TextDelta,
    Withheld,
)
from tacit.protocol.errors import Refused
from tacit.server.debugging import checks, prompting
from tacit.server.debugging.answer import UnusableAnswer, complete, new_text, read
from tacit.server.debugging.asking import drawn
from tacit.server.debugging.checking import Checker, proven
from tacit.server.debugging.cleaning import clean
from tacit.server.debugging.drawings import Drawing, Work, done, of_new_lines, proposal, why_withheld
from tacit.server.debugging.edits import Edit, minimal_edits
from tacit.server.debugging.region import Region, around
from tacit.server.debugging.searching import Change, Search, as_answer
from tacit.server.engine.interface import ANSWER, Engine, Sampling
from tacit.server.settings import Settings

EXPLAIN_TOKENS, CHAT_TOKENS = 400, 700
FIX_SHARE, FIX_TOKENS = 1.3, 120
"""Longest answer of a fix: so many times the region's tokens, and so many more."""
ANSWER_SHARE = 0.5
"""Of the engine's context, at most, for the answer."""
WARMTH = (0.0, 0.7, 0.9)
"""Least temperature of the first draw at a place, the second, and so on: near the setting's, a second draw mostly repeats the
first. A repeat makes the next one warmer by a step. Above it a small model writes what is no code."""
DRAWS_FIRST = 2
"""Before small changes are searched for, where one could be proven: a whole answer says what was wrong, and may change several
lines. After one that only repeats, or changes nothing, the search begins at once."""
DRAWS_AT_A_PLACE = 2
"""Where several functions may be meant, so many before the next one is asked about."""
MOST_REPEATS = 2
"""In a row: nothing new is to be expected any more."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A part of the file that a fix may rewrite."""

    region: Region
    longest: int
    """Tokens of an answer."""


@dataclass(slots=True)
class _Dropped:
    """What came of the candidates of one request that were dropped."""

    tried: int = 0
    repeats: int = 0
    """In a row, up to the last."""
    best: tuple[Check, ...] = ()
    """Of the one that came furthest."""
    seen: dict[str, tuple[Check, ...]] = field(default_factory=dict)
    """By the text that they make of the file; by what was said, where it makes none."""


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
        cleaned = await asyncio.to_thread(clean, request)
        work = Work(cleaned, policy_version, model_sha256, until, time.perf_counter(), guest, begun)
        parts = self._fix(work) if request.kind == "fix" else self._say(work)
        async with contextlib.aclosing(parts) as chunks:
            async for chunk in chunks:
                yield chunk
        yield done(work)

    async def _say(self, work: Work) -> AsyncGenerator[DebugChunk, None]:
        """An explanation, or the answer to a turn."""
        request = work.request
        longest = request.max_tokens or (EXPLAIN_TOKENS if request.kind == "explain" else CHAT_TOKENS)
        prompt = await self._prompt(work, None, self._answer_room(longest))
        yield Progress(text="Reading what is asked.")
        drawing = await self._drawing(work, prompt.messages, self._answer_room(longest), 0)
        async with contextlib.aclosing(drawn(self._engine, work, drawing, lambda: self._left(work))) as texts:
            async for text in texts:
                if text:
                    yield TextDelta(text=text)
        if drawing.finish == "deadline" and not drawing.text:
            # Not EngineUnavailable: that counts against an adapter that is being tried.
            raise Refused(
                f"There was no answer within {request.deadline_ms / 1000:g} s: the engine is slow or busy.",
                mend="Ask again, or about less; `debugDeadlineMs` in an editor, `--deadline` in a terminal give it longer.",
            )

    async def _fix(self, work: Work) -> AsyncGenerator[DebugChunk, None]:
        request = work.request
        places = await self._places(request)
        if isinstance(places, str):
            yield Withheld(reason=places)
            return
        checker = Checker(request, request.text, places[0].region, work.guest)
        dropped, search = _Dropped(), Search(self._engine, work, self._settings.context_tokens, lambda: self._left(work))
        for way in (self._drawn, self._searched):
            async with contextlib.aclosing(way(work, places, checker, dropped, search)) as chunks:
                async for chunk in chunks:
                    yield chunk
                    if isinstance(chunk, Proposal):
                        return
        more = dropped.tried < request.candidates
        reason = why_withheld(dropped.tried, self._left(work) <= 0, dropped.best, dropped.repeats, more, search.asked)
        yield Withheld(reason=reason, checks=dropped.best)

    async def _drawn(
        self, work: Work, places: Sequence[_Place], checker: Checker, dropped: _Dropped, search: Search
    ) -> AsyncGenerator[DebugChunk, None]:
        """Whole answers, the search among them; a proposal last if one passes. dropped: what came of the others."""
        request = work.request
        here: _Place | None = None
        prompt = prompting.Prompt((), 0, 0)
        messages: tuple[Message, ...] = ()
        begun, idle = 0, False
        for number in range(request.candidates):
            if self._left(work) <= 0:
                return
            if idle or number >= DRAWS_FIRST:
                async with contextlib.aclosing(self._searched(work, places, checker, dropped, search)) as found:
                    async for chunk in found:
                        yield chunk
                        if isinstance(chunk, Proposal):
                            return
                checker.region = here.region if here is not None else checker.region
            dropped.tried += 1
            yield Progress(text=f"Writing candidate {number + 1} of at most {request.candidates}.")
            there = places[min(number // DRAWS_AT_A_PLACE, len(places) - 1)]
            if there is not here:
                here, begun, dropped.repeats = there, number, 0
                checker.region = here.region
                prompt = await self._prompt(work, here.region, here.longest)
                messages = prompt.messages
            least = WARMTH[min(number - begun + dropped.repeats, len(WARMTH) - 1)]
            drawing = await self._drawing(work, messages, here.longest, number, least)
            async with contextlib.aclosing(drawn(self._engine, work, drawing, lambda: self._left(work), complete)) as texts:
                async for _ in texts:
                    pass
            drawing.shown = False
            if drawing.finish == "deadline":
                drawing.checks = (_late("The time was up before it was written."),)
                return
            try:
                written = read(drawing.text)
                changed = await asyncio.to_thread(new_text, request.text, here.region, written.code, request.language)
            except UnusableAnswer as error:
                repeated = drawing.text in dropped.seen
                drawing.checks = dropped.seen[drawing.text] = (_format(str(error)),)
                idle = repeated
            else:
                edits = await asyncio.to_thread(minimal_edits, request.text, changed)
                # Whatever it says around it, it is the same fix: what was found of it stands.
                repeated = changed in dropped.seen
                idle = repeated or checks.only_blanks(request.text, changed)
                if not repeated:
                    yield Progress(text=f"Checking candidate {number + 1}.")
                    dropped.seen[changed] = await self._checked(work, checker, changed, edits)
                drawing.checks = dropped.seen[changed]
                if checks.passed(drawing.checks):
                    drawing.shown = True
                    sure = of_new_lines(drawing, request.text[here.region.start : here.region.end])
                    yield proposal(request, drawing.checks, edits, written.reason or "The model gave no reason.", sure)
                    return
            if len(drawing.checks) >= len(dropped.best):
                dropped.best = drawing.checks
            finding = checks.finding(drawing.checks)
            dropped.repeats = dropped.repeats + 1 if repeated else 0
            yield Progress(text=f"Candidate {number + 1} {'repeats one that was' if repeated else 'was'} dropped: {finding}")
            if dropped.repeats == MOST_REPEATS and here is places[-1]:
                return
            # Told once what was wrong; then asked anew, so that one bad beginning does not spoil all that follows.
            again = (*prompt.messages, Message(role="assistant", text=drawing.text.strip()), prompting.retry(finding))
            fits = number == begun and await self._count(again) <= self._settings.context_tokens - here.longest
            messages = again if fits else prompt.messages

    async def _searched(
        self, work: Work, places: Sequence[_Place], checker: Checker, dropped: _Dropped, search: Search
    ) -> AsyncGenerator[DebugChunk, None]:
        """Small changes, once, if anything here could prove one; a proposal last if one is proven."""
        request = work.request
        proof = await checker.proof(self._left(work)) if not search.asked and self._left(work) > 0 else ""
        if not proof:
            return
        suspected, regions = prompting.rows(request), [place.region for place in places]
        async with contextlib.aclosing(search.changes(regions, suspected, only_there=proof == "diagnostic")) as found:
            async for change in found:
                if isinstance(change, Progress):
                    yield change
                elif change.text not in dropped.seen:
                    checker.region = change.region
                    edits = await asyncio.to_thread(minimal_edits, request.text, change.text)
                    outcome = dropped.seen[change.text] = await self._checked(work, checker, change.text, edits)
                    if proven(outcome, proof):
                        reason = await self._recorded(work, change, outcome, places)
                        yield proposal(request, outcome, edits, reason, change.drawing.logprobs, searched=True)
                        return

    async def _recorded(self, work: Work, change: Change, found: tuple[Check, ...], places: Sequence[_Place]) -> str:
        """The change becomes one of the answers, in the form in which they are written; what it says for itself."""
        request, region = work.request, change.region
        longest = next(place.longest for place in places if place.region is region)
        prompt = await self._prompt(work, region, longest)
        code = change.text[region.start : len(change.text) - (len(request.text) - region.end)]
        reason = change.reason(request.text)
        answer = as_answer(request.language, code, reason)
        sampling = change.drawing.sampling
        drawing = Drawing(prompt.messages, [], sampling, text=answer, finish="stop_rule", checks=found, origin="searched")
        work.drawings.append(drawing)
        return f"{reason} It was found by trying other lines there."

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

    async def _checked(self, work: Work, checker: Checker, changed: str, edits: Sequence[Edit]) -> tuple[Check, ...]:
        try:
            async with asyncio.timeout(max(0.0, self._left(work))):
                return await checker.check(changed, edits, self._left(work))
        except TimeoutError:
            return (_late("The time was up before it was checked."),)

    async def _prompt(self, work: Work, region: Region | None, longest: int) -> prompting.Prompt:
        prompt = await prompting.fitted(work.request, region, self._settings.context_tokens - longest, self._count)
        work.snippets = prompt.snippets
        return prompt

    async def _drawing(self, work: Work, messages: tuple[Message, ...], longest: int, number: int, least: float = 0.0) -> Drawing:
        """number: of the answer's draws. least: temperature, where the one that is set is cooler."""
        request = work.request
        temperature = self._settings.temperature if request.temperature is None else request.temperature
        seed = random.randrange(2**31) if request.seed is None else (request.seed + number) % 2**31
        tokens = await self._tokens(messages)
        if len(tokens) > (room := self._settings.context_tokens - longest):
            raise Refused(
                f"What is asked is {len(tokens)} tokens long; the engine can read {room}.", mend="Ask about less of it."
            )
        drawing = Drawing(
            messages, tokens, Sampling(longest, max(temperature, least), seed, ANSWER, request.project or request.session_id)
        )
        work.drawings.append(drawing)
        return drawing

    def _answer_room(self, wanted: int) -> int:
        return max(1, min(wanted, int(self._settings.context_tokens * ANSWER_SHARE)))

    def _left(self, work: Work) -> float:
        return min(work.deadline, self._latest) - asyncio.get_running_loop().time()

    async def _tokens(self, messages: Sequence[Message]) -> list[int]:
        texts = await asyncio.gather(*map(self._engine.tokenize, [*pieces(messages), LINE_END]))
        return assemble(QWEN_CHAT, texts[:-1], texts[-1])

    async def _count(self, messages: Sequence[Message]) -> int:
        return len(await self._tokens(messages))


def _format(note: str) -> Check:
    return Check(name="format", result="failed", note=note)


def _late(note: str) -> Check:
    return Check(name="time", result="failed", note=note)
