"""Which files the demo types, and how many places fit into its time. Pure but for reading the package's sources."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tacit.learner.simulate.places import Place, choose_places
from tacit.protocol.errors import BadRequest

FEWEST_LINES, MOST_LINES = 40, 700
FEWEST_PLACES = 4
"""That a file must offer, apart from one another; fewer if fewer are asked for."""
HELD_OUT_PLACES = 25
"""At most."""
TRAINING_PLACES = 100
"""At most."""
SMALLEST = 40
"""Training places at least: a run holds out 15 % of them, and wants to know of five of those what was written instead."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to type: its path within the package, its finished text, and where the developer asks."""

    path: str
    text: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds, as measured so far on this machine."""

    place: float
    """Typing one place, the suggestion included."""
    fixed: float
    """Of the learning run and of measuring: loading, checking, publishing."""
    sample: float
    """Of the learning run, per suggestion."""
    score: float
    """Of measuring perplexity, per held-out place."""


@dataclass(frozen=True, slots=True)
class Plan:
    training: int
    held_out: int
    seconds: float
    """What it will take."""


def package_folder(package: str) -> Path:
    """Where an installed package's sources lie. BadRequest if there is no such package."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise BadRequest(f"There is no installed package `{package}`.", mend="Name one that `pip list` shows, such as `rich`.")
    return Path(next(iter(spec.submodule_search_locations)))


def choose_sources(folder: Path, files: int, seed: int, per_file: int) -> list[Source]:
    """`files` Python files of middling length that have enough places, the same ones for the same seed."""
    random = Random(seed)
    paths = sorted(p for p in folder.rglob("*.py") if "test" not in p.name and p.is_file())
    random.shuffle(paths)
    chosen: list[Source] = []
    for path in paths:
        if len(chosen) == files:
            break
        source = read_source(path, folder, Random(f"{seed}:{path.relative_to(folder).as_posix()}"), per_file)
        if source is not None:
            chosen.append(source)
    if len(chosen) < files:
        raise BadRequest(
            f"{folder.name} has only {len(chosen)} suitable files of the {files} that are needed.",
            mend="Take fewer --files or another --package.",
        )
    return chosen


def read_source(path: Path, folder: Path, random: Random, per_file: int) -> Source | None:
    """None if the file is too short, too long, no Python, or offers too few places."""
    try:
        text = path.read_text(encoding="utf-8")
        if not FEWEST_LINES <= text.count("\n") <= MOST_LINES:
            return None
        places = choose_places(text, per_file, random)
    except (SyntaxError, ValueError):
        return None
    if len(places) < min(per_file, FEWEST_PLACES):
        return None
    return Source(path.relative_to(folder).as_posix(), text, tuple(places))


def plan(seconds: float, speed: Speed) -> Plan:
    """How many places to type so that both passes over the held-out ones, the run and the measuring fit into `seconds`.

    Never less than the smallest loop that says anything: on a machine too slow for it, `Plan.seconds` is more than was given.
    """
    fitting = (p for p in (_sized(n, speed) for n in range(TRAINING_PLACES, SMALLEST, -1)) if p.seconds <= seconds)
    return next(fitting, _sized(SMALLEST, speed))


def plan_again(seconds: float, speed: Speed, held_out: int) -> Plan:
    """The same, when the first of the two passes over `held_out` places is done and has told more about the machine's speed."""
    done = held_out * speed.place
    sized = (_sized(n, speed, held_out) for n in range(TRAINING_PLACES, SMALLEST - 1, -1))
    left = [Plan(p.training, held_out, p.seconds - done) for p in sized]
    return next((p for p in left if p.seconds <= seconds), left[-1])


def _sized(training: int, speed: Speed, held_out: int = 0) -> Plan:
    held_out = held_out or min(HELD_OUT_PLACES, max(6, training // 3))
    seconds = speed.fixed + training * (speed.place + speed.sample) + held_out * (2 * speed.place + speed.score)
    return Plan(training, held_out, seconds)


def take(sources: list[Source], places: int) -> list[Source]:
    """The sources cut to `places` places in all, spread evenly over the files and within each."""
    left, result = places, []
    for index, source in enumerate(sources):
        share = min(-(-left // (len(sources) - index)), len(source.places))
        kept = tuple(source.places[k * len(source.places) // share] for k in range(share))
        left -= share
        if kept:
            result.append(Source(source.path, source.text, kept))
    return result
