"""A GPU's readings every 99 ms, kept as they came, and the joules between two moments by two ways.

The driver's energy counter and its power reading are separate instruments of the board. Their agreement over a long
generation is what says that either can be believed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from router.domain.errors import MeterError
from router.meters.nvml import Gpu
from router.meters.sampling import PERIOD_S, Sampler

Row = dict[str, Any]


class Trace:
    """Samples of one GPU, in the format of ``router/meters/recording.py``."""

    def __init__(self, gpu: Gpu, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the GPU; nothing is sampled before :meth:`running`."""
        self._gpu = gpu
        self._clock = clock
        self._began_s = clock()
        self._lock = threading.Lock()
        self.rows: list[Row] = []
        self.phases: list[dict[str, Any]] = []

    def now_s(self) -> float:
        """Seconds since the trace began."""
        return self._clock() - self._began_s

    def sample(self) -> None:
        """Take one sample; what the GPU does not say is left out, a reading that fails is told as such."""
        with self._lock:
            # The moment of the readings is taken in the middle: each takes up to milliseconds.
            before_s = self.now_s()
            readings: Row = {}
            for key, read in (
                ("energy_mj", self._gpu.energy_mj),
                ("power_mw", self._gpu.power_mw),
                ("temperature_c", self._gpu.temperature_c),
                ("throttle", lambda: list(self._gpu.throttle_reasons())),
            ):
                try:
                    value = read()
                except MeterError:
                    continue
                if value != []:
                    readings[key] = value
            at_s = round((before_s + self.now_s()) / 2, 4)
            if self.rows and at_s <= self.rows[-1]["t_s"]:
                return
            if "power_mw" not in readings and "energy_mj" not in readings:
                readings = {"error": "lost"}
            self.rows.append({"t_s": at_s, **readings})

    @contextmanager
    def running(self, period_s: float = PERIOD_S) -> Iterator[Trace]:
        """Sample in the background."""
        sampler = Sampler(self.sample, period_s).start()
        try:
            yield self
        finally:
            sampler.close()

    @contextmanager
    def phase(self, name: str) -> Iterator[dict[str, Any]]:
        """Note from when until when something went on; more can be put into what it gives."""
        self.sample()
        found: dict[str, Any] = {"name": name, "from_s": round(self.now_s(), 4)}
        try:
            yield found
        finally:
            found["until_s"] = round(self.now_s(), 4)
            self.sample()
            self.phases.append(found)

    def write(self, path: Path, header: Mapping[str, Any], *, from_s: float, until_s: float) -> None:
        """Keep a stretch as a recording, its time beginning at 0."""
        kept = [row for row in self.rows if from_s <= row["t_s"] <= until_s]
        start_s = kept[0]["t_s"]
        phases = [
            {**phase, "from_s": round(phase["from_s"] - start_s, 4), "until_s": round(phase["until_s"] - start_s, 4)}
            for phase in self.phases
            if from_s <= phase["from_s"] and phase["until_s"] <= until_s
        ]
        lines: list[Mapping[str, Any]] = [{**header, "phases": phases}]
        lines += [{**row, "t_s": round(row["t_s"] - start_s, 4)} for row in kept]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def integral_j(rows: Sequence[Mapping[str, Any]], from_s: float, until_s: float) -> float | None:
    """Trapezoid integral of the sampled power; None without samples on both sides, or with one missing in between."""
    at, power = _course(rows, "power_mw", from_s, until_s)
    if at is None or power is None:
        return None
    inside = (at > from_s) & (at < until_s)
    times = np.concatenate([[from_s], at[inside], [until_s]])
    return float(np.trapezoid(np.interp(times, at, power / 1000.0), times))


def counter_j(rows: Sequence[Mapping[str, Any]], from_s: float, until_s: float) -> float | None:
    """What the energy counter advanced by, read between samples by interpolation; None likewise, or if it went back."""
    at, energy = _course(rows, "energy_mj", from_s, until_s)
    if at is None or energy is None or (np.diff(energy) < 0).any():
        return None
    ends = np.interp([from_s, until_s], at, energy)
    return float(ends[1] - ends[0]) / 1000.0


def idle_w(rows: Sequence[Mapping[str, Any]], from_s: float, until_s: float) -> float | None:
    """Mean watts of a stretch: by the counter, else by the power samples."""
    if until_s <= from_s:
        return None
    joules = counter_j(rows, from_s, until_s)
    joules = integral_j(rows, from_s, until_s) if joules is None else joules
    return None if joules is None else joules / (until_s - from_s)


def _course(
    rows: Sequence[Mapping[str, Any]], key: str, from_s: float, until_s: float
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Times and values of the samples around a stretch; None where they do not cover it or one is missing."""
    times = [row["t_s"] for row in rows]
    first = max(0, int(np.searchsorted(times, from_s, side="right")) - 1)
    last = min(len(rows), int(np.searchsorted(times, until_s, side="left")) + 1)
    around = rows[first:last]
    if len(around) < 2 or around[0]["t_s"] > from_s or around[-1]["t_s"] < until_s:
        return None, None
    if any(row.get(key) is None for row in around):
        return None, None
    return np.array([row["t_s"] for row in around]), np.array([row[key] for row in around], dtype=np.float64)
