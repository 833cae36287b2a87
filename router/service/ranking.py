"""The green ranking: grams per 1,000 requests of every option, by category and overall, with quality beside them.

Marginal grams by the SCI formula at each site's present coefficients, from the measured rows of the store. Intervals
are a bootstrap over prompts (95 %), the same draw for all options of a category, so they may be compared. Overall
means weigh the categories alike for every option; an option that lacks a category has none. Where one option's embodied
part is not known, all are compared without it. What was never measured
stands below with the estimate for its size, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.domain.catalogue import NO_DIRECTIVE, Catalogue, Option
from router.domain.estimates import FloatArray
from router.domain.reading import Intensity, weakest
from router.domain.record import Measurement, Outcome
from router.domain.sci import footprint
from router.service.foretell import Calibration, Foretold, foretell

PER = 1000
REPLICATES = 1000
LEVEL = 0.95
OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class Rank:
    """One option in one category.

    Attributes:
        option: The option in short form.
        model: Its model.
        directive: Its directive.
        site: Where.
        category: A category, or ``overall``.
        n: Prompts it was measured on; 0 where it is estimated.
        g_per_1000: Grams CO2e per 1,000 requests, or None.
        g_low: Lower end of the interval.
        g_high: Its upper end.
        operational_g_per_1000: Of them, from energy.
        embodied_g_per_1000: Of them, from the hardware; None where unknown, and then it is not in the score.
        energy_j: Mean joules of a request.
        quality: Mean quality of what was graded, or None where nothing was.
        method: ``measured``, ``modelled``, ``sourced`` for the joules; the weakest where they differ.
        basis: ``measured`` prompts, or ``estimate`` for the size.
        source: What it rests on.
        intensity: What its grams were computed with, in words; None where that is not known.
    """

    option: str
    model: str
    directive: str
    site: str
    category: str
    n: int
    g_per_1000: float | None
    g_low: float | None
    g_high: float | None
    operational_g_per_1000: float | None
    embodied_g_per_1000: float | None
    energy_j: float | None
    quality: float | None
    method: str | None
    basis: str
    source: str
    intensity: str | None = None


@dataclass(frozen=True, slots=True)
class _Cell:
    """Per-prompt figures of one option in one category, (n,)."""

    operational_g: FloatArray
    embodied_g: FloatArray | None
    energy_j: FloatArray
    quality: FloatArray
    drawn: FloatArray  # (replicates, n) multiplicities
    methods: tuple[str, ...]
    origins: tuple[str, ...]

    @property
    def total_g(self) -> FloatArray:
        return self.operational_g if self.embodied_g is None else self.operational_g + self.embodied_g

    @property
    def means(self) -> FloatArray:
        """(replicates,) bootstrap means of the grams; NaN where a draw has none of its prompts."""
        weight = self.drawn.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.drawn @ self.total_g) / weight)


def rank(
    measurements: Sequence[Measurement],
    catalogue: Catalogue,
    intensities: Mapping[str, Intensity],
    calibrations: Mapping[str, Calibration],
    *,
    categories: Sequence[str] = (),
    seed: int = 0,
) -> list[Rank]:
    """Rank, greenest first within each category, ``overall`` first; estimated options after the measured ones.

    Args:
        measurements: Of the store.
        catalogue: The federation; options it does not have are left out.
        intensities: By site; a site without one has no grams.
        calibrations: For options never measured, by site.
        categories: Only these; empty for all.
        seed: Of the bootstrap.
    """
    options = catalogue.options()
    by_category: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        if not categories or measurement.category in categories:
            by_category.setdefault(measurement.category or "unknown", []).append(measurement)
    rng = np.random.default_rng(seed)
    cells: dict[Option, dict[str, _Cell]] = {option: {} for option in options}
    for category in sorted(by_category):
        rows = by_category[category]
        drawn = rng.multinomial(len(rows), np.full(len(rows), 1.0 / len(rows)), size=REPLICATES).astype(np.float64)
        for option in options:
            cell = _cell(option, rows, drawn, catalogue, intensities)
            if cell is not None:
                cells[option][category] = cell
    with_embodied = all(cell.embodied_g is not None for own in cells.values() for cell in own.values())
    if not with_embodied:  # compared without it, or those that lack it would look green
        cells = {o: {c: replace(cell, embodied_g=None) for c, cell in own.items()} for o, own in cells.items()}
    shares = {category: len(rows) for category, rows in by_category.items()}
    found = [_rank(option, category, cell) for option in options for category, cell in cells[option].items()] + [
        overall for option in options if (overall := _overall(option, cells[option], shares)) is not None
    ]
    found += _estimates(measurements, catalogue, intensities, calibrations, with_embodied)
    with_words = [
        replace(row, intensity=intensities[row.site].in_words if row.site in intensities else None) for row in found
    ]
    return sorted(
        with_words,
        key=lambda r: (
            r.category != OVERALL,
            r.category,
            r.basis != "measured",
            r.g_per_1000 is None,
            r.g_per_1000 or 0.0,
        ),
    )


def _cell(
    option: Option,
    rows: Sequence[Measurement],
    drawn: FloatArray,
    catalogue: Catalogue,
    intensities: Mapping[str, Intensity],
) -> _Cell | None:
    site, intensity = catalogue.sites[option.site], intensities.get(option.site)
    operational, embodied, energy, quality, columns = [], [], [], [], []
    methods: set[str] = set()
    origins: set[str] = set()
    for column, measurement in enumerate(rows):
        own = [o for o in measurement.outcomes if o.option == option and o.concurrency == 1 and o.energy_j is not None]
        if not own:
            continue
        joules = float(np.mean([o.energy_j for o in own if o.energy_j is not None]))
        grams = footprint(
            joules,
            _mean([o.duration_s for o in own]),
            intensity_g_per_kwh=None if intensity is None else intensity.g_per_kwh,
            pue=site.pue,
            k1_g_per_s=site.k1_g_per_s,
        )
        if grams.operational_g is None:
            return None
        operational.append(grams.operational_g)
        embodied.append(grams.embodied_g)
        energy.append(joules)
        quality.append(_mean([o.quality for o in own]))
        columns.append(column)
        methods |= {o.method for o in own if o.method}
        origins |= {_origin(o, measurement) for o in own}
    if not columns:
        return None
    known = [value for value in embodied if value is not None]
    return _Cell(
        np.array(operational),
        np.array(known) if len(known) == len(embodied) else None,
        np.array(energy),
        np.array([np.nan if value is None else value for value in quality]),
        drawn[:, columns],
        tuple(sorted(methods)),
        tuple(sorted(origins)),
    )


def _origin(outcome: Outcome, measurement: Measurement) -> str:
    return outcome.origin or measurement.origin or "import"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _rank(option: Option, category: str, cell: _Cell) -> Rank:
    # Of one prompt every draw is the same prompt: that says nothing of how far others lie.
    ends = _interval(cell.means) if len(cell.energy_j) > 1 else (None, None)
    return _row(option, category, [cell], [1.0], ends)


def _overall(option: Option, cells: Mapping[str, _Cell], shares: Mapping[str, int]) -> Rank | None:
    """All categories by their share of the measured prompts; None where one is missing."""
    if not cells or set(cells) != set(shares):
        return None
    weights = [shares[category] / sum(shares.values()) for category in cells]
    means = np.sum([w * cell.means for w, cell in zip(weights, cells.values(), strict=True)], axis=0)
    is_spread = all(len(cell.energy_j) > 1 for cell in cells.values())
    return _row(option, OVERALL, list(cells.values()), weights, _interval(means) if is_spread else (None, None))


def _row(
    option: Option, category: str, cells: Sequence[_Cell], weights: Sequence[float], ends: tuple[float | None, ...]
) -> Rank:
    def mean(values: Sequence[FloatArray]) -> float:
        return float(sum(w * value.mean() for w, value in zip(weights, values, strict=True)))

    operational = mean([cell.operational_g for cell in cells])
    known = [cell.embodied_g for cell in cells if cell.embodied_g is not None]
    embodied = mean(known) if len(known) == len(cells) else None
    graded = [(w, np.nanmean(c.quality)) for w, c in zip(weights, cells, strict=True) if np.isfinite(c.quality).any()]
    quality = sum(w * q for w, q in graded) / sum(w for w, _ in graded) if graded else None
    methods = Counter(method for cell in cells for method in cell.methods)
    origins = sorted({origin for cell in cells for origin in cell.origins})
    where = {"local": "this machine", "shipped": "another machine (shipped)", "import": "imported rows"}
    return Rank(
        option=str(option),
        model=option.model,
        directive=option.directive,
        site=option.site,
        category=category,
        n=sum(len(cell.energy_j) for cell in cells),
        g_per_1000=PER * (operational + (embodied or 0.0)),
        g_low=None if ends[0] is None else PER * ends[0],
        g_high=None if ends[1] is None else PER * ends[1],
        operational_g_per_1000=PER * operational,
        embodied_g_per_1000=None if embodied is None else PER * embodied,
        energy_j=mean([cell.energy_j for cell in cells]),
        quality=None if quality is None else float(quality),
        method=weakest(methods),
        basis="measured",
        source="measured on " + " and ".join(where.get(origin, origin) for origin in origins),
    )


def _interval(means: FloatArray) -> tuple[float | None, float | None]:
    finite = means[np.isfinite(means)]
    if finite.size < 0.9 * means.size:
        return None, None
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _estimates(
    measurements: Sequence[Measurement],
    catalogue: Catalogue,
    intensities: Mapping[str, Intensity],
    calibrations: Mapping[str, Calibration],
    with_embodied: bool,
) -> list[Rank]:
    """Models never measured at a site, plainly asked, at the mean lengths of the measured answers there."""
    found = []
    seen = {(o.model, o.site) for m in measurements for o in m.outcomes if o.energy_j is not None}
    for option in catalogue.options():
        size, calibration = catalogue.models[option.model].parameters, calibrations.get(option.site)
        if (
            option.directive != NO_DIRECTIVE
            or (option.model, option.site) in seen
            or size is None
            or calibration is None
        ):
            continue
        prompt_tokens, output_tokens = mean_lengths(measurements, option.site)
        told = foretell(
            calibration,
            size,
            prompt_tokens,
            output_tokens,
            site=catalogue.sites[option.site],
            intensity=intensities.get(option.site),
        )
        found.append(
            Rank(
                option=str(option),
                model=option.model,
                directive=option.directive,
                site=option.site,
                category=OVERALL,
                n=0,
                g_per_1000=_thousand(told.grams.value if with_embodied else told.operational_g),
                g_low=_thousand(told.grams.low if with_embodied else _scaled(told, told.energy_j.low)),
                g_high=_thousand(told.grams.high if with_embodied else _scaled(told, told.energy_j.high)),
                operational_g_per_1000=_thousand(told.operational_g),
                embodied_g_per_1000=_thousand(told.embodied_g) if with_embodied else None,
                energy_j=told.energy_j.value,
                quality=None,
                method=told.method,
                basis="estimate",
                source=f"estimated by size at {prompt_tokens:.0f} + {output_tokens:.0f} tokens: {calibration.source}"
                + ("; outside the sizes seen" if told.extrapolated else ""),
            )
        )
    return found


def _scaled(told: Foretold, energy_j: float | None) -> float | None:
    """Grams from energy at another number of joules."""
    if told.operational_g is None or energy_j is None or not told.energy_j.value:
        return None
    return told.operational_g * energy_j / told.energy_j.value


def mean_lengths(measurements: Sequence[Measurement], site: str) -> tuple[float, float]:
    """Mean tokens read and written at L0 at a site; the paper's 192 and 250 where nothing was measured."""
    own = [
        (o.prompt_tokens, o.output_tokens)
        for m in measurements
        for o in m.outcomes
        if o.site == site and o.directive == NO_DIRECTIVE
    ]
    known = [(p, o) for p, o in own if p is not None and o is not None]
    if not known:
        return 192.0, 250.0
    return sum(p for p, _ in known) / len(known), sum(o for _, o in known) / len(known)


def _thousand(value: float | None) -> float | None:
    return None if value is None else PER * value
