"""What every bench returns and how it is printed: rows, goals (missed ones too), hardware. Touches the terminal and one file."""

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure that must not exceed its bound."""

    name: str
    value: float | None
    """None: nothing could be measured."""
    bound: float

    @property
    def met(self) -> bool:
        return self.value is not None and self.value <= self.bound

    def to_json(self) -> dict[str, Any]:
        value = None if self.value is None else round(self.value, 3)
        return {"name": self.name, "value": value, "bound": self.bound, "met": self.met}


@dataclass(frozen=True, slots=True)
class Report:
    bench: str
    model: str
    rows: list[dict[str, Any]]
    """Measurements; the keys of the first are the table's columns."""
    goals: list[Goal]
    remarks: list[str] = field(default_factory=list)
    """How it was measured, in sentences."""
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_json(self) -> dict[str, Any]:
        return {
            "bench": self.bench,
            "date": self.date,
            "version": version("tacit"),
            "hardware": hardware(),
            "model": self.model,
            "rows": self.rows,
            "goals": [goal.to_json() for goal in self.goals],
            "remarks": self.remarks,
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def print(self, console: Console) -> None:
        machine = hardware()
        console.print(f"\n[bold]tacit bench {self.bench}[/]  {self.model}  {machine['cpu']}, {machine['cores']} cores")
        if self.rows:
            table = Table(box=None, pad_edge=False)
            for column in self.rows[0]:
                table.add_column(column, justify="left" if column == "what" else "right")
            for row in self.rows:
                table.add_row(*(_cell(row.get(column)) for column in self.rows[0]))
            console.print(table)
        goals = Table("goal", "value", "bound", "", box=None, pad_edge=False)
        for goal in self.goals:
            goals.add_row(goal.name, _cell(goal.value), _cell(goal.bound), "[green]met[/]" if goal.met else "[red]missed[/]")
        console.print(goals)
        for remark in self.remarks:
            console.print(remark, style="dim", markup=False)


def spread(what: str, values: Sequence[float], unit: str) -> dict[str, Any]:
    """A row: n, median, 95th percentile, largest."""
    return {
        "what": what,
        "unit": unit,
        "n": len(values),
        "p50": _rounded(percentile(values, 50)),
        "p95": _rounded(percentile(values, 95)),
        "max": _rounded(max(values, default=None)),
    }


def percentile(values: Sequence[float], percent: float) -> float | None:
    """By nearest rank: a value that was measured. None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def hardware() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
