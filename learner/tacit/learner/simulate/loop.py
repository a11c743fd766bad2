"""`tacit demo`: the whole loop without an editor. Starts real processes in a folder of its own, learns once, compares.

Two homes, so that the learner cannot have seen what it is measured on: in `before/` the held-out files are typed with the base
model; in `home/` the training files are typed, the learner runs, and the held-out files are typed again at the same places by
the same developer. Everything that is compared is read from the records that the product itself exported.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from threading import Event

from tacit.learner.run import LearnOptions, learn
from tacit.learner.simulate import measure
from tacit.learner.simulate.developer import Traits
from tacit.learner.simulate.editor import Editor
from tacit.learner.simulate.plan import Plan, Source, Speed, choose_sources, package_folder, plan, plan_again, take
from tacit.learner.simulate.records import logged
from tacit.learner.simulate.result import Night, Result
from tacit.learner.simulate.scoring import score
from tacit.learner.simulate.serving import ServerProcess
from tacit.learner.simulate.session import Session, Visit
from tacit.learner.simulate.view import View
from tacit.protocol.events import SuggestionRecord
from tacit.protocol.home import Home

TIME_SCALE = 100.0
"""Session seconds per real second: the horizons of ten minutes pass in six seconds."""
PREFIX_CHARS, SUFFIX_CHARS = 700, 250
"""The context is cut to about 250 tokens, so that a prompt is read in two seconds on two cores."""
MAX_TOKENS = 24
DEADLINE_MS = 30_000
"""Longer than the default: on a busy machine a slow answer is better than none to learn from."""
CALIBRATION_PLACES = 5
FIXED_SECONDS = 200.0
"""Of the learning run and of all that does not grow with the places: horizons, loading, preparing, the gate, publishing."""
TRAINING, SCORING = 2.0, 0.7
"""Seconds of the learning run per training place, and of scoring per held-out place, for each second a suggestion takes."""
PROBES = 16
"""Of the gate's first step; a real night compares engine and trainer at 64 places."""
GENERATIONS = 12
"""Of its other steps; 24 in a real night."""
PER_FILE = 16


@dataclass(frozen=True, slots=True)
class DemoOptions:
    package: str = "peft.tuners"
    """Whose files are typed: an installed package."""
    files: int = 8
    """Training files; half as many, others, are held out."""
    seed: int = 1
    minutes: float = 9.5
    model: str = "auto"


@dataclass(frozen=True, slots=True)
class Pass:
    """One typing of some files: what the developer did and what the product logged about it."""

    visits: tuple[Visit, ...]
    records: dict[str, SuggestionRecord]
    """By place."""

    def count(self) -> measure.Count:
        return measure.count(list(self.records.values()), len(self.visits))


async def play(options: DemoOptions, folder: Path, view: View) -> Result:
    """folder: empty; holds the evidence afterwards. Cancelling ends every process."""
    return await _Demo(options, folder, view).play()


