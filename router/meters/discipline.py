"""How to measure so that figures can be compared: a cool machine, and what it draws when it does nothing.

A hot chip clocks lower and leaks more, so a run begins below 60 degrees C. Joules above idle need the idle watts of
this machine, taken in a phase of its own before anything runs. Both say what they did, for the run's entry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from router.domain.reading import Method
from router.meters.combined import Breakdown
from router.meters.window import EnergyCounter, close_counter

COOL_C = 60.0
LONGEST_WAIT_S = 600.0
BASELINE_S = 30.0


@dataclass(frozen=True, slots=True)
class CoolDown:
    """How a wait for a cool machine went.

    Attributes:
        waited_s: Seconds waited.
        temperature_c: At its end, or None where nothing says it.
        cool: Whether it was below the limit; None where the temperature is unknown.
    """

    waited_s: float
    temperature_c: float | None
    cool: bool | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a device draws with nothing to do.

    Attributes:
        idle_w: Watts, or None where the counter could not be read throughout.
        duration_s: Seconds of the phase.
        source: The instrument.
    """

    idle_w: float | None
    duration_s: float
    source: str


def cool_down(
    temperature_c: Callable[[], float | None],
    *,
    limit_c: float = COOL_C,
    longest_s: float = LONGEST_WAIT_S,
    period_s: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> CoolDown:
    """Wait until the machine is at most this warm.

    Args:
        temperature_c: The hottest part's degrees C, None where unknown (there is then nothing to wait for).
        limit_c: How warm it may be.
        longest_s: Longest wait; a room that never cools a machine must not stop a benchmark for ever.
        period_s: Between looks.
        clock: Seconds.
        sleep: Waits.
    """
    began_s = clock()
    while True:
        now_c = temperature_c()
        waited_s = clock() - began_s
        if now_c is None:
            return CoolDown(waited_s, None, None)
        if now_c <= limit_c:
            return CoolDown(waited_s, now_c, True)
        if waited_s >= longest_s:
            return CoolDown(waited_s, now_c, False)
        sleep(period_s)


def baseline(
    counter: EnergyCounter,
    *,
    duration_s: float = BASELINE_S,
    period_s: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Baseline:
    """Measure the idle watts of a device while nothing runs on it.

    The counter is read throughout, so that a reading that fails in between is noticed.

    Args:
        counter: Its joules, with no other reader meanwhile.
        duration_s: Length of the phase.
        period_s: Between readings.
        clock: Seconds.
        sleep: Waits.
    """
    counter.read_j()  # what was missed before the phase is not its business
    began_s, first_j = clock(), counter.read_j()
    last_j, complete = first_j, first_j is not None
    elapsed_s = 0.0
    while elapsed_s < duration_s:
        sleep(min(period_s, duration_s - elapsed_s))
        last_j, elapsed_s = counter.read_j(), clock() - began_s
        complete = complete and last_j is not None
    if not complete or first_j is None or last_j is None or elapsed_s <= 0:
        return Baseline(None, elapsed_s, counter.source)
    return Baseline((last_j - first_j) / elapsed_s, elapsed_s, counter.source)


class IdleKnown:
    """A counter together with the idle watts measured for it."""

    def __init__(self, counter: EnergyCounter, idle_w: float | None) -> None:
        """Take both."""
        self.counter = counter
        self._idle_w = idle_w

    @property
    def method(self) -> Method:
        """The counter's."""
        return self.counter.method

    @property
    def source(self) -> str:
        """The counter's, with the idle watts."""
        return self.counter.source if self._idle_w is None else f"{self.counter.source}; idle {self._idle_w:.1f} W"

    @property
    def idle_w(self) -> float | None:
        """As measured."""
        return self._idle_w

    @property
    def problem(self) -> str | None:
        """The counter's."""
        found: str | None = getattr(self.counter, "problem", None)
        return found

    @property
    def seen(self) -> Breakdown | None:
        """The counter's, where it is a sum."""
        found: Breakdown | None = getattr(self.counter, "seen", None)
        return found

    def read_j(self) -> float | None:
        """The counter's."""
        return self.counter.read_j()

    def close(self) -> None:
        """Stop what samples for the counter."""
        close_counter(self.counter)


def sees_idle(counter: EnergyCounter) -> bool:
    """Whether the counter advances while nothing runs: a modelled one, which counts busy work, does not."""
    return bool(getattr(counter, "sees_idle", True))


def instruments(counter: EnergyCounter) -> tuple[EnergyCounter, ...]:
    """The counter, or where it is a sum the instruments it is made of."""
    if isinstance(counter, IdleKnown):
        return instruments(counter.counter)
    parts = getattr(counter, "parts", None)
    return tuple(parts.values()) if isinstance(parts, Mapping) else (counter,)


def hottest_c(counters: Iterable[EnergyCounter], *, processor: Callable[[], float | None]) -> float | None:
    """The hottest part that says its temperature, or None where none does.

    Args:
        counters: Of the machine; GPUs say their own temperature through them.
        processor: The processor's, None where unknown.
    """
    found = [processor()]
    for counter in counters:
        for instrument in instruments(counter):
            read = getattr(instrument, "temperature_c", None)
            found.append(None if read is None else read())
    return max((degrees for degrees in found if degrees is not None), default=None)


def throttling(counters: Iterable[EnergyCounter]) -> tuple[str, ...]:
    """Why GPUs were slowed since the last time somebody asked, as their driver says; empty where none was."""
    reasons: list[str] = []
    for counter in counters:
        for instrument in instruments(counter):
            read = getattr(instrument, "throttling", None)
            reasons += [] if read is None else read()
    return tuple(dict.fromkeys(reasons))


def processor_throttles(root: Path = Path("/sys/devices/system/cpu")) -> int | None:
    """How often the kernel saw the processor throttled for heat since the start; None where it does not count."""
    total: int | None = None
    for file in root.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        try:
            total = (total or 0) + int(file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return total


def processor_temperature_c() -> float | None:
    """The processor's hottest sensor, or None where the machine shows none (virtual machines do not)."""
    import psutil

    read = getattr(psutil, "sensors_temperatures", None)
    found = {} if read is None else read()
    degrees = [sensor.current for name, sensors in found.items() if name in _PROCESSOR_SENSORS for sensor in sensors]
    return max(degrees, default=None)


_PROCESSOR_SENSORS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal", "acpitz"})
