"""``carbon-router report``: what the answers of a period emitted, by the SCI specification, and what routing saved."""

from __future__ import annotations

import platform
import re
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import router
from router.cli.output import JsonOption, percent, print_json, print_table
from router.config.settings import load_settings
from router.domain.errors import ConfigError, JournalError, RequestError
from router.service.report_figures import AMORTISED_OVER, Assumptions, Period, Report, Score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.domain.catalogue import Catalogue
    from router.domain.ports import Journal

HELP = """Report the carbon of a period by the SCI specification (ISO/IEC 21031), with every coefficient and its source.

Both scores are per answered prompt: attributed counts all of the reserved hardware, idle power and manufacture over the
whole period; marginal only what the requests themselves took, which is what decisions rest on. What is not known is
said, and left out of no sum silently.
"""
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(m|h|d|w)")
_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_When = (
    "a date such as 2026-11-01 or 2026-11-01T08:00 (UTC unless it says otherwise), or how long ago, such as 24h or 7d"
)


def report(
    since: Annotated[str | None, typer.Option(help="Begin; default the journal's first request. " + _When)] = None,
    until: Annotated[str | None, typer.Option(help="End; default now.")] = None,
    as_json: JsonOption = False,
    format_: Annotated[
        Literal["text", "json", "impact-framework"],
        typer.Option("--format", help="text, json, or a manifest (YAML) of the Impact Framework."),
    ] = "text",
    idle_watts: Annotated[
        list[str] | None,
        typer.Option("--idle-watts", metavar="[SITE=]W", help="Idle watts of a site's machine where no meter says."),
    ] = None,
    benchmark_requests: Annotated[
        int, typer.Option(min=1, help="Requests over which the joules of `bench run` are spread.")
    ] = AMORTISED_OVER,
    utilisation: Annotated[
        float | None, typer.Option(help="State the site's saving for this share of busy time, e.g. .3.")
    ] = None,
    models_file: Annotated[Path | None, typer.Option("--models", help="The federation; default models.yaml.")] = None,
) -> None:
    """Print the report."""
    from router.service.saving import checked_utilisation
    from router.service.wiring import load_federation, open_journal

    if as_json:
        if format_ == "impact-framework":
            raise ConfigError("--json and --format impact-framework ask for two formats", hint="leave one of them out")
        format_ = "json"
    settings = load_settings(models_file=models_file)
    catalogue = load_federation(settings)
    assumptions = Assumptions(
        _idle_watts(idle_watts or [], catalogue), benchmark_requests, checked_utilisation(utilisation)
    )
    now = time.time()
    begin, end = _moment(since, "--since", now), _moment(until, "--until", now)
    _check_there(settings.journal_file)
    with closing(open_journal(settings)) as journal:
        found = _compute(journal, begin, end, now, catalogue, assumptions, settings.measurements_dir)
    if format_ == "impact-framework":
        import yaml

        from router.service.manifest import manifest

        typer.echo(yaml.safe_dump(manifest(found, catalogue), sort_keys=False, allow_unicode=True, width=100), nl=False)
    elif format_ == "json":
        print_json({**asdict(found), "period": _period_json(found.period)})
    else:
        _print(found)


def _check_there(file: Path) -> None:
    """Refuse to report of a journal that opening would make: it is empty, and mostly in the wrong folder.

    Raises:
        JournalError: If there is none.
    """
    try:
        file.stat()
    except FileNotFoundError:
        raise JournalError(
            f"there is no journal {file.absolute()}",
            hint="run it where the server runs, or set ROUTER_DATA_DIR to the server's data folder",
        ) from None
    except OSError:
        pass  # opening it tells what is wrong


def _compute(
    journal: Journal,
    begin: float | None,
    end: float | None,
    now: float,
    catalogue: Catalogue,
    assumptions: Assumptions,
    measurements: Path,
) -> Report:
    from router.service.benchmarks import read_benchmarks
    from router.service.report import build_report
    from router.service.tally import tally

    until = now if end is None else end
    first = next(iter(journal.turns(limit=1)), None)
    # Before its first request there was no router whose hardware could be reserved.
    start = max(begin or 0.0, first.started_at) if first else (begin if begin is not None else until)
    if start > until:
        raise RequestError(
            f"the period ends ({_utc(until)}) before it begins ({_utc(start)})",
            param="until",
            hint=f"the journal begins {_utc(first.started_at)}" if first else "give an earlier --since",
        )
    found = tally(journal.turns(since=start), until=until)
    return build_report(
        found,
        catalogue,
        Period(start, until),
        benchmarks=read_benchmarks(measurements),
        assumptions=assumptions,
        versions={"carbon-router": router.__version__, "python": platform.python_version(), "report": "1"},
    )


