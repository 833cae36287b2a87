"""``carbon-router models rank``: the green ranking."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from router.cli.output import JsonOption, print_json, print_table
from router.config.settings import load_settings
from router.domain.catalogue import Catalogue
from router.domain.errors import ConfigError
from router.domain.reading import Intensity

HELP = """Rank models and directives by grams CO2e per 1,000 requests, greenest first, by category and overall.

From the measured prompts, at the present grid intensity and marginal joules, with a 95 % interval over prompts and the
quality beside it. Models never measured are listed by what their size leads to expect, and marked.
"""


def rank(
    category: Annotated[str | None, typer.Option(metavar="A,B", help="Only these categories.")] = None,
    models_file: Annotated[Path | None, typer.Option("--models", help="The federation; default models.yaml.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the ranking."""
    from router.service.foretell import calibrate
    from router.service.ranking import OVERALL
    from router.service.ranking import rank as ranked
    from router.service.wiring import load_federation, open_store

    settings = load_settings(models_file=models_file)
    catalogue = load_federation(settings)
    measurements, _ = open_store(settings, catalogue).store.all()
    wanted = [name.strip() for name in (category or "").split(",") if name.strip()]
    known = sorted({m.category for m in measurements if m.category})
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"no measured prompt is of the category {name!r}",
                key="--category",
                hint=f"there are {', '.join(known)}",
            )
    sizes = {name: model.parameters for name, model in catalogue.models.items()}
    intensities = asyncio.run(_intensities(catalogue))
    rows = ranked(
        measurements,
        catalogue,
        intensities,
        {site: calibrate(measurements, sizes, site) for site in catalogue.sites},
        categories=wanted,
    )
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    for name, intensity in intensities.items():
        typer.echo(f"intensity at {name}: {intensity.g_per_kwh:g} g/kWh, {intensity.in_words}")
    if not rows:
        typer.echo("nothing to rank: no option has measured joules at a known grid intensity; run `make bench`")
    elif all(row.embodied_g_per_1000 is None for row in rows):
        typer.echo("without the embodied part, which is not known for every option")
    for title in dict.fromkeys(row.category for row in rows):
        print_table(
            ["option", "g per 1,000", "95 %", "of it embodied", "joules", "quality", "n", "joules are", "from"],
            [
                [
                    row.option,
                    row.g_per_1000,
                    "unknown" if row.g_low is None else f"{row.g_low:.3g} to {row.g_high:.3g}",
                    row.embodied_g_per_1000,
                    row.energy_j,
                    row.quality,
                    row.n or None,
                    row.method,
                    row.source if row.basis == "estimate" else row.source.removeprefix("measured on "),
                ]
                for row in rows
                if row.category == title
            ],
            title=f"\n{'all categories' if title == OVERALL else title}",
        )


async def _intensities(catalogue: Catalogue) -> dict[str, Intensity]:
    from router.cli.estimate import intensity_of

    found = {name: await intensity_of(site) for name, site in catalogue.sites.items()}
    return {name: value for name, value in found.items() if value is not None}
