"""An engine that writes what it is told to: for what no model small enough for a test does on demand.

Run as a program it is a real server, of TACIT_HOME, with that engine: `scripted_engine.py FILE`, whose text is every answer.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

from tacit.protocol.fim import QWEN
from tacit.server.engine.interface import Drawn, DrawStats, Sampling


class Scripted:
    """Each draw writes the next of `answers`; a token is a character. An exception among them is raised after some words."""

    fim = QWEN
    ready = True
    message = ""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Sampling]] = []
        """Each draw's prompt, and how it is drawn."""
        self.next: Callable[[], str | Exception] = lambda: self.answers.pop(0)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def prefix_cache(self) -> None: ...

    async def tokenize(self, text: str) -> list[int]:
        return [ord(one) for one in text]

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> AsyncGenerator[Drawn | DrawStats, None]:
        self.asked.append(("".join(map(chr, prompt)), sampling))
        answer = self.next()
        yield DrawStats(len(prompt), len(prompt), 1.0, 0, 0.0, False)
        for one in "It" if isinstance(answer, Exception) else answer:
            yield Drawn(ord(one), one, -0.1)
        if isinstance(answer, Exception):
            raise answer
        yield DrawStats(len(prompt), len(prompt), 1.0, len(answer), 1.0, True)

    async def load(self, name: str, folder: Path) -> None: ...

    async def drop(self, name: str) -> None: ...

    def loaded(self) -> frozenset[str]:
        return frozenset()


async def _serve(answer: Path) -> None:
    from tacit.protocol.home import Home
    from tacit.server.serving import serve
    from tacit.server.settings import Settings

    engine = Scripted()
    engine.next = lambda: answer.read_text(encoding="utf-8")
    home = Home.from_environment()
    await serve(home, Settings.load(home), make_engine=lambda *_: engine)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
