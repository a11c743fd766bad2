"""`tacit bench learning`: what an objective makes of the same simulated log, night after night, beside imitation and controls.

The experiment is `tacit simulate`'s (tacit.learner.simulate); here are its size, chosen so that it takes about as long as is
wanted, and the goals. Works in a folder that is kept, and goes on with what a killed run has left there.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from random import Random
from typing import Any, Final

from tacit.bench.report import Goal, Report
from tacit.learner.simulate import sizing
from tacit.learner.simulate.arms import FROZEN
from tacit.learner.simulate.cells import write
from tacit.learner.simulate.days import days
from tacit.learner.simulate.edits import Change
from tacit.learner.simulate.experiment import SHORT, Experiment, Options
from tacit.learner.simulate.findings import BAND, PUBLISHED, Findings, accepted_rate, kept, ratio, shown
from tacit.learner.simulate.measure import Interval
from tacit.learner.simulate.plots import draw
from tacit.learner.simulate.telling import markdown, words
from tacit.learner.simulate.workday import Desk
from tacit.learner.train import TrainSettings
from tacit.protocol.home import Home

ARMS: Final = ("sft", "trl-kto", "rwr", "topr", "random", "shuffled")
LIVE: Final = ("sft", "topr", SHORT)
NIGHTS, SEEDS = 5, 3
BATCH: Final = 4
"""Samples per step, for every arm: a day here has some twenty, which would be two steps of the product's eight."""
MAIN: Final = "topr"
LOWER: Final = -0.08
"""Perplexity against the best classical arm: Augment's claim for its own way."""
FEWER_SHOWN, MORE_ACCEPTED = 0.79, 1.28
"""Cursor's claim."""
FORGOTTEN: Final = 0.051
"""e^0.05 - 1: the gate's bound on forgetting, 0.05 nats per token, as a change of perplexity."""

Progress = Callable[[str, int, int], None]


def options(model: str, projects: Sequence[str], nights: int = NIGHTS, seeds: int = SEEDS) -> Options:
    """The bench's arms and a short context; `places` is still to be chosen."""
    desk = Desk(prefix_chars=320, suffix_chars=100)
    # TRL is for developers of Tacit; without it the classical KTO is ours, whose loss and gradient are TRL's.
    arms = tuple("kto" if arm == "trl-kto" and find_spec("trl") is None else arm for arm in ARMS)
    return Options(
        model=model,
        projects=tuple(projects),
        nights=nights,
        seeds=seeds,
        arms=arms,
        live=LIVE,
        desk=desk,
        max_tokens=16,
        train=TrainSettings(batch=BATCH),
    )


