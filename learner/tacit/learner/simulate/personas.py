"""Kinds of simulated developers, and one person of a kind. Pure: random numbers come in.

Their weights are guesses about people, mixed so that together they take about a quarter of what a small model offers (2,047
Copilot users took 25.8 %); for the model at hand all are moved by what `calibration` finds. What a run's developers really
took is a figure of its report, beside the published ones.
"""

from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import Final

from tacit.learner.simulate.developer import Traits
from tacit.protocol.errors import BadRequest

PERSONAS: Final = MappingProxyType(
    {
        "steady": Traits(),
        # Takes what looks about right, and mends it or takes it out again.
        "accept-prone": Traits(inclination=-2.7, partial=0.3, dismiss=0.15),
        # Only what is right, and says no aloud.
        "picky": Traits(prefix_match=5.0, similarity=4.0, inclination=-5.2, dismiss=0.55),
        # Fast keys; looks up only for what is right and long in coming.
        "typist": Traits(inclination=-4.3, latency=0.3, dismiss=0.1, leave=0.02, seconds_per_key=0.11),
        # Takes the whole and edits it towards what was meant, where others take the first words.
        "editor-after-accept": Traits(inclination=-3.0, partial=0.1, dismiss=0.2),
    }
)


def person(kind: str, random: Random, moved: float = 0.0) -> Traits:
    """One developer of this kind: u_dev, slips and speed differ between people. moved: added to u_dev.

    BadRequest: there is no such kind."""
    if kind not in PERSONAS:
        raise BadRequest(f"There is no persona `{kind}`.", mend=f"There are: {', '.join(PERSONAS)}.")
    traits = PERSONAS[kind]
    return replace(
        traits,
        inclination=traits.inclination + moved + random.gauss(0, 0.4),
        slip=random.uniform(0.03, 0.05),
        seconds_per_key=traits.seconds_per_key * random.uniform(0.75, 1.3),
    )
