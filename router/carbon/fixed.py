"""Intensity that does not change: one figure per zone, and one for all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.domain.errors import ConfigError
from router.domain.reading import Intensity, IntensityKind

_WHERE = "sites.*.intensity_g_per_kwh in models.yaml"


@dataclass(frozen=True, slots=True)
class FixedIntensity:
    """Answers with configured figures; also the source tests and demos use.

    Attributes:
        g_per_kwh: gCO2e per kWh of every zone that ``by_zone`` does not name, or None where there is no such figure.
        by_zone: gCO2e per kWh of single zones.
        source: What is shown as the origin of the figures.
        kind: Whether they are average or marginal.
    """

    g_per_kwh: float | None = None
    by_zone: Mapping[str, float] = field(default_factory=dict)
    source: str = "fixed figure"
    kind: IntensityKind = "average"

    def __post_init__(self) -> None:
        """Refuse figures that cannot be intensities.

        Raises:
            ConfigError: If one is negative or not finite.
        """
        for zone, value in ((None, self.g_per_kwh), *self.by_zone.items()):
            if value is not None and not 0.0 <= value < float("inf"):
                name = f" of zone {zone}" if zone else ""
                raise ConfigError(f"the intensity{name} is {value}", hint=f"set {_WHERE} to 0 or more gCO2e per kWh")

    async def intensity(self, zone: str | None) -> Intensity | None:
        """The configured figure; its age is None, since it belongs to no moment."""
        value = self.g_per_kwh if zone is None else self.by_zone.get(zone, self.g_per_kwh)
        return None if value is None else Intensity(value, zone, self.source, kind=self.kind)
