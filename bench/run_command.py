"""``python -m bench run``: puts the runner together from settings, catalogue and command line, and reports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.run_conditions import DISTURBED, Discipline
from bench.run_items import grading_trouble, load
from bench.run_words import forecast_text, summary_text
from router.domain.errors import ConfigError, RouterError
from router.meters.discipline import BASELINE_S, COOL_C

HELP = """Measure quality, joules and seconds of your models.

Without options this measures what has no measurement at all: a model or directive you added to models.yaml, or
prompts that are new; what the shipped measurements cover is left to them, although another machine took them.
With --remeasure everything is measured on this machine, and decides here instead of the shipped rows as soon as it is
in the router's store: `make bench` puts it there, or `carbon-router store import --origin local FILE`.

Every row is saved as soon as it is there. Stop the command at any time (Ctrl-C, kill, power cut) and give it again:
it goes on where it stopped. Only one run at a time writes to an output.
"""


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [part for part in (piece.strip() for piece in text.split(",")) if part]


def _concurrency(text: str) -> list[int]:
    try:
        levels = [int(part) for part in text.split(",")]
    except ValueError:
        levels = []
    if not levels or min(levels) < 1 or max(levels) > 1024:
        raise ConfigError(f"--concurrency takes whole numbers such as 1,4,16, not {text!r}")
    return list(dict.fromkeys(levels))


def run(
    models: Annotated[str | None, typer.Option(metavar="A,B", help="Only these models of models.yaml.")] = None,
    directives: Annotated[str | None, typer.Option(metavar="L0,L1", help="Only these directives.")] = None,
    categories: Annotated[str | None, typer.Option(metavar="code,math", help="Only these categories.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many prompts of each category.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Measure every row so often.")] = 1,
    concurrency: Annotated[
        str, typer.Option(metavar="1,4,16", help="Generations at a time, each level measured for itself.")
    ] = "1",
    sample: Annotated[
        int, typer.Option(min=1, help="Prompts of each category at levels of --concurrency above 1.")
    ] = 5,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Also what the shipped measurements cover: everything, on this machine.")
    ] = False,
    redo_busy: Annotated[
        bool, typer.Option("--redo-busy", help="Also rows of the output that something disturbed (they are flagged).")
    ] = False,
    cool_down_c: Annotated[
        float, typer.Option(min=0.0, help="Wait before a row until the machine is at most this warm; 0: never.")
    ] = COOL_C,
    baseline_s: Annotated[
        float, typer.Option(min=0.0, help="Seconds to measure idle watts before anything is loaded; 0: not at all.")
    ] = BASELINE_S,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be measured and how long.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="File to append to [default: measurements/local.jsonl in the data folder].")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="Folder of your own prompts, CATEGORY.jsonl (docs/measuring.md), instead of ours."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="gsm8k,mbpp", help="Public sets (mbpp, gsm8k, webquestions, spider, wmt) instead of ours."
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the public sets; without it, the hub.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of the set at the hub, instead of the pinned.")] = None,
    deadline: Annotated[float, typer.Option(min=1.0, help="Seconds after which an answer is taken as it is.")] = 900.0,
    models_file: Annotated[Path | None, typer.Option(help="The federation [default: models.yaml].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """See ``HELP``."""
    from bench.run_jobs import Selection
    from router.config.settings import load_settings

    settings = load_settings(models_file=models_file)
    selection = Selection(_split(models), _split(directives), _concurrency(concurrency), repeats, sample)
    items = load(_split(categories), limit, datasets=_split(dataset), data=data, revision=revision, prompts=prompts)
    request = Request(
        settings,
        selection,
        items,
        output or settings.measurements_dir / "local.jsonl",
        remeasure=remeasure,
        redo_busy=redo_busy,
        deadline_s=deadline,
        discipline=Discipline(cool_down_c, baseline_s),
    )
    if dry_run:
        report = asyncio.run(_forecast(request))
        typer.echo(json.dumps(report, indent=2) if as_json else forecast_text(report))
        return
    summary = asyncio.run(_measure(request, quiet=as_json))
    typer.echo(json.dumps(summary, indent=2) if as_json else summary_text(summary))
    if summary["missing_models"] or summary["error"]:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    settings: Any
    selection: Any
    items: Sequence[Any]
    output: Path
    remeasure: bool = False
    redo_busy: bool = False
    deadline_s: float = 900.0
    discipline: Discipline = field(default_factory=Discipline)


@dataclass(slots=True)
class _Setting:
    """Everything between the command line and the runner."""

    catalogue: Any
    rig: Any
    slots: int
    meters: Any
    estimator: Any
    jobs: list[Any]
    present: Any


async def _prepare(request: Request, present: Any, say: Callable[[str], None], *, pull: bool) -> _Setting:
    """Wire the engines of the wanted sites and find out what is missing.

    Args:
        request: What was asked for.
        present: What the output holds.
        say: Told about weights that have to be fetched.
        pull: Whether to fetch them.
    """
    from bench.run_estimate import Estimator
    from bench.run_generate import CAPS, DEFAULT_CAP
    from bench.run_jobs import Present, check_prompts, missing_jobs
    from bench.run_output import read_present
    from bench.runner import digests_of
    from router.service.instruments import build_meters
    from router.service.seed import shipped_file
    from router.service.wiring import load_federation

    catalogue = load_federation(request.settings)
    options = request.selection.options(catalogue)
    check_prompts(request.items, present, str(request.output))
    used = {option.site for option in options}
    catalogue = replace(catalogue, sites={name: site for name, site in catalogue.sites.items() if name in used})
    meters, slots = build_meters(catalogue), min(request.selection.concurrency)
    rig = _rig(catalogue, request, slots, meters)
    shipped = Present() if request.remeasure else read_present(shipped_file())

    def missing(digests: Mapping[tuple[str, str], str]) -> list[Any]:
        return missing_jobs(request.items, options, request.selection, [present, shipped], catalogue, digests)

    try:
        digests = await digests_of(rig)
        jobs = missing(digests)
        if pull:
            unserved = {job.option.model for job in jobs if (job.option.site, job.option.model) not in digests}
            if _pull(catalogue, unserved, request.settings.cache_dir, say):
                jobs = missing(await digests_of(rig))
    except BaseException:
        await _close(rig)
        raise
    estimator = Estimator(catalogue, CAPS, DEFAULT_CAP)
    estimator.learn(shipped.measurements)
    estimator.learn(present.measurements)
    return _Setting(catalogue, rig, slots, meters, estimator, jobs, present)


def _rig(catalogue: Any, request: Request, slots: int, meters: Any) -> Any:
    """Engines that take at least so many generations at a time.

    Each level has engines of its own: one with sixteen slots need not run a lone generation as one with a single slot
    does. Every slot has a context window of its own in memory; above one they are as long as the prompts need.
    """
    from bench.run_generate import CAPS, DEFAULT_CAP
    from bench.run_levels import window_tokens
    from bench.runner import Rig
    from router.service.wiring import build_backends

    sites = {name: replace(site, slots=max(site.slots, slots)) for name, site in catalogue.sites.items()}
    models = catalogue.models
    if slots > 1:
        window = window_tokens(request.items, [*CAPS.values(), DEFAULT_CAP])
        models = {name: replace(model, context=min(model.context or window, window)) for name, model in models.items()}
    changed = replace(catalogue, sites=sites, models=models)
    return Rig(changed, build_backends(changed, request.settings), meters)


def _pull(catalogue: Any, models: set[str], cache_dir: Path, say: Callable[[str], None]) -> bool:
    """Fetch the weights of models that no engine has; whether any were fetched."""
    from router.service.provision import missing, pull

    fetched = False
    for absent in missing(catalogue, cache_dir, only=models):
        say(f"fetching the weights of {absent.model.name} ({(absent.bytes or 0) / 1e6:.0f} MB)")
        try:
            pull(absent.model, cache_dir)
            fetched = True
        except RouterError as error:
            say(f"{absent.model.name}: {error}")
    return fetched


async def _close(rig: Any) -> None:
    for backend in rig.backends.values():
        await backend.close()


async def _forecast(request: Request) -> dict[str, Any]:
    """What a run would measure, model by model, and what it would take; nothing is generated or written."""
    from bench.run_estimate import Estimate
    from bench.run_output import read_present

    present = read_present(request.output, DISTURBED if request.redo_busy else (), is_torn=True)
    setting = await _prepare(request, present, lambda text: None, pull=False)
    await _close(setting.rig)
    names = list(dict.fromkeys(job.option.model for job in setting.jobs))
    by_model: dict[str, Estimate] = {
        name: setting.estimator.estimate([job for job in setting.jobs if job.option.model == name]) for name in names
    }
    whole: Estimate = setting.estimator.estimate(setting.jobs)
    return {"output": str(request.output), **asdict(whole), "models": {n: asdict(e) for n, e in by_model.items()}}


async def _measure(request: Request, *, quiet: bool) -> dict[str, Any]:
    """Run, level by level of concurrency, and sum up."""
    from bench.run_conditions import Conditions
    from bench.run_generate import Bounds, EngineDownError
    from bench.run_output import Output, read_present
    from bench.run_progress import reporter
    from bench.run_summary import Summary
    from bench.runner import Runner

    progress = reporter(quiet=quiet)
    summary = Summary()
    with Output(request.output) as output:
        if output.repaired_bytes:
            progress.say("the last row of an interrupted run was incomplete and is measured again")
        present = read_present(request.output, DISTURBED if request.redo_busy else ())
        setting = await _prepare(request, present, progress.say, pull=True)
        error: RouterError | None = None
        try:
            for warning in grading_trouble(request.items):
                progress.say(warning)
            conditions = Conditions(request.discipline, say=progress.say)
            for number, (slots, jobs) in enumerate(_by_level(setting.jobs, setting.slots)):
                if slots != setting.slots:
                    await _close(setting.rig)
                    setting.rig = _rig(setting.catalogue, request, slots, setting.meters)
                    setting.slots = slots
                runner = Runner(
                    setting.rig,
                    output,
                    bounds=Bounds(deadline_s=request.deadline_s),
                    reporter=progress,
                    estimator=setting.estimator,
                    conditions=conditions,
                    summary=summary,
                )
                if not number:
                    runner.regrade(request.items, present)
                if jobs:
                    await runner.run(jobs)
        except EngineDownError as down:
            error = down
        except asyncio.CancelledError:
            progress.say(f"stopped; {summary.measured} rows are saved, the same command goes on from there")
            raise
        finally:
            await _close(setting.rig)
    return {
        **asdict(summary),
        "output": str(request.output),
        "left": len(setting.jobs) - summary.measured,
        "error": None if error is None else str(error),
    }


def _by_level(jobs: Sequence[Any], first: int) -> Iterator[tuple[int, list[Any]]]:
    """Jobs by how many run at a time; the level engines are up for comes first, with no jobs if need be."""
    levels = dict.fromkeys([first, *sorted({job.concurrency for job in jobs})])
    for level in levels:
        yield level, [job for job in jobs if job.concurrency == level]
