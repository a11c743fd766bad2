"""Settings of the language server: what is right is taken, what is wrong is told and changes nothing."""

from typing import Any

import pytest

from tacit.lsp.clock import SessionClock
from tacit.lsp.settings import Settings, read


def test_every_option_can_be_set_in_camel_case() -> None:
    options = {
        "enabled": False,
        "learning": "off",
        "debounceMs": 40,
        "eagerness": "quiet",
        "prefetch": False,
        "deadlineMs": 3000,
        "debugDeadlineMs": 30_000,
        "debugRunTests": True,
        "timeScale": 60,
        "maxPrefixChars": 900,
        "maxSuffixChars": 90,
        "snippetTokens": 300,
        "startServer": False,
        "completionSource": True,
    }
    expected = Settings(False, "off", 40, "quiet", False, 3000, 30_000, True, 60.0, 900, 90, 300, False, True)
    assert read(options, Settings()) == (expected, [])
    assert read({"tacit": options}, Settings()) == (expected, [])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enabled", "yes"),
        ("learning", "maybe"),
        ("debounceMs", -2),
        ("eagerness", "loud"),
        ("eagerness", ["quiet"]),
        ("prefetch", 1),
        ("deadlineMs", 1.5),
        ("deadlineMs", True),
        ("timeScale", 0),
        ("timeScale", float("nan")),
        ("timeScale", float("inf")),
        ("maxPrefixChars", 10**9),
        ("startServer", 1),
        ("noSuchOption", 1),
    ],
)
def test_a_bad_option_is_told_and_the_others_still_count(key: str, value: Any) -> None:
    base = Settings(deadline_ms=1234)
    settings, problems = read(
        {key: value, "learning" if key != "learning" else "enabled": "off" if key != "learning" else False}, base
    )
    assert len(problems) == 1
    assert key in problems[0]
    assert settings == (
        Settings(deadline_ms=1234, learning="off") if key != "learning" else Settings(deadline_ms=1234, enabled=False)
    )


@pytest.mark.parametrize("options", [3, "x", [1], True])
def test_options_of_another_shape_are_told(options: Any) -> None:
    settings, problems = read(options, Settings())
    assert settings == Settings()
    assert len(problems) == 1


def test_null_means_the_default() -> None:
    assert read({"learning": None}, Settings()) == (Settings(), [])
    assert read(None, Settings()) == (Settings(), [])


def test_the_clock_runs_at_its_scale_and_never_jumps() -> None:
    clock = SessionClock(1000.0)
    first = clock.now()
    clock.scale = 0.001
    second = clock.now()
    assert first <= second
    assert clock.now() - second < 1000, "a real second at this scale is a session millisecond"
    assert clock.real_seconds(2.0) == 2.0
    assert (clock.at(1500) - clock.at(0)).total_seconds() == 1.5
