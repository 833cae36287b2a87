"""What instruments say: energy and grid intensity, each with how it was obtained."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from router.domain.units import SECONDS_PER_HOUR

Method = Literal["measured", "modelled", "sourced"]
IntensityKind = Literal["average", "marginal"]
Serving = Literal["fresh", "stale", "fallback", "nothing"]

_WEAKEST_FIRST: tuple[Method, ...] = ("sourced", "modelled", "measured")


def weakest(methods: Container[str | None]) -> Method | None:
    """The method of a sum, which is only as good as its weakest part; None where no part has one."""
    return next((method for method in _WEAKEST_FIRST if method in methods), None)


@dataclass(frozen=True, slots=True)
class Reading:
    """Energy over one window.

    Attributes:
        energy_j: Joules above idle attributed to the window, or None where a reading failed.
        idle_j: The window's share of the device's idle joules, or None where idle is not known.
        device_s: Device-time share in seconds: wall seconds divided among the windows that overlapped.
        method: How the joules were obtained.
        source: Which instrument, with its parameters, e.g. ``modelled: 3.1 W x busy core-seconds``.
        holds_idle: Whether ``energy_j`` holds the idle joules too, since the instrument sees them and nobody knows how
            many they are.
    """

    energy_j: float | None
    idle_j: float | None
    device_s: float | None
    method: Method
    source: str
    holds_idle: bool = False


@dataclass(frozen=True, slots=True)
class Intensity:
    """Carbon intensity of a grid zone.

    Attributes:
        g_per_kwh: gCO2e per kWh.
        zone: Grid zone, or None for a fixed figure of no zone.
        source: Who says so.
        kind: Average or marginal.
        age_s: Seconds since the value was valid; None for a fixed figure.
        estimated: Whether the source calls it an estimate; None where it does not say.
        stale: Whether it is a last known value past its time to live.
    """

    g_per_kwh: float
    zone: str | None
    source: str
    kind: IntensityKind = "average"
    age_s: float | None = None
    estimated: bool | None = None
    stale: bool = False

    @property
    def in_words(self) -> str:
        """Source, kind and age, and what has to be known of it."""
        age = [] if self.age_s is None else [f"{self.age_s / SECONDS_PER_HOUR:.1f} h old"]
        flags = [word for word, holds in (("estimated", self.estimated), ("not current", self.stale)) if holds]
        return f"{self.source} ({', '.join([self.kind, *age, *flags])})"


@dataclass(frozen=True, slots=True)
class ForecastPoint:
    """Intensity expected from a moment on.

    Attributes:
        begins_s: Unix seconds.
        g_per_kwh: gCO2e per kWh.
    """

    begins_s: float
    g_per_kwh: float


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source of intensity is doing for a zone.

    Attributes:
        source: Its name.
        zone: Which.
        serving: What an answer would be now.
        last_error: Why the source last failed, or None since it last answered.
        failures: Failures since it last answered.
        fetched_s_ago: Seconds since it last answered, or None if it never did.
        retry_in_s: Seconds until it may be asked again.
        forecast_error: Why there is no new forecast, or None.
    """

    source: str
    zone: str | None
    serving: Serving
    last_error: str | None = None
    failures: int = 0
    fetched_s_ago: float | None = None
    retry_in_s: float = 0.0
    forecast_error: str | None = None
