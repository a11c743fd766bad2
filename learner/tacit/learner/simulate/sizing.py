"""How many places a day fit into an hour, from how fast this machine is. Pure but for `measure`, which types and learns a few."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from tacit.learner.simulate.arms import ARMS, arms
from tacit.learner.simulate.nights import Nights
from tacit.learner.simulate.plan import Source
from tacit.learner.simulate.serving import ServerProcess
from tacit.learner.simulate.workday import work
from tacit.protocol.home import Home

if TYPE_CHECKING:
    from tacit.learner.simulate.experiment import Options

CALIBRATION: Final = 8
"""Places."""
FEWEST, MOST = 6, 400
"""Places a day."""
TRL, SCORING = 2.0, 0.15
"""Of the seconds that a night of ours takes for each place: TRL's, scoring."""
NIGHT: Final = 6.0
"""Seconds of loading and saving, for each arm and night."""
DAY: Final = 8.0
"""Of starting editors and letting the horizons pass, for each session."""
FIXED: Final = 90.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds for one place, as measured on this machine."""

    typing: float
    learning: float
    """Of a night of `topr` that has a past to go over, beyond NIGHT."""


async def measure(options: "Options", sources: Sequence[Source], folder: Path, home: Home) -> Pace:
    """Type a few places and learn from them. folder: empty; may be removed afterwards. home: the experiment's, whose cache keeps
    the weights that training reads."""
    own = folder / "home"
    own.mkdir(parents=True, mode=0o700)
    async with ServerProcess(Home(own.resolve()), {"model": options.model, "max_tokens": str(options.max_tokens)}) as server:
        began = monotonic()
        day = await work(server, folder / "workspace", sources, options.personas[:1], 0, options.desk)
        typing = max(0.1, (monotonic() - began - DAY) / max(1, len(day.asked)))
        status = await server.client.status()

    def night() -> float:
        nights = Nights(home, Path(status.model_path), status.model_sha256)
        samples = nights.samples(day.records)
        return nights.night(ARMS["topr"], None, samples, samples, options.train, folder / "adapter").seconds

    taken = await asyncio.to_thread(night)
    return Pace(typing, max(0.1, (taken - NIGHT) / max(1, len(day.asked))))


def seconds(options: "Options", places: int, pace: Pace) -> float:
    """What the whole experiment takes with so many places a day."""
    trained = [arm for arm in arms(options.arms) if arm.objective]
    learning = sum(places * pace.learning * (TRL if arm.trainer == "trl" else 1) + NIGHT for arm in trained)
    scoring = (len(trained) + 1) * (places * pace.learning * SCORING + NIGHT)
    day = places * pace.typing + DAY * options.sessions
    typed = options.nights + 2 + options.calibrate + (1 + len(options.live) if options.live else 0)
    return FIXED + options.seeds * (typed * day + options.nights * (learning + scoring))


def places(options: "Options", minutes: float, pace: Pace) -> int:
    """The most that fit; never fewer than say anything at all, however long those take."""
    fitting = [count for count in range(FEWEST, MOST + 1) if seconds(options, count, pace) <= 60 * minutes]
    return max(fitting, default=FEWEST)
