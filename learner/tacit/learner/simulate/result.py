"""What a demo found, as tables for a person and as JSON, in words that claim no more than was measured. Pure."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tacit.learner.simulate.measure import Count, Interval, Scored, perplexity, perplexity_change


@dataclass(frozen=True, slots=True)
class Night:
    """The learning run in between."""

    state: str
    message: str
    adapter: str
    """The candidate's name, published or not."""
    samples: int
    """Suggestions that were logged for it."""
    min_samples: int
    seconds: float
    stages: dict[str, float]
    """Seconds after its start at which each of its stages began."""
    report: str
    """Where the run's own report lies."""


@dataclass(frozen=True, slots=True)
class Result:
    package: str
    seed: int
    model: str
    training_files: tuple[str, ...]
    held_out_files: tuple[str, ...]
    training: Count
    night: Night
    before: Count
    after: Count | None
    """None: nothing new was published, so there was nothing to type again with."""
    accepted: Interval | None
    """Difference of accepted suggestions per place."""
    kept: Interval | None
    """Difference of kept characters per place."""
    scored: tuple[Scored, ...]
    """What was really written at the held-out places, under the base and under what was learnt."""
    seconds: float
    evidence: dict[str, str]

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.night.state != "published":
            return f"The night changed nothing: the run ended as `{self.night.state}`. The base model serves as before."
        found = perplexity_change(self.scored)
        if not found.tells:
            return "The night made no difference that this small sample could show."
        what = f"{abs(found.value):.1%} {'less' if found.value < 0 else 'more'} perplexity on the held-out files"
        if found.value > 0:
            return f"The night did harm: {what}."
        kept = self.kept
        if kept is not None and kept.tells:
            helped = "helped" if kept.value > 0 else "helped only in part"
            return f"The night {helped}: {what}, and {kept.value:+.1f} kept characters per place."
        return f"The night helped the model: {what}. For what the developer kept, the sample is too small to tell."

    def to_json(self) -> dict[str, Any]:
        change = perplexity_change(self.scored)
        before, after = perplexity(self.scored) if self.scored else (None, None)
        return {
            "package": self.package,
            "seed": self.seed,
            "model": self.model,
            "simulated": True,
            "training_files": list(self.training_files),
            "held_out_files": list(self.held_out_files),
            "training": asdict(self.training),
            "night": asdict(self.night),
            "before": asdict(self.before),
            "after": asdict(self.after) if self.after else None,
            "accepted_per_place": _json(self.accepted),
            "kept_chars_per_place": _json(self.kept),
            "perplexity": {"before": before, "after": after, "change": _json(change) if self.scored else None},
            "verdict": self.verdict,
            "seconds": round(self.seconds, 1),
            "evidence": self.evidence,
        }

    def tables(self) -> RenderableType:
        table = Table(
            title="The same held-out places, before and after one night", title_justify="left", pad_edge=False, box=None
        )
        table.add_column("", no_wrap=True)
        table.add_column("before", justify="right", no_wrap=True)
        table.add_column("after", justify="right", no_wrap=True)
        table.add_column("per place, 95 %", no_wrap=True)
        after = self.after
        for name, of in (
            ("places", lambda c: c.places),
            ("shown", lambda c: c.shown),
            ("accepted", lambda c: f"{c.accepted} ({c.acceptance:.0%})"),
            ("typed through", lambda c: c.typed_through),
            ("kept characters", lambda c: c.kept_chars),
            ("policy_version", lambda c: ", ".join(c.policy_versions) or "-"),
        ):
            difference = {"accepted": self.accepted, "kept characters": self.kept}.get(name)
            table.add_row(name, str(of(self.before)), str(of(after)) if after else "-", _words(difference, "{:+.2f}"))
        if self.scored:
            old, new = perplexity(self.scored)
            change = perplexity_change(self.scored)
            words = f"{change.value:+.1%} [{change.low:+.1%}, {change.high:+.1%}]" + (
                "" if change.tells else "  not distinguishable"
            )
            unserved = "" if after else " (not served)"
            table.add_row("perplexity of what was written", f"{old:.3f}", f"{new:.3f}{unserved}", words)
        lines = [
            Text(f"\n{self.verdict}", "bold"),
            Text(
                f"Simulated developer, {self.before.places} held-out places of {len(self.held_out_files)} files, one seed: an "
                "illustration, not evidence about people. Perplexity: per token, on the text that was really written at the "
                f"places of the first pass ({sum(s.tokens for s in self.scored)} tokens), given the logged contexts; base and "
                "adapter as the learner computes them. Intervals: bootstrap over places; a difference without * is not "
                "distinguishable from chance.",
                "dim",
            ),
            Text(f"Learning run: {self.night.state}. {self.night.message}"),
            *(Text(f"{name}: {where}", "dim") for name, where in self.evidence.items()),
        ]
        return Group(table, *lines)


def _words(interval: Interval | None, form: str) -> str:
    if interval is None or not isfinite(interval.low):
        return ""
    numbers = f"{form.format(interval.value)} [{form.format(interval.low)}, {form.format(interval.high)}]"
    return numbers + (" *" if interval.tells else "")


def _json(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None or not isfinite(interval.low) else asdict(interval)
