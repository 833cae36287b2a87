"""How many generations a site has in flight, and at which measured level its rows are read because of it.

    load = (integral of n^2 + e) / (integral of n + e)      n generations in flight, both integrals forget exponentially

is the number in flight as an average generation saw it, itself included: what rows call ``concurrency``. A plain mean
over time would say that a site that works on sixteen at once for a tenth of the time has 1.6. ``e`` generation-seconds
alone are believed beforehand, so that a site nobody uses goes back to one.

The level is the measured one nearest in ratio. It changes only when the load has passed the middle between two levels
by a factor (``HYSTERESIS``), so that a load at the middle does not make plans flap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.domain.record import Measurement
from router.estimate.concurrency import at_levels, measured_levels, nearest
from router.service.gate import Gate

WINDOW_S = 120.0
"""After so long a generation counts 1/e: bursts of seconds are ridden out, a busy hour is planned for."""
PRIOR_S = 5.0
HYSTERESIS = 1.25


@dataclass(frozen=True, slots=True)
class SiteLoad:
    """What a plan was made for at one site.

    Attributes:
        site: Its name.
        observed: Generations in flight, as an average one saw it.
        level: Generations at a time at which the rows planned with were measured, or scaled to.
    """

    site: str
    observed: float
    level: int

    def __str__(self) -> str:
        """In words."""
        return f"{self.site}: {self.observed:.1f} generations at a time, rows of {self.level} at a time"


@dataclass(slots=True)
class _Seen:
    gate: Gate
    at_s: float
    slot_s: float
    slot2_s: float
    sum_s: float = 0.0
    sum2_s: float = 0.0


class LoadWatch:
    """Follows the gates of the sites, and keeps the level of each."""

    def __init__(self, *, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the window and the clock in seconds."""
        self._window_s = window_s
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._measured: dict[str, tuple[int, ...]] = {}
        self._levels: dict[str, int] = {}

    def observe(self, gates: Mapping[str, Gate]) -> frozenset[tuple[str, int]]:
        """Look at the gates; what comes back differs from the last time when rows have to be read anew."""
        now_s = self._clock()
        self._seen = {site: self._look(site, gate, now_s) for site, gate in gates.items()}
        self._choose()
        return frozenset(
            (site, level) for site, level in self._levels.items() if level != nearest(self._measured[site], 1.0)
        )

    def load(self, site: str) -> float:
        """Generations in flight at a site as an average one saw it; 1 where there was none."""
        seen = self._seen.get(site)
        return 1.0 if seen is None else (seen.sum2_s + PRIOR_S) / (seen.sum_s + PRIOR_S)

    def read(
        self, measurements: Sequence[Measurement]
    ) -> tuple[tuple[Measurement, ...], tuple[SiteLoad, ...], tuple[str, ...]]:
        """The rows at the load there is, for which load that is, and notes for the plan's reader."""
        self._measured = measured_levels(measurements)
        self._choose()
        rows, notes = at_levels(measurements, self._levels)
        loads = tuple(SiteLoad(site, self.load(site), level) for site, level in sorted(self._levels.items()))
        return rows, loads, (*(f"planned for {load}" for load in loads if self._is_told(load)), *notes)

    def _is_told(self, load: SiteLoad) -> bool:
        """Whether people have to know: rows of another level than the usual, or none measured near the load."""
        return load.level != nearest(self._measured[load.site], 1.0) or load.observed >= 2.0 * load.level

    def _look(self, site: str, gate: Gate, now_s: float) -> _Seen:
        slot_s, slot2_s = gate.worked_s()
        before = self._seen.get(site)
        if before is None or before.gate is not gate:
            # A gate that took another's place begins at nothing; what was seen of the site stays.
            seen = _Seen(gate, now_s, 0.0, 0.0)
            if before is not None:
                seen.sum_s, seen.sum2_s, seen.at_s = before.sum_s, before.sum2_s, before.at_s
        else:
            seen = before
        keep = math.exp(-max(0.0, now_s - seen.at_s) / self._window_s)
        seen.sum_s = keep * seen.sum_s + max(0.0, slot_s - seen.slot_s)
        seen.sum2_s = keep * seen.sum2_s + max(0.0, slot2_s - seen.slot2_s)
        seen.at_s, seen.slot_s, seen.slot2_s = now_s, slot_s, slot2_s
        return seen

    def _choose(self) -> None:
        chosen = {}
        for site, levels in self._measured.items():
            load = self.load(site)
            best, now = nearest(levels, load), self._levels.get(site)
            if now is not None and now in levels and best != now and not _passed(load, now, best):
                best = now
            chosen[site] = best
        self._levels = chosen


def _passed(load: float, now: int, best: int) -> bool:
    """Whether the load lies beyond the middle between two levels by the factor."""
    middle = math.sqrt(now * best)
    return load > middle * HYSTERESIS if best > now else load < middle / HYSTERESIS