def run(
    wanted: Options, corpus: Mapping[str, Sequence[Change]], folder: Path, minutes: float, places: int, progress: Progress
) -> Report:
    """places: a day; 0: as many as fit into `minutes`, measured on this machine the first time and kept in the folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    pace = _pace(wanted, corpus, folder, progress)
    kept_size = folder / "size.json"
    if not places and kept_size.exists():
        places = int(json.loads(kept_size.read_text(encoding="utf-8"))["places"])
    chosen = replace(wanted, places=places or sizing.places(wanted, minutes, pace))
    write(kept_size, {"places": chosen.places})
    experiment = Experiment(chosen, corpus, folder, progress)
    found = asyncio.run(experiment.run())
    text = markdown(found, experiment.setup(), draw(found, folder))
    (folder / "report.md").write_text(text, encoding="utf-8")
    return report(found, chosen, experiment.setup().model, pace, folder)


def _pace(wanted: Options, corpus: Mapping[str, Sequence[Change]], folder: Path, progress: Progress) -> sizing.Pace:
    path = folder / "pace.json"
    if path.exists():
        return sizing.Pace(**json.loads(path.read_text(encoding="utf-8")))
    progress("How fast is it here?", 0, 1)
    (sources,) = days(corpus[wanted.projects[0]], 1, sizing.CALIBRATION, Random(0))
    trial = folder / "calibration"
    shutil.rmtree(trial, ignore_errors=True)
    try:
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        pace = asyncio.run(sizing.measure(wanted, sources, trial, Home(home.resolve())))
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    write(path, asdict(pace))
    return pace


def report(found: Findings, chosen: Options, model: str, pace: sizing.Pace, folder: Path) -> Report:
    nights = found.nights()
    frozen = found.sums(FROZEN.name)
    rows: list[dict[str, Any]] = []
    for arm in [*found.arms(), *(name for name in found.live_arms() if name not in found.arms())]:
        every = found.figure(arm)
        away = found.figure(arm, night=nights, unseen=True)
        sums = found.sums(arm)
        flat = [one for sessions in sums.values() for one in sessions.values()]
        rate = accepted_rate(flat)
        rows.append(
            {
                "what": arm,
                "next day": _rounded(every.value),
                "against frozen": words(every.against),
                "unseen project": _rounded(away.value),
                "unseen, against frozen": words(away.against),
                "shown": shown(flat) if flat else None,
                "accepted, %": None if rate is None else round(100 * rate, 1),
                "kept chars": kept(flat) if flat else None,
            }
        )
    return Report("learning", model, rows, goals(found, frozen), _remarks(found, chosen, pace, folder))


def goals(found: Findings, frozen: Mapping[int, Any]) -> list[Goal]:
    """The issue's, each as a value that must not exceed its bound."""
    best = found.best_classical()
    nights = found.nights()
    live = found.sums(MAIN)
    fewer, more, chars = (ratio(frozen, live, of) for of in (shown, accepted_rate, kept))
    made = [
        Goal(
            f"next-day perplexity of {MAIN} against the best classical arm ({best or 'none'}), change",
            _value(found.figure(MAIN, beside=best).against) if best else None,
            LOWER,
        ),
        Goal(f"shown by {MAIN}, of frozen's", None if fewer is None else 1 + fewer.value, FEWER_SHOWN),
        Goal(f"frozen's accepted rate, of {MAIN}'s", _inverse(more), round(1 / MORE_ACCEPTED, 3)),
        Goal(f"frozen's kept characters, of {MAIN}'s", _inverse(chars), 1.0),
    ]
    for control in ("random", "shuffled"):
        # Clearly: the end of the interval, not its middle.
        against = found.figure(MAIN, beside=control).against if control in found.arms() else None
        made.append(Goal(f"{MAIN} against {control} rewards, change, upper 95 %", against.high if against else None, 0.0))
    away = found.figure(MAIN, night=nights, unseen=True).against
    made.append(Goal(f"unseen project, {MAIN} against frozen, change", _value(away), FORGOTTEN))
    return made


def _remarks(found: Findings, chosen: Options, pace: sizing.Pace, folder: Path) -> list[str]:
    acceptance = found.behaviour()["acceptance"]
    inside = BAND[0] <= acceptance.value <= BAND[1]
    interval = f"[{acceptance.low:.1%}, {acceptance.high:.1%}]" if isfinite(acceptance.low) else ""
    projects = ", ".join(dict.fromkeys(chosen.projects))
    published = f"{PUBLISHED['acceptance']:.1%}"
    hours = sizing.seconds(replace(chosen, places=40), 40, pace) / 3600
    return [
        "SIMULATED: scripted developers write what real commits wrote; the learner gets what the product logged, no more.",
        f"{chosen.seeds} seeds, {chosen.nights} nights, {chosen.places} places a day, of {projects}. "
        "Night k learns from day k, all arms from the base's log of it, without the gate, and is scored on day k + 1; shown, "
        "accepted and kept are of the last day, typed live.",
        f"Intervals: 95 %, bootstrap over seeds and sessions; * leaves out zero. Goals compare {MAIN} with the best classical "
        "arm as chosen on these same figures.",
        f"The developers took {acceptance.value:.1%} {interval} of the base's suggestions; published: {published}. "
        f"That is {'' if inside else 'NOT '}within a quarter of it.",
        f"On this machine 40 places a day would take about {hours:.1f} hours (--places 40).",
        f"Report, pictures and all logs: {folder}",
    ]


def _value(interval: Interval | None) -> float | None:
    return None if interval is None or not isfinite(interval.low) else interval.value


def _inverse(interval: Interval | None) -> float | None:
    return None if interval is None or interval.value <= -1 else 1 / (1 + interval.value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
