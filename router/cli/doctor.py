"""``carbon-router doctor``: what this machine has, in plain words, and what to do about what is missing."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from router.cli.output import JsonOption, print_json
from router.config.settings import load_settings
from router.domain.errors import RouterError

if TYPE_CHECKING:
    from router.service.assembly import Service

HELP = "Say what this machine has (engine, meter, embedder, store, intensity, journal) and what to do about the rest."
_COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "missing": typer.colors.RED}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: What it is about.
        state: ``ok``, ``warning`` (works, with less than it could) or ``missing`` (does not work).
        text: What was found.
        todo: What to do about it, or None.
    """

    part: str
    state: Literal["ok", "warning", "missing"]
    text: str
    todo: str | None = None


def doctor(
    models_file: Annotated[Path | None, typer.Option("--models", help="The federation; default models.yaml.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at everything, print it, and exit with 1 if something does not work."""
    findings = asyncio.run(_examine(models_file))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.secho(f"{finding.state:<8}", fg=_COLOURS[finding.state], nl=False)
            typer.echo(f"{finding.part}: {finding.text}")
            if finding.todo:
                typer.echo(f"{'':8}  -> {finding.todo}")
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


async def _examine(models_file: Path | None) -> list[Finding]:
    from router.service import wiring

    settings = load_settings(models_file=models_file)
    try:
        catalogue = wiring.load_federation(settings)
    except RouterError as error:
        return [Finding("federation", "missing", error.message, error.hint or f"mend {settings.models_file}")]
    findings = [
        Finding(
            "federation",
            "ok",
            f"{len(catalogue.models)} models, {len(catalogue.directives)} directives, floor {catalogue.floor} "
            f"({settings.models_file})",
        )
    ]
    try:
        service = wiring.build(settings, catalogue)
    except RouterError as error:
        return [*findings, Finding("service", "missing", error.message, error.hint)]
    try:
        await service.engines.refresh(force=True)
        findings += await _engines(service)
        findings += _meters(service)
        findings.append(_embedder(service))
        findings.append(_store(service))
        findings += await _intensity(service)
        findings.append(Finding("journal", "ok", f"turns are kept in {settings.journal_file}"))
    finally:
        await service.close()
    return findings


async def _engines(service: Service) -> list[Finding]:
    findings = []
    for site, reason in service.engines.down.items():
        findings.append(Finding(f"engine at {site}", "missing", reason, "start the engine, or correct the site's url"))
    for model in service.catalogue.models.values():
        plain = [o for o in service.catalogue.options() if o.model == model.name and o.directive == "L0"]
        served = [f"{name} at {o.site}" for o in plain if (name := await service.engine_name(o))]
        if served:
            findings.append(Finding(f"model {model.name}", "ok", f"served by {', '.join(served)}"))
        elif model.weights is not None and model.weights.path is not None:
            todo = "carbon-router models check says why; correct weights.path in models.yaml"
            findings.append(Finding(f"model {model.name}", "warning", f"{model.weights.path} cannot be used", todo))
        elif model.weights is not None:
            todo = f"carbon-router models pull {model.name}"
            findings.append(Finding(f"model {model.name}", "warning", "its weights are not on this machine", todo))
        else:
            todo = f"ollama pull {model.name}, or add `weights:` to models.yaml"
            findings.append(Finding(f"model {model.name}", "warning", "no engine has it", todo))
    if not any(f.state == "ok" for f in findings):
        findings.append(Finding("engine", "missing", "no model can answer", "carbon-router models pull"))
    return findings


def _meters(service: Service) -> list[Finding]:
    findings = []
    for name, site in service.catalogue.sites.items():
        part, source = f"meter at {name}", service.meter_source(name)
        if not site.runs_here:
            findings.append(Finding(part, "warning", source))
            continue
        lacking = "; ".join(service.lacking_meters)
        if "busy core" not in source and not source.startswith("nothing"):
            refused = "; ".join(service.refused_meters)
            text = f"{source}. Not metered: {refused}" if refused else source
            todo = "its joules are missing from every figure until it can be read" if refused else None
            findings.append(Finding(part, "warning" if refused else "ok", text, todo))
        elif site.watts_per_core is None:
            findings.append(
                Finding(
                    part,
                    "warning",
                    f"joules are unknown. {lacking}",
                    f"set watts_per_core for site {name} in models.yaml",
                )
            )
        else:
            todo = "joules are modelled, not measured: put the watts of one busy core of this machine into models.yaml"
            findings.append(Finding(part, "warning", f"{source}. {lacking}", todo))
    return findings


def _embedder(service: Service) -> Finding:
    try:
        vectors = service.embedder.embed(["How many grams is one answer?"])
    except RouterError as error:
        return Finding("embedder", "missing", error.message, error.hint)
    return Finding("embedder", "ok", f"{service.embedder.name}, {vectors.shape[1]} dimensions")


def _store(service: Service) -> Finding:
    from router.service.coverage import REMEASURE

    measurements, _ = service.store.all()
    if not measurements:
        return Finding("store", "warning", "empty: every prompt takes the reference", "make bench")
    local = sum(m.origin == "local" for m in measurements)
    text = f"{len(measurements)} measured prompts, {local} of them measured on this machine"
    if local == 0:
        return Finding("store", "warning", text, f"{REMEASURE} measures your models on your hardware")
    return Finding("store", "ok", text)


async def _intensity(service: Service) -> list[Finding]:
    from router.service.grid import read_grid

    grid = await read_grid(service.sources, service.catalogue)
    findings = []
    for name in service.catalogue.sites:
        part, value, health = f"intensity at {name}", grid.intensities.get(name), grid.health.get(name)
        why = health.last_error if health is not None else None
        if value is None:
            todo = (
                f"set intensity_g_per_kwh for site {name} in models.yaml, or intensity_fallback_g_per_kwh beside zone"
            )
            findings.append(Finding(part, "missing", f"unknown: {why}" if why else "unknown", todo))
            continue
        text = f"{value.g_per_kwh:g} g/kWh, {value.in_words}"
        if value.stale:
            todo = "it is used until the source answers again; look at its address, token and zone"
            findings.append(Finding(part, "warning", f"{text}: {why}" if why else text, todo))
        else:
            findings.append(Finding(part, "ok", text))
    return findings
