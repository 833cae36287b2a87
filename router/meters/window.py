"""Windows over a device's energy counter; overlapping windows share its joules by device-time.

Between two events (a window opens or closes) the set of open windows is constant. The counter is read at every
event, and what it advanced by is divided equally among the windows that were open meanwhile; so is the time.
Hence for any pattern of overlaps

    sum over windows of energy_j + idle_j  =  joules the counter advanced by while any window was open
    sum over windows of device_s           =  seconds during which any window was open

The idle part of an interval is ``idle_w * seconds``; marginal energy is what is above it.
A reading that fails taints the windows open around it: their joules are None, never 0.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from router.domain.reading import Method, Reading


class EnergyCounter(Protocol):
    """A cumulative energy counter of one device."""

    @property
    def method(self) -> Method:
        """How its joules are obtained."""
        ...

    @property
    def source(self) -> str:
        """Which instrument, with its parameters."""
        ...

    @property
    def idle_w(self) -> float | None:
        """Watts drawn with nothing to do; None where the counter sees busy work only or idle is not known."""
        ...

    def read_j(self) -> float | None:
        """Joules so far; None where this reading failed. Never raises, never runs backwards."""
        ...


def close_counter(counter: EnergyCounter) -> None:
    """Stop what samples for a counter, where something does; its joules are of no use afterwards."""
    close = getattr(counter, "close", None)
    if close is not None:
        close()


@dataclass(slots=True)
class _Share:
    """Running sums of one window."""

    energy_j: float | None = 0.0
    idle_j: float | None = 0.0
    device_s: float = 0.0


class _OpenWindow:
    """One window of a :class:`SharedMeter`."""

    def __init__(self, meter: SharedMeter) -> None:
        self._meter = meter
        self._reading: Reading | None = None

    def stop(self) -> Reading:
        """Close the window and return its share."""
        if self._reading is None:
            self._reading = self._meter._close(self)
        return self._reading


class SharedMeter:
    """A meter over one counter; thread-safe."""

    def __init__(self, counter: EnergyCounter, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the counter, and the clock in seconds (replaced in replays and tests)."""
        self._counter = counter
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[_OpenWindow, _Share] = {}
        self._last_j: float | None = None
        self._last_s = 0.0

    @property
    def counter(self) -> EnergyCounter:
        """What it reads; nobody else may read it while windows are open."""
        return self._counter

    @property
    def source(self) -> str:
        """Which instrument, with its parameters."""
        return self._counter.source

    @property
    def problem(self) -> str | None:
        """Why its counter cannot be read or believed now, or None."""
        return getattr(self._counter, "problem", None)

    @property
    def parts_j(self) -> Mapping[str, float | None]:
        """Joules by part of the device since the start, idle ones included; empty where there is but one part."""
        seen = getattr(self._counter, "seen", None)
        return {} if seen is None else dict(seen.parts_j)

    def start(self) -> _OpenWindow:
        """Open a window."""
        window = _OpenWindow(self)
        with self._lock:
            self._advance()
            self._open[window] = _Share(idle_j=None if self._counter.idle_w is None else 0.0)
        return window

    def close(self) -> None:
        """Stop what samples for its counter; waits for the last sample."""
        close_counter(self._counter)

    def _close(self, window: _OpenWindow) -> Reading:
        with self._lock:
            self._advance()
            share = self._open.pop(window)
        counter = self._counter
        return Reading(
            share.energy_j,
            share.idle_j,
            share.device_s,
            counter.method,
            counter.source,
            holds_idle=counter.idle_w is None and bool(getattr(counter, "sees_idle", True)),
        )

    def _advance(self) -> None:
        """Divide what happened since the last event among the windows open meanwhile."""
        now_j, now_s = self._counter.read_j(), self._clock()
        if now_j is None and not self._open:
            now_j = self._counter.read_j()  # what was missed while nobody looked must not taint who opens now
        elapsed_s = now_s - self._last_s
        gained_j = None if now_j is None or self._last_j is None else now_j - self._last_j
        self._last_j, self._last_s = now_j, now_s
        if not self._open:
            return
        part = 1.0 / len(self._open)
        idle_w = self._counter.idle_w
        idle_j = None if idle_w is None else idle_w * elapsed_s
        for share in self._open.values():
            share.device_s += part * elapsed_s
            if gained_j is None:
                share.energy_j = share.idle_j = None
                continue
            if share.energy_j is not None:
                # A device can draw less than its idle average for a moment; the sum still has to match.
                share.energy_j += part * (gained_j - (idle_j or 0.0))
            if share.idle_j is not None and idle_j is not None:
                share.idle_j += part * idle_j
