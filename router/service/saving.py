"""What routing saved: of the requests, and of the whole site with its idle joules and the router's own.

The requests' saving compares each answer with the reference by the same method, at marginal grams. The site's compares
what the reserved hardware emitted over the period with what it would have emitted had the reference answered everything
and no router run: idle joules and the hardware's manufacture are the same on both sides, so it is the smaller share,
and the smaller the less the hardware is used. The utilisation is therefore always stated, and can be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.domain.catalogue import Site
from router.domain.errors import RequestError
from router.domain.sci import footprint
from router.service.tally import Tallies, Tally


@dataclass(frozen=True, slots=True)
class RequestSaving:
    """Over the requests of which it is known.

    Attributes:
        saved_g: Grams saved against the reference; negative where more was emitted. None where nothing is known.
        baseline_g: Grams of the reference for the same answers.
        share: The first by the second.
        known: Requests it is about.
        unknown: Requests of which it is not known.
    """

    saved_g: float | None
    baseline_g: float | None
    share: float | None
    known: int
    unknown: int


@dataclass(frozen=True, slots=True)
class SiteSaving:
    """Over the period, hardware and router included. Unknown is None, and ``unknown`` says why.

    Attributes:
        saved_g: Grams saved; idle and manufacture cancel, so these may be known where the share is not.
        baseline_g: Grams of the sites, had the reference answered everything.
        share: The first by the second.
        utilisation: Share of the time the devices work on requests, which these figures are for.
        baseline_utilisation: The same had the reference answered; above 1 it needs more hardware than there is.
        is_stated: Whether the utilisation was stated; otherwise it is the period's own.
        router_g: Grams of the router's own joules, in the saving already.
        benchmark_g: Grams of benchmark runs charged to these requests, in the saving already.
        unknown: What is missing for a figure that is None.
        left_out: Requests that are on neither side, since their joules or the reference's are not known.
    """

    saved_g: float | None
    baseline_g: float | None
    share: float | None
    utilisation: float | None
    baseline_utilisation: float | None
    is_stated: bool
    router_g: float | None
    benchmark_g: float | None
    unknown: tuple[str, ...] = ()
    left_out: int = 0


def request_saving(all_: Tally) -> RequestSaving:
    """The saving of the requests that is known."""
    missing = all_.saved_g.unknown
    known = all_.answered - all_.baseline_g.unknown
    if known <= 0 or missing >= all_.answered:
        return RequestSaving(None, None, None, 0, all_.requests)
    share = all_.saved_g.known / all_.baseline_g.known if all_.baseline_g.known > 0 else None
    return RequestSaving(all_.saved_g.known, all_.baseline_g.known, share, known, all_.unknown + missing)


def checked_utilisation(utilisation: float | None) -> float | None:
    """A stated utilisation.

    Raises:
        RequestError: If it is no share of the time.
    """
    if utilisation is not None and not 0.0 < utilisation <= 1.0:
        raise RequestError(
            f"{utilisation:g} is no utilisation", param="utilisation", hint="give a share above 0 and up to 1, e.g. .3"
        )
    return utilisation


def site_saving(
    tallies: Tallies,
    sites: Mapping[str, Site],
    *,
    period_s: float,
    idle_w: Mapping[str, float | None],
    router_g: float | None,
    benchmark_g: float | None = 0.0,
    utilisation: float | None = None,
) -> SiteSaving:
    """The saving of the sites that answered.

    Args:
        tallies: The turns.
        sites: By name.
        period_s: Length of the period.
        idle_w: Idle watts of the devices, by site.
        router_g: Grams of the router's own joules, or None.
        benchmark_g: Grams of benchmark runs charged to these requests, or None.
        utilisation: To state it for another one than the period's.
    """
    unknown: list[str] = []
    all_ = tallies.all
    busy_s = all_.all_device_s.value
    baseline_busy_s = all_.baseline_device_s.known + all_.unbaselined_s if all_.answered else None
    count = len(tallies.by_site)
    observed = None if busy_s is None or period_s <= 0 or not count else min(1.0, busy_s / (period_s * count))
    asked = checked_utilisation(utilisation)
    rate = observed if asked is None else asked
    stretch = 1.0 if asked is None else (observed / asked if observed else None)
    saved_g: float | None = None
    baseline = all_.baseline_operational_g
    if all_.is_blank:
        unknown.append(f"joules or grams of {all_.unknown} requests")
    elif all_.answered and baseline.unknown == all_.answered:
        unknown.append(f"joules of the reference for {baseline.unknown} answers")
    if router_g is None:
        unknown.append("the router's own joules")
    if benchmark_g is None:
        unknown.append("joules of benchmark runs")
    if not unknown and all_.answered and router_g is not None and benchmark_g is not None:
        saved_g = baseline.known - (all_.operational_g - all_.unbaselined_g) - router_g - benchmark_g
    standing_g = _standing_g(tallies, sites, idle_w, period_s, stretch, unknown)
    baseline_g = None if saved_g is None or standing_g is None else baseline.known + standing_g
    return SiteSaving(
        saved_g=saved_g,
        baseline_g=baseline_g,
        share=None if saved_g is None or not baseline_g else saved_g / baseline_g,
        utilisation=rate,
        baseline_utilisation=None if not busy_s or baseline_busy_s is None or rate is None
        else rate * baseline_busy_s / busy_s,
        is_stated=asked is not None,
        router_g=router_g,
        benchmark_g=benchmark_g,
        unknown=tuple(unknown),
        left_out=all_.unknown + baseline.unknown,
    )  # fmt: skip


def _standing_g(
    tallies: Tallies,
    sites: Mapping[str, Site],
    idle_w: Mapping[str, float | None],
    period_s: float,
    stretch: float | None,
    unknown: list[str],
) -> float | None:
    """Grams that the hardware emits whatever it answers: idle joules and manufacture, over the (stretched) period."""
    total = 0.0
    for name, tally in tallies.by_site.items():
        watts, site = idle_w.get(name), sites.get(name)
        if watts is None:
            unknown.append(f"idle watts of {name}")
        if site is None or site.k1_g_per_s is None:
            unknown.append(f"embodied carbon of {name}")
        if tally.intensity.mean is None:
            unknown.append(f"grid intensity of {name}")
        if stretch is None or watts is None or site is None:
            continue
        seconds = period_s * stretch
        grams = footprint(
            watts * seconds,
            seconds,
            intensity_g_per_kwh=tally.intensity.mean,
            pue=tally.pue.mean or site.pue,
            k1_g_per_s=site.k1_g_per_s,
        )
        total += grams.total_g or 0.0
    if stretch is None:
        unknown.append("device seconds, for the utilisation")
    blocked = any(text.startswith(("idle", "embodied", "grid", "device")) for text in unknown)
    return None if blocked else total
