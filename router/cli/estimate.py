"""``carbon-router estimate``: what a prompt would take on a model that was never run here."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import JsonOption, milligrams, print_json, print_table
from router.config.settings import load_settings
from router.domain.errors import ConfigError, RequestError
from router.domain.reading import Intensity

if TYPE_CHECKING:
    from router.domain.catalogue import Catalogue, Site
    from router.estimate.rice_parts import Part, RiceEstimate
    from router.service.foretell import Calibration, Foretold

HELP = """Estimate joules, seconds and grams of one prompt on a model of any size, with a 90 % interval.

Calibrated on what was measured at the site where there is anything, else on public runtimes, which are about other
hardware. Beside it, R-ICE by its parts: each is the paper's default until models.yaml or an option says otherwise.
"""


def estimate(
    prompt_tokens: Annotated[float, typer.Option(help="Tokens to read.")],
    output_tokens: Annotated[float, typer.Option(help="Tokens to write.")],
    parameters: Annotated[float | None, typer.Option(help="Size of the model, as a count such as 7e9.")] = None,
    model: Annotated[str | None, typer.Option(help="A model of models.yaml instead of a size.")] = None,
    site: Annotated[str | None, typer.Option(help="A site of models.yaml; default the model's first.")] = None,
    devices: Annotated[float | None, typer.Option(help="R-ICE: devices the model is spread over.")] = None,
    tdp_watts: Annotated[float | None, typer.Option(help="R-ICE: thermal design power of one device.")] = None,
    utilisation: Annotated[float | None, typer.Option(help="R-ICE: share of it that is drawn.")] = None,
    per_token_s: Annotated[float | None, typer.Option(help="R-ICE: seconds of an output token.")] = None,
    prompt_s: Annotated[float | None, typer.Option(help="R-ICE: seconds to read the prompt.")] = None,
    pue: Annotated[float | None, typer.Option(help="Power usage effectiveness; default the site's.")] = None,
    intensity: Annotated[float | None, typer.Option(help="gCO2e/kWh; default the site's figure or source.")] = None,
    models_file: Annotated[Path | None, typer.Option("--models", help="The federation; default models.yaml.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the estimate."""
    from router.estimate.rice_parts import rice_by_parts
    from router.service.foretell import foretell
    from router.service.wiring import load_federation

    settings = load_settings(models_file=models_file)
    catalogue = load_federation(settings)
    size, where = _subject(parameters, model, site, catalogue)
    stated = {
        "devices": devices, "tdp_w": tdp_watts, "utilisation": utilisation, "per_token_s": per_token_s,
        "prompt_s": prompt_s, "pue": pue, "intensity_g_per_kwh": intensity,
    }  # fmt: skip
    # What cannot be is refused before anything is loaded.
    rice_by_parts(size, prompt_tokens, output_tokens, stated=stated)
    grid = asyncio.run(intensity_of(where, intensity))
    rice = rice_by_parts(size, prompt_tokens, output_tokens, stated=stated, sourced=_sourced(where, grid))
    calibration = calibrated(settings, catalogue, where.name)
    found = foretell(
        calibration,
        size,
        prompt_tokens,
        output_tokens,
        site=where if pue is None else replace(where, pue=pue),
        intensity=grid,
    )
    if as_json:
        print_json(_as_json(model, size, prompt_tokens, output_tokens, where, found, calibration, rice))
    else:
        _print(model, size, where, found, calibration, rice)


def calibrated(settings: Any, catalogue: Catalogue, site: str) -> Calibration:
    """What estimates at a site rest on, from the store of the settings."""
    from router.service.foretell import calibrate
    from router.service.wiring import open_store

    sizes = {name: model.parameters for name, model in catalogue.models.items()}
    measurements, _ = open_store(settings, catalogue).store.all()
    return calibrate(measurements, sizes, site)


