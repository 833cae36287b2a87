"""``carbon-router models``: what the federation has, checking it, fetching weights."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from router.backends.weights import Progress as FetchProgress
from router.backends.weights import cache_file, cached_path, verify
from router.cli.output import JsonOption, print_json, print_table
from router.config.federation import load_catalogue
from router.config.settings import load_settings
from router.domain.catalogue import Catalogue, Model
from router.domain.errors import ConfigError
from router.domain.record import Measurement
from router.service.provision import missing, pull

app = typer.Typer(help="List, check and fetch the models of models.yaml.", no_args_is_help=True)
ModelsFile = Annotated[Path | None, typer.Option("--models", help="The federation; default models.yaml.")]


@app.command(
    "list", help="Every model, where it can run, on how many prompts it was measured, or what its size leads to expect."
)
def list_models(models_file: ModelsFile = None, as_json: JsonOption = False) -> None:
    """Print the models."""
    from router.service.wiring import build, load_federation

    settings = load_settings(models_file=models_file)
    catalogue = load_federation(settings)
    service = build(settings, catalogue)

    async def look() -> list[dict[str, object]]:
        await service.engines.refresh(force=True)
        measured = service.measured_counts()
        rows: list[dict[str, object]] = []
        for option in catalogue.options():
            if option.directive != "L0":
                continue
            model = catalogue.models[option.model]
            rows.append(
                {
                    "model": model.name,
                    "site": option.site,
                    "parameters": model.parameters,
                    "licence": model.licence,
                    "engine": await service.engine_name(option) or "not available",
                    "measured_prompts": measured.get(model.name, 0),
                }
            )
        _add_estimates(rows, service.store.all()[0], catalogue)
        await service.close()
        return rows

    rows = asyncio.run(look())
    if as_json:
        print_json(rows)
        return
    print_table(list(rows[0]) if rows else [], [list(row.values()) for row in rows])


def _add_estimates(rows: list[dict[str, object]], measurements: Sequence[Measurement], catalogue: Catalogue) -> None:
    """Give models that were never measured what their size leads to expect; None for the others."""
    from router.service.foretell import calibrate
    from router.service.ranking import mean_lengths

    sizes = {name: model.parameters for name, model in catalogue.models.items()}
    for row in rows:
        site, size = str(row["site"]), sizes[str(row["model"])]
        row["estimated_j"] = row["estimated_from"] = None
        if row["measured_prompts"] == 0 and size is not None:
            calibration = calibrate(measurements, sizes, site)
            told = calibration.estimator.estimate(size, *mean_lengths(measurements, site))
            row["estimated_j"] = told.energy_j
            row["estimated_from"] = f"{calibration.kind} rows" + (", extrapolated" if told.extrapolated else "")


@app.command(help="Check models.yaml and say what is wrong with file, line and key.")
def check(models_file: ModelsFile = None) -> None:
    """Load the federation and report."""
    from router.policy.registry import POLICY_NAMES
    from router.service.instruments import build_source

    settings = load_settings(models_file=models_file)
    catalogue = load_catalogue(settings.models_file, policies=POLICY_NAMES)
    for site in catalogue.sites.values():
        build_source(site)  # a trace is a file of its own, which may be missing or damaged
    for model in catalogue.models.values():
        if model.weights is None:
            continue
        if model.weights.path is None and not cache_file(model.name, model.weights, settings.cache_dir).exists():
            typer.echo(f"{model.name}: its weights are not here yet (`carbon-router models pull {model.name}`)")
            continue
        verify(model.name, model.weights, settings.cache_dir)
    typer.echo(
        f"{settings.models_file} is fine: {len(catalogue.models)} models x {len(catalogue.directives)} directives "
        f"on {len(catalogue.sites)} site(s), {len(catalogue.options())} options; floor {catalogue.floor}"
    )


@app.command("pull", help="Fetch and verify missing weights for the embedded engine; all of them by default.")
def pull_models(
    names: Annotated[list[str] | None, typer.Argument(help="Models to fetch; default all.")] = None,
    models_file: ModelsFile = None,
) -> None:
    """Fetch weights."""
    settings = load_settings(models_file=models_file)
    catalogue = load_catalogue(settings.models_file)
    wanted = _chosen(catalogue, names)
    absent = missing(catalogue, settings.cache_dir, only=[model.name for model in wanted])
    pull_with_progress([item.model for item in absent], settings.cache_dir)
    for model in wanted:
        if model.weights is not None and cached_path(model, settings.cache_dir) is not None:
            typer.echo(f"{model.name} is there")
        elif model.weights is None:
            typer.echo(f"{model.name} has no weights in {settings.models_file}: its engine has to bring them")
        else:
            raise ConfigError(
                f"{model.weights.path}, the weights of {model.name}, cannot be used",
                hint="`carbon-router models check` says why; correct weights.path in models.yaml",
            )


def _chosen(catalogue: Catalogue, names: Sequence[str] | None) -> list[Model]:
    unknown = [name for name in names or [] if name not in catalogue.models]
    if unknown:
        raise ConfigError(f"no model is called {unknown[0]!r}", hint=f"known are {', '.join(catalogue.models)}")
    return [catalogue.models[name] for name in names] if names else list(catalogue.models.values())


def pull_with_progress(models: Sequence[Model], cache_dir: Path) -> None:
    """Fetch weights one model after the other, showing how far each has come."""
    stages = {"waiting": "waiting for another fetch", "download": "fetching", "join": "verifying", "done": "done"}
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    for model in models:
        with Progress(*columns) as progress:
            task = progress.add_task(f"{model.name}: fetching", total=None)

            def show(step: FetchProgress) -> None:
                progress.update(
                    task,  # noqa: B023
                    description=f"{step.model}: {stages[step.stage]}",
                    completed=step.done_bytes,
                    total=step.total_bytes,
                )

            pull(model, cache_dir, show)
