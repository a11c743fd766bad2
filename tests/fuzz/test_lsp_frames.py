"""Anything at all at the door of a real `tacit lsp`: it stays, answers each id once, and does not grow.

`make test` sends the first fifth of the frames, `make soak` all of them. A failure says how its round is sent again.
"""

from pathlib import Path

import pytest
from fuzz.driving import GROWTH_BYTES, ROUND
from fuzz.replay import play

SEED = 20


async def test_fuzzed_frames(tmp_path: Path) -> None:
    assert await _played(tmp_path, 20_000) == (20_000, 0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_a_hundred_thousand_fuzzed_frames(tmp_path: Path) -> None:
    assert await _played(tmp_path, 100_000) == (100_000, 0)


async def _played(folder: Path, frames: int) -> tuple[int, int]:
    """(frames sent, exit status)"""
    sent, grown, status = await play(folder, SEED, 0, frames // ROUND - 1)
    assert grown < GROWTH_BYTES
    return sent, status


async def test_a_failure_says_how_to_see_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers everything twice is what nobody wants to find once only."""
    from fuzz.driving import Failure, Lsp

    taken = Lsp._take
    monkeypatch.setattr(Lsp, "_take", lambda self, body: (taken(self, body), taken(self, body))[0])
    monkeypatch.setattr("fuzz.driving.ANSWER_S", 5.0)
    with pytest.raises(Failure, match=r"replay\.py --seed 3 --round -1"):
        await play(tmp_path, 3, 0, 0)
