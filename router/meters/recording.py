"""Recordings of GPUs and processors, played back through the same code that meters real ones.

A recording is a file of JSON lines. The first says what it is::

    {"device": "gpu" | "rapl", "hardware": "...", "synthetic": true | false, "note": "..."}

then one line a sample, times ascending: for a GPU ``{"t_s", "energy_mj", "power_mw", "temperature_c", "throttle",
"error"}``, for processors ``{"t_s", "energy_uj": {folder: value}}`` with the tree's fixed files under ``"tree"`` in the
first line. What is absent or null a device does not say; ``error`` is ``lost`` or ``permission``.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.domain.errors import MeterError
from router.meters.nvml import UnsupportedError


class ReplayClock:
    """Seconds that pass only when told to; also what sleeps in a replay."""

    def __init__(self, now_s: float = 0.0) -> None:
        """Begin at this time."""
        self.now_s = now_s

    def __call__(self) -> float:
        """Seconds now."""
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        self.now_s += duration_s


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording.

    Attributes:
        header: Its first line.
        rows: Its samples.
    """

    header: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read a file.

        Raises:
            MeterError: If it is no recording; says the line.
        """
        rows: list[Mapping[str, Any]] = []
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise MeterError(f"cannot read the recording {path}: {error}") from error
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if not isinstance(row, dict) or (number > 1 and not _ascends(rows, row)):
                    raise ValueError("a sample is an object whose `t_s` is later than the one before")
            except ValueError as error:
                raise MeterError(f"{path}:{number}: {error}") from error
            rows.append(row)
        if len(rows) < 2 or "device" not in rows[0] or "synthetic" not in rows[0]:
            raise MeterError(f"{path}: the first line must say `device` and `synthetic`, samples follow")
        return cls(rows[0], tuple(rows[1:]))

    @property
    def duration_s(self) -> float:
        """From the first to the last sample."""
        return float(self.rows[-1]["t_s"] - self.rows[0]["t_s"])

    def at(self, now_s: float) -> Mapping[str, Any]:
        """The latest sample at this time; the first one before it began."""
        return self.rows[max(0, bisect_right(self.rows, now_s, key=lambda row: row["t_s"]) - 1)]


class RecordedGpu:
    """A GPU as it was recorded."""

    def __init__(self, recording: Recording, clock: Callable[[], float], *, name: str = "recorded GPU #0") -> None:
        """Take the recording and the clock that says where in it we are."""
        self._recording = recording
        self._clock = clock
        self.name = name
        self.mig = bool(recording.header.get("mig", False))

    def energy_mj(self) -> int:
        """As recorded."""
        return int(self._say("energy_mj"))

    def power_mw(self) -> int:
        """As recorded."""
        return int(self._say("power_mw"))

    def temperature_c(self) -> float:
        """As recorded."""
        return float(self._say("temperature_c"))

    def throttle_reasons(self) -> tuple[str, ...]:
        """As recorded; none where the recording says nothing of it."""
        return tuple(self._recording.at(self._clock()).get("throttle") or ())

    def _say(self, what: str) -> float:
        row = self._recording.at(self._clock())
        if error := row.get("error"):
            raise MeterError(f"{self.name}: {_ERRORS.get(error, error)}")
        if row.get(what) is None:
            raise UnsupportedError(f"{self.name}: Not Supported")
        return float(row[what])


class RecordedTree:
    """A powercap tree as it was recorded, laid out as files."""

    def __init__(self, recording: Recording, root: Path, clock: Callable[[], float]) -> None:
        """Write the tree under an empty folder; :meth:`update` brings it to the clock's time."""
        self._recording = recording
        self._clock = clock
        self.root = root
        for folder, files in recording.header["tree"].items():
            (root / folder).mkdir(parents=True)
            for name, content in files.items():
                (root / folder / name).write_text(f"{content}\n", encoding="ascii")
        self.update()

    def update(self) -> None:
        """Write the counters of this moment."""
        for folder, value in self._recording.at(self._clock())["energy_uj"].items():
            (self.root / folder / "energy_uj").write_text(f"{value}\n", encoding="ascii")


_ERRORS = {"lost": "GPU is lost", "permission": "Insufficient Permissions"}


def _ascends(rows: list[Mapping[str, Any]], row: Mapping[str, Any]) -> bool:
    now_s = row.get("t_s")
    if isinstance(now_s, bool) or not isinstance(now_s, int | float):
        return False
    return len(rows) < 2 or now_s > rows[-1]["t_s"]