def _moment(text: str | None, option: str, now: float) -> float | None:
    """Unix seconds of a date, or of so long ago."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return now - float(ago[1]) * _SECONDS[ago[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(f"{text!r} is no time", key=option, hint=f"give {_When}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _idle_watts(given: Sequence[str], catalogue: Catalogue) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            watts = float(number)
        except ValueError:
            watts = -1.0
        if not 0.0 <= watts < 1e7:
            raise ConfigError(f"{text!r} says no watts", key="--idle-watts", hint="give 12 or local=12")
        if name and name not in catalogue.sites:
            raise ConfigError(
                f"no site is called {name!r}", key="--idle-watts", hint=f"known are {', '.join(catalogue.sites)}"
            )
        found |= dict.fromkeys([name] if name else catalogue.sites, watts)
    return found


def _period_json(period: Period) -> dict[str, object]:
    return {"since": _utc(period.since), "until": _utc(period.until), "seconds": period.seconds}


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(found: Report) -> None:
    requests = found.requests
    typer.echo(f"SCI report ({found.standard}), per {found.functional_unit}")
    typer.echo(f"{_utc(found.period.since)} to {_utc(found.period.until)} ({found.period.seconds / 3600:.2f} h)")
    typer.echo(
        f"{requests['answered']} answered, {requests['failed']} failed, {requests['cancelled']} cancelled; "
        f"{requests['generations']} generations, {requests['of_unknown_energy']} requests of unknown joules"
    )
    for note in found.notes:
        typer.echo(f"note: {note}")
    _print_score("attributed", found.attributed)
    _print_score("marginal", found.marginal)
    typer.echo(
        f"baseline: {', '.join(found.baseline.option) or 'unknown'}, {_mass(found.baseline.g_per_request)} a prompt at "
        f"marginal grams ({found.baseline.method})"
    )
    _print_savings(found)
    typer.echo("")
    print_table(
        ["component", "site", "joules", "CO2e", "method", "source"],
        [[p.name, p.site, p.energy_j, _mass(p.operational_g), p.method, p.source] for p in found.components],
    )
    for site, c in found.coefficients.items():
        typer.echo(f"\ncoefficients of {site}")
        age = "" if c.intensity_age_s is None else f", {c.intensity_age_s:.0f} s old on average"
        typer.echo(
            f"  intensity {_span(c.intensity_low, c.intensity_g_per_kwh, c.intensity_high)} g/kWh (sourced: "
            f"{_counted(c.intensity_sources)}; {_counted(c.intensity_kinds)}{age}; "
            f"{c.intensity_stale} stale, {c.intensity_estimated} estimated)"
        )
        typer.echo(f"  PUE {c.pue:g} (sourced: {c.pue_source})")
        if c.embodied_g is None:
            typer.echo("  embodied carbon unknown: put `embodied_g` for the site into models.yaml")
        else:
            low, mid, high = c.embodied_g
            life = "unknown" if c.lifetime_s is None else f"{c.lifetime_s / 31_536_000:.3g} years"
            typer.echo(
                f"  embodied {mid:g} g, from {low:g} to {high:g} (sourced: {c.embodied_source}); lifetime {life}, "
                f"{c.resource_share:.0%} reserved"
            )
        watts = "unknown" if c.idle_w is None else f"{c.idle_w:g} W ({c.idle_method})"
        typer.echo(f"  idle power {watts}: {c.idle_source}")
    typer.echo("")
    print_table(
        ["option", "site", "requests", "joules", "marginal CO2e", "attributed CO2e"],
        [
            [g.name, g.site, g.requests, g.energy_j, _mass(g.operational_g), _mass(g.attributed_g)]
            for g in found.by_option
        ],
    )
    typer.echo("\nboundary: " + "; ".join(found.boundary))
    typer.echo("not in it: " + "; ".join(found.excluded))
    typer.echo("versions: " + ", ".join(f"{name} {version}" for name, version in found.versions.items()))


def _print_score(name: str, score: Score) -> None:
    if score.g_per_request is None:
        typer.echo(f"{name} score: unknown")
        for missing in score.unknown:
            typer.echo(f"  for lack of {missing}")
        return
    typer.echo(
        f"{name} score: {_mass(score.g_per_request)} CO2e a prompt = "
        f"{_mass(score.operational_g_per_request)} from energy + {_mass(score.embodied_g_per_request)} "
        "embodied "
        f"(between {_mass(score.embodied_low_g_per_request)} and {_mass(score.embodied_high_g_per_request)}); "
        f"{_mass(score.g_per_token)} a token, {_mass(score.g_per_conversation)} a conversation"
    )


def _print_savings(found: Report) -> None:
    requests, site = found.saving_of_requests, found.saving_of_site
    typer.echo(
        f"saved, requests alone: {percent(requests.share)} ({_mass(requests.saved_g)} over {requests.known} "
        f"requests, {requests.unknown} unknown)"
    )
    stated = "stated" if site.is_stated else "the period's own"
    typer.echo(
        f"saved, the whole site with idle power, manufacture and the router itself: {percent(site.share)} "
        f"({_mass(site.saved_g)}) at a utilisation of {percent(site.utilisation)} ({stated})"
    )
    if site.unknown:
        typer.echo(f"  not known: {'; '.join(site.unknown)}")
    if site.left_out:
        typer.echo(f"  {site.left_out} requests are on neither side: their joules or the reference's are not known")
    if (site.baseline_utilisation or 0.0) > 1.0:
        typer.echo(f"  the reference alone would need {site.baseline_utilisation:.1f} times this hardware")


def _mass(grams: float | None) -> str:
    """Grams at a readable scale."""
    if grams is None:
        return "unknown"
    return f"{grams:,.1f} g" if abs(grams) >= 100 else f"{grams:.3g} g" if abs(grams) >= 1 else f"{1000 * grams:.3g} mg"


def _span(low: float | None, mean: float | None, high: float | None) -> str:
    if mean is None:
        return "unknown"
    return f"{mean:g}" if low == high else f"{mean:.4g} (from {low:g} to {high:g})"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(counts) if counts else "not journalled"
