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
from router.domain.catalogue import Catalogue
from router.domain.sci import operational_g_per_j
from router.service.accounting import WEAKEST_FIRST
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
    Score,
)
from router.service.saving import request_saving, site_saving
from router.service.tally import Tallies, Tally

BOUNDARY = (
    "generation by the engines, failed and repeated attempts and the loading of models on demand included",
    "the router: embedding, the query of the store and the decision of every request",
    "idle power of the hardware reserved at the sites that answered, over the whole period",
    "the manufacture of that hardware, over the whole period",
    "benchmark runs on this machine, spread over a stated number of requests",
)
EXCLUDED = (
    "training of the models: part of the provider's score, and not known here",
    "the client, and the network between client and router: no figure for either",
    "fitting and solving the plan in the background: only in the joules of a meter that sees the whole machine",
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
    home = next(iter(catalogue.sites))
    books = {
        name: Book.open(name, tally, catalogue.sites.get(name), period, measured, stated)
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
        attributed=_attributed(tallies, books, components),
        marginal=_marginal(tallies, books, components),
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
            idle_w={name: book.idle_w for name, book in books.items()},
            router_g=router_g,
            benchmark_g=benchmark_g,
            utilisation=stated.utilisation,
        ),
        by_option=_groups(tallies.by_option, books),
        by_category=_groups(tallies.by_category, books),
        reserved_s={name: book.period_s * _known_part(tallies.all) for name, book in books.items()},
        busy_s={name: book.busy_s for name, book in books.items()},
        wasted_j=tallies.all.wasted_j.value,
        benchmark_energy_j=measured.energy_j,
        amortised_over=stated.amortised_over,
        policies=dict(tallies.all.counts.get("policy", {})),
        versions=dict(versions or {}),
        notes=_notes(tallies, measured, books),
    )


def _of_the_router(
    tallies: Tallies, catalogue: Catalogue, home: str, measured: BenchmarkEnergy, amortised_over: int
) -> tuple[Component, ...]:
    """The router's joules and the benchmarks', both spent on the machine of the first site."""
    tally, site = tallies.by_site.get(home), catalogue.sites[home]
    k0 = site.intensity_g_per_kwh if tally is None or tally.intensity.mean is None else tally.intensity.mean
    pue = (tally.pue.mean if tally else None) or site.pue

    def grams(energy_j: float | None) -> float | None:
        return 0.0 if energy_j == 0 else None if energy_j is None or k0 is None else (
            energy_j * operational_g_per_j(k0, pue)
        )  # fmt: skip

    methods = tallies.all.counts.get("energy_method", Counter())
    router_j = tallies.all.router_j.value
    share_j = None if measured.energy_j is None else measured.energy_j * tallies.all.answered / amortised_over
    bench_method = next((method for method in WEAKEST_FIRST if method in measured.methods), None)
    return (
        Component(
            "router",
            home,
            router_j,
            grams(router_j),
            None if router_j is None else next((method for method in WEAKEST_FIRST if method in methods), "modelled"),
            "the meter of this machine, around embedding, query and decision"
            if router_j is not None
            else f"not known for {tallies.all.router_j.unknown} requests: nothing meters this machine",
        ),
        Component(
            "benchmark",
            home,
            share_j,
            grams(share_j),
            bench_method,
            f"{measured.rows} measured answers of {len(measured.runs)} runs, "
            + ("of unknown joules" if measured.energy_j is None else f"{measured.energy_j:.0f} J")
            + f", spread over {amortised_over} requests",
        ),
    )


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


