"""Asks the engine what belongs into the blanks of a function, one after another, and says what each answer makes of the file.
Touches the engine; whether a change is any good, others find out.

The model reads the code around a blank and nothing else: neither what stood there, which it would copy, nor the error.
That a change is the right one is for a check to prove, so without one that could there is nothing to search for.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from tacit.protocol.debugging import Progress
from tacit.protocol.fim import assemble
from tacit.protocol.fix_prompt import block
from tacit.server.debugging.asking import drawn
from tacit.server.debugging.blanks import Blank, above, blanks, enough, filled, fills, further, line_of, stays
from tacit.server.debugging.drawings import Drawing, Work
from tacit.server.debugging.region import Region
from tacit.server.engine.interface import ANSWER, Engine, Sampling

MOST_FILLS: Final = 60
"""Blanks that are asked about. On two cores one takes the 0.5B about a second and a half, and its check as long: three minutes,
more than an editor waits by default."""
ROUNDS: Final = ("line", "line", "line", "missing", "line")
"""What is asked about everywhere before the next is. line: all of it at first, then each time what is behind the next word that
the model would not have written. missing: a line above it. It comes before the third such beginning, which mends few."""
FILL_TOKENS: Final = 64
"""Of one answer: three long lines."""
LONGEST: Final = 120
"""Characters of a line that is quoted."""
ABOVE, BELOW = 2000, 400
"""Characters around the function that are shown. What stands above is read once, what stands below for every blank."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an answer makes of the file."""

    region: Region
    blank: Blank
    text: str
    """The whole file."""
    drawing: Drawing

    def reason(self, old: str) -> str:
        """A sentence that says what was wrong, as a model is asked for it. old: the text as it was."""
        line = old[line_of(old, self.blank)[0].start :].partition("\n")[0].strip()[:LONGEST]
        return f"A line was missing above `{line}`." if self.blank.added else f"`{line}` was wrong."


@dataclass(slots=True)
class Search:
    """The small changes of one request."""

    engine: Engine
    work: Work
    context_tokens: int
    left: Callable[[], float]
    """Seconds."""
    asked: int = 0

    async def changes(
        self, regions: Sequence[Region], suspected: Collection[int], *, only_there: bool
    ) -> AsyncGenerator[Change | Progress, None]:
        """Each text once. suspected: rows of the text where the fault may be. only_there: no others are changed."""
        request = self.work.request
        text = request.text
        lines = [
            (number, blank)
            for number, region in enumerate(regions)
            for blank in blanks(text, region, request.language, suspected)
            if not only_there or blank.row in suspected
        ]
        missing = [(number, above(blank)) for number, blank in lines]
        most, seen = min(MOST_FILLS, len(ROUNDS) * len(lines)), {text}
        for kind in ROUNDS:
            todo, left = (lines if kind == "line" else missing), []
            for number, blank in todo:
                if self.left() <= 0 or self.asked == MOST_FILLS:
                    return
                yield Progress(text=f"Trying small changes: {self.asked + 1} of at most {most}.")
                drawing = await self._filled(regions[number], blank)
                self.asked += 1
                if (behind := further(text, blank, drawing.text)) is not None:
                    left.append((number, behind))
                line, begun = line_of(text, blank)
                for fill in fills(drawing.text, ended=drawing.finish == "eos", begun=bool(begun)):
                    # What a tool says of a line goes away with the line, too.
                    if only_there and not stays(text, line, begun + fill):
                        continue
                    changed = filled(text, blank, fill)
                    if changed not in seen:
                        seen.add(changed)
                        yield Change(regions[number], blank, changed, drawing)
            if kind == "line":
                lines = left

    async def _filled(self, region: Region, blank: Blank) -> Drawing:
        request, fim = self.work.request, self.engine.fim
        text = request.text
        # From the same place for every blank of a region, so that what comes before it is read once.
        begin = max(0, region.start - ABOVE)
        begin = text.find("\n", begin) + 1 if begin else 0
        head = await self.engine.tokenize(f"{request.path}\n")
        prefix = await self.engine.tokenize(blank.before(text)[begin:])
        suffix = await self.engine.tokenize(blank.after(text)[: region.end - blank.end + BELOW])
        room = self.context_tokens - FILL_TOKENS - len(head) - len(fim.stops)
        suffix = suffix[: room // 2]
        prompt = assemble(fim, head, prefix[-(room - len(suffix)) :], suffix)
        # What the model is surest of: another draw says little that is new.
        sampling = Sampling(FILL_TOKENS, 0.0, 0, ANSWER, request.project or request.session_id)
        drawing = Drawing((), prompt, sampling)
        self.work.fills.append(drawing)
        old = text[blank.start : blank.end]
        pieces = drawn(self.engine, self.work, drawing, self.left, lambda said: enough(said, old))
        async with contextlib.aclosing(pieces):
            async for _ in pieces:
                pass
        return drawing


def as_answer(language: str, code: str, reason: str) -> str:
    """A change in the form in which the model is asked for one."""
    return f"{block(language, code)}\n{reason}\n"
