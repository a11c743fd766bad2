"""One simulated working day at a real server, through the real language server; and what the product logged of it.

Touches a server (through its client), one child process per session and one workspace folder. What the learner gets of a day are
the exported records and nothing else; what the developer thought (`Asked`) is for calibration and the report only.
"""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from tacit.learner.simulate.editor import Editor
from tacit.learner.simulate.edits import language_of
from tacit.learner.simulate.personas import person
from tacit.learner.simulate.plan import Source
from tacit.learner.simulate.records import logged
from tacit.learner.simulate.serving import ServerProcess
from tacit.learner.simulate.session import Session, Visit
from tacit.protocol.events import SuggestionRecord


@dataclass(frozen=True, slots=True)
class Desk:
    """How the developers' editors are set up; the same for all arms but for what an arm is about."""

    time_scale: float = 100.0
    """Session seconds per real second."""
    prefix_chars: int = 500
    suffix_chars: int = 150
    """Context: short, since two cores read 150 tokens a second."""
    eagerness: str = "eager"
    """`eager`: every place's suggestion is shown, which is what a log for all arms needs."""
    deadline_ms: int = 60_000

    def options(self) -> dict[str, Any]:
        return {
            "timeScale": self.time_scale,
            "debounceMs": 0,
            "eagerness": self.eagerness,
            "maxPrefixChars": self.prefix_chars,
            "maxSuffixChars": self.suffix_chars,
            "snippetTokens": 0,
            "deadlineMs": self.deadline_ms,
            # One that it started would outlive the day, and answer the next one in the place of that day's own.
            "startServer": False,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """One place, as the developer saw it. Never given to the learner."""

    place: str
    suggestion_id: str
    """Empty: nothing was suggested, or what was drawn was withheld."""
    persona: str
    session: int
    text: str
    wanted: str
    """The beginning of what they meant to write."""
    waited: float
    action: str
    """Empty without a suggestion."""


@dataclass(frozen=True, slots=True)
class Workday:
    asked: tuple[Asked, ...]
    records: tuple[SuggestionRecord, ...]
    """In order of `asked`, as the product exported them; a place may have none."""

    def to_json(self) -> dict[str, Any]:
        return {
            "asked": [asdict(one) for one in self.asked],
            "records": [record.model_dump(mode="json") for record in self.records],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Workday":
        return cls(
            tuple(Asked(**one) for one in value["asked"]),
            tuple(SuggestionRecord.model_validate(record) for record in value["records"]),
        )


async def work(
    server: ServerProcess,
    workspace: Path,
    sources: Sequence[Source],
    kinds: Sequence[str],
    seed: int,
    desk: Desk,
    tick: Callable[[Visit], None] = lambda visit: None,
    moved: float = 0.0,
) -> Workday:
    """Type the day's places, a session for each persona one after the other. workspace: made anew, so that no day can be
    read in it. The same seed is the same luck at the same place, whatever is suggested there. moved: `calibration`'s."""
    await asyncio.to_thread(_fresh, workspace)
    asked: list[Asked] = []
    for number, (kind, share) in enumerate(zip(kinds, shares(sources, len(kinds)), strict=True)):
        if not share:
            continue
        traits = person(kind, Random(f"{seed}:{number}:{kind}"), moved)
        editor = Editor(workspace, options=desk.options(), environment=server.environment, name="tacit simulate")
        async with editor:
            session = Session(editor, traits, seed=seed, time_scale=desk.time_scale, visited=tick)
            for source in share:
                path, language = workspace / source.path, language_of(source.path)
                visits = await session.write(path, source.text, source.places, language=language)
                asked += [_asked(visit, source, kind, number) for visit in visits]
            await session.finish()
    found = await logged(server.client, {one.suggestion_id for one in asked if one.suggestion_id}, horizon="save", seconds=60)
    return Workday(tuple(asked), tuple(found[one.suggestion_id] for one in asked if one.suggestion_id in found))


def _fresh(workspace: Path) -> None:
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(parents=True)
    # The consent that the language server would otherwise ask for.
    (workspace / ".tacit.toml").write_text("learning = true\n", encoding="utf-8")


def shares(sources: Sequence[Source], count: int) -> list[list[Source]]:
    """The day's places cut into `count` parts of like size, in order; a file may go on in the next part's session."""
    total = sum(len(source.places) for source in sources)
    parts: list[list[Source]] = [[] for _ in range(count)]
    at = 0
    for source in sources:
        for index in range(count):
            first, last = round(total * index / count) - at, round(total * (index + 1) / count) - at
            if places := source.places[max(0, first) : max(0, last)]:
                parts[index].append(Source(source.path, source.text, places))
        at += len(source.places)
    return parts


def _asked(visit: Visit, source: Source, kind: str, session: int) -> Asked:
    place = visit.place
    wanted = source.text[place.pause : place.end]
    action = visit.decision.action if visit.decision else ""
    name = f"{visit.path}:{place.start}:{place.pause}"
    return Asked(name, visit.suggestion_id, kind, session, visit.text, wanted[:400], round(visit.waited, 3), action)
