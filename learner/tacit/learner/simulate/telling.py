"""An experiment's findings in words: markdown for a person, JSON for a script. Pure; claims no more than was simulated."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from tacit.learner.simulate.arms import ARMS, FROZEN, LIVE_ONLY
from tacit.learner.simulate.findings import (
    BAND,
    PUBLISHED,
    Findings,
    Sums,
    accepted_rate,
    kept,
    ratio,
    shown,
)
from tacit.learner.simulate.measure import Interval


@dataclass(frozen=True, slots=True)
class Setup:
    """What was run."""

    model: str
    seeds: int
    nights: int
    places: int
    """A day."""
    projects: Mapping[int, str]
    unseen: Mapping[int, str]
    """By seed; empty: no other project was there."""
    personas: tuple[str, ...]
    context: str


SIMULATED = (
    "Everything here is **simulated**: scripted developers write what real commits wrote, through the real language server, "
    "server, engine and learner. It says what an arm makes of such feedback, not what people do."
)


def words(interval: Interval | None) -> str:
    """`-7.1 % [-9.0, -5.2]`; with * where the interval leaves out zero."""
    if interval is None or not isfinite(interval.low):
        return "-"
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.value:+.1f} % [{low:+.1f}, {high:+.1f}]{' *' if interval.tells else ''}"


def markdown(found: Findings, setup: Setup, pictures: Sequence[str] = ()) -> str:
    nights = found.nights()
    projects = ", ".join(dict.fromkeys(setup.projects.values()))
    lines = [
        "# Learning, simulated",
        "",
        SIMULATED,
        "",
        f"Model {setup.model}. {setup.seeds} {'seed' if setup.seeds == 1 else 'seeds'}, {nights} nights, {setup.places} places "
        f"a day ({projects}); personas: {', '.join(setup.personas)}; {setup.context}. Night k learns from day k and is scored on "
        "day k + 1. All arms learn from what the base logged on the same day; no gate is asked. Intervals: 95 %, bootstrap over "
        "seeds and sessions; * leaves out zero.",
        "",
        "## Perplexity of what was really written, on the next day",
        "",
        "| arm | all nights | against frozen | last night | unseen project | against frozen | s a night |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in found.arms():
        every, last, away = found.figure(arm), found.figure(arm, night=nights), found.figure(arm, night=nights, unseen=True)
        spent = [cell.seconds for cell in found.cells if cell.arm == arm and cell.seconds]
        cells = (
            f"`{arm}`", _number(every.value), words(every.against), _number(last.value), _number(away.value), words(away.against),
            f"{sum(spent) / len(spent):.0f}" if spent else "-",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- `{arm}`: {ARMS[arm].words}" for arm in found.arms())]
    if found.lives:
        lines += ["", "## The last day, typed live", "", *_live(found)]
    lines += ["", "## The developers", "", *_behaviour(found)]
    lines += [f"\n![{name}]({name})" for name in pictures]
    return "\n".join(lines) + "\n"


def _live(found: Findings) -> list[str]:
    lines = [
        "| arm | places | shown | accepted of shown | kept characters | shown, change | accepted, change | kept, change |",
        "|---|---|---|---|---|---|---|---|",
    ]
    frozen = found.sums(FROZEN.name)
    named = [(arm, found.sums(arm)) for arm in found.live_arms()] + [("developer-oracle", found.oracle())]
    for arm, sums in named:
        flat = [one for sessions in sums.values() for one in sessions.values()]
        rate = accepted_rate(flat)
        changes = [words(ratio(frozen, sums, of)) if arm != FROZEN.name else "-" for of in (shown, accepted_rate, kept)]
        counts = [str(sum(one.places for one in flat)), f"{shown(flat) or 0:.0f}", "-" if rate is None else f"{rate:.1%}"]
        lines.append(f"| {' | '.join([f'`{arm}`', *counts, f'{kept(flat) or 0:.0f}', *changes])} |")
    lines += [
        "",
        "Trained arms have the show policy that the learner fits on the days before; frozen has the built-in one.",
        *(f"- `{arm}`: {what}" for arm, what in LIVE_ONLY.items() if any(arm == name for name, _ in named)),
    ]
    return lines


def _behaviour(found: Findings) -> list[str]:
    lines = ["| with the base's suggestions | simulated | published |", "|---|---|---|"]
    seen = found.behaviour()
    for name, interval in seen.items():
        span = f"{interval.value:.1%} [{interval.low:.1%}, {interval.high:.1%}]" if isfinite(interval.low) else "-"
        lines.append(f"| {name} | {span} | {PUBLISHED[name]:.1%} |")
    inside = BAND[0] <= seen["acceptance"].value <= BAND[1]
    lines += [
        "",
        f"Acceptance {'is' if inside else 'is **not**'} within a quarter of the published mean ({BAND[0]:.0%} to {BAND[1]:.0%}). "
        "Published: 2,047 Copilot users, their first horizon at 30 s.",
    ]
    if found.moved:
        by = ", ".join(f"{value:+.2f} (seed {seed})" for seed, value in sorted(found.moved.items()))
        lines += ["", f"Everyone's inclination was moved beforehand, after a pilot with the base, towards that mean: {by}."]
    return lines


def to_json(found: Findings, setup: Setup) -> dict[str, Any]:
    nights = found.nights()
    return {
        "simulated": True,
        "setup": asdict(setup) | {"projects": {str(k): v for k, v in setup.projects.items()}},
        "arms": {
            arm: {
                "next_day": _figure(found, arm),
                "by_night": {str(night): _figure(found, arm, night=night) for night in range(nights + 1)},
                "unseen": _figure(found, arm, night=nights, unseen=True),
            }
            for arm in found.arms()
        },
        "best_classical": found.best_classical(),
        "live": {arm: _sums(found.sums(arm)) for arm in found.live_arms()}
        | ({"developer-oracle": _sums(found.oracle())} if found.lives else {}),
        "behaviour": {name: asdict(interval) for name, interval in found.behaviour().items() if isfinite(interval.low)},
        "published": PUBLISHED,
        "moved": {str(seed): value for seed, value in found.moved.items()},
    }


def _figure(found: Findings, arm: str, *, night: int | None = None, unseen: bool = False) -> dict[str, Any]:
    figure = found.figure(arm, night=night, unseen=unseen)
    return {"perplexity": figure.value, "against_frozen": asdict(figure.against) if figure.against else None}


def _sums(sums: Mapping[int, Mapping[int, Sums]]) -> dict[str, Any]:
    flat = [one for sessions in sums.values() for one in sessions.values()]
    return {
        "places": sum(one.places for one in flat),
        "shown": shown(flat),
        "accepted_rate": accepted_rate(flat),
        "kept_chars": kept(flat),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