class _Demo:
    def __init__(self, options: DemoOptions, folder: Path, view: View) -> None:
        self.options = options
        self.folder = folder
        self.view = view
        self.began = time.monotonic()
        # One night is all there is: its version serves at once.
        self.settings = {"model": options.model, "max_tokens": str(MAX_TOKENS), "nightly": "off", "canary_share": "0"}
        held_out = max(2, options.files // 2)
        sources = choose_sources(package_folder(options.package), options.files + held_out + 1, options.seed, PER_FILE)
        self.training, self.held_out = sources[: options.files], sources[options.files : -1]
        self.calibration = sources[-1]
        self.traits = Traits.draw(Random(options.seed))

    async def play(self) -> Result:
        options, view = self.options, self.view
        view.console.print(
            f"A scripted developer types files of [bold]{options.package}[/] through a real `tacit lsp`, {TIME_SCALE:.0f} times "
            f"as fast as a person. To fit into {options.minutes:g} minutes the context is cut to {PREFIX_CHARS} + {SUFFIX_CHARS} "
            f"characters and suggestions to {MAX_TOKENS} tokens; the night learns from far fewer suggestions than a real one.\n"
            f"Files and logs: {self.folder}"
        )
        before_home, home = self._home("before"), self._home("home")
        async with self._at_work(before_home, "1. The server starts, and the machine is measured") as (server, session):
            model = (await server.client.status()).model
            planned = await self._measure_machine(session)
            minutes = (planned.seconds + self._spent()) / 60
            view.console.print(
                f"  {planned.training} training places and {planned.held_out} held-out places, twice: "
                f"about {minutes:.0f} minutes in all."
                + (f" {options.minutes:g} are not enough on this machine as it is now." if minutes > options.minutes else "")
            )
            held_out = take(self.held_out, planned.held_out)
            view.phase("2. Held-out files with the base model", planned.held_out)
            began = time.monotonic()
            before = await self._type(server, session, held_out)
            speed = _speed(time.monotonic() - began, before.visits)
        # The machine may have been busy with other things when it was first measured.
        planned = plan_again(options.minutes * 60 - self._spent(), speed, planned.held_out)
        training = take(self.training, planned.training)
        async with ServerProcess(home, self.settings) as server:
            view.phase("3. A working day: the training files", planned.training)
            async with self._editor(server) as session:
                day = await self._type(server, session, training)
            night = await self._learn(server, day)
            after = None
            if night.state == "published":
                view.phase(f"5. The same held-out files with {night.adapter}", planned.held_out)
                async with self._editor(server) as session:
                    after = await self._type(server, session, held_out)
            scored = await self._score(server, night, before)
        # Dequantised weights, a gigabyte, which can be made again.
        await asyncio.to_thread(shutil.rmtree, home.cache, ignore_errors=True)
        return Result(
            package=options.package,
            seed=options.seed,
            model=model,
            training_files=tuple(source.path for source in training),
            held_out_files=tuple(source.path for source in held_out),
            training=day.count(),
            night=night,
            before=before.count(),
            after=after.count() if after else None,
            accepted=measure.compare(before.records, after.records, measure.accepted) if after else None,
            kept=measure.compare(before.records, after.records, measure.kept_by_acceptance) if after else None,
            scored=tuple(scored),
            seconds=self._spent(),
            evidence={
                "Report of the learning run": str(night.report),
                "Held-out files before, as logged": str(before_home.database),
                "Training files, and held-out files after": str(home.database),
                "Adapters": str(home.adapters),
            },
        )

    # Parts

    async def _measure_machine(self, session: Session) -> Plan:
        (source,) = take([self.calibration], CALIBRATION_PLACES)
        self.view.phase("   How fast is it here?", len(source.places))
        began = time.monotonic()
        visits = await session.write(self._path(session, source), source.text, source.places)
        return plan(self.options.minutes * 60 - self._spent(), _speed(time.monotonic() - began, visits))

    async def _type(self, server: ServerProcess, session: Session, sources: Sequence[Source]) -> Pass:
        """Type the files, wait for the horizons, read back what was logged."""
        visits: list[Visit] = []
        for source in sources:
            visits += await session.write(self._path(session, source), source.text, source.places)
        await session.finish()
        places = {visit.suggestion_id: f"{visit.path}:{visit.place.start}" for visit in visits if visit.suggestion_id}
        records = await logged(server.client, places.keys(), horizon="save")
        return Pass(tuple(visits), {places[id_]: record for id_, record in records.items()})

    async def _learn(self, server: ServerProcess, day: Pass) -> Night:
        logged_count = len(day.records)
        # Far below the product's own minimum: said here, and in the result.
        min_samples = max(1, logged_count // 2)
        self.view.phase(f"4. One night: `tacit learn` on {logged_count} suggestions (its minimum lowered to {min_samples})")
        began = time.monotonic()
        stages: dict[str, float] = {}

        def step(stage: str, done: int, total: int) -> None:
            stages.setdefault(stage, time.monotonic() - began)
            self.view.step(stage, done, total)

        (project,) = {record.suggestion.project for record in day.records.values()}
        outcome = await learn(
            server.client,
            server.home,
            LearnOptions(
                project=project, min_samples=min_samples, seed=self.options.seed, probes=PROBES, generations=GENERATIONS
            ),
            step,
        )
        return Night(
            state=outcome.state,
            message=outcome.message,
            adapter=outcome.adapter,
            samples=logged_count,
            min_samples=min_samples,
            seconds=time.monotonic() - began,
            stages={stage: round(at, 1) for stage, at in stages.items()},
            report=str(outcome.report_path or ""),
        )

    async def _score(self, server: ServerProcess, night: Night, before: Pass) -> list[measure.Scored]:
        folder = server.home.adapters / night.adapter
        if not folder.exists():
            return []
        self.view.phase("6. Perplexity of what was really written at the held-out places", len(before.records))
        status = await server.client.status()
        model = Path(status.model_path)
        stop = Event()

        def step(stage: str, done: int, total: int) -> None:
            if stop.is_set():
                # Nobody waits for this thread any more, and a thread cannot be cancelled.
                raise InterruptedError
            self.view.step(stage, done, total)

        try:
            return await asyncio.to_thread(
                score, list(before.records.values()), server.home, model, status.model_sha256, folder, step
            )
        finally:
            stop.set()

    def _path(self, session: Session, source: Source) -> Path:
        return session.editor.root / self.options.package.replace(".", "/") / source.path

    # Processes

    @asynccontextmanager
    async def _at_work(self, home: Home, title: str) -> AsyncIterator[tuple[ServerProcess, Session]]:
        self.view.phase(title)
        async with ServerProcess(home, self.settings) as server, self._editor(server) as session:
            yield server, session

    @asynccontextmanager
    async def _editor(self, server: ServerProcess) -> AsyncIterator[Session]:
        workspace = server.home.root.parent / f"{server.home.root.name}-workspace"
        workspace.mkdir(exist_ok=True)
        # The consent that the language server would otherwise ask for.
        (workspace / ".tacit.toml").write_text("learning = true\n", encoding="utf-8")
        options = {
            "timeScale": TIME_SCALE,
            # Every place is asked about and every answer shown: before and after the night alike.
            "debounceMs": 0,
            "eagerness": "eager",
            "maxPrefixChars": PREFIX_CHARS,
            "maxSuffixChars": SUFFIX_CHARS,
            "deadlineMs": DEADLINE_MS,
            # One that it started would outlive the demo.
            "startServer": False,
        }
        async with Editor(workspace, options=options, environment=server.environment, name="tacit demo") as editor:
            yield Session(
                editor,
                self.traits,
                seed=self.options.seed,
                time_scale=TIME_SCALE,
                watch=self.view.scene,
                visited=self.view.visit,
            )

    def _home(self, name: str) -> Home:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Home(folder.resolve())

    def _spent(self) -> float:
        return time.monotonic() - self.began


def _speed(seconds: float, visits: Sequence[Visit]) -> Speed:
    """How fast the machine is, by typing these places in so many seconds."""
    typing = (seconds - sum(visit.waited for visit in visits)) / len(visits)
    # What the engine needs tells how fast this machine computes; training reads prompts at about the same speed. The
    # median: the first suggestion also waits for the model to be read into memory, and others may be busy for a moment.
    computing = median(visit.waited for visit in visits)
    return Speed(typing + computing, fixed=FIXED_SECONDS, sample=TRAINING * computing, score=SCORING * computing)
