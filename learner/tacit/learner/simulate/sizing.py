"""How many places a day fit into an hour, from how fast this machine is. Pure but for `measure`, which types a few places."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Final

from tacit.learner.simulate.arms import arms
from tacit.learner.simulate.plan import Source
from tacit.learner.simulate.serving import ServerProcess
from tacit.learner.simulate.workday import work
from tacit.protocol.home import Home

if TYPE_CHECKING:
    from tacit.learner.simulate.experiment import Options

CALIBRATION: Final = 6
"""Places."""
FEWEST, MOST = 6, 400
"""Places a day."""
TRAINING, TRL, SCORING = 1.6, 3.0, 0.25
"""Seconds per suggestion for each second that the engine takes for one: training, TRL's training, scoring."""
NIGHT: Final = 6.0
"""Seconds of loading and saving, for each arm and night."""
DAY: Final = 8.0
"""Of starting editors and letting the horizons pass, for each session."""
FIXED: Final = 90.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds for one place, as measured on this machine."""

    typing: float
    computing: float
    """Of that, the engine's."""


async def measure(options: "Options", sources: Sequence[Source], folder: Path) -> Pace:
    """Type a few places. folder: empty; may be removed afterwards."""
    home = folder / "home"
    home.mkdir(parents=True, mode=0o700)
    async with ServerProcess(Home(home.resolve()), {"model": options.model, "max_tokens": str(options.max_tokens)}) as server:
        began = monotonic()
        day = await work(server, folder / "workspace", sources, options.personas[:1], 0, options.desk)
        spent = max(0.0, monotonic() - began - DAY) / max(1, len(day.asked))
    # The median: the first suggestion also waits for the model to be read into memory.
    computing = median([one.waited for one in day.asked] or [1.0])
    return Pace(max(spent, computing), computing)


def seconds(options: "Options", places: int, pace: Pace) -> float:
    """What the whole experiment takes with so many places a day."""
    trained = [arm for arm in arms(options.arms) if arm.objective]
    learning = sum(places * pace.computing * (TRL if arm.trainer == "trl" else TRAINING) + NIGHT for arm in trained)
    scoring = (len(trained) + 1) * places * pace.computing * SCORING + NIGHT
    day = places * pace.typing + DAY * options.sessions
    typed = options.nights + 2 + (1 + len(options.live) if options.live else 0)
    return FIXED + options.seeds * (typed * day + options.nights * (learning + scoring))


def places(options: "Options", minutes: float, pace: Pace) -> int:
    """The most that fit; never fewer than say anything at all, however long those take."""
    fitting = [count for count in range(FEWEST, MOST + 1) if seconds(options, count, pace) <= 60 * minutes]
    return max(fitting, default=FEWEST)
