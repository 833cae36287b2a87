"""From samples of power to a counter of joules, and the thread that takes the samples.

Joules are the trapezoid integral of the watts. A hole in the samples (a reading that failed, a pause longer than
``longest_gap_s``) makes the joules around it unknown: the next look at the integral is None, so that every window open
across the hole is tainted, and counting goes on after it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from router.domain.errors import MeterError

logger = logging.getLogger(__name__)

PERIOD_S = 0.099
"""Between samples of a GPU's power: not a divisor of its own 100 ms refresh, so that no phase is favoured."""
HIGHEST_W = 100_000.0
"""No single device draws more; a larger figure is a misread unit."""


class PowerIntegral:
    """Joules of a sampled power; thread-safe."""

    def __init__(
        self,
        read_w: Callable[[], float],
        *,
        longest_gap_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what reads the watts (raising MeterError where it cannot) and the longest believable pause."""
        self._read_w = read_w
        self._longest_gap_s = longest_gap_s
        self._clock = clock
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._energy_j = self._told_j = 0.0
        self._at_s: float | None = None
        self._power_w = 0.0
        self._hole = False
        self.problem: str | None = None

    def sample(self) -> None:
        """Take one sample; never raises."""
        with self._reading:  # a slow instrument must not hold up who only looks at what there is
            try:
                power_w = self._read_w()
                if not math.isfinite(power_w) or not 0.0 <= power_w <= HIGHEST_W:
                    raise MeterError(f"{power_w:g} W is no reading")
            except MeterError as error:
                with self._lock:
                    self.problem, self._at_s, self._hole = str(error), None, True
                return
            with self._lock:
                self._take(power_w, self._clock())

    def read_j(self) -> float | None:
        """Joules so far, up to now, by a sample taken now; None where samples are missing since the last look."""
        self.sample()
        with self._lock:
            hole, self._hole = self._hole, False
            return None if hole or self._at_s is None else self._energy_j

    def look_j(self) -> float | None:
        """Joules so far, without asking the instrument: at the last watts since the last sample.

        None where samples are missing since the last look, or the last one is too old.
        """
        with self._lock:
            since_s = math.inf if self._at_s is None else self._clock() - self._at_s
            hole, self._hole = self._hole, False
            if hole or since_s > self._longest_gap_s:
                return None
            # Watts may have fallen since the last sample: what was told already is not taken back.
            self._told_j = max(self._told_j, self._energy_j + self._power_w * since_s)
            return self._told_j

    def _take(self, power_w: float, now_s: float) -> None:
        if self._at_s is not None:
            elapsed_s = now_s - self._at_s
            if elapsed_s > self._longest_gap_s:
                self._hole = True
                self.problem = f"no sample for {elapsed_s:.1f} s"
            else:
                self._energy_j += 0.5 * (self._power_w + power_w) * elapsed_s
                self.problem = None
        self._at_s, self._power_w = now_s, power_w


class Sampler:
    """Calls a function at a steady pace on a thread of its own, until it is closed."""

    def __init__(self, sample: Callable[[], object], period_s: float = PERIOD_S) -> None:
        """Take what to call, and how often; begins with :meth:`start`."""
        self._sample = sample
        self._period_s = period_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="power samples", daemon=True)

    def start(self) -> Sampler:
        """Begin; returns itself."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop and wait for the last sample."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._end.is_set():
            self._sample()
            # paced by the clock, not by the pause, so that slow samples do not stretch the period
            due_s = max(due_s + self._period_s, time.monotonic())
            self._end.wait(max(0.0, due_s - time.monotonic()))
