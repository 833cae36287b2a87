"""A report by the SCI specification (ISO/IEC 21031:2024) over a period of the journal.

One functional unit for every component, R = one answered prompt::

    score = (O + M) / R
    O = sum over sites of k0 * PUE * (generation + router + idle + benchmark share) joules
    M = sum over sites of k1 * period seconds

That is the *attributed* score: all of the reserved hardware. The *marginal* one leaves idle joules out and counts the
busy seconds only; decisions rest on it. Requests of unknown joules are in neither numerator nor denominator, and are
counted; where a component is not known for a site, the score that needs it is None and says why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from router.domain.attribution import Load, attribute
from router.domain.catalogue import Catalogue, Site
from router.domain.reading import weakest
from router.domain.sci import operational_g_per_j
from router.service.benchmarks import BenchmarkEnergy
from router.service.report_book import Book
from router.service.report_figures import (
    STANDARD,
    Assumptions,
    Baseline,
    Component,
    Group,
    Period,
    Report,
)
from router.service.report_scores import attributed, marginal
from router.service.saving import request_saving, site_saving
from router.service.tally import Tallies, Tally

BOUNDARY = (
    "generation by the engines, failed and repeated attempts and the loading of models on demand included",
    "the router: embedding, also what clients have embedded, the query of the store and the decision of every request",
    "idle power of the hardware reserved at the sites that answered, over the whole period",
    "the manufacture of that hardware, over the whole period",
    "benchmark runs on this machine, spread over a stated number of requests",
)
EXCLUDED = (
    "training of the models: part of the provider's score, and not known here",
    "the client, and the network between client and router: no figure for either",
    "fitting and solving the plan in the background: only in the joules of a generation beside it",
)


def build_report(
    tallies: Tallies,
    catalogue: Catalogue,
    period: Period,
    *,
    benchmarks: BenchmarkEnergy | None = None,
    assumptions: Assumptions | None = None,
    versions: Mapping[str, str] | None = None,
) -> Report:
    """Compute a report.

    Args:
        tallies: The turns of the period.
        catalogue: The sites, their PUE and hardware.
        period: Over which reserved hardware is charged.
        benchmarks: What measuring took, or None where nobody looked.
        assumptions: What the user states; by default nothing.
        versions: Of the software, by name.
    """
    measured, stated = benchmarks or BenchmarkEnergy(), assumptions or Assumptions()
    home = catalogue.home
    shares = idle_shares(tallies, catalogue)
    books = {
        name: Book.open(name, tally, catalogue.sites.get(name), period, measured, stated, shares.get(name, 1.0))
        for name, tally in tallies.by_site.items()
    }
    components = tuple(component for book in books.values() for component in book.components())
    components += _of_the_router(tallies, catalogue, home, measured, stated.amortised_over)
    known = tallies.all.answered
    router_g = _grams("router", components)
    benchmark_g = _grams("benchmark", components)
    return Report(
        standard=STANDARD,
        functional_unit="one answered prompt",
        period=period,
        requests=_requests(tallies.all),
        boundary=BOUNDARY,
        excluded=EXCLUDED,
        attributed=attributed(tallies, books, components),
        marginal=marginal(tallies, books, components),
        components=components,
        coefficients={name: book.coefficients(components) for name, book in books.items()},
        baseline=Baseline(
            option=dict(tallies.all.counts.get("reference", {})),
            g_per_request=None if not known or tallies.all.baseline_g.unknown else tallies.all.baseline_g.known / known,
            energy_j=tallies.all.baseline_energy_j.value if known else None,
        ),
        saving_of_requests=request_saving(tallies.all),
        saving_of_site=site_saving(
            tallies,
            catalogue.sites,
            period_s=period.seconds,
            idle_w={name: None if b.idle_w is None else b.idle_w * b.idle_share for name, b in books.items()},
            router_g=router_g,
            benchmark_g=benchmark_g,
            utilisation=stated.utilisation,
        ),
        by_option=_groups(tallies.by_option, books),
        by_category=_groups(tallies.by_category, books),
        reserved_s={name: 0.0 if book.is_blank else book.reserved_s for name, book in books.items()},
        busy_s={name: book.busy_s for name, book in books.items()},
        wasted_j=tallies.all.wasted_j.value,
        benchmark_energy_j=measured.energy_j,
        amortised_over=stated.amortised_over,
        policies=dict(tallies.all.counts.get("policy", {})),
        versions=dict(versions or {}),
        notes=_notes(tallies, measured, books),
    )


def idle_shares(tallies: Tallies, catalogue: Catalogue) -> dict[str, float]:
    """What part of this machine's idle joules each of its sites that answered is charged: by device seconds."""
    here = [name for name in tallies.by_site if name in catalogue.sites and catalogue.sites[name].runs_here]
    busy_s = {name: tallies.by_site[name].all_device_s.known for name in here}
    total_s = math.fsum(busy_s.values())
    return {name: busy_s[name] / total_s if total_s > 0 else 1.0 / len(here) for name in here}


