"""Joules of processors and their memory, from the kernel's powercap tree (Intel and AMD RAPL).

::

    /sys/class/powercap/intel-rapl:0          package-0        counted
    /sys/class/powercap/intel-rapl:0:0        core             part of the package, not counted again
    /sys/class/powercap/intel-rapl:0:1        dram             counted: beside the package, not in it
    /sys/class/powercap/intel-rapl:1          psys             the whole board, package included: not counted
    /sys/class/powercap/intel-rapl-mmio:0     package-0        the same package by another way, not counted again

Each ``energy_uj`` wraps around after ``max_energy_range_uj``. One wrap between two readings is told and added; two
would not be, so the counter must be read more often than a package could wrap (a thread does), and a reading that
comes too late is None. Virtual machines have no such tree.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from router.domain.errors import AbsentMeterError, MeterError
from router.domain.reading import Method
from router.meters.sampling import Sampler

POWERCAP = Path("/sys/class/powercap")
HIGHEST_PACKAGE_W = 1000.0
"""No package draws more for long: how soon a counter could wrap twice follows from it."""
KEEP_UP_S = 20.0
"""Between readings of the thread: a package of 1 kW wraps the common 262 kJ in 262 s."""
_UJ_PER_J = 1e6
_ZONE = re.compile(r"intel-rapl(-mmio)?:(\d+)(:\d+)?$")


@dataclass(slots=True)
class _Domain:
    """One counter of the tree."""

    name: str
    folder: Path
    range_uj: int
    last_uj: int | None = None
    last_s: float = 0.0
    total_uj: int = 0
    problem: str | None = None
    hole: bool = field(default=False)

    def update(self, now_s: float) -> None:
        """Add what was counted since the last look."""
        try:
            now_uj = _whole_number(self.folder / "energy_uj")
        except (OSError, ValueError) as error:
            self.problem, self.last_uj, self.hole = f"{self.name}: {error}", None, True
            return
        if self.last_uj is not None:
            advance_uj = now_uj - self.last_uj
            if now_s - self.last_s >= self.range_uj / _UJ_PER_J / HIGHEST_PACKAGE_W:
                self.problem, self.hole = (
                    f"{self.name}: not read for {now_s - self.last_s:.0f} s, may have wrapped",
                    True,
                )
            elif not 0 <= now_uj <= self.range_uj:
                self.problem, self.hole = f"{self.name}: {now_uj} is outside the counter's range", True
            else:
                advance_uj += 0 if advance_uj >= 0 else self.range_uj
                if advance_uj / _UJ_PER_J > HIGHEST_PACKAGE_W * max(now_s - self.last_s, 1.0):
                    # More than can be drawn: the counter began anew (suspended, migrated), it did not wrap.
                    self.problem, self.hole = f"{self.name}: began anew or skipped", True
                else:
                    self.problem = None
                    self.total_uj += advance_uj
        self.last_uj, self.last_s = now_uj, now_s


class RaplCounter:
    """Packages and memory as one counter, for one reader."""

    def __init__(
        self,
        root: Path = POWERCAP,
        *,
        idle_w: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        keep_up: bool = True,
    ) -> None:
        """Find the counters.

        Args:
            root: The powercap tree.
            idle_w: Watts with nothing to do, measured in a phase of its own, or None.
            clock: Seconds.
            keep_up: Whether a thread reads often enough to see every wrap.

        Raises:
            MeterError: If there is none, or they may not be read; says what to do.
        """
        self._domains = _find(root)
        self._idle_w = idle_w
        self._clock = clock
        self._lock = threading.Lock()
        self._update()
        self._sampler = Sampler(self.update, KEEP_UP_S).start() if keep_up else None

    @property
    def method(self) -> Method:
        """Always ``measured``."""
        return "measured"

    @property
    def source(self) -> str:
        """Which counters."""
        return "rapl: " + ", ".join(domain.name for domain in self._domains)

    @property
    def idle_w(self) -> float | None:
        """As measured, or None."""
        return self._idle_w

    @property
    def problem(self) -> str | None:
        """Why readings fail now, or None."""
        return "; ".join(domain.problem for domain in self._domains if domain.problem) or None

    def read_j(self) -> float | None:
        """Joules of all packages and memories; None where one is unknown since the last look."""
        values = self.read_parts_j().values()
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    def read_parts_j(self) -> Mapping[str, float | None]:
        """Joules of each counter by name."""
        with self._lock:
            self._update()
            parts: dict[str, float | None] = {}
            for domain in self._domains:
                unknown = domain.hole or domain.last_uj is None
                parts[domain.name] = None if unknown else domain.total_uj / _UJ_PER_J
                domain.hole = False
            return parts

    def update(self) -> None:
        """Look at the counters without reporting; what is missed here is told to the next reader."""
        with self._lock:
            self._update()

    def close(self) -> None:
        """Stop the thread."""
        if self._sampler is not None:
            self._sampler.close()

    def _update(self) -> None:
        now_s = self._clock()
        for domain in self._domains:
            domain.update(now_s)


def _find(root: Path) -> tuple[_Domain, ...]:
    """The counters that add up to processors and memory, none of them twice."""
    found: dict[str, _Domain] = {}
    refused: list[Path] = []
    zones = sorted(path for path in root.glob("intel-rapl*:*") if _ZONE.search(path.name))
    names = {path.name: _text(path / "name") for path in zones}
    for folder in sorted(zones, key=lambda path: ("-mmio" in path.name, path.name)):
        name = names[folder.name]
        if name is None:
            continue
        if name == "dram":
            package = names.get(folder.name.rsplit(":", 1)[0])
            name = f"dram of {package}" if package else "dram"
        elif not name.startswith("package"):
            continue  # core and uncore are in their package, psys has the packages in it
        if name in found:
            continue
        energy = folder / "energy_uj"
        try:
            _whole_number(energy)
            found[name] = _Domain(name, folder, _whole_number(folder / "max_energy_range_uj"))
        except PermissionError:
            refused.append(energy)
        except (OSError, ValueError) as error:
            raise MeterError(f"{energy} cannot be read: {error}") from error
    if refused:
        # a package without its memory would be a sum that lacks a part
        raise MeterError(
            f"{refused[0]} may not be read by this user",
            hint=f"until the next start of the machine: sudo chmod a+r {' '.join(map(str, refused))}",
        )
    if not found:
        raise AbsentMeterError(
            f"no RAPL counters under {root}",
            hint="virtual machines have none: set `watts_per_core` for the site to model the joules instead",
        )
    return tuple(found.values())


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _whole_number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
