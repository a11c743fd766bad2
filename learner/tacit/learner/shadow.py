"""What a shadow would have said: places of the day, drawn again with it and with what serves while nobody waits for the engine.
Part of the short process that judges canaries (`tacit.learner.canary`). Touches the server through its client; never torch.

Only suggestions that were recorded are drawn again: where learning is off, nothing is. Their place has settled, so what was
written there is known. Everything that is kept is a few numbers for each place, in the server's value of the canary.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from tacit.learner.gate.shadow import watch
from tacit.learner.reward import TAU, edit_distance, kept_length, worth
from tacit.learner.samples import SETTLED_MS, written_of
from tacit.protocol.adapters import CanaryInfo, CanaryJudgement, ShadowAnswer, ShadowDraw, ShadowPlace, ShadowRequest
from tacit.protocol.client import TacitClient
from tacit.protocol.completion import PROMPT_FORMAT, CompleteResponse
from tacit.protocol.errors import Conflict
from tacit.protocol.events import Accepted, Settled, SuggestionRecord

APART = timedelta(minutes=10)
"""Two places of one file and session: what stands between is seldom the same line again."""
LOOK_SECONDS = 300.0
"""Of one look, so that canaries beside it are judged, too."""


async def look(client: TacitClient, shadow: CanaryInfo, seconds: float = LOOK_SECONDS) -> CanaryInfo:
    """Draw at as many more places as there are and as the engine has time for, one at least, and tell the server after each.

    Conflict: it is not tried any more.
    """
    end = time.monotonic() + seconds
    records = [
        record
        async for record in client.export(shadow.project, shadow.task, since=shadow.started_at, unreadable=lambda what: None)
    ]
    places = list(shadow.places)
    wanted = chosen(records, {place.suggestion_id for place in places}, shadow.live)
    found = await _tell(client, shadow, places)
    for record in wanted:
        if found.state != "shadow":
            break
        request = ShadowRequest(
            project=shadow.project,
            task=shadow.task,
            adapter=shadow.adapter,
            context=record.suggestion.context,
            seed=record.suggestion.generation.seed % 2**31,
            candidate_first=len(places) % 2 == 0,
        )
        try:
            answer = await client.shadow_draw(request)
        except Conflict:
            # Somebody works, or it has been withdrawn meanwhile. The next look finds out.
            break
        places.append(place_of(record, answer))
        found = await _tell(client, shadow, places)
        if time.monotonic() > end:
            break
    return found


async def _tell(client: TacitClient, shadow: CanaryInfo, places: Sequence[ShadowPlace]) -> CanaryInfo:
    watched = watch(places, shadow.wanted_places)
    return await client.judge(
        CanaryJudgement(
            project=shadow.project,
            task=shadow.task,
            adapter=shadow.adapter,
            verdict=watched.verdict,
            started_at=shadow.started_at,
            message=watched.message,
            places=tuple(places),
        )
    )


def chosen(records: Iterable[SuggestionRecord], known: Iterable[str], live: str) -> list[SuggestionRecord]:
    """Where to draw next, oldest first: settled places at which `live` drew, apart from each other and from those that are known.

    Nothing that was found decides which: neither what was shown nor what became of it.
    """
    names = set(known)
    taken: list[tuple[str, str, datetime]] = []
    found: list[SuggestionRecord] = []
    ordered = sorted(records, key=lambda record: record.suggestion.at)
    for record in [r for r in ordered if r.suggestion.suggestion_id in names] + ordered:
        suggestion = record.suggestion
        where = (suggestion.session_id, suggestion.context.path, suggestion.at)
        if suggestion.suggestion_id in names:
            taken.append(where)
        elif _usable(record, live) and all(_apart(where, other) for other in taken):
            taken.append(where)
            found.append(record)
    return found


def place_of(record: SuggestionRecord, answer: ShadowAnswer) -> ShadowPlace:
    taken = any(isinstance(event, Accepted) for event in record.events)
    gain = None if taken else found_again(record, answer.candidate.text) - found_again(record, answer.live.text)
    return ShadowPlace(
        suggestion_id=record.suggestion.suggestion_id, gain=gain, candidate=_draw(answer.candidate), live=_draw(answer.live)
    )


def found_again(record: SuggestionRecord, text: str) -> float:
    """The reward of this text had it been taken whole and mended to what was written, in [-0.25, 0.75]; 0: there is no text."""
    if not text.strip():
        return 0.0
    suggestion = record.suggestion.model_copy(update={"text": text})
    written = written_of(record.model_copy(update={"suggestion": suggestion}))
    target = written.text if written is not None else ""
    shown = text.rstrip("\n")
    return worth(kept_length(shown, target)) * (1 - edit_distance(shown, target)) - TAU


def _draw(answer: CompleteResponse) -> ShadowDraw:
    return ShadowDraw(
        chars=len(answer.text.strip()), tokens=len(answer.generation.tokens), ms=max(0.0, answer.timings.generate_ms)
    )


def _usable(record: SuggestionRecord, live: str) -> bool:
    """Drawn by what serves, as prompts are made now, and settled for good."""
    drawn = record.suggestion.generation
    settled = any(
        isinstance(event, Settled) and (event.horizon == "save" or (event.horizon != "close" and event.elapsed_ms >= SETTLED_MS))
        for event in record.events
    )
    same = drawn.policy_version == live and drawn.prompt_format == PROMPT_FORMAT
    return same and settled and written_of(record) is not None


def _apart(one: tuple[str, str, datetime], other: tuple[str, str, datetime]) -> bool:
    return one[:2] != other[:2] or abs(one[2] - other[2]) >= APART
