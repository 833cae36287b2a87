"""Joules where nothing measures them: busy core-seconds times stated watts per core, and memory where it is stated.

Virtual machines expose neither RAPL nor a power sensor. What can be observed there is how long cores were busy
for the router, its children and the engine; multiplied by the watts of one busy core this is an estimate of the
energy above idle, and every figure from it says ``modelled``. Memory counts where its watts are stated: what the same
processes hold (resident, pages they share once for each) times the seconds it is held. Fans and conversion losses are
left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import psutil

from router.domain.reading import Method

ENGINE_PROCESSES = ("ollama", "ollama-lib", "llama-server", "vllm")
_RESCAN_S = 0.1
_YOUNG_S = 3.0


class BusyCoreCounter:
    """Busy core-seconds of this process, its children and the engines on this machine, as joules."""

    def __init__(
        self,
        watts_per_core: float,
        *,
        watts_per_gb: float | None = None,
        engine_processes: Sequence[str] = ENGINE_PROCESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the coefficients.

        Args:
            watts_per_core: Of one busy core.
            watts_per_gb: Of 10^9 bytes in use; None leaves memory out.
            engine_processes: Names of engine processes that are not our children.
            clock: Seconds.
        """
        self._watts_per_core = watts_per_core
        self._watts_per_gb = watts_per_gb
        self._clock = clock
        self._own = psutil.Process()
        self._memory_j = 0.0
        self._memory_at_s = clock()
        self._engine_processes = frozenset(engine_processes)
        self._others: dict[psutil.Process, float] = {}
        self._others_s = 0.0
        self._seen_s: dict[int, float] = {}
        self._scanned_at = float("-inf")

    @property
    def method(self) -> Method:
        """Always ``modelled``."""
        return "modelled"

    @property
    def source(self) -> str:
        """The model and its parameter."""
        text = f"busy core-seconds x {self._watts_per_core:g} W per core"
        return text if self._watts_per_gb is None else f"{text} + memory x {self._watts_per_gb:g} W per GB"

    @property
    def idle_w(self) -> float | None:
        """None: busy work is all this counter sees."""
        return None

    @property
    def sees_idle(self) -> bool:
        """False: no baseline phase can tell what the machine draws with nothing to do."""
        return False

    def read_j(self) -> float | None:
        """Joules so far."""
        self._scan()
        return (time.process_time() + self._others_s) * self._watts_per_core + self._memory()

    def _memory(self) -> float:
        """Joules of the memory held so far, each stretch by what is held at its end."""
        if self._watts_per_gb is None:
            return 0.0
        now_s = self._clock()
        gigabytes = sum(map(_gigabytes, (self._own, *self._others)))
        self._memory_j += gigabytes * self._watts_per_gb * max(now_s - self._memory_at_s, 0.0)
        self._memory_at_s = now_s
        return self._memory_j

    def _scan(self) -> None:
        """Add what the other processes used since the last look; one that ended keeps what was seen of it."""
        if time.monotonic() - self._scanned_at > _RESCAN_S:
            self._find()
            self._scanned_at = time.monotonic()
        for process, seen_s in list(self._others.items()):
            try:
                now_s = _cpu_s(process)
            except psutil.Error:
                del self._others[process]
                continue
            self._others_s += max(0.0, now_s - seen_s)
            self._others[process] = now_s

    def _find(self) -> None:
        """Look for children and engines that are not known yet.

        Those that were there before this counter count from now on, later ones from their beginning: an engine that
        starts a process for an answer has done most of its work before anybody looks again.

        Asking every process for its name and parent takes milliseconds, and this is done every second beside the very
        work that is metered. So that is done once; from then on only processes that were not there before are asked,
        for a few seconds, since a new one may still be about to become the program it was started for.
        """
        now_s = time.monotonic()
        is_first = not self._seen_s
        born_s = float("-inf") if is_first else now_s
        self._seen_s = {pid: self._seen_s.get(pid, born_s) for pid in psutil.pids()}
        mine = {os.getpid(), *(process.pid for process in self._others)}
        asked = {
            pid for pid, seen_s in self._seen_s.items() if pid not in mine and (is_first or now_s - seen_s <= _YOUNG_S)
        }
        parents: dict[int, int] = {}
        for pid in asked:
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    name, parents[pid] = process.name(), process.ppid()
                if name in self._engine_processes:
                    self._add(process, mine, is_first=is_first)
            except psutil.Error:
                continue
        more = True
        while more:  # children of children
            more = False
            for pid, parent in parents.items():
                if parent in mine and pid not in mine:
                    more = True
                    try:
                        self._add(psutil.Process(pid), mine, is_first=is_first)
                    except psutil.Error:
                        mine.add(pid)  # it has ended; what it did is not known, nor are its children sought again

    def _add(self, process: psutil.Process, mine: set[int], *, is_first: bool) -> None:
        self._others[process] = _cpu_s(process) if is_first else 0.0
        mine.add(process.pid)


def _gigabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e9
    except psutil.Error:
        return 0.0  # it has ended and holds nothing


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
