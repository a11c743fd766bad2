"""Arms and controls over several nights and seeds: plans the days, has them typed, trains, scores, types the last day again.

Touches child processes, an experiment's folder and the model in memory, one after the other: nothing is typed while something
trains. Prequential: night k learns from day k and is scored on day k + 1, which it has not seen, and at the end on a project that
no arm has seen. Every arm learns from the same log, the base's; only the last day is typed anew with an arm that serves.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from random import Random
from threading import Event
from typing import Any, Final

from tacit.learner.base import Tokenizer, prepare
from tacit.learner.publish import publish
from tacit.learner.samples import Sample
from tacit.learner.show_policy import refit
from tacit.learner.simulate.arms import ARMS, FROZEN, Arm, arms
from tacit.learner.simulate.arms import night as night_of
from tacit.learner.simulate.calibration import moved
from tacit.learner.simulate.cells import Cells, write
from tacit.learner.simulate.days import days
from tacit.learner.simulate.edits import Change
from tacit.learner.simulate.findings import PUBLISHED, Cell, Findings
from tacit.learner.simulate.nights import Nights, settings_of
from tacit.learner.simulate.personas import PERSONAS, person
from tacit.learner.simulate.plan import Source
from tacit.learner.simulate.serving import ServerProcess
from tacit.learner.simulate.session import Visit
from tacit.learner.simulate.telling import Setup
from tacit.learner.simulate.workday import Desk, Workday, work
from tacit.learner.train import TrainSettings
from tacit.protocol.adapters import RunRequest, RunUpdate
from tacit.protocol.errors import BadRequest
from tacit.protocol.home import Home

SHORT: Final = "always-short"
SHORT_TOKENS: Final = 2
PILOT: Final = "pilot"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    model: str = "auto"
    projects: tuple[str, ...] = ()
    """Worked at by turns, seed by seed; names of the corpus."""
    seeds: int = 1
    nights: int = 3
    places: int = 24
    """A day."""
    sessions: int = 2
    """A day, each another developer's."""
    arms: tuple[str, ...] = ("sft", "rwr", "kto", "topr", "random", "shuffled")
    live: tuple[str, ...] = ("sft", "topr", SHORT)
    """With whom the last day is typed, besides frozen; none: it is not."""
    personas: tuple[str, ...] = tuple(PERSONAS)
    calibrate: bool = True
    """Developers take as much of this model's suggestions as real ones did: a pilot of each seed says how inclined that is."""
    max_tokens: int = 24
    desk: Desk = field(default_factory=Desk)
    train: TrainSettings = field(default_factory=TrainSettings)

    def check(self) -> None:
        """BadRequest: they name what there is not."""
        names = [arm.name for arm in arms(self.arms)]
        for name in self.live:
            if name != SHORT and name not in names:
                raise BadRequest(f"`{name}` is to be typed with, and is no arm of this run.", mend="Add it to the arms.")
        if any(ARMS[name].trainer == "trl" for name in self.arms) and find_spec("trl") is None:
            raise BadRequest("The arm `trl-kto` needs TRL.", mend="pip install 'tacit[dev]', or take the arm `kto`.")
        for kind in self.personas:
            person(kind, Random(0))
        if not self.personas or min(self.seeds, self.nights, self.places, self.sessions) < 1:
            raise BadRequest("At least one seed, night, place, session and persona are needed.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """What one seed's developers write."""

    seed: int
    project: str
    days: tuple[tuple[Source, ...], ...]
    unseen_project: str
    """Empty: there is no other project."""
    unseen: tuple[Source, ...]

    @property
    def last(self) -> int:
        return len(self.days)


def plans(corpus: Mapping[str, Sequence[Change]], options: Options) -> list[SeedPlan]:
    """BadRequest: a project is not there, or has too few changes."""
    made = []
    for seed in range(1, options.seeds + 1):
        project = options.projects[(seed - 1) % len(options.projects)]
        if project not in corpus:
            raise BadRequest(f"There is no project `{project}`.", mend=f"There are: {', '.join(corpus)}.")
        worked = days(corpus[project], options.nights + 1, options.places, Random(f"{seed}:days"))
        name, unseen = _unseen(corpus, project, options.places, seed)
        made.append(SeedPlan(seed, project, tuple(tuple(day) for day in worked), name, tuple(unseen)))
    return made


def _unseen(corpus: Mapping[str, Sequence[Change]], project: str, places: int, seed: int) -> tuple[str, list[Source]]:
    """A day of another project, in the same language if there is one."""
    language = _ending(corpus[project])
    others = [name for name in corpus if name != project]
    for name in sorted(others, key=lambda name: (_ending(corpus[name]) != language, -len(corpus[name]))):
        try:
            (day,) = days(corpus[name], 1, places, Random(f"{seed}:unseen"))
        except BadRequest:
            continue
        return name, day
    return "", []


def _ending(changes: Sequence[Change]) -> str:
    endings = [Path(change.path).suffix for change in changes]
    return max(sorted(set(endings)), key=endings.count, default="")


class Experiment:
    """Use `run`; it may be called again in the same folder, by another process, after a kill."""

    def __init__(
        self,
        options: Options,
        corpus: Mapping[str, Sequence[Change]],
        folder: Path,
        progress: Progress,
        ended: Callable[[str], None] = lambda what: None,
    ) -> None:
        """ended: called with the words for each day or night that is done and kept, from any thread."""
        options.check()
        self.options = options
        self.cells = Cells(folder)
        self.folder = folder
        self.progress = progress
        self._ended = ended
        self.plans = plans(corpus, options)
        self.arms = arms(options.arms)
        self._stop = Event()

    async def run(self, seed_done: Callable[[Findings, Setup], None] = lambda found, setup: None) -> Findings:
        """seed_done: called with all that is known after each seed. Cancelling leaves no process; finished cells stay.
        Conflict: another run works in the folder, or one with other options did."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.cells.alone():
            return await self._run(seed_done)

    async def _run(self, seed_done: Callable[[Findings, Setup], None]) -> Findings:
        self.cells.claim(self.options.to_json())
        try:
            for plan in self.plans:
                await self._log(plan)
                await asyncio.to_thread(self._nights, plan)
                for arm in self._live_arms():
                    await self._live(plan, arm)
                seed_done(self.findings(), self.setup())
        finally:
            # A thread cannot be cancelled: its next step ends it.
            self._stop.set()
        # Dequantised weights, a gigabyte, which can be made again.
        await asyncio.to_thread(shutil.rmtree, self._home.cache, ignore_errors=True)
        return self.findings()

    def setup(self) -> Setup:
        options, desk = self.options, self.options.desk
        return Setup(
            model=str(self._model()["name"]),
            seeds=options.seeds,
            nights=options.nights,
            places=options.places,
            projects={plan.seed: plan.project for plan in self.plans},
            unseen={plan.seed: plan.unseen_project for plan in self.plans},
            personas=options.personas,
            context=f"context {desk.prefix_chars} + {desk.suffix_chars} characters, at most {options.max_tokens} tokens offered",
        )

    def findings(self) -> Findings:
        """Of the cells that are finished."""
        seeds = [plan.seed for plan in self.plans]
        cells = [
            cell
            for arm in self.arms
            for seed in seeds
            for night in range(self.options.nights + 1)
            if (cell := self.cells.read_night(seed, arm.name, night)) is not None
        ]
        lives = [found for arm in self._live_arms() for seed in seeds if (found := self.cells.read_live(seed, arm)) is not None]
        logged = {plan.seed: tuple(day for day in self._logged(plan) if day is not None) for plan in self.plans}
        by = {plan.seed: self._moved(plan) for plan in self.plans if self.cells.day(plan.seed, PILOT).exists()}
        return Findings(tuple(cells), tuple(lives), logged, by)

    # The log

    async def _log(self, plan: SeedPlan) -> None:
        """The pilot, every day, and the unseen project's, with the base."""
        wanted: list[tuple[int | str, Sequence[Source]]] = [(PILOT, plan.days[0])] if self.options.calibrate else []
        wanted += enumerate(plan.days, start=1)
        if plan.unseen:
            wanted.append(("unseen", plan.unseen))
        missing = [(name, sources) for name, sources in wanted if not self.cells.day(plan.seed, name).exists()]
        if not missing:
            return
        async with ServerProcess(self._home, self._settings()) as server:
            await self._learn_model(server)
            for name, sources in missing:
                title = f"seed {plan.seed}, {_words(name)}, base"
                day = await self._type(server, plan, sources, name, self.options.desk, title)
                write(self.cells.day(plan.seed, name), day.to_json())
                self._ended(title)

    async def _type(
        self, server: ServerProcess, plan: SeedPlan, sources: Sequence[Source], day: int | str, desk: Desk, title: str
    ) -> Workday:
        total = sum(len(source.places) for source in sources)
        done = 0

        def tick(visit: Visit) -> None:
            nonlocal done
            done += 1
            self.progress(title, done, total)

        self.progress(title, 0, total)
        # A project is known by its folder: the same one for every day and arm.
        workspace = self.folder / f"seed-{plan.seed}" / ("workspace" if isinstance(day, int) else f"workspace-{day}")
        by = self._moved(plan) if day != PILOT else 0.0
        return await work(server, workspace, sources, self._kinds(plan.seed, day), plan.seed, desk, tick, by)

    def _moved(self, plan: SeedPlan) -> float:
        """What the seed's pilot says."""
        pilot = self.cells.read_day(self.cells.day(plan.seed, PILOT))
        return moved(pilot.asked, self.options.personas, PUBLISHED["acceptance"], plan.seed) if pilot else 0.0

    def _kinds(self, seed: int, day: int | str) -> list[str]:
        """The day's personas: by turns, so that each is there on some day. For a pilot only what is offered counts."""
        if day == PILOT:
            return list(self.options.personas[:1])
        first = (seed - 1) + (day if isinstance(day, int) else 0) * self.options.sessions
        return [self.options.personas[(first + i) % len(self.options.personas)] for i in range(self.options.sessions)]

    # Training and scoring

    def _nights(self, plan: SeedPlan) -> None:
        missing = [
            (arm, night)
            for arm in self.arms
            for night in range(self.options.nights + 1)
            if (night > 0 or arm.name == FROZEN.name) and not self.cells.night(plan.seed, arm.name, night).exists()
        ]
        if not missing:
            return
        model = self._model()
        self._step("preparing the base model", 0, 1)
        nights = Nights(self._home, Path(model["path"]), model["sha256"], self._step)
        samples = [nights.samples(day.records if day else ()) for day in self._logged(plan)]
        away = self.cells.read_day(self.cells.day(plan.seed, "unseen"))
        unseen = nights.samples(away.records) if away else []
        for count, (arm, night) in enumerate(missing):
            title = f"seed {plan.seed}, {arm.name}, night {night}"
            self._step(title, count, len(missing))
            self._night(plan.seed, arm, night, nights, samples, unseen)
            self._ended(title)

    def _night(
        self, seed: int, arm: Arm, night: int, nights: Nights, days: Sequence[Sequence[Sample]], unseen: Sequence[Sample]
    ) -> None:
        """days: the samples of each, day 1 first."""
        following = days[night]
        adapter, seconds, steps = None, 0.0, 0
        if arm.objective:
            adapter = self.cells.adapter(seed, arm.name, night)
            parent = self.cells.adapter(seed, arm.name, night - 1) if night > 1 else None
            shutil.rmtree(adapter, ignore_errors=True)
            own, past = night_of(arm, days, night, seed)
            trained = nights.night(arm, parent, own, past, settings_of(self.options.train, seed, night), adapter)
            seconds, steps = trained.seconds, trained.steps
        last = night == self.options.nights
        scored = nights.score(adapter, [following, unseen if last else []])
        self.cells.write_night(Cell(seed, arm.name, night, tuple(scored[0]), tuple(scored[1]), seconds, steps))

    def _step(self, stage: str, done: int, total: int) -> None:
        if self._stop.is_set():
            raise InterruptedError
        self.progress(stage, done, total)

    # The last day, live

    def _live_arms(self) -> list[str]:
        return [FROZEN.name, *(name for name in self.options.live if name != FROZEN.name)] if self.options.live else []

    async def _live(self, plan: SeedPlan, name: str) -> None:
        if self.cells.live(plan.seed, name).exists():
            return
        root = self.folder / f"seed-{plan.seed}" / f"home-{name}"
        shutil.rmtree(root, ignore_errors=True)
        home = Home(_made(root))
        settings = self._settings()
        if name == SHORT:
            settings["max_tokens"] = str(SHORT_TOKENS)
        arm = ARMS.get(name, FROZEN)
        async with ServerProcess(home, settings) as server:
            if arm.objective:
                await self._hand_over(plan, server)
                await self._publish(server, plan, arm)
            desk = replace(self.options.desk, eagerness="balanced")
            sources = plan.days[plan.last - 1]
            title = f"seed {plan.seed}, day {plan.last} live, {name}"
            day = await self._type(server, plan, sources, plan.last, desk, title)
        shutil.rmtree(home.cache, ignore_errors=True)
        write(self.cells.live(plan.seed, name), day.to_json())
        self._ended(title)

    async def _hand_over(self, plan: SeedPlan, server: ServerProcess) -> None:
        """What was logged before the last day, as the product would have it here; and the show policy fitted on it."""
        for day in self._logged(plan)[: plan.last - 1]:
            for record in day.records if day else ():
                await server.client.send_events([record.suggestion, *record.events])
        await refit(server.client, server.home)

    async def _publish(self, server: ServerProcess, plan: SeedPlan, arm: Arm) -> None:
        """Serve what the arm has learnt. No gate: what is compared is what arms learn, also where a gate would say no."""
        logged = [record for day in self._logged(plan)[: plan.last - 1] if day for record in day.records]
        if not logged:
            return
        suggestion = logged[0].suggestion
        run = await server.client.start_run(RunRequest(project=suggestion.project, objective=arm.objective, pid=os.getpid()))
        lineage = [record.suggestion.suggestion_id for record in logged]
        report = {"summary": f"simulated arm {arm.name}, seed {plan.seed}", "simulated": True}
        base = str(self._model()["sha256"])
        folder = self.cells.adapter(plan.seed, arm.name, self.options.nights)
        tokenizer = await asyncio.to_thread(lambda: Tokenizer(prepare(Path(self._model()["path"]), base, self._home)).digest())
        publish(server.home, run, folder, report, lineage, base, tokenizer)
        await server.client.publish(run.adapter)
        await server.client.update_run(run.id, RunUpdate(state="published", message=report["summary"], done=1, total=1))

    # What is known

    @property
    def _home(self) -> Home:
        return Home(_made(self.folder / "home"))

    def _settings(self) -> dict[str, str]:
        return {"model": self.options.model, "max_tokens": str(self.options.max_tokens), "nightly": "off"}

    def _logged(self, plan: SeedPlan) -> list[Workday | None]:
        return [self.cells.read_day(self.cells.day(plan.seed, day)) for day in range(1, plan.last + 1)]

    def _model(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / "model.json").read_text(encoding="utf-8"))
        return found

    async def _learn_model(self, server: ServerProcess) -> None:
        status = await server.client.status()
        write(self.folder / "model.json", {"name": status.model, "path": status.model_path, "sha256": status.model_sha256})


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.resolve()


def _words(day: int | str) -> str:
    return f"day {day}" if isinstance(day, int) else "the pilot" if day == PILOT else "the unseen project"
