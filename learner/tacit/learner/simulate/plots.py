"""An experiment's findings as pictures (PNG). Touches matplotlib (extra `plots`) and the files it is asked to write."""

from pathlib import Path
from typing import Any

from tacit.learner.simulate.arms import FROZEN
from tacit.learner.simulate.findings import Findings, accepted_rate, kept, ratio, shown

NIGHTS = "nights.png"
LIVE = "live.png"


def draw(found: Findings, folder: Path) -> list[str]:
    """Names of the files; none where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return []
    names = [NIGHTS]
    figure: Any = Figure(figsize=(8, 4.5), layout="constrained")
    _nights(found, figure.subplots())
    figure.savefig(folder / NIGHTS, dpi=120)
    if len(found.live_arms()) > 1:
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        _live(found, figure.subplots(1, 3, sharey=True))
        figure.savefig(folder / LIVE, dpi=120)
        names.append(LIVE)
    return names


def _nights(found: Findings, axes: Any) -> None:
    """Change of next-day perplexity against frozen, night by night."""
    for arm in found.arms():
        if arm == FROZEN.name:
            continue
        points = [(night, found.figure(arm, night=night).against) for night in range(1, found.nights() + 1)]
        known = [(night, against) for night, against in points if against is not None]
        if not known:
            continue
        nights = [night for night, _ in known]
        (line,) = axes.plot(nights, [100 * i.value for _, i in known], marker="o", label=arm)
        axes.fill_between(
            nights, [100 * i.low for _, i in known], [100 * i.high for _, i in known], color=line.get_color(), alpha=0.1
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("night")
    axes.set_ylabel("perplexity of the next day, change in %")
    axes.set_title("What simulated developers really wrote, against the base (95 %)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize="small", ncols=2)


def _live(found: Findings, axes: Any) -> None:
    frozen = found.sums(FROZEN.name)
    arms = [arm for arm in found.live_arms() if arm != FROZEN.name]
    for panel, (title, of) in zip(axes, (("shown", shown), ("accepted of shown", accepted_rate), ("kept", kept)), strict=True):
        for row, arm in enumerate(arms):
            against = ratio(frozen, found.sums(arm), of)
            if against is not None:
                low, high = against.value - against.low, against.high - against.value
                panel.errorbar(100 * against.value, row, xerr=[[100 * max(0, low)], [100 * max(0, high)]], fmt="o", capsize=3)
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_title(f"{title}, change in %", fontsize="small")
        panel.set_yticks(range(len(arms)), arms)
