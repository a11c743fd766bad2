"""`tacit bench latency`: what the way through the editor's protocol adds to the engine, and how fast typing on is answered.

Two engines with the same model and settings: one behind a real `tacit serve` and a real `tacit lsp`, one in this process
(`EmbeddedEngine.generate`, no server, no language server). Each suggestion is asked for by the editor first; the engine here then
draws the same prompt with the same seed up to the same token. Both see the same prompts in the same order and so have the
same KV cache. Neither begins before the other has let go of its last request: llama.cpp draws on for a token or two after the
answer was cut, and two engines whose threads spin on the same cores hold each other up. Works in a folder of its own; leaves no
process behind.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tacit.bench.report import Goal, Report, percentile, spread
from tacit.learner.simulate.editor import Document, Editor, Item, LspError
from tacit.learner.simulate.places import Place, without
from tacit.learner.simulate.plan import choose_sources, package_folder
from tacit.learner.simulate.records import logged
from tacit.learner.simulate.serving import ServerProcess
from tacit.protocol.completion import Context, Generation
from tacit.protocol.fim import REPOSITORY, header, prompt_tokens, snippet_text
from tacit.protocol.home import Home
from tacit.server.engine.embedded import EmbeddedEngine
from tacit.server.engine.interface import Drawn, DrawStats, Sampling
from tacit.server.settings import Settings

MAX_TOKENS = 16
KEYSTROKE = 3
"""Characters typed between two requests."""
STARTS = 10
"""Of `tacit lsp`, each a process of its own."""
PACKAGE = "rich"
FILES = 6

AT_ONCE = {"debounceMs": 0, "eagerness": "eager", "startServer": False}
"""Waiting for the developer to pause is no latency of the way; `tacit bench typing` is about that."""

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Measured:
    through_lsp: list[float] = field(default_factory=list)
    straight: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    """Through the language server minus straight, prompt by prompt; ms."""
    added_net: list[float] = field(default_factory=list)
    """The same with each answer's own computing time (prompt and tokens) taken out of it first."""
    same_tokens: int = 0
    starts: list[float] = field(default_factory=list)
    """From the process's creation to the answer to `initialize`."""
    reuse: list[float] = field(default_factory=list)
    keystroke: list[float] = field(default_factory=list)
    keystroke_tokens: list[float] = field(default_factory=list)
    cancel_generation: list[float] = field(default_factory=list)
    cancel_prompt: list[float] = field(default_factory=list)
    nothing_suggested: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    item: Item
    elapsed_ms: float


def run(prompts: int, seed: int, model: str, progress: Progress) -> Report:
    """prompts: how many places; each gives one comparison, up to two typed-through answers and one keystroke, every third
    two cancelled requests. model: catalogue name or `auto`."""
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as folder:
        root = Path(folder).resolve()
        for name in ("home", "straight", "workspace"):
            (root / name).mkdir(mode=0o700)
        (root / "workspace" / ".tacit.toml").write_text("learning = true\n", encoding="utf-8")
        return asyncio.run(_run(root, prompts, seed, model, progress))


async def _run(root: Path, prompts: int, seed: int, model: str, progress: Progress) -> Report:
    settings = {"model": model, "max_tokens": str(MAX_TOKENS), "nightly": "off"}
    async with ServerProcess(Home(root / "home"), settings) as server:
        status = await server.client.status()
        home = Home(root / "straight")
        engine = EmbeddedEngine(Path(status.model_path), status.model_sha256, home, Settings.load(home))
        await engine.start()
        try:
            async with Editor(root / "workspace", options=AT_ONCE, environment=server.environment) as editor:
                measured = await _Bench(server, editor, engine, (server.home, home)).run(prompts, seed, progress)
        finally:
            await engine.stop()
    return _report(measured, status.model)


