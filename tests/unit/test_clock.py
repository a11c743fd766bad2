"""The session's clock beside the machine's."""

import time

import pytest

from tacit.lsp.clock import SessionClock


def test_a_night_that_the_machine_slept_through_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`time.monotonic` did not count it. Whoever has the last hour forgotten means the hour by the clock on the wall."""
    clock = SessionClock()
    before, real = clock.at(clock.now()), time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: real(which) + 8 * 3600)
    assert 8 * 3600 <= (clock.at(clock.now()) - before).total_seconds() < 8 * 3600 + 60
