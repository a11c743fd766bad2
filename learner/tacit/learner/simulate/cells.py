"""An experiment's folder: each finished cell is one file, written at once or not at all. Touches that folder only.

A killed experiment goes on where it was: what has a file is not done again. The options are kept beside it, and other options are
refused: cells of two experiments would make no sense together.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tacit.learner.simulate.findings import Cell, Live, Scored
from tacit.learner.simulate.workday import Workday
from tacit.protocol.durable import write_whole
from tacit.protocol.errors import Conflict


@dataclass(frozen=True, slots=True)
class Cells:
    folder: Path

    def claim(self, options: dict[str, Any]) -> None:
        """Conflict: the folder holds an experiment with other options."""
        path = self.folder / "options.json"
        wanted = json.loads(json.dumps(options))
        if not path.exists():
            write(path, wanted)
        elif (found := json.loads(path.read_text(encoding="utf-8"))) != wanted:
            differ = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
            raise Conflict(
                f"{self.folder} holds an experiment with other options ({', '.join(differ)}).", mend="Name another folder."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process works in this folder; one that was killed does not. Conflict: another one does."""
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"Another run works in {self.folder}.", mend="Wait until it has ended, or name another folder."
                ) from None
            yield

    def day(self, seed: int, day: int | str) -> Path:
        """day: its number, `unseen` or `pilot`."""
        return self.folder / f"seed-{seed}" / (f"day-{day}.json" if isinstance(day, int) else f"{day}.json")

    def night(self, seed: int, arm: str, night: int) -> Path:
        return self.folder / f"seed-{seed}" / arm / f"night-{night}.json"

    def adapter(self, seed: int, arm: str, night: int) -> Path:
        """Complete if the night's file is there."""
        return self.folder / f"seed-{seed}" / arm / f"night-{night}"

    def live(self, seed: int, arm: str) -> Path:
        return self.folder / f"seed-{seed}" / "live" / f"{arm}.json"

    def read_day(self, path: Path) -> Workday | None:
        return Workday.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def read_night(self, seed: int, arm: str, night: int) -> Cell | None:
        path = self.night(seed, arm, night)
        if not path.exists():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        texts = {name: tuple(Scored(**one) for one in found[name]) for name in ("next_day", "unseen")}
        return Cell(seed, arm, night, **texts, seconds=found["seconds"], steps=found["steps"])

    def write_night(self, cell: Cell) -> None:
        found = asdict(cell)
        write(
            self.night(cell.seed, cell.arm, cell.night),
            {name: found[name] for name in ("next_day", "unseen", "seconds", "steps")},
        )

    def read_live(self, seed: int, arm: str) -> Live | None:
        day = self.read_day(self.live(seed, arm))
        return None if day is None else Live(seed, arm, day)


def write(path: Path, value: Any) -> None:
    """JSON, the whole file or none of it, synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(value, ensure_ascii=False))
