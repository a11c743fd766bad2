"""What of an exported log a night may learn from: copies and impossible times are found, mended or left out, and said. Pure.

A log is written by many clients over months: a restored backup sends its events again, a machine wakes up in 1970 or in 2038.
None of that may stop a night, count twice, or sit in the held-out part for ever because it claims to be the latest.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

from tacit.learner.reward import Reward
from tacit.learner.reward_debug import Verdict
from tacit.protocol.completion import PROMPT_FORMAT, Generation
from tacit.protocol.debugging import CHAT_PROMPT_FORMAT
from tacit.protocol.events import SuggestionRecord

AHEAD: Final = timedelta(days=2)
"""A client's clock may be ahead of the learner's by so much: wrong time zones, and scripted replays that run faster than time."""
EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""Nothing was recorded before: a clock that lost its battery begins in 1970 or 2000."""


@dataclass(frozen=True, slots=True)
class Log:
    """What a night starts from."""

    fresh: tuple[SuggestionRecord, ...]
    """Not learned from yet, one for each draw, with plausible times."""
    known: int
    """How many the serving adapter has learned from, copies of those included."""
    past: tuple[SuggestionRecord, ...]
    """Those, one for each draw."""
    copies: dict[str, tuple[str, ...]]
    """Id of a fresh one → ids of its copies: who learns from it has learned from them."""
    remarks: tuple[str, ...]
    """What was wrong and what was made of it, a sentence each, for a person."""


def sound(records: Iterable[SuggestionRecord], learned: Collection[str], now: datetime) -> Log:
    """records: as exported. learned: ids that the serving adapter was trained on. now: by the learner's clock."""
    draws: dict[object, list[SuggestionRecord]] = defaultdict(list)
    count = 0
    for record in records:
        draws[identity(record)].append(record)
        count += 1
    fresh: list[SuggestionRecord] = []
    copies: dict[str, tuple[str, ...]] = {}
    past: list[SuggestionRecord] = []
    known = again = 0
    for same in draws.values():
        again += len(same) - 1
        names = {record.suggestion.suggestion_id for record in same}
        # Where an outbox was lost on the way, one copy knows more of what became of it.
        kept = max(same, key=lambda record: len(record.events))
        if not names.isdisjoint(learned):
            known += len(same)
            past.append(kept)
            continue
        fresh.append(kept)
        if others := names - {kept.suggestion.suggestion_id}:
            copies[kept.suggestion.suggestion_id] = tuple(sorted(others))
    remarks = [f"{again} of {count} suggestions were in the log more than once, copied: each counts once."] if again else []
    timed, said = with_plausible_times(fresh, now)
    return Log(tuple(timed), known, tuple(past), copies, (*remarks, *said))


def identity(record: SuggestionRecord) -> object:
    """The same for two records of one draw. A seed has 31 random bits, and each request gets its own."""
    suggestion = record.suggestion
    drawn = suggestion.generation
    return suggestion.context_sha256, suggestion.text, drawn.seed, drawn.model, drawn.policy_version, drawn.tokens


def with_plausible_times(records: Sequence[SuggestionRecord], now: datetime) -> tuple[list[SuggestionRecord], list[str]]:
    """(records, what is to be said): those whose time cannot be are put before all others, in their own order.

    There they are trained on like any other; as the latest they would be held out night after night.
    """
    odd = [record for record in records if not EARLIEST <= record.suggestion.at <= now + AHEAD]
    if not odd:
        return list(records), []
    if len(odd) > len(records) / 2:
        # Then it is this machine's clock: the order that the record has is the best there is.
        return list(records), [
            f"{len(odd)} of {len(records)} suggestions carry times that cannot be if it is {now:%Y-%m-%d} now: is this machine's "
            "clock right? They are taken in the order that they have."
        ]
    first = min(record.suggestion.at for record in records if EARLIEST <= record.suggestion.at <= now + AHEAD)
    place = {id(record): number for number, record in enumerate(sorted(odd, key=lambda record: record.suggestion.at))}
    mended = [
        record
        if (number := place.get(id(record))) is None
        else record.model_copy(
            update={"suggestion": record.suggestion.model_copy(update={"at": first - timedelta(microseconds=len(odd) - number)})}
        )
        for record in records
    ]
    return mended, [
        f"{len(odd)} of {len(records)} suggestions carry a time that cannot be (a clock that jumped): they count as the oldest."
    ]


def usable_draw(logprobs: Sequence[float], temperature: float) -> bool:
    """Can these be what an engine logged? One that is no number would make the whole night's weights none."""
    return temperature > 0 and all(isfinite(value) and value <= 1e-3 for value in logprobs)


def drawn_here(record: SuggestionRecord, model: str) -> bool:
    """Can the trainer compute again what the engine logged, of one draw at least: the same base (sha256), prompts made the same
    way?"""
    suggestion = record.suggestion
    if suggestion.debug is not None:
        return any(drawn_by(draw.generation, model, CHAT_PROMPT_FORMAT) for draw in suggestion.debug.draws)
    return drawn_by(suggestion.generation, model, PROMPT_FORMAT)


def drawn_by(drawn: Generation, model: str, prompt_format: int) -> bool:
    """One draw. prompt_format: as prompts of its task are made now."""
    return drawn.model == model and drawn.prompt_format == prompt_format and bool(drawn.tokens)


def one_kind(rewards: Iterable[Reward | Verdict]) -> str:
    """A sentence, if all labels are of one kind: nothing kept, or everything. Empty if there are both, or none."""
    kinds = Counter(reward.value > 0 for reward in rewards if reward.labelled)
    if len(kinds) != 1:
        return ""
    ((kept, count),) = kinds.items()
    what = "was kept: no rejection" if kept else "was rejected or thrown away: nothing"
    return (
        f"Each of the {count} suggestions with a label {what} to compare with. So rewards say nothing tonight, and only what was "
        "written instead is learned from."
    )


def other_bases(models: Iterable[str], model: str) -> str:
    """A sentence, if some draws are of another base than `model` (sha256 each). Empty if none is."""
    found = Counter(models)
    others = sum(count for name, count in found.items() if name != model)
    if not others:
        return ""
    whose = ", ".join(f"{name[:12]}… ({count})" for name, count in found.most_common() if name != model)
    return (
        f"The base model has changed: {others} of {found.total()} suggestions were drawn by another one, {whose}; now "
        f"{model[:12]}… serves. Of those only what was written is learned from."
    )
