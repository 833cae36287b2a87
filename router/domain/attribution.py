"""What a device drew and cost over a window, shared among the requests it served.

Decisions rest on marginal joules, those above idle. A report has to account for reserved hardware whole, so a window's
idle joules and its embodied seconds are shared among its requests by device time::

    energy_i   = marginal_i + idle_w * idle_s * t_i / sum_j t_j
    reserved_i = period_s * t_i / sum_j t_j

and the requests sum to the device's total. The share is linear in t: groups of requests may be attributed as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What one request, or a group of them, took.

    Attributes:
        energy_j: Marginal joules, or None.
        device_s: Device-time share in seconds, or None.
    """

    energy_j: float | None
    device_s: float | None


@dataclass(frozen=True, slots=True)
class Attributed:
    """The same with its share of what the device takes anyway; None where that is not known.

    Attributes:
        energy_j: Marginal joules.
        idle_j: Share of the window's idle joules.
        reserved_s: Share of the window's seconds, for the embodied component.
    """

    energy_j: float | None
    idle_j: float | None
    reserved_s: float | None

    @property
    def total_j(self) -> float | None:
        """Marginal and idle together."""
        return None if self.energy_j is None or self.idle_j is None else self.energy_j + self.idle_j


def attribute(
    loads: Sequence[Load], *, period_s: float, idle_w: float | None, idle_s: float | None = None
) -> tuple[Attributed, ...]:
    """Share a window's idle joules and seconds among its requests.

    Args:
        loads: Requests of one device, all of the window's.
        period_s: Length of the window.
        idle_w: The device's watts with nothing to do; None leaves idle joules unknown.
        idle_s: Seconds of idle power not contained in the loads' joules yet; None for the whole window.

    Raises:
        ValueError: If a length is negative or not finite.
    """
    for name, value in (("period_s", period_s), ("idle_s", idle_s), ("idle_w", idle_w)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a length of 0 or more, not {value}")
    shares = _shares(loads)
    idle_j = None if idle_w is None else idle_w * (period_s if idle_s is None else idle_s)
    return tuple(
        Attributed(
            load.energy_j,
            None if share is None or idle_j is None else share * idle_j,
            None if share is None else share * period_s,
        )
        for load, share in zip(loads, shares, strict=True)
    )


def _shares(loads: Sequence[Load]) -> list[float | None]:
    """Shares of the device's time, summing to 1; None for all where one is unknown, equal where nobody used any."""
    times = [load.device_s for load in loads]
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return [None] * len(times)
    total = math.fsum(known)
    return [time / total for time in known] if total > 0 else [1.0 / len(times)] * len(times)
