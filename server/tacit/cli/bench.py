"""`tacit bench NAME`: prints a table and the goals, writes JSON. All the measuring is in tacit.bench."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tacit.bench.report import Report

bench = typer.Typer(help="Measure the real parts on this machine, in a home of their own.", no_args_is_help=True)

Model = Annotated[str, typer.Option(help="Catalogue name of the model, `auto` (by hardware), or a GGUF file.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn by chance.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write rows and goals there as well.")]


@bench.command()
def latency(
    prompts: Annotated[int, typer.Option(min=1, max=1000, help="How many places to ask at.")] = 30,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """The same prompts straight to the engine and through the language server; typing through; cancelling."""
    from tacit.bench import latency as measure

    _finish(model, lambda progress: measure.run(prompts, seed, model, progress), json)


@bench.command()
def swap(
    swaps: Annotated[int, typer.Option(min=1, max=1000, help="How many moves from one adapter to another.")] = 20,
    streams: Annotated[int, typer.Option(min=1, max=64, help="How many completions at once.")] = 4,
    engine: Annotated[str, typer.Option(help="`embedded` or `vllm`.")] = "embedded",
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """Hot swaps and rollbacks under running completions: no answer may fail."""
    from tacit.bench import swap as measure

    _finish(model, lambda progress: measure.run(swaps, streams, seed, model, engine, progress), json)


@bench.command()
def serve(
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Of both ways each, in turns.")] = 5,
    streams: Annotated[int, typer.Option(min=1, max=64, help="How many completions at once.")] = 4,
    each: Annotated[int, typer.Option(min=1, max=1000, help="Completions of one stream in a round.")] = 8,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """The same vLLM asked straight and through Tacit; one adapter beside two in one batch. Needs vLLM installed."""
    from tacit.bench import serve as measure

    _finish(model, lambda progress: measure.run(rounds, streams, each, seed, model, progress), json)


@bench.command()
def typing(
    minutes: Annotated[float, typer.Option(min=0.1, max=600, help="How long to type, all policies together.")] = 10,
    accept: Annotated[bool, typer.Option("--accept", help="Accept what matches as a whole, rather than type it.")] = False,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """Real edits typed at human speed: what Tacit asks of the model for what it shows, beside fixed delays."""
    from tacit.bench import typing as measure
    from tacit.bench.infill_cases import data_folder

    plan = measure.chosen(data_folder(), minutes, seed)
    _finish(model, lambda progress: measure.run(plan, seed, model, accept, progress), json)


@bench.command()
def infill(
    single: Annotated[int, typer.Option(min=0, max=1033, help="How many holes of HumanEval-Infilling single-line.")] = 30,
    each: Annotated[int, typer.Option(min=0, max=150, help="How many holes in each of JavaScript, Java, C++, Go and Rust.")] = 6,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """Holes in public benchmark programs: exact match and pass@1, the raw model beside the product. TACIT_DATA: their folder."""
    from tacit.bench import infill as measure
    from tacit.bench.infill_cases import data_folder

    plan = measure.chosen(data_folder(), single, each, seed)
    _finish(model, lambda progress: measure.run(plan, seed, model, progress), json)


@bench.command()
def learning(
    minutes: Annotated[
        float, typer.Option(min=1, max=6000, help="How long it may take; the places a day are planned for that.")
    ] = 60,
    places: Annotated[int, typer.Option(min=0, max=2000, help="A day; 0: as many as fit.")] = 0,
    nights: Annotated[int, typer.Option(min=1, max=60, help="How many, after night 0.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="Other changes, developers and orders each.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="One seed, two nights, eight places: shows that it runs.")] = False,
    home: Annotated[
        Path | None, typer.Option(help="A folder: kept, and gone on with.", show_default="in TACIT_HOME/cache")
    ] = None,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """Nights of simulated developers on one log: topr beside sft, TRL's KTO, rwr and controls. TACIT_DATA: whose edits."""
    from tacit.bench import learning as measure
    from tacit.cli.simulate import corpus_of, default_folder, first_projects

    if quick:
        nights, seeds, places = 2, 1, places or 8
    corpus = corpus_of((), ())
    wanted = measure.options(model, first_projects(corpus), nights, seeds)
    folder = home.expanduser().resolve() if home is not None else default_folder(wanted, "bench")
    _finish(model, lambda progress: measure.run(wanted, corpus, folder, minutes, places, progress), json)


