"""The metrics of each step, for whoever looks on: a line of JSON in the run's folder, TensorBoard by setting. Touches these two.

What is told are sums and means over a batch; nothing that was written or drawn is in them.
"""

import json
from pathlib import Path
from typing import Any, Final

from tacit.protocol.errors import SettingError

NAME: Final = "metrics.jsonl"
FIRST: Final = ("loss", "sequence_kl")
"""What stands beside the progress bar."""


class Metrics:
    """Of one run. Call it with each step; `words` are those of the latest."""

    def __init__(self, run: Path, board: Path | None) -> None:
        """run: the run's folder. board: TensorBoard's folder for it; None: not wanted. SettingError without the package."""
        run.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lines = (run / NAME).open("w", encoding="utf-8")
        self._board: Any = None
        self.words = ""
        if board is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise SettingError(
                    "The setting `metrics` is `tensorboard`, and that package is not installed.",
                    mend="pip install tensorboard, or set `metrics` to `off`.",
                ) from error
            board.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._board = SummaryWriter(str(board), flush_secs=5)

    def __call__(self, step: int, figures: dict[str, float]) -> None:
        print(json.dumps({"step": step + 1, **figures}), file=self._lines, flush=True)
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step + 1)
        self.words = ", ".join(f"{name.replace('_', ' ')} {figures[name]:.3f}" for name in FIRST if name in figures)

    def close(self) -> None:
        self._lines.close()
        if self._board is not None:
            self._board.close()