def _of_the_router(
    tallies: Tallies, catalogue: Catalogue, home: str, measured: BenchmarkEnergy, amortised_over: int
) -> tuple[Component, ...]:
    """The router's joules and the benchmarks', both spent on this machine.

    Where the meter failed for some requests, routing them is taken to have cost what it cost for the others.
    """
    tally, site = tallies.by_site.get(home), catalogue.sites[home]
    k0, of_the_grid = _intensity_at_home(tallies, catalogue, home)
    pue = (tally.pue.mean if tally else None) or site.pue

    def grams(energy_j: float | None) -> float | None:
        return 0.0 if energy_j == 0 else None if energy_j is None or k0 is None else (
            energy_j * operational_g_per_j(k0, pue)
        )  # fmt: skip

    methods = tallies.all.counts.get("energy_method", Counter())
    routed, missing = tallies.all.router_j, tallies.all.router_j.unknown
    seen = tallies.all.requests - missing
    router_j = None if missing and not seen else routed.known * (tallies.all.requests / seen if missing else 1.0)
    router_method = weakest(methods) or "modelled"
    if router_j is None:
        source = "nothing meters this machine"
    elif missing:
        router_method = "modelled"
        source = f"the meter of this machine; of {missing} requests not known, taken as the mean of the other {seen}"
    else:
        source = "the meter of this machine, around embedding, query and decision; what clients have embedded included"
    source += of_the_grid
    spread = min(1.0, tallies.all.answered / amortised_over)
    share_j = None if measured.energy_j is None else measured.energy_j * spread
    bench_method = weakest(measured.methods)
    return (
        Component("router", home, router_j, grams(router_j), None if router_j is None else router_method, source),
        Component(
            "benchmark",
            home,
            share_j,
            grams(share_j),
            bench_method,
            f"{measured.rows} measured answers of {len(measured.runs)} runs, "
            + ("of unknown joules" if measured.energy_j is None else f"{measured.energy_j:.0f} J")
            + (f", spread over {amortised_over} requests" if spread < 1.0 else ", charged to these requests whole")
            + of_the_grid,
        ),
    )


def _intensity_at_home(tallies: Tallies, catalogue: Catalogue, home: str) -> tuple[float | None, str]:
    """Mean g/kWh of this machine over the period, and where that has to be said, whose figure it is.

    Where no answer of the period was given here, none tells it; a site that asks the same of the same source does.
    """
    site = catalogue.sites[home]
    own = tallies.by_site.get(home)
    if own is not None and own.intensity.mean is not None:
        return own.intensity.mean, ""
    if site.intensity_g_per_kwh is not None:
        return site.intensity_g_per_kwh, ""
    for name, tally in tallies.by_site.items():
        other = catalogue.sites.get(name)
        if other is not None and _grid_of(other) == _grid_of(site) and tally.intensity.mean is not None:
            return tally.intensity.mean, f"; at the intensity of {name}, which is on the same grid"
    if site.intensity_fallback_g_per_kwh is not None:
        return site.intensity_fallback_g_per_kwh, "; at intensity_fallback_g_per_kwh in models.yaml"
    return None, f"; the grid intensity at {home} in this period is not known: state intensity_fallback_g_per_kwh"


def _grid_of(site: Site) -> tuple[object, ...]:
    """What its intensity is asked by; a fixed figure is one of its own."""
    return site.zone, site.intensity_g_per_kwh, site.intensity_trace, site.intensity_kind


def _requests(tally: Tally) -> dict[str, int | None]:
    answered = tally.by_status.get("ok", 0)
    return {
        "all": tally.requests,
        "answered": answered,
        "failed": tally.by_status.get("error", 0),
        "cancelled": tally.by_status.get("cancelled", 0),
        "side_requests_of_clients": tally.side,
        "generations": tally.attempts,
        "of_unknown_energy": tally.unknown,
        "answered_of_known_energy": tally.answered,
        "conversations": None if tally.conversations.unknown else round(tally.conversations.known),
        "output_tokens": None if tally.output_tokens.unknown else round(tally.output_tokens.known),
    }


def _grams(name: str, components: tuple[Component, ...]) -> float | None:
    found = [component.operational_g for component in components if component.name == name]
    known = [grams for grams in found if grams is not None]
    return math.fsum(known) if len(known) == len(found) else None


def _groups(tallies: Mapping[tuple[str, str], Tally], books: Mapping[str, Book]) -> tuple[Group, ...]:
    found: list[Group] = []
    for site, book in books.items():
        own = [(name, tally) for (at, name), tally in tallies.items() if at == site]
        loads = [Load(tally.energy_j, tally.device_s.value) for _, tally in own]
        shares = attribute(loads, period_s=book.reserved_s, idle_w=book.idle_w, idle_s=book.idle_s)
        k1 = book.site.k1_g_per_s if book.site else None
        for (name, tally), share in zip(own, shares, strict=True):
            idle_g = book.grams(share.idle_j)
            if tally.is_blank:
                found.append(Group(name, site, tally.requests, 0, None, None, None, None))
                continue
            attributed_g = (
                None
                if idle_g is None or k1 is None or share.reserved_s is None
                else tally.operational_g + idle_g + k1 * share.reserved_s
            )
            found.append(
                Group(
                    name, site, tally.requests, tally.answered, tally.energy_j, share.idle_j, tally.operational_g,
                    attributed_g,
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda group: -group.requests))


def _notes(tallies: Tallies, measured: BenchmarkEnergy, books: Mapping[str, Book]) -> tuple[str, ...]:
    notes = []
    if not tallies.all.requests:
        notes.append("the journal has no request in this period")
    if tallies.all.unknown:
        notes.append(f"joules or grams of {tallies.all.unknown} requests are not known; they are in no sum and no mean")
    blank = [name for name, book in books.items() if book.is_blank]
    if blank:
        notes.append(
            f"nothing is known of what requests took at {', '.join(blank)}: they and its hardware are left out"
        )
    gone = [name for name, book in books.items() if book.site is None]
    if gone:
        notes.append(f"models.yaml no longer has: {', '.join(gone)}; their hardware is unknown")
    if measured.unknown:
        notes.append(f"{measured.unknown} benchmark rows or loads of unknown joules are left out")
    if not measured.rows:
        notes.append("no benchmark was run on this machine; the shipped measurements were taken on another one")
    if any(book.tally.unsplit_device_s for book in books.values()):
        notes.append("some requests' joules hold the idle ones of their time, since their meter had no idle watts")
    return tuple(notes)
