"""The completion service: from a request to the text to show and the full record of the draw. Touches only the engine."""

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tacit.protocol.completion import (
    BASE_POLICY,
    PROMPT_FORMAT,
    CompleteRequest,
    CompleteResponse,
    Context,
    FinishReason,
    Generation,
    PromptSize,
    Timings,
)
from tacit.protocol.fim import REPOSITORY, assemble, header, names_file, snippet_text
from tacit.protocol.redaction import last_line, redact_after
from tacit.server.engine.interface import DrawStats, Engine, Sampling
from tacit.server.hole import Hole
from tacit.server.settings import Settings
from tacit.server.stopping import Cut, End, cut

WINDOW_STEP = 512
"""Tokens by which the start of a prefix that is too long moves: in between, the engine's cache of it stays valid."""
SUFFIX_SHARE = 0.25
"""Of the prompt, at most, when both sides are too long."""
PREFIX_SHARE = 0.5
"""Of the prompt, at least, for the prefix if it is that long: snippets are dropped before it is cut to less."""
REMEMBERED = 256
"""Headers and snippets whose tokens are kept."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    tokens: list[int]
    snippets: int = 0
    """So many of the context's snippets are in it."""


@dataclass(slots=True)
class _Draw:
    """What has been drawn so far."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    stats: DrawStats | None = None
    generate_ms: float = 0.0
    finish: FinishReason = "deadline"
    shown: str = ""


class CompletionService:
    """Completes code with one engine. Holds nothing about a request once it is answered."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._known: OrderedDict[str, list[int]] = OrderedDict()
        self._deadlines: set[asyncio.Timeout] = set()
        """Of the answers that are under way."""

    def hurry(self, seconds: float) -> None:
        """The server is about to end: what is under way has so long, and is answered with what there is by then."""
        soon = asyncio.get_running_loop().time() + seconds
        for deadline in self._deadlines:
            if (when := deadline.when()) is None or when > soon:
                deadline.reschedule(soon)

    async def complete(
        self,
        request: CompleteRequest,
        policy_version: str,
        model_sha256: str,
        *,
        background: bool = False,
        begun: Callable[[], None] = lambda: None,
    ) -> CompleteResponse:
        """Draw once and cut. Cancelling this call stops the engine's work on it. background: as `Sampling`. begun: called when
        the first token comes.

        policy_version: `base` or an adapter that the engine has loaded; else NotFound. EngineUnavailable: the engine is not
        ready or died on the way.
        """
        arrived = time.perf_counter()
        sampling = Sampling(
            max_tokens=request.max_tokens or self._settings.max_tokens,
            temperature=self._settings.temperature if request.temperature is None else request.temperature,
            seed=random.randrange(2**31) if request.seed is None else request.seed,
            salt=request.project or request.session_id,
            background=background,
        )
        draw = _Draw()
        prompt = _Prompt([])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.deadline_ms / 1000) as deadline:
                self._deadlines.add(deadline)
                try:
                    prompt = await self._prompt(request.context, sampling.max_tokens)
                    adapter = None if policy_version == BASE_POLICY else policy_version
                    await self._draw(draw, request, prompt.tokens, sampling, adapter, begun)
                finally:
                    self._deadlines.discard(deadline)
        if draw.finish == "deadline":
            draw.shown = _cut(request, draw.text, "cut_off").text
        stats = draw.stats or DrawStats(len(prompt.tokens), 0, 0.0, 0, 0.0, False)
        return CompleteResponse(
            request_id=request.request_id,
            text=draw.shown,
            generation=Generation(
                # Those beyond the cut would spell it, and cannot be looked through any more: such a draw is not recorded.
                tokens=() if _secret_beyond(request, draw) else tuple(draw.tokens),
                logprobs=tuple(draw.logprobs),
                temperature=sampling.temperature,
                seed=sampling.seed,
                policy_version=policy_version,
                model=model_sha256,
                finish_reason=draw.finish,
                prompt_format=PROMPT_FORMAT,
            ),
            timings=Timings(
                total_ms=(time.perf_counter() - arrived) * 1000,
                prompt_tokens=len(prompt.tokens),
                prompt_evaluated=stats.prompt_evaluated,
                prompt_ms=stats.prompt_ms,
                generated=len(draw.tokens),
                generate_ms=draw.generate_ms,
            ),
            snippets=prompt.snippets,
        )

    async def prefix_cache(self) -> tuple[int, int] | None:
        """As `Engine.prefix_cache`."""
        return await self._engine.prefix_cache()

    async def size(self, context: Context) -> PromptSize:
        """What this context's prompt is made of. EngineUnavailable: there is nobody to tokenise."""
        path, prefix, suffix, _, snippets = await self._pieces(context)
        prompt = await self._prompt(context, self._settings.max_tokens)
        return PromptSize(
            snippets=tuple(len(snippet) + 1 for snippet in snippets),
            path=len(path) if names_file(len(prefix) + len(suffix), prompt.snippets) else 0,
            prefix=len(prefix),
            suffix=len(suffix),
            room=self._settings.context_tokens - self._settings.max_tokens,
            total=len(prompt.tokens),
            kept=prompt.snippets,
        )

    async def _draw(
        self,
        draw: _Draw,
        request: CompleteRequest,
        prompt: Sequence[int],
        sampling: Sampling,
        adapter: str | None,
        begun: Callable[[], None],
    ) -> None:
        """Fill `draw` until the model ends, a rule stops it or the tokens are used up. Interrupted, it holds what there is."""
        hole = _hole(request)
        read_at = 0.0
        async with contextlib.aclosing(self._engine.generate(prompt, sampling, adapter)) as items:
            async for item in items:
                if isinstance(item, DrawStats):
                    read_at = read_at or time.perf_counter()
                    draw.stats = item
                    continue
                begun()
                draw.generate_ms = (time.perf_counter() - read_at) * 1000
                draw.tokens.append(item.token)
                draw.logprobs.append(item.logprob)
                draw.text += item.text
                if not item.text:
                    continue
                so_far = cut(hole, draw.text)
                if so_far.reason is not None:
                    draw.finish, draw.shown = "stop_rule", so_far.text
                    return
        ended = draw.stats is not None and draw.stats.ended
        draw.shown = cut(hole, draw.text, "eos" if ended else "cut_off").text
        draw.finish = "eos" if ended else "length"

    async def _prompt(self, context: Context, max_tokens: int) -> _Prompt:
        """Token ids that leave room for the answer in the engine's context."""
        path, prefix, suffix, repository, snippets = await self._pieces(context)
        # Four special tokens mark the parts, one more each snippet and one their repository.
        room = self._settings.context_tokens - max_tokens - len(path) - 4
        sizes = [len(snippet) + 1 for snippet in snippets]
        kept = fitting(sizes, len(repository) + 1, len(prefix), len(suffix), room)
        if kept:
            room -= len(repository) + 1 + sum(sizes[:kept])
        prefix, suffix = window(prefix, suffix, room)
        tokens = assemble(self._engine.fim, path, prefix, suffix, repository=repository, snippets=snippets[:kept])
        return _Prompt(tokens, kept)

    async def _pieces(
        self, context: Context
    ) -> tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int], list[Sequence[int]]]:
        """Tokens of (path, prefix, suffix, the repository's line, each snippet)."""
        texts = [snippet_text(snippet) for snippet in context.snippets]
        path, prefix, suffix, repository, *snippets = await asyncio.gather(
            self._lasting(header(context)),
            self._engine.tokenize(context.prefix),
            self._engine.tokenize(context.suffix),
            *map(self._lasting, [REPOSITORY if texts else "", *texts]),
        )
        return path, prefix, suffix, repository, list(snippets)

    async def _lasting(self, text: str) -> list[int]:
        """A file keeps its name, and the prompt its snippets, from keystroke to keystroke."""
        if not text:
            return []
        if (known := self._known.get(text)) is None:
            known = self._known[text] = await self._engine.tokenize(text)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(text)
        return known


