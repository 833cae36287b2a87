"""Joules where nothing measures them: busy core-seconds times stated watts per core.

Virtual machines expose neither RAPL nor a power sensor. What can be observed there is how long cores were busy
for the router, its children and the engine; multiplied by the watts of one busy core this is an estimate of the
energy above idle, and every figure from it says ``modelled``. It leaves out memory, fans and conversion losses.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil

from router.domain.reading import Method

ENGINE_PROCESSES = ("ollama", "ollama-lib", "llama-server", "vllm")
_RESCAN_S = 1.0


class BusyCoreCounter:
    """Busy core-seconds of this process, its children and the engines on this machine, as joules."""

    def __init__(self, watts_per_core: float, *, engine_processes: Sequence[str] = ENGINE_PROCESSES) -> None:
        """Take the watts of one busy core, and the names of engine processes that are not our children."""
        self._watts_per_core = watts_per_core
        self._engine_processes = frozenset(engine_processes)
        self._others: dict[psutil.Process, float] = {}
        self._others_s = 0.0
        self._scanned_at = float("-inf")

    @property
    def method(self) -> Method:
        """Always ``modelled``."""
        return "modelled"

    @property
    def source(self) -> str:
        """The model and its parameter."""
        return f"busy core-seconds x {self._watts_per_core:g} W per core"

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
        return (time.process_time() + self._others_s) * self._watts_per_core

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
        """Look for children and engines that are not known yet; they count from now on."""
        myself = psutil.Process()
        found = set(myself.children(recursive=True))
        for process in psutil.process_iter(["name"]):
            if process.info["name"] in self._engine_processes and process != myself:
                found.add(process)
                try:
                    found.update(process.children(recursive=True))
                except psutil.Error:
                    continue
        for process in found - self._others.keys():
            try:
                self._others[process] = _cpu_s(process)
            except psutil.Error:
                continue


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
