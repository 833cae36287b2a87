"""``python -m bench papers``: the published systems beside what comes out here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.papers import hotcarbon as hotcarbon_paper
from bench.papers import rice as rice_paper
from bench.papers import sprout as sprout_paper
from bench.papers.figures import Reproduction
from bench.papers.reenactment import reenact, terms_at
from bench.papers.sprout_data import load
from bench.papers.svg import draw
from bench.papers.table import console, show
from router.domain.errors import ConfigError, RouterError

app = typer.Typer(
    help="Reproduce the published systems: what they print, what comes out here, and the difference.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="ROUTER_PAPERS_DATA",
        help="Folder of public data that holds sprout/, outcomes/, rice/ and energy/.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON instead of tables.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Also write the curves to this .svg file.")]
Windows = Annotated[list[str] | None, typer.Option("--window", help="february, june or october; repeatable, all.")]
Zones = Annotated[list[str] | None, typer.Option("--zone", help="Grid zone; repeatable, all.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Zones at a time; one for each core.")]


@app.callback(invoke_without_command=True)
def papers(context: typer.Context, data: Data = None, as_json: AsJson = False, jobs: Jobs = None) -> None:
    """Without a command: run all papers whose data are at hand, and print what matters of each."""
    if context.invoked_subcommand is not None:
        return
    with _errors_told():
        done = [hotcarbon_paper.reproduce(hotcarbon_paper.load_tables())]
        skipped = []
        if data is None:
            skipped.append("sprout and rice: skipped, name their data with --data FOLDER")
        else:
            done.append(sprout_paper.reproduce(load(data), windows=("february",), jobs=_jobs(jobs), progress=_progress))
            done.append(rice_paper.reproduce(data))
            _progress("rice")
        if as_json:
            typer.echo(json.dumps({"papers": [one.as_dict() for one in done], "skipped": skipped}, indent=1))
            return
        out = console()
        for one in done:
            show(one, out, headlines_only=True)
            out.print(f"  all figures: python -m bench papers {one.paper}", style="dim", markup=False, highlight=False)
        for text in skipped:
            out.print(text, style="yellow", markup=False, highlight=False)


@app.command()
def hotcarbon(
    tables: Annotated[
        Path, typer.Option("--tables", help="Other tables in the layout of the carried ones.")
    ] = hotcarbon_paper.TABLES,
    floors: Annotated[str, typer.Option("--floors", help="Accuracies, with commas.")] = ",".join(
        f"{floor:g}" for floor in hotcarbon_paper.FLOORS
    ),
    measurements: Annotated[
        Path | None,
        typer.Option("--measurements", help="Run the experiment again on models of your own: what `bench run` wrote."),
    ] = None,
    models_file: Annotated[
        Path, typer.Option("--models-file", help="Whose first site's intensity and embodied carbon are taken.")
    ] = Path("models.yaml"),
    draws: Annotated[int, typer.Option("--draws", min=1, help="Random draws of other unseen prompts.")] = 20,
    as_json: AsJson = False,
    plot: Plot = None,
) -> None:
    """HotCarbon'24: linear program, oracle and single models on the paper's Tables 2 to 5.

    With --measurements, the same experiment on your own models: measure the first 55 prompts of its five public sets
    with `python -m bench run --data FOLDER --limit 55 --directives L0 --output FILE`, then name FILE here.
    """
    with _errors_told():
        _checked(plot)
        asked = _numbers(floors, "--floors")
        if measurements is not None:
            _out(_reenacted(measurements, models_file, draws), as_json, plot)
            return
        _out(hotcarbon_paper.reproduce(hotcarbon_paper.load_tables(tables), asked), as_json, plot)


@app.command()
def sprout(
    data: Data = None,
    windows: Windows = None,
    zones: Zones = None,
    xi: Annotated[str, typer.Option("--xi", help="Of the Pareto fronts, with commas.")] = ",".join(
        f"{value:g}" for value in sprout_paper.XIS
    ),
    probe: Annotated[bool, typer.Option(help="Measure the probe's confusions on single prompts.")] = True,
    jobs: Jobs = None,
    as_json: AsJson = False,
    plot: Plot = None,
) -> None:
    """Sprout: firing hours, every scheme, and the joint program, hour by hour over 720-hour windows."""
    with _errors_told():
        _checked(plot)
        xis = _numbers(xi, "--xi")
        if data is None:
            raise ConfigError(
                "sprout needs the authors' figures", hint="name the folder that holds sprout/ with --data"
            )
        done = sprout_paper.reproduce(
            load(data),
            zones=tuple(zones or ()),
            windows=tuple(windows or ()),
            xis=xis,
            probe=probe,
            jobs=_jobs(jobs),
            progress=_progress,
        )
        _out(done, as_json, plot)


@app.command()
def rice(
    data: Data = None,
    splits: Annotated[int, typer.Option(min=1, help="Random splits of Table III.")] = rice_paper.SPLITS,
    as_json: AsJson = False,
    plot: Plot = None,
) -> None:
    """R-ICE: seconds and joules from size and lengths, as published and better, boundaries stated."""
    with _errors_told():
        _checked(plot)
        if data is None:
            raise ConfigError(
                "rice needs public runtimes", hint="name the folder that holds rice/ and energy/ with --data"
            )
        _out(rice_paper.reproduce(data, splits), as_json, plot)


def run() -> None:
    """Entry point of ``python -m bench.papers``."""
    app(prog_name="python -m bench papers")


def _reenacted(measurements: Path, models_file: Path, draws: int) -> Reproduction:
    from bench.replay import embedder
    from router.config.federation import load_catalogue
    from router.store.codec import read_measurements

    site = next(iter(load_catalogue(models_file).sites.values()))
    rows = read_measurements(measurements)
    if not rows:
        raise ConfigError("no measurements in it", file=str(measurements))
    return reenact(rows, embedder().embed([row.prompt for row in rows]), terms_at(site), draws=draws)


def _out(done: Reproduction, as_json: bool, plot: Path | None) -> None:
    if plot is not None:
        try:
            plot.write_text(draw(done), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write the plot: {error}", file=str(plot)) from error
    if as_json:
        typer.echo(json.dumps(done.as_dict(), indent=1))
        return
    show(done, console())


def _checked(plot: Path | None) -> None:
    """Refuse before the work, not after it."""
    if plot is None:
        return
    if plot.suffix.lower() != ".svg":
        raise ConfigError(f"plots are written as SVG, not {plot.suffix or 'without a suffix'}", hint="name it FILE.svg")
    if not plot.absolute().parent.is_dir():
        raise ConfigError(f"no folder {plot.absolute().parent}", hint="create it first")


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = ()
    if not numbers or not all(0.0 <= number <= 1.0 for number in numbers):
        raise ConfigError(f"{option} takes numbers from 0 to 1 with commas between them, not {text!r}")
    return numbers


def _jobs(asked: int | None) -> int:
    return asked or os.cpu_count() or 1


def _progress(text: str) -> None:
    typer.echo(f"done: {text}", err=True)


@contextmanager
def _errors_told() -> Iterator[None]:
    """The edge: what is wrong and what to do about it, without a traceback."""
    try:
        yield
    except RouterError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
