"""Intensity without a key: Great Britain's Carbon Intensity API, and Energy-Charts for the rest of Europe.

Both are public, need no account and know the coming hours. They do not count the same things: Great Britain's counts
what generation emits, Energy-Charts gives CO2 equivalents of a country's mix. The source says which one spoke.

- ``GET {gb_url}/intensity``: the current half hour, measured where it is known by then, else forecast.
- ``GET {europe_url}/co2eq?country=de``: today's quarter hours, and the forecast behind them. Zones are countries
  there; a part of one (``DK-DK1``, ``SE-SE3``) gets its country's figure, marked estimated.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from router.carbon.fetch import AskedEachTime, Web, believable, unix_s
from router.domain.errors import IntensityError
from router.domain.reading import ForecastPoint, Intensity

GB_NAME = "Carbon Intensity API (GB, generation only)"
GB_URL = "https://api.carbonintensity.org.uk"
EUROPE_NAME = "Energy-Charts"
EUROPE_URL = "https://api.energy-charts.info"

_GB_ZONES = frozenset({"GB", "UK"})
_NAMES = (
    "AL AT BA BE BG CH CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MD ME MK MT NL NO PL PT RO RS SE SI SK UA XK"
)
_COUNTRIES = frozenset(_NAMES.split())
_WHOLE = frozenset({"DE-LU"})
"""Zones that are a whole market although their name has a part."""
_HINT = "without a key there are GB and European countries (such as DE, FR, NL); others need Electricity Maps"


@dataclass(slots=True)
class GridFree(AskedEachTime):
    """Asks the source of the zone each time; wrap it in :class:`router.carbon.cached.CachedIntensity`.

    Attributes:
        gb_url: Where Great Britain's API is.
        europe_url: Where Energy-Charts is.
        web: How they are reached.
    """

    gb_url: str = GB_URL
    europe_url: str = EUROPE_URL
    web: Web = field(default_factory=Web)

    @property
    def name(self) -> str:
        """As it is shown."""
        return "Carbon Intensity API and Energy-Charts"

    async def fetch(self, zone: str | None) -> Intensity:
        """The latest value.

        Raises:
            IntensityError: If there is none to believe.
        """
        if zone in _GB_ZONES:
            return await self._gb(zone)
        country = _country(zone)
        now_s = self.web.clock()
        past = [row for row in await self._europe(country) if row[0] <= now_s]
        if not past:
            raise IntensityError(f"{EUROPE_NAME} has no value for {zone} yet", hint=_HINT)
        begins_s, value, is_forecast = past[-1]
        coarse = "-" in (zone or "") and zone not in _WHOLE
        return Intensity(
            value,
            zone,
            f"{EUROPE_NAME} (country {country})",
            age_s=self.web.age_s(begins_s),
            estimated=is_forecast or coarse,
        )

    async def fetch_forecast(self, zone: str | None) -> tuple[ForecastPoint, ...]:
        """What is expected of the next hours, soonest first.

        Raises:
            IntensityError: If there is none to believe.
        """
        now_s = self.web.clock()
        if zone in _GB_ZONES:
            start = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%MZ")
            body = await self.web.json(GB_NAME, f"{self.gb_url.rstrip('/')}/intensity/{start}/fw48h")
            points = []
            for row in _gb_rows(body):
                with contextlib.suppress(IntensityError):
                    value = believable(row["intensity"].get("forecast"), GB_NAME)
                    points.append(ForecastPoint(unix_s(row.get("from"), GB_NAME), value))
        else:
            rows = await self._europe(_country(zone))
            points = [ForecastPoint(begins_s, value) for begins_s, value, _ in rows if begins_s > now_s]
        if not points:
            raise IntensityError(f"no forecast for {zone}", hint=_HINT)
        return tuple(sorted(points, key=lambda point: point.begins_s))

    async def _gb(self, zone: str | None) -> Intensity:
        body = await self.web.json(GB_NAME, f"{self.gb_url.rstrip('/')}/intensity")
        row = next(_gb_rows(body), None)
        if row is None:
            raise IntensityError(f"{GB_NAME} answered no half hour")
        said = row["intensity"]
        actual = said.get("actual")
        value = believable(said.get("forecast") if actual is None else actual, GB_NAME)
        age_s = self.web.age_s(unix_s(row.get("from"), GB_NAME))
        return Intensity(value, zone, GB_NAME, age_s=age_s, estimated=actual is None)

    async def _europe(self, country: str) -> list[tuple[float, float, bool]]:
        """Unix seconds, value, and whether it is a forecast, ascending; what makes no sense is left out."""
        body = await self.web.json(
            EUROPE_NAME, f"{self.europe_url.rstrip('/')}/co2eq", query={"country": country}, hints={404: _HINT}
        )
        times = body.get("unix_seconds") if isinstance(body, dict) else None
        if not isinstance(times, list):
            raise IntensityError(f"{EUROPE_NAME} answered no times for {country}")
        found: dict[float, tuple[float, bool]] = {}
        for key, is_forecast in (
            ("co2eq_forecast", True),
            ("co2eq", False),
        ):  # what is known replaces what was expected
            values = body.get(key)
            for begins_s, value in zip(times, values if isinstance(values, list) else (), strict=False):
                if value is None or not isinstance(begins_s, int | float) or not math.isfinite(begins_s):
                    continue
                with contextlib.suppress(IntensityError):
                    found[float(begins_s)] = (believable(value, EUROPE_NAME), is_forecast)
        if not found:
            raise IntensityError(f"{EUROPE_NAME} answered no value for {country} that can be true")
        return [(begins_s, value, is_forecast) for begins_s, (value, is_forecast) in sorted(found.items())]


def _gb_rows(body: Any) -> Iterator[dict[str, Any]]:
    rows = body.get("data") if isinstance(body, dict) else None
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("intensity"), dict):
            yield row


def _country(zone: str | None) -> str:
    """Energy-Charts' name of a zone's country.

    Raises:
        IntensityError: If it has none.
    """
    country = (zone or "").split("-")[0].upper()
    if country not in _COUNTRIES:
        raise IntensityError(f"no source without a key for zone {zone or 'none'}", hint=_HINT)
    return country.lower()
