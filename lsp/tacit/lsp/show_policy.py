"""Whether a suggestion is shown or not: P(kept) against the threshold that the developer chose. Reads one file of the model.

Below the threshold it is shown all the same now and then, where that is recorded: without such draws nothing could be learnt
of what the policy withholds. The probability with which it would be shown is part of the record.
"""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tacit.protocol.show_policy import PRIORS, KeptModel, read

log = logging.getLogger(__name__)

Eagerness = Literal["quiet", "balanced", "eager"]
THRESHOLDS: Final[Mapping[Eagerness, float]] = {"quiet": 0.25, "balanced": 0.12, "eager": 0.0}
"""Shown from this P(kept) on."""
EXPLORES: Final = 0.02
"""Chance of being shown below the threshold."""


@dataclass(frozen=True, slots=True)
class Decision:
    show: bool
    p_show: float
    """Probability with which this was going to be shown."""
    p_kept: float
    explored: bool = False
    """Shown although it is below the threshold."""
    eagerness: Eagerness | None = None
    """The setting that it was taken under; None: it did not matter."""


def decide(p_kept: float, eagerness: Eagerness, chance: float, *, explore: bool) -> Decision:
    """chance: a draw from [0, 1). explore: whether showing below the threshold is of use, that is: recorded."""
    if p_kept >= THRESHOLDS[eagerness]:
        return Decision(True, 1.0, p_kept, eagerness=eagerness)
    show = explore and chance < EXPLORES
    return Decision(show, EXPLORES, p_kept, explored=show, eagerness=eagerness)


class ShowPolicy:
    """The model in use: the file's, as soon as the learner has written one, else the priors."""

    def __init__(self, path: Path, chance: Callable[[], float] = random.random) -> None:
        self._path = path
        self._chance = chance
        self._stamp: tuple[int, int] | None = None
        self._model = PRIORS

    def decide(self, features: Mapping[str, float], eagerness: Eagerness, *, explore: bool) -> Decision:
        return decide(self.model().p_kept(features), eagerness, self._chance(), explore=explore)

    def model(self) -> KeptModel:
        """Read again when the file is another one."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
        except OSError:
            self._stamp, self._model = None, PRIORS
            return PRIORS
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._model = read(self._path)
            except (OSError, ValueError) as error:
                log.warning("%s cannot be used, the built-in one is: %s", self._path.name, error)
                self._model = PRIORS
        return self._model