def _subject(parameters: float | None, model: str | None, site: str | None, catalogue: Catalogue) -> tuple[float, Site]:
    """The size and the site that are meant."""
    if (parameters is None) == (model is None):
        raise RequestError("give the size or the model, one of the two", hint="--parameters 7e9, or --model NAME")
    home = next(iter(catalogue.sites))
    if model is not None:
        if model not in catalogue.models:
            known = ", ".join(catalogue.models)
            raise ConfigError(f"no model is called {model!r}", hint=f"known are {known}; or give --parameters")
        parameters, home = catalogue.models[model].parameters, catalogue.models[model].sites[0]
        if parameters is None:
            raise ConfigError(
                f"the size of {model} is not known", hint="put `parameters:` into models.yaml, or give --parameters"
            )
    name = site or home
    if name not in catalogue.sites:
        raise ConfigError(f"no site is called {name!r}", hint=f"known are {', '.join(catalogue.sites)}")
    assert parameters is not None
    return parameters, catalogue.sites[name]


async def intensity_of(site: Site, stated: float | None = None) -> Intensity | None:
    """As stated, else what the site's source says now; None where nobody knows."""
    from router.service.instruments import build_source

    if stated is not None:
        return Intensity(stated, site.zone, "an option of the command")
    source = build_source(site)
    try:
        return await source.intensity(site.zone)
    finally:
        close = getattr(source, "close", None)  # those that ask the web keep a connection
        if close is not None:
            await close()


def _sourced(site: Site, grid: Intensity | None) -> dict[str, Part]:
    from router.estimate.rice_parts import UNITS, Part

    parts = {"pue": Part(site.pue, UNITS["pue"], "source", f"site {site.name} in models.yaml")}
    if grid is not None:
        unit = UNITS["intensity_g_per_kwh"]
        parts["intensity_g_per_kwh"] = Part(grid.g_per_kwh, unit, "source", grid.in_words)
    return parts


def _as_json(
    model: str | None, size: float, prompt: float, output: float, site: Site, found: Foretold, used: Calibration,
    rice: RiceEstimate,
) -> dict[str, Any]:  # fmt: skip
    return {
        "model": model,
        "parameters": size,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "site": site.name,
        **asdict(found),
        "calibration": {
            "kind": used.kind, "source": used.source, "rows": used.rows, "models": list(used.models),
            "sizes": list(used.sizes),
        },
        "rice": asdict(rice),
    }  # fmt: skip


def _print(model: str | None, size: float, site: Site, found: Foretold, used: Calibration, rice: RiceEstimate) -> None:
    e, t, g = found.energy_j, found.duration_s, found.grams
    typer.echo(f"{model or 'a model'} of {size:.3g} parameters at {site.name}, one prompt ({found.method})")
    typer.echo(f"  {e.value:.4g} J    (90 %: {e.low:.3g} to {e.high:.3g}), the device's, without PUE")
    typer.echo(f"  {t.value:.4g} s    (90 %: {t.low:.3g} to {t.high:.3g})")
    if g.value is None:
        typer.echo(f"  grams unknown: {_missing(found)}; energy alone: {milligrams(found.operational_g)}")
    else:
        typer.echo(
            f"  {milligrams(g.value)} CO2e (90 %: {milligrams(g.low)} to {milligrams(g.high)}): "
            f"{milligrams(found.operational_g)} from energy, {milligrams(found.embodied_g)} embodied"
        )
    typer.echo(f"calibrated on {used.kind} rows: {used.source}")
    if found.extrapolated:
        low, high = used.sizes
        typer.echo(f"extrapolated: the sizes seen are {low:.3g} to {high:.3g}; the interval widens with the distance")
    typer.echo(
        f"\nR-ICE by its parts: {rice.energy_j:.4g} J with PUE, {rice.duration_s:.4g} s, "
        f"{milligrams(rice.operational_g)} CO2e from energy"
        + ("; the size is outside those it was fitted on" if rice.extrapolated else "")
    )
    print_table(
        ["part", "value", "unit", "from", "source"],
        [[name, part.value, part.unit, part.origin, part.source] for name, part in rice.parts.items()],
    )


def _missing(found: Foretold) -> str:
    parts = [("the grid intensity", found.operational_g), ("the site's embodied carbon", found.embodied_g)]
    return " and ".join(name for name, value in parts if value is None)
