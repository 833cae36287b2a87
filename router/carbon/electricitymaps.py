"""Intensity from Electricity Maps: most zones of the world, hourly, with a token.

``GET /carbon-intensity/latest?zone=DE`` and ``/carbon-intensity/forecast``, both with the header ``auth-token``.
Values are averages over the zone's consumption; whether life-cycle or direct is in the answer and then in the source.
A forecast needs a plan that includes it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from router.carbon.fetch import AskedEachTime, Web, believable, unix_s
from router.domain.errors import ConfigError, IntensityError
from router.domain.reading import ForecastPoint, Intensity

NAME = "Electricity Maps"
URL = "https://api.electricitymaps.com/v3"
_HINTS = {
    401: "the token is not accepted: set ROUTER_ELECTRICITY_MAPS_TOKEN to one from the provider's portal",
    403: "the token may not read this zone or forecast: check the plan, or choose another source",
    404: "the provider has no such zone: set `zone` in models.yaml to one it lists, such as DE or US-CAL-CISO",
    429: "asked too often for this plan",
}


@dataclass(slots=True)
class ElectricityMaps(AskedEachTime):
    """Asks the provider each time; wrap it in :class:`router.carbon.cached.CachedIntensity`.

    Attributes:
        token: Of the account; never shown.
        url: Where the API is.
        web: How it is reached.
    """

    token: str = field(repr=False)
    url: str = URL
    web: Web = field(default_factory=Web)

    def __post_init__(self) -> None:
        """Refuse an empty token before anything is asked.

        Raises:
            ConfigError: If there is none.
        """
        if not self.token.strip() or not self.token.strip().isascii():
            raise ConfigError("no token for Electricity Maps", hint=_HINTS[401])

    @property
    def name(self) -> str:
        """As it is shown."""
        return NAME

    async def fetch(self, zone: str | None) -> Intensity:
        """The latest value.

        Raises:
            IntensityError: If there is none to believe.
        """
        if not zone:
            raise IntensityError(f"{NAME} needs a zone", hint="set `zone` for the site in models.yaml")
        body = await self._get("latest", zone)
        name = f"{NAME} ({factors})" if (factors := body.get("emissionFactorType")) else NAME
        estimated = body.get("isEstimated")
        return Intensity(
            believable(body.get("carbonIntensity"), NAME),
            zone,
            name,
            age_s=self.web.age_s(unix_s(body.get("datetime"), NAME)),
            estimated=estimated if isinstance(estimated, bool) else None,
        )

    async def fetch_forecast(self, zone: str | None) -> tuple[ForecastPoint, ...]:
        """What is expected of the next hours, soonest first.

        Raises:
            IntensityError: If there is none to believe.
        """
        if not zone:
            raise IntensityError(f"{NAME} needs a zone", hint="set `zone` for the site in models.yaml")
        body = await self._get("forecast", zone)
        entries = body.get("forecast")
        points = []
        for entry in entries if isinstance(entries, list) else ():
            with contextlib.suppress(IntensityError):  # one hour that makes no sense does not spoil the others
                points.append(_point(entry))
        if not points:
            raise IntensityError(f"{NAME} answered no forecast for {zone}", hint=_HINTS[403])
        return tuple(sorted(points, key=lambda point: point.begins_s))

    async def _get(self, what: str, zone: str) -> dict[str, Any]:
        body = await self.web.json(
            NAME,
            f"{self.url.rstrip('/')}/carbon-intensity/{what}",
            query={"zone": zone},
            headers={"auth-token": self.token.strip()},
            hints=_HINTS,
        )
        if not isinstance(body, dict):
            raise IntensityError(f"{NAME} answered {type(body).__name__}, not an object")
        if (said := body.get("zone")) not in (None, zone):
            raise IntensityError(f"{NAME} answered for zone {str(said)[:40]!r}, asked was {zone}")
        return body


def _point(entry: Any) -> ForecastPoint:
    if not isinstance(entry, dict):
        raise IntensityError(f"{NAME} answered a forecast hour that is no object")
    return ForecastPoint(unix_s(entry.get("datetime"), NAME), believable(entry.get("carbonIntensity"), NAME))
