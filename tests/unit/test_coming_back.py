"""An engine that died is tried again whatever went wrong, and says why it is not there."""

import pytest

from tacit.protocol.errors import EngineUnavailable
from tacit.server.engine import coming_back


async def test_whatever_goes_wrong_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coming_back, "FIRST_DELAY", 0.0)
    failures = [OSError(28, "No space left on device"), EngineUnavailable("It ran out of memory."), KeyError("logprobs")]
    said: list[str] = []

    async def attempt() -> None:
        if failures:
            raise failures.pop(0)

    await coming_back.bring_back("vLLM", attempt, said.append)
    assert not failures
    assert [text.partition(" The next try")[0] for text in said] == [
        "vLLM does not come up (OSError).",
        "It ran out of memory.",
        "vLLM does not come up (KeyError).",
    ]
