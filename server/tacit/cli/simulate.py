"""`tacit simulate`: simulated developers over real later edits, arms and controls over several nights. Reads options, fetches the
model, prints, writes the report; all the work is in the learner's `simulate` package."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.cli.steps import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tacit.learner.simulate.edits import Change
    from tacit.learner.simulate.experiment import Experiment, Options
    from tacit.learner.simulate.findings import Findings


def simulate(
    repository: Annotated[
        list[Path] | None,
        typer.Option(
            help="A git repository whose later commits are what is written; of several the first, and another one is the unseen "
            "project, unless --project names which."
        ),
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option(
            help="A project of the data that TACIT_DATA names, or of the repositories (its folder's name); may be repeated: by "
            "turns, seed by seed."
        ),
    ] = None,
    nights: Annotated[
        int, typer.Option(min=1, max=60, help="How many; each day but the first is scored before it is learnt.")
    ] = 3,
    places: Annotated[int, typer.Option(min=2, max=2000, help="Where suggestions are asked for, a day.")] = 24,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="Other changes, developers and orders each.")] = 1,
    arms: Annotated[
        str,
        typer.Option(
            help="What is trained on the same log, with commas: sft, rwr, awr, kto, trl-kto, dpo, ppo, grpo, topr; controls "
            "random, shuffled, oracle.",
            show_default="sft, rwr, kto, topr, random, shuffled",
        ),
    ] = "sft,rwr,kto,topr,random,shuffled",
    live: Annotated[
        str,
        typer.Option(
            help="With what the last day is typed again, besides frozen: some of the arms, always-short; or none.",
            show_default="sft, topr, always-short",
        ),
    ] = "sft,topr,always-short",
    personas: Annotated[
        str,
        typer.Option(
            help="Kinds of developers, with commas: steady, accept-prone, picky, typist, editor-after-accept; default: all."
        ),
    ] = "",
    calibrate: Annotated[
        bool,
        typer.Option(
            help="A pilot day first, from which developers are as inclined to take this model's text as real ones were."
        ),
    ] = True,
    model: Annotated[str, typer.Option(help="Catalogue name of the model, `auto` (by hardware), or a GGUF file.")] = "auto",
    home: Annotated[
        Path | None, typer.Option(help="The experiment's folder: kept, and gone on with.", show_default="in TACIT_HOME/cache")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")] = None,
) -> None:
    """Simulated developers write real later edits; arms and controls learn from what they did. Goes on where it was killed."""
    from rich.console import Console
    from rich.markdown import Markdown

    from tacit.learner.simulate.experiment import Options
    from tacit.learner.simulate.personas import PERSONAS

    corpus = corpus_of(repository or (), project or ())
    options = Options(
        model=model,
        projects=tuple(project or ([path.resolve().name for path in repository[:1]] if repository else first_projects(corpus))),
        seeds=seeds,
        nights=nights,
        places=places,
        arms=_names(arms),
        live=() if live == "none" else _names(live),
        personas=_names(personas) or tuple(PERSONAS),
        calibrate=calibrate,
    )
    folder = home.expanduser().resolve() if home is not None else default_folder(options)
    experiment, found = run(options, corpus, folder)
    console = Console(highlight=False)
    console.print(Markdown((folder / "report.md").read_text(encoding="utf-8")))
    console.print(f"{folder / 'report.md'}", style="dim", markup=False)
    if json is not None:
        _write(json, experiment, found)


def run(options: "Options", corpus: "dict[str, list[Change]]", folder: Path) -> "tuple[Experiment, Findings]":
    """The experiment, on a terminal with a progress bar, else with a line for each day or night that ends; after each seed the
    report is written anew."""
    import asyncio

    from tacit.cli.models import fetch_bar
    from tacit.learner.simulate.experiment import Experiment
    from tacit.server.models import resolve

    with fetch_bar(options.model) as (progress, notice):
        resolve(options.model, progress, notice)
    say(
        f"Simulating {options.nights} nights of {len(options.projects)} projects, {options.seeds} seeds, arms "
        f"{', '.join(options.arms)}: hours without a GPU. What is done is kept in {folder}: the same command goes on there."
    )
    with _shown() as (advance, ended):
        experiment = Experiment(options, corpus, folder, advance, ended)
        found = asyncio.run(experiment.run(lambda found, setup: _report(found, experiment, folder)))
    _report(found, experiment, folder)
    return experiment, found


@contextmanager
def _shown() -> "Iterator[tuple[Callable[[str, int, int], None], Callable[[str], None]]]":
    """(what is called with how far it is, what is called with each day or night that is done)."""
    from tacit.cli.bench import progress_bar

    if sys.stderr.isatty():
        with progress_bar() as advance:
            yield advance, lambda what: None
    else:
        yield lambda stage, done, total: None, lambda what: say(f"{what}: done")


def corpus_of(repositories: "Sequence[Path]", projects: "Sequence[str]") -> "dict[str, list[Change]]":
    """Changes by project: of the repositories, and of the data unless only repositories are wanted and no data are there.
    BadRequest: one cannot be read, or what is wanted is nowhere."""
    from tacit.bench.infill_cases import data_folder
    from tacit.learner.simulate.corpora import data_projects, git_project
    from tacit.protocol.errors import BadRequest

    corpus: dict[str, list[Change]] = {}
    for path in repositories:
        if (name := path.resolve().name) in corpus:
            raise BadRequest(f"Two repositories have the name {name}.", mend="Give one folder another name.")
        corpus[name] = git_project(path)
    try:
        return {**data_projects(data_folder()), **corpus}
    except BadRequest:
        if not corpus or not set(projects) <= corpus.keys():
            raise
        return corpus


def first_projects(corpus: "dict[str, list[Change]]") -> list[str]:
    """The three with the most changes: what several nights of one project need."""
    return sorted(corpus, key=lambda name: len(corpus[name]), reverse=True)[:3]


def default_folder(options: "Options", kind: str = "run") -> Path:
    """The same for the same options: the same command goes on with what a killed one has left."""
    import json
    from hashlib import sha256

    from tacit.protocol.home import Home

    key = sha256(json.dumps(options.to_json(), sort_keys=True).encode()).hexdigest()[:12]
    return Home.from_environment().cache / "simulate" / f"{kind}-{key}"


def _report(found: "Findings", experiment: "Experiment", folder: Path) -> None:
    from tacit.learner.simulate.plots import draw
    from tacit.learner.simulate.telling import markdown

    text = markdown(found, experiment.setup(), draw(found, folder))
    (folder / "report.md").write_text(text, encoding="utf-8")
    _write(folder / "report.json", experiment, found)


def _write(path: Path, experiment: "Experiment", found: "Findings") -> None:
    import json
    from datetime import UTC, datetime
    from importlib.metadata import version

    from tacit.bench.report import hardware
    from tacit.learner.simulate.telling import to_json

    head = {
        "simulation": "learning",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("tacit"),
        "hardware": hardware(),
    }
    path.write_text(
        json.dumps({**head, **to_json(found, experiment.setup())}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
