"""From a record to an example: what was known when the suggestion was drawn, and what it turned out to be worth. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from tacit.learner.reward import reward
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.show_policy import FEATURES, features_of

MOST_WEIGHT: Final = 10.0
"""Of one that was shown to explore: as LEARNING.md bounds 1/P(show)."""

HEAVIEST: Final = 4.0
"""Times the median weight."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One suggestion whose worth is known."""

    at: datetime
    features: dict[str, float]
    value: float
    """R in [-1, 1]: what the reward made of its whole record."""
    weight: float = 1.0
    """1/P(show), and three times that for a rating."""
    session: str = ""
    prefix: str = ""
    """What stood before it."""
    text: str = ""

    @property
    def kept(self) -> bool:
        return self.value > 0

    @property
    def row(self) -> list[float]:
        """Its features, in their order."""
        return [self.features[name] for name in FEATURES]


def labelled(record: SuggestionRecord) -> Labelled | None:
    """None: nothing is known of whether it was wanted."""
    verdict = reward(record)
    if not verdict.labelled:
        return None
    suggested = record.suggestion
    return Labelled(
        at=suggested.at,
        features=features_of(suggested),
        value=verdict.value,
        weight=verdict.weight * min(1 / suggested.p_show, MOST_WEIGHT),
        session=suggested.session_id,
        prefix=suggested.context.prefix,
        text=suggested.text,
    )


def counted(examples: Sequence[Labelled]) -> list[float]:
    """How much each counts: its weight, but no more than HEAVIEST of the usual ones.

    One in twenty labels that are rated, explored and wrong would have more weight than all others together.
    """
    most = HEAVIEST * median(one.weight for one in examples)
    return [min(one.weight, most) for one in examples]


def one_class(examples: Iterable[Labelled]) -> bool:
    """All kept, or none, or there is nothing: no model can be fitted to that."""
    return len({one.kept for one in examples}) < 2


def late_sessions(examples: Sequence[Labelled], share: float) -> tuple[list[Labelled], list[Labelled]]:
    """(earlier, later): whole sessions, the latest ones, at least `share` of all are later.

    Where that would leave less than half (few long sessions), the later part is cut by time alone.
    """
    ordered = sorted(examples, key=lambda one: one.at)
    began: dict[str, datetime] = {}
    for one in ordered:
        began.setdefault(one.session, one.at)
    late: set[str] = set()
    count = 0
    for session in sorted(began, key=lambda name: began[name], reverse=True):
        if count >= share * len(ordered):
            break
        late.add(session)
        count += sum(one.session == session for one in ordered)
    if count > len(ordered) / 2:
        cut = len(ordered) - round(share * len(ordered))
        return ordered[:cut], ordered[cut:]
    return [one for one in ordered if one.session not in late], [one for one in ordered if one.session in late]