def fitting(sizes: Sequence[int], repository: int, prefix: int, suffix: int, room: int) -> int:
    """How many snippets, from the first on, leave both sides of the hole their shares. All in tokens."""
    left = room - repository - min(prefix, int(room * PREFIX_SHARE)) - min(suffix, int(room * SUFFIX_SHARE))
    for count, size in enumerate(sizes):
        left -= size
        if left < 0:
            return count
    return len(sizes)


def window(prefix: Sequence[int], suffix: Sequence[int], room: int) -> tuple[Sequence[int], Sequence[int]]:
    """What fits: the end of the prefix and the beginning of the suffix.

    The prefix begins at a multiple of WINDOW_STEP, so that it grows at its end only, while the file grows by hundreds of tokens.
    """
    room = max(room, 0)
    if len(prefix) + len(suffix) <= room:
        return prefix, suffix
    suffix = suffix[: max(int(room * SUFFIX_SHARE), room - len(prefix))]
    surplus = len(prefix) - (room - len(suffix))
    if surplus <= 0:
        return prefix, suffix
    step = min(WINDOW_STEP, max(1, room // 4))
    return prefix[-(-surplus // step) * step :], suffix


def _hole(request: CompleteRequest) -> Hole:
    return Hole(request.context.prefix, request.context.suffix, request.context.language)


def _secret_beyond(request: CompleteRequest, draw: _Draw) -> bool:
    """Whether what was drawn but is not shown holds a secret, with what stands before it."""
    before = last_line(request.context.prefix)
    return draw.text != draw.shown and redact_after(before, draw.text) != draw.text


def _cut(request: CompleteRequest, text: str, end: End) -> Cut:
    return cut(_hole(request), text, end)
