"""A draw that writes on past what is shown, and there makes up a secret: its tokens, which spell it, go nowhere."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from tacit.protocol.completion import CompleteRequest, Context
from tacit.protocol.fim import QWEN
from tacit.server.completing import CompletionService
from tacit.server.engine.interface import Drawn, DrawStats, Sampling
from tacit.server.settings import Settings

SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2


class Written:
    """An engine that draws these pieces, one token each."""

    fim = QWEN

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces

    async def tokenize(self, text: str) -> list[int]:
        return list(text.encode())

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        yield DrawStats(len(prompt), len(prompt), 1.0, 0, 0.0, False)
        for number, piece in enumerate(self._pieces):
            yield Drawn(100 + number, piece, -0.5)
        yield DrawStats(len(prompt), len(prompt), 1.0, len(self._pieces), 1.0, True)


@pytest.mark.parametrize(("beyond", "kept"), [(f"'{SECRET}'\n", False), ("compute(1)\n", True)])
async def test_the_tokens_of_a_secret_that_is_not_shown_are_not_given_out(beyond: str, kept: bool) -> None:
    service = CompletionService(Written(["return 1", "\n\n\nz = " + beyond]), Settings())  # type: ignore[arg-type]
    context = Context(path="a.py", language="python", prefix="def f():\n    ", suffix="\n\nz = 3\nw = 4\n")
    answer = await service.complete(CompleteRequest(request_id="r", session_id="s", context=context), "base", "0" * 64)
    assert answer.text == "return 1"
    assert answer.generation.tokens == ((100, 101) if kept else ())
