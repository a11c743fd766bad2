"""What is said of an engine that does not answer: whether it is gone, or only silent."""

import httpx
import pytest

from tacit.server.engine.child_client import _gone


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ReadTimeout(""), "The engine has not answered in time. It hangs, or has too much to do; try again."),
        (httpx.ReadError(""), "The engine is gone (ReadError). It is being restarted; try again."),
    ],
)
def test_only_an_engine_that_is_gone_is_said_to_be_restarted(error: httpx.TransportError, said: str) -> None:
    assert str(_gone(error)) == said