@bench.command()
def record(
    minutes: Annotated[float, typer.Option(min=0.1, max=600, help="How long to type.")] = 5,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """What recording costs while somebody types: CPU and time per change, with and without it, side by side."""
    from tacit.bench import recording as measure

    _finish(model, lambda progress: measure.run(minutes, seed, model, progress), json)


@bench.command()
def ingest(
    clients: Annotated[int, typer.Option(min=1, max=5000, help="Language servers at once.")] = 1000,
    events: Annotated[int, typer.Option(min=1, max=100_000, help="Of each of them.")] = 100,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Events in one request.")] = 10,
    seconds: Annotated[float, typer.Option(min=0, max=3600, help="In which each of them sends its events.")] = 60,
    database_url: Annotated[
        str, typer.Option(help="An empty PostgreSQL database; else one is started, if it is installed.")
    ] = "",
    seed: Seed = 1,
    json: Json = None,
) -> None:
    """Events of many clients at once, SQLite and PostgreSQL side by side: time to the ack, and what is there after kill -9."""
    from tacit.bench import ingest as measure

    _finish(None, lambda progress: measure.run(clients, events, batch, seconds, database_url, seed, progress), json)


@bench.command("reward-model")
def reward_model(
    developers: Annotated[int, typer.Option(min=0, max=200, help="Simulated developers who make a log first; 0: none.")] = 0,
    places: Annotated[int, typer.Option(min=1, max=100, help="Suggestions for each of them.")] = 16,
    head: Annotated[bool, typer.Option("--head", help="Train the LoRA head too: minutes on a CPU.")] = False,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Suggestion records, one a line, of an export.")] = None,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """Which suggestions will be kept, on Copilot's telemetry (TACIT_DATA) and on logs: AUC by session, ECE, beside baselines."""
    from tacit.bench import reward_model as measure

    needed = model if head or developers else None
    _finish(needed, lambda progress: measure.run(developers, places, head, seed, model, progress, log=log), json)


@bench.command()
def gate(
    each: Annotated[int, typer.Option(min=1, max=1000, help="How many adapters of each kind.")] = 20,
    nights: Annotated[int, typer.Option(min=1, max=10_000, help="Simulated nights of each shape, for off-policy value.")] = 400,
    quick: Annotated[bool, typer.Option("--quick", help="Every part once, to see that it runs.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", file_okay=False, help="Keep results there; run again, it goes on where it was.")
    ] = None,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """Harmful and useful adapters, trained for the purpose: which the gate refuses; and whether its intervals hold the truth."""
    from dataclasses import replace

    from tacit.bench import gate as measure

    options = replace(measure.quick() if quick else measure.Options(each=each, nights=nights), folder=folder, seed=seed)
    _finish(model, lambda progress: measure.run(options, model, progress), json)


@bench.command()
def debug(
    each: Annotated[int, typer.Option(min=1, max=204, help="How many bugs of each language.")] = 10,
    languages: Annotated[
        str,
        typer.Option(
            help="LSP ids with commas between them: of which languages.", show_default="python, javascript, java, cpp, rust"
        ),
    ] = "python,javascript,java,cpp,rust",
    similar: Annotated[int, typer.Option(min=0, max=700, help="And of DebugBench, by likeness to the reference.")] = 0,
    half: Annotated[str, typer.Option(help="`first` or `second`: only bugs of that half of the problems.")] = "",
    minutes: Annotated[float, typer.Option(min=0, max=6000, help="After these no other bug is begun; 0: no limit.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, max=1800, help="For one answer, of either way.")] = 300,
    candidates: Annotated[int, typer.Option(min=1, max=8, help="The product draws so many at most until one passes.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="One bug of Python and of JavaScript, to see that it runs.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", file_okay=False, help="Keep answers there; run again, it goes on where it was.")
    ] = None,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """Bugs of public benchmarks, run in the sandbox: the bare model beside the product's Fix. TACIT_DATA: their folder."""
    from tacit.bench import debug as measure
    from tacit.bench.infill_cases import data_folder
    from tacit.protocol.errors import BadRequest

    if half not in ("", "first", "second"):
        raise BadRequest(f"There is no half `{half}`.", mend="There are `first` and `second`.")
    options = measure.Options(
        each=1 if quick else each,
        languages=measure.QUICK if quick else tuple(one.strip() for one in languages.split(",") if one.strip()),
        similar=similar,
        half="first" if half == "first" else "second" if half == "second" else None,
        minutes=minutes or None,
        seconds=seconds,
        candidates=candidates,
        folder=folder,
        seed=seed,
    )
    plan = measure.chosen(data_folder(), options)
    _finish(model, lambda progress: measure.run(plan, model, progress), json)


@bench.command()
def train(
    objective: Annotated[str, typer.Option(help="`sft`, `kto`, `topr`, each beside TRL's trainer, or `all`.")] = "all",
    samples: Annotated[int, typer.Option(min=4, max=2000, help="How many suggestions to learn from.")] = 24,
    repeats: Annotated[int, typer.Option(min=1, max=50, help="Rounds, in each of which every trainer runs once.")] = 3,
    batch: Annotated[int, typer.Option(min=2, max=256, help="Samples of one step.")] = 8,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Of the LoRA matrices.")] = 16,
    prefix_chars: Annotated[int, typer.Option(min=40, max=100_000, help="Code before the cursor, in each prompt.")] = 1500,
    max_length: Annotated[int, typer.Option(min=64, max=32_768, help="Tokens; longer samples are left out.")] = 1024,
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """Our trainer beside TRL's SFT and KTO trainers: tokens per second, peak memory; on a GPU also its utilisation."""
    from tacit.bench import train as measure

    arms = measure.chosen(objective)
    options = measure.Options(samples, repeats, batch, rank, max_length, prefix_chars, seed=seed)
    _finish(model, lambda progress: measure.run(arms, options, model, progress), json)


@bench.command("debug-night")
def debug_night(
    train: Annotated[int, typer.Option(min=1, max=500, help="How many bugs are asked about during the day.")] = 40,
    held_out: Annotated[int, typer.Option(min=1, max=500, help="How many of the other half, before and after.")] = 20,
    languages: Annotated[str, typer.Option(help="LSP ids with commas between them.")] = "python",
    candidates: Annotated[int, typer.Option(min=1, max=8, help="The product draws so many at most until one passes.")] = 2,
    seconds: Annotated[float, typer.Option(min=1, max=1800, help="For one answer.")] = 300,
    generations: Annotated[int, typer.Option(min=0, max=24, help="Programs that the gate has mended by both versions.")] = 12,
    folder: Annotated[
        Path, typer.Option("--folder", file_okay=False, help="Everything is kept there; run again, it goes on where it was.")
    ] = Path("tacit-debug-night"),
    seed: Seed = 1,
    model: Model = "auto",
    json: Json = None,
) -> None:
    """A night of answers about errors with its gate: bugs of held-out problems before and after. TACIT_DATA: their folder."""
    from tacit.bench import debug_night as measure
    from tacit.bench.infill_cases import data_folder

    chosen = tuple(one.strip() for one in languages.split(",") if one.strip())
    options = measure.Options(train, held_out, chosen, candidates, seconds, generations, seed)
    plan = measure.chosen(data_folder(), options)
    _finish(model, lambda progress: measure.run(plan, model, folder, progress), json)


def _finish(model: str | None, run: Callable[[Callable[[str, int, int], None]], "Report"], json: Path | None) -> None:
    """Fetch the model first, so that nothing waits for it while it is measured; then run, print, write. None: no model."""
    from rich.console import Console

    from tacit.cli.models import fetch_bar
    from tacit.server.models import resolve

    if model is not None:
        with fetch_bar(model) as (progress, notice):
            resolve(model, progress, notice)
    with progress_bar() as advance:
        report = run(advance)
    report.print(Console(highlight=False))
    if json is not None:
        report.write(json)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr: stage, done, total."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)