class _Bench:
    def __init__(self, server: ServerProcess, editor: Editor, engine: EmbeddedEngine, homes: tuple[Home, Home]) -> None:
        """homes: of the server and of the engine in this process."""
        self.server = server
        self.editor = editor
        self.engine = engine
        self.homes = homes
        self.measured = Measured()

    async def run(self, prompts: int, seed: int, progress: Progress) -> Measured:
        sources = choose_sources(package_folder(PACKAGE), FILES, seed, -(-prompts // FILES) + 2)
        asked = [(source.path, source.text, place) for source in sources for place in source.places][:prompts]
        # One request before the first that counts: connections are made, code is loaded.
        await self._warm_up(*asked[0])
        for done, (path, text, place) in enumerate(asked):
            progress("prompts", done, len(asked))
            # A name of its own: nothing of an earlier document can help.
            document = self.editor.open(self.editor.root / f"place{done}" / path, without(text, [place]))
            await self._one(document, place, text)
            self.editor.close(document)
        for done in range(STARTS):
            progress("starts", done, STARTS)
            await self._started()
        progress("cancelled requests", 0, 1)
        for done, (path, text, place) in enumerate(asked[: max(1, prompts // 3)]):
            progress("cancelled requests", done, max(1, prompts // 3))
            for reading in (False, True):
                document = self.editor.open(self.editor.root / f"cancel{done}{reading}" / path, without(text, [place]))
                await self._cancelled(document, place.start, reading)
                self.editor.close(document)
        return self.measured

    async def _warm_up(self, path: str, text: str, place: Place) -> None:
        document = self.editor.open(self.editor.root / "warm" / path, without(text, [place]))
        answer = await self._ask(document, place.start)
        if answer is not None:
            context, generation, _, _ = await self._logged(answer.item)
            await self._straight(context, generation)
        self.editor.close(document)

    async def _started(self) -> None:
        editor = Editor(self.editor.root, options={"startServer": False}, environment=self.server.environment)
        began = time.perf_counter()
        await editor.start()
        self.measured.starts.append((time.perf_counter() - began) * 1000)
        await editor.stop()

    async def _one(self, document: Document, place: Place, finished: str) -> None:
        measured = self.measured
        answer = await self._ask(document, place.start)
        if answer is None:
            measured.nothing_suggested += 1
            return
        context, generation, lsp_engine_ms, _ = await self._logged(answer.item)
        straight_ms, straight_engine_ms, tokens, _ = await self._straight(context, generation)
        measured.through_lsp.append(answer.elapsed_ms)
        measured.straight.append(straight_ms)
        measured.added.append(answer.elapsed_ms - straight_ms)
        measured.added_net.append((answer.elapsed_ms - lsp_engine_ms) - (straight_ms - straight_engine_ms))
        measured.same_tokens += tokens == generation.tokens
        typed = await self._typed_through(document, place.start, answer.item)
        await self._keystroke(document, place.start, typed, answer.item, finished[place.start : place.end])

    async def _typed_through(self, document: Document, at: int, item: Item) -> int:
        """Type the suggestion's first characters one by one, asking after each; returns how many."""
        typed = 0
        for key in item.text[:2]:
            if key == "\n" or len(item.text) <= typed + 1:
                break
            self.editor.change(document, at + typed, at + typed, key)
            typed += 1
            answer = await self._ask(document, at + typed)
            # Another text would be a new suggestion, which is not what is measured here.
            if answer is not None and (document.text[answer.item.start : at + typed] + item.text[typed:]).endswith(
                answer.item.text
            ):
                self.measured.reuse.append(answer.elapsed_ms)
        return typed

    async def _keystroke(self, document: Document, at: int, typed: int, item: Item, wanted: str) -> None:
        """Replace what was typed by other text and ask again: the prompt differs from the last one by a few characters."""
        keys = wanted[:KEYSTROKE] if not item.text.startswith(wanted[:KEYSTROKE]) else "_" + wanted[: KEYSTROKE - 1]
        self.editor.change(document, at, at + typed, keys)
        answer = await self._ask(document, at + len(keys))
        if answer is None:
            return
        context, generation, _, _ = await self._logged(answer.item)
        _, _, _, evaluated = await self._straight(context, generation)
        self.measured.keystroke.append(answer.elapsed_ms)
        self.measured.keystroke_tokens.append(float(evaluated))

    async def _ask(self, document: Document, offset: int) -> _Answer | None:
        await self._both_idle()
        pending = self.editor.ask(document, offset)
        try:
            items = await self.editor.items(document, offset, pending)
        except LspError:
            return None
        return _Answer(items[0], pending.elapsed_ms) if items else None

    async def _logged(self, item: Item) -> tuple[Context, Generation, float, float]:
        """Context, draw, engine's and language server's milliseconds of a suggestion, as the product recorded it."""
        records = await logged(self.server.client, [item.suggestion_id])
        suggestion = records[item.suggestion_id].suggestion
        return suggestion.context, suggestion.generation, suggestion.engine_ms, suggestion.latency_ms

    async def _straight(self, context: Context, generation: Generation) -> tuple[float, float, tuple[int, ...], int]:
        """(ms, computing ms of them, tokens, prompt tokens evaluated) of the same draw by the engine in this process."""
        texts = [header(context), context.prefix, context.suffix, REPOSITORY, *map(snippet_text, context.snippets)]
        tokens_of = {text: await self.engine.tokenize(text) for text in texts}
        prompt = prompt_tokens(self.engine.fim, context, tokens_of.__getitem__)
        sampling = Sampling(MAX_TOKENS, generation.temperature, generation.seed)
        tokens: list[int] = []
        evaluated, prompt_ms, read_at = 0, 0.0, 0.0
        await self._both_idle()
        began = time.perf_counter()
        async with contextlib.aclosing(self.engine.generate(prompt, sampling, None)) as items:
            async for item in items:
                if isinstance(item, DrawStats):
                    read_at = read_at or time.perf_counter()
                    evaluated, prompt_ms = item.prompt_evaluated, item.prompt_ms
                elif isinstance(item, Drawn):
                    tokens.append(item.token)
                    if len(tokens) == len(generation.tokens):
                        break
            ended = time.perf_counter()
        return (ended - began) * 1000, prompt_ms + (ended - read_at) * 1000, tuple(tokens), evaluated

    async def _cancelled(self, document: Document, offset: int, reading: bool) -> None:
        """Cancel while the engine reads the prompt, or while it generates; how long is it still busy?"""
        await self._both_idle()
        async with _slots(self.server.home) as slots:
            pending = self.editor.ask(document, offset)
            while not pending.answer.done():
                state = _state(await slots())
                if state == ("reading" if reading else "generating"):
                    self.editor.cancel(pending)
                    cancelled = time.perf_counter()
                    while _state(await slots()) != "idle":
                        pass
                    spent = (time.perf_counter() - cancelled) * 1000
                    (self.measured.cancel_prompt if reading else self.measured.cancel_generation).append(spent)
                    break
            with contextlib.suppress(LspError):
                await self.editor.answer(pending)

    async def _both_idle(self) -> None:
        for home in self.homes:
            async with _slots(home) as slots:
                while _state(await slots()) != "idle":
                    pass


@contextlib.asynccontextmanager
async def _slots(home: Home) -> AsyncIterator[Callable[[], Any]]:
    """Ask an engine process itself what its streams do. It answers between two tokens."""
    sockets = sorted(home.run_dir.glob("engine-*.sock"))
    transport = httpx.AsyncHTTPTransport(uds=str(sockets[-1]))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=30) as http:

        async def slots() -> Any:
            return (await http.get("/slots")).json()

        yield slots


def _state(slots: Any) -> str:
    """idle, reading or generating, from llama.cpp's `/slots`."""
    busy = [slot for slot in slots if slot["is_processing"]]
    if not busy:
        return "idle"
    return "generating" if any(part.get("n_decoded", 0) > 0 for slot in busy for part in _next(slot)) else "reading"


def _next(slot: Any) -> list[Any]:
    following = slot.get("next_token", [])
    return following if isinstance(following, list) else [following]


def _report(measured: Measured, model: str) -> Report:
    rows = [
        spread("through the language server", measured.through_lsp, "ms"),
        spread("straight to the engine", measured.straight, "ms"),
        spread("added, prompt by prompt", measured.added, "ms"),
        spread("added, computing time of each taken out", measured.added_net, "ms"),
        spread("language server started, `initialize` answered", measured.starts, "ms"),
        spread("typed-through reuse", measured.reuse, "ms"),
        spread("warm keystroke, whole answer", measured.keystroke, "ms"),
        spread("warm keystroke, prompt tokens evaluated anew", measured.keystroke_tokens, "tokens"),
        spread("cancelled while generating: engine free after", measured.cancel_generation, "ms"),
        spread("cancelled while reading the prompt: engine free after", measured.cancel_prompt, "ms"),
    ]
    goals = [
        Goal("added p50, computing time taken out, ms", percentile(measured.added_net, 50), 10),
        Goal("added p95, computing time taken out, ms", percentile(measured.added_net, 95), 20),
        Goal("language server started and initialized p50, ms", percentile(measured.starts, 50), 400),
        Goal("typed-through reuse p95, ms", percentile(measured.reuse, 95), 10),
        Goal("warm keystroke, prompt tokens evaluated anew, p95", percentile(measured.keystroke_tokens, 95), 32),
        Goal("cancelled while generating, engine free, p95, ms", percentile(measured.cancel_generation, 95), 50),
        Goal("cancelled while reading the prompt, engine free, p95, ms", percentile(measured.cancel_prompt, 95), 50),
    ]
    remarks = [
        f"{measured.same_tokens} of {len(measured.added)} pairs drew the same tokens; "
        f"{measured.nothing_suggested} places without a suggestion are left out.",
        "Goals for `added` take each answer's own computing time out (prompt and tokens, as that answer reports it): the same "
        "computation repeated varies by more than the goal. Tokenising counts as added, the straight engine gets tokens.",
        "Busy or not is asked of the engine process itself, which looks up between two tokens or two batches of the prompt.",
    ]
    return Report("latency", model, rows, goals, remarks)