def _attributed(tallies: Tallies, books: Mapping[str, Book], components: tuple[Component, ...]) -> Score:
    unknown = [
        f"{part.name} joules or grams at {part.site}: {part.source}"
        for part in components
        if part.operational_g is None
    ]
    operational = [part.operational_g for part in components]
    bounds = []
    for pick in range(3):
        values = [
            None
            if book.site is None or book.site.embodied is None
            else book.embodied_g((book.site.embodied.low_g, book.site.embodied.mid_g, book.site.embodied.high_g)[pick])
            for book in books.values()
        ]
        bounds.append(_whole(values))
    unknown += [f"embodied carbon at {name}: not in models.yaml" for name, b in books.items() if b.embodied_g() is None]
    # Requests of unknown joules are no part of the numerator's generation; neither are they of its fixed part.
    part = _known_part(tallies.all)
    fixed = [
        None if grams is None else grams * (part if component.name == "idle" else 1.0)
        for component, grams in zip(components, operational, strict=True)
    ]
    low, mid, high = (None if value is None else value * part for value in bounds)
    return _score(tallies.all, _whole(fixed), mid, (low, high), tuple(unknown))


def _marginal(tallies: Tallies, books: Mapping[str, Book], components: tuple[Component, ...]) -> Score:
    parts = [component for component in components if component.name != "idle"]
    unknown = [
        f"{part.name} joules or grams at {part.site}: {part.source}" for part in parts if part.operational_g is None
    ]
    if tallies.all.embodied_g.unknown:
        unknown.append(f"embodied grams of {tallies.all.embodied_g.unknown} requests")
    ends: list[float | None] = []
    for pick in ("low_g", "high_g"):
        scaled: list[float | None] = []
        for book in books.values():
            embodied = book.site.embodied if book.site else None
            if embodied is None or book.tally.embodied_g.value is None or embodied.mid_g <= 0:
                scaled.append(None)
            else:
                scaled.append(book.tally.embodied_g.value * float(getattr(embodied, pick)) / embodied.mid_g)
        ends.append(_whole(scaled))
    return _score(
        tallies.all,
        _whole([part.operational_g for part in parts]),
        tallies.all.embodied_g.value,
        (ends[0], ends[1]),
        tuple(unknown),
    )


def _score(
    tally: Tally,
    operational_g: float | None,
    embodied_g: float | None,
    ends_g: tuple[float | None, float | None],
    unknown: tuple[str, ...],
) -> Score:
    n = tally.answered
    if not n:
        return Score(None, None, None, None, None, None, None, (*unknown, "no answered request of known joules"))

    def per(total: float | None, count: float | None) -> float | None:
        return None if total is None or not count else total / count

    total_g = None if operational_g is None or embodied_g is None else operational_g + embodied_g
    return Score(
        g_per_request=per(total_g, n),
        operational_g_per_request=per(operational_g, n),
        embodied_g_per_request=per(embodied_g, n),
        embodied_low_g_per_request=per(ends_g[0], n),
        embodied_high_g_per_request=per(ends_g[1], n),
        g_per_token=per(total_g, tally.output_tokens.value),
        g_per_conversation=per(total_g, tally.conversations.value),
        unknown=unknown,
    )


def _known_part(tally: Tally) -> float:
    """Share of the devices' time, or else of the requests, that belongs to requests of known joules."""
    if not tally.unknown:
        return 1.0
    if tally.device_s.value is not None and tally.all_device_s.value:
        return tally.device_s.value / tally.all_device_s.value
    return 1.0 - tally.unknown / tally.requests


def _groups(tallies: Mapping[tuple[str, str], Tally], books: Mapping[str, Book]) -> tuple[Group, ...]:
    found: list[Group] = []
    for site, book in books.items():
        own = [(name, tally) for (at, name), tally in tallies.items() if at == site]
        loads = [Load(tally.energy_j, tally.all_device_s.value) for _, tally in own]
        shares = attribute(loads, period_s=book.period_s, idle_w=book.idle_w, idle_s=book.idle_s)
        k1 = book.site.k1_g_per_s if book.site else None
        for (name, tally), share in zip(own, shares, strict=True):
            idle_g = book.grams(share.idle_j)
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
    gone = [name for name, book in books.items() if book.site is None]
    if gone:
        notes.append(f"models.yaml no longer has: {', '.join(gone)}; their hardware is unknown")
    if not measured.rows:
        notes.append("no benchmark was run on this machine; the shipped measurements were taken on another one")
    if any(book.tally.unsplit_device_s for book in books.values()):
        notes.append("some requests' joules hold the idle ones of their time, since their meter had no idle watts")
    return tuple(notes)


def _whole(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None
