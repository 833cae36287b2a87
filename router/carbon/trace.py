"""Intensity from a recorded hourly trace: a CSV with a column of times and one per zone.

The first column holds UTC times (ISO 8601, one row an hour, ascending), every other column a zone's gCO2e per
kWh. An empty cell or a row that is missing is a gap: the last known value is then used, marked stale, until
it is too old. Before the first row and long after the last there is no value.
"""

from __future__ import annotations

import csv
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from router.domain.errors import ConfigError
from router.domain.estimates import FloatArray
from router.domain.ports import IntensitySource
from router.domain.reading import Intensity, IntensityKind, SourceHealth
from router.domain.units import SECONDS_PER_HOUR

_LAYOUT = "expected a header `datetime_utc,ZONE,...` and one row an hour, such as `2023-01-01 00:00:00,269.8`"


@dataclass(frozen=True, slots=True)
class Trace:
    """Hourly intensity of several zones.

    Attributes:
        zones: Names of the columns.
        times_s: (n,) Unix seconds at which each row begins, strictly ascending.
        g_per_kwh: (n, zones) gCO2e per kWh, NaN where there is a gap.
        source: Where it comes from.
    """

    zones: tuple[str, ...]
    times_s: FloatArray
    g_per_kwh: FloatArray
    source: str

    @classmethod
    def load(cls, path: Path, *, source: str | None = None) -> Trace:
        """Read a CSV file.

        Args:
            path: The file.
            source: What to show as its origin; the file's name where it is None.

        Raises:
            ConfigError: If it is missing or is no such trace; says the line.
        """
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.reader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"cannot read the intensity trace: {error}", file=str(path), hint=_LAYOUT) from error
        if not rows or len(rows[0]) < 2:
            raise ConfigError("no zones in the intensity trace", file=str(path), line=1, hint=_LAYOUT)
        zones = tuple(name.strip() for name in rows[0][1:])
        if "" in zones or len(set(zones)) < len(zones):
            raise ConfigError("a zone has no name, or two have the same", file=str(path), line=1, hint=_LAYOUT)
        times: list[float] = []
        values: list[list[float]] = []
        for line, row in enumerate(rows[1:], start=2):
            if not row:
                continue
            if len(row) != len(rows[0]):
                raise ConfigError(
                    f"{len(row)} fields where the header has {len(rows[0])}", file=str(path), line=line, hint=_LAYOUT
                )
            begins = _unix_s(row[0], path, line)
            if times and begins <= times[-1]:
                raise ConfigError("times must ascend", file=str(path), line=line, hint="sort the rows by their time")
            times.append(begins)
            values.append([_value(cell, zone, path, line) for cell, zone in zip(row[1:], zones, strict=True)])
        if not times:
            raise ConfigError("the intensity trace has no rows", file=str(path), hint=_LAYOUT)
        return cls(zones, np.array(times), np.array(values), source or path.name)

    def series(self, zone: str) -> FloatArray:
        """(n,) gCO2e per kWh of one zone, NaN where there is a gap.

        Raises:
            ConfigError: If the trace has no such zone.
        """
        if zone not in self.zones:
            raise ConfigError(f"no zone {zone} in {self.source}", hint=f"it has {', '.join(self.zones)}")
        column: FloatArray = self.g_per_kwh[:, self.zones.index(zone)]
        return column


class TraceIntensity:
    """A trace as a source: the value of the hour that the clock shows."""

    def __init__(
        self,
        trace: Trace,
        *,
        clock: Callable[[], float] = time.time,
        kind: IntensityKind = "average",
        max_age_s: float = 6 * SECONDS_PER_HOUR,
        fallback: IntensitySource | None = None,
    ) -> None:
        """Keep the trace and what tells the time.

        Args:
            trace: The recorded hours.
            clock: Unix seconds now; hand in a shifted one to replay a past year.
            kind: Whether the trace is average or marginal.
            max_age_s: How old the last known value may be before there is none; a value older than an hour is
                stale.
            fallback: What to answer then, marked stale and named as a fallback; None for nothing.
        """
        self._trace = trace
        self._clock = clock
        self._kind: IntensityKind = kind
        self._max_age_s = max_age_s
        self._fallback = fallback
        self._zones: dict[str | None, SourceHealth] = {}
        self._times: Sequence[float] = trace.times_s.tolist()

    def health(self) -> tuple[SourceHealth, ...]:
        """What each zone asked for so far got last."""
        return tuple(self._zones.values())

    async def intensity(self, zone: str | None) -> Intensity | None:
        """The latest known value of the zone that is not too old, else the fallback, or None; never raises."""
        value, why = self._recorded(zone)
        if value is not None:
            self._zones[zone] = SourceHealth(self._trace.source, zone, "stale" if value.stale else "fresh", why)
            return value
        spare = None if self._fallback is None else await self._fallback.intensity(zone)
        self._zones[zone] = SourceHealth(self._trace.source, zone, "nothing" if spare is None else "fallback", why)
        return spare and replace(spare, source=f"fallback for {self._trace.source}: {spare.source}", stale=True)

    def _recorded(self, zone: str | None) -> tuple[Intensity | None, str | None]:
        """The value of the hour, and why there is none, or an old one."""
        if zone is None or zone not in self._trace.zones:
            return None, f"it has no zone {zone or 'without a name'}, but {', '.join(self._trace.zones)}"
        now = self._clock()
        series = self._trace.series(zone)
        row = bisect_right(self._times, now) - 1
        if row < 0:
            return None, "it begins later"
        while row >= 0 and now - self._times[row] <= self._max_age_s:
            if not math.isnan(series[row]):
                age_s = now - self._times[row]
                is_old = age_s >= SECONDS_PER_HOUR
                value = Intensity(
                    float(series[row]), zone, self._trace.source, kind=self._kind, age_s=age_s, stale=is_old
                )
                return value, f"its last value is {age_s / SECONDS_PER_HOUR:.1f} h old" if is_old else None
            row -= 1
        return None, f"it has no value of the last {self._max_age_s / SECONDS_PER_HOUR:g} h"


def _unix_s(cell: str, path: Path, line: int) -> float:
    try:
        when = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise ConfigError(f"{cell!r} is no time", file=str(path), line=line, hint=_LAYOUT) from None
    return (when.replace(tzinfo=UTC) if when.tzinfo is None else when).timestamp()


def _value(cell: str, zone: str, path: Path, line: int) -> float:
    text = cell.strip()
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    # A written "nan" is refused as well: a gap is an empty cell.
    if not 0.0 <= value < math.inf:
        raise ConfigError(
            f"{text!r} is no intensity",
            file=str(path),
            line=line,
            key=zone,
            hint="give gCO2e per kWh, 0 or more, or leave the cell empty where the value is unknown",
        )
    return value
