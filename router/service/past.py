"""The grid intensity each zone has had: what the sliding floor measures an hour against.

One value an hour and zone, the last one seen in it, at most a year of them. The range is that of the hours *before* the
present one: a floor must not depend on what is not known yet. With fewer than ``FEWEST_HOURS`` there is no range, since
the extremes of two days say nothing about what is clean; the floor is then the user's own. Fixed figures and values
past their time to live are not kept: they are no history.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.domain.reading import Intensity
from router.domain.units import SECONDS_PER_HOUR
from router.service.saved import read_saved, write_saved

WINDOW_HOURS = 365 * 24
FEWEST_HOURS = 7 * 24
"""A week: every hour of the day and every day of the week once."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Span:
    """What a zone's intensity has been.

    Attributes:
        low_g_per_kwh: Lowest hour, or None while there are too few.
        high_g_per_kwh: Highest hour, or None likewise.
        hours: Hours on record, before the present one.
    """

    low_g_per_kwh: float | None
    high_g_per_kwh: float | None
    hours: int


class Past:
    """Keeps the hours; safe to use from any thread."""

    def __init__(self, file: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Go on where the file left off; without one, remember for this process only."""
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._zones = _zones(read_saved(file, _VERSION).get("zones"))
        self._is_new = False
        self._spans: dict[str, tuple[int, Span]] = {}  # as of which hour

    def note(self, intensity: Intensity) -> None:
        """Keep the value as that of the hour it was valid in."""
        if intensity.age_s is None or intensity.stale or not math.isfinite(intensity.g_per_kwh):
            return
        hour = self._hour(intensity.age_s)
        with self._lock:
            hours = self._zones.setdefault(_key(intensity), {})
            if hours.get(hour) == intensity.g_per_kwh:
                return
            hours[hour] = intensity.g_per_kwh
            if hour < self._hour():
                self._spans.pop(_key(intensity), None)
            self._is_new = True
            for old in [h for h in hours if h <= hour - WINDOW_HOURS]:
                del hours[old]

    def span(self, intensity: Intensity) -> Span:
        """The range of the hours before this one, of the same zone and kind (average or marginal)."""
        now, key = self._hour(), _key(intensity)
        with self._lock:
            kept = self._spans.get(key)
            if kept is None or kept[0] != now:
                hours = self._zones.get(key, {})
                values = [g for hour, g in hours.items() if now - WINDOW_HOURS < hour < now]
                enough = len(values) >= FEWEST_HOURS
                span = Span(min(values), max(values), len(values)) if enough else Span(None, None, len(values))
                kept = self._spans[key] = now, span
            return kept[1]

    def save(self) -> None:
        """Write what is new to the file."""
        with self._lock:
            if not self._is_new:
                return
            self._is_new = False
            zones = {key: {str(hour): g for hour, g in hours.items()} for key, hours in self._zones.items()}
        write_saved(self._file, {"version": _VERSION, "zones": zones})

    def _hour(self, ago_s: float = 0.0) -> int:
        return int((self._clock() - ago_s) // SECONDS_PER_HOUR)


def _key(intensity: Intensity) -> str:
    return f"{intensity.zone or ''} {intensity.kind}"


def _zones(data: Any) -> dict[str, dict[int, float]]:
    """What a file holds, entries that make no sense left out."""
    zones: dict[str, dict[int, float]] = {}
    for key, hours in data.items() if isinstance(data, Mapping) else ():
        kept = zones.setdefault(str(key), {})
        for hour, g in hours.items() if isinstance(hours, Mapping) else ():
            if str(hour).isdigit() and isinstance(g, int | float) and math.isfinite(g) and g >= 0:
                kept[int(hour)] = float(g)
    return zones
