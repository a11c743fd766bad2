"""What 21 developers did with Copilot's suggestions, as examples for the reward model. Reads the data folder only.

microsoft/coderec_programming_states (MIT): telemetry of one programming session of each. Only what was known when a suggestion
was shown is used of it: text, prompt, mean log-probability, and what had happened before in the session. (The measurements of
later events, and the labels that developers gave their own states afterwards, would tell the outcome.)

R is the product's own: what was accepted counts by how much of it was still there after 15 s, 2 min and 10 min; a rejected one
that was visible for less than 300 ms is censored. The data do not hold what stood behind the cursor.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tacit.learner.reward import HORIZONS, SEEN_MS, TAU, worth
from tacit.learner.reward_model.labelled import Labelled
from tacit.protocol.errors import BadRequest
from tacit.protocol.events import Recent
from tacit.protocol.show_policy import LONGEST_GAP_S, features

FILE: Final = "copilot_cups_telemetry.jsonl.gz"
AFTER: Final = {"10s": 0, "2m": 2, "10m": 4}
"""Where in `edit_percentage` (15, 30, 120, 300, 600 s) the nearest to each of our horizons is."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A labelled suggestion and the two figures that Copilot itself had of it."""

    example: Labelled
    mean_logprob: float
    """Nats per token."""
    copilot: float
    """Copilot's own confidence."""


@dataclass(slots=True)
class _Lately:
    """What the developer did before, in the session's seconds."""

    accepts: list[float] = field(default_factory=list)
    rejects: list[float] = field(default_factory=list)
    rejected_place: str | None = None
    last_shown: float | None = None

    def recent(self, now: float, place: str) -> Recent:
        return Recent(
            accepts=_faded(self.accepts, now),
            rejects=_faded(self.rejects, now),
            rejected_here=self.rejected_place == place,
            since_last_s=None if self.last_shown is None else max(0.0, now - self.last_shown),
        )


def seen(folder: Path) -> list[Seen]:
    """BadRequest: the data are not there."""
    path = folder / FILE
    if not path.is_file():
        raise BadRequest(f"Copilot's telemetry is not at {path}.", mend="Name its folder with TACIT_DATA.")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows.sort(key=lambda row: (row["session"], row["seq"]))
    return [one for _, group in groupby(rows, key=lambda row: row["session"]) for one in _session(group)]


def _session(rows: Iterable[dict[str, Any]]) -> Iterator[Seen]:
    lately = _Lately()
    shown: tuple[dict[str, Any], float, Recent] | None = None
    for row in rows:
        now = datetime.fromisoformat(row["time"]).timestamp()
        if row["event"] == "Shown":
            # One that another replaced before anything was decided has no label.
            shown = (row, now, lately.recent(now, _place(_text(row["prompt"]))))
            lately.last_shown = now
        elif row["event"] in ("Accepted", "Rejected") and shown is not None:
            (at_first, began, recent), shown = shown, None
            place = _place(_text(at_first["prompt"]))
            if row["event"] == "Accepted":
                lately.accepts.append(now)
                lately.rejected_place = None
            else:
                lately.rejects.append(now)
                lately.rejected_place = place
                if 1000 * (now - began) < SEEN_MS:
                    continue
            yield _example(at_first, row, recent)


def _example(shown: dict[str, Any], decided: dict[str, Any], recent: Recent) -> Seen:
    text, prompt = _text(shown["suggestion"]), _text(shown["prompt"])
    measured = shown["measurements"] or {}
    count = max(1, round(measured.get("numTokens", 1)))
    mean = float(measured.get("meanLogProb", -3.0))
    found = features(
        text=text,
        logprobs=[mean] * count,
        trigger="automatic",
        prefix=prompt,
        suffix="",
        language=shown["language"],
        recent=recent,
    )
    value = -TAU
    if decided["event"] == "Accepted":
        left = {h: 1 - min(1.0, max(0.0, float(decided["edit_percentage"][at]))) for h, at in AFTER.items()}
        share = sum(HORIZONS[h] * left[h] for h in left) / sum(HORIZONS[h] for h in left)
        value += worth(round(len(text) * min(left.values()))) * share
    example = Labelled(
        at=datetime.fromisoformat(shown["time"]),
        features=found,
        value=value,
        session=str(shown["session"]),
        prefix=prompt,
        text=text,
    )
    return Seen(example, mean, float(measured.get("confidence", 0.0)))


def _text(written: str | None) -> str:
    """Texts are JSON within JSON."""
    return str(json.loads(written)) if written else ""


def _place(prompt: str) -> str:
    """What stands before the line: the same for two suggestions on one line."""
    return prompt.rpartition("\n")[0]


def _faded(times: Iterable[float], now: float) -> float:
    return sum(max(0.0, 1 - (now - at) / LONGEST_GAP_S) for at in times)
