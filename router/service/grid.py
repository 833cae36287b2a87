"""What is known of the grid at every site now: intensity, where it comes from, how its source is doing, what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from router.domain.catalogue import Catalogue
from router.domain.ports import ForecastSource, IntensitySource, WatchedSource
from router.domain.reading import ForecastPoint, Intensity, SourceHealth
from router.domain.units import SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid at every site.

    Attributes:
        intensities: By site; one whose intensity is unknown is missing.
        forecasts: By site, the coming hours, soonest first; a site without any is missing.
        health: By site, where the source can fail and tells.
    """

    intensities: Mapping[str, Intensity] = field(default_factory=dict)
    forecasts: Mapping[str, tuple[ForecastPoint, ...]] = field(default_factory=dict)
    health: Mapping[str, SourceHealth] = field(default_factory=dict)

    def notes(self, catalogue: Catalogue) -> tuple[str, ...]:
        """What a reader has to know of it, in sentences."""
        notes = []
        for name, site in catalogue.sites.items():
            value, health = self.intensities.get(name), self.health.get(name)
            why = f": {health.last_error}" if health is not None and health.last_error else ""
            if value is None:
                todo = "set intensity_g_per_kwh or intensity_fallback_g_per_kwh"
                notes.append(f"the grid intensity at {name} (zone {site.zone or 'not set'}) is not known{why}; {todo}")
            elif value.stale:
                age = "" if value.age_s is None else f", {value.age_s / SECONDS_PER_HOUR:.1f} h old"
                notes.append(
                    f"the grid intensity at {name} is not current: {value.g_per_kwh:g} g/kWh, {value.source}{age}{why}"
                )
        return tuple(notes)


async def read_grid(sources: Mapping[str, IntensitySource], catalogue: Catalogue) -> Grid:
    """Ask every site's source; those that have to ask others do so at the same time."""

    async def read(name: str, source: IntensitySource) -> tuple[Intensity | None, tuple[ForecastPoint, ...]]:
        zone = catalogue.sites[name].zone
        value = await source.intensity(zone)
        return value, await source.forecast(zone) if isinstance(source, ForecastSource) else ()

    found = dict(zip(sources, await asyncio.gather(*(read(*item) for item in sources.items())), strict=True))
    return Grid(
        {name: value for name, (value, _) in found.items() if value is not None},
        {name: points for name, (_, points) in found.items() if points},
        {
            name: health
            for name, source in sources.items()
            if isinstance(source, WatchedSource)
            for health in source.health()
            if health.zone == catalogue.sites[name].zone
        },
    )
